#include "journal/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/encode.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/str.h"

/* The file "boot": current id, the clean one before it, 1 when this boot ended
 * clean, and a CRC of these. */
enum { BOOT_FILE_SIZE = 2 * BOOT_ID_SIZE + 8 };

struct boot_file {
    struct journal_boot boot;
    bool is_clean;
};

/* Read once: a sandboxed process cannot look again. */
static struct {
    unsigned char id[BOOT_ID_SIZE];
    bool is_known;
} kernel;

static int read_kernel_file(unsigned char id[BOOT_ID_SIZE])
{
    struct str text = {.max = 64}, digits = {0}, octets = {0};
    int rc = file_read("/proc/sys/kernel/random/boot_id", &text, 64);

    for (size_t i = 0; rc == 0 && i < text.len; i++) {
        if (hex_digit(text.data[i]) >= 0)
            str_append_char(&digits, text.data[i]);
    }
    if (rc == 0)
        rc = hex_decode(&octets, str_span(&digits));
    if (rc == 0 && octets.len != BOOT_ID_SIZE)
        rc = ERR_CORRUPT;
    if (rc == 0)
        memcpy(id, octets.data, BOOT_ID_SIZE);
    str_fini(&text);
    str_fini(&digits);
    str_fini(&octets);
    return rc;
}

int journal_boot_preload(void)
{
    int rc = kernel.is_known ? 0 : read_kernel_file(kernel.id);

    if (rc == 0)
        kernel.is_known = true;
    return rc;
}

static int read_kernel(unsigned char id[BOOT_ID_SIZE])
{
    int rc = journal_boot_preload();

    if (rc == 0)
        memcpy(id, kernel.id, BOOT_ID_SIZE);
    return rc;
}

/* A file that cannot be read says nothing. */
static void read_file(int dirfd, struct boot_file *out)
{
    unsigned char octets[BOOT_FILE_SIZE];
    int fd = openat(dirfd, "boot", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint32_t crc;

    *out = (struct boot_file){0};
    if (fd < 0)
        return;
    if (fd_pread_full(fd, octets, sizeof(octets), 0) == 0) {
        memcpy(&crc, octets + BOOT_FILE_SIZE - 4, sizeof(crc));
        if (crc == crc32c(0, octets, BOOT_FILE_SIZE - 4)) {
            memcpy(out->boot.current, octets, BOOT_ID_SIZE);
            memcpy(out->boot.clean, octets + BOOT_ID_SIZE, BOOT_ID_SIZE);
            out->is_clean = octets[2 * BOOT_ID_SIZE] == 1;
        }
    }
    fd_close(&fd);
}

static int write_file(int dirfd, const struct boot_file *file)
{
    unsigned char octets[BOOT_FILE_SIZE] = {0};
    int fd, directory, rc;
    uint32_t crc;

    memcpy(octets, file->boot.current, BOOT_ID_SIZE);
    memcpy(octets + BOOT_ID_SIZE, file->boot.clean, BOOT_ID_SIZE);
    octets[2 * BOOT_ID_SIZE] = file->is_clean;
    crc = crc32c(0, octets, BOOT_FILE_SIZE - 4);
    memcpy(octets + BOOT_FILE_SIZE - 4, &crc, sizeof(crc));
    fd = openat(dirfd, "boot.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -errno;
    rc = fd_write_all(fd, octets, sizeof(octets));
    if (rc >= 0)
        rc = fsync(fd) < 0 ? -errno : 0;
    fd_close(&fd);
    if (rc == 0 && renameat(dirfd, "boot.new", dirfd, "boot") < 0)
        rc = -errno;
    if (rc < 0)
        return rc;
    directory = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = directory < 0 || fsync(directory) < 0 ? -errno : 0;
    fd_close(&directory);
    return rc;
}

int journal_boot_start(int dirfd, struct journal_boot *out)
{
    struct boot_file old, now = {0};
    int rc = read_kernel(now.boot.current);

    if (rc < 0)
        return rc;
    read_file(dirfd, &old);
    if (memcmp(old.boot.current, now.boot.current, BOOT_ID_SIZE) == 0)
        memcpy(now.boot.clean, old.boot.clean, BOOT_ID_SIZE);
    else if (old.is_clean)
        memcpy(now.boot.clean, old.boot.current, BOOT_ID_SIZE);
    *out = now.boot;
    return write_file(dirfd, &now);
}

int journal_boot_read(int dirfd, struct journal_boot *out)
{
    struct boot_file file;
    int rc;

    *out = (struct journal_boot){0};
    rc = read_kernel(out->current);
    if (rc < 0)
        return rc;
    read_file(dirfd, &file);
    if (memcmp(file.boot.current, out->current, BOOT_ID_SIZE) == 0)
        memcpy(out->clean, file.boot.clean, BOOT_ID_SIZE);
    return 0;
}

int journal_boot_stop(int dirfd)
{
    struct boot_file file;
    struct journal_boot boot;
    int rc = journal_boot_read(dirfd, &boot);

    if (rc < 0)
        return rc;
    if (syncfs(dirfd) < 0)
        return -errno;
    file = (struct boot_file){.boot = boot, .is_clean = true};
    return write_file(dirfd, &file);
}
