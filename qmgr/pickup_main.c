/* pickup: takes what sendmail(1) dropped into the queue. See pickup(8). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "intake/intake.h"
#include "mail/address.h"
#include "map/map.h"
#include "qmgr/submit.h"
#include "queue/drop.h"
#include "queue/queue.h"
#include "route/route.h"
#include "service/service.h"

enum { READ_PIECE = 32768, NAME_MAX_OCTETS = 64 };
#define ASIDE ".bad"

static struct {
    struct intake_options intake;
    struct route *route;
    struct queue_client *queue;
    const char *myhostname, *mail_name;
    int64_t ipc_timeout_ms;
    int maildrop;
    bool is_scanning, is_scan_wanted;
} pickup = {.maildrop = -1};

/* --- reading on a worker --- */

struct file {
    char name[NAME_MAX_OCTETS];
    int fd;
    struct stat st;
    uint64_t offset;
    char *buf;
    ssize_t got;
    int rc;
};

/* Only what postdrop made, complete, and by nobody's trick a link. */
static void run_open(void *arg)
{
    struct file *f = arg;

    f->fd = openat(pickup.maildrop, f->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    f->rc = f->fd < 0 || fstat(f->fd, &f->st) < 0 ? -errno : 0;
    if (f->rc == 0 && (!S_ISREG(f->st.st_mode) || f->st.st_nlink != 1))
        f->rc = ERR_DENIED;
    else if (f->rc == 0 && (f->st.st_mode & S_IXUSR) == 0)
        f->rc = ERR_NOT_FOUND; /* still being written */
}

static void run_read(void *arg)
{
    struct file *f = arg;

    f->got = pread(f->fd, f->buf, READ_PIECE, (off_t)f->offset);
    f->rc = f->got < 0 ? -errno : 0;
    f->offset += f->got > 0 ? (uint64_t)f->got : 0;
}

static int read_piece(struct file *f)
{
    int rc = task_offload(TASK_POOL_STORE, run_read, f);

    return rc < 0 ? rc : f->rc;
}

/* --- the envelope --- */

/* The attributes at the front, and what of the content came with them. */
static int read_head(struct file *f, struct str *front, struct drop *d, size_t *used)
{
    int rc = ERR_TRUNCATED;

    while (rc == ERR_TRUNCATED) {
        rc = read_piece(f);
        if (rc < 0)
            return rc;
        if (f->got == 0)
            return ERR_CORRUPT;
        rc = str_append(front, span_make(f->buf, (size_t)f->got));
        if (rc < 0)
            return rc;
        drop_fini(d);
        rc = drop_decode(d, str_span(front), used);
    }
    return rc;
}

static int set_sender(struct queue_message *m, const struct drop *d, uid_t uid)
{
    struct str text = {0}, address = {0};
    struct passwd *user = d->is_sender_set ? NULL : getpwuid(uid);

    if (d->is_sender_set)
        str_append(&text, d->sender);
    else if (user != NULL)
        str_append_cstr(&text, user->pw_name);
    else
        str_printf(&text, "%u", (unsigned)uid);
    int rc = text.len == 0
                 ? 0
                 : route_rewrite(pickup.route, ROUTE_CONTEXT_LOCAL, str_span(&text), &address);
    if (rc == 0)
        rc = arena_copy(&m->arena, str_span(&address), &m->sender);
    str_fini(&text);
    str_fini(&address);
    return rc;
}

static int fill_message(struct queue_message *m, const struct drop *d, uid_t uid)
{
    int rc = set_sender(m, d, uid);

    m->ret = d->ret.n == 0        ? QUEUE_RETURN_UNSET
             : d->ret.p[0] == 'f' ? QUEUE_RETURN_FULL
                                  : QUEUE_RETURN_HEADERS;
    m->flags = d->is_smtputf8 ? QUEUE_MESSAGE_SMTPUTF8 : 0;
    m->rewrite_context = SPAN_LIT("local");
    if (rc == 0)
        rc = arena_copy(&m->arena, d->envid, &m->envid);
    for (size_t i = 0; rc == 0 && i < d->recipients.len; i++) {
        size_t before = m->recipients.len;

        rc = submit_add_recipient(m, pickup.route, d->recipients.items[i]);
        for (size_t k = before; k < m->recipients.len; k++)
            m->recipients.items[k].notify = d->notify;
    }
    return rc == 0 && m->recipients.len == 0 ? ERR_CORRUPT : rc;
}

/* --- the content --- */

static int sink(void *arg, struct span octets)
{
    return queue_upload_append(arg, octets);
}

static int insert(void *arg, uint64_t at, struct span octets)
{
    return queue_upload_insert(arg, at, octets);
}

/* Lines as this system ends them become lines as mail has them. */
static int feed_local(struct intake *in, struct span text, char *last)
{
    struct str wire = {0};
    int rc = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n' && *last != '\r')
            str_append_char(&wire, '\r');
        str_append_char(&wire, text.p[i]);
        *last = text.p[i];
    }
    rc = str_error(&wire) < 0 ? str_error(&wire) : intake_feed(in, str_span(&wire));
    str_fini(&wire);
    return rc;
}

