/*
 * context.h: switching between stacks: two operations, two back ends.
 *
 * x86-64 has a small assembly switch; everywhere else, and with
 * -DTASK_CONTEXT_UCONTEXT, ucontext does it (slower: a system call for the
 * signal mask). A context belongs to one thread. AddressSanitizer is told about
 * every switch.
 */
#ifndef TASK_CONTEXT_H
#define TASK_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__x86_64__) && !defined(TASK_CONTEXT_UCONTEXT)
#define TASK_CONTEXT_UCONTEXT
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TASK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TASK_ASAN 1
#endif
#endif

#ifdef TASK_CONTEXT_UCONTEXT
#include <ucontext.h>
#endif

/* A zeroed context stands for the stack its first context_switch() leaves. */
struct context {
#ifdef TASK_CONTEXT_UCONTEXT
    ucontext_t uc;
    void (*entry)(void *arg);
    void *arg;
#else
    void *sp;
#endif
#ifdef TASK_ASAN
    const void *stack;
    size_t stack_size;
    void *fake_stack;
#endif
};

/* Prepare c to call entry(arg) on the stack [stack, stack + size) at the first
 * switch to it. entry must not return: it ends with a last switch away. */
void context_init(struct context *c, void *stack, size_t size, void (*entry)(void *arg), void *arg);
/* Leave from, go on in to. Returns when something switches back to from; is_last
 * says that nothing will. */
void context_switch(struct context *from, struct context *to, bool is_last);
/* Nothing of the stack that c left is below this address. frame: that of the function that
 * called context_switch(), for back ends that know no better. */
uintptr_t context_lowest(const struct context *c, const void *frame);
/* The first thing an entry function does. */
void context_entered(void);

#endif
