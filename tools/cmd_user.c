/*
 * cmd_user.c: "waypost user": the users of auth_passwd_file. auth(8) notices the
 * changed file by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "auth/passwd_edit.h"
#include "auth/passwd_file.h"
#include "auth/password.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "tools/waypost.h"

enum {
    FILE_MAX = 1 << 28,
    PASSWORD_LINE_MAX = 1024,
};

static const char default_scheme[] = "SHA512-CRYPT";

struct user_command {
    const struct conf *conf;
    char *path; /* of the passwd-file, links followed */
    int lock;   /* the file, locked; -1 for readers */
    const char *scheme, *account;
    bool is_password_piped;
    struct str name; /* with the default realm */
    struct str text; /* of the file */
};

static int usage(FILE *to)
{
    fputs("usage: waypost user add [-s scheme] [-a account] [-p -] name\n"
          "       waypost user passwd [-s scheme] [-p -] name\n"
          "       waypost user del name\n"
          "       waypost user list\n\n"
          "    -s  how the password is stored: SHA512-CRYPT (the default), SCRAM-SHA-256,\n"
          "        ARGON2ID, BLF-CRYPT, SHA256-CRYPT or PLAIN. SCRAM-SHA-256 serves every\n"
          "        mechanism; clients that log in by SCRAM-SHA-256 cannot with the others,\n"
          "        PLAIN excepted.\n"
          "    -a  the account that holds the mail; it never changes, the name may\n"
          "    -p  read the password from standard input instead of asking for it\n",
          to);
    return to == stdout ? 0 : 2;
}

/* --- the password --- */

static int read_line(int fd, struct str *out)
{
    char c;
    ssize_t got;

    while ((got = read(fd, &c, 1)) == 1 && c != '\n') {
        if (out->len >= PASSWORD_LINE_MAX)
            return ERR_TOO_LONG;
        str_append_char(out, c);
    }
    if (got < 0)
        return -errno;
    return got == 0 && out->len == 0 ? ERR_EOF : str_error(out);
}

/* One question on the terminal, without echo. The signals of ask_twice() are blocked
 * but while it waits: one that comes just before the wait ends it too. */
static int ask_terminal(int terminal, const char *question, const sigset_t *unblocked,
                        struct str *answer)
{
    struct pollfd ready = {.fd = terminal, .events = POLLIN};
    struct termios before, quiet;
    int rc;

    if (tcgetattr(terminal, &before) < 0)
        return -errno;
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    if (tcsetattr(terminal, TCSAFLUSH, &quiet) < 0)
        return -errno;
    rc = fd_write_all(terminal, question, strlen(question));
    if (rc == 0 && ppoll(&ready, 1, NULL, unblocked) < 0)
        rc = -errno;
    if (rc == 0)
        rc = read_line(terminal, answer);
    tcsetattr(terminal, TCSAFLUSH, &before);
    fd_write_all(terminal, "\n", 1);
    return rc;
}

/* Only ends the wait, so that the terminal gets its echo back. */
static void interrupt(int signo)
{
}

static int ask_twice(struct str *password)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = interrupt};
    struct str again = {0};
    sigset_t blocked, before;
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC), rc;

    if (terminal < 0) {
        log_error("no terminal to ask for the password: give it on standard input, with -p -");
        return -errno;
    }
    sigemptyset(&blocked);
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        sigaction(signals[i], &action, NULL);
        sigaddset(&blocked, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, &before);
    /* Whoever started this may have blocked them. */
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        sigdelset(&before, signals[i]);
    rc = ask_terminal(terminal, "New password: ", &before, password);
    if (rc == 0)
        rc = ask_terminal(terminal, "Once more: ", &before, &again);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (rc < 0) {
        log_error("cannot read the password: %s", error_text(rc));
    } else if (!span_eq(str_span(password), str_span(&again))) {
        log_error("the two passwords differ");
        rc = ERR_DENIED;
    }
    str_fini_secret(&again);
    fd_close(&terminal);
    return rc;
}

/* Append the password in the form the file has it. */
static int make_password(const struct user_command *u, struct str *stored)
{
    struct str password = {0};
    int rc;

    if (u->is_password_piped) {
        rc = read_line(STDIN_FILENO, &password);
        if (rc == 0 && password.len > 0 && password.data[password.len - 1] == '\r')
            str_truncate(&password, password.len - 1);
        if (rc < 0)
            log_error("cannot read the password from standard input: %s", error_text(rc));
    } else {
        rc = ask_twice(&password);
    }
    if (rc == 0 && password.len == 0) {
        log_error("an empty password is none");
        rc = ERR_DENIED;
    }
    if (rc == 0) {
        rc = password_make(stored, span_cstr(u->scheme), str_span(&password));
        if (rc < 0)
            log_error("cannot store the password as %s: %s", u->scheme, error_text(rc));
    }
    str_fini_secret(&password);
    return rc;
}

