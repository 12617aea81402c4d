/* service.c: the start and the life of a service's process. */
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/listen.h"
#include "service/control.h"
#include "service/log_channel.h"
#include "service/privileges.h"
#include "service/process.h"
#include "service/sandbox.h"

enum {
    PATHS_MAX = 16,
    MAIN_CF_MAX = 16 * 1024 * 1024,
    SINGLE_DRAIN_MS = 5000, /* for a SERVICE_SINGLE process to let its clients go */
    CANCEL_WAIT_MS = 10000, /* for cancelled sessions to say goodbye */
};

struct process process = {.control_fd = -1, .end = DEADLINE_NONE};
static struct stats_page private_page; /* stand-alone */
static struct {
    const char *parameter;
    int fd;
} directories[PATHS_MAX];
static size_t directory_count;

/* --- start-up, before the sandbox --- */

static void fail_start(const char *why) __attribute__((noreturn));
static void fail_start(const char *why)
{
    if (process.inherit.is_trial) {
        printf("%s\n", why);
        exit(1);
    }
    if (process.control_fd >= 0)
        control_send(process.control_fd, CONTROL_FAILED, 0, why);
    fatal("%s", why);
}

static void say_file(const char *path)
{
    printf("%c%s\n", INHERIT_TRIAL_FILE, path);
    fflush(stdout);
}

static void read_command_line(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    struct str why = {0};

    log_set_tag(slash != NULL ? slash + 1 : argv[0]);
    if (inherit_parse(&process.inherit, argc, argv, &why) < 0)
        fatal("%s", str_cstr(&why));
    if (process.inherit.entry == NULL || process.inherit.config_directory == NULL)
        fatal("this program is started by master; to run it by hand: %s -c CONFIG_DIRECTORY "
              "-n ENTRY -L ADDRESS:PORT",
              argv[0]);
    if (process.inherit.verbosity > 0)
        log_set_level(LOG_LEVEL_DEBUG);
    /* A trial's warnings come again when the service starts. */
    if (process.inherit.is_trial) {
        log_set_level(LOG_LEVEL_ERROR);
        file_set_note(say_file);
    }
    str_fini(&why);
}

static void inherit_descriptors(void)
{
    struct inherit *inherit = &process.inherit;

    process.page = &private_page;
    process.is_unix = strcmp(inherit->type, "inet") != 0;
    process.limit = inherit->limit;
    if (inherit->listen != NULL || inherit->is_trial)
        return;
    process.control_fd = INHERIT_CONTROL_FD;
    fd_set_cloexec(process.control_fd, 1);
    if (fd_set_nonblock(process.control_fd) < 0)
        fatal("descriptor %d is not master's control socket: this program is started by master",
              INHERIT_CONTROL_FD);
    process.page = stats_map(INHERIT_STATS_FD);
    if (process.page == NULL)
        fatal("statistics page: %s", error_text(-errno));
    close(INHERIT_STATS_FD);
    for (size_t i = 0; i < inherit->listener_count; i++) {
        int fd = INHERIT_LISTENER_FD + (int)i;

        if (fd_set_cloexec(fd, 1) < 0 || fd_set_nonblock(fd) < 0)
            fatal("listener %zu is missing", i);
        process.listeners[process.listener_count++] = fd;
    }
}

/* As master gave it, or from the directory when run by hand. */
static int load_main_cf(struct str *why)
{
    const char *directory = process.inherit.config_directory;
    struct str text = {0}, path = {0};
    struct stat st;
    int fd = INHERIT_CONFIG_FD, code;

    if (process.inherit.listen != NULL || process.inherit.is_trial)
        return conf_load(&process.main_conf, directory, why);
    str_printf(&path, "%s/main.cf", directory);
    /* Not read(2): the file offset is shared with every other process. */
    if (fstat(fd, &st) < 0)
        code = -errno;
    else if (st.st_size > MAIN_CF_MAX)
        code = ERR_TOO_LONG;
    else if ((code = str_reserve(&text, (size_t)st.st_size)) == 0 && st.st_size > 0 &&
             (code = fd_pread_full(fd, text.data, (size_t)st.st_size, 0)) == 0)
        text.len = (size_t)st.st_size;
    if (code < 0)
        str_printf(why, "%s as master read it: %s", str_cstr(&path), error_text(code));
    else
        code = conf_load_text(&process.main_conf, directory, str_cstr(&path), str_span(&text), why);
    fd_close(&fd);
    str_fini(&text);
    str_fini(&path);
    return code;
}

