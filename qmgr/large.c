#include "qmgr/large.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "qmgr/ledger.h"

enum {
    REAP_MS = 1000,
    SWEEP_MS = 10 * 60 * 1000,
    STALE_S = 24 * 3600, /* a file without a message that nobody wrote to so long */
    NAME_SIZE = 17,
};

struct used {
    struct hash_node by_number;
    uint64_t file;
    bool is_claimed; /* not yet named by a message */
};

static int directory = -1;
static struct hash used;
static ARRAY(uint64_t) doomed;

static const char *name_of(uint64_t file, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "%016llx", (unsigned long long)file);
    return name;
}

void large_init(int directory_fd)
{
    directory = directory_fd;
}

void large_fini(void)
{
    fd_close(&directory);
}

static struct used *find(uint64_t file)
{
    for (struct hash_node *n = hash_first(&used, file); n != NULL; n = hash_next(n))
        return CONTAINER_OF(n, struct used, by_number);
    return NULL;
}

static void note(uint64_t file, bool is_claimed)
{
    struct used *u = file == 0 ? NULL : find(file);

    if (file == 0)
        return;
    if (u == NULL) {
        u = NEW(struct used);
        /* The number is random: it is its own hash. */
        if (u == NULL || hash_insert(&used, &u->by_number, file) < 0)
            panic("no memory for the list of large messages");
        u->file = file;
    }
    u->is_claimed = is_claimed;
}

void large_use(uint64_t file)
{
    note(file, false);
}

/* A receiver has it open and has not yet committed it. */
static void claim(uint64_t file)
{
    note(file, true);
}

void large_forget(uint64_t file)
{
    struct used *u = file == 0 ? NULL : find(file);

    if (u == NULL)
        return;
    hash_remove(&used, &u->by_number);
    free(u);
}

bool ledger_file_is_used(uint64_t file)
{
    struct used *u = find(file);

    return u != NULL && !u->is_claimed;
}

void large_unlink_later(uint64_t file)
{
    uint64_t *slot;

    if (file == 0)
        return;
    /* Without memory the file stays until the next sweep. */
    slot = array_push(&doomed);
    if (slot != NULL)
        *slot = file;
    large_forget(file);
}

void ledger_drop_file(uint64_t file)
{
    if (!ledger_file_is_used(file))
        large_unlink_later(file);
}

/* --- on workers --- */

struct file_job {
    uint64_t file, size;
    int fd, rc;
};

static void run_create(void *arg)
{
    struct file_job *job = arg;
    char name[NAME_SIZE];

    job->fd =
        openat(directory, name_of(job->file, name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    job->rc = job->fd < 0 ? -errno : 0;
}

int ledger_new_file(uint64_t *file, int *fd)
{
    struct file_job job = {.file = random_u64() | 1, .fd = -1};
    int rc = task_offload(TASK_POOL_STORE, run_create, &job);

    if (rc == 0)
        rc = job.rc;
    if (rc < 0)
        return rc;
    claim(job.file);
    *file = job.file;
    *fd = job.fd;
    return 0;
}

static void run_sync(void *arg)
{
    struct file_job *job = arg;
    struct stat st;
    char name[NAME_SIZE];
    int fd = openat(directory, name_of(job->file, name), O_RDONLY | O_CLOEXEC);

    job->rc = fd < 0 ? (errno == ENOENT ? ERR_NOT_FOUND : -errno) : 0;
    if (job->rc == 0 && fstat(fd, &st) < 0)
        job->rc = -errno;
    if (job->rc == 0 && (uint64_t)st.st_size < job->size)
        job->rc = ERR_CORRUPT;
    if (job->rc == 0 && (fsync(fd) < 0 || fsync(directory) < 0))
        job->rc = -errno;
    fd_close(&fd);
}

int ledger_sync_file(uint64_t file, uint64_t size)
{
    struct file_job job = {.file = file, .size = size};
    int rc = task_offload(TASK_POOL_SYNC, run_sync, &job);

    return rc < 0 ? rc : job.rc;
}

static void run_open(void *arg)
{
    struct file_job *job = arg;
    char name[NAME_SIZE];

    job->fd = openat(directory, name_of(job->file, name), O_RDONLY | O_CLOEXEC);
    job->rc = job->fd >= 0 ? 0 : errno == ENOENT ? ERR_NOT_FOUND : -errno;
}

int ledger_open_file(uint64_t file, int *fd)
{
    struct file_job job = {.file = file, .fd = -1};
    int rc = task_offload(TASK_POOL_STORE, run_open, &job);

    *fd = job.fd;
    return rc < 0 ? rc : job.rc;
}

/* --- removal --- */

struct unlink_job {
    uint64_t *files;
    size_t count;
};

static void run_unlink(void *arg)
{
    struct unlink_job *job = arg;
    char name[NAME_SIZE];

    for (size_t i = 0; i < job->count; i++)
        unlinkat(directory, name_of(job->files[i], name), 0);
}

void ledger_reap(void)
{
    struct unlink_job job = {doomed.items, doomed.len};

    doomed.items = NULL;
    doomed.len = doomed.cap = 0;
    /* The REMOVED records first: a message that came back must find its file. */
    if (ledger_flush() == 0)
        task_offload(TASK_POOL_STORE, run_unlink, &job);
    free(job.files);
}

struct sweep_job {
    ARRAY(uint64_t) found;
    int64_t older_than_s;
};

static void run_sweep(void *arg)
{
    struct sweep_job *job = arg;
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *item;

    if (d == NULL) {
        fd_close(&fd);
        return;
    }
    while ((item = readdir(d)) != NULL) {
        char *end;
        uint64_t file = strtoull(item->d_name, &end, 16);
        struct stat st;

        if (*end != '\0' || end != item->d_name + NAME_SIZE - 1 ||
            fstatat(directory, item->d_name, &st, 0) < 0 || st.st_mtime >= job->older_than_s)
            continue;
        uint64_t *slot = array_push(&job->found);
        if (slot != NULL)
            *slot = file;
    }
    closedir(d);
}

/* Files that a receiver left behind when it or qmgr died. */
static void sweep(void)
{
    struct sweep_job job = {.older_than_s = clock_wall_s() - STALE_S};

    task_offload(TASK_POOL_STORE, run_sweep, &job);
    for (size_t i = 0; i < job.found.len; i++)
        if (find(job.found.items[i]) == NULL)
            large_unlink_later(job.found.items[i]);
    array_free(&job.found);
}

void ledger_run_reaper(void *arg)
{
    deadline_t next_sweep = deadline_in(REAP_MS);

    while (task_sleep(deadline_in(REAP_MS)) == 0) {
        if (clock_mono_ms() >= next_sweep) {
            sweep();
            next_sweep = deadline_in(SWEEP_MS);
        }
        if (doomed.len > 0)
            ledger_reap();
    }
}
