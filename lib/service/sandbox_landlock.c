/*
 * sandbox_landlock.c: Landlock by its raw system calls (Debian 12 has no
 * library for it). Constants that are newer than the build's headers are
 * repeated here; the kernel's version says which of them may be used.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "service/sandbox.h"
#include "service/service.h"

/* Access rights by the version that brought them. */
#define FS_V1 ((1ull << 13) - 1)
#define FS_REFER (1ull << 13)    /* version 2 */
#define FS_TRUNCATE (1ull << 14) /* version 3 */
#define NET_BIND_TCP (1ull << 0) /* version 4 */
#define NET_CONNECT_TCP (1ull << 1)
#define FS_IOCTL_DEV (1ull << 15)       /* version 5 */
#define SCOPE_ABSTRACT_UNIX (1ull << 0) /* version 6 */
#define SCOPE_SIGNAL (1ull << 1)

#define FS_EXECUTE (1ull << 0)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
/* Devices and sockets are made by nobody here. */
#define FS_MAKE_CHAR (1ull << 6)
#define FS_MAKE_BLOCK (1ull << 11)

/* As of version 6; older kernels are told the size of what they know. */
struct ruleset {
    uint64_t handled_fs, handled_net, scoped;
};

static struct ruleset choose_rules(int version, unsigned rights, size_t *size)
{
    struct ruleset rules = {.handled_fs = FS_V1};

    *size = sizeof(uint64_t);
    if (version >= 2)
        rules.handled_fs |= FS_REFER;
    if (version >= 3)
        rules.handled_fs |= FS_TRUNCATE;
    if (version >= 4) {
        /* Also against an accepted socket that is disconnected and connected
         * anew, which seccomp cannot see. */
        if (!(rights & SERVICE_NETWORK))
            rules.handled_net = NET_CONNECT_TCP;
        rules.handled_net |= NET_BIND_TCP;
        *size = 2 * sizeof(uint64_t);
    }
    if (version >= 5)
        rules.handled_fs |= FS_IOCTL_DEV;
    if (version >= 6) {
        rules.scoped = SCOPE_ABSTRACT_UNIX;
        if (!(rights & SERVICE_SIGNALS))
            rules.scoped |= SCOPE_SIGNAL;
        *size = sizeof(rules);
    }
    return rules;
}

static int allow_tree(int ruleset, const struct sandbox_tree *tree, uint64_t handled)
{
    uint64_t all = handled & ~(FS_EXECUTE | FS_MAKE_CHAR | FS_MAKE_BLOCK | FS_IOCTL_DEV);
    struct landlock_path_beneath_attr rule = {
        .allowed_access = tree->is_file       ? FS_READ_FILE
                          : tree->is_writable ? all
                                              : (FS_READ_FILE | FS_READ_DIR),
        .parent_fd = tree->fd,
    };

    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return -errno;
    return 0;
}

int sandbox_landlock(unsigned rights, const struct sandbox_tree *trees, size_t count, int *level,
                     struct str *why)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset rules;
    size_t size;
    int ruleset, code = 0;

    *level = version < 0 ? 0 : (int)version;
    if (version < 1)
        return 0;
    rules = choose_rules((int)version, rights, &size);
    /* smtp_bind_address needs bind(2). */
    if (rights & SERVICE_NETWORK)
        rules.handled_net = 0;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (ruleset < 0) {
        code = -errno;
    } else {
        for (size_t i = 0; i < count && code == 0; i++)
            code = allow_tree(ruleset, &trees[i], rules.handled_fs);
        if (code == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
            code = -errno;
        fd_close(&ruleset);
    }
    if (code < 0)
        str_printf(why, "Landlock: %s", error_text(code));
    return code;
}
