#include "net/pump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "net/stream_internal.h"

enum {
    PIECE_OCTETS = 16384, /* a TLS record */
    PIECES_PER_EVENT = 8, /* then other clients have their turn */
    LINGER_MS = 5000,     /* for the client to read our last octets */
    STALL_MS = 30000,     /* between looks at a client that does not read */
};

/* Octets that one side could not take yet. */
struct backlog {
    char *data;
    size_t at, n;
};

struct pump {
    struct list link;
    struct stream *tls;
    int plain;
    struct task_watch client, session;
    struct task_timer resume; /* more to read than one event's share, or lingering */
    struct backlog to_client, to_session;
    int client_read_wants, client_write_wants; /* what the TLS layer waits for */
    bool is_client_over;                       /* close_notify came */
    bool is_session_over;                      /* the session shut its side down */
    bool is_closing; /* our close_notify is out: waiting for the client to go */
    bool is_stalled; /* resume is set to read on */
    bool has_moved;  /* the client took something since the last look */
    void (*done)(void *arg);
    void *arg;
};

static struct list pumps;
static size_t pump_count;
/* One for all pumps of the process: nothing is kept in it between callbacks. */
static char piece[PIECE_OCTETS];

void net_pump_start_library(void)
{
    list_init(&pumps);
}

size_t net_pump_count(void)
{
    return pump_count;
}

static void free_pump(struct pump *p)
{
    task_watch_fini(&p->client);
    task_watch_fini(&p->session);
    task_timer_clear(&p->resume);
    fd_close(&p->plain);
    stream_free(p->tls);
    free(p->to_client.data);
    free(p->to_session.data);
    if (list_is_linked(&p->link)) {
        list_remove(&p->link);
        pump_count--;
    }
    free(p);
}

static void finish(struct pump *p)
{
    void (*done)(void *arg) = p->done;
    void *arg = p->arg;

    free_pump(p);
    done(arg);
}

/* --- backlogs --- */

static int keep(struct backlog *b, const char *data, size_t n)
{
    b->data = malloc(n);
    if (b->data == NULL)
        return -ENOMEM;
    memcpy(b->data, data, n);
    b->at = 0;
    b->n = n;
    return 0;
}

static bool is_pending(const struct backlog *b)
{
    return b->at < b->n;
}

static void drop(struct backlog *b)
{
    free(b->data);
    *b = (struct backlog){0};
}

/* --- writing: a count, -EAGAIN or another negative code --- */

static ssize_t write_session(struct pump *p, const char *data, size_t n)
{
    ssize_t put = send(p->plain, data, n, MSG_NOSIGNAL);

    return put < 0 ? -errno : put;
}

static ssize_t write_client(struct pump *p, const char *data, size_t n)
{
    ssize_t put;

    p->client_write_wants = TASK_WRITABLE;
    put = stream_tls_write(p->tls, data, n, &p->client_write_wants);
    return put;
}

typedef ssize_t write_fn(struct pump *p, const char *data, size_t n);

/* Write what can be written; the rest goes to the backlog. */
static int push(struct pump *p, write_fn *write_some, struct backlog *b, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t put = write_some(p, data, n);
        if (put == -EINTR)
            continue;
        if (put == -EAGAIN)
            return keep(b, data, n);
        if (put < 0)
            return (int)put;
        data += put;
        n -= (size_t)put;
    }
    return 0;
}

static int push_backlog(struct pump *p, write_fn *write_some, struct backlog *b)
{
    while (is_pending(b)) {
        ssize_t put = write_some(p, b->data + b->at, b->n - b->at);
        if (put == -EINTR)
            continue;
        if (put == -EAGAIN)
            return 0;
        if (put < 0)
            return (int)put;
        b->at += (size_t)put;
    }
    drop(b);
    return 0;
}

/* --- reading --- */

/* 0: go on; negative: end the session without a word. */
static int read_client(struct pump *p)
{
    for (int i = 0; i < PIECES_PER_EVENT; i++) {
        ssize_t got;
        int rc;

        if (p->is_client_over || is_pending(&p->to_session))
            return 0;
        p->client_read_wants = TASK_READABLE;
        got = stream_tls_read(p->tls, piece, sizeof(piece), &p->client_read_wants);
        if (got == -EAGAIN)
            return 0;
        if (got < 0)
            return (int)got;
        if (got == 0) {
            p->is_client_over = true;
            return shutdown(p->plain, SHUT_WR) < 0 ? -errno : 0;
        }
        if (p->is_closing || p->is_session_over)
            continue; /* nobody reads it any more */
        rc = push(p, write_session, &p->to_session, piece, (size_t)got);
        if (rc < 0 || !stream_tls_has_pending(p->tls))
            return rc;
    }
    p->is_stalled = true; /* the TLS layer may hold more, of which no event tells */
    return 0;
}

/* After the end of the session's stream: was it shut down, or did its process go? */
static bool is_hung_up(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLIN};

    return poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

static int read_session(struct pump *p)
{
    for (int i = 0; i < PIECES_PER_EVENT; i++) {
        ssize_t got;
        int rc;

        if (p->is_session_over || is_pending(&p->to_client))
            return 0;
        got = recv(p->plain, piece, sizeof(piece), 0);
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0) {
            p->is_session_over = true;
            /* After the client's close_notify any end is a right one. */
            return p->is_client_over || !is_hung_up(p->plain) ? 0 : ERR_TRUNCATED;
        }
        rc = got > 0 ? push(p, write_client, &p->to_client, piece, (size_t)got) : 0;
        /* Less than there was room for is all there was. */
        if (rc < 0 || (got > 0 && got < PIECE_OCTETS))
            return rc;
    }
    return 0; /* level-triggered: the loop comes back */
}

