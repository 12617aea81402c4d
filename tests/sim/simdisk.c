#include "simdisk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/array.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/format.h"

#if defined(WAYPOST_SANITIZE)
#include <sanitizer/common_interface_defs.h>
#endif

/* --- numbers --- */

static uint64_t random_state;

void sim_seed(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15U + 0x1234567;
}

uint64_t sim_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

uint64_t sim_below(uint64_t limit)
{
    return sim_random() % limit;
}

/* --- processes --- */

enum { STACK_SIZE = 128 * 1024 };

struct process {
    ucontext_t context;
    unsigned char *stack;
    unsigned group;
    sim_fn *fn;
    void *arg;
    bool is_used, is_dead;
    void *fake_stack;
};

static struct process processes[SIM_PROCESSES];
static struct process *current;
static ucontext_t scheduler;
#if defined(WAYPOST_SANITIZE)
static void *scheduler_fake;
static const void *scheduler_stack;
static size_t scheduler_size;
#endif
static uint64_t calls;

static void leave(bool for_good)
{
    struct process *p = current;

#if defined(WAYPOST_SANITIZE)
    __sanitizer_start_switch_fiber(for_good ? NULL : &p->fake_stack, scheduler_stack,
                                   scheduler_size);
#endif
    swapcontext(&p->context, &scheduler);
#if defined(WAYPOST_SANITIZE)
    __sanitizer_finish_switch_fiber(p->fake_stack, &scheduler_stack, &scheduler_size);
#endif
}

static void enter(struct process *p)
{
    current = p;
#if defined(WAYPOST_SANITIZE)
    __sanitizer_start_switch_fiber(&scheduler_fake, p->stack, STACK_SIZE);
#endif
    swapcontext(&scheduler, &p->context);
#if defined(WAYPOST_SANITIZE)
    __sanitizer_finish_switch_fiber(scheduler_fake, NULL, NULL);
#endif
    current = NULL;
}

static void body(void)
{
#if defined(WAYPOST_SANITIZE)
    __sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_size);
#endif
    current->fn(current->arg);
    current->is_used = false;
    leave(true);
}

static void begin(struct process *p, unsigned group, sim_fn *fn, void *arg)
{
    if (p->stack == NULL)
        p->stack = malloc(STACK_SIZE);
    p->group = group;
    p->fn = fn;
    p->arg = arg;
    p->is_used = true;
    p->is_dead = sim_is_dead(); /* a thread of a killed process */
    p->fake_stack = NULL;
    getcontext(&p->context);
    p->context.uc_stack.ss_sp = p->stack;
    p->context.uc_stack.ss_size = STACK_SIZE;
    p->context.uc_link = NULL;
    makecontext(&p->context, body, 0);
}

bool sim_spawn(unsigned group, sim_fn *fn, void *arg)
{
    for (size_t i = 0; i < SIM_PROCESSES; i++) {
        struct process *p = &processes[i];
        if (p->is_used)
            continue;
        begin(p, group, fn, arg);
        return true;
    }
    return false;
}

void sim_yield(void)
{
    if (current != NULL)
        leave(false);
}

bool sim_is_dead(void)
{
    return current != NULL && current->is_dead;
}

bool sim_run(uint64_t steps)
{
    uint64_t until = calls + steps;
    size_t rounds = 0;

    for (;;) {
        size_t first = sim_below(SIM_PROCESSES), i;
        for (i = 0; i < SIM_PROCESSES; i++) {
            if (processes[(first + i) % SIM_PROCESSES].is_used)
                break;
        }
        if (i == SIM_PROCESSES)
            return false;
        enter(&processes[(first + i) % SIM_PROCESSES]);
        ENSURE(++rounds < 100 * 1000 * 1000);
        if (steps > 0 && calls >= until)
            return true;
    }
}

bool sim_is_running(unsigned group)
{
    for (size_t i = 0; i < SIM_PROCESSES; i++) {
        if (processes[i].is_used && processes[i].group == group)
            return true;
    }
    return false;
}

void sim_kill(unsigned group)
{
    for (size_t i = 0; i < SIM_PROCESSES; i++) {
        struct process *p = &processes[i];
        if (p->is_used && (group == UINT32_MAX || p->group == group))
            p->is_dead = true;
    }
    /* In turn: one may wait for another to end. */
    for (bool is_busy = true; is_busy;) {
        is_busy = false;
        for (size_t i = 0; i < SIM_PROCESSES; i++) {
            struct process *p = &processes[i];
            if (p->is_used && p->is_dead)
                enter(p);
            is_busy = is_busy || (p->is_used && p->is_dead);
        }
    }
}

