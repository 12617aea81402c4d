/* children.c: what master hears from its processes, and their ends. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "master/master.h"
#include "service/control.h"

enum {
    SHORT_LIFE_MS = 1000,
    SINGLE_END_MS = 45000, /* it lets its clients go after five seconds, and syncs what it has */
};

bool entry_has_predecessor(const struct service_entry *entry)
{
    LIST_FOR(item, &entry->children)
    {
        if (entry->kind == SERVICE_SINGLE &&
            LIST_ITEM(item, struct child, link)->state == CHILD_DRAINING)
            return true;
    }
    LIST_FOR(item, &master.retired)
    {
        const struct child *child = LIST_ITEM(item, struct child, link);

        if (child->kind == SERVICE_SINGLE && strcmp(child->name, entry->config->name) == 0 &&
            strcmp(child->type, entry->type) == 0)
            return true;
    }
    return false;
}

void child_signal(struct child *child, int signo)
{
    if (!child->is_reaped && child->pid > 0)
        kill(child->pid, signo);
}

/* Its successor waits for its end, which must not depend on its goodwill. */
static void child_must_end(struct child *child)
{
    int64_t then = clock_mono_ms() + SINGLE_END_MS;

    if (child->kind == SERVICE_SINGLE && (child->kill_ms == 0 || child->kill_ms > then))
        child->kill_ms = then;
}

void child_drain(struct child *child)
{
    if (child->state == CHILD_DRAINING)
        return;
    /* One that has not answered yet gets it from the socket when it has started. */
    child->state = CHILD_DRAINING;
    child_must_end(child);
    control_send(child->control_fd, CONTROL_DRAIN, 0, NULL);
}

void child_retire(struct child *child)
{
    child_drain(child);
    child->entry = NULL;
    if (child->kill_ms == 0)
        child->kill_ms = clock_mono_ms() + master.drain_ms;
    child_must_end(child);
    list_remove(&child->link);
    list_append(&master.retired, &child->link);
}

/* --- what a child says --- */

static void send_refused(struct child *child)
{
    struct str text = {0};
    int64_t now = clock_mono_ms();

    for (unsigned i = 0; contain_refused(&child->entry->containment, now, i, &text); i++)
        control_send(child->control_fd, CONTROL_REFUSE, 0, str_cstr(&text));
    str_fini(&text);
}

static void child_ready(struct child *child)
{
    struct stats_page page;

    if (stats_read(child->page, &page) == 0)
        child->kind = (enum service_kind)page.kind;
    if (child->state == CHILD_DRAINING)
        child_must_end(child);
    if (child->state != CHILD_STARTING)
        return;
    child->state = CHILD_READY;
    if (child->entry == NULL)
        return;
    child->entry->kind = child->kind;
    contain_started(&child->entry->containment);
    if (child->is_wakeup_due)
        control_send(child->control_fd, CONTROL_WAKEUP, 0, NULL);
    child->is_wakeup_due = false;
}

static void hear(struct child *child, const struct control_message *message)
{
    switch (message->word) {
    case CONTROL_READY:
        child_ready(child);
        break;
    case CONTROL_FAILED:
        if (child->state != CHILD_STARTING || child->is_failed)
            break;
        child->is_failed = true;
        log_error("service %s: %s did not start: %.*s", child->name, child->program,
                  SPAN_ARG(message->text));
        break;
    case CONTROL_LIMITED:
        /* No process takes more from the others than there is. */
        child->granted = message->number;
        if (child->entry != NULL && child->granted > child->entry->total)
            child->granted = child->entry->total;
        break;
    case CONTROL_BYE:
        child->state = CHILD_DRAINING;
        child_must_end(child);
        break;
    default:
        break;
    }
    if (child->entry != NULL)
        scale_entry(child->entry);
    task_cond_broadcast(&master.changed);
}

/* --- the end of a child --- */

/* What it did when it died; -1 when its page does not say. */
static int describe_end(const struct child *child, struct stats_page *page)
{
    if (stats_read(child->page, page) < 0)
        return -1;
    log_warn("service %s: pid %ld was in task \"%s\", client %s, queue id %s, with %llu clients",
             child->name, (long)child->pid, page->note.task,
             page->note.client[0] != '\0' ? page->note.client : "unknown",
             page->note.queue_id[0] != '\0' ? page->note.queue_id : "none",
             (unsigned long long)page->clients);
    return 0;
}

/* A process that was ready crashed: contain what it served. */
static void contain(struct child *child, const struct stats_page *page)
{
    struct service_entry *entry = child->entry;
    struct str address = {0};

    str_append(&address, stats_note_address(&page->note));
    if (entry != NULL && contain_crash(&entry->containment, clock_mono_ms(), str_cstr(&address))) {
        log_warn(
            "service %s: %d crashes within a minute: one client per process for %d minutes%s%s",
            child->name, CONTAIN_CRASHES, CONTAIN_PERIOD_MS / 60000,
            address.len > 0 ? ", refusing client " : "", str_cstr(&address));
        entry->is_contained = true;
        LIST_FOR(item, &entry->children)
        {
            struct child *other = LIST_ITEM(item, struct child, link);

            if (other != child && other->state == CHILD_READY)
                send_refused(other);
        }
    }
    str_fini(&address);
}

