#include "imapd/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"

void spool_init(struct spool *s, int directory, struct budget *budget)
{
    *s = (struct spool){.directory = directory, .fd = -1};
    str_init(&s->text, budget);
}

void spool_fini(struct spool *s)
{
    str_fini(&s->text);
    fd_close(&s->fd);
}

/* A file without a name: gone with its descriptor, whatever happens. */
static int open_nameless(int directory)
{
    char name[40];
    int fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd < 0 ? -errno : fd;
    snprintf(name, sizeof(name), ".append.%016llx", (unsigned long long)random_u64());
    fd = openat(directory, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    unlinkat(directory, name, 0);
    return fd;
}

struct write_job {
    struct spool *spool;
    int rc;
};

/* On a worker: the text goes to the end of the file. */
static void write_text(void *arg)
{
    struct write_job *job = arg;
    struct spool *s = job->spool;
    size_t done = 0;

    if (s->fd < 0) {
        job->rc = open_nameless(s->directory);
        if (job->rc < 0)
            return;
        s->fd = job->rc;
    }
    while (done < s->text.len) {
        ssize_t put =
            pwrite(s->fd, s->text.data + done, s->text.len - done, (off_t)(s->length + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            job->rc = -errno;
            return;
        }
        done += (size_t)put;
    }
    job->rc = 0;
}

static int spill(struct spool *s)
{
    struct write_job job = {.spool = s};
    int rc = task_offload(TASK_POOL_STORE, write_text, &job);

    if (rc == 0)
        rc = job.rc;
    if (rc == 0) {
        s->length += s->text.len;
        str_clear(&s->text);
    }
    return rc;
}

static void add_clean(struct spool *s, struct span octets)
{
    size_t from = 0;

    for (size_t i = 0; i < octets.n; i++) {
        char c = octets.p[i];
        if (c == '\0' || (c == '\n' && !s->was_cr)) {
            str_append(&s->text, span_make(octets.p + from, i - from));
            str_append_cstr(&s->text, c == '\0' ? "\x80" : "\r\n");
            from = i + 1;
        }
        s->was_cr = c == '\r';
    }
    str_append(&s->text, span_make(octets.p + from, octets.n - from));
}

int spool_feed(struct spool *s, struct span octets)
{
    add_clean(s, octets);
    if (str_error(&s->text) < 0)
        return str_error(&s->text);
    return s->text.len > SPOOL_MEMORY_OCTETS ? spill(s) : 0;
}

int spool_finish(struct spool *s)
{
    return s->fd >= 0 && s->text.len > 0 ? spill(s) : 0;
}