uint64_t sim_calls(void)
{
    return calls;
}

/* --- the disk --- */

enum { FILE_MAX = 1 << 20 };

/* A write to one sector that was not synced yet: its content afterwards. */
struct change {
    uint64_t sequence;
    uint32_t sector;
    unsigned char *content;
};

struct inode {
    unsigned references;
    unsigned char *cache, *durable; /* FILE_MAX octets would be wasteful: grown */
    size_t size, durable_size, cap;
    uint64_t size_sequence;       /* when size changed last; 0: synced */
    ARRAY(struct change) changes; /* in the order of their sequence */
};

struct name {
    char text[32];
    struct inode *now, *durable; /* NULL: does not exist */
};

struct sim_file {
    struct disk_file file;
    struct inode *inode;
    bool holds[2];
    unsigned group;
};

struct lock_state {
    struct sim_file *holder[2];
};

static struct sim_options options;
static ARRAY(struct name) names;
static bool is_named; /* the directory itself lasts */
static struct lock_state tail_lock;
static uint64_t sequence;
static unsigned char stale_pool[64 * 1024];
static size_t stale_size;

/* A point where others may go on. -EIO: this process is no more. */
static int step(void)
{
    calls++;
    if (current == NULL)
        return 0;
    if (current->is_dead)
        return -EIO;
    sim_yield();
    return current->is_dead ? -EIO : 0;
}

static void inode_free(struct inode *n)
{
    if (n == NULL || --n->references > 0)
        return;
    for (size_t i = 0; i < n->changes.len; i++)
        free(n->changes.items[i].content);
    array_free(&n->changes);
    free(n->cache);
    free(n->durable);
    free(n);
}

/* What a fresh block shows before anything was written to it. */
static void fill_fresh(unsigned char *p, size_t from, size_t to)
{
    memset(p + from, 0, to - from);
    if (!options.stale || stale_size == 0)
        return;
    for (size_t i = from; i < to && i < stale_size; i++)
        p[i] = stale_pool[i];
}

static void inode_grow(struct inode *n, size_t size)
{
    size_t cap = n->cap ? n->cap : 8192;

    while (cap < size)
        cap *= 2;
    if (cap == n->cap)
        return;
    n->cache = realloc(n->cache, cap);
    n->durable = realloc(n->durable, cap);
    memset(n->cache + n->cap, 0, cap - n->cap);
    fill_fresh(n->durable, n->cap, cap);
    n->cap = cap;
}

static struct name *find_name(const char *text)
{
    struct name *n;

    for (size_t i = 0; i < names.len; i++) {
        if (strcmp(names.items[i].text, text) == 0)
            return &names.items[i];
    }
    n = array_push(&names);
    snprintf(n->text, sizeof(n->text), "%s", text);
    return n;
}

static struct sim_file *sim_file(struct disk_file *file)
{
    return CONTAINER_OF(file, struct sim_file, file);
}

static void note_change(struct inode *n, uint32_t sector)
{
    struct change *c = array_push(&n->changes);
    size_t from = (size_t)sector * options.sector;

    c->sequence = ++sequence;
    c->sector = sector;
    c->content = malloc(options.sector);
    memcpy(c->content, n->cache + from, options.sector);
}

static void set_size(struct inode *n, size_t size)
{
    n->size = size;
    n->size_sequence = ++sequence;
}

static int op_open(struct disk *disk, const char *text, int flags, struct disk_file **out)
{
    struct sim_file *f;
    struct name *n;

    if (step() < 0)
        return -EIO;
    n = find_name(text);
    if (n->now != NULL && (flags & DISK_NEW))
        return -EEXIST;
    if (n->now == NULL && !(flags & DISK_CREATE))
        return -ENOENT;
    if (n->now == NULL) {
        n->now = NEW(struct inode);
        n->now->references = 1;
        inode_grow(n->now, 8192);
    } else if (flags & DISK_EMPTY) {
        /* As if written over with zeros: the old blocks may come back. */
        for (size_t at = 0; at < n->now->size; at += options.sector) {
            memset(n->now->cache + at, 0, options.sector);
            note_change(n->now, (uint32_t)(at / options.sector));
        }
        set_size(n->now, 0);
    }
    f = NEW(struct sim_file);
    f->file.ops = disk->ops;
    f->inode = n->now;
    f->inode->references++;
    f->group = current ? current->group : 0;
    *out = &f->file;
    return 0;
}

