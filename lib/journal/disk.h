/*
 * disk.h: one directory of journal files, as an interface, so that the
 * simulation tests run the real code over a disk that loses what was not synced.
 *
 * A struct disk_file is an open file description: a failed writeback is told to
 * each of them once, and OFD locks belong to it, so every sync in flight and
 * every lock holder opens its own. All functions block; they return 0 (or a
 * count) or a negative code, and may be called from any thread, one thread at a
 * time per disk_file.
 */
#ifndef JOURNAL_DISK_H
#define JOURNAL_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct disk;
struct disk_file;

enum disk_open_flags {
    DISK_READ = 0, /* read-only; DISK_WRITE: read and write */
    DISK_WRITE = 1 << 0,
    DISK_CREATE = 1 << 1, /* make it, mode 0600; -EEXIST with DISK_NEW when it is there */
    DISK_NEW = 1 << 2,
    DISK_EMPTY = 1 << 3, /* cut to nothing */
};

/* Locks cover one octet of a file; they do not exclude each other. */
enum disk_lock {
    DISK_LOCK_APPEND,
    DISK_LOCK_CLEANER,
};

typedef int disk_name_fn(void *arg, const char *name);

struct disk_ops {
    int (*open)(struct disk *disk, const char *name, int flags, struct disk_file **out);
    void (*close)(struct disk_file *file);
    /* Everything or an error. */
    int (*write)(struct disk_file *file, const struct iovec *parts, int count, uint64_t offset);
    /* Up to n octets; fewer only at the end of the file. */
    ssize_t (*read)(struct disk_file *file, void *buf, size_t n, uint64_t offset);
    /* What of it is in memory; may be NULL. */
    ssize_t (*read_cached)(struct disk_file *file, void *buf, size_t n, uint64_t offset);
    int (*sync)(struct disk_file *file); /* fdatasync: content and size */
    /* Read from the disk again what is not waiting to be written; may be NULL. */
    void (*forget)(struct disk_file *file);
    int (*allocate)(struct disk_file *file, uint64_t size);
    int (*size)(struct disk_file *file, uint64_t *size);
    /* Exclusive; wait false: -EAGAIN when it is held. */
    int (*lock)(struct disk_file *file, enum disk_lock what, bool wait);
    int (*unlock)(struct disk_file *file, enum disk_lock what);
    int (*unlink)(struct disk *disk, const char *name);
    /* Every name in no order; a non-zero result of each() ends it and is returned. */
    int (*list)(struct disk *disk, disk_name_fn *each, void *arg);
    int (*sync_directory)(struct disk *disk);
    /* The directory's own name, which stands in the directory above it. */
    int (*sync_name)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
};
struct disk_file {
    const struct disk_ops *ops;
};

static inline int disk_open(struct disk *d, const char *name, int flags, struct disk_file **out)
{
    return d->ops->open(d, name, flags, out);
}
/* NULL is legal; sets *file to NULL. */
void disk_close(struct disk_file **file);
int disk_write(struct disk_file *file, const void *data, size_t n, uint64_t offset);
enum disk_wait { DISK_WAIT, DISK_NO_WAIT };
/* As ops->read; DISK_NO_WAIT: -EAGAIN unless all n octets are in memory. */
ssize_t disk_read(struct disk_file *file, void *buf, size_t n, uint64_t offset,
                  enum disk_wait wait);
/* Adds n zeros, or as many as fit, behind the first count of a write's parts: how many
 * parts there are then. */
enum { DISK_PARTS_MAX = 16, DISK_ZEROS_MAX = 1024 * 1024 };
int disk_add_zeros(struct iovec parts[DISK_PARTS_MAX], int count, size_t n);

/* A real directory. dirfd is borrowed and must stay open; it may be on any file
 * system that has OFD locks and fallocate is optional. */
struct disk_real {
    struct disk disk;
    int dirfd;
};
void disk_real_init(struct disk_real *d, int dirfd);
/* The descriptor under a file of a disk_real, owned by the file. */
int disk_real_descriptor(const struct disk_file *file);

#endif
