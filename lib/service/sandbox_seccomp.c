/*
 * sandbox_seccomp.c: which system calls a service may make.
 *
 * An allow-list per set of rights. What is not on it:
 *   - ENOSYS for unknown calls: libraries probe new calls and fall back to old
 *     ones, so that an upgrade of libc does not take the mail system down;
 *   - EPERM for known calls that the rights leave out (opening a file, making an
 *     internet socket): code that asks gets its ordinary error path;
 *   - death for calls that only an intruder makes here (exec, ptrace, mount,
 *     bpf, modules, namespaces, ...): master's containment then takes over.
 * Threads are the one kind of child: clone3 cannot be looked into, so it is
 * ENOSYS and libc falls back to clone, whose flags can.
 *
 * Builds with sanitizers use a weaker, named set ("sanitizer"): everything but
 * the deadly calls, since their run-time reads /proc, traces and execs a
 * symbolizer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "service/sandbox.h"
#include "service/service.h"

#ifdef WAYPOST_SANITIZE
#define FILTER_NAME "sanitizer"
#define DEFAULT_ACTION SCMP_ACT_ALLOW
#define IS_WEAK true
#else
#define FILTER_NAME "service"
#define DEFAULT_ACTION SCMP_ACT_ERRNO(ENOSYS)
#define IS_WEAK false
#endif

#ifdef WAYPOST_SANITIZE
/* LeakSanitizer traces its own process and reads /proc: neither works behind the
 * walls. Leaks are looked for by the unit tests. */
int __lsan_is_turned_off(void);
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
    return 1;
}
#endif

/* Memory, threads, time, waiting and what is done with descriptors one has. */
static const int always_allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(preadv),
    SCMP_SYS(pwritev),
    SCMP_SYS(preadv2),
    SCMP_SYS(pwritev2),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(fcntl),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(pipe2),
    SCMP_SYS(sendfile),
    SCMP_SYS(splice),
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(mincore),
    SCMP_SYS(memfd_create),
    SCMP_SYS(membarrier),
    SCMP_SYS(futex),
    SCMP_SYS(futex_waitv),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(get_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getcpu),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(times),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrlimit),
    SCMP_SYS(getcwd),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime),
    SCMP_SYS(signalfd4),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(connect),
    SCMP_SYS(shutdown),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(socketpair),
    /* On descriptors that broker or qmgr passed: reading ahead, advice, sync. */
    SCMP_SYS(fadvise64),
    SCMP_SYS(readahead),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(copy_file_range),
};

/* Paths; Landlock and chroot say which ones. */
static const int read_files_allowed[] = {
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getdents64),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(flock),
    SCMP_SYS(inotify_init1),
    SCMP_SYS(inotify_add_watch),
    SCMP_SYS(inotify_rm_watch),
    SCMP_SYS(msync),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
};

static const int write_files_allowed[] = {
    SCMP_SYS(open),    SCMP_SYS(openat),   SCMP_SYS(creat),     SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat), SCMP_SYS(rmdir),    SCMP_SYS(unlink),    SCMP_SYS(unlinkat),
    SCMP_SYS(rename),  SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(link),
    SCMP_SYS(linkat),  SCMP_SYS(truncate), SCMP_SYS(fchmod),    SCMP_SYS(fchmodat),
    SCMP_SYS(chmod),   SCMP_SYS(fchown),   SCMP_SYS(utimensat), SCMP_SYS(sync_file_range),
    SCMP_SYS(syncfs),  SCMP_SYS(symlink),  SCMP_SYS(symlinkat), SCMP_SYS(umask),
};

/* Refused in the ordinary way where the rights leave them out. */
static const int refused_quietly[] = {
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(openat2),
    SCMP_SYS(creat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(fchownat),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(setsid),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(setpriority),
    SCMP_SYS(getpriority),
    SCMP_SYS(flock),
    SCMP_SYS(msync),
    SCMP_SYS(mlock),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(capget),
    SCMP_SYS(capset),
};

/* Nothing of ours, and no library we use, ever makes these. */
static const int deadly[] = {
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(bpf),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(reboot),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
};

/* A call that this architecture does not have is not an error. */
static int add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int code;

        if (calls[i] < 0)
            continue;
        code = seccomp_rule_add(filter, action, calls[i], 0);
        /* -EACCES: the action is the default one. */
        if (code < 0 && code != -EDOM && code != -EACCES)
            return code;
    }
    return 0;
}

