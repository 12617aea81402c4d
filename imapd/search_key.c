/* SEARCH's criteria: parsing. */
#include "imapd/search_key.h"

#include <errno.h>

#include "base/error.h"
#include "imapd/flags.h"
#include "imapd/set.h"
#include "mail/charset.h"
#include "mail/date.h"
#include "mail/imap.h"

static const struct {
    struct span name;
    uint32_t flags;
    bool is_wanted;
} flag_keys[] = {
    {SPAN_LIT("ANSWERED"), STORE_ANSWERED, true}, {SPAN_LIT("UNANSWERED"), STORE_ANSWERED, false},
    {SPAN_LIT("DELETED"), STORE_DELETED, true},   {SPAN_LIT("UNDELETED"), STORE_DELETED, false},
    {SPAN_LIT("DRAFT"), STORE_DRAFT, true},       {SPAN_LIT("UNDRAFT"), STORE_DRAFT, false},
    {SPAN_LIT("FLAGGED"), STORE_FLAGGED, true},   {SPAN_LIT("UNFLAGGED"), STORE_FLAGGED, false},
    {SPAN_LIT("SEEN"), STORE_SEEN, true},         {SPAN_LIT("UNSEEN"), STORE_SEEN, false},
};

static const struct {
    struct span name;
    enum search_op op;
} date_keys[] = {
    {SPAN_LIT("BEFORE"), SEARCH_BEFORE}, {SPAN_LIT("ON"), SEARCH_ON},
    {SPAN_LIT("SINCE"), SEARCH_SINCE},   {SPAN_LIT("SENTBEFORE"), SEARCH_SENTBEFORE},
    {SPAN_LIT("SENTON"), SEARCH_SENTON}, {SPAN_LIT("SENTSINCE"), SEARCH_SENTSINCE},
};

static const struct span header_keys[] = {
    SPAN_LIT("BCC"), SPAN_LIT("CC"), SPAN_LIT("FROM"), SPAN_LIT("SUBJECT"), SPAN_LIT("TO"),
};

static bool fail(struct search *q, const char *why)
{
    session_bad(q->session, why);
    return false;
}

static bool take_key(struct search *q, struct parse *p, unsigned depth, struct search_key **out);

/* --- arguments --- */

static bool take_text(struct search *q, struct parse *p, struct span *text)
{
    if (parse_space(p) && parse_astring(p, text) == 0)
        return true;
    return fail(q, parse_end(p) ? "Missing parameter for argument." : "Invalid arguments.");
}

/* A string in the request's charset as something to look for. */
static bool take_needle(struct search *q, struct parse *p, struct search_key *k)
{
    struct span text;
    struct search_needle **slot;
    struct str utf8;
    int rc = 0;

    if (!take_text(q, p, &text))
        return false;
    str_init(&utf8, &q->session->client->budget);
    if (q->charset.n > 0) {
        rc = charset_to_utf8(&utf8, q->charset, text);
        text = str_span(&utf8);
    }
    if (rc == 0)
        rc = search_needle_new(text, &k->needle);
    str_fini(&utf8);
    if (rc == 0) {
        slot = array_push(&q->needles);
        if (slot != NULL)
            *slot = k->needle;
        else
            search_needle_free(k->needle);
        rc = slot == NULL ? -ENOMEM : 0;
    }
    if (rc == ERR_TOO_LONG)
        return fail(q, "Search string is too long.");
    if (rc < 0)
        session_store_error(q->session, rc, "SEARCH");
    return rc == 0;
}

static bool take_day(struct search *q, struct parse *p, struct search_key *k)
{
    struct span text;

    if (!take_text(q, p, &text))
        return false;
    if (date_parse_imap_day(text, &k->day) == 0)
        return true;
    return fail(q, "Invalid search date parameter");
}

static bool take_size(struct search *q, struct parse *p, struct search_key *k)
{
    if (parse_space(p) && parse_number64(p, &k->size) == 0)
        return true;
    return fail(q, "Invalid search size parameter");
}

static bool take_keyword(struct search *q, struct parse *p, struct search_key *k, bool is_wanted)
{
    struct span name;

    k->op = SEARCH_KEYWORD;
    k->is_wanted = is_wanted;
    if (!take_text(q, p, &name))
        return false;
    k->keywords = store_view_keyword(q->session->view, name);
    return true;
}

