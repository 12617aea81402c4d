/* scale.c: how many processes, with which limits. What to do is decided in
 * limits.c and contain.c; here it is done. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "master/master.h"
#include "master/usage.h"
#include "service/control.h"

enum {
    SHARES_MAX = 1024, /* processes of a service whose limits are divided */
    KILL_AFTER_MS = 15000,
    WAIT_FOR_ANSWER_MS = 30000, /* to a start, before it is said in the log */
    HUNG_PERMILLE = 100,        /* a loop that turns idly to no end, on a loaded machine */
};

/* --- looking --- */

static void read_page(const struct child *child, struct stats_page *page)
{
    if (stats_read(child->page, page) < 0)
        memset(page, 0, sizeof(*page));
}

/* What counts against the limit: connections, or deliveries of an agent. The page
 * says what the process likes: it cannot have more than it was given. */
static uint64_t child_clients(const struct child *child)
{
    struct stats_page page;
    uint64_t clients, most = UINT32_MAX;

    read_page(child, &page);
    clients = child->kind == SERVICE_AGENT ? page.work : page.clients;
    if (child->entry != NULL && child->kind != SERVICE_SINGLE)
        most = child->kind == SERVICE_AGENT ? child->entry->total : child->granted;
    return clients < most ? clients : most;
}

/* Whether this process takes one more connection. */
static bool has_room(const struct child *child)
{
    struct stats_page page;

    if (child->state != CHILD_READY)
        return child->state == CHILD_STARTING;
    read_page(child, &page);
    switch (child->kind) {
    case SERVICE_AGENT:
        return page.clients == 0;
    case SERVICE_SINGLE:
        return true;
    default:
        return page.clients < child->granted;
    }
}

static uint32_t per_process(const struct service_entry *entry)
{
    if (entry->is_contained && entry->kind == SERVICE_CLIENTS)
        return 1;
    return entry->client_limit > 0 ? entry->client_limit : limits_process(&master.machine);
}

static struct limits_load look(const struct service_entry *entry)
{
    struct limits_load load = {
        .kind = entry->kind,
        .total = entry->total,
        .client_limit = entry->client_limit,
        .process_count = entry->process_count,
        .busy_seconds = entry->busy_seconds,
        .idle_seconds = entry->idle_seconds,
        .cores = master.machine.cores,
        .has_waiting = entry->has_waiting,
        .is_contained = entry->is_contained,
        .is_kept = entry->is_kept,
    };
    uint64_t busy = 0;

    LIST_FOR(item, &entry->children)
    {
        const struct child *child = LIST_ITEM(item, struct child, link);
        uint64_t clients = child_clients(child);

        if (child->state == CHILD_DRAINING) {
            load.total -= clients < load.total ? (uint32_t)clients : load.total;
            continue;
        }
        load.processes++;
        load.clients += clients;
        load.capacity += child->granted;
        busy += child->busy_permille;
    }
    if (load.processes > 0)
        load.busy_permille = (uint32_t)(busy / load.processes);
    return load;
}

bool scale_is_unserved(const struct service_entry *entry)
{
    struct limits_load load;

    if (master.is_stopping || !contain_may_start(&entry->containment, clock_mono_ms()) ||
        entry_has_predecessor(entry))
        return false;
    LIST_FOR(item, &entry->children)
    {
        if (has_room(LIST_ITEM(item, struct child, link)))
            return false;
    }
    load = look(entry);
    load.has_waiting = true;
    return limits_wanted_processes(&load, master.max_idle_s) > load.processes;
}

bool scale_is_away(const struct service_entry *entry)
{
    return strcmp(entry->program, "tlsproxy") == 0 && strcmp(entry->type, "inet") == 0 &&
           !master.is_stopping && entry->containment.failures > 0 &&
           !contain_may_start(&entry->containment, clock_mono_ms()) && look(entry).processes == 0;
}

/* --- sharing the limit --- */

static size_t collect_shares(const struct service_entry *entry, struct limits_share *shares,
                             struct child **children)
{
    size_t n = 0;

    LIST_FOR(item, &entry->children)
    {
        struct child *child = LIST_ITEM(item, struct child, link);

        if (child->state == CHILD_DRAINING || n == SHARES_MAX)
            continue;
        children[n] = child;
        shares[n].clients = (uint32_t)child_clients(child);
        shares[n++].granted = child->granted;
    }
    return n;
}

