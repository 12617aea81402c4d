/*
 * service.h: what every service's main() shares.
 *
 *     static const struct service smtpd_service = { .name = "smtpd", ... };
 *     int main(int argc, char **argv) { return service_main(argc, argv, &smtpd_service); }
 *
 * service_main: parse the command line that master gives, chdir to the run
 * directory, read the configuration (with the master.cf entry's -o), inherit
 * listeners, control socket, statistics page and log channel from master
 * (inherit.h), on_load (may open files, load tables and keys), chroot, drop uid,
 * no_new_privs, seccomp, Landlock, then the first thread, on_start, accept loop.
 * On a reload the process stops accepting, finishes its sessions and ends; on
 * SIGTERM sessions are cancelled; when master is gone it drains as well.
 *
 * A process serves one master.cf entry: its name is service_entry_name(), its
 * limits come from master.
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "ipc/ipc.h"
#include "net/address.h"
#include "task/task.h"

/* What the sandbox leaves. A service without SERVICE_NETWORK cannot make
 * internet sockets; paths are those opened relative to descriptors or listed. */
enum service_rights {
    SERVICE_NETWORK = 1 << 0,    /* socket and connect(2) to the internet (smtp, lmtp) */
    SERVICE_FILES = 1 << 1,      /* read and write below the directories of .paths */
    SERVICE_READ_FILES = 1 << 2, /* read below them only */
    SERVICE_PRIVILEGED = 1 << 3, /* keeps root and may fork and exec: local, pipe */
    SERVICE_SIGNALS = 1 << 4,    /* may send signals to processes of its uid */
};

/* What master's limit (maxproc) counts, and how many processes there may be. */
enum service_kind {
    /* Accepted connections; more processes by load: smtpd, logins, imapd. */
    SERVICE_CLIENTS,
    /* Deliveries, reported by service_set_work(); connections come from qmgr.
     * service_client_limit() is this process's capacity: smtp, local, store. */
    SERVICE_AGENT,
    /* One process, whose clients are the suite's own and not counted: qmgr,
     * bounce, pickup, auth, broker, tlsproxy, anvil, postlogd. */
    SERVICE_SINGLE,
};

/* One accepted connection: a stream socket on inet listeners, SOCK_SEQPACKET
 * (for ipc_accept) on Unix ones. */
struct service_client {
    int fd;                  /* taken by on_client; non-blocking, close-on-exec */
    const char *listener;    /* the socket: the master.cf service name such as "submission",
                              * or a further one of the program such as qmgr's "showq" */
    const struct conf *conf; /* with that entry's -o overrides */
    const struct net_address *peer, *local; /* NULL for Unix sockets; valid during on_client */
};

struct service {
    const char *name; /* program name, such as "smtpd" */
    enum service_kind kind;
    const char *user_parameter; /* parameter that names the uid, such as "waypost_smtpd_user" */
    unsigned rights;
    const char *const *paths; /* parameters that name directories, NULL-terminated */
    bool is_chrooted;         /* into the run directory, when started as root */
    /* Parameters that name the users whose processes may connect to the Unix sockets,
     * NULL-terminated; NULL: whoever can open them. The sockets' group alone would let
     * a broken-into service ask all others. Root and the own user always may. */
    const char *const *askers;
    const char *open_socket; /* a socket that .askers does not guard; may be NULL */
    /* On Unix sockets clients come over connections from other programs (imapd from
     * logins): those connections are not counted and are cancelled by a drain; what
     * service_client_spawn() starts is counted. */
    bool are_clients_handed;
    struct task_options tasks; /* stack size and threads; zero: defaults */
    /* Before the sandbox, as the starting user and with the run directory as
     * working directory; a message and a negative code stop the start. May be
     * NULL, as every function here but on_client. */
    int (*on_load)(const struct conf *conf, struct str *why);
    /* First task, after the sandbox, before accepting. */
    int (*on_start)(const struct conf *conf);
    /* A task of its own for every client; returns when the client is done. */
    void (*on_client)(struct service_client *client);
    /* master's wake-up timer (master.cf, column wakeup); a task of its own. Not
     * called again while it runs. */
    void (*on_wakeup)(void);
    /* No new clients from now on (reload, stop); in the first task, must not
     * wait. A SERVICE_SINGLE process then has five seconds to let its clients go
     * (its successor cannot start before it ended); without on_drain its clients'
     * tasks are cancelled at once. */
    void (*on_drain)(void);
    /* After the last client ended, in the first task. */
    void (*on_stop)(void);
};

/* Runs the process to its end, as told above: what main() returns. */
int service_main(int argc, char **argv, const struct service *service);

/* The configuration of this process (immutable), -o overrides included. */
const struct conf *service_conf(void);
/* main.cf alone, without the entry's overrides; until on_load has returned. */
const struct conf *service_main_conf(void);
/* The master.cf service name of this process, such as "relay". */
const char *service_entry_name(void);
/* In on_load: nothing of the running suite may change, such as a socket's name; this
 * process ends when all is loaded (inherit.h, -T). */
bool service_is_trial(void);
/* Descriptor of a directory that .paths named, opened before the sandbox; -1
 * when the directory did not exist. Stays the library's. */
int service_directory(const char *parameter);
/* The listening socket with this name, the library's; -1 when there is none. In on_start
 * nobody accepts from it yet. */
int service_listener(const char *name);
/* In on_load: files below this directory may be read behind the sandbox, too (rights
 * SERVICE_READ_FILES), for files whose name is a parameter. Borrowed. */
void service_allow_reading(int directory);
/* End this process in an orderly way (as on a reload: no new clients, sessions
 * finish), with a reason that is logged; master starts another one when needed. */
void service_give_up(const char *why);

/* Most clients or deliveries this process may handle at once; may change while
 * it runs. UINT32_MAX without a limit. */
uint32_t service_client_limit(void);
/* Load as master's scaling sees it; the accept loop counts clients by itself,
 * services with other work (deliveries) report it here. */
void service_set_work(uint64_t active, uint64_t capacity);
/* A task that counts as a client: into the limit, the page, and "the last client
 * ended"; cancelled on SIGTERM. ERR_LIMIT when this process is full, -ENOMEM. */
int service_client_spawn(const char *name, task_fn *fn, void *arg);
/* A client that goes on without a task (a pump of callbacks) counts between these
 * two; a SIGTERM does not wait for it. ERR_LIMIT, and not counted, when this process
 * is full: for clients that were handed in and are not counted yet. */
int service_client_admit(void);
/* The same for one that is leaving its task: never refused. */
void service_client_keep(void);
void service_client_release(void);

#endif
