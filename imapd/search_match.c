/* SEARCH's criteria: does a message fulfil them? */
#include "imapd/search_key.h"

#include <errno.h>

#include "imapd/body.h"
#include "imapd/flags.h"
#include "mail/date.h"
#include "mail/header.h"

/* A message while it is looked at, and how much of it there is: what the view knows, the
 * fields that the store keeps too, or all that the criteria need. */
enum known { VIEW, FIELDS, CONTENT };

struct subject {
    const struct search *search;
    size_t index;
    const struct store_message *message;
    enum known known;
    struct span content;
    const struct mime_part *root;
    struct budget *budget;
};

enum { UNKNOWN = -1 };

static int match(const struct subject *m, const struct search_key *k);

/* --- dates --- */

static int compare_day(enum search_op op, int64_t day, int64_t wanted)
{
    switch (op) {
    case SEARCH_BEFORE:
    case SEARCH_SENTBEFORE:
        return day < wanted;
    case SEARCH_ON:
    case SEARCH_SENTON:
        return day == wanted;
    default:
        return day >= wanted;
    }
}

/* By the day in the zone it was written in (RFC 3501 6.4.4: disregarding time and
 * timezone). */
static int match_internal_date(const struct subject *m, const struct search_key *k)
{
    struct mail_date date = {m->message->internal_date, m->message->date_zone};

    return compare_day(k->op, date_day(date, true), k->day);
}

static int match_sent_date(const struct subject *m, const struct search_key *k)
{
    struct header_walk walk;
    struct header_field field;
    struct mail_date date;

    if (m->known < FIELDS)
        return UNKNOWN;
    walk = header_begin(m->content);
    while (header_next(&walk, &field)) {
        if (span_ieq(field.name, SPAN_LIT("Date")))
            return date_parse(field.value, &date) == 0 &&
                   compare_day(k->op, date_day(date, true), k->day);
    }
    return 0;
}

/* --- everything else --- */

static int match_text(const struct subject *m, const struct search_key *k)
{
    if (m->known < (k->is_kept ? FIELDS : CONTENT))
        return UNKNOWN;
    if (k->op == SEARCH_HEADER)
        return search_header(m->content, k->header, k->needle, m->budget);
    if (k->op == SEARCH_BODY)
        return search_body(m->content, m->root, k->needle, m->budget);
    return search_text(m->content, m->root, k->needle, m->budget);
}

/* All of them; the unknown only counts when nothing is false. */
static int match_all(const struct subject *m, const struct search_key *k)
{
    int result = 1;

    for (const struct search_key *child = k->children; child != NULL; child = child->next) {
        int one = match(m, child);
        if (one == 0 || one < UNKNOWN)
            return one;
        if (one == UNKNOWN)
            result = UNKNOWN;
    }
    return result;
}

static int match_or(const struct subject *m, const struct search_key *k)
{
    int first = match(m, k->children), second;

    if (first == 1 || first < UNKNOWN)
        return first;
    second = match(m, k->children->next);
    return second != 0 ? second : first;
}

static int match(const struct subject *m, const struct search_key *k)
{
    const struct store_message *message = m->message;
    int inner;

    switch (k->op) {
    case SEARCH_ALL:
        return match_all(m, k);
    case SEARCH_OR:
        return match_or(m, k);
    case SEARCH_NOT:
        inner = match(m, k->children);
        return inner < 0 ? inner : !inner;
    case SEARCH_FLAG:
        return ((message->flags & k->flags) != 0) == k->is_wanted;
    case SEARCH_KEYWORD:
        return ((message->keywords & k->keywords) != 0) == k->is_wanted;
    case SEARCH_RECENT:
        return flags_is_recent(m->search->session->view, message->uid) == k->is_wanted;
    case SEARCH_SET:
        return k->marks[m->index];
    case SEARCH_LARGER:
        return message->size > k->size;
    case SEARCH_SMALLER:
        return message->size < k->size;
    case SEARCH_BEFORE:
    case SEARCH_ON:
    case SEARCH_SINCE:
        return match_internal_date(m, k);
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE:
        return match_sent_date(m, k);
    case SEARCH_HEADER:
    case SEARCH_BODY:
    case SEARCH_TEXT:
        return match_text(m, k);
    }
    return 0;
}

int search_match_view(const struct search *q, size_t index)
{
    struct subject m = {
        .search = q,
        .index = index,
        .message = &q->session->view->messages.items[index],
    };

    return match(&m, &q->root);
}

static int match_content(const struct search *q, size_t index, enum known known, struct span text)
{
    struct subject m = {
        .search = q,
        .index = index,
        .message = &q->session->view->messages.items[index],
        .known = known,
        .content = text,
    };
    struct budget budget;
    struct arena arena;
    struct mime_part *root = NULL;
    int rc = 0;

    budget_init(&budget, BODY_MEMORY_OCTETS);
    arena_init(&arena, &budget);
    m.budget = &budget;
    if (known == CONTENT && q->needs_body)
        rc = mime_parse(&arena, text, NULL, &root);
    m.root = root;
    if (rc == 0)
        rc = match(&m, &q->root);
    arena_reset(&arena);
    return rc == -ENOMEM ? 0 : rc; /* no message may end the search for all */
}

int search_match_fields(const struct search *q, size_t index, struct span fields)
{
    return match_content(q, index, FIELDS, fields);
}

int search_match_content(const struct search *q, size_t index, struct span message)
{
    return match_content(q, index, CONTENT, message);
}
