/*
 * ipc.h: attribute messages with descriptors between the suite's programs, over
 * SOCK_SEQPACKET Unix sockets.
 *
 * A message is a kind ("commit") and a list of named values; a name may repeat
 * (recipients). Every value is text or octets with a length; numbers are decimal.
 * Names the receiver does not know are ignored.
 * A connection begins with a hello (protocol name, version). What leaves a
 * process in one loop turn on one connection leaves as one packet. Whoever reads
 * validates every value as if the peer were hostile; a malformed packet costs
 * that connection, never the process.
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/span.h"
#include "base/str.h"
#include "task/task.h"

enum {
    IPC_ATTRIBUTES_MAX = 65536, /* octets of a message without content */
    IPC_CONTENT_MAX = 65536,    /* octets of inline content */
    IPC_FDS_MAX = 16,           /* descriptors of one message */
    IPC_VALUES_MAX = 8192,      /* values of one message */
    IPC_NAME_MAX = 64,          /* octets of a kind or a name */
    IPC_HELLO_MS = 10000,       /* a service waits this long for a client's hello */
};

/* --- building a message --- */

struct ipc_out {
    char kind[IPC_NAME_MAX + 1];
    struct str text;
    struct span content; /* borrowed */
    size_t values;
    int fds[IPC_FDS_MAX];
    size_t fd_count;
    int error; /* sticks; ipc_send returns it */
};

/* Zeroed is valid before ipc_begin, which drops what was there. Kinds and names
 * are letters, digits, "-", "_" and ".". */
void ipc_begin(struct ipc_out *m, const char *kind);
void ipc_put(struct ipc_out *m, const char *name, struct span value);
void ipc_put_u64(struct ipc_out *m, const char *name, uint64_t value);
void ipc_put_i64(struct ipc_out *m, const char *name, int64_t value);
void ipc_put_bool(struct ipc_out *m, const char *name, bool value);
/* Inline content, at most IPC_CONTENT_MAX, once in a message. It is not copied: it
 * stays the caller's until the message was sent. */
void ipc_put_content(struct ipc_out *m, struct span content);
/* Passed on; stays the caller's (duplicated until sent). */
void ipc_put_fd(struct ipc_out *m, const char *name, int fd);
/* The same message; from has no descriptors. */
void ipc_out_copy(struct ipc_out *m, const struct ipc_out *from);
void ipc_out_fini(struct ipc_out *m);

/* --- reading a message --- */

struct ipc_in; /* owns its memory and the descriptors not taken */

void ipc_in_free(struct ipc_in *m);
bool ipc_is(const struct ipc_in *m, const char *kind);
/* First value of that name: 0 or ERR_NOT_FOUND. Borrowed from m. */
int ipc_get(const struct ipc_in *m, const char *name, struct span *value);
/* ERR_NOT_FOUND, ERR_SYNTAX or -ERANGE. */
int ipc_get_u64(const struct ipc_in *m, const char *name, uint64_t *value);
int ipc_get_i64(const struct ipc_in *m, const char *name, int64_t *value);
int ipc_get_bool(const struct ipc_in *m, const char *name, bool *value);
struct span ipc_content(const struct ipc_in *m);
/* Takes the descriptor out of m; the caller closes it. ERR_NOT_FOUND. */
int ipc_take_fd(struct ipc_in *m, const char *name, int *fd);
/* All values in order: struct ipc_walk w = {0}; while (ipc_walk(m, &w)) ... */
struct ipc_walk {
    size_t at;
    struct span name, value;
    bool is_descriptor; /* value is empty then */
};
bool ipc_walk(const struct ipc_in *m, struct ipc_walk *w);

/* --- connections --- */

struct ipc_conn;

/* Connect to a socket of the suite (a name below the run directory, which is
 * every service's working directory), and say hello. */
TASK_WAITS int ipc_connect(struct ipc_conn **out, const char *socket_name, const char *protocol,
                           uint32_t version, deadline_t deadline);
/* A connected descriptor (accepted, or one end of a pair); taken in every case.
 * The server side reads the client's hello and answers it: ERR_VERSION, ERR_PROTOCOL. */
TASK_WAITS int ipc_accept(struct ipc_conn **out, int fd, const char *protocol, uint32_t version,
                          deadline_t deadline);
/* A pair end whose peer says hello as a client. */
TASK_WAITS int ipc_client(struct ipc_conn **out, int fd, const char *protocol, uint32_t version,
                          deadline_t deadline);
/* Sends what is queued if the socket takes it at once, then closes; tasks that
 * wait on c get ERR_CLOSED. NULL is allowed. */
