#include "local/deposit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"
#include "local/lines.h"

enum { HEADER_MAX = 1 << 20 };

static enum deposit_exit fail(const struct deposit *d, struct str *why, const char *doing, int code)
{
    if (code == -EFBIG) {
        str_printf(why, "cannot update mailbox %s for user %s. mailbox size limit exceeded",
                   d->path, d->user);
        return DEPOSIT_TOO_LARGE;
    }
    str_printf(why, "cannot update mailbox %s for user %s. %s: %s", d->path, d->user, doing,
               error_text(code));
    return DEPOSIT_TRY_AGAIN;
}

bool deposit_is_loop(int fd, const char *address)
{
    static char text[HEADER_MAX];
    ssize_t n = pread(fd, text, sizeof(text), 0);
    struct span rest = span_make(text, n > 0 ? (size_t)n : 0), line;
    int hits = 0;

    while (span_next(&rest, '\n', &line)) {
        line = span_trim(line);
        if (line.n == 0)
            break;
        if (span_istarts(line, SPAN_LIT("Delivered-To:")) &&
            span_ieq(span_trim(span_drop(line, 13)), span_cstr(address)))
            hits++;
    }
    return hits > 1;
}

/* --- Maildir --- */

static int make_folders(const char *path)
{
    static const char *const names[] = {"", "tmp", "new", "cur"};
    struct str folder = {0};
    int rc = 0;

    for (size_t i = 0; i < COUNT_OF(names) && rc == 0; i++) {
        str_clear(&folder);
        str_printf(&folder, "%s%s", path, names[i]);
        if (mkdir(str_cstr(&folder), 0700) < 0 && errno != EEXIST)
            rc = -errno;
    }
    str_fini(&folder);
    return rc;
}

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        rc = -errno;
    fd_close(&fd);
    return rc;
}

static int write_temporary(const struct deposit *d, const char *path, int fd)
{
    int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), rc;

    if (out < 0)
        return -errno;
    rc = lines_copy(fd, out, false, d->size_limit);
    if (rc == 0 && fsync(out) < 0)
        rc = -errno;
    fd_close(&out);
    return rc;
}

enum deposit_exit deposit_maildir(const struct deposit *d, int fd, struct str *why)
{
    struct str name = {0}, temporary = {0}, final = {0}, folder = {0};
    char host[256] = "localhost";
    struct timespec now;
    int rc = make_folders(d->path);

    gethostname(host, sizeof(host) - 1);
    clock_gettime(CLOCK_REALTIME, &now);
    str_printf(&name, "%lld.P%ldM%ldR%llx.%s", (long long)now.tv_sec, (long)getpid(),
               now.tv_nsec / 1000, (unsigned long long)random_u64(), host);
    str_printf(&temporary, "%stmp/%s", d->path, str_cstr(&name));
    str_printf(&final, "%snew/%s", d->path, str_cstr(&name));
    str_printf(&folder, "%snew", d->path);
    if (rc == 0)
        rc = write_temporary(d, str_cstr(&temporary), fd);
    if (rc == 0 && rename(str_cstr(&temporary), str_cstr(&final)) < 0)
        rc = -errno;
    if (rc == 0)
        rc = sync_folder(str_cstr(&folder));
    else
        unlink(str_cstr(&temporary));
    str_fini(&name);
    str_fini(&temporary);
    str_fini(&final);
    str_fini(&folder);
    if (rc < 0)
        return fail(d, why, "maildir delivery", rc);
    str_set(why, SPAN_LIT("delivered to maildir"));
    return DEPOSIT_DONE;
}

/* --- mbox --- */

static void lock_name(const struct deposit *d, struct str *name)
{
    str_printf(name, "%s.lock", d->path);
}