static void died(struct child *child, const char *how, int number, bool is_crash)
{
    struct stats_page page;

    log_warn("process %s pid %ld %s %d", child->program, (long)child->pid, how, number);
    if (child->state == CHILD_STARTING || describe_end(child, &page) < 0)
        return;
    if (is_crash)
        contain(child, &page);
}

static void start_failed(struct child *child)
{
    struct service_entry *entry = child->entry;

    if (entry == NULL)
        return;
    contain_start_failed(&entry->containment, clock_mono_ms(), master.throttle_ms);
    log_warn("%s: bad command startup -- throttling",
             child->program); /* Postfix's words: log watchers know them */
}

/* Whoever waited for this end may start now. A single service that ended starts
 * again without being asked: it has work of its own, such as deferred mail. One
 * that ends as soon as it is ready must not use up the machine. */
static void after_end(const struct child *child, struct service_entry *entry)
{
    int64_t now = clock_mono_ms();

    if (entry != NULL && child->kind == SERVICE_SINGLE) {
        entry->has_waiting = true;
        if (now - child->started_ms < SHORT_LIFE_MS)
            contain_start_failed(&entry->containment, now, SHORT_LIFE_MS);
    }
    LIST_FOR(item, &master.entries)
    {
        struct service_entry *next = LIST_ITEM(item, struct service_entry, link);

        if (next == entry ||
            (child->kind == SERVICE_SINGLE && strcmp(next->config->name, child->name) == 0))
            scale_entry(next);
    }
}

static void child_ended(struct child *child, int status)
{
    bool was_ready = child->state != CHILD_STARTING;
    struct service_entry *entry = child->entry;

    child->is_reaped = true;
    child->exit_status = status;
    master.child_count--;
    /* SIGKILL comes from an operator or from the kernel when memory is short: no
     * client has brought it about, and more processes would only make it worse. */
    if (WIFSIGNALED(status) && !child->is_term_sent && !master.is_stopping)
        died(child, "killed by signal", WTERMSIG(status), WTERMSIG(status) != SIGKILL);
    else if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && !child->is_term_sent)
        died(child, "exit status", WEXITSTATUS(status), true);
    if (!was_ready && !child->is_term_sent && !master.is_stopping)
        start_failed(child);
    list_remove(&child->link);
    child->entry = NULL;
    task_cond_broadcast(&child->reaped);
    task_cond_broadcast(&master.changed);
    if (!master.is_stopping)
        after_end(child, entry);
}

static struct child *find_in(struct list *children, pid_t pid)
{
    LIST_FOR(item, children)
    {
        struct child *child = LIST_ITEM(item, struct child, link);

        if (child->pid == pid)
            return child;
    }
    return NULL;
}

static struct child *find_child(pid_t pid)
{
    struct child *child = find_in(&master.retired, pid);

    LIST_FOR(item, &master.entries)
    {
        if (child == NULL)
            child = find_in(&LIST_ITEM(item, struct service_entry, link)->children, pid);
    }
    return child;
}

void children_reap(void)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *child = find_child(pid);

        if (child != NULL)
            child_ended(child, status);
        else
            trial_reaped(pid);
    }
}

/* --- its task --- */

static void free_child(struct child *child)
{
    list_remove(&child->link);
    stats_unmap(child->page);
    fd_close(&child->control_fd);
    fd_close(&child->stats_fd);
    free(child->name);
    free(child->type);
    free(child->program);
    free(child);
}

/* Listens until the child has closed its end, then waits for its exit. */
static void listen_to_child(void *arg)
{
    struct child *child = arg;
    char packet[CONTROL_PACKET_MAX];
    struct control_message message;
    struct task_fd fd;
    int code = task_fd_init(&fd, child->control_fd);

    while (code >= 0 || code == -EAGAIN || code == ERR_SYNTAX) {
        code = control_receive(child->control_fd, packet, &message);
        if (code == 0)
            hear(child, &message);
        /* A child that talks without a pause must not keep master from the others. */
        if ((code == -EAGAIN ? task_fd_wait(&fd, TASK_READABLE, DEADLINE_NONE) : task_breathe()) <
            0)
            break;
    }
    task_fd_fini(&fd);
    while (!child->is_reaped) {
        if (task_cond_wait(&child->reaped, DEADLINE_NONE) < 0)
            break;
    }
    free_child(child);
}

int child_watch(struct child *child)
{
    if (task_spawn("child", listen_to_child, child) != NULL)
        return 0;
    /* Without its task it would be neither heard nor freed. */
    child_signal(child, SIGKILL);
    if (list_is_linked(&child->link))
        master.child_count--;
    free_child(child);
    return -ENOMEM;
}
