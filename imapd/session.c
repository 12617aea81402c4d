#include "imapd/session.h"

#include <errno.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "imapd/append.h"
#include "imapd/capability.h"
#include "imapd/commands.h"
#include "imapd/flags.h"
#include "imapd/sync.h"
#include "mail/imap.h"

enum {
    BAD_COMMANDS_MAX = 20,
    ANSWER_MAX_OCTETS = 1048576, /* a COPYUID of many single UIDs */
    MAILBOX_NAME_MAX = 1024,     /* as it comes over the wire */
};

struct session_settings session_settings;

int session_start(const struct conf *conf, int directory)
{
    struct store_options options;

    if (directory < 0) {
        log_error("store_directory %s: not there", conf_string(conf, "store_directory"));
        return -ENOENT;
    }
    session_settings.directory = directory;
    session_settings.idle_ms = conf_ms(conf, "imap_idle_timeout");
    session_settings.notify_ms = conf_ms(conf, "imap_idle_notify_interval");
    session_settings.line_limit = (size_t)conf_int(conf, "imap_max_line_length");
    session_settings.message_limit = (uint64_t)conf_int(conf, "message_size_limit");
    session_settings.special_use = conf_string(conf, "imap_special_use_mailboxes");
    store_options_load(&options, conf);
    return store_new(&session_settings.store, directory, &options);
}

deadline_t session_patience(void)
{
    return deadline_in(session_settings.idle_ms);
}

/* --- output --- */

static void note_output(struct session *s, int rc)
{
    if (rc == 0 || s->is_over)
        return;
    s->is_over = true;
    if (rc == -ENOMEM)
        s->disconnect = "Disconnected: Session is out of memory (session_memory_limit)";
    else if (rc == -ETIMEDOUT)
        s->disconnect = "Disconnected: Inactivity while sending";
    else if (rc == -ECANCELED)
        s->disconnect = "Disconnected: Server shutting down.";
}

int session_send(struct session *s, struct span text)
{
    int rc = s->is_over ? ERR_EOF : stream_write(s->stream, text, session_patience());

    note_output(s, rc);
    return rc;
}

void session_write(struct session *s, struct span text)
{
    (void)session_send(s, text);
}

void session_say(struct session *s, const char *fmt, ...)
{
    struct str line;
    va_list ap;
    int rc;

    if (s->is_over)
        return;
    str_init(&line, &s->client->budget);
    va_start(ap, fmt);
    rc = str_vprintf(&line, fmt, ap);
    va_end(ap);
    if (rc == 0)
        rc = str_append_cstr(&line, "\r\n");
    if (rc == 0)
        rc = stream_write(s->stream, str_span(&line), session_patience());
    str_fini(&line);
    note_output(s, rc);
}

static void set_answer(struct session *s, const char *status, const char *fmt, va_list ap)
{
    str_clear(&s->answer);
    str_append_cstr(&s->answer, status);
    str_vprintf(&s->answer, fmt, ap);
}

void session_ok(struct session *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_answer(s, "OK ", fmt, ap);
    va_end(ap);
}

void session_no(struct session *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_answer(s, "NO ", fmt, ap);
    va_end(ap);
}

void session_bad(struct session *s, const char *why)
{
    str_clear(&s->answer);
    str_append_cstr(&s->answer, "BAD Error in IMAP command ");
    if (s->command != NULL)
        str_printf(&s->answer, "%s: ", s->command->name);
    str_append_cstr(&s->answer, why != NULL ? why : "Invalid arguments.");
    s->bad_commands++;
}

void session_end(struct session *s, const char *why)
{
    session_say(s, "* BYE %s", why);
    if (!s->is_over)
        s->disconnect = why;
    s->is_over = true;
}

void session_out_of_memory(struct session *s)
{
    if (s->is_over)
        return;
    log_warn("user=<%s>, rip=%s: the session is over session_memory_limit (%zu octets) and is "
             "ended",
             str_cstr(&s->client->user), str_cstr(&s->client->peer), s->client->budget.limit);
    session_end(s, "Session is out of memory.");
}

void session_lost(struct session *s, int rc)
{
    switch (rc) {
    case -ETIMEDOUT:
        session_end(s, "Disconnected for inactivity.");
        break;
    case -ECANCELED:
        task_shield(true);
        session_end(s, "Server shutting down.");
        break;
    case -ENOMEM:
        session_out_of_memory(s);
        break;
    default: /* it went away */
        s->is_over = true;
        break;
    }
}

