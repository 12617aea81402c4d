#include "base/fault.h"

#ifdef WAYPOST_FAULTS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/span.h"

#define FAULTS_MAX 16

struct fault {
    struct span name, action;
    uint64_t passes_left;
};

static struct fault faults[FAULTS_MAX];
static size_t fault_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_environment(void)
{
    struct span rest = span_cstr(getenv("WAYPOST_FAULT")), item, count;

    while (fault_count < FAULTS_MAX && span_next(&rest, ',', &item)) {
        struct fault *f = &faults[fault_count];
        if (span_next(&item, ':', &f->name) && span_next(&item, ':', &count) &&
            span_to_u64(count, &f->passes_left) == 0 && f->passes_left > 0) {
            f->action = item;
            fault_count++;
        }
    }
}

static int act(struct span action)
{
    if (span_eq(action, SPAN_LIT("kill")))
        kill(getpid(), SIGKILL);
    else if (span_eq(action, SPAN_LIT("crash")))
        abort();
    else if (span_eq(action, SPAN_LIT("enospc")))
        return -ENOSPC;
    return -EIO;
}

int fault_check(const char *name)
{
    int rc = 0;

    pthread_once(&once, read_environment);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < fault_count; i++) {
        struct fault *f = &faults[i];
        if (f->passes_left > 0 && span_eq(f->name, span_cstr(name)) && --f->passes_left == 0)
            rc = act(f->action);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

#endif