/* A client that reads nothing while nobody is left to end its session: nothing else
 * would ever end it. How long it may be that slow is the session's to say. */
static bool is_forsaken(struct pump *p)
{
    bool is_forsaken = is_pending(&p->to_client) && !p->has_moved && is_hung_up(p->plain);

    p->has_moved = false;
    return is_forsaken;
}

/* --- events --- */

/* Our close_notify, as soon as everything before it is out. */
static int close_client(struct pump *p)
{
    if (!p->is_session_over || is_pending(&p->to_client) || p->is_closing)
        return 0;
    p->is_closing = true;
    /* The write end is empty, so this goes out at once or the client is gone. */
    (void)stream_tls_notify_close(p->tls);
    (void)shutdown(stream_fd(p->tls), SHUT_WR);
    /* The session process waits for this before it closes its end. */
    (void)shutdown(p->plain, SHUT_WR);
    task_timer_set(&p->resume, deadline_in(LINGER_MS));
    return 0;
}

static int set_interest(struct pump *p)
{
    int client = 0, session = 0, rc;

    if (!p->is_client_over && !is_pending(&p->to_session))
        client |= p->client_read_wants;
    if (is_pending(&p->to_client))
        client |= p->client_write_wants;
    if (!p->is_session_over && !is_pending(&p->to_client))
        session |= TASK_READABLE;
    if (is_pending(&p->to_session))
        session |= TASK_WRITABLE;
    rc = task_watch_set(&p->client, client);
    return rc < 0 ? rc : task_watch_set(&p->session, session);
}

/* After any step: go on, or end. */
static void settle(struct pump *p, int rc)
{
    if (rc == 0)
        rc = close_client(p);
    if (rc == 0)
        rc = set_interest(p);
    if (rc < 0 || (p->is_closing && p->is_client_over))
        finish(p);
    else if (p->is_stalled && !p->is_closing)
        task_timer_set(&p->resume, clock_mono_ms());
    else if (is_pending(&p->to_client) && !p->resume.is_armed)
        task_timer_set(&p->resume, deadline_in(STALL_MS));
}

static void on_client(struct task_watch *w, int events)
{
    struct pump *p = CONTAINER_OF(w, struct pump, client);
    int rc = 0;

    /* Only the direction that fired: trying both costs a system call each time. */
    if (is_pending(&p->to_client) && (events & p->client_write_wants)) {
        rc = push_backlog(p, write_client, &p->to_client);
        p->has_moved = true;
    }
    if (rc == 0 && (events & p->client_read_wants))
        rc = read_client(p);
    if (p->is_closing && rc < 0)
        rc = ERR_EOF; /* gone, as expected */
    settle(p, rc);
}

static void on_session(struct task_watch *w, int events)
{
    struct pump *p = CONTAINER_OF(w, struct pump, session);
    int rc = 0;

    if (is_pending(&p->to_session) && (events & TASK_WRITABLE)) {
        rc = push_backlog(p, write_session, &p->to_session);
        p->is_stalled = rc == 0 && !is_pending(&p->to_session);
    }
    if (rc == 0 && (events & TASK_READABLE))
        rc = read_session(p);
    settle(p, rc);
}

static void on_resume(struct task_timer *t)
{
    struct pump *p = CONTAINER_OF(t, struct pump, resume);

    if (p->is_closing || is_forsaken(p)) {
        finish(p);
    } else if (p->is_stalled) {
        p->is_stalled = false;
        settle(p, read_client(p));
    } else {
        settle(p, 0);
    }
}

int net_pump_new(struct stream *tls, int plain, void (*done)(void *arg), void *arg)
{
    struct pump *p = NEW(struct pump);
    int rc;

    if (p == NULL) {
        stream_free(tls);
        fd_close(&plain);
        return -ENOMEM;
    }
    list_init(&p->link);
    p->tls = tls;
    p->plain = plain;
    p->done = done;
    p->arg = arg;
    p->client_read_wants = TASK_READABLE;
    p->client_write_wants = TASK_WRITABLE;
    p->resume.expired = on_resume;
    task_fd_fini(&tls->poll); /* from here on the callbacks watch it */
    rc = fd_set_nonblock(plain);
    if (rc == 0)
        rc = task_watch_init(&p->client, stream_fd(tls), on_client);
    if (rc == 0)
        rc = task_watch_init(&p->session, plain, on_session);
    if (rc < 0) {
        free_pump(p);
        return rc;
    }
    list_append(&pumps, &p->link);
    pump_count++;
    rc = set_interest(p);
    if (rc < 0) {
        free_pump(p);
        return rc;
    }
    /* The client's first command may have come with the end of its handshake. */
    p->is_stalled = stream_tls_has_pending(tls);
    if (p->is_stalled)
        task_timer_set(&p->resume, clock_mono_ms());
    return 0;
}

void net_pump_close_all(void)
{
    LIST_FOR_SAFE(item, &pumps)
    free_pump(LIST_ITEM(item, struct pump, link));
}
