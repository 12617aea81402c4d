/*
 * master.h: what master knows: services, their listeners, their processes.
 *
 * A generation is one reading of main.cf and master.cf. Services belong to a
 * generation; listeners live as long as some generation wants their address;
 * children live until they end, those of an older generation ("retired") apart
 * from their services.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <sys/types.h>

#include "base/array.h"
#include "base/list.h"
#include "conf/conf.h"
#include "conf/master_cf.h"
#include "master/contain.h"
#include "master/limits.h"
#include "net/address.h"
#include "service/inherit.h"
#include "service/stats.h"
#include "task/task.h"

/* A bound socket. */
struct listener {
    struct list link; /* master.listeners */
    char *key;        /* "inet:192.0.2.1:25", "unix:qmgr": same key, same socket */
    char *label;      /* name that the process sees */
    int fd;
    bool is_wanted;             /* by the generation that is being made */
    struct service_entry *user; /* who spawns when somebody waits; NULL none */
    struct task *task;          /* watches fd */
};

enum child_state { CHILD_STARTING, CHILD_READY, CHILD_DRAINING };

struct child {
    struct list link; /* service_entry.children or master.retired */
    pid_t pid;
    int control_fd, stats_fd;
    const struct stats_page *page;
    struct service_entry *entry; /* NULL when retired */
    char *name, *type, *program; /* of the entry */
    enum child_state state;
    enum service_kind kind; /* known when ready */
    bool is_wakeup_due;     /* once it is ready */
    bool is_reaped;
    bool is_term_sent, is_kill_sent;
    bool is_failed, is_slow, is_hung; /* said in the log */
    uint32_t granted;                 /* clients it may believe it may have */
    int64_t started_ms;
    int64_t kill_ms;        /* SIGTERM then, when it still drains; 0 never */
    uint64_t cpu_ticks;     /* of its loop thread, at the last look */
    uint32_t busy_permille; /* over the last second */
    uint64_t turns;         /* of its loop, at the last look */
    int64_t turning_ms;     /* when they last grew, or no task ran */
    int exit_status;
    struct task_cond reaped;
};

/* A service: one line of master.cf that this suite runs a program for. */
struct service_entry {
    struct list link; /* master.entries */
    const struct master_entry *config;
    const struct master_entry *options; /* whose -o and arguments count; mostly config */
    const char *program;
    const char *type; /* as processes are told: "inet" or "unix" */
    ARRAY(struct listener *) listeners;
    struct list children;

    uint32_t total;         /* most clients or deliveries */
    uint32_t client_limit;  /* per process, by parameter; 0 */
    uint32_t process_count; /* by parameter; 0 */
    enum service_kind kind; /* as its processes say */
    struct containment containment;
    bool is_contained;
    /* Holds certificates: while those on disk are being replaced no process can start,
     * so there is one always. */
    bool is_kept;
    bool has_waiting; /* somebody waits at a listener, or a wake-up is due */
    int told;         /* limits_warning */
    int64_t next_wakeup_ms;
    uint32_t busy_seconds, idle_seconds;
};

struct master {
    const char *config_directory;
    struct conf *conf;
    struct master_cf *master_cf;
    int config_fd;           /* main.cf as this generation read it */
    int lock_fd, control_fd; /* pid/master.pid; the socket for waypost(1) */
    struct list entries, listeners, retired;
    struct limits_machine machine;
    uint32_t max_idle_s;
    uint32_t busy_permille; /* use of a core from which on a service gets a further process */
    int64_t throttle_ms, drain_ms, hang_ms;
    uint32_t generation;
    int64_t started_wall_s;
    bool is_root, is_stopping, is_kill_wanted;
    /* What is on disk would not start: what runs is kept, also when it is idle. */
    bool is_trial_failed;
    char *const *argv;
    struct task_cond changed; /* a child, a listener or the generation */
    size_t child_count;
};

extern struct master master;

/* --- generation.c: reading the configuration --- */

/* Read main.cf and master.cf, bind what is new, retire the processes of the
 * generation before. On failure nothing has changed and *why says file, line and
 * reason. */
int generation_load(struct str *why);
/* Name in the log what the present generation's files say that has no effect, and which
 * services cannot serve TLS. */
