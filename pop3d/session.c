#include "pop3d/session.h"

#include <errno.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "pop3d/maildrop.h"
#include "pop3d/retrieve.h"

enum {
    BAD_COMMANDS_MAX = 20,
};

static struct {
    struct store *store;
    int64_t idle_ms;
    size_t line_limit;
} shared;

struct session {
    struct mailbox_session *client;
    struct maildrop drop;
    unsigned bad_commands;
    bool is_over;
    bool is_update; /* QUIT was given: UPDATE state */
    bool is_cut;    /* in the middle of a message: no orderly end */
    const char *disconnect;
    /* For the log. */
    uint64_t tops, top_octets, retrievals, retrieved_octets, deleted;
};

int session_start(const struct conf *conf, int directory)
{
    struct store_options options;

    if (directory < 0) {
        log_error("store_directory %s: not there", conf_string(conf, "store_directory"));
        return -ENOENT;
    }
    shared.idle_ms = conf_ms(conf, "pop3_idle_timeout");
    shared.line_limit = (size_t)conf_int(conf, "pop3_line_length_limit");
    store_options_load(&options, conf);
    return store_new(&shared.store, directory, &options);
}

static deadline_t patience(void)
{
    return deadline_in(shared.idle_ms);
}

static void say(struct session *s, const char *line)
{
    if (stream_printf(s->client->stream, patience(), "%s\r\n", line) < 0)
        s->is_over = true;
}

/* --- commands --- */

/* The message of the number in front; what follows stays in *argument. */
static struct maildrop_entry *find_first(struct session *s, struct span *argument)
{
    struct span number;
    struct maildrop_entry *entry = NULL;

    if (!span_token(argument, " ", &number))
        say(s, "-ERR No message number given.");
    else if ((entry = maildrop_find(&s->drop, number)) == NULL)
        say(s, "-ERR There's no such message.");
    return entry;
}

/* The message of a command that takes nothing but a number: "DELE 1 2" is not "DELE 1". */
static struct maildrop_entry *find(struct session *s, struct span argument)
{
    struct maildrop_entry *entry = find_first(s, &argument);

    if (entry == NULL || span_trim(argument).n == 0)
        return entry;
    say(s, "-ERR Noise after message number.");
    return NULL;
}

static size_t number_of(const struct session *s, const struct maildrop_entry *entry)
{
    return (size_t)(entry - s->drop.entries.items) + 1;
}

static void say_numbers(struct session *s, const char *before, uint64_t a, uint64_t b)
{
    if (stream_printf(s->client->stream, patience(), "%s%llu %llu\r\n", before,
                      (unsigned long long)a, (unsigned long long)b) < 0)
        s->is_over = true;
}

static void command_stat(struct session *s, struct span argument)
{
    say_numbers(s, "+OK ", maildrop_count(&s->drop), maildrop_size(&s->drop));
}

static void command_list(struct session *s, struct span argument)
{
    struct maildrop_entry *entry;

    if (argument.n > 0) {
        entry = find(s, argument);
        if (entry != NULL)
            say_numbers(s, "+OK ", number_of(s, entry), entry->size);
        return;
    }
    if (stream_printf(s->client->stream, patience(), "+OK %zu messages:\r\n",
                      maildrop_count(&s->drop)) < 0)
        s->is_over = true;
    for (size_t i = 0; i < s->drop.entries.len && !s->is_over; i++) {
        entry = &s->drop.entries.items[i];
        if (!entry->is_deleted)
            say_numbers(s, "", i + 1, entry->size);
        (void)task_breathe();
    }
    say(s, ".");
}

/* Dovecot's default form, so that clients of a moved server fetch nothing twice. */
static void say_uidl(struct session *s, const char *before, const struct maildrop_entry *entry)
{
    if (stream_printf(s->client->stream, patience(), "%s%zu %08x%08x\r\n", before,
                      number_of(s, entry), entry->uid, s->drop.uidvalidity) < 0)
        s->is_over = true;
}

