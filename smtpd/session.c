/* session.c: the life of a session, from the greeting to the disconnect line. */
#include "smtpd/session.h"

#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "conf/host.h"
#include "smtpd/data_reader.h"

void session_reset(struct session *s)
{
    struct transaction *tx = &s->tx;

    if (tx->upload != NULL)
        s->server->queue.abort(tx->upload);
    if (tx->intake != NULL)
        intake_fini(tx->intake);
    array_free(&tx->recipients);
    array_free(&tx->bcc);
    str_fini(&tx->prepended);
    arena_reset(&tx->arena);
    memset(tx, 0, sizeof(*tx));
    arena_init(&tx->arena, s->budget);
    str_init(&tx->prepended, s->budget);
    task_set_note(s->name_address, SPAN_NONE);
}

/* --- admission --- */

static bool is_exempt_from_limits(struct session *s)
{
    return s->server->limit_exceptions != NULL &&
           map_match_find_client(s->server->limit_exceptions, s->name, s->address) == 0;
}

/* smtpd_client_connection_count_limit. False: the client was told to go. */
static bool admit(struct session *s)
{
    const struct server *server = s->server;
    unsigned limit = server->connection_count_limit;
    uint64_t count = 0;

    if (limit == 0 || server->anvil.connect == NULL || is_exempt_from_limits(s))
        return true;
    if (server->anvil.connect(server->anvil.arg, server->listener, &s->peer, &count) != 0)
        return true; /* without anvil there is no count: mail goes on */
    s->is_counted = true;
    if (count <= limit)
        return true;
    /* Before a handshake nobody would understand it. */
    if (!server->tls_wrapper)
        session_reply(s, "421 4.7.0 %.*s Error: too many connections from %.*s",
                      SPAN_ARG(server->myhostname), SPAN_ARG(s->address));
    log_warn("Connection concurrency limit exceeded: %llu from %.*s for service %s",
             (unsigned long long)count, SPAN_ARG(s->name_address), server->listener);
    return false;
}

/* Without smtpd_delay_reject the client list decides about the greeting. */
static void check_client(struct session *s)
{
    if (s->server->delay_reject)
        return;
    if (restrict_run(s, RESTRICT_CLIENT) == RESTRICT_REJECT)
        s->is_denied = true;
}

static void greet(struct session *s)
{
    if (s->is_denied)
        session_reply_text(s, str_span(&s->reply_text));
    else
        session_reply(s, "220 %s", s->server->banner);
}

/* --- commands --- */

/* A line without its end. A bare LF ends it as well, unless the client must not
 * send any (smtpd_forbid_bare_newline = reject). */
static int read_command(struct session *s, struct span *line, bool *is_bare)
{
    deadline_t deadline = session_deadline(s);
    struct span raw;
    int rc = 0;

    /* An upload may know this session's place on the stack. */
    if (!s->tx.is_open)
        rc = stream_wait_input(s->stream, NULL, deadline);
    if (rc == 0)
        rc = stream_read_line(s->stream, s->server->line_length_limit, &raw, deadline);
    if (rc < 0)
        return rc;
    raw.n--;
    *is_bare = raw.n == 0 || raw.p[raw.n - 1] != '\r';
    while (raw.n > 0 && raw.p[raw.n - 1] == '\r')
        raw.n--;
    *line = raw;
    return 0;
}

static void too_long(struct session *s)
{
    s->errors++;
    session_reply(s, "500 5.5.2 Error: line too long");
    (void)stream_skip_line(s->stream, session_deadline(s));
}

/* More unanswered errors or useless commands than are allowed. */
static bool over_limits(struct session *s)
{
    if (s->errors < s->server->hard_error_limit)
        return false;
    session_reply(s, "421 4.7.0 %.*s Error: too many errors", SPAN_ARG(s->server->myhostname));
    log_info("too many errors after %s from %.*s", s->command, SPAN_ARG(s->name_address));
    return true;
}

static bool is_excluded_from_bare_newline(struct session *s)
{
    return s->server->bare_newline_exclusions != NULL &&
           map_match_find(s->server->bare_newline_exclusions, s->address) == 0;
}

