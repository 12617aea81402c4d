#include "tools/queue_admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "queue/admin.h"
#include "tools/tool_log.h"

enum { CONNECT_MS = 10000, ANSWER_MS = 300000 };

static struct queue_tool *tool;
static void (*tool_task)(struct queue_tool *t);
static pid_t offline_pid;

void queue_tool_init(struct queue_tool *t, const char *argv0, const char *config_directory)
{
    struct str why = {0};

    *t = (struct queue_tool){.name = tool_log_init(argv0), .config_directory = config_directory};
    if (t->config_directory == NULL)
        t->config_directory = getenv("MAIL_CONFIG");
    if (t->config_directory != NULL && getauxval(AT_SECURE) != 0 && getuid() != 0) {
        log_warn("%s is not used with the rights of another group", t->config_directory);
        t->config_directory = NULL;
    }
    if (t->config_directory == NULL)
        t->config_directory = WAYPOST_SYSCONFDIR "/postfix";
    if (conf_load(&t->conf, t->config_directory, &why) < 0)
        fatal("%s", str_cstr(&why));
    str_fini(&why);
}

/* --- a qmgr for this tool alone --- */

/* Only the queue's owner and root can read it without qmgr. */
static int check_access(const struct queue_tool *t)
{
    struct str path = {0};

    str_printf(&path, "%s/queue", conf_string(t->conf, "queue_directory"));
    int rc = access(str_cstr(&path), R_OK | W_OK | X_OK) < 0 && errno == EACCES ? -EACCES : 0;
    str_fini(&path);
    return rc;
}

static int start_offline(struct queue_tool *t, int *fd)
{
    struct str path = {0};
    int pair[2];
    int rc = check_access(t);

    if (rc < 0)
        return rc;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    str_printf(&path, "%s/qmgr", conf_string(t->conf, "daemon_directory"));
    offline_pid = fork();
    if (offline_pid == 0) {
        char *const arguments[] = {(char *)"qmgr", (char *)"-A", (char *)t->config_directory, NULL};

        if (dup2(pair[1], 0) == 0)
            execv(str_cstr(&path), arguments);
        log_error("cannot run %s: %s", str_cstr(&path), error_text(-errno));
        _exit(1);
    }
    rc = offline_pid < 0 ? -errno : 0;
    str_fini(&path);
    fd_close(&pair[1]);
    if (rc < 0)
        fd_close(&pair[0]);
    *fd = pair[0];
    t->is_offline = rc == 0;
    return rc;
}

static int connect_queue(struct queue_tool *t)
{
    struct str run = {0};
    int fd = -1;

    str_printf(&run, "%s/run", conf_string(t->conf, "queue_directory"));
    int rc = chdir(str_cstr(&run)) < 0 ? -errno : 0;
    str_fini(&run);
    if (rc == 0)
        rc = ipc_connect(&t->ipc, "showq", QUEUE_ADMIN_PROTOCOL, QUEUE_ADMIN_PROTOCOL_VERSION,
                         deadline_in(CONNECT_MS));
    if (rc != -ECONNREFUSED && rc != -ENOENT)
        return rc;
    rc = start_offline(t, &fd);
    return rc < 0 ? rc
                  : ipc_client(&t->ipc, fd, QUEUE_ADMIN_PROTOCOL, QUEUE_ADMIN_PROTOCOL_VERSION,
                               deadline_in(ANSWER_MS));
}

static void run_task(void *arg)
{
    int rc = connect_queue(tool);

    if (rc == -EACCES)
        log_error("mail system is down, and only root and the owner of its queue can read it");
    else if (rc < 0)
        log_error("cannot reach the queue: %s", error_text(rc));
    if (rc < 0) {
        tool->status = 69; /* EX_UNAVAILABLE */
        return;
    }
    tool_task(tool);
    ipc_close(tool->ipc);
}

