#include "support_journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void place_make(struct place *p)
{
    strcpy(p->path, "/tmp/waypost-journal-XXXXXX");
    assert_non_null(mkdtemp(p->path));
    p->dirfd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->dirfd >= 0);
    disk_real_init(&p->real, p->dirfd);
    journal_options_queue(&p->queue);
    p->queue.segment_size = 64 * 1024;
    journal_options_store(&p->store);
    p->store.segment_size = 32 * 1024;
    p->boot = (struct journal_boot){.current = "boot-one"};
}

void place_remove(struct place *p)
{
    DIR *dir = fdopendir(p->dirfd);
    struct dirent *entry;

    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL)
        unlinkat(p->dirfd, entry->d_name, 0);
    closedir(dir);
    rmdir(p->path);
}

void place_copy(struct place *p, const char *from, const char *to)
{
    int in = openat(p->dirfd, from, O_RDONLY | O_CLOEXEC);
    int out = openat(p->dirfd, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char block[4096];
    ssize_t n;

    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, block, sizeof(block))) > 0)
        assert_int_equal(write(out, block, (size_t)n), n);
    close(in);
    close(out);
}

void place_damage(struct place *p, const char *name, uint64_t offset, const char *text)
{
    int fd = openat(p->dirfd, name, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, text, strlen(text), (off_t)offset), strlen(text));
    close(fd);
}

struct span place_body(uint64_t n, size_t length)
{
    static char body[65536];

    for (size_t i = 0; i < length; i++)
        body[i] = (char)(n * 31 + i * 7);
    return span_make(body, length);
}
