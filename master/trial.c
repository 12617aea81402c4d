/*
 * trial.c: would every service start with the configuration, the tables and the
 * certificates that are on disk now?
 *
 * A reload asks before it retires what runs. Only the programs themselves know what they
 * need, so "master -T", a process of its own, starts each of them with the command that
 * its service would have and -T: it loads all, serves nothing and ends
 * (service/inherit.h). What "master -T" says on standard output:
 *
 *     REASON (service NAME[, NAME]...)      one line for each reason
 *     ok                                    no reason
 *
 * A program may hang at a file: each has its own time, and all together end before who
 * asked gives up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master.h"
#include "service/inherit.h"

enum {
    SERVICE_MS = 10000,
    SERVICES_MS = 50000, /* of all; then the rest is not tried */
    TRIAL_MS = 60000,    /* of the process that tries them */
    REASON_MAX = 4096,
    REASONS_MAX = 65536, /* octets of all */
};

static const char all_is_well[] = "ok\n";

/* --- the process that tries --- */

struct reason {
    struct str text, services;
};

struct trial {
    ARRAY(struct reason) reasons;
    int64_t end_ms; /* of the last service's time */
};

/* What one program has said so far. */
struct said {
    struct str line, file, reason;
};

/* The same broken file is the reason of many services. */
static int note(struct trial *t, struct span text, const char *service)
{
    struct reason *reason = NULL;

    for (size_t i = 0; i < t->reasons.len && reason == NULL; i++) {
        if (span_eq(str_span(&t->reasons.items[i].text), text))
            reason = &t->reasons.items[i];
    }
    if (reason == NULL) {
        reason = array_push(&t->reasons);
        if (reason == NULL)
            return -ENOMEM;
        str_set(&reason->text, text);
    }
    str_printf(&reason->services, "%s%s", reason->services.len > 0 ? ", " : "", service);
    return str_error(&reason->services);
}

static void describe_status(struct str *out, const char *program, int status)
{
    if (WIFSIGNALED(status))
        str_printf(out, "%s was killed by signal %d", program, WTERMSIG(status));
    else
        str_printf(out, "%s ended with exit status %d", program, WEXITSTATUS(status));
}

static void take_output(struct said *s, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] != '\n') {
            str_append_char(&s->line, data[i]);
            continue;
        }
        if (s->line.len > 0 && s->line.data[0] == INHERIT_TRIAL_FILE)
            str_set(&s->file, span_drop(str_span(&s->line), 1));
        else
            str_printf(&s->reason, "%s\n", str_cstr(&s->line));
        str_clear(&s->line);
    }
}

/* Until it closes its end: 0, or -ETIMEDOUT. What is too long: its beginning will do. */
static int hear_out(int fd, struct said *s, int64_t end_ms)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    char piece[1024];

    for (;;) {
        int64_t left_ms = end_ms - clock_mono_ms();
        int n = left_ms > 0 ? poll(&waiting, 1, (int)left_ms) : 0;
        ssize_t got;

        if (n == 0)
            return -ETIMEDOUT;
        got = n > 0 ? read(fd, piece, sizeof(piece)) : -1;
        if (got == 0) {
            take_output(s, "\n", 1);
            return 0;
        }
        if (got > 0)
            take_output(s, piece, (size_t)got);
        else if (errno != EINTR)
            return -errno;
    }
}

/* Ended, or told to: one that hangs in a file system may not end even so. */
static int judge_service(struct said *s, const char *program, pid_t pid, int code)
{
    int status = 0;

    if (code == -ETIMEDOUT) {
        kill(pid, SIGKILL);
        str_clear(&s->reason);
        str_printf(&s->reason, "%s is not done after %d s", program, SERVICE_MS / 1000);
        if (s->file.len > 0)
            str_printf(&s->reason, ", at %s", str_cstr(&s->file));
        return 1;
    }
    if (waitpid(pid, &status, 0) < 0)
        return -errno;
    if (status != 0 && span_trim(str_span(&s->reason)).n == 0)
        describe_status(&s->reason, program, status);
    return status != 0 ? 1 : code;
}

static int try_service(void *arg, const struct master_entry *config,
                       const struct master_entry *options, const char *program, struct str *why)
{
    struct service_entry entry = {
        .config = config,
        .options = options,
        .program = program,
        .type = config->type == SERVICE_TYPE_INET ? "inet" : "unix",
    };
    struct trial *t = arg;
    struct said said = {.line.max = REASON_MAX, .reason.max = REASON_MAX};
    int64_t now_ms = clock_mono_ms();
    int ends[2], code;
    pid_t pid;

    if (now_ms >= t->end_ms)
        return note(t, SPAN_LIT("not tried: the time for all services was up"), config->name);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid = spawn_trial(&entry, ends[1]);
    code = pid < 0 ? -errno : 0;
    fd_close(&ends[1]);
    if (code == 0)
        code = judge_service(&said, program, pid, hear_out(ends[0], &said, now_ms + SERVICE_MS));
    fd_close(&ends[0]);
    if (code > 0)
        code = note(t, span_trim(str_span(&said.reason)), config->name);
    str_fini(&said.line);
    str_fini(&said.file);
    str_fini(&said.reason);
    return code;
}

