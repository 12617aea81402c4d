#include "master/limits.h"

enum {
    BYTES_PER_CLIENT = 256 * 1024, /* a session with TLS and a message in flight */
    DESCRIPTORS_PER_CLIENT = 4,    /* client, queue or milter, file, spare */
    DESCRIPTORS_RESERVED = 64,
    CAPACITY_MIN = 20,
    CAPACITY_MAX = 200000,
    BUSY_SECONDS = 2, /* a burst of one second is no reason */
    STRICT_SPARE = 1, /* processes that wait for a client, with client_limit 1 */
};

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

uint32_t limits_process(const struct limits_machine *machine)
{
    uint64_t usable = machine->descriptors > DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CLIENT
                          ? machine->descriptors - DESCRIPTORS_RESERVED
                          : DESCRIPTORS_PER_CLIENT;

    return (uint32_t)clamp(usable / DESCRIPTORS_PER_CLIENT, 1, CAPACITY_MAX);
}

uint32_t limits_service(int64_t maxproc, int64_t default_limit,
                        const struct limits_machine *machine)
{
    uint64_t by_memory, by_descriptors;

    if (maxproc < 0 && default_limit > 0)
        maxproc = default_limit;
    if (maxproc > 0)
        return (uint32_t)clamp((uint64_t)maxproc, 1, UINT32_MAX - 1);
    /* Half of the memory: the page cache and the other services live too. */
    by_memory = machine->memory_bytes / 2 / BYTES_PER_CLIENT;
    by_descriptors = (uint64_t)limits_process(machine) * (machine->cores > 0 ? machine->cores : 1);
    return (uint32_t)clamp(by_memory < by_descriptors ? by_memory : by_descriptors, CAPACITY_MIN,
                           CAPACITY_MAX);
}

void limits_divide(struct limits_share *shares, size_t count, uint32_t total, uint32_t per_process)
{
    uint64_t used = 0, left;

    for (size_t i = 0; i < count; i++) {
        shares[i].target = shares[i].clients;
        used += shares[i].clients;
    }
    left = used < total ? total - used : 0;
    /* Fill from the lowest: each round gives everybody below the even share its
     * part; rounds end when nothing could be given. */
    while (left > 0) {
        uint64_t given = 0;
        size_t open = 0;

        for (size_t i = 0; i < count; i++)
            open += shares[i].target < per_process;
        if (open == 0)
            return;
        for (size_t i = 0; i < count && left > 0; i++) {
            uint64_t part = (left + open - 1) / (open > 0 ? open : 1);

            if (shares[i].target >= per_process)
                continue;
            if (part > per_process - shares[i].target)
                part = per_process - shares[i].target;
            shares[i].target += (uint32_t)part;
            left -= part;
            given += part;
            open--;
        }
        if (given == 0)
            return;
    }
}

uint32_t limits_grantable(const struct limits_share *shares, size_t count, size_t self,
                          uint32_t total)
{
    uint64_t others = 0;

    for (size_t i = 0; i < count; i++) {
        if (i != self)
            others += shares[i].granted > shares[i].clients ? shares[i].granted : shares[i].clients;
    }
    return others < total ? (uint32_t)(total - others) : 0;
}

/* client_limit by parameter (or containment): as many as the clients need. */
static uint32_t wanted_by_clients(const struct limits_load *load, uint32_t client_limit,
                                  uint32_t max_idle)
{
    uint64_t most = ((uint64_t)load->total + client_limit - 1) / client_limit;
    uint64_t need = (load->clients + client_limit - 1) / client_limit;

    /* One that is ready for the next client, while there are clients. */
    if (load->clients > 0 || load->has_waiting)
        need = (load->clients + STRICT_SPARE + client_limit - 1) / client_limit;
    if (load->has_waiting && need <= load->processes && load->clients >= load->capacity)
        need = (uint64_t)load->processes + 1;
    /* Those that are there and idle stay for a while. */
    if (need < load->processes && load->idle_seconds < max_idle)
        need = load->processes;
    return (uint32_t)(need < most ? need : most);
}

static uint32_t wanted_by_load(const struct limits_load *load, uint32_t max_idle)
{
    uint32_t now = load->processes;
    bool is_full = now > 0 && load->clients >= load->capacity && load->clients < load->total;
    bool is_busy = load->busy_seconds >= BUSY_SECONDS;

    if (now == 0)
        return load->has_waiting ? 1 : 0;
    /* Full is about descriptors and may exceed the cores; busy may not. An agent
     * holds one connection: who waits at its socket waits for another process. */
    if (is_full || (load->has_waiting && load->kind == SERVICE_AGENT))
        return now < load->cores * 4 ? now + 1 : now;
    if (is_busy && now < load->cores && load->clients > now)
        return now + 1;
    if (load->idle_seconds >= max_idle)
        return now - 1;
    return now;
}

static uint32_t wanted(const struct limits_load *load, uint32_t max_idle)
{
    /* It holds state that its clients count on, and costs next to nothing. */
    if (load->kind == SERVICE_SINGLE)
        return load->processes > 0 || load->has_waiting ? 1 : 0;
    if (load->is_contained && load->kind == SERVICE_CLIENTS)
        return wanted_by_clients(load, 1, max_idle);
    if (load->process_count > 0)
        return load->processes > 0 || load->has_waiting ? load->process_count : 0;
    if (load->client_limit > 0)
        return wanted_by_clients(load, load->client_limit, max_idle);
    return wanted_by_load(load, max_idle);
}

uint32_t limits_wanted_processes(const struct limits_load *load, uint32_t max_idle)
{
    uint32_t count = wanted(load, max_idle);

    return count == 0 && load->is_kept ? 1 : count;
}

int limits_warning(uint64_t used, uint64_t limit, int *told)
{
    int level = limit == 0 || used * 10 < limit * 8 ? 0 : used < limit ? 80 : 100;

    if (used * 10 < limit * 7)
        *told = 0;
    if (level <= *told)
        return 0;
    *told = level;
    return level;
}
