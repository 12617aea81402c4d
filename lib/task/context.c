#include "task/context.h"

#include <stdint.h>
#include <string.h>

#ifdef TASK_ASAN
#include <sanitizer/common_interface_defs.h>

/* Whom the switch under way leaves; AddressSanitizer tells its stack on arrival. */
static _Thread_local struct context *leaving;

static void before_switch(struct context *from, struct context *to, bool is_last)
{
    leaving = from;
    __sanitizer_start_switch_fiber(is_last ? NULL : &from->fake_stack, to->stack, to->stack_size);
}

static void after_switch(void *fake_stack)
{
    __sanitizer_finish_switch_fiber(fake_stack, &leaving->stack, &leaving->stack_size);
}

static void remember_stack(struct context *c, void *stack, size_t size)
{
    c->stack = stack;
    c->stack_size = size;
    c->fake_stack = NULL;
}
#define ARRIVED_FAKE_STACK(c) (c)->fake_stack
#else
static void before_switch(struct context *from, struct context *to, bool is_last)
{
}

static void after_switch(void *fake_stack)
{
}

static void remember_stack(struct context *c, void *stack, size_t size)
{
}
#define ARRIVED_FAKE_STACK(c) NULL
#endif

void context_entered(void)
{
    after_switch(NULL);
}

#ifdef TASK_CONTEXT_UCONTEXT

/* makecontext() passes ints. */
static void enter(unsigned high, unsigned low)
{
    struct context *c = (struct context *)((uintptr_t)high << 16 << 16 | (uintptr_t)low);

    c->entry(c->arg);
}

void context_init(struct context *c, void *stack, size_t size, void (*entry)(void *arg), void *arg)
{
    uintptr_t self = (uintptr_t)c;

    getcontext(&c->uc);
    c->entry = entry;
    c->arg = arg;
    c->uc.uc_stack.ss_sp = stack;
    c->uc.uc_stack.ss_size = size;
    c->uc.uc_link = NULL;
    makecontext(&c->uc, (void (*)(void))enter, 2, (unsigned)(self >> 16 >> 16), (unsigned)self);
    remember_stack(c, stack, size);
}

__attribute__((noinline)) void context_switch(struct context *from, struct context *to,
                                              bool is_last)
{
    before_switch(from, to, is_last);
    swapcontext(&from->uc, &to->uc);
    after_switch(ARRIVED_FAKE_STACK(from));
}

/* What a switch puts below the frame that asked for it. */
#define SWITCH_OCTETS 1024

uintptr_t context_lowest(const struct context *c, const void *frame)
{
    return (uintptr_t)frame - SWITCH_OCTETS;
}

#else

/*
 * context_swap(&from_sp, to_sp): the System V ABI's callee-saved state goes on
 * the old stack: six registers, and the control words of SSE and x87. No frame
 * is left half-popped, so the call frame information holds on both stacks.
 * context_begin: a new stack's first return goes here, with entry in r13 and its
 * argument in r12; rsp is a multiple of 16 before the call, as the ABI asks, and
 * the undefined rip ends backtraces.
 *
 * endbr64 makes both valid targets under indirect branch tracking; shadow stacks
 * would need to be switched too, and user space of Debian 12 has none.
 */
__attribute__((visibility("hidden"))) extern void context_swap(void **from_sp, void *to_sp);
__attribute__((visibility("hidden"))) extern void context_begin(void);

/* clang-format off */
__asm__(
    ".text\n"
    ".p2align 4\n"
    ".globl context_swap\n"
    ".hidden context_swap\n"
    ".type context_swap, @function\n"
    "context_swap:\n"
    "    .cfi_startproc\n"
    "    endbr64\n"
    "    pushq %rbp\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    .cfi_rel_offset %rbp, 0\n"
    "    pushq %rbx\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    .cfi_rel_offset %rbx, 0\n"
    "    pushq %r12\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    .cfi_rel_offset %r12, 0\n"
    "    pushq %r13\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    .cfi_rel_offset %r13, 0\n"
    "    pushq %r14\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    .cfi_rel_offset %r14, 0\n"
    "    pushq %r15\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    .cfi_rel_offset %r15, 0\n"
    "    subq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    stmxcsr (%rsp)\n"
    "    fnstcw 4(%rsp)\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    ldmxcsr (%rsp)\n"
    "    fldcw 4(%rsp)\n"
    "    addq $8, %rsp\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %r15\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    .cfi_restore %r15\n"
    "    popq %r14\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    .cfi_restore %r14\n"
    "    popq %r13\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    .cfi_restore %r13\n"
    "    popq %r12\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    .cfi_restore %r12\n"
    "    popq %rbx\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    .cfi_restore %rbx\n"
    "    popq %rbp\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    .cfi_restore %rbp\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".size context_swap, .-context_swap\n"
    ".p2align 4\n"
    ".globl context_begin\n"
    ".hidden context_begin\n"
    ".type context_begin, @function\n"
    "context_begin:\n"
    "    .cfi_startproc\n"
    "    .cfi_undefined %rip\n"
    "    endbr64\n"
    "    movq %r12, %rdi\n"
    "    callq *%r13\n"
    "    ud2\n"
    "    .cfi_endproc\n"
    ".size context_begin, .-context_begin\n");
/* clang-format on */

/* What context_swap() pops. */
struct saved {
    uint32_t mxcsr;
    uint16_t x87_control, padding;
    void *r15, *r14, *r13, *r12, *rbx, *rbp, *rip;
};
_Static_assert(sizeof(struct saved) == 64, "matches context_swap");

void context_init(struct context *c, void *stack, size_t size, void (*entry)(void *arg), void *arg)
{
    uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
    struct saved *saved = (struct saved *)(top - sizeof(*saved));

    *saved = (struct saved){
        .r13 = (void *)(uintptr_t)entry, .r12 = arg, .rip = (void *)(uintptr_t)context_begin};
    __asm__("stmxcsr %0" : "=m"(saved->mxcsr));
    __asm__("fnstcw %0" : "=m"(saved->x87_control));
    c->sp = saved;
    remember_stack(c, stack, size);
}

__attribute__((noinline)) void context_switch(struct context *from, struct context *to,
                                              bool is_last)
{
    before_switch(from, to, is_last);
    context_swap(&from->sp, to->sp);
    after_switch(ARRIVED_FAKE_STACK(from));
}

uintptr_t context_lowest(const struct context *c, const void *frame)
{
    return (uintptr_t)c->sp;
}

#endif