/* One command; false when the session is over. */
static bool serve_command(struct session *s, int *rc)
{
    struct span line;
    bool is_bare;

    *rc = read_command(s, &line, &is_bare);
    if (*rc == ERR_TOO_LONG) {
        too_long(s);
        *rc = 0;
        return true;
    }
    if (*rc < 0)
        return false;
    if (is_bare && s->server->bare_newline == BARE_NEWLINE_REJECT &&
        !is_excluded_from_bare_newline(s)) {
        log_info("disconnect: bare <LF> received after %s from %.*s", s->command,
                 SPAN_ARG(s->name_address));
        session_reply(s, "%d 5.5.2 %.*s Error: bare <LF> received", s->server->bare_newline_code,
                      SPAN_ARG(s->server->myhostname));
        return false;
    }
    s->was_pipelined = stream_buffered(s->stream) > 0;
    *rc = str_set(&s->line, line);
    if (*rc < 0)
        return false;
    switch (command_run(s, str_span(&s->line))) {
    case COMMAND_OK:
    case COMMAND_REFUSED:
        break;
    case COMMAND_ERROR:
        s->errors++;
        break;
    case COMMAND_CLOSE:
        return false;
    }
    /* In the middle of a message there is no going on: what may still come is not
     * commands. */
    *rc = s->io_error;
    return *rc == 0 && !s->is_hangup;
}

/* What ended the session, if it was not the client's QUIT. */
static void report_end(struct session *s, int rc)
{
    const struct server *server = s->server;

    if (rc == 0)
        return;
    if (rc == -ETIMEDOUT) {
        session_reply(s, "421 4.4.2 %.*s Error: timeout exceeded", SPAN_ARG(server->myhostname));
        log_info("timeout after %s from %.*s", s->command, SPAN_ARG(s->name_address));
    } else if (rc == -ECANCELED) {
        session_reply(s, "421 4.3.2 %.*s Service shutting down", SPAN_ARG(server->myhostname));
    } else if (rc == -ENOMEM) {
        session_reply(s, "421 4.3.0 %.*s Error: session needs too much memory",
                      SPAN_ARG(server->myhostname));
        log_warn("limit session_memory_limit exceeded after %s from %.*s", s->command,
                 SPAN_ARG(s->name_address));
    } else {
        log_info("lost connection after %s from %.*s", s->command, SPAN_ARG(s->name_address));
    }
}

static void serve(struct session *s)
{
    int rc = 0;

    if (!admit(s))
        return;
    if (s->server->tls_wrapper) {
        rc = tls_start(s);
        if (rc < 0) {
            log_info("lost connection after CONNECT from %.*s", SPAN_ARG(s->name_address));
            return;
        }
    }
    check_client(s);
    greet(s);
    do {
        if (over_limits(s))
            return;
    } while (serve_command(s, &rc));
    report_end(s, rc);
}

static void session_init(struct session *s, const struct server *server, struct stream *stream,
                         struct budget *budget)
{
    memset(s, 0, sizeof(*s));
    s->server = server;
    s->stream = stream;
    s->protocol = "SMTP";
    s->command = "CONNECT";
    s->budget = budget;
    arena_init(&s->arena, s->budget);
    arena_init(&s->tx.arena, s->budget);
    str_init(&s->tx.prepended, s->budget);
    str_init(&s->helo_text, s->budget);
    str_init(&s->login_text, s->budget);
    str_init(&s->line, s->budget);
    str_init(&s->reply_text, s->budget);
    str_init(&s->defer_if_permit, s->budget);
    str_init(&s->defer_if_reject, s->budget);
}

static void session_fini(struct session *s)
{
    session_reset(s);
    str_fini(&s->tx.prepended);
    str_fini(&s->helo_text);
    str_fini(&s->login_text);
    str_fini(&s->line);
    str_fini(&s->reply_text);
    str_fini(&s->defer_if_permit);
    str_fini(&s->defer_if_reject);
    arena_reset(&s->arena);
}

static void log_disconnect(struct session *s)
{
    struct str counts = {0};

    command_print_counts(s, &counts);
    log_info("disconnect from %.*s%s", SPAN_ARG(s->name_address), str_cstr(&counts));
    str_fini(&counts);
}

void session_run(const struct server *server, struct stream *stream, struct budget *budget,
                 const struct net_address *peer, const struct net_address *local)
{
    struct session s;
    bool shield;

    session_init(&s, server, stream, budget);
    s.peer = *peer;
    s.local = *local;
    if (peer_identify(&s) == 0) {
        log_info("connect from %.*s", SPAN_ARG(s.name_address));
        serve(&s);
        /* The last words go out also when the process is stopping. */
        shield = task_shield(true);
        (void)stream_shutdown(s.stream, deadline_in(1000));
        if (s.is_counted)
            server->anvil.disconnect(server->anvil.arg, server->listener, &s.peer);
        session_reset(&s);
        (void)task_shield(shield);
        log_disconnect(&s);
    }
    session_fini(&s);
    stream_free(stream);
}
