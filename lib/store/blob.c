#include "store/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/fd.h"

static void print_name(char name[BLOB_NAME_SIZE], const unsigned char guid[GUID_SIZE])
{
    memcpy(name, "blob/", 5);
    for (size_t i = 0; i < GUID_SIZE; i++)
        snprintf(name + 5 + 2 * i, 3, "%02x", guid[i]);
}

static int sync_folder(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;

    fd_close(&fd);
    return rc;
}

int blob_create(int dirfd, const unsigned char guid[GUID_SIZE], int *fd)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    char name[BLOB_NAME_SIZE];

    print_name(name, guid);
    *fd = openat(dirfd, name, flags, 0600);
    if (*fd < 0 && errno == ENOENT) {
        int rc;
        if (mkdirat(dirfd, "blob", 0700) < 0 && errno != EEXIST)
            return -errno;
        rc = sync_folder(dirfd, ".");
        if (rc < 0)
            return rc;
        *fd = openat(dirfd, name, flags, 0600);
    }
    return *fd < 0 ? -errno : 0;
}

int blob_finish(int dirfd, int *fd)
{
    int rc = FAULT("store_blob_sync");

    if (rc == 0 && fdatasync(*fd) < 0)
        rc = -errno;
    fd_close(fd);
    return rc < 0 ? rc : sync_folder(dirfd, "blob");
}

int blob_open(int dirfd, const unsigned char guid[GUID_SIZE], int *fd)
{
    char name[BLOB_NAME_SIZE];

    print_name(name, guid);
    *fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : -errno;
    return 0;
}

void blob_remove(int dirfd, const unsigned char guid[GUID_SIZE])
{
    char name[BLOB_NAME_SIZE];

    print_name(name, guid);
    unlinkat(dirfd, name, 0);
}