static void read_configuration(const char *program)
{
    struct inherit *inherit = &process.inherit;
    const char *overrides[INHERIT_OVERRIDES_MAX + 2];
    struct str why = {0}, service_name = {0}, process_name = {0};
    size_t count = 0;

    /* For $service_name and $process_name in values such as syslog_name. */
    str_printf(&service_name, "service_name=%s", inherit->entry);
    str_printf(&process_name, "process_name=%s", program);
    overrides[count++] = str_cstr(&service_name);
    overrides[count++] = str_cstr(&process_name);
    memcpy(&overrides[count], inherit->overrides, inherit->override_count * sizeof(overrides[0]));
    count += inherit->override_count;
    if (load_main_cf(&why) < 0 ||
        conf_overlay(&process.conf, process.main_conf, overrides, count, &why) < 0)
        fail_start(str_cstr(&why));
    str_fini(&why);
    str_fini(&service_name);
    str_fini(&process_name);
}

static void enter_run_directory(void)
{
    struct str run = {0};

    str_printf(&run, "%s/run", conf_string(process.conf, "queue_directory"));
    /* A trial before the first start has none yet. */
    if (chdir(str_cstr(&run)) < 0 && !(process.inherit.is_trial && errno == ENOENT)) {
        struct str why = {0};

        str_printf(&why, "chdir %s: %s", str_cstr(&run), error_text(-errno));
        fail_start(str_cstr(&why));
    }
    str_fini(&run);
}

static void open_log(const char *program)
{
    struct str tag = {0};

    str_printf(&tag, "%s/%s", conf_string(process.conf, "syslog_name"), program);
    log_set_tag(str_cstr(&tag));
    str_fini(&tag);
    /* postlogd cannot be its own client. */
    if (process.inherit.listen == NULL && !process.inherit.is_trial &&
        strcmp(process.service->name, "postlogd") != 0)
        log_channel_open(LOG_CHANNEL_SOCKET, true);
}

/* Stand-alone: "ADDRESS:PORT" or "unix:PATH". */
static void listen_alone(void)
{
    struct span where = span_cstr(process.inherit.listen);
    struct net_address address;
    int fd = -1, code;

    if (span_starts(where, SPAN_LIT("unix:"))) {
        process.is_unix = true;
        code = net_listen_unix(process.inherit.listen + 5, SOCK_SEQPACKET, 0600, (uid_t)-1,
                               (gid_t)-1, &fd);
    } else {
        process.is_unix = false;
        code = net_address_parse_port(where, &address);
        if (code == 0)
            code = net_listen_tcp(&address, &fd);
    }
    if (code < 0)
        fatal("-L %s: %s", process.inherit.listen, error_text(code));
    process.listeners[process.listener_count] = fd;
    process.inherit.listeners[process.listener_count++] = process.inherit.entry;
}

