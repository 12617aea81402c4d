/* access.c: access tables (access(5)): which keys are asked for, and what a result
 * means. */
#include "base/error.h"
#include "base/log.h"
#include "map/lookup.h"
#include "smtpd/restrict_internal.h"

enum { LIST_DEPTH_MAX = 10, LIST_WORDS_MAX = 100 };

/* The subject of the check under way. */
struct access {
    struct session *s;
    const char *table;
    struct span subject;
    const char *class;
};

static enum restrict_verdict reject_with(struct access *a, int code, const char *dsn,
                                         struct span text)
{
    return restrict_reject(a->s, code, dsn, "<%.*s>: %s rejected: %.*s", SPAN_ARG(a->subject),
                           a->class, SPAN_ARG(text.n > 0 ? text : SPAN_LIT("Access denied")));
}

/* "4.7.1 text" or "text": the status may stand in front. dsn holds the given one. */
static const char *take_status(struct span *text, const char *fallback, char dsn[12])
{
    struct span rest = *text, word;
    unsigned dots = 0;

    if (!span_token(&rest, " \t", &word) || word.n < 5 || word.n > 11)
        return fallback;
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '.')
            dots++;
        else if (!ascii_is_digit(word.p[i]))
            return fallback;
    }
    if (dots != 2 || word.p[1] != '.' || !ascii_is_digit(word.p[word.n - 1]))
        return fallback;
    memcpy(dsn, word.p, word.n);
    dsn[word.n] = '\0';
    *text = span_trim(rest);
    return dsn;
}

static void log_action(struct access *a, const char *action, struct span text)
{
    struct str line = {0};

    str_printf(&line, "<%.*s>: %s %.*s", SPAN_ARG(a->subject), a->class, SPAN_ARG(text));
    session_log_reject(a->s, action, str_span(&line));
    str_fini(&line);
}

/* "4NN text" and "5NN text". */
static enum restrict_verdict apply_code(struct access *a, struct span word, struct span text)
{
    char dsn[12];
    int code = (word.p[0] - '0') * 100 + (word.p[1] - '0') * 10 + (word.p[2] - '0');
    const char *status = take_status(&text, code < 500 ? "4.7.1" : "5.7.1", dsn);

    return reject_with(a, code, status, text);
}

static enum restrict_verdict do_reject(struct access *a, struct span text)
{
    char dsn[12];
    const char *status = take_status(&text, "5.7.1", dsn);

    return reject_with(a, a->s->server->restrictions->access_reject_code, status, text);
}

static enum restrict_verdict do_defer(struct access *a, struct span text)
{
    char dsn[12];
    const char *status = take_status(&text, "4.7.1", dsn);

    return reject_with(a, a->s->server->restrictions->access_defer_code, status, text);
}

static enum restrict_verdict do_defer_if_permit(struct access *a, struct span text)
{
    char dsn[12];
    const char *status = take_status(&text, "4.7.1", dsn);

    if (!a->s->is_warning)
        restrict_defer_if_permit(a->s, "%d %s <%.*s>: %s rejected: %.*s",
                                 a->s->server->restrictions->access_defer_code, status,
                                 SPAN_ARG(a->subject), a->class,
                                 SPAN_ARG(text.n > 0 ? text : SPAN_LIT("Service unavailable")));
    return RESTRICT_DUNNO;
}

static enum restrict_verdict do_defer_if_reject(struct access *a, struct span text)
{
    char dsn[12];
    const char *status = take_status(&text, "4.7.1", dsn);

    if (!a->s->is_warning && a->s->defer_if_reject.len == 0)
        str_printf(&a->s->defer_if_reject, "%d %s <%.*s>: %s rejected: %.*s",
                   a->s->server->restrictions->access_defer_code, status, SPAN_ARG(a->subject),
                   a->class, SPAN_ARG(text.n > 0 ? text : SPAN_LIT("Service unavailable")));
    return RESTRICT_DUNNO;
}

static enum restrict_verdict do_ok(struct access *a, struct span text)
{
    return RESTRICT_OK;
}

static enum restrict_verdict do_dunno(struct access *a, struct span text)
{
    return RESTRICT_DUNNO;
}

static enum restrict_verdict do_hold(struct access *a, struct span text)
{
    log_action(a, "hold", text.n > 0 ? text : SPAN_LIT("triggers HOLD action"));
    a->s->tx.is_held = a->s->tx.is_held || a->s->tx.is_open;
    return RESTRICT_DUNNO;
}

/* Say 250 and drop it: for the whole message, so later recipients too. */
static enum restrict_verdict do_discard(struct access *a, struct span text)
{
    log_action(a, "discard", text.n > 0 ? text : SPAN_LIT("triggers DISCARD action"));
    a->s->tx.is_discarded = a->s->tx.is_discarded || a->s->tx.is_open;
    return RESTRICT_OK;
}

static enum restrict_verdict do_warn(struct access *a, struct span text)
{
    session_log_reject(a->s, "warn", text);
    return RESTRICT_DUNNO;
}

