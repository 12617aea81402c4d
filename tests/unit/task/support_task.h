/* support_task.h: what the tests of lib/task share. */
#ifndef TESTS_UNIT_TASK_SUPPORT_TASK_H
#define TESTS_UNIT_TASK_SUPPORT_TASK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "task/task.h"

/* A runtime around main, which runs as the first task. */
void run_with_options(task_fn *main, void *arg, const struct task_options *options);
void run(task_fn *main, void *arg);

/* Under valgrind or a sanitizer things take longer and counts are smaller. */
bool is_slow(void);

#endif