static bool take_set(struct search *q, struct parse *p, struct search_key *k, bool by_uid)
{
    struct session *s = q->session;
    struct parse_set ranges;
    struct set set = {0};
    int rc = parse_sequence_set(p, &ranges);

    if (rc < 0)
        return fail(q, by_uid ? "Invalid UID messageset" : "Invalid messageset");
    rc = set_resolve(s->view, &ranges, by_uid, true, &set);
    array_free(&ranges.ranges);
    k->op = SEARCH_SET;
    k->marks = rc == 0 ? arena_alloc(&s->arena, s->view->messages.len + 1) : NULL;
    if (k->marks == NULL)
        session_store_error(s, -ENOMEM, "SEARCH");
    for (size_t i = 0; i < set.numbers.len && k->marks != NULL; i++)
        k->marks[set.numbers.items[i] - 1] = 1;
    set_free(&set);
    return k->marks != NULL;
}

/* --- keys --- */

static bool take_list(struct search *q, struct parse *p, unsigned depth, struct search_key *k)
{
    struct search_key **last = &k->children;

    k->op = SEARCH_ALL;
    do {
        if (!take_key(q, p, depth + 1, last))
            return false;
        last = &(*last)->next;
    } while (parse_space(p));
    return parse_char(p, ')') || fail(q, "Invalid arguments.");
}

static bool take_children(struct search *q, struct parse *p, unsigned depth, struct search_key *k,
                          unsigned count)
{
    struct search_key **last = &k->children;

    for (unsigned i = 0; i < count; i++) {
        if (!parse_space(p))
            return fail(q, "Missing parameter for argument.");
        if (!take_key(q, p, depth + 1, last))
            return false;
        last = &(*last)->next;
    }
    return true;
}

/* NEW is (RECENT UNSEEN) (RFC 3501 6.4.4). */
static bool make_new(struct search *q, struct search_key *k)
{
    struct search_key *recent = ARENA_NEW(&q->session->arena, struct search_key);
    struct search_key *unseen = ARENA_NEW(&q->session->arena, struct search_key);

    if (recent == NULL || unseen == NULL) {
        session_store_error(q->session, -ENOMEM, "SEARCH");
        return false;
    }
    *recent = (struct search_key){.op = SEARCH_RECENT, .is_wanted = true, .next = unseen};
    *unseen = (struct search_key){.op = SEARCH_FLAG, .flags = STORE_SEEN};
    k->op = SEARCH_ALL;
    k->children = recent;
    return true;
}

static bool take_header(struct search *q, struct parse *p, struct search_key *k, struct span name)
{
    k->op = SEARCH_HEADER;
    if (name.n > 0)
        k->header = name;
    else if (!take_text(q, p, &k->header))
        return false;
    k->is_kept = imap_is_envelope_field(k->header);
    q->needs_fields |= k->is_kept;
    return take_needle(q, p, k);
}

static bool take_content(struct search *q, struct parse *p, struct search_key *k, enum search_op op)
{
    k->op = op;
    q->needs_body = true;
    return take_needle(q, p, k);
}

/* Keys that are words of tables. 1 taken, 0 not one of them, -1 the answer is set. */
static int take_from_tables(struct search *q, struct parse *p, struct span word,
                            struct search_key *k)
{
    for (size_t i = 0; i < COUNT_OF(flag_keys); i++) {
        if (span_ieq(word, flag_keys[i].name)) {
            k->op = SEARCH_FLAG;
            k->flags = flag_keys[i].flags;
            k->is_wanted = flag_keys[i].is_wanted;
            return 1;
        }
    }
    for (size_t i = 0; i < COUNT_OF(date_keys); i++) {
        if (span_ieq(word, date_keys[i].name)) {
            k->op = date_keys[i].op;
            q->needs_fields |= k->op >= SEARCH_SENTBEFORE;
            return take_day(q, p, k) ? 1 : -1;
        }
    }
    for (size_t i = 0; i < COUNT_OF(header_keys); i++) {
        if (span_ieq(word, header_keys[i]))
            return take_header(q, p, k, header_keys[i]) ? 1 : -1;
    }
    return 0;
}

static bool take_word(struct search *q, struct parse *p, unsigned depth, struct span word,
                      struct search_key *k)
{
    int taken = take_from_tables(q, p, word, k);