static enum restrict_verdict do_info(struct access *a, struct span text)
{
    session_log_reject(a->s, "info", text);
    return RESTRICT_DUNNO;
}

/* A header line in front of the message; one field, as text says. */
static enum restrict_verdict do_prepend(struct access *a, struct span text)
{
    ptrdiff_t colon = span_find(text, ':');

    if (!a->s->tx.is_open)
        return RESTRICT_DUNNO;
    if (colon <= 0 || memchr(text.p, ' ', (size_t)colon) != NULL || span_find(text, '\r') >= 0 ||
        span_find(text, '\n') >= 0) {
        log_warn("access table %s: PREPEND action needs \"name: text\"", a->table);
        return RESTRICT_DUNNO;
    }
    str_append(&a->s->tx.prepended, text);
    str_append(&a->s->tx.prepended, SPAN_LIT("\r\n"));
    return RESTRICT_DUNNO;
}

static void log_trigger(struct access *a, const char *action, const char *name, struct span text)
{
    struct str line = {0};

    str_printf(&line, "triggers %s %.*s", name, SPAN_ARG(text));
    log_action(a, action, str_span(&line));
    str_fini(&line);
}

/* One recipient for the whole message; of several, the last counts. */
static enum restrict_verdict do_redirect(struct access *a, struct span text)
{
    if (span_find(text, '@') <= 0) {
        log_warn("access table %s: REDIRECT action needs user@domain", a->table);
        return RESTRICT_DUNNO;
    }
    log_trigger(a, "redirect", "REDIRECT", text);
    if (a->s->tx.is_open && arena_copy(&a->s->tx.arena, text, &a->s->tx.redirect) < 0)
        return restrict_table_failed(a->s);
    return RESTRICT_DUNNO;
}

/* The whole message goes by this transport; of several, the last counts. */
static enum restrict_verdict do_filter(struct access *a, struct span text)
{
    if (span_find(text, ':') <= 0) {
        log_warn("access table %s: FILTER action needs transport:destination", a->table);
        return RESTRICT_DUNNO;
    }
    log_trigger(a, "filter", "FILTER", text);
    if (a->s->tx.is_open && arena_copy(&a->s->tx.arena, text, &a->s->tx.filter) < 0)
        return restrict_table_failed(a->s);
    return RESTRICT_DUNNO;
}

/* One more recipient for the message, whom its sender does not hear of. */
static enum restrict_verdict do_bcc(struct access *a, struct span text)
{
    struct session_recipient *r;

    if (span_find(text, '@') <= 0) {
        log_warn("access table %s: BCC action needs user@domain", a->table);
        return RESTRICT_DUNNO;
    }
    log_trigger(a, "bcc", "BCC", text);
    if (!a->s->tx.is_open)
        return RESTRICT_DUNNO;
    r = array_push(&a->s->tx.bcc);
    if (r == NULL || arena_copy(&a->s->tx.arena, text, &r->address) < 0)
        return restrict_table_failed(a->s);
    return RESTRICT_DUNNO;
}

static const struct {
    const char *name;
    enum restrict_verdict (*run)(struct access *a, struct span text);
} actions[] = {
    {"OK", do_ok},
    {"RELAY", do_ok},
    {"REJECT", do_reject},
    {"DEFER", do_defer},
    {"DEFER_IF_PERMIT", do_defer_if_permit},
    {"DEFER_IF_REJECT", do_defer_if_reject},
    {"DUNNO", do_dunno},
    {"HOLD", do_hold},
    {"DISCARD", do_discard},
    {"WARN", do_warn},
    {"INFO", do_info},
    {"PREPEND", do_prepend},
    {"REDIRECT", do_redirect},
    {"FILTER", do_filter},
    {"BCC", do_bcc},
};

/* A restriction list as a result: names without tables, and classes. */
static enum restrict_verdict apply_list(struct access *a, struct span list)
{
    struct restrictions *r = a->s->server->restrictions;
    enum restrict_verdict verdict = RESTRICT_DUNNO;
    struct span word;
    bool warn = false;

    if (a->s->depth >= LIST_DEPTH_MAX)
        return restrict_misconfigured(a->s);
    a->s->depth++;
    for (unsigned i = 0;
         i < LIST_WORDS_MAX && verdict == RESTRICT_DUNNO && span_token(&list, ", \t", &word); i++) {
        const struct restrict_kind *kind = restrict_kind_find(word);
        const struct restriction_list *class = NULL;
        struct restriction item = {.kind = kind};

        for (size_t j = 0; kind == NULL && j < r->classes.len; j++)
            if (span_eq(r->classes.items[j]->name, word))
                class = &r->classes.items[j]->list;
        if (class == NULL && (kind == NULL || kind->argument != RESTRICT_NO_ARGUMENT)) {
            log_warn("access table %s: %.*s: unknown or unsupported restriction or action",
                     a->table, SPAN_ARG(word));
            verdict = restrict_misconfigured(a->s);
        } else if (class == NULL && kind->run == NULL) {
            warn = true;
            continue;
        } else {
            bool before = a->s->is_warning;

            a->s->is_warning = before || warn;
            verdict = class != NULL ? restrict_run_list(a->s, class) : kind->run(a->s, &item);
            a->s->is_warning = before;
        }
        warn = false;
    }
    a->s->depth--;
    return verdict;
}