/* --- the file --- */

/* Lock the file at path: two editors must not work from the same text. The lock
 * belongs to the file, and every edit makes a new one, so look again. */
static int lock_file(const char *path)
{
    for (;;) {
        struct stat locked, there;
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX) < 0 || fstat(fd, &locked) < 0 || stat(path, &there) < 0) {
            int code = -errno;

            fd_close(&fd);
            return code;
        }
        if (locked.st_ino == there.st_ino && locked.st_dev == there.st_dev)
            return fd;
        fd_close(&fd);
    }
}

/* A file that auth, under its own user, may read: by its group. Does nothing when
 * the file is there. */
static void make_file(const struct user_command *u, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const char *name = conf_string(u->conf, "waypost_auth_user");
    struct passwd *auth;

    if (fd < 0)
        return;
    log_info("made %s", path);
    if (geteuid() == 0) {
        auth = getpwnam(name);
        if (auth == NULL)
            log_warn("no user %s (waypost_auth_user): give it the right to read %s", name, path);
        else if (fchown(fd, (uid_t)-1, auth->pw_gid) < 0 || fchmod(fd, 0640) < 0)
            log_warn("%s: %s: user %s cannot read it", path, error_text(-errno), name);
    }
    fd_close(&fd);
}

/* Open, lock when it is to be changed, and read. */
static int open_file(struct user_command *u, bool for_change, bool create)
{
    const char *configured = conf_string(u->conf, "auth_passwd_file");
    int rc;

    if (configured[0] == '\0') {
        log_error("auth_passwd_file is not set in %s/main.cf", conf_directory(u->conf));
        return ERR_NOT_FOUND;
    }
    if (create)
        make_file(u, configured);
    u->path = realpath(configured, NULL);
    if (u->path == NULL)
        rc = -errno;
    else if (for_change)
        rc = u->lock = lock_file(u->path);
    else
        rc = 0;
    if (rc >= 0)
        rc = file_read(u->path, &u->text, FILE_MAX);
    if (rc < 0)
        log_error("auth_passwd_file = %s: %s", configured, error_text(rc));
    return rc;
}

static int write_file(const struct user_command *u, const struct str *text)
{
    int rc = file_rewrite(u->path, str_span(text));

    if (rc < 0)
        log_error("%s: %s", u->path, error_text(rc));
    return rc;
}

/* A login without "@" gets auth_default_realm, so its user has that name here. */
static int set_name(struct user_command *u, const char *name)
{
    const char *realm = conf_string(u->conf, "auth_default_realm");

    str_append_cstr(&u->name, name);
    if (realm[0] != '\0' && span_find(span_cstr(name), '@') < 0)
        str_printf(&u->name, "@%s", realm);
    if (passwd_user_is_valid(str_span(&u->name)))
        return 0;
    log_error(
        "%s: not a name for a user: no blanks, no \":\", no \"#\" in front, at most 255 octets",
        str_cstr(&u->name));
    return ERR_SYNTAX;
}

/* --- the commands --- */

static void explain_add(const struct user_command *u, int code, struct span account)
{
    struct span other = SPAN_NONE;

    switch (code) {
    case ERR_EXISTS:
        log_error("%s: the user is there already", str_cstr(&u->name));
        break;
    case ERR_DENIED:
        passwd_account_user(str_span(&u->text), account, &other);
        log_error("account %.*s is that of user %.*s: choose another with -a", SPAN_ARG(account),
                  SPAN_ARG(other));
        break;
    case ERR_SYNTAX:
        if (!passwd_account_is_valid(account))
            log_error("%.*s: not an account: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a "
                      "dot",
                      SPAN_ARG(account));
        else
            log_error("the password cannot stand in the file as %s: choose another scheme",
                      u->scheme);
        break;
    default:
        log_error("%s: %s", str_cstr(&u->name), error_text(code));
    }
}

static int add(struct user_command *u)
{
    struct str account = {0}, stored = {0}, text = {0};
    int rc = open_file(u, true, true);

    if (rc >= 0) {
        rc = u->account != NULL ? str_append_cstr(&account, u->account)
                                : passwd_default_account(&account, str_span(&u->name));
        /* What can be refused is refused before the password is asked for. */
        if (rc == 0)
            rc = passwd_edit_add(&text, str_span(&u->text), str_span(&u->name), SPAN_NONE,
                                 str_span(&account));
        if (rc < 0)
            explain_add(u, rc, str_span(&account));
    }
    if (rc == 0)
        rc = make_password(u, &stored);
    if (rc == 0) {
        str_clear(&text);
        rc = passwd_edit_add(&text, str_span(&u->text), str_span(&u->name), str_span(&stored),
                             str_span(&account));
        if (rc < 0)
            explain_add(u, rc, str_span(&account));
        else
            rc = write_file(u, &text);
    }
    str_fini_secret(&stored);
    str_fini_secret(&text);
    str_fini(&account);
    return rc;
}

