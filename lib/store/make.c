/* Making an account: in a directory of its own that gets its name when all is durable,
 * so that an account that is there is whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "store/account.h"
#include "store/names.h"

enum { DEFAULTS_MAX = 16 };

struct first {
    struct arena arena;
    ARRAY(struct journal_record) records;
};

static int add(struct first *f, struct record *r)
{
    struct journal_record *record;
    struct str head = {0};
    struct span copy;
    int rc = record_encode(r, &head);

    if (rc == 0)
        rc = arena_copy(&f->arena, str_span(&head), &copy);
    str_fini(&head);
    if (rc < 0)
        return rc;
    record = array_push(&f->records);
    if (record == NULL)
        return -ENOMEM;
    *record = (struct journal_record){.kind = RECORD_MAILBOX, .count = 1, .head = copy};
    return 0;
}

static int add_mailbox(struct first *f, struct span name, uint32_t uidvalidity)
{
    struct record r = {.kind = RECORD_MAILBOX,
                       .flags = RECORD_TOTALS,
                       .op = RECORD_BOX_CREATE,
                       .value = uidvalidity,
                       .name = name,
                       .other = name_special_use(name)};
    int rc = add(f, &r);

    if (rc < 0)
        return rc;
    r.op = RECORD_BOX_SUBSCRIBE;
    r.value = 1;
    r.other = SPAN_NONE;
    return add(f, &r);
}

static int describe(struct store *s, struct first *f)
{
    struct span rest = span_cstr(s->options.default_mailboxes), name;
    uint32_t uidvalidity = (uint32_t)clock_wall_s();
    int rc = add_mailbox(f, SPAN_LIT("INBOX"), uidvalidity++);

    while (rc == 0 && span_token(&rest, " ,\t\r\n", &name) && f->records.len < 2 * DEFAULTS_MAX) {
        if (name_check(name, s->options.name_limit, s->options.depth_limit) < 0)
            log_warn("store_default_mailboxes: not a mailbox name: %.*s", SPAN_ARG(name));
        else if (!span_ieq(name, SPAN_LIT("INBOX")))
            rc = add_mailbox(f, name, uidvalidity++);
    }
    return rc;
}

static int write_journal(struct store *s, int dirfd, struct first *f)
{
    struct journal_shared *j;
    struct journal_commit commit = {0};
    struct disk_real disk;
    int rc;

    disk_real_init(&disk, dirfd);
    rc = journal_shared_open(&disk.disk, &s->journal, &s->boot, true, &j);
    if (rc < 0)
        return rc;
    rc = journal_shared_append(j, f->records.items, f->records.len, &commit);
    if (rc == 0)
        rc = journal_shared_sync(&commit);
    journal_shared_close(j);
    if (rc == 0 && fsync(dirfd) < 0)
        rc = -errno;
    return rc;
}

static int sync_directory(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;

    fd_close(&fd);
    return rc;
}

/* The first level: two hexadecimal digits. */
static int make_parent(struct store *s, const char *parent)
{
    if (mkdirat(s->rootfd, parent, 0700) == 0)
        return sync_directory(s->rootfd, ".");
    return errno == EEXIST ? 0 : -errno;
}

static void remove_temporary(struct store *s, const char *path)
{
    static const char *const files[] = {"tail", "seg.1"};
    int fd = openat(s->rootfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    for (size_t i = 0; fd >= 0 && i < COUNT_OF(files); i++)
        unlinkat(fd, files[i], 0);
    fd_close(&fd);
    unlinkat(s->rootfd, path, AT_REMOVEDIR);
}

/* From the temporary directory to an account that is there. */
static int publish(struct store *s, const char *from, const char *to, const char *parent)
{
    int rc = FAULT("store_account_publish");

    if (rc < 0)
        return rc;
    if (renameat2(s->rootfd, from, s->rootfd, to, RENAME_NOREPLACE) < 0) {
        rc = -errno;
        remove_temporary(s, from);
        if (rc != -EEXIST && rc != -ENOTEMPTY)
            return rc;
    }
    return sync_directory(s->rootfd, parent);
}

int account_make(struct store_account *a)
{
    struct store *s = a->store;
    struct first f = {0};
    char parent[4], path[64];
    int fd = -1, rc;

    snprintf(parent, sizeof(parent), "%.2s", a->path);
    snprintf(path, sizeof(path), "%s/.new.%016llx", parent, (unsigned long long)random_u64());
    rc = describe(s, &f);
    if (rc == 0)
        rc = make_parent(s, parent);
    if (rc == 0 && mkdirat(s->rootfd, path, 0700) < 0)
        rc = -errno;
    if (rc == 0) {
        fd = openat(s->rootfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        rc = fd < 0 ? -errno : write_journal(s, fd, &f);
        fd_close(&fd);
        if (rc == 0)
            rc = publish(s, path, a->path, parent);
        else
            remove_temporary(s, path);
    }
    array_free(&f.records);
    arena_reset(&f.arena);
    return rc;
}