static bool is_number(struct span word)
{
    for (size_t i = 0; i < word.n; i++)
        if (!ascii_is_digit(word.p[i]))
            return false;
    return word.n > 0;
}

/* What an access table's result means. */
static enum restrict_verdict apply(struct session *s, const char *table, struct span value,
                                   struct span subject, const char *class)
{
    struct access a = {.s = s, .table = table, .subject = subject, .class = class};
    struct span rest = value, word;

    if (!span_token(&rest, " \t", &word)) {
        log_warn("access table %s: empty result for %.*s", table, SPAN_ARG(subject));
        return restrict_misconfigured(s);
    }
    rest = span_trim(rest);
    for (size_t i = 0; i < COUNT_OF(actions); i++)
        if (span_ieq(word, span_cstr(actions[i].name)))
            return actions[i].run(&a, rest);
    /* All digits: generated by tables that only say that an entry is there. */
    if (is_number(word) && rest.n == 0)
        return RESTRICT_OK;
    if (is_number(word) && word.n == 3 && (word.p[0] == '4' || word.p[0] == '5'))
        return apply_code(&a, word, rest);
    return apply_list(&a, value);
}

/* --- the four checks --- */

static enum restrict_verdict find(struct session *s, const struct restriction *r,
                                  const struct map_keys *keys, struct span subject,
                                  const char *class, bool *is_found)
{
    enum restrict_verdict verdict;
    struct str value;
    int rc;

    str_init(&value, s->budget);
    rc = map_lookup_keys(r->table, keys, &value);
    *is_found = rc != ERR_NOT_FOUND;
    if (rc == ERR_NOT_FOUND)
        verdict = RESTRICT_DUNNO;
    else if (rc < 0)
        verdict = restrict_table_failed(s);
    else
        verdict = apply(s, map_name(r->table), str_span(&value), subject, class);
    str_fini(&value);
    return verdict;
}

static bool parents_match(const struct session *s)
{
    return s->server->restrictions->access_domain_flags == MAP_MATCH_PARENT;
}

enum restrict_verdict check_client_access(struct session *s, const struct restriction *r)
{
    struct map_keys keys = {.arena = &s->tx.arena};
    enum restrict_verdict verdict = RESTRICT_DUNNO;
    bool is_found = false;

    if (map_keys_domain(&keys, s->name, parents_match(s)) < 0)
        return restrict_table_failed(s);
    verdict = find(s, r, &keys, s->name_address, "Client host", &is_found);
    if (is_found)
        return verdict;
    keys.count = 0;
    if (map_keys_network(&keys, s->address) < 0)
        return restrict_table_failed(s);
    return find(s, r, &keys, s->name_address, "Client host", &is_found);
}

enum restrict_verdict check_helo_access(struct session *s, const struct restriction *r)
{
    struct map_keys keys = {.arena = &s->tx.arena};
    bool is_found;

    if (s->helo.n == 0)
        return RESTRICT_DUNNO;
    if (map_keys_domain(&keys, s->helo, parents_match(s)) < 0)
        return restrict_table_failed(s);
    return find(s, r, &keys, s->helo, "Helo command", &is_found);
}

static enum restrict_verdict check_address(struct session *s, const struct restriction *r,
                                           struct span address, struct span text, const char *class)
{
    struct map_keys keys = {.arena = &s->tx.arena};
    bool is_found;

    if (map_keys_access_address(&keys, address, s->server->restrictions->delimiters,
                                parents_match(s)) < 0)
        return restrict_table_failed(s);
    return find(s, r, &keys, text, class, &is_found);
}

enum restrict_verdict check_sender_access(struct session *s, const struct restriction *r)
{
    struct span address = s->tx.sender;

    if (!s->tx.is_open)
        return RESTRICT_DUNNO;
    /* The null sender has no address to look up (smtpd_null_access_lookup_key). */
    if (address.n == 0) {
        struct map_keys keys = {.arena = &s->tx.arena, .count = 1};
        bool is_found;

        keys.keys[0].text = s->server->restrictions->null_key;
        return find(s, r, &keys, s->tx.sender_text, "Sender address", &is_found);
    }
    return check_address(s, r, address, s->tx.sender_text, "Sender address");
}

enum restrict_verdict check_recipient_access(struct session *s, const struct restriction *r)
{
    if (s->recipient.p == NULL || s->recipient.n == 0)
        return RESTRICT_DUNNO;
    return check_address(s, r, s->recipient, s->recipient_text, "Recipient address");
}