static int change_password(struct user_command *u)
{
    struct str stored = {0}, text = {0};
    int rc = open_file(u, true, false);

    if (rc >= 0) {
        rc = passwd_edit_password(&text, str_span(&u->text), str_span(&u->name), SPAN_NONE);
        if (rc == ERR_NOT_FOUND)
            log_error("%s: no such user", str_cstr(&u->name));
        if (rc == 0)
            rc = make_password(u, &stored);
    }
    if (rc == 0) {
        str_clear(&text);
        rc = passwd_edit_password(&text, str_span(&u->text), str_span(&u->name), str_span(&stored));
        if (rc < 0)
            explain_add(u, rc, SPAN_LIT("-"));
        else
            rc = write_file(u, &text);
    }
    str_fini_secret(&stored);
    str_fini_secret(&text);
    return rc;
}

static int delete (struct user_command *u)
{
    struct str text = {0};
    int rc = open_file(u, true, false);

    if (rc >= 0) {
        rc = passwd_edit_remove(&text, str_span(&u->text), str_span(&u->name));
        if (rc == ERR_NOT_FOUND)
            log_error("%s: no such user", str_cstr(&u->name));
    }
    if (rc == 0)
        rc = write_file(u, &text);
    str_fini_secret(&text);
    return rc;
}

/* One line a user: name, account, scheme. */
static int list(struct user_command *u)
{
    struct passwd_table *table;
    struct str problems = {0};
    int rc = open_file(u, false, false);

    if (rc < 0)
        return rc;
    table = passwd_table_parse(str_span(&u->text), &problems);
    if (table == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < passwd_table_count(table); i++) {
        struct passwd_entry entry;
        struct span scheme, data;

        passwd_table_at(table, i, &entry);
        password_split(entry.password, &scheme, &data);
        printf("%-32.*s %-24.*s %.*s\n", SPAN_ARG(entry.user), SPAN_ARG(entry.account),
               SPAN_ARG(scheme));
    }
    for (struct span rest = str_span(&problems), line; span_token(&rest, "\n", &line);)
        log_warn("%s: %.*s; skipped", u->path, SPAN_ARG(line));
    passwd_table_unref(table);
    str_fini(&problems);
    return 0;
}

static const struct verb {
    const char *name;
    int (*run)(struct user_command *u);
    bool takes_name, takes_password, takes_account;
} verbs[] = {
    {"add", add, true, true, true},
    {"passwd", change_password, true, true, false},
    {"del", delete, true, false, false},
    {"list", list, false, false, false},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; name != NULL && i < COUNT_OF(verbs); i++) {
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    }
    return NULL;
}

/* The verb's options. 0, or the exit status of wrong usage. */
static int parse_options(struct user_command *u, const struct verb *verb, int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "+s:a:p:h")) != -1) {
        if (option == 's' && verb->takes_password) {
            u->scheme = optarg;
        } else if (option == 'a' && verb->takes_account) {
            u->account = optarg;
        } else if (option == 'p' && verb->takes_password) {
            u->is_password_piped = strcmp(optarg, "-") == 0;
            if (!u->is_password_piped) {
                log_error("everybody can see a command line: -p takes only \"-\"");
                return 2;
            }
        } else {
            return usage(stderr);
        }
    }
    return argc - optind == (verb->takes_name ? 1 : 0) ? 0 : usage(stderr);
}

int cmd_user(const struct waypost *w, int argc, char **argv)
{
    struct user_command u = {.lock = -1, .scheme = default_scheme};
    const struct verb *verb = find_verb(argc > 1 ? argv[1] : NULL);
    struct conf *conf;
    int status, rc = 0;

    if (argc > 1 && strcmp(argv[1], "-h") == 0)
        return usage(stdout);
    if (verb == NULL)
        return usage(stderr);
    status = parse_options(&u, verb, argc - 1, argv + 1);
    if (status != 0)
        return status;
    if (!password_scheme_is_known(span_cstr(u.scheme))) {
        log_error("%s: no such password scheme", u.scheme);
        return 2;
    }
    u.conf = conf = waypost_load(w);
    if (verb->takes_name)
        rc = set_name(&u, argv[1 + optind]);
    if (rc == 0)
        rc = verb->run(&u);
    fd_close(&u.lock);
    str_fini_secret(&u.text);
    str_fini(&u.name);
    free(u.path);
    conf_free(conf);
    return rc < 0;
}
