/*
 * log_channel.h: the way of log lines from a process to postlogd.
 *
 * A line is one record; all records of a loop turn leave as one packet over
 * SOCK_SEQPACKET to the socket "postlog" in run/. A channel that is full or away
 * never makes mail wait: packets are put off, a megabyte of them; beyond that lines
 * are dropped and counted, and the next line that gets through is preceded by their
 * number. master keeps the listener, so what
 * is sent while postlogd restarts waits there.
 *
 * A record: LEVEL TIME TAG TAB TEXT LF. LEVEL is one digit (enum log_level), TIME
 * microseconds since 1970; the pid is not in it, postlogd takes it from the
 * kernel. Text is escaped already (base/log.h).
 */
#ifndef SERVICE_LOG_CHANNEL_H
#define SERVICE_LOG_CHANNEL_H

#include <stdint.h>

#include "base/log.h"
#include "base/span.h"

#define LOG_CHANNEL_SOCKET "postlog"

enum { LOG_CHANNEL_PACKET_MAX = 60 * 1024 };

/* Send this process's lines there from now on. The path is relative to the
 * working directory (run/ in every service); a second try at connecting is made
 * at most once a second. While it cannot be reached lines go to standard error
 * when is_stderr_wanted. */
void log_channel_open(const char *path, bool is_stderr_wanted);
/* After task_runtime_init(): collect the lines of a turn. */
void log_channel_batch(void);
/* Send what is collected. */
void log_channel_flush(void);
uint64_t log_channel_dropped(void);
/* Back to standard error. */
void log_channel_close(void);

struct log_record {
    enum log_level level;
    int64_t wall_us;
    struct span tag, text;
};

/* Append one record. */
int log_record_encode(struct str *out, const struct log_record *record);
/* Take one record off the front of a packet. ERR_EOF at the end, ERR_SYNTAX. */
int log_record_decode(struct span *packet, struct log_record *record);

#endif
