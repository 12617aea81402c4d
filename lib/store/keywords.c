/*
 * Keywords: names by number, at most STORE_KEYWORDS_MAX at a time in an account. When all
 * numbers have names, one that no message has is given to a new name.
 */
#include "base/error.h"
#include "store/change.h"

struct keyword_job {
    struct arena *arena;
    struct span *names;
    struct span name;
    unsigned number;
};

/* Spans are valid in the transaction, until something is written. */
static void read_names(struct index_txn *t, struct span names[STORE_KEYWORDS_MAX])
{
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        if (i >= t->meta.keywords || index_keyword(t, i, &names[i]) < 0)
            names[i] = SPAN_NONE;
    }
}

/* Keywords are the same in any case (RFC 3501 2.3.2, as Dovecot). */
static int find_name(const struct span names[STORE_KEYWORDS_MAX], struct span name,
                     unsigned *number)
{
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        if (names[i].p != NULL && span_ieq(names[i], name)) {
            *number = i;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

/* --- looking --- */

static int copy_names(struct index_txn *t, void *arg)
{
    struct keyword_job *job = arg;
    struct span names[STORE_KEYWORDS_MAX];
    int rc = 0;

    read_names(t, names);
    for (unsigned i = 0; rc == 0 && i < STORE_KEYWORDS_MAX; i++) {
        job->names[i] = SPAN_NONE;
        if (names[i].p != NULL)
            rc = arena_copy(job->arena, names[i], &job->names[i]);
    }
    return rc;
}

static int copy_names_job(struct store_account *a, void *arg)
{
    return account_view(a, copy_names, arg);
}

int store_keywords(struct store_account *a, struct arena *arena,
                   struct span names[STORE_KEYWORDS_MAX])
{
    struct keyword_job job = {.arena = arena, .names = names};

    return account_run(a, TASK_POOL_STORE, copy_names_job, &job);
}

static int find_keyword(struct index_txn *t, void *arg)
{
    struct keyword_job *job = arg;
    struct span names[STORE_KEYWORDS_MAX];

    read_names(t, names);
    return find_name(names, job->name, &job->number);
}

static int find_keyword_job(struct store_account *a, void *arg)
{
    return account_view(a, find_keyword, arg);
}

int store_keyword(struct store_account *a, struct span name, unsigned *number)
{
    struct keyword_job job = {.name = name};
    int rc = account_run(a, TASK_POOL_STORE, find_keyword_job, &job);

    if (rc == 0)
        *number = job.number;
    return rc;
}

/* --- making --- */

/* A number for a new name: one without a name, else one that no message has, and that is
 * not in taken, either. */
static int choose_number(struct index_txn *t, const struct span names[STORE_KEYWORDS_MAX],
                         uint64_t taken, unsigned *number)
{
    uint64_t used;
    int rc;

    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        if (names[i].p == NULL) {
            *number = i;
            return 0;
        }
    }
    rc = index_keywords_used(t, &used);
    if (rc < 0)
        return rc;
    used |= taken;
    if (used == UINT64_MAX)
        return ERR_LIMIT;
    *number = (unsigned)__builtin_ctzll(~used);
    return 0;
}

static int add_keyword(struct index_txn *t, struct commit *c, struct span names[STORE_KEYWORDS_MAX],
                       struct span name, uint64_t taken, unsigned *number)
{
    struct record r = {.kind = RECORD_KEYWORD, .name = name};
    int rc;

    if (name.n == 0 || name.n > INDEX_NAME_MAX)
        return name.n == 0 ? ERR_SYNTAX : ERR_TOO_LONG;
    rc = choose_number(t, names, taken, number);
    if (rc < 0)
        return rc;
    names[*number] = name;
    r.value = *number;
    return commit_add(t, c, &r, 0, SPAN_NONE, NULL);
}

int change_add_keywords(struct index_txn *t, struct commit *c, const struct span *wanted,
                        size_t count, bool create, uint64_t *bits)
{
    struct span names[STORE_KEYWORDS_MAX];
    unsigned number;
    int rc = 0;

    *bits = 0;
    if (count == 0)
        return 0;
    read_names(t, names);
    for (size_t i = 0; i < count; i++) {
        if (find_name(names, wanted[i], &number) == 0)
            *bits |= 1ULL << number;
    }
    for (size_t i = 0; create && rc == 0 && i < count; i++) {
        if (find_name(names, wanted[i], &number) == ERR_NOT_FOUND)
            rc = add_keyword(t, c, names, wanted[i], *bits, &number);
        if (rc == 0)
            *bits |= 1ULL << number;
    }
    return rc;
}
