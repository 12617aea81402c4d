/*
 * cmd_start.c: "waypost start": master under a supervisor of its own, for
 * machines without systemd and for instances beside the system's.
 *
 * The supervisor restarts a master that died; what the suite's programs write to
 * standard error (little: the log has the rest) goes to pid/stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "tools/waypost.h"

enum {
    START_MS = 60000,
    PROBE_MS = 50,
    EARLY_S = 5, /* a master that fails sooner at the first start is not restarted */
    PAUSE_MIN_MS = 100,
    PAUSE_KILLED_MAX_MS = 2000, /* no mail is taken meanwhile */
    PAUSE_FAILED_MAX_MS = 30000,
};

static volatile sig_atomic_t master_pid, is_stop_wanted;

static void forward(int signo)
{
    if (signo == SIGTERM)
        is_stop_wanted = 1;
    if (master_pid > 0)
        kill(master_pid, signo);
}

static void exec_master(const struct waypost *w, const struct conf *conf)
{
    struct str path = {0};

    str_printf(&path, "%s/master", conf_string(conf, "daemon_directory"));
    if (w->verbosity > 0)
        execl(str_cstr(&path), "master", "-c", w->config_directory, "-v", (char *)NULL);
    else
        execl(str_cstr(&path), "master", "-c", w->config_directory, (char *)NULL);
    log_error("%s: %s", str_cstr(&path), error_text(-errno));
}

/* One life of a master; its wait status. */
static int run_master(const struct waypost *w, const struct conf *conf)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        if (is_stop_wanted)
            _exit(0);
        exec_master(w, conf);
        _exit(127);
    }
    if (pid < 0)
        return 1 << 8;
    master_pid = pid;
    if (is_stop_wanted)
        kill(pid, SIGTERM); /* it came before there was a number */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    master_pid = 0;
    return status;
}

/* Longer each time while masters do not live; longest when the reason is one that an
 * administrator has to remove. */
static int64_t next_pause(int64_t before_ms, bool is_early, bool has_failed)
{
    int64_t most = has_failed ? PAUSE_FAILED_MAX_MS : PAUSE_KILLED_MAX_MS;
    int64_t pause_ms = is_early && before_ms > 0 ? before_ms * 2 : PAUSE_MIN_MS;

    return pause_ms < most ? pause_ms : most;
}

/* False when the order to stop came. */
static bool wait_between(int64_t pause_ms)
{
    deadline_t end = deadline_in(pause_ms);

    while (!is_stop_wanted && clock_mono_ms() < end)
        poll(NULL, 0, PROBE_MS);
    return !is_stop_wanted;
}

/* For as long as this process lives: "waypost stop" must find it also while there
 * is no master. */
static void hold_pid_file(const struct conf *conf)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct str path = {0}, text = {0};
    int fd;

    str_printf(&path, "%s/pid/" WAYPOST_SUPERVISOR_FILE, conf_string(conf, "queue_directory"));
    str_printf(&text, "%ld\n", (long)getpid());
    fd = open(str_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0 ||
        fd_pwrite_all(fd, str_cstr(&text), text.len, 0) < 0 || ftruncate(fd, (off_t)text.len) < 0)
        fatal("%s: %s", str_cstr(&path), error_text(-errno));
    str_fini(&path);
    str_fini(&text);
}

static void supervise(const struct waypost *w, const struct conf *conf) __attribute__((noreturn));
static void supervise(const struct waypost *w, const struct conf *conf)
{
    struct sigaction action = {.sa_handler = forward};
    int64_t pause_ms = 0;

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGINT, SIG_IGN);
    prctl(PR_SET_NAME, "supervisor", 0, 0, 0);
    hold_pid_file(conf);
    for (bool is_first = true;; is_first = false) {
        int64_t started = clock_mono_ms();
        int status = run_master(w, conf);
        bool is_early = clock_mono_ms() - started < EARLY_S * 1000;

        if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || is_stop_wanted)
            exit(0);
        if (is_first && is_early && WIFEXITED(status))
            exit(1);
        log_warn("master ended (%s %d): starting another one",
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        pause_ms = next_pause(pause_ms, is_early, WIFEXITED(status));
        if (!wait_between(pause_ms))
            exit(0);
    }
}

