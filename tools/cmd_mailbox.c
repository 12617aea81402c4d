/* cmd_mailbox.c: "waypost mailbox": accounts and mailboxes of the mail store. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/passwd_file.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "store/store.h"
#include "tools/waypost.h"

enum {
    PASSWD_FILE_MAX = 1 << 28,
    COUNT_AT_ONCE = 16, /* one account after the other waits for threads half of the time */
};

struct job {
    const struct mailbox_command *command;
    int argc;
    char **argv;
    struct store *store;
    struct str account; /* the id of the one that the first argument names */
    struct str ids;     /* account ids, a line each */
    int status;
};

struct mailbox_command {
    const char *name, *arguments, *help;
    int least, most; /* arguments */
    void (*run)(struct job *job);
};

static int complain(const struct job *job, const char *what, int rc)
{
    log_error("%s: %s", what, error_text(rc));
    return 1;
}

static int add_id(void *arg, struct span id)
{
    struct job *job = arg;

    str_append(&job->ids, id);
    return str_append_char(&job->ids, '\n');
}

/* The account named by the first argument. */
static struct store_account *open_account(struct job *job)
{
    struct store_account *a = NULL;
    int rc = store_open(job->store, str_span(&job->account), false, &a);

    if (rc == ERR_NOT_FOUND) {
        log_error("%s: no mail has come yet, and nobody has logged in", job->argv[0]);
        job->status = 1;
    } else if (rc < 0) {
        job->status = complain(job, job->argv[0], rc);
    }
    return rc < 0 ? NULL : a;
}

/* --- commands --- */

static void print_line(const struct store_mailbox *box)
{
    struct str name = {0};

    log_escape(&name, box->name);
    printf("%s messages=%" PRIu64 " unseen=%" PRIu64 " bytes=%" PRIu64 " uidnext=%" PRIu64
           " uidvalidity=%u%s%.*s%s%s\n",
           str_cstr(&name), box->messages, box->unseen, box->bytes, box->uidnext, box->uidvalidity,
           box->special_use.n > 0 ? " " : "", SPAN_ARG(box->special_use),
           box->is_selectable ? "" : " \\Noselect", box->is_subscribed ? " subscribed" : "");
    str_fini(&name);
}

static void run_list(struct job *job)
{
    struct store_account *a;
    struct store_listing list;
    struct arena arena = {0};
    int rc;

    if (job->argc == 0) {
        fputs(str_cstr(&job->ids), stdout);
        return;
    }
    a = open_account(job);
    if (a == NULL)
        return;
    rc = store_list(a, &arena, &list);
    if (rc < 0) {
        job->status = complain(job, job->argv[0], rc);
    } else {
        for (size_t i = 0; i < list.boxes.len; i++)
            print_line(&list.boxes.items[i]);
        store_listing_free(&list);
    }
    arena_reset(&arena);
    store_close(a);
}

static void run_create(struct job *job)
{
    struct store_account *a = NULL;
    int rc = store_open(job->store, str_span(&job->account), true, &a);

    if (rc == 0 && job->argc > 1)
        rc = store_create(a, span_cstr(job->argv[1]), span_cstr(job->argc > 2 ? job->argv[2] : ""));
    if (rc < 0)
        job->status = complain(job, job->argv[job->argc > 1], rc);
    store_close(a);
}

static void run_delete(struct job *job)
{
    struct store_account *a = open_account(job);
    int rc;

    if (a == NULL)
        return;
    rc = store_delete(a, span_cstr(job->argv[1]));
    if (rc < 0)
        job->status = complain(job, job->argv[1], rc);
    store_close(a);
}

static void run_status(struct job *job)
{
    struct store_account *a = open_account(job);
    struct arena arena = {0};
    struct store_mailbox box;
    uint64_t bytes, messages;
    int rc;

    if (a == NULL)
        return;
    if (job->argc > 1) {
        rc = store_find(a, span_cstr(job->argv[1]), &arena, &box);
        if (rc == 0)
            print_line(&box);
    } else {
        rc = store_usage(a, &bytes, &messages);
        if (rc == 0)
            printf("%s messages=%" PRIu64 " bytes=%" PRIu64 "\n", job->argv[0], messages, bytes);
    }
    if (rc < 0)
        job->status = complain(job, job->argv[job->argc > 1], rc);
    arena_reset(&arena);
    store_close(a);
}

static void run_verify(struct job *job)
{
    struct store_account *a = open_account(job);
    struct str report = {0};
    int rc;

    if (a == NULL)
        return;
    rc = store_verify(a, &report);
    fputs(str_cstr(&report), stdout);
    if (rc < 0)
        job->status = complain(job, job->argv[0], rc);
    else if (report.len > 0)
        job->status = 1;
    str_fini(&report);
    store_close(a);
}

static void run_rebuild(struct job *job)
{
    struct store_account *a = open_account(job);
    int rc;

    if (a == NULL)
        return;
    rc = store_rebuild(a);
    if (rc < 0)
        job->status = complain(job, job->argv[0], rc);
    store_close(a);
}

static void run_renew(struct job *job)
{
    struct store_account *a = open_account(job);
    int rc;

    if (a == NULL)
        return;
    rc = store_renew(a);
    if (rc < 0)
        job->status = complain(job, job->argv[0], rc);
    store_close(a);
}

