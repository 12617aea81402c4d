/* News: one inotify instance for the process, on the file "tail" of accounts that have
 * sessions. It is rewritten at every change and never replaced. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "store/account.h"

struct store_inotify {
    struct store *store;
    int fd;
    struct task *reader; /* NULL: not started */
    struct hash watched; /* accounts by watch descriptor */
};

struct store_watch {
    struct store_account *account;
    struct task_cond cond;
    struct list link;
    uint64_t count;
};

struct watched {
    struct hash_node node;
    struct store_account *account;
};

int watch_init(struct store *s)
{
    struct store_inotify *n = NEW(struct store_inotify);

    if (n == NULL)
        return -ENOMEM;
    n->store = s;
    n->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (n->fd < 0) {
        /* Sessions then see each other's changes at their next command. */
        log_warn("store: inotify: %s", error_text(-errno));
        free(n);
        return 0;
    }
    s->inotify = n;
    return 0;
}

void watch_fini(struct store *s)
{
    struct store_inotify *n = s->inotify;
    struct hash_walk w = {0};
    struct hash_node *node;

    if (n == NULL)
        return;
    while ((node = hash_walk(&n->watched, &w)) != NULL) {
        hash_remove(&n->watched, node);
        free(CONTAINER_OF(node, struct watched, node));
    }
    hash_fini(&n->watched);
    s->inotify = NULL;
    n->store = NULL;
    if (n->reader != NULL) {
        task_cancel(n->reader); /* it frees the rest */
        return;
    }
    fd_close(&n->fd);
    free(n);
}

/* --- waking --- */

void watch_notify(struct store_account *a)
{
    LIST_FOR(item, &a->watches)
    {
        struct store_watch *w = LIST_ITEM(item, struct store_watch, link);
        w->count++;
        task_cond_broadcast(&w->cond);
    }
}

/* Whether the news is only what this process wrote itself, and told already. */
static bool is_own_news(struct store_account *a)
{
    char path[ACCOUNT_PATH_MAX + 8];
    unsigned char octets[HINT_SIZE];
    struct hint hint;
    ssize_t n = -1;
    int fd;

    snprintf(path, sizeof(path), "%s/tail", a->path);
    fd = openat(a->store->rootfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        n = pread(fd, octets, sizeof(octets), 0);
    fd_close(&fd);
    return n == (ssize_t)sizeof(octets) && hint_decode(span_make(octets, HINT_SIZE), &hint) == 0 &&
           hint.segment == a->end_segment && hint.offset == a->end_offset;
}

static struct watched *find_watched(struct store_inotify *n, int descriptor)
{
    struct hash_node *node = hash_first(&n->watched, (uint64_t)descriptor);

    return node == NULL ? NULL : CONTAINER_OF(node, struct watched, node);
}

static void wake_all(struct store_inotify *n)
{
    struct hash_walk w = {0};
    struct hash_node *node;

    while ((node = hash_walk(&n->watched, &w)) != NULL)
        watch_notify(CONTAINER_OF(node, struct watched, node)->account);
}

static void handle(struct store_inotify *n, const struct inotify_event *event)
{
    struct watched *w;

    if (event->mask & IN_Q_OVERFLOW) {
        wake_all(n);
        return;
    }
    w = find_watched(n, event->wd);
    if (w != NULL && event->mask & IN_MODIFY && !is_own_news(w->account))
        watch_notify(w->account);
}

static void read_events(struct store_inotify *n)
{
    _Alignas(struct inotify_event) char buffer[4096];

    for (;;) {
        ssize_t got = read(n->fd, buffer, sizeof(buffer));
        if (got <= 0)
            return;
        for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= got;) {
            const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
            handle(n, event);
            at += (ssize_t)sizeof(*event) + event->len;
        }
    }
}

static void serve(void *arg)
{
    struct store_inotify *n = arg;
    struct task_fd watch = {0};
    int rc = task_fd_init(&watch, n->fd);

    while (rc >= 0) {
        rc = task_fd_wait(&watch, TASK_READABLE, DEADLINE_NONE);
        if (rc >= 0 && n->store != NULL)
            read_events(n);
    }
    task_fd_fini(&watch);
    n->reader = NULL;
    if (n->store == NULL) {
        fd_close(&n->fd);
        free(n);
    }
}

/* --- watches --- */

static int add_watch(struct store_account *a)
{
    struct store_inotify *n = a->store->inotify;
    char path[ACCOUNT_PATH_MAX + 64];
    struct watched *w;

    if (n == NULL)
        return 0;
    /* inotify takes a path; this one holds wherever the root is mounted. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s/tail", a->store->rootfd, a->path);
    a->watch_id = inotify_add_watch(n->fd, path, IN_MODIFY);
    if (a->watch_id < 0) {
        log_warn("store: cannot watch an account: %s", error_text(-errno));
        return 0;
    }
    w = NEW(struct watched);
    if (w == NULL || hash_insert(&n->watched, &w->node, (uint64_t)a->watch_id) < 0) {
        free(w);
        inotify_rm_watch(n->fd, a->watch_id);
        a->watch_id = -1;
        return -ENOMEM;
    }
    w->account = a;
    if (n->reader == NULL)
        n->reader = task_spawn("store-news", serve, n);
    return 0;
}

static void remove_watch(struct store_account *a)
{
    struct store_inotify *n = a->store->inotify;
    struct watched *w;

    if (n == NULL || a->watch_id < 0)
        return;
    w = find_watched(n, a->watch_id);
    if (w != NULL) {
        hash_remove(&n->watched, &w->node);
        free(w);
    }
    inotify_rm_watch(n->fd, a->watch_id);
    a->watch_id = -1;
}

int store_watch_start(struct store_account *a, struct store_watch **out)
{
    struct store_watch *w = NEW(struct store_watch);
    int rc = 0;

    if (w == NULL)
        return -ENOMEM;
    if (list_is_empty(&a->watches))
        rc = add_watch(a);
    if (rc < 0) {
        free(w);
        return rc;
    }
    w->account = a;
    task_cond_init(&w->cond);
    list_append(&a->watches, &w->link);
    a->refs++;
    *out = w;
    return 0;
}

void store_watch_stop(struct store_watch *w)
{
    if (w == NULL)
        return;
    list_remove(&w->link);
    if (list_is_empty(&w->account->watches))
        remove_watch(w->account);
    store_close(w->account);
    free(w);
}

struct task_cond *store_watch_cond(struct store_watch *w)
{
    return &w->cond;
}

uint64_t store_watch_count(const struct store_watch *w)
{
    return w->count;
}
