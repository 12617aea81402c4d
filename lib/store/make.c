/* Making an account: its directory, and what its journal begins with. Its first record holds
 * INBOX and the default mailboxes, so that an account that is there is whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "store/account.h"
#include "store/names.h"

enum { DEFAULTS_MAX = 16 };

/* --- the first record --- */

static int add_box(struct str *out, struct span name, uint32_t id, uint32_t uidvalidity)
{
    struct span special = name_special_use(name);
    struct index_box box = {.id = id,
                            .uidvalidity = uidvalidity,
                            .is_selectable = true,
                            .uidnext = 1,
                            .modseq = id,
                            .name_length = (uint16_t)name.n,
                            .special_length = (uint16_t)special.n};

    memcpy(box.name, name.p, name.n);
    if (special.n > 0)
        memcpy(box.special, special.p, special.n);
    return snapshot_add_box(out, &box, true);
}

/* The names to make beside INBOX. */
static size_t take_names(const struct store *s, struct span names[DEFAULTS_MAX])
{
    struct span rest = span_cstr(s->options.default_mailboxes), name;
    size_t count = 0;

    while (count < DEFAULTS_MAX && span_token(&rest, " ,\t\r\n", &name)) {
        bool is_known = span_ieq(name, SPAN_LIT("INBOX"));
        for (size_t i = 0; i < count; i++)
            is_known = is_known || span_eq(names[i], name);
        if (name_check(name, s->options.name_limit, s->options.depth_limit) < 0)
            log_warn("store_default_mailboxes: not a mailbox name: %.*s", SPAN_ARG(name));
        else if (!is_known)
            names[count++] = name;
    }
    return count;
}

int account_begin(void *arg, struct str *snapshot, uint64_t *number)
{
    struct store *s = arg;
    struct span names[DEFAULTS_MAX];
    uint32_t uidvalidity = (uint32_t)clock_wall_s(), id = STORE_INBOX;
    size_t count = take_names(s, names);
    int rc = snapshot_begin(snapshot, uidvalidity + (uint32_t)count);

    if (rc == 0)
        rc = add_box(snapshot, SPAN_LIT("INBOX"), id, uidvalidity);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = add_box(snapshot, names[i], ++id, ++uidvalidity);
    *number = id;
    return rc;
}

/* --- directories --- */

/* The first level: two hexadecimal digits. Its name is durable before an account is made in
 * it, whoever made it: each process syncs the root once for each. */
static int need_parent(struct store *s, const char *path)
{
    char parent[3] = {path[0], path[1]};
    atomic_bool *is_durable = &s->parents[strtoul(parent, NULL, 16)];

    if (atomic_load(is_durable))
        return 0;
    if (mkdirat(s->rootfd, parent, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (fsync(s->rootfd) < 0)
        return -errno;
    atomic_store(is_durable, true);
    return 0;
}

int account_make_directory(struct store_account *a)
{
    struct store *s = a->store;
    int rc = need_parent(s, a->path);

    if (rc < 0)
        return rc;
    return mkdirat(s->rootfd, a->path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}