static int add_received(struct intake *in, const struct file *f, const char *id, int64_t now_s)
{
    struct str field = {0};

    str_printf(&field, "Received: by %s (%s, from userid %u)\r\n\tid %s; ", pickup.myhostname,
               pickup.mail_name, (unsigned)f->st.st_uid, id);
    intake_print_date(&field, now_s);
    str_append_cstr(&field, "\r\n");
    int rc = str_error(&field) < 0 ? str_error(&field) : intake_prepend(in, str_span(&field));
    str_fini(&field);
    return rc;
}

static int read_content(struct file *f, struct intake *in, struct span first)
{
    char last = '\n';
    int rc = feed_local(in, first, &last);

    while (rc == 0 && (rc = read_piece(f)) == 0 && f->got > 0)
        rc = feed_local(in, span_make(f->buf, (size_t)f->got), &last);
    if (rc == 0 && last != '\n')
        rc = feed_local(in, SPAN_LIT("\n"), &last);
    return rc == 0 ? intake_finish(in) : rc;
}

/* --- one file --- */

static int submit(struct file *f, const struct drop *d, struct span first)
{
    struct queue_message m;
    struct queue_upload *u = NULL;
    struct str sender = {0};
    struct intake in;
    char id[QUEUE_ID_TEXT_MAX];

    queue_message_init(&m, NULL);
    int rc = queue_take_id(pickup.queue, &m.id);
    if (rc == 0)
        rc = queue_upload_begin(&u, pickup.queue, NULL);
    if (rc < 0)
        return rc;
    queue_id_format(id, m.id);
    m.arrival_us = (int64_t)f->st.st_mtime * 1000000;
    rc = fill_message(&m, d, f->st.st_uid);
    if (rc == 0)
        rc = address_print_text(&sender, m.sender);
    struct intake_facts facts = {.queue_id = span_cstr(id),
                                 .sender = str_span(&sender),
                                 .full_name = d->full_name,
                                 .arrival_s = clock_wall_s(),
                                 .is_local = true};
    log_info("%s: uid=%u from=<%.*s>", id, (unsigned)f->st.st_uid, SPAN_ARG(m.sender));
    intake_begin(&in, &pickup.intake, &facts, sink, insert, u, NULL);
    if (rc == 0)
        rc = add_received(&in, f, id, facts.arrival_s);
    if (rc == 0)
        rc = read_content(f, &in, first);
    if (rc == 0 && in.verdict != INTAKE_ACCEPT) {
        log_warn("%s: %s: %s", id, f->name, intake_verdict_reply(in.verdict));
        rc = ERR_LIMIT;
    }
    m.message_id = str_span(&in.message_id);
    if (rc == 0)
        rc = queue_commit(pickup.queue, &m, u);
    else
        queue_upload_abort(u);
    intake_fini(&in);
    str_fini(&sender);
    queue_message_fini(&m);
    return rc;
}

/* Cannot be mail, and never will be: kept for the admin, not tried again. The file is
 * its sender's, so its name says so, not its mode. */
static void set_aside(const struct file *f, int error)
{
    char aside[NAME_MAX_OCTETS + sizeof(ASIDE)];

    snprintf(aside, sizeof(aside), "%s%s", f->name, ASIDE);
    if (renameat(pickup.maildrop, f->name, pickup.maildrop, aside) < 0)
        log_error("maildrop/%s: %s; cannot be set aside: %s", f->name, error_text(error),
                  error_text(-errno));
    else
        log_error("maildrop/%s: %s: set aside as %s", f->name, error_text(error), aside);
}

