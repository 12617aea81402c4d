/*
 * Keywords: names by number, at most STORE_KEYWORDS_MAX at a time in an account. When all
 * numbers have names, one that no message has is given to a new name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "store/change.h"
#include "store/view.h"

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

uint64_t store_view_keyword(const struct store_view *v, struct span name)
{
    for (unsigned i = 0; i < v->keyword_count; i++) {
        if (v->keywords[i].p != NULL && span_ieq(v->keywords[i], name))
            return 1ULL << i;
    }
    return 0;
}

/* The names and their octets in one block. */
static struct span *copy_names(const struct span *names, unsigned count)
{
    size_t octets = count * sizeof(*names);
    struct span *copy;
    char *text;

    for (unsigned i = 0; i < count; i++)
        octets += names[i].n;
    copy = malloc(octets + 1);
    if (copy == NULL)
        return NULL;
    text = (char *)(copy + count);
    for (unsigned i = 0; i < count; i++) {
        copy[i] = SPAN_NONE;
        if (names[i].p == NULL)
            continue;
        memcpy(text, names[i].p, names[i].n);
        copy[i] = span_make(text, names[i].n);
        text += names[i].n;
    }
    return copy;
}

/* The numbers that had another name. */
static uint64_t find_renamed(const struct store_view *v, const struct span *names, unsigned count)
{
    uint64_t renamed = 0;

    for (unsigned i = 0; i < v->keyword_count; i++) {
        if (v->keywords[i].p != NULL && (i >= count || !span_eq(v->keywords[i], names[i])))
            renamed |= 1ULL << i;
    }
    return renamed;
}

int view_read_keywords(struct index_txn *t, struct store_view *v)
{
    unsigned count = t->meta.keywords < STORE_KEYWORDS_MAX ? t->meta.keywords : STORE_KEYWORDS_MAX;
    struct span names[STORE_KEYWORDS_MAX], *copy;
    uint64_t renamed;
    uint32_t edition;
    int rc = index_keyword_edition(t, &edition);

    if (rc < 0 || (edition == v->own->edition && count == v->keyword_count))
        return rc;
    read_names(t, names);
    copy = copy_names(names, count);
    if (copy == NULL)
        return -ENOMEM;
    /* Messages that have the new names are read after this. What is expunged, but not yet
     * told, is not read again, and has the old names no more. */
    renamed = find_renamed(v, names, count);
    for (size_t i = 0; renamed != 0 && i < v->messages.len; i++)
        v->messages.items[i].keywords &= ~renamed;
    view_forget_keywords(v);
    v->keywords = copy;
    v->keyword_count = count;
    v->own->is_renamed |= edition != v->own->edition;
    v->own->edition = edition;
    return 0;
}

void view_forget_keywords(struct store_view *v)
{
    free(v->keywords);
    v->keywords = NULL;
    v->keyword_count = 0;
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