static int try_all(struct trial *t, struct str *why)
{
    int code = conf_load(&master.conf, master.config_directory, why);

    if (code == 0)
        code = master_cf_load(&master.master_cf, master.conf, why);
    if (code == 0)
        code = generation_visit(master.master_cf, try_service, t, why);
    if (code < 0 && why->len == 0)
        str_append_cstr(why, error_text(code));
    return code;
}

int trial_main(void)
{
    struct trial t = {.end_ms = clock_mono_ms() + SERVICES_MS - SERVICE_MS};
    struct str why = {0};
    int code = try_all(&t, &why);

    for (size_t i = 0; i < t.reasons.len; i++) {
        struct reason *reason = &t.reasons.items[i];

        printf("%s (service %s)\n", str_cstr(&reason->text), str_cstr(&reason->services));
        str_fini(&reason->text);
        str_fini(&reason->services);
    }
    if (code < 0)
        printf("%s\n", str_cstr(&why));
    else if (t.reasons.len == 0)
        fputs(all_is_well, stdout);
    else
        code = ERR_NOT_SUPPORTED;
    array_free(&t.reasons);
    master_cf_free(master.master_cf);
    conf_free(master.conf);
    str_fini(&why);
    return code < 0;
}

/* --- who asks it --- */

static bool is_running;
static pid_t running; /* 0: it has ended */

void trial_reaped(pid_t pid)
{
    if (pid == running)
        running = 0;
}

static void become_trial(const char *path, int output_fd)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(output_fd, STDOUT_FILENO) >= 0)
        execl(path, "master", "-c", master.config_directory, "-T", (char *)NULL);
    _exit(127);
}

/* *out: where to read what it says. */
static int start(int *out)
{
    struct str path = {0};
    int ends[2], code = 0;

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    str_printf(&path, "%s/master", conf_string(master.conf, "daemon_directory"));
    running = fork();
    if (running == 0)
        become_trial(str_cstr(&path), ends[1]);
    if (running < 0) {
        code = -errno;
        running = 0;
        fd_close(&ends[0]);
    }
    fd_close(&ends[1]);
    str_fini(&path);
    *out = ends[0];
    return code;
}

/* Until it closes its end. */
static int listen_to(int fd, struct str *text)
{
    deadline_t deadline = deadline_in(TRIAL_MS);
    struct task_fd watch;
    char piece[4096];
    int code = task_fd_init(&watch, fd);

    while (code == 0) {
        ssize_t n = read(fd, piece, sizeof(piece));

        if (n == 0)
            break;
        if (n > 0)
            code = str_append(text, span_make(piece, (size_t)n));
        else if (errno == EAGAIN)
            code = task_fd_wait(&watch, TASK_READABLE, deadline);
        else if (errno != EINTR)
            code = -errno;
        code = code > 0 ? 0 : code;
    }
    task_fd_fini(&watch);
    return code;
}

static int judge(const struct str *text, struct str *why)
{
    struct span rest = span_trim(str_span(text)), line;

    if (span_eq(str_span(text), span_cstr(all_is_well)))
        return 0;
    while (span_next(&rest, '\n', &line))
        str_printf(why, "%s%.*s", why->len > 0 ? "; " : "", SPAN_ARG(line));
    if (why->len == 0)
        str_append_cstr(why, "the trial of the configuration ended without a result");
    return ERR_NOT_SUPPORTED;
}

int trial_run(struct str *why)
{
    struct str text = {.max = REASONS_MAX};
    int fd = -1, code = 0;

    while (is_running && code == 0)
        code = task_cond_wait(&master.changed, DEADLINE_NONE);
    if (code < 0)
        return code;
    is_running = true;
    code = start(&fd);
    if (code == 0)
        code = listen_to(fd, &text);
    if (code < 0) {
        str_printf(why, "the trial of the configuration failed: %s", error_text(code));
        if (running > 0)
            kill(running, SIGKILL);
    } else {
        code = judge(&text, why);
    }
    fd_close(&fd);
    running = 0;
    is_running = false;
    task_cond_broadcast(&master.changed);
    str_fini(&text);
    return code;
}
