/*
 * log.h: one line per event. Untrusted octets are escaped here, never by
 * callers: control characters become \ooo, so nobody can forge a line.
 *
 * Levels: error (an admin must act), warn, info (one line per mail step),
 * debug. A line is logged where the event is handled, once.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "base/str.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_FATAL, /* bad configuration, no memory at start: exit 1 */
    LOG_LEVEL_PANIC, /* a bug: abort */
};

/* Where lines go. text is one escaped line without newline, with Postfix's
 * level word ("warning: ", "error: ", "fatal: ", "panic: ") in front; it is
 * borrowed. Called on whatever thread logs; must not wait and must not log. */
typedef void log_sink_fn(void *arg, enum log_level level, struct span text);

/* Default: to stderr with the tag and pid in front. sink NULL restores that. */
void log_set_sink(log_sink_fn *sink, void *arg);
/* Such as "postfix/smtpd"; copied. */
void log_set_tag(const char *tag);
const char *log_tag(void);
/* Lines below this level are dropped; default INFO. */
void log_set_level(enum log_level level);

void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Under another tag for this line, such as "postfix/cleanup": for lines that log
 * readers look for under the name of the Postfix program they come from. */
void log_info_as(const char *tag, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_at(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* At start only: nothing on a session's path may call it. */
void fatal(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));
/* A bug in this program. */
void panic(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

#define ENSURE(condition)                                                               \
    do {                                                                                \
        if (!(condition))                                                               \
            panic("%s:%d: %s: not true: %s", __FILE__, __LINE__, __func__, #condition); \
    } while (0)

/* Append text with control characters escaped; 8-bit octets stay as they are
 * when they form UTF-8 and are escaped otherwise. */
int log_escape(struct str *out, struct span text);

#endif
