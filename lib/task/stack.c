/*
 * Stacks: a mapping with a guard page below and the task's structure at its top,
 * so that an idle task costs the page its frames live on and no more.
 */
#include <stdint.h>
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
#define DEPTH_MARGIN 1024 /* what a switch puts below the frame that asked for it */

/* At the place of struct task while the stack is free. */
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

/* struct task begins a cache line, and keeps the stack below it aligned. */
static size_t task_offset(void)
{
    return task_runtime.stack_size - ((sizeof(struct task) + 63) & ~(size_t)63);
}

void *task_stack_base(struct task *t)
{
    return (char *)t - task_offset();
}

static struct task *map_stack(void)
{
    size_t guard = page_size(), size = task_runtime.stack_size;
    char *map = mmap(NULL, guard + size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    struct task *t;

    if (map == MAP_FAILED)
        return NULL;
    if (mprotect(map, guard, PROT_NONE) < 0) {
        munmap(map, guard + size);
        return NULL;
    }
    LEAK_ROOT_ADD(map + guard, size);
    t = (struct task *)(map + guard + task_offset());
    t->valgrind_id = VALGRIND_STACK_REGISTER(map + guard, t);
    return t;
}

static void unmap_stack(struct free_stack *stack)
{
    char *base = task_stack_base((struct task *)stack);

    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
    LEAK_ROOT_REMOVE(base, task_runtime.stack_size);
    UNPOISON(base, task_runtime.stack_size);
    munmap(base - page_size(), page_size() + task_runtime.stack_size);
}

struct task *task_stack_get(void)
{
    struct free_stack *stack = free_stacks;
    unsigned id;

    if (stack == NULL)
        return map_stack();
    free_stacks = stack->next;
    if (--free_count < free_low)
        free_low = free_count;
    UNPOISON(task_stack_base((struct task *)stack), task_runtime.stack_size);
    id = stack->valgrind_id;
    memset(stack, 0, sizeof(struct task));
    ((struct task *)stack)->valgrind_id = id;
    return (struct task *)stack;
}

void task_stack_put(struct task *t)
{
    struct free_stack *stack = (struct free_stack *)t;
    unsigned id = t->valgrind_id;

    stack->valgrind_id = id;
    if (free_count >= FREE_MAX) {
        unmap_stack(stack);
        return;
    }
    if (free_count >= FREE_UNTRIMMED) {
        t->depth = t;
        task_stack_trim(t);
    }
    stack->valgrind_id = id;
    stack->next = free_stacks;
    free_stacks = stack;
    free_count++;
    /* A task must not be touched after its end: leave only the link readable. */
    POISON(task_stack_base(t), task_offset());
    POISON((char *)t + sizeof(*stack), sizeof(*t) - sizeof(*stack));
}

void task_stack_trim(struct task *t)
{
#ifndef TASK_ASAN /* frames there have shadow memory and may lie elsewhere */
    uintptr_t base = (uintptr_t)task_stack_base(t);
    uintptr_t end = ((uintptr_t)t->depth - DEPTH_MARGIN) & ~(uintptr_t)(page_size() - 1);

    if (end > base && end <= (uintptr_t)t)
        (void)madvise((void *)base, end - base, MADV_DONTNEED);
#endif
}

bool task_stack_shrink(void)
{
    size_t drop = (free_low + 1) / 2;

    while (drop-- > 0 && free_stacks != NULL) {
        struct free_stack *stack = free_stacks;
        free_stacks = stack->next;
        free_count--;
        unmap_stack(stack);
    }
    free_low = free_count;
    return free_count > 0;
}

size_t task_stacks_free(void)
{
    return free_count;
}

void task_stack_fini(void)
{
    while (free_count > 0) {
        free_low = free_count;
        (void)task_stack_shrink();
    }
}
