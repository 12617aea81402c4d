#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_OCTETS 8192

static log_sink_fn *the_sink;
static void *the_sink_arg;
static enum log_level the_level = LOG_LEVEL_INFO;
static char the_tag[128] = "waypost";
static _Thread_local const char *the_line_tag; /* of log_info_as */

static const char *const level_words[] = {
    [LOG_LEVEL_DEBUG] = "debug: ", [LOG_LEVEL_INFO] = "",         [LOG_LEVEL_WARN] = "warning: ",
    [LOG_LEVEL_ERROR] = "error: ", [LOG_LEVEL_FATAL] = "fatal: ", [LOG_LEVEL_PANIC] = "panic: ",
};

void log_set_sink(log_sink_fn *sink, void *arg)
{
    the_sink = sink;
    the_sink_arg = arg;
}

void log_set_tag(const char *tag)
{
    snprintf(the_tag, sizeof(the_tag), "%s", tag);
}

const char *log_tag(void)
{
    return the_line_tag != NULL ? the_line_tag : the_tag;
}

void log_set_level(enum log_level level)
{
    the_level = level;
}

static bool is_enabled(enum log_level level)
{
    return level >= the_level;
}

/* Length of the well-formed UTF-8 sequence at the start of s, 0 if none
 * (RFC 3629 4). */
static size_t utf8_sequence(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low = 0x80, high = 0xbf;
    size_t n;

    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (s.n < n || p[1] < low || p[1] > high || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0))
        return 0; /* U+0080 to U+009F are control characters */
    for (size_t i = 2; i < n; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return n;
}

int log_escape(struct str *out, struct span text)
{
    while (text.n > 0) {
        size_t plain = 0, sequence;

        while (plain < text.n && ascii_is_print(text.p[plain]))
            plain++;
        str_append(out, span_take(text, plain));
        text = span_drop(text, plain);
        if (text.n == 0)
            break;
        sequence = utf8_sequence(text);
        if (sequence > 0) {
            str_append(out, span_take(text, sequence));
            text = span_drop(text, sequence);
        } else {
            str_printf(out, "\\%03o", (unsigned char)text.p[0]);
            text = span_drop(text, 1);
        }
    }
    return str_error(out);
}

static void sink_stderr(struct span text)
{
    struct str line = {0};

    str_printf(&line, "%s[%ld]: %.*s\n", log_tag(), (long)getpid(), SPAN_ARG(text));
    if (write(STDERR_FILENO, str_cstr(&line), line.len) < 0)
        errno = 0; /* there is nobody left to tell */
    str_fini(&line);
}

static void emit(enum log_level level, const char *fmt, va_list ap)
{
    int saved_errno = errno;
    struct str raw = {.max = LINE_MAX_OCTETS}, line = {0};

    errno = saved_errno; /* for %m */
    if (str_vprintf(&raw, fmt, ap) < 0 && raw.len == 0)
        str_set(&raw, SPAN_LIT("(a line that was too long to log)"));
    str_append_cstr(&line, level_words[level]);
    log_escape(&line, str_span(&raw));
    if (the_sink != NULL)
        the_sink(the_sink_arg, level, str_span(&line));
    else
        sink_stderr(str_span(&line));
    str_fini(&raw);
    str_fini(&line);
    errno = saved_errno;
}

#define EMIT(level)               \
    do {                          \
        va_list ap;               \
        va_start(ap, fmt);        \
        if (is_enabled(level))    \
            emit(level, fmt, ap); \
        va_end(ap);               \
    } while (0)

void log_error(const char *fmt, ...)
{
    EMIT(LOG_LEVEL_ERROR);
}

void log_warn(const char *fmt, ...)
{
    EMIT(LOG_LEVEL_WARN);
}

void log_info(const char *fmt, ...)
{
    EMIT(LOG_LEVEL_INFO);
}

void log_debug(const char *fmt, ...)
{
    EMIT(LOG_LEVEL_DEBUG);
}

void log_info_as(const char *tag, const char *fmt, ...)
{
    the_line_tag = tag;
    EMIT(LOG_LEVEL_INFO);
    the_line_tag = NULL;
}

void log_at(enum log_level level, const char *fmt, ...)
{
    EMIT(level);
}

void fatal(const char *fmt, ...)
{
    EMIT(LOG_LEVEL_FATAL);
    exit(1);
}

void panic(const char *fmt, ...)
{
    EMIT(LOG_LEVEL_PANIC);
    abort();
}