struct count {
    struct job *job;
    struct span rest; /* ids that nobody asks yet */
    uint64_t messages;
};

static void count_some(void *arg)
{
    struct count *c = arg;
    struct span id;

    while (span_token(&c->rest, "\n", &id)) {
        uint64_t bytes = 0, messages = 0;
        int rc = store_usage_of(c->job->store, id, &bytes, &messages);
        /* A directory whose maker died is no account yet. */
        if (rc < 0 && rc != ERR_NOT_FOUND) {
            log_error("%.*s: %s", SPAN_ARG(id), error_text(rc));
            c->job->status = 1;
        }
        c->messages += messages;
    }
}

/* The messages of all accounts: what each journal's last record says. */
static void run_count(struct job *job)
{
    struct count c = {.job = job, .rest = str_span(&job->ids)};
    struct task_group group;

    task_group_init(&group);
    for (size_t i = 0; i < COUNT_AT_ONCE; i++) {
        if (task_group_spawn(&group, "count", count_some, &c) < 0)
            break;
    }
    count_some(&c);
    (void)task_group_wait(&group, DEADLINE_NONE);
    printf("%" PRIu64 "\n", c.messages);
}

static const struct mailbox_command commands[] = {
    {"list", "[account]", "accounts, or the mailboxes of one", 0, 1, run_list},
    {"create", "account [mailbox [special-use]]", "make an account or a mailbox", 1, 3, run_create},
    {"delete", "account mailbox", "delete a mailbox and its messages", 2, 2, run_delete},
    {"status", "account [mailbox]", "messages and bytes", 1, 2, run_status},
    {"verify", "account", "check journal and index", 1, 1, run_verify},
    {"rebuild", "account", "make the index anew from the journal", 1, 1, run_rebuild},
    {"renew", "account", "new UIDVALIDITY, after a restore", 1, 1, run_renew},
    {"count", "", "messages of all accounts", 0, 0, run_count},
};

/* --- the program --- */

/* The account of a user, as auth(8) would find it. */
static int find_account(struct job *job, const struct conf *conf)
{
    const char *path = conf_string(conf, "auth_passwd_file"), *name = job->argv[0];
    struct str text = {0}, problems = {0};
    struct passwd_table *users = NULL;
    struct passwd_entry entry;
    int rc = file_read(path, &text, PASSWD_FILE_MAX);

    if (rc == 0)
        users = passwd_table_parse(str_span(&text), &problems);
    if (rc < 0)
        log_error("auth_passwd_file = %s: %s", path, error_text(rc));
    else if (users == NULL)
        rc = -ENOMEM;
    else if ((rc = passwd_table_find(users, span_cstr(name), &entry)) < 0)
        log_error("%s: no such user; mail of a deleted one is found by the account's id", name);
    else
        rc = str_set(&job->account, entry.account);
    passwd_table_unref(users);
    str_fini(&problems);
    str_fini_secret(&text);
    return rc;
}

/* An account is named by its id or by its user, who has an "@", which no id has. */
static int take_account(struct job *job, const struct conf *conf)
{
    struct span name;

    if (job->argc == 0)
        return 0;
    name = span_cstr(job->argv[0]);
    if (span_find(name, '@') >= 0)
        return find_account(job, conf);
    if (passwd_account_is_valid(name))
        return str_set(&job->account, name);
    log_error("%s: neither a user nor the id of an account", job->argv[0]);
    return ERR_SYNTAX;
}

static int usage(FILE *to)
{
    fputs("usage:", to);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(to, "%swaypost mailbox %-8s%-32s%s\n", i == 0 ? " " : "       ", commands[i].name,
                commands[i].arguments, commands[i].help);
    return 2;
}

/* What this makes must belong to the store's user. */
static int become_owner(int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (geteuid() != 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setgid(st.st_gid) < 0 || setuid(st.st_uid) < 0)
        return -errno;
    return 0;
}

static void serve(void *arg)
{
    struct job *job = arg;

    job->command->run(job);
}

int cmd_mailbox(const struct waypost *w, int argc, char **argv)
{
    struct job job = {.argc = argc - 2, .argv = argv + 2};
    struct store_options options;
    struct conf *conf;
    const char *path;
    int fd, rc;

    for (size_t i = 0; argc > 1 && i < COUNT_OF(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            job.command = &commands[i];
    }
    if (job.command == NULL || job.argc < job.command->least || job.argc > job.command->most)
        return usage(stderr);
    conf = waypost_load(w);
    if (take_account(&job, conf) < 0) {
        str_fini(&job.account);
        conf_free(conf);
        return 1;
    }
    path = conf_string(conf, "store_directory");
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -errno : become_owner(fd, path);
    store_options_load(&options, conf);
    if (rc == 0)
        rc = store_new(&job.store, fd, &options);
    if (rc == 0)
        rc = store_accounts(job.store, add_id, &job);
    if (rc == 0)
        rc = task_runtime_init(NULL);
    if (rc == 0) {
        rc = task_runtime_run(serve, &job);
        task_runtime_fini();
    }
    if (rc < 0)
        job.status = complain(&job, path, rc);
    store_free(job.store);
    str_fini(&job.account);
    str_fini(&job.ids);
    if (fd >= 0)
        close(fd);
    conf_free(conf);
    return job.status;
}
