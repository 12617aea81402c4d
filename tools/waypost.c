/* waypost.c: subcommands of waypost(1), and what they share. */
#include "tools/waypost.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "ipc/ipc.h"
#include "service/control.h"
#include "task/task.h"

enum { ASK_MS = 90000 /* a reload tries all services first */, REPORT_MAX = 64 * 1024 * 1024 };

static const struct command {
    const char *name, *arguments, *help;
    waypost_run_fn *run;
} commands[] = {
    {"start", "", "start the mail system", cmd_start},
    {"start-fg", "", "the same in the foreground, without a supervisor", cmd_start_fg},
    {"stop", "", "end sessions in order and stop", cmd_stop},
    {"abort", "", "stop at once", cmd_abort},
    {"reload", "", "take the new configuration; sessions go on", cmd_reload},
    {"status", "[--json]", "services, processes, clients, limits", cmd_status},
    {"flush", "", "try to deliver all that is deferred now", cmd_flush},
    {"mailbox", "command ...", "accounts and mailboxes of the mail store", cmd_mailbox},
    {"check", "", "say what is wrong with the configuration", cmd_check},
    {"user", "add|passwd|del|list", "users and passwords of auth_passwd_file", cmd_user},
};

static void usage(const char *name, FILE *to)
{
    fprintf(to, "usage: %s [-c config_directory] [-v] command [argument ...]\n\n", name);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(to, "    %-9s %-19s %s\n", commands[i].name, commands[i].arguments,
                commands[i].help);
}

int waypost_main(int argc, char **argv, const char *name)
{
    struct waypost w = {.name = name, .config_directory = getenv("MAIL_CONFIG")};
    int option;

    log_set_tag(name);
    while ((option = getopt(argc, argv, "+c:vh")) != -1) {
        switch (option) {
        case 'c':
            w.config_directory = optarg;
            break;
        case 'v':
            w.verbosity++;
            log_set_level(LOG_LEVEL_DEBUG);
            break;
        default:
            usage(name, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (w.config_directory == NULL)
        w.config_directory = WAYPOST_SYSCONFDIR "/postfix";
    for (size_t i = 0; optind < argc && i < COUNT_OF(commands); i++) {
        if (strcmp(argv[optind], commands[i].name) == 0) {
            int at = optind;

            optind = 1; /* the subcommand may parse options of its own */
            return commands[i].run(&w, argc - at, argv + at);
        }
    }
    usage(name, stderr);
    return 2;
}

struct conf *waypost_load(const struct waypost *w)
{
    struct conf *conf = NULL;
    struct str why = {0};

    if (conf_load(&conf, w->config_directory, &why) < 0)
        fatal("%s", str_cstr(&why));
    str_fini(&why);
    return conf;
}

/* --- asking master --- */

struct question {
    const char *request, *name, *value;
    struct str *report, *why;
    int code;
};

static int take_report(struct ipc_in *reply, struct str *report)
{
    struct span error;
    int fd, code;

    if (ipc_get(reply, "error", &error) == 0) {
        str_set(report, error);
        return ERR_DENIED;
    }
    code = ipc_take_fd(reply, "report", &fd);
    if (code == ERR_NOT_FOUND)
        return 0;
    if (code == 0) {
        code = lseek(fd, 0, SEEK_SET) < 0 ? -errno : fd_read_file(fd, report, REPORT_MAX);
        close(fd);
    }
    return code;
}

static void ask(void *arg)
{
    struct question *q = arg;
    struct ipc_conn *conn = NULL;
    struct ipc_out request = {0};
    struct ipc_in *reply = NULL;
    deadline_t deadline = deadline_in(ASK_MS);

    q->code =
        ipc_connect(&conn, CONTROL_SOCKET, CONTROL_PROTOCOL, CONTROL_VERSION, deadline_in(5000));
    if (q->code < 0)
        return;
    ipc_start_reader(conn);
    ipc_begin(&request, q->request);
    if (q->name != NULL)
        ipc_put(&request, q->name, span_cstr(q->value));
    q->code = ipc_call(conn, &request, &reply, deadline);
    if (q->code == 0) {
        q->code = take_report(reply, q->report);
        if (q->code == ERR_DENIED) {
            str_set(q->why, str_span(q->report));
            str_clear(q->report);
        }
    }
    ipc_in_free(reply);
    ipc_out_fini(&request);
    ipc_close(conn);
}

int waypost_ask(const struct conf *conf, const char *request, const char *name, const char *value,
                struct str *report, struct str *why)
{
    struct question q = {request, name, value, report, why, 0};
    struct task_options options = {.has_no_watchdog = true};
    struct str run = {0};
    int code;

    str_printf(&run, "%s/run", conf_string(conf, "queue_directory"));
    if (chdir(str_cstr(&run)) < 0) {
        str_printf(why, "%s: %s", str_cstr(&run), error_text(-errno));
        str_fini(&run);
        return ERR_NOT_FOUND;
    }
    code = task_runtime_init(&options);
    if (code == 0)
        code = task_runtime_run(ask, &q);
    task_runtime_fini();
    if (code == 0 || code == -ECANCELED)
        code = q.code;
    if (code < 0 && why->len == 0)
        str_printf(why, "%s/%s: %s", str_cstr(&run), CONTROL_SOCKET, error_text(code));
    if (code == -ENOENT || code == -ECONNREFUSED)
        code = ERR_NOT_FOUND;
    str_fini(&run);
    return code;
}

/* Who holds the lock on that file in pid/. */
static int holder_of(const struct conf *conf, const char *name)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct str path = {0}, text = {0};
    uint32_t pid = 0;
    int fd, result = 0;

    str_printf(&path, "%s/pid/%s", conf_string(conf, "queue_directory"), name);
    fd = open(str_cstr(&path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        result = errno == ENOENT ? 0 : -errno;
    } else {
        if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
            result = -errno;
        else if (lock.l_type != F_UNLCK)
            /* Locked and without a number: it is just being written. */
            result = fd_read_file(fd, &text, 64) == 0 &&
                             span_to_u32(span_trim(str_span(&text)), &pid) == 0
                         ? (int)pid
                         : -EAGAIN;
        close(fd);
    }
    str_fini(&path);
    str_fini(&text);
    return result;
}

int waypost_master_pid(const struct conf *conf)
{
    return holder_of(conf, "master.pid");
}

int waypost_supervisor_pid(const struct conf *conf)
{
    return holder_of(conf, WAYPOST_SUPERVISOR_FILE);
}