void generation_tell(void);
/* Forget the present generation: at the end. */
void generation_free(void);
/* Every service that is run for m, also those without a line of their own: its line,
 * the line whose options count, and its program. Ends with the first negative code. */
typedef int generation_visit_fn(void *arg, const struct master_entry *config,
                                const struct master_entry *options, const char *program,
                                struct str *why);
int generation_visit(const struct master_cf *m, generation_visit_fn *visit, void *arg,
                     struct str *why);

/* --- trial.c: would the services start with what is on disk now? --- */

/* Ask a process of its own, as master parses no tables and certificates. On failure *why
 * has all reasons, each with its services. */
TASK_WAITS int trial_run(struct str *why);
/* That process: reasons on standard output, the exit status. Blocks. */
int trial_main(void);
/* A process that is no service's has ended. */
void trial_reaped(pid_t pid);

/* --- listeners.c --- */

/* The sockets of an entry: found by address among the present ones or bound anew. */
int listeners_open(struct service_entry *entry, const struct conf *conf, struct str *why);
/* Close those that no entry wants. */
void listeners_sweep(void);
/* A task of its own for every listener with a user: spawns when somebody waits. */
int listeners_watch(void);
struct listener *listener_adopt(const char *key, const char *label, int fd);

/* --- spawn.c --- */

/* Start one process for the entry with this limit; the new child or NULL (logged). */
struct child *spawn_child(struct service_entry *entry, uint32_t limit);
/* For trial_main(): the same command with -T and none of the descriptors; standard
 * output goes to output_fd. The pid, or -1. */
pid_t spawn_trial(const struct service_entry *entry, int output_fd);

/* --- children.c --- */

/* A new or adopted child: its control task. Frees child on failure. */
int child_watch(struct child *child);
/* Collect those that ended (SIGCHLD). */
void children_reap(void);
/* No new clients for it; it still counts in its service. */
void child_drain(struct child *child);
/* The same, and out of its service: what it still does counts against no limit.
 * SIGTERM after drain_time_limit. */
void child_retire(struct child *child);
void child_signal(struct child *child, int signo);
/* A process of this single service, perhaps of an older generation, must end first. */
bool entry_has_predecessor(const struct service_entry *entry);

/* --- scale.c --- */

/* Decide for one entry: start, share limits. Any time. */
void scale_entry(struct service_entry *entry);
/* Every second: CPU, idle, wake-ups, warnings, overdue processes. */
void scale_tick(void);
/* Whether somebody who waits at the entry's listeners needs a new process. */
bool scale_is_unserved(const struct service_entry *entry);
/* Whether it has a port with implicit TLS and cannot start for the time being. */
bool scale_is_away(const struct service_entry *entry);

/* --- master_main.c --- */

/* Read the configuration anew, soon. */
void master_reload(void);
/* The same now: when a trial says that all services would start. On failure, which is
 * logged, all goes on as it was. */
TASK_WAITS int master_renew(struct str *why);
/* End everything, in order or (is_kill) at once. */
void master_stop(bool is_kill);

/* --- watch.c --- */

/* Reload when a file that the present generation's processes have read changes. In a
 * task; the files of the generation before are forgotten. */
void watch_files(void);

/* --- status.c --- */

/* The task that serves the socket "control". */
void status_serve(void *listener_fd);

/* --- handover.c: a new binary --- */

/* Whether master's executable file is another one than the running one. */
bool handover_is_due(void);
void handover_remember(void);
/* Replace this process by the new binary, which adopts listeners and children.
 * Returns only when that failed. */
int handover_exec(struct str *why);
/* The new binary's side: read the state from fd. */
int handover_adopt(int fd, struct str *why);

/* --- rundir.c --- */

/* Make the directories that are missing, with their owners (as root). */
int rundir_make(const struct conf *conf, struct str *why);
/* The group of private sockets; (gid_t)-1 when not root. */
int rundir_group(const struct conf *conf, gid_t *gid, struct str *why);
/* Lock pid/master.pid and write the pid. *fd stays open for the lock. -EAGAIN:
 * another master runs, *other is its pid. */
int pidfile_lock(const char *queue_directory, int *fd, pid_t *other, struct str *why);

#endif
