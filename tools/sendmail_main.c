/*
 * sendmail: local submission under the name and with the options that programs
 * know. Builds the envelope, and hands the message to postdrop. sendmail(1).
 */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "mail/address.h"
#include "mail/addrlist.h"
#include "queue/drop.h"
#include "queue/message.h"
#include "tools/tool_log.h"

enum { EXIT_USE = 64, EXIT_DATA = 65, EXIT_NOUSER = 67, EXIT_UNAVAILABLE = 69, EXIT_OS = 71 };
enum { HEADER_MAX = 1 << 20 };

static struct {
    enum { DELIVER, LIST, FLUSH, NEWALIASES } mode;
    const char *config_directory;
    char *flush_option[3]; /* of postqueue */
    bool is_dot_end, is_header_recipients;
    const char *full_name; /* -F; NULL: not given */
    struct drop drop;
    struct arena arena;
    struct str header; /* with -t: read ahead */
} state = {.is_dot_end = true};

static __attribute__((noreturn)) void usage(const char *what)
{
    fprintf(stderr,
            "sendmail: %s\nusage: sendmail [-tiv] [-F name] [-f sender] [-N notify] [-R full|hdrs] "
            "[-V envid] [recipient...]\n",
            what);
    exit(EXIT_USE);
}

static struct span keep(struct span text)
{
    struct span copy;

    if (arena_copy(&state.arena, text, &copy) < 0)
        fatal("out of memory");
    return copy;
}

/* --- addresses --- */

static void add_recipient(struct span address)
{
    if (address.n == 0)
        return;
    if (state.drop.recipients.len >= DROP_RECIPIENTS_MAX)
        fatal("too many recipients");
    struct span *r = array_push(&state.drop.recipients);
    if (r == NULL)
        fatal("out of memory");
    *r = keep(address);
}

static struct span internal_form(const struct address *a)
{
    struct str text = {0};
    struct span kept;

    if (a->domain.n == 0)
        str_append(&text, a->local);
    else
        address_print_internal(&text, a);
    kept = keep(str_span(&text));
    str_fini(&text);
    return kept;
}

/* Every address of a list as in a header: "A <a@b>, c@d (E)". */
static void add_list(struct span value)
{
    struct addrlist_item *item;

    if (addrlist_parse(&state.arena, value, DROP_RECIPIENTS_MAX, &item) < 0)
        fatal("out of memory");
    for (; item != NULL; item = item->next) {
        struct address a = {.local = item->mailbox, .domain = item->domain};

        /* Borders of groups have no domain part at all. */
        if (item->mailbox.n == 0 ||
            (item->domain.p == NULL && item->name.p == NULL && !item->is_broken))
            continue;
        if (item->is_broken && span_ieq(item->domain, SPAN_LIT("MISSING_DOMAIN")))
            a.domain = SPAN_NONE;
        /* Words without an address are a local part, as in Postfix: its bounce tells
         * the sender. Empty elements ("a@b,,c@d") are nothing. */
        if (item->is_broken && span_eq(item->mailbox, SPAN_LIT("MISSING_MAILBOX"))) {
            if (item->name.n == 0)
                continue;
            a.local = item->name;
        }
        add_recipient(internal_form(&a));
    }
}

static void add_argument(const char *text)
{
    struct address a;

    /* A bare name, or one mailbox; anything with a comma is a list. */
    if (strpbrk(text, ",<> \t") != NULL)
        add_list(span_cstr(text));
    else if (address_parse(&state.arena, span_cstr(text), ADDRESS_ALLOW_UTF8, &a) == 0)
        add_recipient(internal_form(&a));
    else
        add_recipient(span_cstr(text));
}

static void set_sender(const char *text)
{
    struct span sender = span_trim(span_cstr(text));
    struct address a;

    state.drop.is_sender_set = true;
    state.drop.sender = SPAN_NONE;
    if (sender.n == 0 || span_eq(sender, SPAN_LIT("<>")))
        return;
    if (sender.p[0] == '<' && sender.p[sender.n - 1] == '>')
        sender = span_take(span_drop(sender, 1), sender.n - 2);
    if (address_parse(&state.arena, sender, ADDRESS_ALLOW_UTF8, &a) == 0)
        state.drop.sender = internal_form(&a);
    else
        state.drop.sender = keep(sender);
}

/* --- -t: recipients from the header --- */

/* The header up to its blank line (or a single dot), read ahead. */
static void read_header(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    state.header.max = HEADER_MAX;
    while ((n = getline(&line, &size, stdin)) > 0) {
        if (state.is_dot_end && n == 2 && line[0] == '.' && line[1] == '\n') {
            ungetc('\n', stdin);
            ungetc('.', stdin);
            break;
        }
        if (str_append(&state.header, span_make(line, (size_t)n)) < 0)
            fatal("the header is too long");
        if (line[0] == '\n' || (line[0] == '\r' && line[1] == '\n'))
            break;
    }
    free(line);
}

