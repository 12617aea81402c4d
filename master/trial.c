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
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master.h"

enum {
    TRIAL_MS = 60000,
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

static int try_service(void *arg, const struct master_entry *config,
                       const struct master_entry *options, const char *program, struct str *why)
{
    struct service_entry entry = {
        .config = config,
        .options = options,
        .program = program,
        .type = config->type == SERVICE_TYPE_INET ? "inet" : "unix",
    };
    struct str text = {.max = REASON_MAX};
    int ends[2], status = 0, code;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid = spawn_trial(&entry, ends[1]);
    code = pid < 0 ? -errno : 0;
    fd_close(&ends[1]);
    if (code == 0)
        (void)fd_read_file(ends[0], &text, REASON_MAX); /* too long: its beginning will do */
    fd_close(&ends[0]);
    if (code == 0 && waitpid(pid, &status, 0) < 0)
        code = -errno;
    if (code == 0 && status != 0) {
        if (span_trim(str_span(&text)).n == 0)
            describe_status(&text, program, status);
        code = note(arg, span_trim(str_span(&text)), config->name);
    }
    str_fini(&text);
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
    struct trial t = {0};
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