static void take_file(const char *name)
{
    struct file f = {.fd = -1, .buf = malloc(READ_PIECE)};
    struct str front = {0};
    struct drop d = {0};
    size_t used = 0;

    if (f.buf == NULL || strlen(name) >= sizeof(f.name))
        goto out;
    strcpy(f.name, name);
    int rc = task_offload(TASK_POOL_STORE, run_open, &f);
    if (rc == 0)
        rc = f.rc;
    if (rc < 0) {
        if (rc == ERR_DENIED)
            log_warn("maildrop/%s is not a file that postdrop made: ignored", name);
        goto out;
    }
    front.max = DROP_HEAD_MAX + READ_PIECE;
    rc = read_head(&f, &front, &d, &used);
    if (rc == 0)
        rc = submit(&f, &d, span_drop(str_span(&front), used));
    if (rc == 0)
        unlinkat(pickup.maildrop, f.name, 0);
    else if (rc == ERR_CORRUPT || rc == ERR_SYNTAX || rc == ERR_LIMIT || rc == ERR_TOO_LONG)
        set_aside(&f, rc);
    else
        log_warn("maildrop/%s: %s: will be tried again", f.name, error_text(rc));
out:
    drop_fini(&d);
    str_fini(&front);
    fd_close(&f.fd);
    free(f.buf);
}

/* --- the folder --- */

struct names {
    char **items;
    size_t len, cap;
};

static void run_list(void *arg)
{
    struct names *names = arg;
    int fd = openat(pickup.maildrop, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *item;

    if (d == NULL) {
        fd_close(&fd);
        return;
    }
    while ((item = readdir(d)) != NULL) {
        struct stat st;

        if (item->d_name[0] == '.' || span_iends(span_cstr(item->d_name), SPAN_LIT(ASIDE)) ||
            fstatat(pickup.maildrop, item->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            (st.st_mode & S_IXUSR) == 0)
            continue;
        char **slot = array_push(names);
        if (slot != NULL)
            *slot = mem_strdup(span_cstr(item->d_name));
    }
    closedir(d);
}

static void scan(void)
{
    struct names names = {0};

    task_offload(TASK_POOL_STORE, run_list, &names);
    for (size_t i = 0; i < names.len; i++) {
        if (names.items[i] != NULL && !task_is_cancelled())
            take_file(names.items[i]);
        free(names.items[i]);
    }
    array_free(&names);
}

/* One scan at a time; whoever asks meanwhile gets another one behind it. */
static void scan_once(void)
{
    pickup.is_scan_wanted = true;
    if (pickup.is_scanning)
        return;
    pickup.is_scanning = true;
    while (pickup.is_scan_wanted && !task_is_cancelled()) {
        pickup.is_scan_wanted = false;
        scan();
    }
    pickup.is_scanning = false;
}

/* --- the service --- */

static int on_load(const struct conf *conf, struct str *why)
{
    int rc;

    map_ask_broker();
    rc = route_load(&pickup.route, conf, why);
    intake_options_load(&pickup.intake, conf, pickup.route);
    pickup.myhostname = conf_string(conf, "myhostname");
    pickup.mail_name = conf_string(conf, "mail_name");
    pickup.ipc_timeout_ms = conf_ms(conf, "ipc_timeout");
    return rc;
}

static int on_start(const struct conf *conf)
{
    pickup.maildrop = openat(service_directory("queue_directory"), "maildrop",
                             O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pickup.maildrop < 0) {
        log_error("cannot open maildrop: %s", error_text(-errno));
        return -errno;
    }
    map_on_change(service_give_up);
    pickup.queue = queue_client_new("qmgr", pickup.ipc_timeout_ms);
    return pickup.queue == NULL ? -ENOMEM : 0;
}

/* postdrop connects, and says by that that there is something. */
static void on_client(struct service_client *client)
{
    fd_close(&client->fd);
    scan_once();
}

static void on_stop(void)
{
    queue_client_free(pickup.queue);
    route_free(pickup.route);
    fd_close(&pickup.maildrop);
}

static const char *const paths[] = {"queue_directory", NULL};

static const struct service pickup_service = {
    .name = "pickup",
    .kind = SERVICE_SINGLE,
    .user_parameter = "waypost_queue_user",
    .rights = SERVICE_FILES,
    .paths = paths,
    .on_load = on_load,
    .on_start = on_start,
    .on_client = on_client,
    .on_wakeup = scan_once,
    .on_stop = on_stop,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &pickup_service);
}
