#include "services/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"

enum {
    PENDING_MAX = 4 * 1024 * 1024, /* a log that is slower than that loses lines */
    SYSLOG_WAIT_MS = 5000,
    TIME_MAX = 32,
};

static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static struct {
    int fd; /* file or standard output; -1: syslog */
    int syslog_fd;
    int64_t syslog_wait_ms;
    struct sockaddr_un syslog_address;
    int facility;
    char host[256];
    struct str pending;
    uint64_t dropped;
} out = {.fd = -1,
         .syslog_fd = -1,
         .syslog_wait_ms = SYSLOG_WAIT_MS,
         .syslog_address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"},
         .facility = LOG_MAIL};

/* --- choosing --- */

static const struct {
    const char *name;
    int facility;
} facilities[] = {
    {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},
    {"daemon", LOG_DAEMON}, {"ftp", LOG_FTP},           {"kern", LOG_KERN},
    {"lpr", LOG_LPR},       {"mail", LOG_MAIL},         {"news", LOG_NEWS},
    {"syslog", LOG_SYSLOG}, {"user", LOG_USER},         {"uucp", LOG_UUCP},
    {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2},
    {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},     {"local5", LOG_LOCAL5},
    {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
};

static int find_facility(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(facilities); i++) {
        if (strcmp(facilities[i].name, name) == 0)
            return facilities[i].facility;
    }
    return LOG_MAIL;
}

/* Not connected: each line finds the syslogd that is there now. */
static void open_syslog(void)
{
    const struct timeval wait = {.tv_sec = out.syslog_wait_ms / 1000,
                                 .tv_usec = out.syslog_wait_ms % 1000 * 1000};

    out.syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (out.syslog_fd >= 0)
        setsockopt(out.syslog_fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

/* As Postfix: a configuration that somebody else wrote must not make root append
 * to any file. */
static bool is_below_prefix(const char *path, const char *prefixes)
{
    struct span rest = span_cstr(prefixes), prefix;

    while (span_token(&rest, " ,\t\r\n", &prefix)) {
        struct span p = span_cstr(path);

        if (span_starts(p, prefix) &&
            (p.n == prefix.n || p.p[prefix.n] == '/' || prefix.p[prefix.n - 1] == '/'))
            return true;
    }
    return false;
}

void log_file_use_syslog_at(const char *path, int64_t wait_ms)
{
    out.syslog_wait_ms = wait_ms;
    snprintf(out.syslog_address.sun_path, sizeof(out.syslog_address.sun_path), "%s", path);
}

int log_file_open(const struct conf *conf, struct str *why)
{
    const char *path = conf_string(conf, "maillog_file");
    struct span host = span_cstr(conf_string(conf, "myhostname")), label = host;
    int code;

    span_next(&host, '.', &label);
    snprintf(out.host, sizeof(out.host), "%.*s", SPAN_ARG(label));
    out.facility = find_facility(conf_string(conf, "syslog_facility"));
    tzset();
    if (path[0] == '\0') {
        open_syslog();
        return 0;
    }
    if (!is_below_prefix(path, conf_string(conf, "maillog_file_prefixes"))) {
        str_printf(why, "maillog_file %s is not below maillog_file_prefixes", path);
        return -EPERM;
    }
    if (strcmp(path, "/dev/stdout") == 0)
        out.fd = dup(STDOUT_FILENO);
    else
        out.fd =
            open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (out.fd >= 0)
        return 0;
    code = -errno;
    str_printf(why, "maillog_file %s: %s", path, error_text(code));
    return code;
}

/* --- lines --- */

/* "Nov 21 09:26:38", RFC 3164 4.1.2. */
static void format_time(char *text, int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;

    if (localtime_r(&seconds, &tm) == NULL)
        memset(&tm, 0, sizeof(tm));
    snprintf(text, TIME_MAX, "%s %2d %02d:%02d:%02d", month_names[tm.tm_mon % 12], tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec);
}

int log_file_format(struct str *line, const char *host, int64_t wall_us, struct span tag, pid_t pid,
                    struct span text)
{
    char when[TIME_MAX];

    format_time(when, wall_us);
    return str_printf(line, "%s %s %.*s[%ld]: %.*s", when, host, SPAN_ARG(tag), (long)pid,
                      SPAN_ARG(text));
}

static int syslog_priority(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG:
        return LOG_DEBUG;
    case LOG_LEVEL_INFO:
        return LOG_INFO;
    case LOG_LEVEL_WARN:
        return LOG_WARNING;
    case LOG_LEVEL_ERROR:
        return LOG_ERR;
    default:
        return LOG_CRIT;
    }
}

static void format_syslog(struct str *line, enum log_level level, int64_t wall_us, struct span tag,
                          pid_t pid, struct span text)
{
    char when[TIME_MAX];

    format_time(when, wall_us);
    str_printf(line, "<%d>%s %.*s[%ld]: %.*s", out.facility | syslog_priority(level), when,
               SPAN_ARG(tag), (long)pid, SPAN_ARG(text));
}

static void tell_dropped(void)
{
    char text[96];
    uint64_t dropped = out.dropped;

    out.dropped = 0;
    snprintf(text, sizeof(text), "warning: %llu log lines were lost: the log is too slow",
             (unsigned long long)dropped);
    log_file_write(LOG_LEVEL_WARN, clock_wall_us(), span_cstr(log_tag()), getpid(),
                   span_cstr(text));
}

void log_file_write(enum log_level level, int64_t wall_us, struct span tag, pid_t pid,
                    struct span text)
{
    if (out.pending.len + text.n > PENDING_MAX) {
        out.dropped++;
        return;
    }
    if (out.dropped > 0)
        tell_dropped();
    if (out.fd < 0)
        format_syslog(&out.pending, level, wall_us, tag, pid, text);
    else
        log_file_format(&out.pending, out.host, wall_us, tag, pid, text);
    str_append_char(&out.pending, '\n');
    if (str_error(&out.pending) < 0) {
        out.dropped++;
        out.pending.error = 0;
    }
}

size_t log_file_pending(void)
{
    return out.pending.len;
}

void log_file_take(struct str *batch)
{
    *batch = out.pending;
    out.pending = (struct str){0};
}

/* A datagram for each line. A syslogd that does not read is waited for once; then what it
 * does not take at once is lost. The number of lines that were. */
static int send_batch(struct span rest)
{
    int flags = MSG_NOSIGNAL, lost = 0;
    struct span line;

    while (span_next(&rest, '\n', &line)) {
        ssize_t n;

        if (line.n == 0)
            continue;
        do
            n = sendto(out.syslog_fd, line.p, line.n, flags, (struct sockaddr *)&out.syslog_address,
                       sizeof(out.syslog_address));
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno == EAGAIN)
            flags |= MSG_DONTWAIT;
        lost += n < 0;
    }
    return lost;
}

int log_file_write_batch(const struct str *batch)
{
    return out.fd < 0 ? send_batch(str_span(batch))
                      : fd_write_all(out.fd, str_cstr(batch), batch->len);
}

void log_file_give(struct str *batch, int result)
{
    if (result > 0)
        out.dropped += (uint64_t)result;
    for (size_t i = 0; result < 0 && i < batch->len; i++)
        out.dropped += batch->data[i] == '\n';
    str_fini(batch);
}

void log_file_flush(void)
{
    struct str batch;

    if (out.pending.len == 0)
        return;
    log_file_take(&batch);
    log_file_give(&batch, log_file_write_batch(&batch));
}