/* libseccomp's own macros leave the second operand out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define ADD(filter, action, calls) add(filter, action, calls, COUNT_OF(calls))

/* Threads only, and signals only to this process. */
static int add_process_rules(scmp_filter_ctx filter, unsigned rights)
{
    int code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    if (code == 0 && (rights & SERVICE_SIGNALS))
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 0);
    else if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
                                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    /* Limits may be read. */
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
                                SCMP_A2(SCMP_CMP_EQ, 0));
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                                SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    return code;
}

static int add_ioctl_rules(scmp_filter_ctx filter)
{
    static const unsigned long requests[] = {FIONBIO, FIONREAD, FIOCLEX, TIOCOUTQ};
    int code = 0;

    for (size_t i = 0; i < COUNT_OF(requests) && code == 0; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                SCMP_A1(SCMP_CMP_EQ, requests[i]));
    return code;
}

static int add_socket_rules(scmp_filter_ctx filter, unsigned rights)
{
    static const int network_families[] = {AF_INET, AF_INET6};
    int code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                SCMP_A0(SCMP_CMP_EQ, AF_UNIX));

    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                rights & SERVICE_NETWORK ? SCMP_A0(SCMP_CMP_GT, AF_INET6)
                                                         : SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    if (!(rights & SERVICE_NETWORK))
        return code;
    for (size_t i = 0; i < COUNT_OF(network_families) && code == 0; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)network_families[i]));
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bind), 0);
    return code;
}

static int add_file_rules(scmp_filter_ctx filter, unsigned rights)
{
    scmp_datum_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    int code = 0;

    if (!(rights & (SERVICE_FILES | SERVICE_READ_FILES)))
        return 0;
    code = ADD(filter, SCMP_ACT_ALLOW, read_files_allowed);
    if (code == 0 && (rights & SERVICE_FILES))
        return ADD(filter, SCMP_ACT_ALLOW, write_files_allowed);
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                                SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0));
    if (code == 0 && SCMP_SYS(open) > 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                                SCMP_A1(SCMP_CMP_MASKED_EQ, writing, 0));
    return code;
}

static bool is_among(int call, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (calls[i] == call)
            return true;
    }
    return false;
}

/* EPERM for what is known and was not allowed above. Calls with argument rules
 * (open, kill, bind) keep the default action for the other arguments. */
static int add_refusals(scmp_filter_ctx filter, unsigned rights)
{
    for (size_t i = 0; i < COUNT_OF(refused_quietly); i++) {
        int call = refused_quietly[i];

        if ((rights & (SERVICE_FILES | SERVICE_READ_FILES)) &&
            (is_among(call, read_files_allowed, COUNT_OF(read_files_allowed)) ||
             call == SCMP_SYS(open) || call == SCMP_SYS(openat)))
            continue;
        if ((rights & SERVICE_FILES) &&
            is_among(call, write_files_allowed, COUNT_OF(write_files_allowed)))
            continue;
        if (call == SCMP_SYS(kill) || (call == SCMP_SYS(bind) && (rights & SERVICE_NETWORK)))
            continue;
        if (add(filter, SCMP_ACT_ERRNO(EPERM), &call, 1) < 0)
            return -EINVAL;
    }
    return 0;
}

static int build(scmp_filter_ctx filter, unsigned rights)
{
    int code = ADD(filter, SCMP_ACT_KILL_PROCESS, deadly);

    if (IS_WEAK)
        return code;
    if (code == 0)
        code = ADD(filter, SCMP_ACT_ALLOW, always_allowed);
    if (code == 0)
        code = add_process_rules(filter, rights);
    if (code == 0)
        code = add_ioctl_rules(filter);
    if (code == 0)
        code = add_socket_rules(filter, rights);
    if (code == 0)
        code = add_file_rules(filter, rights);
    if (code == 0)
        code = add_refusals(filter, rights);
    return code;
}

int sandbox_no_new_privileges(struct str *why)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        return 0;
    str_printf(why, "no_new_privs: %s", error_text(-errno));
    return -EPERM;
}

int sandbox_seccomp(unsigned rights, struct str *why)
{
    scmp_filter_ctx filter = seccomp_init(DEFAULT_ACTION);
    int code = -ENOMEM;

    if (filter == NULL)
        goto out;
    /* The hottest calls come first in a binary tree, not in a list. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    code = build(filter, rights);
    if (code == 0)
        code = seccomp_load(filter);
    seccomp_release(filter);
out:
    if (code < 0)
        str_printf(why, "seccomp (set \"%s\"): %s", FILTER_NAME, error_text(code));
    return code;
}