static void take_field(struct span field)
{
    static const char *const plain[] = {"to", "cc", "bcc"};
    static const char *const resent[] = {"resent-to", "resent-cc", "resent-bcc"};
    /* Resent- fields replace the others (RFC 5322 3.6.6). */
    bool is_resent = span_isearch(str_span(&state.header), SPAN_LIT("\nresent-")) >= 0 ||
                     span_istarts(str_span(&state.header), SPAN_LIT("resent-"));
    const char *const *names = is_resent ? resent : plain;
    ptrdiff_t colon = span_find(field, ':');

    for (size_t i = 0; colon > 0 && i < COUNT_OF(plain); i++)
        if (span_ieq(span_trim(span_take(field, (size_t)colon)), span_cstr(names[i])))
            add_list(span_drop(field, (size_t)colon + 1));
}

static void take_header_recipients(void)
{
    struct span rest = str_span(&state.header);

    while (rest.n > 0) {
        size_t n = 0;

        /* A field goes on while the next line begins with a blank. */
        do {
            ptrdiff_t end = span_find(span_drop(rest, n), '\n');
            n = end < 0 ? rest.n : n + (size_t)end + 1;
        } while (n < rest.n && ascii_is_blank(rest.p[n]));
        take_field(span_take(rest, n));
        rest = span_drop(rest, n);
    }
}

/* --- handing it over --- */

static const char *command(const struct conf *conf, const char *name)
{
    char *path = arena_printf(&state.arena, "%s/%s", conf_string(conf, "command_directory"), name);

    return path != NULL ? path : name;
}

static pid_t start_postdrop(const struct conf *conf, int *to)
{
    int pair[2];

    if (pipe(pair) < 0)
        fatal("pipe: %s", error_text(-errno));
    const char *path = command(conf, "postdrop");
    pid_t pid = fork();
    if (pid == 0) {
        char *const arguments[] = {(char *)"postdrop", (char *)"-c", (char *)conf_directory(conf),
                                   NULL};
        dup2(pair[0], 0);
        close(pair[0]);
        close(pair[1]);
        execv(path, arguments);
        log_error("cannot run %s: %s", path, error_text(-errno));
        _exit(EXIT_UNAVAILABLE);
    }
    if (pid < 0)
        fatal("fork: %s", error_text(-errno));
    close(pair[0]);
    *to = pair[1];
    return pid;
}

static int write_message(int to)
{
    struct str head = {0};
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    drop_encode(&state.drop, &head);
    int rc = str_error(&head);
    if (rc == 0)
        rc = fd_write_all(to, head.data, head.len);
    if (rc == 0)
        rc = fd_write_all(to, str_cstr(&state.header), state.header.len);
    while (rc == 0 && (n = getline(&line, &size, stdin)) > 0) {
        if (state.is_dot_end && n == 2 && line[0] == '.' && line[1] == '\n')
            break;
        rc = fd_write_all(to, line, (size_t)n);
    }
    if (rc == 0 && ferror(stdin))
        rc = -EIO;
    free(line);
    str_fini(&head);
    return rc;
}

/* The name in the password file: up to the first comma, "&" being the capitalized login. */
static struct span passwd_name(const struct passwd *user)
{
    struct span gecos = span_cstr(user->pw_gecos);
    struct str name = {0};
    struct span kept;

    for (size_t i = 0; i < gecos.n && strchr(",;%", gecos.p[i]) == NULL; i++) {
        if (gecos.p[i] == '&' && user->pw_name[0] != '\0') {
            str_append_char(&name, ascii_upper(user->pw_name[0]));
            str_append_cstr(&name, user->pw_name + 1);
        } else {
            str_append_char(&name, gecos.p[i]);
        }
    }
    kept = keep(str_span(&name));
    str_fini(&name);
    return kept;
}

/* -F, else NAME, else the password file. */
static void set_full_name(const struct passwd *user)
{
    if (state.full_name == NULL)
        state.full_name = getenv("NAME");
    if (state.full_name != NULL)
        state.drop.full_name = keep(span_cstr(state.full_name));
    else if (user != NULL)
        state.drop.full_name = passwd_name(user);
}

static int deliver(const struct conf *conf)
{
    struct passwd *user = getpwuid(getuid());
    int to, wait_status = 0;

    set_full_name(user);
    if (!state.drop.is_sender_set) {
        /* Who calls it, whatever the environment says. */
        if (user != NULL)
            set_sender(user->pw_name);
        else
            set_sender(arena_printf(&state.arena, "%u", (unsigned)getuid()));
    }
    if (state.is_header_recipients) {
        read_header();
        take_header_recipients();
    }
    if (state.drop.recipients.len == 0) {
        log_error("no recipient addresses%s",
                  state.is_header_recipients ? " found in message header" : "");
        return state.is_header_recipients ? EXIT_DATA : EXIT_USE;
    }
    signal(SIGPIPE, SIG_IGN);
    pid_t pid = start_postdrop(conf, &to);
    int rc = write_message(to);
    if (rc < 0)
        kill(pid, SIGTERM); /* half a message is none */
    close(to);
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    /* When postdrop has gone away it has said why. */
    if (rc < 0 && !(rc == -EPIPE && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != 0)) {
        log_error("cannot hand over the message: %s", error_text(rc));
        return EXIT_OS;
    }
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : EXIT_OS;
}

