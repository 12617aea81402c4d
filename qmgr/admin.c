#include "qmgr/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "ipc/ipc.h"
#include "qmgr/active.h"
#include "qmgr/list.h"
#include "qmgr/tasks.h"
#include "qmgr/transport.h"
#include "queue/admin.h"

enum { APPLY_TRIES = 200, SEND_MS = 60000, ACCEPT_RETRY_MS = 100, BACKLOG = 64 };

static int listener = -1;

int admin_listen(struct str *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "showq"};

    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(address.sun_path);
    /* Everybody may look; who may change is decided by the peer's uid. */
    mode_t mask = umask(0111);
    int rc = listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
                     listen(listener, BACKLOG) < 0
                 ? -errno
                 : 0;
    umask(mask);
    if (rc < 0)
        str_printf(why, "cannot listen on %s: %s", address.sun_path, error_text(rc));
    return rc;
}

/* --- answers --- */

static int send_end(struct ipc_conn *c, int error, uint64_t count)
{
    struct ipc_out m = {0};

    ipc_begin(&m, "end");
    ipc_put_i64(&m, "error", error);
    if (error < 0)
        ipc_put(&m, "reason", span_cstr(error_text(error)));
    ipc_put_u64(&m, "count", count);
    int rc = ipc_send(c, &m, deadline_in(SEND_MS));
    ipc_out_fini(&m);
    return rc;
}

static bool may_change(const struct ipc_conn *c)
{
    uid_t uid = ipc_peer_uid(c);

    return uid == 0 || uid == geteuid() || listener < 0; /* offline: the tool's own child */
}

/* The message of that id. The number alone would do for one of ours; an id that was
 * mistyped or comes from another host must not hit a message that has its number. */
static struct entry *find_by_id(struct span text)
{
    struct queue_id id;
    struct entry *e = queue_id_parse(text, &id) == 0 ? entry_find(id.number) : NULL;
    char own[QUEUE_ID_TEXT_MAX];

    if (e == NULL)
        return NULL;
    queue_id_format(own, e->id);
    return span_eq(text, span_cstr(own)) ? e : NULL;
}

/* The numbers a request names; all entries for "all". */
static int collect(struct ipc_in *m, struct list_numbers *numbers)
{
    struct ipc_walk walk = {0};
    bool is_all = false;

    if (ipc_get_bool(m, "all", &is_all) == 0 && is_all)
        return list_all(numbers);
    while (ipc_walk(m, &walk)) {
        const struct entry *e = span_eq(walk.name, SPAN_LIT("id")) ? find_by_id(walk.value) : NULL;
        if (e == NULL)
            continue;
        uint64_t *slot = array_push(numbers);
        if (slot == NULL)
            return -ENOMEM;
        *slot = e->id.number;
    }
    return 0;
}

static int answer_list(struct ipc_conn *c, struct ipc_in *m)
{
    struct list_numbers numbers = {0};
    bool is_any = false;
    struct span id;
    int rc = 0;

    is_any = ipc_get(m, "id", &id) == 0;
    rc = is_any ? collect(m, &numbers) : list_all(&numbers);
    for (size_t i = 0; rc == 0 && i < numbers.len; i++) {
        rc = list_send(c, numbers.items[i], deadline_in(SEND_MS));
        if (rc == ERR_NOT_FOUND)
            rc = 0; /* it has left meanwhile */
    }
    size_t count = numbers.len;
    array_free(&numbers);
    return ipc_error(c) != 0 ? ipc_error(c) : send_end(c, rc, count);
}

static int answer_show(struct ipc_conn *c, struct ipc_in *m)
{
    const struct entry *e;
    struct span text;
    int rc = ERR_NOT_FOUND;

    if (!may_change(c))
        rc = ERR_DENIED;
    else if (ipc_get(m, "id", &text) == 0 && (e = find_by_id(text)) != NULL)
        rc = list_send_whole(c, e->id.number, deadline_in(SEND_MS));
    return ipc_error(c) != 0 ? ipc_error(c) : send_end(c, rc, rc == 0);
}

static int apply_once(struct entry *e, struct span verb)
{
    if (e->place == ENTRY_NOWHERE)
        return -EAGAIN; /* it is being loaded */
    if (span_eq(verb, SPAN_LIT("delete")))
        return active_delete(e);
    if (span_eq(verb, SPAN_LIT("hold")))
        return active_hold(e, true);
    if (span_eq(verb, SPAN_LIT("release")))
        return active_hold(e, false);
    if (span_eq(verb, SPAN_LIT("requeue")))
        return active_requeue(e);
    if (span_eq(verb, SPAN_LIT("expire")))
        return active_expire(e);
    return ERR_NOT_SUPPORTED;
}

static int apply(uint64_t number, struct span verb)
{
    int rc = -EAGAIN;

    for (int i = 0; rc == -EAGAIN && i < APPLY_TRIES; i++) {
        struct entry *e = entry_find(number);

        rc = e == NULL ? ERR_EXISTS : apply_once(e, verb);
        if (rc == -EAGAIN && task_sleep(deadline_in(5)) < 0)
            return -ECANCELED;
    }
    return rc;
}