void ipc_close(struct ipc_conn *c);
/* The same, but what is queued gets a second to be sent, also in a cancelled task. */
TASK_WAITS void ipc_close_flushed(struct ipc_conn *c);
/* Until everything queued was handed to the kernel. */
TASK_WAITS int ipc_flush(struct ipc_conn *c, deadline_t deadline);
/* The peer's version: the own one or the one before. */
uint32_t ipc_version(const struct ipc_conn *c);
/* 0, or why the connection is dead. */
int ipc_error(const struct ipc_conn *c);
/* uid and pid of the peer, from SO_PEERCRED at connection time. */
uid_t ipc_peer_uid(const struct ipc_conn *c);
pid_t ipc_peer_pid(const struct ipc_conn *c);

/* Queue a message for the end of the turn; m is emptied when it was queued. Waits
 * only when more than the connection's window is unsent. A message that breaks a
 * limit (ERR_TOO_LONG, ERR_LIMIT) leaves the connection usable; ipc_error() tells
 * whether it is dead. */
TASK_WAITS int ipc_send(struct ipc_conn *c, struct ipc_out *m, deadline_t deadline);
/* The same without waiting, also outside tasks: -EAGAIN when the window is full. */
int ipc_post(struct ipc_conn *c, struct ipc_out *m);
/* Next message that is not a reply (see ipc_call); one reader at a time. ERR_EOF
 * when the peer closed. */
TASK_WAITS int ipc_receive(struct ipc_conn *c, struct ipc_in **m, deadline_t deadline);

/* Request and reply: adds an "id" and waits for the reply with that id, while
 * other tasks call on the same connection. ERR_TRUNCATED: the connection died after
 * the request was queued, its outcome is unknown; with any other negative code the
 * request was not sent (and is as before), or the deadline passed. Needs a reader: either a task
 * that loops in ipc_receive(), or ipc_start_reader() which spawns one that drops everything but
 * replies. */
TASK_WAITS int ipc_call(struct ipc_conn *c, struct ipc_out *request, struct ipc_in **reply,
                        deadline_t deadline);
int ipc_start_reader(struct ipc_conn *c);
/* Server side: begin the reply to a request (kind "reply", same id). */
void ipc_begin_reply(struct ipc_out *m, const struct ipc_in *request);

/* --- a server of one connection --- */

/* Answers requests side by side, each in a task of its own; more than at_once of them
 * wait in the peer's socket. Embedded in what the service keeps of a connection. */
struct ipc_server;
/* Runs in the request's task. The request is borrowed; the answer goes to s->conn. A
 * negative code ends the connection. */
typedef int ipc_answer_fn(struct ipc_server *s, struct ipc_in *request);

struct ipc_server {
    struct ipc_conn *conn;
    const char *name; /* of the tasks */
    ipc_answer_fn *answer;
    struct task_group answers; /* those under way */
    struct task_semaphore slots;
};

void ipc_server_init(struct ipc_server *s, struct ipc_conn *conn, const char *name, size_t at_once,
                     ipc_answer_fn *answer);
/* Answer a request that the caller has received itself; taken in every case. */
TASK_WAITS int ipc_server_take(struct ipc_server *s, struct ipc_in *request);
/* Until the connection ends, an answer failed, memory is out, or the task is cancelled:
 * which of them. Answers may still be under way then: the caller waits for s->answers or
 * ends them, and only then closes the connection. */
TASK_WAITS int ipc_server_run(struct ipc_server *s);

/* --- a client that reconnects --- */

/* One shared connection to a service, made at the first call and again after it
 * was lost; with its own reader. Calls in flight when it is lost get
 * ERR_TRUNCATED (their outcome is unknown), calls while the service is away wait
 * for it until their deadline. */
struct ipc_client;
struct ipc_client *ipc_client_new(const char *socket_name, const char *protocol, uint32_t version);
void ipc_client_free(struct ipc_client *cl);
/* Whether the service is there: 0 when connected, else after the deadline. */
TASK_WAITS int ipc_client_connect(struct ipc_client *cl, deadline_t deadline);
TASK_WAITS int ipc_client_call(struct ipc_client *cl, struct ipc_out *request,
                               struct ipc_in **reply, deadline_t deadline);
/* For a question that may be put more than once, without descriptors: when the connection is
 * lost, the service's next process is asked. ERR_TRUNCATED after several of them. */
TASK_WAITS int ipc_client_ask(struct ipc_client *cl, const struct ipc_out *question,
                              struct ipc_in **reply, deadline_t deadline);
/* A one-way message, if there is a connection and room in its window; never waits.
 * m is emptied in every case. ERR_CLOSED when not connected. */
int ipc_client_post(struct ipc_client *cl, struct ipc_out *m);

#endif
