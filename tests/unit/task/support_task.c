#include "support_task.h"

#include "task/context.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

void run_with_options(task_fn *main, void *arg, const struct task_options *options)
{
    assert_int_equal(task_runtime_init(options), 0);
    assert_int_equal(task_runtime_run(main, arg), 0);
    task_runtime_fini();
}

void run(task_fn *main, void *arg)
{
    run_with_options(main, arg, NULL);
}

bool is_slow(void)
{
#ifdef TASK_ASAN
    return true;
#else
    return RUNNING_ON_VALGRIND;
#endif
}
