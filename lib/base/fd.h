/* fd.h: descriptors. All functions return 0 (or a count) or a negative code. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/span.h"
#include "base/str.h"

/* close() that keeps errno; fd -1 is ignored; sets *fd to -1. */
void fd_close(int *fd);
int fd_set_nonblock(int fd);
int fd_set_cloexec(int fd, int on);
/* Blocking reads and writes of everything, EINTR handled. fd_read_full gives
 * ERR_EOF when the file ends early. Not for the loop thread on cold files. */
int fd_write_all(int fd, const void *data, size_t n);
int fd_pwrite_all(int fd, const void *data, size_t n, uint64_t offset);
int fd_pread_full(int fd, void *data, size_t n, uint64_t offset);
/* Append a whole file, at most max octets (ERR_TOO_LONG beyond). */
int fd_read_file(int fd, struct str *out, size_t max);
int file_read(const char *path, struct str *out, size_t max);
/* What is about to be opened at a start, for who wants to know where one hangs; file_read()
 * says it itself. */
void file_note(const char *path);
/* note is called for each; NULL: nobody wants to know, as in the beginning. */
void file_set_note(void (*note)(const char *path));
/* Write path anew: temporary file, fsync, rename, fsync of the directory. */
int file_replace(const char *path, struct span content, mode_t mode);
/* The same for a file that is there: it keeps its owner, group and mode. */
int file_rewrite(const char *path, struct span content);

#endif
