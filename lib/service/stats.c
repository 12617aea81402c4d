#include "service/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "service/service.h"

int stats_create(void)
{
    int fd = memfd_create("waypost-statistics", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int code;

    if (fd < 0)
        return -errno;
    /* A reader must never meet the end of the file: SIGBUS in master. */
    if (ftruncate(fd, sizeof(struct stats_page)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        code = -errno;
        fd_close(&fd);
        return code;
    }
    return fd;
}

struct stats_page *stats_map(int fd)
{
    struct stats_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (page == MAP_FAILED)
        return NULL;
    page->magic = STATS_MAGIC;
    page->version = STATS_VERSION;
    return page;
}

const struct stats_page *stats_map_readonly(int fd)
{
    struct stat st;
    void *page;

    if (fstat(fd, &st) < 0)
        return NULL;
    if (st.st_size < (off_t)sizeof(struct stats_page)) {
        errno = EINVAL;
        return NULL;
    }
    page = mmap(NULL, sizeof(struct stats_page), PROT_READ, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? NULL : page;
}

void stats_unmap(const struct stats_page *page)
{
    if (page != NULL)
        munmap((void *)page, sizeof(*page));
}

static void clean_text(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (; *text != '\0'; text++) {
        if (!ascii_is_print(*text))
            *text = '?';
    }
}

int stats_read(const struct stats_page *page, struct stats_page *copy)
{
    memcpy(copy, page, sizeof(*copy));
    if (copy->magic != STATS_MAGIC)
        return ERR_CORRUPT;
    if (copy->version != STATS_VERSION)
        return ERR_VERSION;
    if (copy->state >= STATS_STATES)
        copy->state = STATS_READY;
    if (copy->kind > SERVICE_SINGLE)
        copy->kind = SERVICE_CLIENTS;
    clean_text(copy->note.task, sizeof(copy->note.task));
    clean_text(copy->note.client, sizeof(copy->note.client));
    clean_text(copy->note.queue_id, sizeof(copy->note.queue_id));
    return 0;
}

struct span stats_note_address(const struct task_crash_note *note)
{
    struct span client = {note->client, strnlen(note->client, sizeof(note->client))};
    ptrdiff_t open = span_find(client, '['), close = span_rfind(client, ']');
    struct span address;

    if (open < 0 || close < open)
        return SPAN_NONE;
    address = span_make(client.p + open + 1, (size_t)(close - open - 1));
    for (size_t i = 0; i < address.n; i++) {
        char c = ascii_lower(address.p[i]);

        if (!ascii_is_digit(c) && !(c >= 'a' && c <= 'f') && c != '.' && c != ':')
            return SPAN_NONE;
    }
    return address;
}