    if (taken != 0)
        return taken > 0;
    if (span_ieq(word, SPAN_LIT("ALL")))
        return true;
    if (span_ieq(word, SPAN_LIT("NOT"))) {
        k->op = SEARCH_NOT;
        return take_children(q, p, depth, k, 1);
    }
    if (span_ieq(word, SPAN_LIT("OR"))) {
        k->op = SEARCH_OR;
        return take_children(q, p, depth, k, 2);
    }
    if (span_ieq(word, SPAN_LIT("UID")))
        return parse_space(p) ? take_set(q, p, k, true)
                              : fail(q, "Missing parameter for argument.");
    if (span_ieq(word, SPAN_LIT("NEW")))
        return make_new(q, k);
    if (span_ieq(word, SPAN_LIT("RECENT")) || span_ieq(word, SPAN_LIT("OLD"))) {
        k->op = SEARCH_RECENT;
        k->is_wanted = word.n == SPAN_LIT("RECENT").n;
        return true;
    }
    if (span_ieq(word, SPAN_LIT("KEYWORD")) || span_ieq(word, SPAN_LIT("UNKEYWORD")))
        return take_keyword(q, p, k, word.n == SPAN_LIT("KEYWORD").n);
    if (span_ieq(word, SPAN_LIT("LARGER")) || span_ieq(word, SPAN_LIT("SMALLER"))) {
        k->op = word.n == SPAN_LIT("LARGER").n ? SEARCH_LARGER : SEARCH_SMALLER;
        return take_size(q, p, k);
    }
    if (span_ieq(word, SPAN_LIT("HEADER")))
        return take_header(q, p, k, SPAN_NONE);
    if (span_ieq(word, SPAN_LIT("BODY")))
        return take_content(q, p, k, SEARCH_BODY);
    if (span_ieq(word, SPAN_LIT("TEXT")))
        return take_content(q, p, k, SEARCH_TEXT);
    return fail(q, arena_printf(&q->session->arena, "Unknown argument %.*s", SPAN_ARG(word)));
}

static bool take_key(struct search *q, struct parse *p, unsigned depth, struct search_key **out)
{
    struct search_key *k = ARENA_NEW(&q->session->arena, struct search_key);
    struct span word;

    if (k == NULL) {
        session_store_error(q->session, -ENOMEM, "SEARCH");
        return false;
    }
    if (depth > SEARCH_DEPTH_MAX || ++q->keys > SEARCH_KEYS_MAX)
        return fail(q, "Search query is too complex.");
    *out = k;
    if (parse_char(p, '('))
        return take_list(q, p, depth, k);
    if (p->rest.n > 0 && (ascii_is_digit(p->rest.p[0]) || p->rest.p[0] == '*'))
        return take_set(q, p, k, false);
    if (parse_atom(p, &word) < 0)
        return fail(q, parse_end(p) ? "Missing arguments." : "Invalid arguments.");
    return take_word(q, p, depth, word, k);
}

static bool take_charset(struct search *q, struct parse *p)
{
    struct span name;

    if (!take_text(q, p, &name))
        return false;
    if (!charset_is_known(name)) {
        session_no(q->session, "[BADCHARSET (US-ASCII UTF-8)] Unknown charset");
        return false;
    }
    if (!span_ieq(name, SPAN_LIT("UTF-8")) && !span_ieq(name, SPAN_LIT("US-ASCII")))
        q->charset = name;
    return true;
}

bool search_take(struct search *q, struct parse *p)
{
    struct search_key **last = &q->root.children;
    struct parse ahead = *p;

    q->root.op = SEARCH_ALL;
    if (parse_space(&ahead) && parse_word(&ahead, "CHARSET")) {
        *p = ahead;
        if (!take_charset(q, p))
            return false;
    }
    if (parse_end(p))
        return fail(q, "Missing search parameters");
    while (parse_space(p)) {
        if (!take_key(q, p, 0, last))
            return false;
        last = &(*last)->next;
    }
    return parse_end(p) || fail(q, "Invalid arguments.");
}

void search_free(struct search *q)
{
    for (size_t i = 0; i < q->needles.len; i++)
        search_needle_free(q->needles.items[i]);
    array_free(&q->needles);
}
