/*
 * master_main.c: the start and the end of the mail system.
 *
 *     master [-c CONFIG_DIRECTORY] [-d] [-t] [-T] [-v]
 *
 * -t: exit 0 when no master runs. -T: say which services would not start (trial.c). -R FD: take
 * over from the master that exec'ed this binary. It stays in the foreground: waypost(1) or systemd
 * keep it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "journal/boot.h"
#include "master/master.h"
#include "net/listen.h"
#include "service/control.h"
#include "service/log_channel.h"
#include "service/privileges.h"

enum {
    TICK_MS = 1000,
    HANDOVER_PAUSE_MS = 100,
    STOP_MS = 20000, /* for sessions to end when the mail system stops */
    STOP_KILL_MS = 5000,
};

struct master master = {.config_fd = -1, .lock_fd = -1, .control_fd = -1};
static int handover_fd = -1;
static bool is_test, is_trial, is_reload_due, is_reloading, is_handover_due;

/* --- orders --- */

/* A new generation is in force: watch its listeners, start what must run. */
static void reloaded(void)
{
    log_info("reload -- configuration %s, generation %u", master.config_directory,
             master.generation);
    generation_tell();
    if (listeners_watch() < 0)
        log_error("out of memory while watching listeners");
    watch_files();
    is_handover_due = handover_is_due();
    LIST_FOR(item, &master.entries)
    {
        struct service_entry *entry = LIST_ITEM(item, struct service_entry, link);

        if (is_handover_due)
            break;
        if (entry->config->wakeup_seconds > 0 && !entry->config->wakeup_if_used)
            entry->next_wakeup_ms = clock_mono_ms();
        scale_entry(entry);
    }
    task_cond_broadcast(&master.changed);
}

void master_reload(void)
{
    is_reload_due = true;
    task_cond_broadcast(&master.changed);
}

void master_stop(bool is_kill)
{
    master.is_stopping = true;
    master.is_kill_wanted = master.is_kill_wanted || is_kill;
    task_cond_broadcast(&master.changed);
}

static void on_signal(int signo)
{
    switch (signo) {
    case SIGCHLD:
        children_reap();
        break;
    case SIGHUP:
        master_reload();
        break;
    default:
        master_stop(false);
        break;
    }
}

int master_renew(struct str *why)
{
    int code = trial_run(why);

    master.is_trial_failed = code < 0;
    if (code == 0)
        code = generation_load(why);
    if (code < 0)
        log_error("reload refused, the configuration before stays: %s", str_cstr(why));
    else
        reloaded();
    return code;
}

/* A task of its own: master goes on during the trial. */
static void reload(void *arg)
{
    while (is_reload_due && !master.is_stopping) {
        struct str why = {0};

        is_reload_due = false;
        (void)master_renew(&why);
        str_fini(&why);
    }
    is_reloading = false;
}

static void start_reload(void)
{
    if (is_reloading)
        return;
    is_reloading = task_spawn("reload", reload, NULL) != NULL;
    if (!is_reloading) {
        is_reload_due = false;
        log_error("reload refused, the configuration before stays: %s", error_text(-ENOMEM));
    }
}

/* A start goes as far as it can, and what cannot start is named before its first client
 * comes. */
static void try_at_start(void *arg)
{
    struct str why = {0};

    if (trial_run(&why) < 0 && !master.is_stopping)
        log_error("not everything can start: %s", str_cstr(&why));
    str_fini(&why);
}

/* After a moment, in which who asked for the reload gets the answer. */
static void hand_over(void)
{
    struct str why = {0};

    is_handover_due = false;
    task_sleep(deadline_in(HANDOVER_PAUSE_MS));
    log_info("master's binary has changed: the new one takes over");
    log_channel_flush();
    handover_exec(&why);
    log_error("%s", str_cstr(&why)); /* and goes on as it is */
    str_fini(&why);
}

/* --- running --- */

static void signal_children(int signo)
{
    LIST_FOR(item, &master.entries)
    {
        struct service_entry *entry = LIST_ITEM(item, struct service_entry, link);

        LIST_FOR(at, &entry->children)
        child_signal(LIST_ITEM(at, struct child, link), signo);
    }
    LIST_FOR(item, &master.retired)
    child_signal(LIST_ITEM(item, struct child, link), signo);
}