/* Standard descriptors of the supervisor and all below it. */
static void redirect(const char *errors)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int err = open(errors, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(err >= 0 ? err : null, STDERR_FILENO) < 0)
        _exit(1);
    fd_close(&null);
    fd_close(&err);
}

/* In a session of its own; the returned descriptor ends when the supervisor does. */
static int detach(const struct waypost *w, const struct conf *conf, const char *errors)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        fatal("pipe: %s", error_text(-errno));
    pid = fork();
    if (pid < 0)
        fatal("fork: %s", error_text(-errno));
    if (pid == 0) {
        fd_close(&ends[0]);
        setsid();
        if (fork() != 0)
            _exit(0);
        if (chdir("/") < 0)
            _exit(1);
        redirect(errors);
        supervise(w, conf);
    }
    waitpid(pid, NULL, 0);
    fd_close(&ends[1]);
    return ends[0];
}

static bool is_answering(const struct conf *conf)
{
    struct str report = {0}, why = {0};
    int code = waypost_ask(conf, "status", NULL, NULL, &report, &why);

    str_fini(&report);
    str_fini(&why);
    return code == 0;
}

static void print_errors(const char *path)
{
    struct str text = {0};

    if (file_read(path, &text, 65536) == 0)
        fprintf(stderr, "%s", str_cstr(&text));
    str_fini(&text);
}

/* Paths that survive the change of the working directory. */
static void make_absolute(struct waypost *w)
{
    static char path[4096];

    if (realpath(w->config_directory, path) == NULL)
        fatal("%s: %s", w->config_directory, error_text(-errno));
    w->config_directory = path;
}

static void refuse_if_faulty(const struct waypost *w, const struct conf *conf)
{
    int faults = waypost_check(w, conf), pid;

    if (faults > 0)
        fatal("%d fault%s in %s: not started", faults, faults == 1 ? "" : "s", w->config_directory);
    pid = waypost_master_pid(conf);
    if (pid == 0)
        pid = waypost_supervisor_pid(conf);
    if (pid > 0)
        fatal("the mail system is already running: PID: %d", pid);
}

int cmd_start(const struct waypost *given, int argc, char **argv)
{
    struct waypost w = *given;
    struct conf *conf;
    struct str errors = {0};
    struct pollfd supervisor = {.events = POLLIN};
    deadline_t deadline = deadline_in(START_MS);
    int status = 1;

    make_absolute(&w);
    conf = waypost_load(&w);
    refuse_if_faulty(&w, conf);
    str_printf(&errors, "%s/pid", conf_string(conf, "queue_directory"));
    /* master makes these too; the file for its standard error comes before it. */
    if ((mkdir(conf_string(conf, "queue_directory"), 0755) < 0 && errno != EEXIST) ||
        (mkdir(str_cstr(&errors), 0755) < 0 && errno != EEXIST) ||
        access(str_cstr(&errors), W_OK | X_OK) < 0)
        fatal("%s: %s; not started", str_cstr(&errors), error_text(-errno));
    str_append_cstr(&errors, "/stderr");
    supervisor.fd = detach(&w, conf, str_cstr(&errors));
    while (clock_mono_ms() < deadline) {
        if (waypost_master_pid(conf) > 0 && is_answering(conf)) {
            status = 0;
            break;
        }
        if (poll(&supervisor, 1, PROBE_MS) > 0)
            break;
    }
    if (status != 0) {
        print_errors(str_cstr(&errors));
        log_error("the mail system did not start");
    }
    str_fini(&errors);
    conf_free(conf);
    return status;
}

int cmd_start_fg(const struct waypost *given, int argc, char **argv)
{
    struct waypost w = *given;
    struct conf *conf;

    make_absolute(&w);
    conf = waypost_load(&w);
    refuse_if_faulty(&w, conf);
    exec_master(&w, conf);
    conf_free(conf);
    return 1;
}