static int run_instead(const struct conf *conf, const char *name, char *option, char *value)
{
    char *const arguments[] = {(char *)name, option != NULL ? option : value, value, NULL};

    setenv("MAIL_CONFIG", conf_directory(conf), 1);
    execv(command(conf, name), arguments);
    log_error("cannot run %s: %s", name, error_text(-errno));
    return EXIT_UNAVAILABLE;
}

/* --- options --- */

static void set_mode(const char *mode)
{
    switch (mode[0]) {
    case 'm':
        state.mode = DELIVER;
        break;
    case 'p':
        state.mode = LIST;
        break;
    case 'i':
        state.mode = NEWALIASES;
        break;
    default:
        usage("this mode of operation is not supported");
    }
}

static void set_flush(const char *what)
{
    state.mode = FLUSH;
    state.flush_option[0] = (char *)"-f";
    if (what != NULL && (what[0] == 'I' || what[0] == 'R' || what[0] == 'S')) {
        if (what[0] == 'S' || what[1] == '\0')
            usage("-qI needs a queue id and -qR a site; -qS is not supported");
        state.flush_option[0] = what[0] == 'I' ? (char *)"-i" : (char *)"-s";
        state.flush_option[1] = (char *)what + 1;
    }
}

static void set_notify(const char *text)
{
    state.drop.notify = queue_notify_parse(span_cstr(text));
    if (state.drop.notify == 0)
        usage("-N takes never, or success, failure and delay");
}

static void set_return(const char *text)
{
    state.drop.ret = span_cstr(text);
    if (strcmp(text, "full") != 0 && strcmp(text, "hdrs") != 0)
        usage("-R takes full or hdrs");
}

static void set_option(const char *text)
{
    /* -oi and -oitrue; all other settings of the old sendmail have no meaning. */
    if (text[0] == 'i')
        state.is_dot_end = false;
}

static void parse(int argc, char **argv)
{
    const char *base = strrchr(argv[0], '/');
    int option;

    base = base != NULL ? base + 1 : argv[0];
    if (strcmp(base, "mailq") == 0)
        state.mode = LIST;
    else if (strcmp(base, "newaliases") == 0)
        state.mode = NEWALIASES;
    while ((option = getopt(argc, argv, "A:B:C:F:GIN:O:R:UV:X:b:ce:f:h:iL:mno:p:q::r:tvx")) != -1) {
        switch (option) {
        case 'b':
            set_mode(optarg);
            break;
        case 'C':
            state.config_directory = optarg;
            break;
        case 'F':
            state.full_name = optarg;
            break;
        case 'f':
        case 'r':
            set_sender(optarg);
            break;
        case 'I':
            state.mode = NEWALIASES;
            break;
        case 'i':
            state.is_dot_end = false;
            break;
        case 'N':
            set_notify(optarg);
            break;
        case 'o':
            set_option(optarg);
            break;
        case 'q':
            set_flush(optarg);
            break;
        case 'R':
            set_return(optarg);
            break;
        case 't':
            state.is_header_recipients = true;
            break;
        case 'V':
            state.drop.envid = span_cstr(optarg);
            break;
        case '?':
            usage("unknown option");
        default: /* accepted, without a meaning here */
            break;
        }
    }
}

int main(int argc, char **argv)
{
    struct conf *conf;
    struct str why = {0};

    tool_log_init(argv[0]);
    parse(argc, argv);
    if (state.config_directory == NULL)
        state.config_directory = getenv("MAIL_CONFIG");
    if (state.config_directory == NULL)
        state.config_directory = WAYPOST_SYSCONFDIR "/postfix";
    if (conf_load(&conf, state.config_directory, &why) < 0)
        fatal("%s", str_cstr(&why));
    if (state.mode == LIST)
        return run_instead(conf, "mailq", NULL, NULL);
    if (state.mode == FLUSH)
        return run_instead(conf, "postqueue", state.flush_option[0], state.flush_option[1]);
    if (state.mode == NEWALIASES)
        return run_instead(conf, "newaliases", NULL, NULL);
    for (int i = optind; i < argc; i++)
        add_argument(argv[i]);
    int status = deliver(conf);
    drop_fini(&state.drop);
    arena_reset(&state.arena);
    str_fini(&state.header);
    conf_free(conf);
    return status;
}
