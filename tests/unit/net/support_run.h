/* support_run.h: run a test's body as first task. */
#ifndef SUPPORT_RUN_H
#define SUPPORT_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "task/task.h"

void run_in_task(void (*body)(void));
/* A test function that runs BODY in a task. */
#define TASK_TEST(name)            \
    static void name##_body(void); \
    static void name(void **state) \
    {                              \
        run_in_task(name##_body);  \
    }                              \
    static void name##_body(void)

#endif
