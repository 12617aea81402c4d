#include "journal/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/mem.h"

struct real_file {
    struct disk_file file;
    int fd;
};

void disk_close(struct disk_file **file)
{
    if (*file != NULL)
        (*file)->ops->close(*file);
    *file = NULL;
}

int disk_write(struct disk_file *file, const void *data, size_t n, uint64_t offset)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = n};

    return file->ops->write(file, &part, 1, offset);
}

ssize_t disk_read(struct disk_file *file, void *buf, size_t n, uint64_t offset, enum disk_wait wait)
{
    ssize_t got;

    if (wait == DISK_WAIT)
        return file->ops->read(file, buf, n, offset);
    /* Whatever else it says, reading with patience finds out. */
    got = file->ops->read_cached != NULL ? file->ops->read_cached(file, buf, n, offset) : -EAGAIN;
    return got == (ssize_t)n ? got : -EAGAIN;
}

int disk_add_zeros(struct iovec parts[DISK_PARTS_MAX], int count, size_t n)
{
    static const unsigned char zeros[DISK_ZEROS_MAX / DISK_PARTS_MAX];

    for (; n > 0 && count < DISK_PARTS_MAX; count++) {
        size_t part = n < sizeof(zeros) ? n : sizeof(zeros);

        parts[count] = (struct iovec){.iov_base = (void *)zeros, .iov_len = part};
        n -= part;
    }
    return count;
}

static int descriptor(const struct disk_file *file)
{
    return CONTAINER_OF(file, struct real_file, file)->fd;
}

static int dirfd_of(const struct disk *disk)
{
    return CONTAINER_OF(disk, struct disk_real, disk)->dirfd;
}

static int real_open(struct disk *disk, const char *name, int flags, struct disk_file **out)
{
    int mode = O_CLOEXEC | O_NOFOLLOW | (flags & DISK_WRITE ? O_RDWR : O_RDONLY);
    struct real_file *f;

    if (flags & DISK_CREATE)
        mode |= O_CREAT;
    if (flags & DISK_NEW)
        mode |= O_EXCL;
    if (flags & DISK_EMPTY)
        mode |= O_TRUNC;
    f = NEW(struct real_file);
    if (f == NULL)
        return -ENOMEM;
    f->file.ops = disk->ops;
    f->fd = openat(dirfd_of(disk), name, mode, 0600);
    if (f->fd < 0) {
        int rc = -errno;
        free(f);
        return rc;
    }
    *out = &f->file;
    return 0;
}

static void real_close(struct disk_file *file)
{
    struct real_file *f = CONTAINER_OF(file, struct real_file, file);

    fd_close(&f->fd);
    free(f);
}

/* Drop what was written from the front of the parts. */
static void advance(struct iovec **parts, int *count, size_t n)
{
    while (*count > 0 && n >= (*parts)->iov_len) {
        n -= (*parts)->iov_len;
        ++*parts;
        --*count;
    }
    if (*count > 0) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + n;
        (*parts)->iov_len -= n;
    }
}

static int real_write(struct disk_file *file, const struct iovec *parts, int count, uint64_t offset)
{
    struct iovec copy[DISK_PARTS_MAX], *rest = copy;
    int rc = FAULT("journal_write");

    if (rc < 0)
        return rc;
    if (count > DISK_PARTS_MAX)
        return -EINVAL;
    memcpy(copy, parts, sizeof(*parts) * (size_t)count);
    for (advance(&rest, &count, 0); count > 0;) {
        ssize_t n = pwritev(descriptor(file), rest, count, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        offset += (uint64_t)n;
        advance(&rest, &count, (size_t)n);
    }
    return 0;
}

static ssize_t real_read(struct disk_file *file, void *buf, size_t n, uint64_t offset)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = pread(descriptor(file), (char *)buf + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static ssize_t real_read_cached(struct disk_file *file, void *buf, size_t n, uint64_t offset)
{
    struct iovec part = {.iov_base = buf, .iov_len = n};
    ssize_t got = preadv2(descriptor(file), &part, 1, (off_t)offset, RWF_NOWAIT);

    return got < 0 ? -errno : got;
}

static int real_sync(struct disk_file *file)
{
    int rc = FAULT("journal_sync");

    if (rc < 0)
        return rc;
    /* Not repeated after EINTR or any other error: the kernel reports a lost
     * write once and then calls the pages clean. */
    return fdatasync(descriptor(file)) < 0 ? -errno : 0;
}

static void real_forget(struct disk_file *file)
{
    posix_fadvise(descriptor(file), 0, 0, POSIX_FADV_DONTNEED);
}

static int real_allocate(struct disk_file *file, uint64_t size)
{
    int rc = FAULT("journal_allocate");

    if (rc < 0)
        return rc;
    while (fallocate(descriptor(file), 0, 0, (off_t)size) < 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS)
            return ftruncate(descriptor(file), (off_t)size) < 0 ? -errno : 0;
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static int real_size(struct disk_file *file, uint64_t *size)
{
    struct stat st;

    if (fstat(descriptor(file), &st) < 0)
        return -errno;
    *size = (uint64_t)st.st_size;
    return 0;
}

static int lock_request(struct disk_file *file, enum disk_lock what, short type, int command)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = what, .l_len = 1};

    while (fcntl(descriptor(file), command, &l) < 0) {
        if (errno == EACCES)
            return -EAGAIN;
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static int real_lock(struct disk_file *file, enum disk_lock what, bool wait)
{
    return lock_request(file, what, F_WRLCK, wait ? F_OFD_SETLKW : F_OFD_SETLK);
}

static int real_unlock(struct disk_file *file, enum disk_lock what)
{
    return lock_request(file, what, F_UNLCK, F_OFD_SETLK);
}

static int real_unlink(struct disk *disk, const char *name)
{
    int rc = FAULT("journal_unlink");

    if (rc < 0)
        return rc;
    return unlinkat(dirfd_of(disk), name, 0) < 0 ? -errno : 0;
}

static int real_list(struct disk *disk, disk_name_fn *each, void *arg)
{
    int fd = openat(dirfd_of(disk), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL) {
        rc = -errno;
        fd_close(&fd);
        return rc;
    }
    while (rc == 0) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            rc = -errno;
            break;
        }
        rc = each(arg, entry->d_name);
    }
    closedir(dir);
    return rc;
}

static int sync_names(const struct disk *disk, const char *directory)
{
    int rc = FAULT("journal_sync_directory");
    int fd;

    if (rc < 0)
        return rc;
    fd = openat(dirfd_of(disk), directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fsync(fd) < 0 ? -errno : 0;
    fd_close(&fd);
    return rc;
}

static int real_sync_directory(struct disk *disk)
{
    return sync_names(disk, ".");
}

static int real_sync_name(struct disk *disk)
{
    return sync_names(disk, "..");
}

static const struct disk_ops real_ops = {
    .open = real_open,
    .close = real_close,
    .write = real_write,
    .read = real_read,
    .read_cached = real_read_cached,
    .sync = real_sync,
    .forget = real_forget,
    .allocate = real_allocate,
    .size = real_size,
    .lock = real_lock,
    .unlock = real_unlock,
    .unlink = real_unlink,
    .list = real_list,
    .sync_directory = real_sync_directory,
    .sync_name = real_sync_name,
};

void disk_real_init(struct disk_real *d, int dirfd)
{
    d->disk.ops = &real_ops;
    d->dirfd = dirfd;
}

int disk_real_descriptor(const struct disk_file *file)
{
    return descriptor(file);
}