/* The log goes last, so that the others' last words are in it. */
static void signal_all_but_log(int signo)
{
    LIST_FOR(item, &master.entries)
    {
        struct service_entry *entry = LIST_ITEM(item, struct service_entry, link);

        if (strcmp(entry->program, "postlogd") == 0)
            continue;
        LIST_FOR(at, &entry->children)
        child_signal(LIST_ITEM(at, struct child, link), signo);
    }
    LIST_FOR(item, &master.retired)
    child_signal(LIST_ITEM(item, struct child, link), signo);
}

static size_t log_children(void)
{
    size_t n = 0;

    LIST_FOR(item, &master.entries)
    {
        struct service_entry *entry = LIST_ITEM(item, struct service_entry, link);

        if (strcmp(entry->program, "postlogd") != 0)
            continue;
        LIST_FOR(at, &entry->children)
        n++;
    }
    return n;
}

static void wait_for_children(size_t but, deadline_t deadline)
{
    while (master.child_count > but && !master.is_kill_wanted) {
        if (task_cond_wait(&master.changed, deadline) == -ETIMEDOUT)
            return;
    }
}

static void stop_all(void)
{
    log_info("terminating on request");
    log_channel_flush();
    if (!master.is_kill_wanted) {
        signal_all_but_log(SIGTERM);
        wait_for_children(log_children(), deadline_in(STOP_MS));
        signal_children(SIGTERM);
        wait_for_children(0, deadline_in(STOP_KILL_MS));
    }
    signal_children(SIGKILL);
    master.is_kill_wanted = false;
    wait_for_children(0, deadline_in(STOP_KILL_MS));
}

/* systemd's sd_notify(3), without its library. */
static void tell_manager(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (path == NULL || strlen(path) >= sizeof(address.sun_path))
        return;
    strcpy(address.sun_path, path);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    fd_close(&fd);
}

static void live(void)
{
    deadline_t next_tick = deadline_in(0);

    while (!master.is_stopping) {
        if (is_reload_due)
            start_reload();
        if (is_handover_due)
            hand_over();
        if (clock_mono_ms() >= next_tick) {
            scale_tick();
            next_tick = deadline_in(TICK_MS);
        }
        if (task_cond_wait(&master.changed, next_tick) == -ECANCELED)
            break;
    }
    tell_manager("STOPPING=1");
    stop_all();
}

/* The children of the master before this one. */
static void watch_adopted(void)
{
    struct list adopted, *item;

    list_init(&adopted);
    while ((item = list_pop(&master.retired)) != NULL)
        list_append(&adopted, item);
    while (!list_is_empty(&adopted)) {
        struct child *child = LIST_ITEM(adopted.next, struct child, link);

        if (child_watch(child) == 0)
            child_retire(child);
    }
}

static void first_task(void *arg)
{

    log_channel_batch();
    watch_adopted();
    if (task_spawn("control", status_serve, (void *)(intptr_t)master.control_fd) == NULL ||
        listeners_watch() < 0) {
        log_error("out of memory at start");
        return;
    }
    log_info("daemon started -- version %s, configuration %s%s",
             conf_string(master.conf, "mail_version"), master.config_directory,
             handover_fd >= 0 ? ", taking over from the master before" : "");
    generation_tell();
    children_reap();
    watch_files();
    if (handover_fd < 0 && task_spawn("trial", try_at_start, NULL) == NULL)
        log_error("out of memory at start");
    tell_manager("READY=1");
    live();
}

/* --- start --- */

static void read_command_line(int argc, char **argv)
{
    const char *directory = getenv("MAIL_CONFIG");
    int option;

    while ((option = getopt(argc, argv, "c:R:tTvdw")) != -1) {
        switch (option) {
        case 'c':
            directory = optarg;
            break;
        case 'R':
            handover_fd = atoi(optarg);
            break;
        case 't':
            is_test = true;
            break;
        case 'T':
            is_trial = true;
            break;
        case 'v':
            log_set_level(LOG_LEVEL_DEBUG);
            break;
        case 'd':
        case 'w':
            break; /* as in Postfix's start scripts: always in the foreground */
        default:
            fatal("usage: master [-c config_directory] [-t] [-T] [-v]");
        }
    }
    master.config_directory = directory != NULL ? directory : WAYPOST_SYSCONFDIR "/postfix";
}