void session_store_error(struct session *s, int rc, const char *what)
{
    switch (rc) {
    case -ENOMEM:
        session_no(s, "[LIMIT] Out of memory.");
        session_out_of_memory(s);
        return;
    case -ECANCELED:
        session_no(s, "[UNAVAILABLE] Server shutting down.");
        return;
    case ERR_NOT_FOUND:
        session_no(s, "[NONEXISTENT] Mailbox doesn't exist");
        return;
    case ERR_LIMIT:
    case -EDQUOT:
        session_no(s, "[OVERQUOTA] Quota exceeded (mailbox for user is full)");
        return;
    case -ENOSPC:
        session_no(s, "[UNAVAILABLE] Not enough disk space");
        break;
    case ERR_READ_ONLY:
        session_no(s, "[UNAVAILABLE] The mail store is read-only now.");
        break;
    case ERR_DENIED:
        session_no(s, "[CANNOT] Permission denied");
        return;
    default:
        session_no(s, "[SERVERBUG] Internal error occurred. Refer to server log for more "
                      "information.");
        break;
    }
    log_error("user=<%s>: %s: %s", str_cstr(&s->client->user), what, error_text(rc));
}

/* --- mailbox names --- */

/* "INBOX" in any case is one mailbox (RFC 3501 5.1). */
static int fold_inbox(struct session *s, struct span *name)
{
    if (span_ieq(*name, SPAN_LIT("INBOX")))
        *name = SPAN_LIT("INBOX");
    return 0;
}

static bool is_name_odd(struct span name)
{
    return name.n > 0 && (name.p[0] == '/' || span_search(name, SPAN_LIT("//")) >= 0);
}

bool session_take_mailbox(struct session *s, struct parse *p, struct span *name)
{
    struct span wire;
    struct str utf8;
    int rc;

    if (!parse_space(p) || parse_astring(p, &wire) < 0) {
        session_bad(s, parse_end(p) ? "Missing arguments." : "Invalid arguments.");
        return false;
    }
    if (wire.n > MAILBOX_NAME_MAX) {
        session_no(s, "[CANNOT] Mailbox name is too long");
        return false;
    }
    str_init(&utf8, &s->client->budget);
    rc = imap_utf7_decode(&utf8, wire);
    if (rc == 0)
        rc = arena_copy(&s->arena, str_span(&utf8), name);
    str_fini(&utf8);
    if (rc == -ENOMEM) {
        session_store_error(s, rc, "mailbox name");
        return false;
    }
    if (rc < 0) {
        session_no(s, "[CANNOT] Mailbox name is not valid mUTF-7");
        return false;
    }
    if (is_name_odd(*name)) {
        session_no(s, name->p[0] == '/'
                          ? "[CANNOT] Invalid mailbox name: Begins with hierarchy separator"
                          : "[CANNOT] Invalid mailbox name: Has adjacent hierarchy separators");
        return false;
    }
    return fold_inbox(s, name) == 0;
}

int session_append_mailbox(struct str *out, struct span name)
{
    struct str wire = {0};
    int rc = imap_utf7_encode(&wire, name);

    if (rc == 0)
        rc = imap_append_astring(out, str_span(&wire));
    str_fini(&wire);
    return rc;
}

void session_close_mailbox(struct session *s)
{
    if (s->view != NULL)
        store_view_close(s->view);
    s->view = NULL;
}

/* --- commands --- */

static void run(struct session *s, struct parse *p)
{
    const struct command *c = s->command;

    s->by_uid = (c->flags & COMMAND_UID) != 0;
    if ((c->flags & COMMAND_SELECTED) != 0 && s->view == NULL) {
        str_set(&s->answer, SPAN_LIT("BAD No mailbox selected."));
        s->bad_commands++;
        return;
    }
    c->run(s, p);
    if ((c->flags & COMMAND_NO_SYNC) == 0)
        sync_mailbox(s, (c->flags & COMMAND_NO_EXPUNGE) == 0);
    sync_forget_told(s);
}

/* The tagged response, and what follows from it. */
static void finish(struct session *s)
{
    if (s->answer.len > 0 && !s->is_over)
        session_say(s, "%s %s", s->tag.len > 0 ? str_cstr(&s->tag) : "*", str_cstr(&s->answer));
    if (str_error(&s->answer) < 0)
        session_out_of_memory(s);
    if (span_starts(str_span(&s->answer), SPAN_LIT("OK ")))
        s->bad_commands = 0;
    if (s->bad_commands >= BAD_COMMANDS_MAX)
        session_end(s, "Too many invalid IMAP commands.");
}

static void dispatch(struct session *s)
{
    struct parse p = {.rest = str_span(&s->reader.text), .arena = &s->arena};
    struct span tag, name = SPAN_NONE;

    s->command = NULL;
    str_clear(&s->tag);
    str_clear(&s->answer);
    if (parse_tag(&p, &tag) < 0) {
        session_bad(s, "received by server: Invalid tag.");
    } else {
        str_set(&s->tag, tag);
        if (parse_space(&p) && parse_atom(&p, &name) == 0)
            s->command = command_find(name, &p);
        if (s->command != NULL)
            run(s, &p);
        else if (name.n == 0)
            session_bad(s, "received by server.");
        else
            session_bad(s, arena_printf(&s->arena, "%.*s: Unknown command.", SPAN_ARG(name)));
    }
    finish(s);
}

