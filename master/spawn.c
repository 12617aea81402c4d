/* spawn.c: start a service's process: by exec, with nothing but what
 * service/inherit.h says and a small environment. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master.h"

enum {
    HIGH_FD = 3 + 3 + INHERIT_LISTENERS_MAX, /* above all that the child will have */
};

typedef ARRAY(char *) spawn_words;

static void add_word(spawn_words *words, const char *word)
{
    char **slot = array_push(words);

    if (slot == NULL)
        fatal("out of memory");
    *slot = word != NULL ? mem_strdup_or_die(span_cstr(word)) : NULL;
}

static void free_words(spawn_words *words)
{
    for (size_t i = 0; i < words->len; i++)
        free(words->items[i]);
    array_free(words);
}

static void build_command(spawn_words *words, const struct service_entry *entry, uint32_t limit,
                          bool is_trial)
{
    char number[16];
    struct str refused = {0};

    add_word(words, entry->program);
    add_word(words, "-n");
    add_word(words, entry->config->name);
    add_word(words, "-t");
    add_word(words, entry->type);
    add_word(words, "-c");
    add_word(words, master.config_directory);
    if (is_trial)
        add_word(words, "-T");
    snprintf(number, sizeof(number), "%u", limit);
    add_word(words, "-l");
    add_word(words, number);
    for (size_t i = 0; i < entry->listeners.len; i++) {
        add_word(words, "-s");
        add_word(words, entry->listeners.items[i]->label);
    }
    for (unsigned i = 0; contain_refused(&entry->containment, clock_mono_ms(), i, &refused); i++) {
        add_word(words, "-r");
        add_word(words, str_cstr(&refused));
    }
    str_fini(&refused);
    for (unsigned i = 0; i < entry->options->verbose; i++)
        add_word(words, "-v");
    for (size_t i = 0; i < entry->options->override_count; i++) {
        add_word(words, "-o");
        add_word(words, entry->options->overrides[i]);
    }
    add_word(words, "--");
    for (size_t i = 0; i < entry->options->argument_count; i++)
        add_word(words, entry->options->arguments[i]);
    add_word(words, NULL);
}

/* import_environment: names, or name=value. */
static void build_environment(spawn_words *words)
{
    struct span rest = span_cstr(conf_string(master.conf, "import_environment")), token;
    struct str word = {0};

    add_word(words, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    while (span_token(&rest, " ,\t\r\n", &token)) {
        str_set(&word, token);
        if (span_find(token, '=') < 0) {
            const char *value = getenv(str_cstr(&word));

            if (value == NULL)
                continue;
            str_printf(&word, "=%s", value);
        }
        add_word(words, str_cstr(&word));
    }
#ifdef WAYPOST_SANITIZE
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};

        if (getenv(names[i]) == NULL)
            continue;
        str_clear(&word);
        str_printf(&word, "%s=%s", names[i], getenv(names[i]));
        add_word(words, str_cstr(&word));
    }
#endif
    str_fini(&word);
    add_word(words, NULL);
}

/* In the child: descriptors to their places. First all above, so that no move
 * overwrites one that is still to be moved. Only async-signal-safe calls. */
static bool place_descriptors(int *fds, size_t count, bool keeps_stdout)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH_FD + 1);
        if (fds[i] < 0)
            return false;
    }
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        (!keeps_stdout && dup2(null, STDOUT_FILENO) < 0))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (dup2(fds[i], 3 + (int)i) < 0)
            return false;
    }
    return true;
}

static void become_service(const char *path, char **command, char **environment, int *fds,
                           size_t count)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    /* maillog_file = /dev/stdout is master's. */
    if (place_descriptors(fds, count, strcmp(command[0], "postlogd") == 0))
        execve(path, command, environment);
    _exit(127);
}

static struct child *make_child(struct service_entry *entry, int control_fd, int stats_fd,
                                uint32_t limit)
{
    struct child *child = NEW(struct child);

    if (child == NULL)
        return NULL;
    child->page = stats_map_readonly(stats_fd);
    if (child->page == NULL) {
        free(child);
        return NULL;
    }
    list_init(&child->link);
    task_cond_init(&child->reaped);
    child->entry = entry;
    child->name = mem_strdup_or_die(span_cstr(entry->config->name));
    child->type = mem_strdup_or_die(span_cstr(entry->type));
    child->program = mem_strdup_or_die(span_cstr(entry->program));
    child->control_fd = control_fd;
    child->stats_fd = stats_fd;
    child->kind = entry->kind;
    child->granted = limit;
    child->started_ms = clock_mono_ms();
    return child;
}

static void program_path(struct str *path, const struct service_entry *entry)
{
    str_printf(path, "%s/%s", conf_string(master.conf, "daemon_directory"), entry->program);
}

static pid_t fork_service(const struct service_entry *entry, int control_fd, int stats_fd,
                          uint32_t limit)
{
    int fds[INHERIT_LISTENERS_MAX + 3] = {control_fd, stats_fd, master.config_fd};
    spawn_words command = {0}, environment = {0};
    struct str path = {0};
    size_t count = 3;
    pid_t pid;

    program_path(&path, entry);
    build_command(&command, entry, limit, false);
    build_environment(&environment);
    for (size_t i = 0; i < entry->listeners.len; i++)
        fds[count++] = entry->listeners.items[i]->fd;
    pid = fork();
    if (pid == 0)
        become_service(str_cstr(&path), command.items, environment.items, fds, count);
    if (pid < 0)
        log_error("service %s: fork: %s", entry->config->name, error_text(-errno));
    str_fini(&path);
    free_words(&command);
    free_words(&environment);
    return pid;
}

pid_t spawn_trial(const struct service_entry *entry, int output_fd)
{
    spawn_words command = {0}, environment = {0};
    struct str path = {0};
    pid_t pid;

    program_path(&path, entry);
    build_command(&command, entry, 0, true);
    build_environment(&environment);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (dup2(output_fd, STDOUT_FILENO) >= 0)
            execve(str_cstr(&path), command.items, environment.items);
        _exit(127);
    }
    str_fini(&path);
    free_words(&command);
    free_words(&environment);
    return pid;
}

struct child *spawn_child(struct service_entry *entry, uint32_t limit)
{
    int pair[2] = {-1, -1}, stats_fd = stats_create();
    struct child *child;

    if (stats_fd < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        log_error("service %s: cannot start a process: %s", entry->config->name,
                  error_text(stats_fd < 0 ? stats_fd : -errno));
        fd_close(&stats_fd);
        return NULL;
    }
    child = make_child(entry, pair[0], stats_fd, limit);
    if (child == NULL) {
        fd_close(&pair[0]);
        fd_close(&pair[1]);
        fd_close(&stats_fd);
        return NULL;
    }
    child->pid = fork_service(entry, pair[1], stats_fd, limit);
    fd_close(&pair[1]);
    if (child->pid > 0) {
        list_append(&entry->children, &child->link);
        master.child_count++;
    } else {
        child->is_reaped = true; /* nothing to wait for */
    }
    if (child_watch(child) < 0 || child->pid < 0)
        return NULL;
    return child;
}
