/*
 * store_fill_main.c: fills a mailbox quickly, for tests and measurements.
 *
 *     test-store_fill STORE_DIRECTORY ACCOUNT COUNT OCTETS
 *
 * COUNT different messages of OCTETS octets come into INBOX of ACCOUNT, 500 a commit. It
 * works as the directory's owner; an instance may run meanwhile.
 */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "store/store.h"

enum { BATCH = 500 };

static struct store *store;
static const char *account;
static unsigned count, octets;

static void must(int rc, const char *what)
{
    if (rc < 0)
        fatal("%s: %s", what, error_text(rc));
}

static void write_message(struct str *text, unsigned number)
{
    str_clear(text);
    str_printf(text,
               "From: Some Body <some.body%u@example.test>\r\nTo: u@example.test\r\n"
               "Subject: message %u\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
               "Message-ID: <fill.%u@example.test>\r\n\r\n",
               number % 97, number, number);
    while (text->len < octets)
        str_append_cstr(text, "A line of the body that is as long as most lines are.\r\n");
    must(str_error(text), "text");
}

static void fill(void *arg)
{
    static struct store_append messages[BATCH];
    static struct store_appended out[BATCH];
    static struct str texts[BATCH];
    struct store_account *a;

    must(store_open(store, span_cstr(account), true, &a), account);
    for (unsigned done = 0; done < count;) {
        unsigned n = count - done < BATCH ? count - done : BATCH;
        for (unsigned i = 0; i < n; i++) {
            write_message(&texts[i], ++done);
            messages[i] = (struct store_append){.fd = -1, .content = str_span(&texts[i])};
        }
        must(store_append(a, STORE_INBOX, messages, n, out), "append");
    }
    for (unsigned i = 0; i < BATCH; i++)
        str_fini(&texts[i]);
    store_close(a);
}

static void become_owner(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        fatal("the directory's owner is not known");
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) ||
                           setresuid(st.st_uid, st.st_uid, st.st_uid)))
        fatal("cannot become the directory's owner");
}

int main(int argc, char **argv)
{
    struct store_options options = {0};
    struct task_options task_options = {.has_no_watchdog = true};
    int fd;

    if (argc != 5)
        fatal("usage: test-store_fill STORE_DIRECTORY ACCOUNT COUNT OCTETS");
    account = argv[2];
    count = (unsigned)atoi(argv[3]);
    octets = (unsigned)atoi(argv[4]);
    fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fatal("%s: cannot be opened", argv[1]);
    become_owner(fd);
    umask(077);
    must(store_new(&store, fd, &options), "store");
    must(task_runtime_init(&task_options), "runtime");
    must(task_runtime_run(fill, NULL), "run");
    task_runtime_fini();
    store_free(store);
    close(fd);
    return 0;
}
