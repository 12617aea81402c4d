/* cmd_control.c: what waypost asks of a running master: stop, reload, status. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "tools/waypost.h"

enum { STOP_WAIT_MS = 60000, PROBE_NS = 50 * 1000 * 1000 };

static int report_failure(int code, const struct str *why)
{
    if (code == ERR_NOT_FOUND)
        log_error("the mail system is not running");
    else
        log_error("%s", str_cstr(why));
    return 1;
}

static bool wait_for_end(const struct conf *conf)
{
    deadline_t deadline = deadline_in(STOP_WAIT_MS);
    struct timespec pause = {.tv_nsec = PROBE_NS};

    while (clock_mono_ms() < deadline) {
        if (waypost_master_pid(conf) == 0 && waypost_supervisor_pid(conf) == 0)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static int stop(const struct waypost *w, const char *now)
{
    struct conf *conf = waypost_load(w);
    struct str report = {0}, why = {0};
    int pid = waypost_master_pid(conf), supervisor = waypost_supervisor_pid(conf), status = 0;

    if (pid == 0 && supervisor == 0)
        status = report_failure(ERR_NOT_FOUND, &why);
    /* A master that does not answer may still obey. */
    if (pid != 0 && waypost_ask(conf, "stop", "now", now, &report, &why) < 0 && pid > 0 &&
        kill(pid, SIGTERM) < 0)
        status = report_failure(-errno, &why);
    /* It may be about to start the next master, as the last one has died. */
    if (supervisor > 0)
        kill(supervisor, SIGTERM);
    if (status == 0 && !wait_for_end(conf)) {
        log_error("master, PID %d, does not end", pid);
        status = 1;
    }
    str_fini(&report);
    str_fini(&why);
    conf_free(conf);
    return status;
}

int cmd_stop(const struct waypost *w, int argc, char **argv)
{
    return stop(w, "no");
}

int cmd_abort(const struct waypost *w, int argc, char **argv)
{
    return stop(w, "yes");
}

int cmd_reload(const struct waypost *w, int argc, char **argv)
{
    struct conf *conf = waypost_load(w);
    struct str report = {0}, why = {0};
    int faults = waypost_check(w, conf), code, status = 0;

    if (faults > 0) {
        log_error("%d fault%s: the configuration before stays", faults, faults == 1 ? "" : "s");
        status = 1;
    } else {
        code = waypost_ask(conf, "reload", NULL, NULL, &report, &why);
        if (code < 0)
            status = report_failure(code, &why);
    }
    str_fini(&report);
    str_fini(&why);
    conf_free(conf);
    return status;
}

int cmd_status(const struct waypost *w, int argc, char **argv)
{
    struct conf *conf = waypost_load(w);
    struct str report = {0}, why = {0};
    const char *format = argc > 1 && strcmp(argv[1], "--json") == 0 ? "json" : "text";
    int code = waypost_ask(conf, "status", "format", format, &report, &why), status = 0;

    if (code < 0)
        status = report_failure(code, &why);
    else
        fputs(str_cstr(&report), stdout);
    str_fini(&report);
    str_fini(&why);
    conf_free(conf);
    return status;
}

/* As in Postfix, another name for postqueue(1). */
int cmd_flush(const struct waypost *w, int argc, char **argv)
{
    struct conf *conf = waypost_load(w);
    struct str path = {0};

    str_printf(&path, "%s/postqueue", conf_string(conf, "command_directory"));
    execl(str_cstr(&path), "postqueue", "-c", w->config_directory, "-f", (char *)NULL);
    log_error("%s: %s", str_cstr(&path), error_text(-errno));
    str_fini(&path);
    conf_free(conf);
    return 1;
}
