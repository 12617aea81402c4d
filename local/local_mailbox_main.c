/*
 * local-mailbox: local's child that delivers one message to a Unix user. Started
 * as root (or as the suite's own user in an unprivileged instance); whoever reads
 * the message has become the recipient.
 *
 *     local-mailbox user=NAME path=PATH address=ADDRESS sender=SENDER [limit=N]
 *         [locks=fcntl,dotlock] [lock_attempts=N] [lock_delay=N] [stale_lock=N]
 *     local-mailbox user=NAME address=ADDRESS check=loop
 *
 * The second form only says, with the rights of NAME, whether the message was delivered
 * to ADDRESS before.
 * PATH is relative to the user's home unless it begins with "/"; one that ends with
 * "/" is a Maildir. The message is on descriptor 0, the words for the log go to
 * descriptor 1, the exit code is enum deposit_exit.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "local/deposit.h"

struct arguments {
    struct deposit deposit;
    const char *path, *locks;
    bool is_check; /* look for a loop, deliver nothing */
};

static uint64_t number(const char *text)
{
    uint64_t value = 0;

    if (span_to_u64(span_cstr(text), &value) < 0)
        fatal("not a number: %s", text);
    return value;
}

static void read_argument(struct arguments *a, char *word)
{
    char *value = strchr(word, '=');
    struct deposit *d = &a->deposit;

    if (value == NULL)
        fatal("usage: local-mailbox name=value ...");
    *value++ = '\0';
    if (strcmp(word, "user") == 0)
        d->user = value;
    else if (strcmp(word, "path") == 0)
        a->path = value;
    else if (strcmp(word, "address") == 0)
        d->address = value;
    else if (strcmp(word, "sender") == 0)
        d->sender = value;
    else if (strcmp(word, "limit") == 0)
        d->size_limit = number(value);
    else if (strcmp(word, "check") == 0)
        a->is_check = true;
    else if (strcmp(word, "locks") == 0)
        a->locks = value;
    else if (strcmp(word, "lock_attempts") == 0)
        d->lock_attempts = (unsigned)number(value);
    else if (strcmp(word, "lock_delay") == 0)
        d->lock_delay_s = (unsigned)number(value);
    else if (strcmp(word, "stale_lock") == 0)
        d->stale_lock_s = (unsigned)number(value);
    else
        fatal("unknown argument %s", word);
}

static int say(const struct str *why, enum deposit_exit code)
{
    if (fd_write_all(STDOUT_FILENO, str_cstr(why), why->len) < 0)
        return DEPOSIT_TRY_AGAIN;
    return (int)code;
}

static void become(const struct passwd *user)
{
    if (geteuid() != 0)
        return;
    if (initgroups(user->pw_name, user->pw_gid) < 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
        fatal("cannot become %s: %m", user->pw_name);
    prctl(PR_SET_DUMPABLE, 0);
}

/* Whether the user wants the mail elsewhere. As nobody here reads the file, the mail
 * has to wait: put into the mailbox, it would be where its user does not look. */
static bool has_forward(const struct passwd *user)
{
    struct str path = {0};
    struct stat st;
    bool is_there;

    str_printf(&path, "%s/.forward", user->pw_dir);
    is_there = stat(str_cstr(&path), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
    str_fini(&path);
    return is_there;
}

static int refuse_loop(const struct deposit *d)
{
    struct str why = {0};

    str_printf(&why, "mail forwarding loop for %s", d->address);
    return say(&why, DEPOSIT_LOOP);
}

/* In a child that has become the user. */
static int deposit_as_user(const struct arguments *a, const struct passwd *user, int mbox)
{
    const struct deposit *d = &a->deposit;
    struct str why = {0};
    bool is_maildir = d->path[strlen(d->path) - 1] == '/';
    enum deposit_exit code;

    become(user);
    umask(077);
    if (deposit_is_loop(STDIN_FILENO, d->address))
        return refuse_loop(d);
    if (has_forward(user)) {
        str_printf(&why, "%s/.forward is not supported", user->pw_dir);
        return say(&why, DEPOSIT_TRY_AGAIN);
    }
    if (is_maildir) {
        code = deposit_maildir(d, STDIN_FILENO, &why);
    } else if (mbox >= 0) {
        code = deposit_write_mbox(d, STDIN_FILENO, mbox, &why);
    } else {
        code = deposit_open_mbox(d, &mbox, &why);
        if (code == DEPOSIT_DONE) {
            code = deposit_write_mbox(d, STDIN_FILENO, mbox, &why);
            deposit_unlock_mbox(d);
        }
    }
    return say(&why, code);
}

/* A file in the spool: opened and locked with root's rights, written by the user. */
static int deposit_in_spool(const struct arguments *a, const struct passwd *user)
{
    struct str why = {0};
    int mbox = -1, status;
    enum deposit_exit code = deposit_open_mbox(&a->deposit, &mbox, &why);
    pid_t child;

    if (code != DEPOSIT_DONE)
        return say(&why, code);
    child = fork();
    if (child == 0)
        _exit(deposit_as_user(a, user, mbox));
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        status = DEPOSIT_TRY_AGAIN << 8;
    deposit_unlock_mbox(&a->deposit);
    return WEXITSTATUS(status);
}

static int run(int argc, char **argv)
{
    struct arguments a = {
        .deposit = {.user = "", .address = "", .sender = ""}, .path = "", .locks = ""};
    struct str path = {0}, why = {0};
    struct passwd *user;

    log_set_tag("postfix/local");
    for (int i = 1; i < argc; i++)
        read_argument(&a, argv[i]);
    user = getpwnam(a.deposit.user);
    if (user == NULL) {
        str_printf(&why, "unknown user: \"%s\"", a.deposit.user);
        return say(&why, DEPOSIT_NO_USER);
    }
    if (a.is_check) {
        become(user);
        return deposit_is_loop(STDIN_FILENO, a.deposit.address) ? refuse_loop(&a.deposit)
                                                                : DEPOSIT_DONE;
    }
    a.deposit.uid = geteuid() == 0 ? user->pw_uid : geteuid();
    a.deposit.gid = user->pw_gid;
    a.deposit.uses_fcntl = strstr(a.locks, "fcntl") != NULL;
    a.deposit.uses_dotlock = strstr(a.locks, "dotlock") != NULL;
    if (a.path[0] == '/') {
        a.deposit.path = a.path;
        return a.path[strlen(a.path) - 1] == '/' ? deposit_as_user(&a, user, -1)
                                                 : deposit_in_spool(&a, user);
    }
    str_printf(&path, "%s/%s", user->pw_dir, a.path);
    a.deposit.path = str_cstr(&path);
    return deposit_as_user(&a, user, -1);
}

int main(int argc, char **argv)
{
    /* Nothing is left to do with the user's rights: a leak check could not even look. */
    _exit(run(argc, argv));
}