static void open_directories(void)
{
    const char *const *parameter = process.service->paths;

    for (; parameter != NULL && *parameter != NULL; parameter++) {
        ENSURE(directory_count < PATHS_MAX);
        directories[directory_count].parameter = *parameter;
        directories[directory_count].fd =
            open(conf_string(process.conf, *parameter), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        directory_count++;
    }
}

/* --- the walls --- */

static int raise_sandbox(struct str *why)
{
    unsigned rights = process.service->rights;
    struct sandbox_tree trees[PATHS_MAX + 1];
    size_t count = 0;
    int code, level, boot_id = -1;

    for (size_t i = 0; i < directory_count; i++) {
        if (directories[i].fd >= 0)
            trees[count++] = (struct sandbox_tree){.fd = directories[i].fd,
                                                   .is_writable = rights & SERVICE_FILES};
    }
    /* A journal's hints count only in the boot that wrote them. */
    if (rights & (SERVICE_FILES | SERVICE_READ_FILES))
        boot_id = open("/proc/sys/kernel/random/boot_id", O_PATH | O_CLOEXEC);
    if (boot_id >= 0)
        trees[count++] = (struct sandbox_tree){.fd = boot_id, .is_file = true};
    code = sandbox_no_new_privileges(why);
    if (code == 0)
        code = sandbox_landlock(rights, trees, count, &level, why);
    fd_close(&boot_id);
    /* Last: it forbids what the others need. */
    if (code == 0)
        code = sandbox_seccomp(rights, why);
    return code;
}

/* Without root everything runs as one user, and there is nobody to tell apart. */
static bool has_users(void)
{
    return geteuid() == 0 && process.inherit.listen == NULL;
}

static bool changes_user(void)
{
    return has_users() && !(process.service->rights & SERVICE_PRIVILEGED);
}

static void find_users(struct identity *identity)
{
    const struct service *service = process.service;
    struct str why = {0};
    int code = 0;

    if (has_users() && service->askers != NULL)
        code = askers_find(&process.askers, process.conf, service->askers, &why);
    if (code == 0 && changes_user())
        code = identity_find(identity, conf_string(process.conf, service->user_parameter),
                             conf_string(process.conf, "waypost_user"), &why);
    if (code < 0)
        fail_start(str_cstr(&why));
    str_fini(&why);
}

static void give_up_privileges(const struct identity *identity)
{
    const struct service *service = process.service;
    struct str why = {0};
    int code = 0;

    if (changes_user()) {
        if (service->is_chrooted)
            code = privileges_chroot(&why);
        if (code == 0)
            code = identity_become(identity, &why);
    }
    if (code == 0)
        code = privileges_limit(&why);
    if (code == 0 && !(service->rights & SERVICE_PRIVILEGED))
        code = raise_sandbox(&why);
    if (code < 0)
        fail_start(str_cstr(&why));
    str_fini(&why);
}

/* --- running --- */

/* Begin to drain; idempotent. */
static void drain(void)
{
    if (process.is_draining)
        return;
    process.is_draining = true;
    process.page->state = STATS_DRAINING;
    task_cond_broadcast(&process.changed);
}

static void wake_up(void *arg)
{
    process.service->on_wakeup();
    process.is_waking = false;
}

static void obey(const struct control_message *message)
{
    switch (message->word) {
    case CONTROL_LIMIT:
        accept_set_limit(message->number);
        break;
    case CONTROL_REFUSE:
        accept_refuse(message->text);
        break;
    case CONTROL_WAKEUP:
        if (process.service->on_wakeup == NULL || process.is_waking || process.is_draining)
            break;
        process.is_waking = true;
        if (task_group_spawn(&process.helpers, "wakeup", wake_up, NULL) < 0)
            process.is_waking = false;
        break;
    case CONTROL_DRAIN:
        drain();
        break;
    default:
        break;
    }
}

/* master's orders; its end is one too. */
static void follow_master(void *arg)
{
    char packet[CONTROL_PACKET_MAX];
    struct control_message message;
    struct task_fd fd;
    int code = task_fd_init(&fd, process.control_fd);

    while (code == 0 || code == -EAGAIN || code == ERR_SYNTAX) {
        code = control_receive(process.control_fd, packet, &message);
        if (code == 0)
            obey(&message);
        else if (code == -EAGAIN && task_fd_wait(&fd, TASK_READABLE, DEADLINE_NONE) < 0)
            break;
    }
    task_fd_fini(&fd);
    if (!task_is_cancelled() && !process.is_draining) {
        log_info("master is gone: finishing %llu sessions",
                 (unsigned long long)process.client_count);
        process.end = deadline_in(conf_ms(process.conf, "drain_time_limit"));
        drain();
    }
}

static void on_sigterm(int signo)
{
    task_runtime_stop();
}

static int start_helpers(void)
{
    int code = 0;

    for (size_t i = 0; i < process.inherit.refused_count; i++)
        accept_refuse(span_cstr(process.inherit.refused[i]));
    for (size_t i = 0; i < process.listener_count && code == 0; i++)
        code = task_group_spawn(&process.helpers, "accept", accept_run, (void *)i);
    if (code == 0 && process.control_fd >= 0)
        code = task_group_spawn(&process.helpers, "control", follow_master, NULL);
    return code;
}

/* The clients' end, by themselves or by force. */
static void finish_clients(bool is_cancelled)
{
    bool is_single = process.service->kind == SERVICE_SINGLE;

    if (!is_cancelled && is_single) {
        if (process.service->on_drain != NULL)
            task_group_wait(&process.clients, deadline_in(SINGLE_DRAIN_MS));
    } else if (!is_cancelled && task_group_wait(&process.clients, process.end) == 0) {
        while (process.client_count > 0 && task_cond_wait(&process.changed, process.end) == 0) {
            /* clients without a task of their own go on */
        }
    }
    if (process.client_count > 0) {
        task_group_cancel(&process.clients);
        task_shield(true);
        task_group_wait(&process.clients, deadline_in(CANCEL_WAIT_MS));
    }
}

static void live(void)
{
    bool is_cancelled = false;

    while (!process.is_draining && !is_cancelled)
        is_cancelled = task_cond_wait(&process.changed, DEADLINE_NONE) == -ECANCELED;
    /* At once, so that a next master can bind the addresses. */
    drain();
    task_shield(true);
    task_group_cancel(&process.helpers);
    task_group_wait(&process.helpers, deadline_in(CANCEL_WAIT_MS));
    for (size_t i = 0; i < process.listener_count; i++)
        fd_close(&process.listeners[i]);
    if (process.service->on_drain != NULL)
        process.service->on_drain();
    task_group_cancel(&process.carriers);
    task_group_wait(&process.carriers, deadline_in(CANCEL_WAIT_MS));
    task_shield(false);
    finish_clients(is_cancelled);
    task_shield(true);
    if (process.service->on_stop != NULL)
        process.service->on_stop();
    accept_publish();
    task_shield(false);
}

static int exit_status;

static void first_task(void *arg)
{
    int code = 0;

    log_channel_batch();
    if (process.service->on_start != NULL)
        code = process.service->on_start(process.conf);
    if (code == 0)
        code = start_helpers();
    if (code < 0) {
        if (process.control_fd >= 0)
            control_send(process.control_fd, CONTROL_FAILED, 0, error_text(code));
        log_error("start failed: %s", error_text(code));
        exit_status = 1;
        return;
    }
    /* What reading tables and the configuration took meanwhile: 0.15 MiB of each process. */
    malloc_trim(0);
    process.page->state = STATS_READY;
    accept_publish();
    if (process.control_fd >= 0)
        control_send(process.control_fd, CONTROL_READY, 0, NULL);
    live();
}

/* What the service asks for, else what the parameters say. */
static int start_runtime(void)
{
    static const char *const parameters[TASK_POOLS] = {
        [TASK_POOL_SYNC] = "sync_thread_count",
        [TASK_POOL_STORE] = "store_thread_count",
        [TASK_POOL_CPU] = "cpu_thread_count",
    };
    struct task_options options = process.service->tasks;

    for (size_t i = 0; i < TASK_POOLS; i++) {
        if (options.threads[i] == 0)
            options.threads[i] = (unsigned)conf_int(process.conf, parameters[i]);
    }
    return task_runtime_init(&options);
}

static void run(void)
{
    int code = start_runtime();

    if (code == 0)
        code = task_signal(SIGTERM, on_sigterm);
    if (code == 0)
        code = task_signal(SIGINT, on_sigterm);
    if (code < 0)
        fail_start(error_text(code));
    task_cond_init(&process.changed);
    task_group_init(&process.clients);
    task_group_init(&process.helpers);
    task_group_init(&process.carriers);
    task_set_crash_page(&process.page->note);
    code = task_runtime_run(first_task, NULL);
    if (code < 0 && code != -ECANCELED) {
        log_error("the loop ended: %s", error_text(code));
        exit_status = 1;
    }
    /* No task_runtime_fini(): connections that the service keeps for its whole life
     * (to qmgr, auth, anvil) are still watched, and the process ends now. */
}

int service_main(int argc, char **argv, const struct service *service)
{
    const char *slash = strrchr(argv[0], '/');
    const char *program = slash != NULL ? slash + 1 : argv[0];
    struct identity identity = {0};
    struct str why = {0};

    signal(SIGPIPE, SIG_IGN);
    /* What a worker allocates the loop frees: with an arena for each thread the free
     * pieces lay about in all of them, 1.5 KiB for each idle session. */
    mallopt(M_ARENA_MAX, 1);
    process.service = service;
    read_command_line(argc, argv);
    inherit_descriptors();
    read_configuration(program);
    enter_run_directory();
    open_log(program);
    process.page->kind = (uint32_t)service->kind;
    if (process.inherit.listen != NULL)
        listen_alone();
    open_directories();
    if (service->on_load != NULL && service->on_load(process.conf, &why) < 0)
        fail_start(str_cstr(&why));
    str_fini(&why);
    conf_free(process.main_conf);
    process.main_conf = NULL;
    find_users(&identity);
    if (process.inherit.is_trial)
        return 0;
    give_up_privileges(&identity);
    run();
    log_channel_close();
    return exit_status;
}

/* --- what services ask --- */

const struct conf *service_main_conf(void)
{
    return process.main_conf;
}

const struct conf *service_conf(void)
{
    return process.conf;
}

const char *service_entry_name(void)
{
    return process.inherit.entry;
}

bool service_is_trial(void)
{
    return process.inherit.is_trial;
}

int service_directory(const char *parameter)
{
    for (size_t i = 0; i < directory_count; i++) {
        if (strcmp(directories[i].parameter, parameter) == 0)
            return directories[i].fd;
    }
    panic("%s is not one of this service's paths", parameter);
}

int service_listener(const char *name)
{
    for (size_t i = 0; i < process.listener_count; i++) {
        if (strcmp(process.inherit.listeners[i], name) == 0)
            return process.listeners[i];
    }
    return -1;
}

void service_allow_reading(int directory)
{
    ENSURE(directory_count < PATHS_MAX);
    directories[directory_count].parameter = "";
    directories[directory_count++].fd = directory;
}

void service_give_up(const char *why)
{
    if (process.is_draining)
        return;
    log_warn("this process ends: %s", why);
    if (process.control_fd >= 0)
        control_send(process.control_fd, CONTROL_BYE, 0, why);
    drain();
}

uint32_t service_client_limit(void)
{
    return process.limit;
}

void service_set_work(uint64_t active, uint64_t capacity)
{
    process.page->work = active;
    process.page->capacity = capacity;
    accept_publish();
}
