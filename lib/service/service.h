/*
 * service.h: what every service's main() shares.
 *
 *     static const struct service smtpd_service = { .name = "smtpd", ... };
 *     int main(int argc, char **argv) { return service_main(argc, argv, &smtpd_service); }
 *
 * service_main: parse the command line that master gives, read the
 * configuration (with the master.cf entry's -o), inherit listeners, control
 * socket, statistics page and log channel from master, on_load (may open files,
 * load tables and keys), chroot, drop uid, no_new_privs, seccomp, Landlock, then
 * the first thread, on_start, accept loop. On a reload the process stops
 * accepting, finishes its sessions and ends; on SIGTERM sessions are cancelled.
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "ipc/ipc.h"
#include "task/task.h"

/* What the sandbox leaves. A service without SERVICE_NETWORK cannot make
 * internet sockets; paths are those opened relative to descriptors or listed. */
enum service_rights {
    SERVICE_NETWORK = 1 << 0,   /* connect(2) to the internet (smtp, lmtp) */
    SERVICE_FILES = 1 << 1,     /* read and write below the directories of .paths */
    SERVICE_READ_FILES = 1 << 2,/* read below them only */
    SERVICE_PRIVILEGED = 1 << 3,/* keeps root and may fork and exec: local, pipe */
    SERVICE_SIGNALS = 1 << 4,
};

enum service_listener { SERVICE_STREAM, SERVICE_SEQPACKET };

/* One accepted connection. */
struct service_client {
    int fd;                     /* taken by on_client */
    const char *listener;       /* the master.cf service name, such as "submission" */
    const struct conf *conf;    /* with that entry's -o overrides */
    struct sockaddr_storage *peer, *local; /* NULL for Unix sockets; valid during on_client */
};

struct service {
    const char *name;           /* program name, such as "smtpd" */
    const char *user_parameter; /* parameter that names the uid, such as "waypost_smtpd_user" */
    unsigned rights;
    const char *const *paths;   /* parameters that name directories, NULL-terminated */
    bool is_chrooted;           /* into the run directory */
    /* Before the sandbox, as the starting user; a message and a negative code
     * stop the start. May be NULL. */
    int (*on_load)(const struct conf *conf, struct str *why);
    /* First task, after the sandbox, before accepting. */
    int (*on_start)(const struct conf *conf);
    /* A task of its own for every client; returns when the client is done. */
    void (*on_client)(struct service_client *client);
    /* No new clients from now on (reload, stop); may be NULL. */
    void (*on_drain)(void);
    /* After the last client ended. */
    void (*on_stop)(void);
};

int service_main(int argc, char **argv, const struct service *service);

/* The configuration of this process (immutable). */
const struct conf *service_conf(void);
/* The master.cf service name of this process, such as "relay". */
const char *service_entry_name(void);
/* Descriptor of a directory that .paths named, opened before the sandbox. */
int service_directory(const char *parameter);
bool service_is_draining(void);
/* End this process in an orderly way, with a reason that is logged. */
void service_give_up(const char *why);

/* Load as master's scaling sees it; the accept loop counts clients by itself,
 * services with other work (deliveries) report it here. */
void service_set_work(uint64_t active, uint64_t capacity);

#endif