/* Smaller limits go out first; a larger one only when the answers have made room. */
static void share_limits(struct service_entry *entry)
{
    static struct limits_share shares[SHARES_MAX]; /* too large for a task's stack */
    static struct child *children[SHARES_MAX];
    size_t n = collect_shares(entry, shares, children);

    if (entry->kind == SERVICE_SINGLE)
        return;
    limits_divide(shares, n, entry->total, per_process(entry));
    for (size_t i = 0; i < n; i++) {
        uint32_t grantable;

        if (children[i]->state != CHILD_READY || shares[i].target == shares[i].granted)
            continue;
        if (shares[i].target < shares[i].granted) {
            control_send(children[i]->control_fd, CONTROL_LIMIT, shares[i].target, NULL);
            continue;
        }
        grantable = limits_grantable(shares, n, i, entry->total);
        if (grantable > shares[i].target)
            grantable = shares[i].target;
        if (grantable <= shares[i].granted)
            continue;
        if (control_send(children[i]->control_fd, CONTROL_LIMIT, grantable, NULL) == 0)
            shares[i].granted = children[i]->granted = grantable;
    }
}

/* What a new process may begin with. */
static uint32_t first_grant(const struct service_entry *entry)
{
    static struct limits_share shares[SHARES_MAX + 1];
    static struct child *children[SHARES_MAX];
    size_t n = collect_shares(entry, shares, children);
    uint32_t most = per_process(entry), grantable;

    shares[n] = (struct limits_share){0};
    grantable = limits_grantable(shares, n + 1, n, entry->total);
    return grantable < most ? grantable : most;
}

/* --- doing --- */

/* The one with the fewest clients lets the others go on. */
static void drain_one(struct service_entry *entry)
{
    struct child *best = NULL;

    LIST_FOR(item, &entry->children)
    {
        struct child *child = LIST_ITEM(item, struct child, link);

        if (child->state == CHILD_READY &&
            (best == NULL || child_clients(child) < child_clients(best)))
            best = child;
    }
    if (best != NULL)
        child_drain(best);
}

void scale_entry(struct service_entry *entry)
{
    struct limits_load load;
    uint32_t wanted;

    if (master.is_stopping)
        return;
    entry->is_contained = contain_is_active(&entry->containment, clock_mono_ms());
    load = look(entry);
    wanted = limits_wanted_processes(&load, master.max_idle_s);
    while (wanted > load.processes && contain_may_start(&entry->containment, clock_mono_ms()) &&
           !entry_has_predecessor(entry)) {
        if (spawn_child(entry, first_grant(entry)) == NULL) {
            contain_start_failed(&entry->containment, clock_mono_ms(), master.throttle_ms);
            break;
        }
        load.processes++;
    }
    /* A successor could not start. */
    if (wanted < load.processes && !master.is_trial_failed) {
        drain_one(entry);
        entry->idle_seconds = 0;
    }
    if (load.processes > 0)
        entry->has_waiting = false;
    share_limits(entry);
}

/* --- every second --- */

static void measure(struct child *child, int64_t elapsed_ms)
{
    static long ticks_per_second;
    uint64_t now = usage_cpu_ticks(child->pid),
             used = now > child->cpu_ticks ? now - child->cpu_ticks : 0;

    if (ticks_per_second == 0)
        ticks_per_second = sysconf(_SC_CLK_TCK);
    child->cpu_ticks = now;
    child->busy_permille =
        (uint32_t)(used * 1000000 / (uint64_t)ticks_per_second / (uint64_t)elapsed_ms);
}

/* Would one process less do? It would be used to three quarters of what makes a further one. */
static bool is_one_spare(const struct limits_load *load)
{
    if (load->processes == 0)
        return false;
    if (load->processes == 1 || load->client_limit > 0 || load->is_contained)
        return load->clients == 0 ||
               (load->client_limit > 0 && load->clients + load->client_limit < load->capacity);
    return load->busy_permille * load->processes <
               master.busy_permille * 3 / 4 * (load->processes - 1) &&
           load->clients * load->processes < load->capacity * (load->processes - 1);
}

static void wake_entry(struct service_entry *entry, int64_t now)
{
    bool is_told = false;

    if (entry->config->wakeup_seconds == 0 || now < entry->next_wakeup_ms)
        return;
    entry->next_wakeup_ms = now + (int64_t)entry->config->wakeup_seconds * 1000;
    LIST_FOR(item, &entry->children)
    {
        struct child *child = LIST_ITEM(item, struct child, link);

        if (child->state == CHILD_READY && !is_told)
            is_told = control_send(child->control_fd, CONTROL_WAKEUP, 0, NULL) == 0;
    }
    if (is_told || entry->config->wakeup_if_used)
        return;
    entry->has_waiting = true;
    scale_entry(entry);
    LIST_FOR(item, &entry->children)
    LIST_ITEM(item, struct child, link)->is_wakeup_due = true;
}

static const char *limiting_parameter(const struct service_entry *entry)
{
    if (entry->config->limit > 0)
        return "maxproc in master.cf";
    return conf_is_set(master.conf, "default_process_limit") && entry->config->limit != 0
               ? "default_process_limit"
               : "memory and descriptors of this machine; maxproc in master.cf";
}

