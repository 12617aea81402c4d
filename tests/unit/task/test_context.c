/* Switching itself: alignment, saved state, depth, ends. */
#include "support_task.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "task/context.h"

#define STACK (256 * 1024)

static struct context outside, inside;
static int steps;

/* Aborts or crashes on a stack that is off by 8: a vector kept in memory is
 * stored with movaps, and printf saves vector registers so too. */
static __attribute__((noinline)) double use_vectors(double by)
{
    typedef float vector __attribute__((vector_size(16)));
    volatile vector v = {1, 2, 3, 4};
    char text[64];
    vector sum;

    assert_int_equal((uintptr_t)&v % 16, 0);
    sum = v + v;
    v = sum;
    snprintf(text, sizeof(text), "%.3f", by * (double)v[3]);
    assert_string_equal(text, "12.000");
    return (double)v[0];
}

static void entry(void *arg)
{
    context_entered();
    assert_ptr_equal(arg, &steps);
    for (;;) {
        steps++;
        assert_true(use_vectors(1.5) == 2.0);
        context_switch(&inside, &outside, false);
    }
}

static void leave_at_last(void *arg)
{
    context_entered();
    steps++;
    context_switch(&inside, &outside, true);
}

static void *new_stack(void)
{
    void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(stack, MAP_FAILED);
    return stack;
}

static void test_switches_on_an_aligned_stack(void **state)
{
    void *stack = new_stack();

    /* An odd size must not matter. */
    for (size_t odd = 0; odd < 32; odd += 8) {
        steps = 0;
        context_init(&inside, stack, STACK - odd, entry, &steps);
        for (int i = 1; i <= 3; i++) {
            context_switch(&outside, &inside, false);
            assert_int_equal(steps, i);
        }
    }
    context_init(&inside, stack, STACK, leave_at_last, NULL);
    context_switch(&outside, &inside, false);
    assert_int_equal(steps, 4);
    munmap(stack, STACK);
}

#if defined(__x86_64__)
#define ROUND_UP 0x4000U
#define ROUND_MASK 0x6000U

static void round_up(void *arg)
{
    context_entered();
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | ROUND_UP);
    context_switch(&inside, &outside, false);
    steps = (int)(__builtin_ia32_stmxcsr() & ROUND_MASK);
    context_switch(&inside, &outside, true);
}

static void test_rounding_mode_stays_with_its_stack(void **state)
{
    void *stack = new_stack();

    context_init(&inside, stack, STACK, round_up, NULL);
    context_switch(&outside, &inside, false);
    assert_int_equal(__builtin_ia32_stmxcsr() & ROUND_MASK, 0);
    context_switch(&outside, &inside, false);
    assert_int_equal(steps, ROUND_UP);
    assert_int_equal(__builtin_ia32_stmxcsr() & ROUND_MASK, 0);
    munmap(stack, STACK);
}
#endif

/* All callee-saved registers are in use over a switch. */
static __attribute__((noinline)) long sum_over_switches(long a, long b, long c, long d, long e,
                                                        long f)
{
    long total = 0;

    for (long i = 0; i < 5; i++) {
        assert_int_equal(task_yield(), 0);
        total += a * 1 + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + i;
        a++, b--, c += 2, d -= 2, e += 3, f -= 3;
    }
    return total;
}

static void summing(void *arg)
{
    long n = *(long *)arg;
    long expect = 0;

    for (long i = 0; i < 5; i++)
        expect += (n + i) + (n + 1 - i) * 2 + (n + 2 + 2 * i) * 3 + (n + 3 - 2 * i) * 4 +
                  (n + 4 + 3 * i) * 5 + (n + 5 - 3 * i) * 6 + i;
    assert_int_equal(sum_over_switches(n, n + 1, n + 2, n + 3, n + 4, n + 5), expect);
    assert_true(use_vectors(1.5) == 2.0);
    steps++;
}

static void registers_main(void *arg)
{
    static long numbers[50];
    struct task_group g;

    steps = 0;
    task_group_init(&g);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        numbers[i] = (long)i * 1000;
        assert_int_equal(task_group_spawn(&g, "summing", summing, &numbers[i]), 0);
    }
    assert_int_equal(task_group_wait(&g, DEADLINE_NONE), 0);
    assert_int_equal(steps, COUNT_OF(numbers));
}

static void test_registers_survive(void **state)
{
    run(registers_main, NULL);
}

/* Each task starts the next one and waits for it. */
static void nested(void *arg)
{
    int depth = *(int *)arg;
    struct task_group g;

    steps++;
    if (depth == 0)
        return;
    depth--;
    task_group_init(&g);
    assert_int_equal(task_group_spawn(&g, "nested", nested, &depth), 0);
    assert_int_equal(task_group_wait(&g, DEADLINE_NONE), 0);
}

static void nesting_main(void *arg)
{
    int depth = 500;

    steps = 0;
    nested(&depth);
    assert_int_equal(steps, 501);
}

static void test_tasks_nest_deeply(void **state)
{
    run(nesting_main, NULL);
}

static __attribute__((noinline)) int use_stack(int kib)
{
    volatile char part[1024];

    memset((char *)part, kib, sizeof(part));
    return kib == 0 ? 0 : use_stack(kib - 1) + (part[5] == (char)kib);
}

static void deep(void *arg)
{
    assert_int_equal(use_stack(40), 40);
    assert_int_equal(task_yield(), 0);
    assert_int_equal(use_stack(40), 40);
    steps++;
}

static void deep_main(void *arg)
{
    struct task_group g;

    steps = 0;
    for (int round = 0; round < 3; round++) {
        task_group_init(&g);
        for (int i = 0; i < 100; i++)
            assert_int_equal(task_group_spawn(&g, "deep", deep, NULL), 0);
        assert_int_equal(task_group_wait(&g, DEADLINE_NONE), 0);
    }
    assert_int_equal(steps, 300);
}

static void test_forty_kib_of_stack_can_be_used(void **state)
{
    run(deep_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switches_on_an_aligned_stack),
#if defined(__x86_64__)
        cmocka_unit_test(test_rounding_mode_stays_with_its_stack),
#endif
        cmocka_unit_test(test_registers_survive),
        cmocka_unit_test(test_tasks_nest_deeply),
        cmocka_unit_test(test_forty_kib_of_stack_can_be_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