/* The control group's limit or the machine's memory. */
static uint64_t memory_bytes(void)
{
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), group;
    struct str text = {0};

    if (file_read("/sys/fs/cgroup/memory.max", &text, 64) == 0 &&
        span_to_u64(span_trim(str_span(&text)), &group) == 0 && group < machine)
        machine = group;
    str_fini(&text);
    return machine;
}

static void measure_machine(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    master.machine = (struct limits_machine){
        .memory_bytes = memory_bytes(),
        .descriptors = privileges_raise_descriptors(),
        .cores = cores > 0 ? (uint32_t)cores : 1,
    };
}

/* Directories, the lock, and the working directory; all with main.cf alone. */
static void take_place(void)
{
    struct conf *conf = NULL;
    struct str why = {0};
    pid_t other;

    if (conf_load(&conf, master.config_directory, &why) < 0)
        fatal("%s", str_cstr(&why));
    if (!is_test && rundir_make(conf, &why) < 0)
        fatal("%s", str_cstr(&why));
    if (chdir(conf_string(conf, "queue_directory")) < 0)
        fatal("%s: %s", conf_string(conf, "queue_directory"), error_text(-errno));
    if (master.lock_fd < 0 && pidfile_lock(".", &master.lock_fd, &other, &why) < 0)
        fatal("%s", str_cstr(&why));
    if (is_test)
        exit(0);
    conf_free(conf);
    str_fini(&why);
}

static void open_control(void)
{
    int code = 0;

    if (master.control_fd < 0)
        code = net_listen_unix("run/" CONTROL_SOCKET, SOCK_SEQPACKET, 0600, (uid_t)-1, (gid_t)-1,
                               &master.control_fd);
    if (code < 0)
        fatal("run/%s: %s", CONTROL_SOCKET, error_text(code));
}

static void init(void)
{
    list_init(&master.entries);
    list_init(&master.listeners);
    list_init(&master.retired);
    task_cond_init(&master.changed);
    master.is_root = geteuid() == 0;
    master.started_wall_s = clock_wall_s();
    umask(022);
    signal(SIGPIPE, SIG_IGN);
}

/* The store's hints that were never synced count only within a boot, or after one
 * that ended clean (journal/boot.h): this is where the suite begins and ends. */
static void note_boot(bool is_start)
{
    const char *path = conf_string(master.conf, "store_directory");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), code;
    struct journal_boot boot;

    if (fd < 0)
        code = -errno;
    else
        code = is_start ? journal_boot_start(fd, &boot) : journal_boot_stop(fd);
    if (code < 0)
        log_warn("%s: cannot note the %s of the mail system: %s", path, is_start ? "start" : "end",
                 error_text(code));
    fd_close(&fd);
}

static void load_or_die(void)
{
    struct str why = {0};

    if (handover_fd >= 0 && handover_adopt(handover_fd, &why) < 0)
        fatal("%s", str_cstr(&why));
    take_place();
    measure_machine();
    if (generation_load(&why) < 0)
        fatal("%s", str_cstr(&why));
    open_control();
    if (handover_fd < 0)
        note_boot(true);
    str_fini(&why);
}

static int watch_signals(void)
{
    static const int signals[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT};
    int code = 0;

    for (size_t i = 0; i < COUNT_OF(signals) && code == 0; i++)
        code = task_signal(signals[i], on_signal);
    return code;
}

int main(int argc, char **argv)
{
    struct task_options options = {.stack_size = 0};
    int code;

    log_set_tag("master");
    init();
    read_command_line(argc, argv);
    if (is_trial)
        return trial_main();
    handover_remember();
    load_or_die();
    code = task_runtime_init(&options);
    if (code == 0)
        code = watch_signals();
    if (code < 0)
        fatal("start: %s", error_text(code));
    log_channel_open("run/" LOG_CHANNEL_SOCKET, true);
    code = task_runtime_run(first_task, NULL);
    if (master.child_count == 0)
        note_boot(false);
    generation_free();
    task_runtime_fini();
    log_channel_close();
    return code < 0 && code != -ECANCELED;
}