static void release_locks(struct sim_file *f)
{
    for (int i = 0; i < 2; i++) {
        if (tail_lock.holder[i] == f)
            tail_lock.holder[i] = NULL;
    }
}

static void op_close(struct disk_file *file)
{
    struct sim_file *f = sim_file(file);

    release_locks(f);
    inode_free(f->inode);
    free(f);
}

/* Part after part and sector after sector, so that a death in the middle leaves
 * the front. */
static int op_write(struct disk_file *file, const struct iovec *parts, int count, uint64_t offset)
{
    struct inode *n = sim_file(file)->inode;
    unsigned calm = 0;

    if (step() < 0)
        return -EIO;
    for (int i = 0; i < count; i++) {
        const unsigned char *p = parts[i].iov_base;
        size_t left = parts[i].iov_len;
        while (left > 0) {
            size_t room = options.sector - offset % options.sector;
            size_t part = left < room ? left : room;
            ENSURE(offset + part <= FILE_MAX);
            inode_grow(n, format_align(offset + part, options.sector));
            memcpy(n->cache + offset, p, part);
            note_change(n, (uint32_t)(offset / options.sector));
            p += part;
            left -= part;
            offset += part;
            if (offset > n->size)
                set_size(n, offset);
            if (++calm % 4 == 0 && sim_below(8) == 0 && step() < 0)
                return -EIO;
        }
    }
    return 0;
}

static ssize_t op_read(struct disk_file *file, void *buf, size_t n, uint64_t offset)
{
    struct inode *inode = sim_file(file)->inode;

    /* Reading changes nothing: no step, or the simulation would be all steps. */
    if (sim_is_dead())
        return -EIO;
    if (offset >= inode->size)
        return 0;
    if (n > inode->size - offset)
        n = inode->size - offset;
    memcpy(buf, inode->cache + offset, n);
    return (ssize_t)n;
}

/* Whatever was written before it began is durable when it returns. */
static int op_sync(struct disk_file *file)
{
    struct inode *n = sim_file(file)->inode;
    uint64_t began = sequence;
    size_t kept = 0;

    n->references++;
    for (unsigned wait = (unsigned)sim_below(4); wait > 0; wait--) {
        if (step() < 0) {
            inode_free(n);
            return -EIO;
        }
    }
    for (size_t i = 0; i < n->changes.len; i++) {
        struct change c = n->changes.items[i];
        if (c.sequence <= began) {
            memcpy(n->durable + (size_t)c.sector * options.sector, c.content, options.sector);
            free(c.content);
        } else {
            n->changes.items[kept++] = c;
        }
    }
    n->changes.len = kept;
    if (n->size_sequence <= began) {
        n->durable_size = n->size;
        n->size_sequence = 0;
    } else if (n->durable_size < n->size) {
        n->durable_size = n->size;
    }
    inode_free(n);
    return sim_is_dead() ? -EIO : 0;
}

static int op_allocate(struct disk_file *file, uint64_t size)
{
    struct inode *n = sim_file(file)->inode;

    if (step() < 0)
        return -EIO;
    inode_grow(n, size);
    if (size > n->size)
        set_size(n, size);
    return 0;
}

static int op_size(struct disk_file *file, uint64_t *size)
{
    *size = sim_file(file)->inode->size;
    return sim_is_dead() ? -EIO : 0;
}

static int op_lock(struct disk_file *file, enum disk_lock what, bool wait)
{
    struct sim_file *f = sim_file(file);

    for (;;) {
        if (step() < 0)
            return -EIO;
        if (tail_lock.holder[what] == NULL || tail_lock.holder[what] == f)
            break;
        if (!wait)
            return -EAGAIN;
        ENSURE(current != NULL);
    }
    tail_lock.holder[what] = f;
    return 0;
}

static int op_unlock(struct disk_file *file, enum disk_lock what)
{
    if (tail_lock.holder[what] == sim_file(file))
        tail_lock.holder[what] = NULL;
    return 0;
}

static int op_unlink(struct disk *disk, const char *text)
{
    struct name *n;

    if (step() < 0)
        return -EIO;
    n = find_name(text);
    if (n->now == NULL)
        return -ENOENT;
    stale_size = n->now->cap < sizeof(stale_pool) ? n->now->cap : sizeof(stale_pool);
    memcpy(stale_pool, n->now->durable, stale_size);
    if (n->durable != n->now)
        inode_free(n->now);
    n->now = NULL;
    return 0;
}

