/*
 * sandbox.h: the walls around a service, root or not. Both bind the calling
 * thread and what it starts, so they come before the first thread.
 *
 * seccomp (sandbox_seccomp.c) decides by system call, Landlock
 * (sandbox_landlock.c) by path and port. Neither is used for services with
 * SERVICE_PRIVILEGED: filters are inherited over exec and would break the
 * programs that local and pipe run for users.
 */
#ifndef SERVICE_SANDBOX_H
#define SERVICE_SANDBOX_H

#include <stddef.h>

#include "base/str.h"

/* A directory tree, or one file to read, that stays open to the service. */
struct sandbox_tree {
    int fd;
    bool is_writable;
    bool is_file;
};

/* no_new_privs, without which neither wall stands for an ordinary user. */
int sandbox_no_new_privileges(struct str *why);
/* rights: enum service_rights. */
int sandbox_seccomp(unsigned rights, struct str *why);
/* 0 also where the kernel has no Landlock: *level is its version then 0. */
int sandbox_landlock(unsigned rights, const struct sandbox_tree *trees, size_t count, int *level,
                     struct str *why);

#endif