static void command_uidl(struct session *s, struct span argument)
{
    struct maildrop_entry *entry;

    if (argument.n > 0) {
        entry = find(s, argument);
        if (entry != NULL)
            say_uidl(s, "+OK ", entry);
        return;
    }
    say(s, "+OK");
    for (size_t i = 0; i < s->drop.entries.len && !s->is_over; i++) {
        entry = &s->drop.entries.items[i];
        if (!entry->is_deleted)
            say_uidl(s, "", entry);
        (void)task_breathe();
    }
    say(s, ".");
}

/* Send a message or the top of it; true when all of it went out. */
static bool send_message(struct session *s, const struct maildrop_entry *entry, uint64_t lines)
{
    struct store_body body = {.fd = -1};
    struct span text = maildrop_read(&s->drop, entry);
    int rc = 0;

    if (text.p == NULL)
        rc = store_body_open(s->drop.view, entry->uid, &body);
    if (rc < 0) {
        if (rc != ERR_NOT_FOUND)
            log_error("user=<%s>: message with UID %u: %s", str_cstr(&s->client->user), entry->uid,
                      error_text(rc));
        say(s, rc == ERR_NOT_FOUND ? "-ERR Message is gone."
                                   : "-ERR [SYS/TEMP] Message can't be read now.");
        return false;
    }
    if (lines == RETRIEVE_ALL)
        rc = stream_printf(s->client->stream, patience(), "+OK %llu octets\r\n",
                           (unsigned long long)entry->size);
    else
        rc = stream_printf(s->client->stream, patience(), "+OK\r\n");
    if (rc == 0 && text.p != NULL)
        rc = retrieve_send_text(s->client->stream, text, lines, shared.idle_ms);
    else if (rc == 0)
        rc = retrieve_send(s->client->stream, &body, lines, shared.idle_ms);
    fd_close(&body.fd);
    if (rc < 0) /* in the middle of a message only an early end tells the client */
        s->is_over = s->is_cut = true;
    return rc == 0;
}

static void command_retr(struct session *s, struct span argument)
{
    struct maildrop_entry *entry = find(s, argument);

    if (entry != NULL && send_message(s, entry, RETRIEVE_ALL)) {
        entry->is_read = true;
        s->retrievals++;
        s->retrieved_octets += entry->size;
    }
}

static void command_top(struct session *s, struct span argument)
{
    struct maildrop_entry *entry = find_first(s, &argument);
    struct span count;
    uint64_t lines, before = stream_bytes_out(s->client->stream);

    if (entry == NULL)
        return;
    if (!span_token(&argument, " ", &count) || span_to_u64(count, &lines) < 0) {
        say(s, "-ERR No line count given.");
        return;
    }
    if (span_trim(argument).n > 0) {
        say(s, "-ERR Noise after line count.");
        return;
    }
    if (lines == RETRIEVE_ALL)
        lines--;
    if (send_message(s, entry, lines)) {
        s->tops++;
        s->top_octets += stream_bytes_out(s->client->stream) - before;
    }
}

static void command_dele(struct session *s, struct span argument)
{
    struct maildrop_entry *entry = find(s, argument);

    if (entry != NULL) {
        entry->is_deleted = true;
        say(s, "+OK Marked to be deleted.");
    }
}

static void command_rset(struct session *s, struct span argument)
{
    maildrop_undelete(&s->drop);
    say(s, "+OK");
}

static void command_noop(struct session *s, struct span argument)
{
    say(s, "+OK");
}

static void command_capa(struct session *s, struct span argument)
{
    say(s, "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n.");
}

/* RFC 1939 6: the client is told whether what it deleted is gone. */
static void command_quit(struct session *s, struct span argument)
{
    size_t before = s->drop.entries.len, left = maildrop_count(&s->drop);
    int rc = maildrop_update(&s->drop, true);

    s->is_update = true;
    s->is_over = true;
    s->disconnect = "Disconnected: Logged out";
    if (rc < 0) {
        log_error("user=<%s>: deleted messages were not removed: %s", str_cstr(&s->client->user),
                  error_text(rc));
        say(s, "-ERR [SYS/TEMP] Some deleted messages were not removed.");
        return;
    }
    s->deleted = before - left;
    say(s, s->deleted > 0 ? "+OK Logging out, messages deleted." : "+OK Logging out.");
}

