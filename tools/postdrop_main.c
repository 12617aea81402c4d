/*
 * postdrop: writes what sendmail(1) hands it into maildrop/, where users may not
 * write themselves: installed set-group-id. Believes nothing: neither its
 * environment nor its input. postdrop(1).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "conf/conf.h"
#include "queue/drop.h"
#include "tools/tool_log.h"

enum { EXIT_DATA = 65, EXIT_UNAVAILABLE = 69, EXIT_TEMPORARY = 75, PIECE = 65536 };

static int maildrop = -1, file = -1;
static char name[48];

/* Also from a signal handler: only what is safe there. */
static void forget(void)
{
    if (file >= 0)
        unlinkat(maildrop, name, 0);
}

static void on_signal(int signal)
{
    forget();
    _exit(EXIT_TEMPORARY);
}

static __attribute__((noreturn)) void give_up(int status, const char *what, int error)
{
    forget();
    log_error("%s: %s", what, error_text(error));
    exit(status);
}

static struct conf *load(const char *config_directory)
{
    struct conf *conf;
    struct str why = {0};

    if (config_directory == NULL && getauxval(AT_SECURE) == 0)
        config_directory = getenv("MAIL_CONFIG");
    if (getauxval(AT_SECURE) != 0 && getuid() != 0)
        config_directory = NULL;
    if (config_directory == NULL)
        config_directory = WAYPOST_SYSCONFDIR "/postfix";
    if (conf_load(&conf, config_directory, &why) < 0) {
        log_error("%s", str_cstr(&why));
        exit(EXIT_UNAVAILABLE);
    }
    str_fini(&why);
    return conf;
}

static void open_file(const struct conf *conf)
{
    struct timeval now;

    if (chdir(conf_string(conf, "queue_directory")) < 0)
        give_up(EXIT_UNAVAILABLE, conf_string(conf, "queue_directory"), -errno);
    maildrop = open("maildrop", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (maildrop < 0)
        give_up(EXIT_UNAVAILABLE, "maildrop", -errno);
    gettimeofday(&now, NULL);
    snprintf(name, sizeof(name), "%llx.%05lx.%016llx", (unsigned long long)now.tv_sec,
             (unsigned long)now.tv_usec, (unsigned long long)random_u64());
    file = openat(maildrop, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0)
        give_up(EXIT_UNAVAILABLE, "cannot create a file in maildrop", -errno);
}

/* The front must be what pickup understands. */
static void check_front(struct str *front)
{
    struct drop d = {0};
    size_t used;
    int rc;

    front->max = DROP_HEAD_MAX;
    while ((rc = drop_decode(&d, str_span(front), &used)) == ERR_TRUNCATED) {
        char buf[PIECE];
        ssize_t got = read(0, buf, sizeof(buf));

        drop_fini(&d);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            give_up(EXIT_DATA, "standard input", got < 0 ? -errno : ERR_TRUNCATED);
        if (str_append(front, span_make(buf, (size_t)got)) < 0)
            give_up(EXIT_DATA, "standard input", str_error(front));
    }
    if (rc == 0 && d.recipients.len == 0)
        rc = ERR_SYNTAX;
    if (rc < 0)
        give_up(EXIT_DATA, "standard input", rc);
    drop_fini(&d);
}

static void copy(const struct conf *conf)
{
    uint64_t limit = (uint64_t)conf_int(conf, "message_size_limit"), total = 0;
    struct str front = {0};
    char buf[PIECE];
    ssize_t got;
    int rc;

    check_front(&front);
    rc = fd_write_all(file, front.data, front.len);
    total = front.len;
    str_fini(&front);
    while (rc == 0 && (got = read(0, buf, sizeof(buf))) != 0) {
        if (got < 0) {
            rc = errno == EINTR ? 0 : -errno;
            continue;
        }
        total += (uint64_t)got;
        if (limit > 0 && total > limit + DROP_HEAD_MAX)
            give_up(EXIT_DATA, "message", ERR_TOO_LONG);
        rc = fd_write_all(file, buf, (size_t)got);
    }
    if (rc < 0)
        give_up(EXIT_TEMPORARY, "cannot write the message", rc);
}

/* Complete, for good, before anybody is told. */
static void finish(void)
{
    int directory = openat(maildrop, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fchmod(file, 0744) < 0 || fsync(file) < 0)
        give_up(EXIT_TEMPORARY, "cannot write the message", -errno);
    /* The folder cannot be read by its users: then the file system is synced. */
    if (directory >= 0 ? fsync(directory) < 0 : syncfs(file) < 0)
        give_up(EXIT_TEMPORARY, "cannot write the message", -errno);
    fd_close(&directory);
    fd_close(&file);
}

/* pickup looks when somebody connects; otherwise at its next wake-up. */
static void wake_pickup(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "run/pickup"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        log_debug("run/pickup: %s", error_text(-errno));
    fd_close(&fd);
}

int main(int argc, char **argv)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    const char *config_directory = NULL;
    int option;

    tool_log_init(argv[0]);
    umask(022);
    while ((option = getopt(argc, argv, "c:rv")) != -1) {
        if (option == 'c')
            config_directory = optarg;
        else if (option == '?')
            return 64;
    }
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        signal(signals[i], on_signal);
    signal(SIGPIPE, SIG_IGN);
    struct conf *conf = load(config_directory);
    open_file(conf);
    copy(conf);
    finish();
    wake_pickup();
    conf_free(conf);
    return 0;
}
