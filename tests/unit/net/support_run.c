#include "tests/unit/net/support_run.h"

static void first(void *arg)
{
    void (*const *body)(void) = arg;

    (*body)();
}

void run_in_task(void (*body)(void))
{
    struct task_options options = {0};

    assert_int_equal(task_runtime_init(&options), 0);
    assert_int_equal(task_runtime_run(first, &body), 0);
    task_runtime_fini();
}