static const struct {
    const char *name;
    void (*run)(struct session *s, struct span argument);
} commands[] = {
    {"STAT", command_stat}, {"LIST", command_list}, {"UIDL", command_uidl}, {"RETR", command_retr},
    {"TOP", command_top},   {"DELE", command_dele}, {"RSET", command_rset}, {"NOOP", command_noop},
    {"CAPA", command_capa}, {"QUIT", command_quit},
};

static void dispatch(struct session *s, struct span line)
{
    struct span rest = span_trim(line), verb = SPAN_NONE;

    (void)span_token(&rest, " ", &verb);
    rest = span_trim(rest);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (span_ieq(verb, span_cstr(commands[i].name))) {
            commands[i].run(s, rest);
            return;
        }
    }
    say(s, "-ERR Unknown command.");
    if (++s->bad_commands > BAD_COMMANDS_MAX) {
        s->disconnect = "Disconnected: Too many bad commands";
        s->is_over = true;
    }
}

/* --- the session --- */

static int open_drop(struct session *s)
{
    int rc = maildrop_open(&s->drop, shared.store, str_span(&s->client->account));

    if (rc == -EBUSY)
        say(s, "-ERR [IN-USE] Mailbox is locked by another POP3 session.");
    else if (rc < 0)
        say(s, "-ERR [SYS/TEMP] Mailbox can't be opened now.");
    if (rc < 0 && rc != -EBUSY)
        log_error("user=<%s>: the mailbox can't be opened: %s", str_cstr(&s->client->user),
                  error_text(rc));
    return rc;
}

static void run_commands(struct session *s)
{
    struct stream *stream = s->client->stream;
    struct span line;

    say(s, "+OK Logged in.");
    while (!s->is_over) {
        int rc = stream_read_line(stream, shared.line_limit, &line, patience());
        if (rc == 0) {
            dispatch(s, line);
            continue;
        }
        if (rc == ERR_TOO_LONG && stream_skip_line(stream, patience()) == 0) {
            dispatch(s, SPAN_NONE);
            continue;
        }
        if (rc == -ETIMEDOUT) {
            s->disconnect = "Disconnected for inactivity";
            say(s, "-ERR [SYS/TEMP] Disconnected for inactivity.");
        } else if (rc == -ECANCELED) {
            s->disconnect = "Disconnected: Server shutting down";
        }
        s->is_over = true;
    }
}

static void log_end(const struct session *s)
{
    log_info("(%s): %s top=%llu/%llu, retr=%llu/%llu, del=%llu/%zu, size=%llu",
             str_cstr(&s->client->user),
             s->disconnect != NULL ? s->disconnect : "Disconnected: Connection closed",
             (unsigned long long)s->tops, (unsigned long long)s->top_octets,
             (unsigned long long)s->retrievals, (unsigned long long)s->retrieved_octets,
             (unsigned long long)s->deleted, s->drop.entries.len,
             (unsigned long long)maildrop_size(&s->drop));
}

void session_serve(struct mailbox_session *client)
{
    struct session s = {.client = client};

    if (open_drop(&s) == 0) {
        run_commands(&s);
        /* Without QUIT nothing is deleted (RFC 1939 6), but what was read was read. */
        task_shield(true);
        if (!s.is_update && maildrop_update(&s.drop, false) < 0)
            log_warn("user=<%s>: retrieved messages were not marked as read",
                     str_cstr(&client->user));
        log_end(&s);
    }
    task_shield(true);
    maildrop_close(&s.drop);
    if (!s.is_cut)
        (void)stream_finish(client->stream, deadline_in(STREAM_FINISH_MS));
}