int queue_tool_run(struct queue_tool *t, void (*main_task)(struct queue_tool *t))
{
    struct task_options options = {.has_no_watchdog = true};

    tool = t;
    tool_task = main_task;
    if (task_runtime_init(&options) < 0 || task_runtime_run(run_task, NULL) < 0)
        fatal("no event loop");
    task_runtime_fini();
    /* What it changed is durable when it ended. */
    if (offline_pid > 0)
        waitpid(offline_pid, NULL, 0);
    conf_free(t->conf);
    return t->status;
}

/* --- questions --- */

int queue_tool_ask(struct queue_tool *t, struct ipc_out *request,
                   int (*each)(void *arg, const struct ipc_in *m), void *arg, uint64_t *count)
{
    struct ipc_in *m;
    bool is_end = false;
    int rc = ipc_send(t->ipc, request, deadline_in(ANSWER_MS));

    ipc_out_fini(request);
    while (rc == 0 && !is_end) {
        int64_t error = 0;

        rc = ipc_receive(t->ipc, &m, deadline_in(ANSWER_MS));
        if (rc < 0)
            break;
        is_end = ipc_is(m, "end");
        if (is_end && count != NULL && ipc_get_u64(m, "count", count) < 0)
            *count = 0;
        if (is_end && ipc_get_i64(m, "error", &error) == 0)
            rc = error < 0 && error > INT32_MIN ? (int)error : 0;
        else if (!is_end && each != NULL)
            rc = each(arg, m);
        ipc_in_free(m);
    }
    return rc;
}

struct listing {
    struct queue_listing whole; /* several packets make one message */
    struct arena arena;
    bool is_begun, json;
    uint64_t messages, octets;
    struct str out;
};

static void print(struct listing *l)
{
    if (l->json) {
        queue_listing_print_json(&l->whole, &l->out);
    } else {
        if (l->messages == 0)
            queue_listing_print_head(&l->out);
        else
            str_append_char(&l->out, '\n');
        queue_listing_print(&l->whole, &l->out);
    }
    l->messages++;
    l->octets += l->whole.size;
}

static int flush(struct listing *l)
{
    int rc = str_error(&l->out);

    if (rc == 0)
        rc = fd_write_all(1, l->out.data, l->out.len);
    str_clear(&l->out);
    return rc;
}

static int take_message(void *arg, const struct ipc_in *m)
{
    struct listing *l = arg;
    struct queue_listing part;
    struct span encoded;
    bool has_more = false;

    if (ipc_get(m, "listing", &encoded) < 0)
        return ERR_PROTOCOL;
    int rc = queue_listing_decode(&part, &l->arena, encoded);
    if (rc < 0)
        return rc;
    ipc_get_bool(m, "more", &has_more);
    if (!l->is_begun) {
        l->whole = part;
        l->is_begun = true;
    } else {
        for (size_t i = 0; i < part.recipients.len; i++) {
            struct queue_listed_recipient *r = array_push(&l->whole.recipients);
            if (r != NULL)
                *r = part.recipients.items[i];
        }
        queue_listing_fini(&part);
    }
    if (has_more)
        return 0;
    print(l);
    queue_listing_fini(&l->whole);
    arena_reset(&l->arena);
    l->is_begun = false;
    return l->out.len > 60000 ? flush(l) : 0;
}

int queue_tool_list(struct queue_tool *t, bool json)
{
    struct listing l = {.json = json};
    struct ipc_out request = {0};

    ipc_begin(&request, "list");
    int rc = queue_tool_ask(t, &request, take_message, &l, NULL);
    if (rc == 0 && !json)
        queue_listing_print_tail(l.messages, l.octets, &l.out);
    if (l.out.len > 0 && flush(&l) < 0 && rc == 0)
        rc = -EIO;
    if (l.is_begun)
        queue_listing_fini(&l.whole);
    arena_reset(&l.arena);
    str_fini(&l.out);
    return rc;
}
