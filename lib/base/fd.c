#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

void fd_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

int fd_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && (flags & O_NONBLOCK) != 0)
        return 0;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

int fd_set_cloexec(int fd, int on)
{
    return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int fd_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

int fd_pwrite_all(int fd, const void *data, size_t n, uint64_t offset)
{
    const char *p = data;

    while (n > 0) {
        ssize_t done = pwrite(fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        p += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

int fd_pread_full(int fd, void *data, size_t n, uint64_t offset)
{
    char *p = data;

    while (n > 0) {
        ssize_t done = pread(fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        if (done == 0)
            return ERR_EOF;
        p += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

int fd_read_file(int fd, struct str *out, size_t max)
{
    char part[4096];
    size_t total = 0;

    for (;;) {
        ssize_t got = read(fd, part, sizeof(part));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return 0;
        total += (size_t)got;
        if (total > max)
            return ERR_TOO_LONG;
        if (str_append(out, span_make(part, (size_t)got)) < 0)
            return str_error(out);
    }
}

static void (*tell_note)(const char *path);

void file_set_note(void (*note)(const char *path))
{
    tell_note = note;
}

void file_note(const char *path)
{
    if (tell_note != NULL)
        tell_note(path);
}

int file_read(const char *path, struct str *out, size_t max)
{
    int fd, rc;

    file_note(path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fd_read_file(fd, out, max);
    fd_close(&fd);
    return rc;
}

static int sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd, rc = 0;

    if (dir == NULL)
        return -ENOMEM;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(dir);
    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        rc = -errno;
    fd_close(&fd);
    return rc;
}

static int write_new(const char *path, struct span content, mode_t mode, const struct stat *like)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode & 0600);
    int rc = 0;

    if (fd < 0)
        return -errno;
    /* The owner first: changing it takes set-id bits away. */
    if (like != NULL && fchown(fd, like->st_uid, like->st_gid) < 0)
        rc = -errno;
    if (rc == 0)
        rc = fchmod(fd, mode) < 0 ? -errno : fd_write_all(fd, content.p, content.n);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    fd_close(&fd);
    return rc;
}

static int replace(const char *path, struct span content, mode_t mode, const struct stat *like)
{
    struct str temp = {0};
    int rc;

    rc = str_printf(&temp, "%s.tmp.%ld", path, (long)getpid());
    if (rc == 0)
        rc = write_new(str_cstr(&temp), content, mode, like);
    if (rc == 0 && rename(str_cstr(&temp), path) < 0)
        rc = -errno;
    if (rc == 0)
        rc = sync_directory_of(path);
    else
        unlink(str_cstr(&temp));
    str_fini(&temp);
    return rc;
}

int file_replace(const char *path, struct span content, mode_t mode)
{
    return replace(path, content, mode, NULL);
}

int file_rewrite(const char *path, struct span content)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    return replace(path, content, st.st_mode & 07777, &st);
}