static int op_list(struct disk *disk, disk_name_fn *each, void *arg)
{
    if (step() < 0)
        return -EIO;
    for (size_t i = 0; i < names.len; i++) {
        int rc = names.items[i].now != NULL ? each(arg, names.items[i].text) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void settle_name(struct name *n, bool keep)
{
    struct inode *gone = keep ? n->durable : n->now;

    if (n->now == n->durable)
        return;
    inode_free(gone);
    if (keep)
        n->durable = n->now;
    else
        n->now = n->durable;
}

static int op_sync_directory(struct disk *disk)
{
    size_t count = names.len;

    if (step() < 0)
        return -EIO;
    for (size_t i = 0; i < count; i++)
        settle_name(&names.items[i], true);
    return 0;
}

static int op_sync_name(struct disk *disk)
{
    if (step() < 0)
        return -EIO;
    is_named = true;
    return 0;
}

static const struct disk_ops sim_ops = {
    .open = op_open,
    .close = op_close,
    .write = op_write,
    .read = op_read,
    .sync = op_sync,
    .allocate = op_allocate,
    .size = op_size,
    .lock = op_lock,
    .unlock = op_unlock,
    .unlink = op_unlink,
    .list = op_list,
    .sync_directory = op_sync_directory,
    .sync_name = op_sync_name,
};

static struct disk the_disk = {&sim_ops};

struct disk *sim_disk(void)
{
    return &the_disk;
}

/* --- power cuts --- */

enum pattern { ALL, NONE, INDEPENDENT, ONE_HOLE, LATEST, ORDERED, MOSTLY, HARDLY, PATTERNS };

/* Which writes of a file last: those for which keep is true, but of each sector
 * only a prefix. */
static void cut_inode(struct inode *n, enum pattern pattern)
{
    size_t count = n->changes.len, chosen = count > 0 ? sim_below(count) : 0;
    uint32_t hole = count > 0 ? n->changes.items[chosen].sector : 0;
    bool *lost = calloc(FILE_MAX / options.sector + 1, sizeof(bool));

    for (size_t i = 0; i < count; i++) {
        struct change *c = &n->changes.items[i];
        unsigned char *to = n->durable + (size_t)c->sector * options.sector;
        bool keep = pattern == ALL || (pattern == INDEPENDENT && sim_below(2)) ||
                    (pattern == ONE_HOLE && c->sector != hole) ||
                    (pattern == LATEST && i >= chosen) || (pattern == ORDERED && i < chosen) ||
                    (pattern == MOSTLY && sim_below(10) != 0) ||
                    (pattern == HARDLY && sim_below(10) == 0);
        if (keep && !lost[c->sector])
            memcpy(to, c->content, options.sector);
        else if (!lost[c->sector] && options.destroys && sim_below(4) == 0)
            memset(to, 0xa5, options.sector);
        if (!keep)
            lost[c->sector] = true;
        free(c->content);
    }
    n->changes.len = 0;
    free(lost);
    if (n->size_sequence != 0 && (pattern == ALL || (pattern != NONE && sim_below(2))))
        n->durable_size = n->size;
    n->size = n->durable_size;
    n->size_sequence = 0;
    memcpy(n->cache, n->durable, n->cap);
    memset(n->cache + n->size, 0, n->cap - n->size);
}

/* The directory is gone; who opens the journal makes another one. */
static void lose_all(void)
{
    for (size_t i = 0; i < names.len; i++) {
        struct name *n = &names.items[i];
        settle_name(n, false);
        inode_free(n->now);
        n->now = n->durable = NULL;
    }
}

void sim_power_cut(void)
{
    enum pattern pattern = sim_below(PATTERNS);

    sim_kill(UINT32_MAX);
    if (!is_named && sim_below(2)) {
        lose_all();
        return;
    }
    is_named = true;
    for (size_t i = 0; i < names.len; i++) {
        struct name *n = &names.items[i];
        settle_name(n, pattern == ALL || (pattern != NONE && sim_below(2)));
        if (n->now != NULL)
            cut_inode(n->now, pattern);
    }
}

void sim_start(const struct sim_options *o)
{
    options = *o;
    is_named = !o->fresh;
    sequence = 0;
    stale_size = 0;
}

void sim_end(void)
{
    sim_kill(UINT32_MAX);
    for (size_t i = 0; i < names.len; i++) {
        settle_name(&names.items[i], true);
        inode_free(names.items[i].now);
    }
    array_free(&names);
    tail_lock = (struct lock_state){0};
    for (size_t i = 0; i < SIM_PROCESSES; i++) {
        free(processes[i].stack);
        processes[i].stack = NULL;
    }
}
