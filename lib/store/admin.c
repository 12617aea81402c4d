/* Locks, quota, checking, rebuilding, and the list of accounts. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "store/account.h"

/* --- exclusive access --- */

struct store_lock {
    int fd; /* holds the OFD lock */
};

struct lock_job {
    const char *name;
    int fd;
};

static int take_lock(struct store_account *a, void *arg)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    struct lock_job *job = arg;
    char file[32];
    int rc = account_need_journal(a);

    if (rc < 0)
        return rc;
    snprintf(file, sizeof(file), "lock-%.20s", job->name);
    job->fd = openat(a->dirfd, file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (job->fd < 0)
        return -errno;
    if (fcntl(job->fd, F_OFD_SETLK, &lock) < 0) {
        rc = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
        fd_close(&job->fd);
    }
    return rc;
}

int store_lock(struct store_account *a, const char *name, struct store_lock **out)
{
    struct lock_job job = {.name = name, .fd = -1};
    struct store_lock *l = NEW(struct store_lock);
    int rc;

    if (l == NULL)
        return -ENOMEM;
    rc = account_run(a, TASK_POOL_STORE, take_lock, &job);
    if (rc < 0) {
        fd_close(&job.fd);
        free(l);
        return rc;
    }
    l->fd = job.fd;
    *out = l;
    return 0;
}

void store_unlock(struct store_lock *l)
{
    if (l == NULL)
        return;
    fd_close(&l->fd);
    free(l);
}

/* --- usage --- */

struct usage {
    uint64_t bytes, messages;
};

static int read_usage(struct index_txn *t, void *arg)
{
    struct usage *u = arg;

    u->bytes = t->meta.bytes;
    u->messages = t->meta.messages;
    return 0;
}

/* The journal's last record knows, as a rule. */
static int usage_job(struct store_account *a, void *arg)
{
    struct usage *u = arg;
    int rc = account_need_journal(a);
    bool is_known;

    if (rc == 0)
        rc = journal_shared_lock(a->journal, NULL);
    if (rc < 0)
        return rc;
    is_known = account_totals(a, &u->bytes, &u->messages);
    journal_shared_unlock(a->journal);
    return is_known ? 0 : account_view(a, read_usage, u);
}

int store_usage(struct store_account *a, uint64_t *bytes, uint64_t *messages)
{
    struct usage u = {0};
    int rc = account_run(a, TASK_POOL_STORE, usage_job, &u);

    *bytes = u.bytes;
    *messages = u.messages;
    return rc;
}

int store_usage_of(struct store *s, struct span id, uint64_t *bytes, uint64_t *messages)
{
    struct store_account *a;
    int rc = account_ref(s, id, &a);

    if (rc < 0)
        return rc;
    rc = store_usage(a, bytes, messages);
    store_close(a);
    return rc;
}

/* --- rebuilding --- */

static int rebuild_job(struct store_account *a, void *arg)
{
    int rc = account_need_journal(a);

    if (rc < 0)
        return rc;
    index_close(a->index);
    a->index = NULL;
    index_remove(a->dirfd);
    return account_catch_up(a);
}

int store_rebuild(struct store_account *a)
{
    return account_run(a, TASK_POOL_STORE, rebuild_job, NULL);
}

/* --- a new start --- */

/* What a lost state can have been ahead of its clock, and of the copy. */
enum { RENEW_AHEAD_S = 86400, RENEW_JUMP = 1 << 20 };

static int build_renew(struct index_txn *t, struct commit *c, void *arg)
{
    uint64_t first = (uint64_t)clock_wall_s() + RENEW_AHEAD_S;
    struct record r = {.kind = RECORD_MAILBOX, .op = RECORD_BOX_RENEW};
    struct index_boxes all = {0};
    int rc = index_box_list(t, &all);

    if (first <= t->meta.uidvalidity)
        first = (uint64_t)t->meta.uidvalidity + 1;
    if (rc == 0 && first + all.items.len > UINT32_MAX)
        rc = ERR_LIMIT;
    array_free(&all.items);
    r.value = (uint32_t)first;
    return rc < 0 ? rc : commit_add(t, c, &r, RENEW_JUMP, SPAN_NONE, NULL);
}

int store_renew(struct store_account *a)
{
    int rc = store_rebuild(a);

    return rc < 0 ? rc : account_commit(a, NULL, build_renew, NULL);
}

/* --- accounts --- */

static int walk_parent(struct store *s, const char *parent, int (*each)(void *arg, struct span id),
                       void *arg)
{
    int fd = openat(s->rootfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), rc = 0;
    const struct dirent *entry;
    DIR *dir;

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    dir = fdopendir(fd);
    if (dir == NULL) {
        fd_close(&fd);
        return -errno;
    }
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        struct span id = span_cstr(entry->d_name);
        if (account_id_is_valid(id))
            rc = each(arg, id);
    }
    closedir(dir);
    return rc;
}

int store_accounts(struct store *s, int (*each)(void *arg, struct span id), void *arg)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < 256; i++) {
        char parent[4];
        snprintf(parent, sizeof(parent), "%02x", i);
        rc = walk_parent(s, parent, each, arg);
    }
    return rc;
}