static int answer_act(struct ipc_conn *c, struct ipc_in *m)
{
    struct list_numbers numbers = {0};
    struct span verb;
    uint64_t count = 0;
    int rc = may_change(c) ? ipc_get(m, "verb", &verb) : ERR_DENIED;

    if (rc == 0)
        rc = collect(m, &numbers);
    for (size_t i = 0; rc == 0 && i < numbers.len; i++) {
        char id[QUEUE_ID_TEXT_MAX];

        rc = task_breathe();
        struct entry *e = rc == 0 ? entry_find(numbers.items[i]) : NULL;
        if (e == NULL)
            continue;
        queue_id_format(id, e->id);
        int done = apply(numbers.items[i], verb);
        if (done == 0) {
            struct ipc_out changed = {0};

            count++;
            ipc_begin(&changed, "changed");
            ipc_put(&changed, "id", span_cstr(id));
            rc = ipc_send(c, &changed, deadline_in(SEND_MS));
            ipc_out_fini(&changed);
        } else if (done != ERR_EXISTS) {
            rc = done;
        }
    }
    array_free(&numbers);
    /* Told only when it is so for good. */
    if (rc == 0)
        rc = ledger_flush();
    return ipc_error(c) != 0 ? ipc_error(c) : send_end(c, rc, count);
}

static void flush_site(struct span site)
{
    uint32_t hash = (uint32_t)span_ihash(site) | 1;
    struct hash_walk walk = {0};
    struct entry *e;

    /* Where the sites are not known (0), a try costs little. */
    while ((e = entry_walk(&walk)) != NULL)
        if (e->sites[0] == hash || e->sites[1] == hash || e->sites[0] == 0)
            active_flush(e);
}

static int answer_flush(struct ipc_conn *c, struct ipc_in *m)
{
    struct span text;
    int rc = 0;

    if (ipc_get(m, "id", &text) == 0) {
        struct entry *e = find_by_id(text);
        if (e != NULL)
            active_flush(e);
        else
            rc = ERR_NOT_FOUND;
    } else if (ipc_get(m, "site", &text) == 0) {
        flush_site(text);
    } else {
        struct hash_walk walk = {0};
        struct entry *e;

        transport_revive_all();
        while ((e = entry_walk(&walk)) != NULL)
            active_flush(e);
    }
    return send_end(c, rc, 0);
}

static int answer_status(struct ipc_conn *c, struct ipc_in *m)
{
    static const struct {
        const char *name;
        enum entry_place place;
    } places[] = {{"incoming", ENTRY_INCOMING},
                  {"active", ENTRY_ACTIVE},
                  {"parked", ENTRY_PARKED},
                  {"deferred", ENTRY_DEFERRED},
                  {"hold", ENTRY_ON_HOLD}};
    struct ipc_out out = {0};

    ipc_begin(&out, "status");
    for (size_t i = 0; i < COUNT_OF(places); i++)
        ipc_put_u64(&out, places[i].name, entry_count(places[i].place));
    ipc_put_u64(&out, "messages", entry_count_all());
    ipc_put_i64(&out, "error", ledger_error());
    int rc = ipc_send(c, &out, deadline_in(SEND_MS));
    ipc_out_fini(&out);
    return rc < 0 ? rc : send_end(c, 0, 1);
}

static const struct {
    const char *kind;
    int (*answer)(struct ipc_conn *c, struct ipc_in *m);
} requests[] = {
    {"list", answer_list},   {"show", answer_show},     {"act", answer_act},
    {"flush", answer_flush}, {"status", answer_status},
};

void admin_serve(int fd)
{
    struct ipc_conn *c;
    struct ipc_in *m;
    int rc = ipc_accept(&c, fd, QUEUE_ADMIN_PROTOCOL, QUEUE_ADMIN_PROTOCOL_VERSION,
                        deadline_in(IPC_HELLO_MS));

    if (rc < 0)
        return;
    while (rc == 0 && (rc = ipc_receive(c, &m, DEADLINE_NONE)) == 0) {
        rc = ERR_PROTOCOL;
        for (size_t i = 0; i < COUNT_OF(requests); i++)
            if (ipc_is(m, requests[i].kind))
                rc = requests[i].answer(c, m);
        ipc_in_free(m);
    }
    ipc_close(c);
}

static void run_client(void *arg)
{
    admin_serve((int)(intptr_t)arg);
}

void admin_run(void *arg)
{
    struct task_fd watched;
    int rc = listener < 0 ? -EBADF : task_fd_init(&watched, listener);

    if (rc < 0)
        return;
    while (task_fd_wait(&watched, TASK_READABLE, DEADLINE_NONE) >= 0) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            /* Out of descriptors: not a busy loop. */
            if (errno != EAGAIN && errno != EINTR && task_sleep(deadline_in(ACCEPT_RETRY_MS)) < 0)
                break;
            continue;
        }
        if (tasks_spawn("admin-client", run_client, (void *)(intptr_t)fd) < 0)
            fd_close(&fd);
    }
    task_fd_fini(&watched);
    fd_close(&listener);
}
