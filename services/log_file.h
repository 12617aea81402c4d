/* log_file.h: where postlogd writes: a file, standard output or syslog. */
#ifndef SERVICES_LOG_FILE_H
#define SERVICES_LOG_FILE_H

#include <sys/types.h>

#include "base/log.h"
#include "base/span.h"
#include "base/str.h"
#include "conf/conf.h"

/* Choose by maillog_file; as the starting user, before the sandbox. Negative
 * code and message when the path is not below maillog_file_prefixes or cannot
 * be opened. */
int log_file_open(const struct conf *conf, struct str *why);
/* Another place than /dev/log, and another time to wait for it; before log_file_open().
 * For tests. */
void log_file_use_syslog_at(const char *path, int64_t wait_ms);
/* The line as the file has it, without LF: "Nov 21 09:26:38 host
 * postfix/smtpd[123]: text". host is without domain. */
int log_file_format(struct str *out, const char *host, int64_t wall_us, struct span tag, pid_t pid,
                    struct span text);
/* One line. Collected until log_file_flush(). */
void log_file_write(enum log_level level, int64_t wall_us, struct span tag, pid_t pid,
                    struct span text);
/* Write what was collected; on a worker thread or before the loop. Lines that
 * could not be written are counted and told by the next one that can. */
void log_file_flush(void);
/* Octets that wait for log_file_flush(). */
size_t log_file_pending(void);
/* A batch for a worker: take() on the loop thread, write() anywhere, give() back
 * on the loop thread with what write() returned: 0, a negative code (all is lost), or how
 * many lines were lost. */
void log_file_take(struct str *batch);
int log_file_write_batch(const struct str *batch);
void log_file_give(struct str *batch, int result);

#endif