/* Before a client is dropped. The second line's words are Postfix's. */
static void warn_limit(struct service_entry *entry, const struct limits_load *load)
{
    if (entry->kind == SERVICE_SINGLE)
        return;
    switch (limits_warning(load->clients, load->total, &entry->told)) {
    case 80:
        log_warn("service \"%s\" uses %llu of its limit of %u clients (%s)", entry->config->name,
                 (unsigned long long)load->clients, entry->total, limiting_parameter(entry));
        break;
    case 100:
        log_warn("service \"%s\" (%s) has reached its process limit \"%u\": new clients may "
                 "experience noticeable delays",
                 entry->config->name, entry->config->name, entry->total);
        log_warn("to avoid this condition, increase the limit (%s) or reduce the service time "
                 "per client",
                 limiting_parameter(entry));
        break;
    default:
        break;
    }
}

/* Starts that take long (a large queue is read) are legal, and hold the service up. */
static void tell_slow_start(struct child *child, int64_t now)
{
    if (child->state != CHILD_STARTING || child->is_slow ||
        now - child->started_ms < WAIT_FOR_ANSWER_MS)
        return;
    child->is_slow = true;
    log_warn("service %s: %s, pid %ld, is not ready after %d s", child->name, child->program,
             (long)child->pid, WAIT_FOR_ANSWER_MS / 1000);
}

/* One task that never waits, or waits in the kernel, stops all sessions of its
 * process, and the process itself cannot tell. */
static void watch_turns(struct child *child, int64_t now)
{
    struct stats_page page;
    bool is_turning;

    read_page(child, &page);
    is_turning = child->state == CHILD_STARTING || page.note.task[0] == '\0' ||
                 page.note.turns != child->turns || child->turning_ms == 0;
    child->turns = page.note.turns;
    if (is_turning) {
        child->turning_ms = now;
        child->is_hung = false;
    }
    if (now - child->turning_ms < master.hang_ms || child->is_hung)
        return;
    child->is_hung = true;
    log_error("service %s: pid %ld has been in task \"%s\" for %lld s, client %s, queue id %s%s",
              child->name, (long)child->pid, page.note.task,
              (long long)(now - child->turning_ms) / 1000,
              page.note.client[0] != '\0' ? page.note.client : "unknown",
              page.note.queue_id[0] != '\0' ? page.note.queue_id : "none",
              child->busy_permille >= HUNG_PERMILLE ? ": ended" : ", without using the processor");
    if (child->busy_permille >= HUNG_PERMILLE)
        child_signal(child, SIGABRT);
}

static void end_overdue(struct child *child, int64_t now)
{
    if (child->kill_ms == 0 || now < child->kill_ms)
        return;
    if (!child->is_term_sent) {
        if (child->kind == SERVICE_SINGLE)
            log_warn("service %s: pid %ld was told to end and does not: its successor waits",
                     child->name, (long)child->pid);
        else
            log_info("service %s: pid %ld of an earlier configuration still has %llu sessions "
                     "after drain_time_limit: ending them",
                     child->name, (long)child->pid, (unsigned long long)child_clients(child));
        child->is_term_sent = true;
        child->kill_ms = now + KILL_AFTER_MS;
        child_signal(child, SIGTERM);
    } else if (!child->is_kill_sent) {
        child->is_kill_sent = true;
        child_signal(child, SIGKILL);
    }
}

static void tick_entry(struct service_entry *entry, int64_t now, int64_t elapsed_ms)
{
    struct limits_load load;
    bool was_contained = entry->is_contained;

    LIST_FOR(item, &entry->children)
    {
        struct child *child = LIST_ITEM(item, struct child, link);

        measure(child, elapsed_ms);
        tell_slow_start(child, now);
        watch_turns(child, now);
        end_overdue(child, now);
    }
    wake_entry(entry, now);
    load = look(entry);
    entry->busy_seconds = load.busy_permille >= master.busy_permille ? entry->busy_seconds + 1 : 0;
    entry->idle_seconds = is_one_spare(&load) ? entry->idle_seconds + 1 : 0;
    warn_limit(entry, &load);
    scale_entry(entry);
    if (was_contained && !entry->is_contained)
        log_info("service %s: no crash for %d minutes: back to many clients per process",
                 entry->config->name, CONTAIN_PERIOD_MS / 60000);
}

void scale_tick(void)
{
    static int64_t last_ms;
    int64_t now = clock_mono_ms(), elapsed = last_ms > 0 && now > last_ms ? now - last_ms : 1000;

    last_ms = now;
    LIST_FOR(item, &master.entries)
    tick_entry(LIST_ITEM(item, struct service_entry, link), now, elapsed);
    LIST_FOR(item, &master.retired)
    {
        struct child *child = LIST_ITEM(item, struct child, link);

        measure(child, elapsed);
        watch_turns(child, now);
        end_overdue(child, now);
    }
    task_cond_broadcast(&master.changed);
}