/* What the reader could not take. */
static void refuse_input(struct session *s, int why)
{
    struct parse p = {.rest = str_span(&s->reader.text), .arena = &s->arena};
    struct span tag;

    s->command = NULL;
    str_clear(&s->tag);
    if (parse_tag(&p, &tag) == 0)
        str_set(&s->tag, tag);
    session_bad(s, why == ERR_LIMIT ? "received by server: Literal is too large."
                                    : "received by server: Too long command.");
    finish(s);
}

/* Lines and literals of one command; a message that APPEND brings stays in the stream. */
static int read_command(struct session *s)
{
    deadline_t patience = session_patience();
    int rc = stream_wait_input(s->stream, NULL, patience);

    while (rc == 0) {
        rc = reader_line(&s->reader, patience);
        if (rc < 0 || !s->reader.has_literal || append_is_message_next(s))
            break;
        rc = reader_take_literal(&s->reader, session_patience());
        patience = session_patience();
    }
    return rc;
}

static int serve_command(struct session *s)
{
    int rc = read_command(s);

    if (rc == 0) {
        if (s->reader.text.len > 0)
            dispatch(s);
    } else if (rc == ERR_TOO_LONG || rc == ERR_LIMIT) {
        refuse_input(s, rc);
        rc = 0;
    }
    if (rc == 0 && !s->is_over)
        rc = reader_skip_rest(&s->reader, session_patience());
    reader_clear(&s->reader);
    arena_reset(&s->arena);
    if (s->answer.cap > 256)
        str_fini(&s->answer);
    return rc;
}

/* --- the session --- */

static void serve_commands(struct session *s)
{
    int rc = 0;

    session_say(s, "%s OK [CAPABILITY %s] Logged in", str_cstr(&s->client->tag),
                CAPABILITY_SESSION);
    while (!s->is_over && rc == 0)
        rc = serve_command(s);
    if (rc < 0 && !s->is_over)
        session_lost(s, rc);
}

/* A word that tells sessions apart in the log, as Dovecot's. */
static void make_session_id(struct str *out)
{
    char octets[12];

    random_bytes(octets, sizeof(octets));
    base64_encode(out, span_make(octets, sizeof(octets)));
}

static void log_end(const struct session *s)
{
    struct str id = {0}, why = {0};

    make_session_id(&id);
    if (s->disconnect == NULL)
        str_append_cstr(&why, "Disconnected: Connection closed");
    else
        str_printf(&why, "%s%s",
                   span_istarts(span_cstr(s->disconnect), SPAN_LIT("Disconnected"))
                       ? ""
                       : "Disconnected: ",
                   s->disconnect);
    log_info("imap(%s)<%d><%s>: %s in=%llu out=%llu deleted=%llu expunged=%llu trashed=0 "
             "hdr_count=%llu hdr_bytes=%llu body_count=%llu body_bytes=%llu",
             str_cstr(&s->client->user), (int)getpid(), str_cstr(&id), str_cstr(&why),
             (unsigned long long)stream_bytes_in(s->stream),
             (unsigned long long)stream_bytes_out(s->stream), (unsigned long long)s->deleted,
             (unsigned long long)s->expunged, (unsigned long long)s->header_count,
             (unsigned long long)s->header_octets, (unsigned long long)s->body_count,
             (unsigned long long)s->body_octets);
    str_fini(&id);
    str_fini(&why);
}

static void open_and_serve(struct session *s)
{
    int rc = store_open(session_settings.store, str_span(&s->client->account), true, &s->account);

    if (rc == 0) {
        serve_commands(s);
    } else {
        log_error("user=<%s>: the account can't be opened: %s", str_cstr(&s->client->user),
                  error_text(rc));
        session_say(s, "%s NO [UNAVAILABLE] The mailbox can't be opened now.",
                    str_cstr(&s->client->tag));
        session_end(s, "Internal error occurred. Refer to server log for more information.");
    }
}

void session_serve(struct mailbox_session *client)
{
    struct session s = {.client = client, .stream = client->stream};

    reader_init(&s.reader, client->stream, &client->budget, session_settings.line_limit,
                session_settings.line_limit);
    arena_init(&s.arena, &client->budget);
    str_init(&s.answer, &client->budget);
    s.answer.max = ANSWER_MAX_OCTETS;
    open_and_serve(&s);
    task_shield(true);
    session_close_mailbox(&s);
    if (s.account != NULL)
        store_close(s.account);
    (void)stream_finish(client->stream, deadline_in(STREAM_FINISH_MS));
    log_end(&s);
    reader_fini(&s.reader);
    arena_reset(&s.arena);
    str_fini(&s.tag);
    str_fini(&s.answer);
    array_free(&s.told);
}