static int take_dotlock(const struct deposit *d)
{
    struct str name = {0};
    struct stat st;
    int rc = -EAGAIN;

    lock_name(d, &name);
    for (unsigned i = 0; rc == -EAGAIN && i < d->lock_attempts; i++) {
        int fd = open(str_cstr(&name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0) {
            fd_close(&fd);
            rc = 0;
        } else if (errno != EEXIST) {
            rc = -errno;
        } else if (stat(str_cstr(&name), &st) == 0 &&
                   time(NULL) - st.st_mtime > (time_t)d->stale_lock_s) {
            unlink(str_cstr(&name));
        } else {
            sleep(d->lock_delay_s);
        }
    }
    str_fini(&name);
    return rc;
}

static int take_fcntl_lock(const struct deposit *d, int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    for (unsigned i = 0; i < d->lock_attempts; i++) {
        /* Of the open file description: it must outlive the process that takes it. */
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
            return 0;
        if (errno != EAGAIN && errno != EACCES)
            return -errno;
        sleep(d->lock_delay_s);
    }
    return -EAGAIN;
}

void deposit_unlock_mbox(const struct deposit *d)
{
    struct str name = {0};

    if (!d->uses_dotlock)
        return;
    lock_name(d, &name);
    unlink(str_cstr(&name));
    str_fini(&name);
}

static int open_mbox(const struct deposit *d)
{
    struct stat st;
    int fd = open(d->path, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC), rc = 0;

    if (fd < 0 && errno == ENOENT) {
        fd = open(d->path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 && geteuid() == 0 && fchown(fd, d->uid, (gid_t)-1) < 0)
            rc = -errno;
    }
    if (fd < 0)
        return -errno;
    if (rc == 0 && fstat(fd, &st) < 0)
        rc = -errno;
    /* A link or somebody else's file could lead root's open to another mailbox. */
    if (rc == 0 && (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != d->uid))
        rc = -EPERM;
    if (rc < 0) {
        fd_close(&fd);
        return rc;
    }
    return fd;
}

enum deposit_exit deposit_open_mbox(const struct deposit *d, int *mbox, struct str *why)
{
    int rc = d->uses_dotlock ? take_dotlock(d) : 0;

    if (rc < 0)
        return fail(d, why, "unable to create lock file", rc);
    rc = open_mbox(d);
    if (rc >= 0) {
        *mbox = rc;
        rc = d->uses_fcntl ? take_fcntl_lock(d, *mbox) : 0;
        if (rc == 0)
            return DEPOSIT_DONE;
        fd_close(mbox);
    }
    deposit_unlock_mbox(d);
    return fail(d, why, "unable to lock for exclusive access", rc);
}

static int append_message(const struct deposit *d, int fd, int mbox, off_t before)
{
    struct str from = {0};
    time_t now = time(NULL);
    char date[32];
    uint64_t limit = 0;
    int rc;

    if (d->size_limit != 0) {
        if ((uint64_t)before >= d->size_limit)
            return -EFBIG;
        limit = d->size_limit - (uint64_t)before;
    }
    /* asctime's form, which mbox readers know; its newline ends the line. */
    str_printf(&from, "From %s  %s", d->sender[0] != '\0' ? d->sender : "MAILER-DAEMON",
               asctime_r(localtime(&now), date));
    rc = fd_write_all(mbox, from.data, from.len);
    str_fini(&from);
    if (rc == 0)
        rc = lines_copy(fd, mbox, true, limit);
    if (rc == 0)
        rc = fd_write_all(mbox, "\n", 1);
    if (rc == 0 && fsync(mbox) < 0)
        rc = -errno;
    return rc;
}

enum deposit_exit deposit_write_mbox(const struct deposit *d, int fd, int mbox, struct str *why)
{
    off_t before = lseek(mbox, 0, SEEK_END);
    int rc = before < 0 ? -errno : append_message(d, fd, mbox, before);

    if (rc < 0) {
        /* Leave no half message behind. */
        if (before >= 0 && ftruncate(mbox, before) < 0)
            str_printf(why, "(and %s could not be shortened again) ", d->path);
        return fail(d, why, "error writing message", rc);
    }
    str_set(why, SPAN_LIT("delivered to mailbox"));
    return DEPOSIT_DONE;
}
