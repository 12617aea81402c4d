#include "qmgr/tasks.h"

static struct task_group group;

void tasks_init(void)
{
    task_group_init(&group);
}

int tasks_spawn(const char *name, task_fn *fn, void *arg)
{
    return task_group_spawn(&group, name, fn, arg);
}

void tasks_end(void)
{
    task_group_end(&group);
}
