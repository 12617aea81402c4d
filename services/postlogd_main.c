/*
 * postlogd_main.c: the owner of the log. Takes packets of lines from every
 * process of the suite (service/log_channel.h) and writes them; nobody waits for
 * it. After a rotation SIGHUP or a reload makes a new process, which opens the
 * file anew.
 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "service/log_channel.h"
#include "service/service.h"
#include "services/log_file.h"
#include "services/log_order.h"

enum {
    PEER_GROUPS_MAX = 64,
    NAP_MS = 4,   /* between looks at a connection: what comes meanwhile is read at once */
    HOLD_MS = 12, /* more than a nap and what the loop may be late with another connection */
};

static gid_t shared_gid = (gid_t)-1;

/* --- writing, on a worker --- */

static struct writer {
    struct task_job job;
    struct str batch;
    int result;
    bool is_busy;
} writer;
static struct task_turn_hook turn;

static void write_batch(struct task_job *job)
{
    writer.result = log_file_write_batch(&writer.batch);
}

static void start_writing(struct task_turn_hook *hook);

static void batch_written(struct task_job *job)
{
    log_file_give(&writer.batch, writer.result);
    writer.is_busy = false;
    start_writing(&turn);
}

static void start_writing(struct task_turn_hook *hook)
{
    if (writer.is_busy || log_file_pending() == 0)
        return;
    log_file_take(&writer.batch);
    writer.job.run = write_batch;
    writer.job.done = batch_written;
    writer.is_busy = task_offload_start(TASK_POOL_SYNC, &writer.job) == 0;
    /* No thread to be had: better slow than lost. */
    if (!writer.is_busy)
        log_file_give(&writer.batch, log_file_write_batch(&writer.batch));
}

/* --- in order of time --- */

static struct log_order held;
static struct task_timer hold;

static void write_line(const struct log_line *line)
{
    log_file_write(line->level, line->wall_us, line->tag, line->pid, line->text);
}

static void release_lines(struct task_timer *timer)
{
    log_order_release(&held, clock_mono_ms() - HOLD_MS + 1, write_line);
    if (held.lines.len > 0)
        task_timer_set(&hold, deadline_in(HOLD_MS));
    start_writing(&turn);
}

static void take_line(const struct log_line *line)
{
    if (log_order_add(&held, line, clock_mono_ms()) < 0) {
        log_order_release(&held, INT64_MAX, write_line);
        write_line(line);
        task_turn_end(&turn);
    } else if (held.lines.len == 1) {
        task_timer_set(&hold, deadline_in(HOLD_MS));
    }
}

/* Its own lines go the same way. */
static void own_line(void *arg, enum log_level level, struct span text)
{
    struct log_line line = {level, clock_wall_us(), getpid(), span_cstr(log_tag()), text};

    if (level >= LOG_LEVEL_FATAL || task_self() == NULL) {
        log_order_release(&held, INT64_MAX, write_line);
        write_line(&line);
        log_file_flush();
    } else {
        take_line(&line);
    }
}

/* --- taking --- */

struct peer {
    pid_t pid;
    char foreign_tag[48]; /* for processes that are not the suite's */
};

static bool is_of_suite(int fd, const struct ucred *who)
{
    gid_t groups[PEER_GROUPS_MAX];
    socklen_t size = sizeof(groups);

    if (who->uid == 0 || who->uid == geteuid() || who->gid == shared_gid)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return false;
    for (size_t i = 0; i < size / sizeof(groups[0]); i++) {
        if (groups[i] == shared_gid)
            return true;
    }
    return false;
}

/* Who it is comes from the kernel: anybody may connect, and nobody can write in
 * another's name. */
static void identify(int fd, struct peer *peer)
{
    struct ucred who = {0};
    socklen_t size = sizeof(who);

    *peer = (struct peer){0};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        who.uid = (uid_t)-1;
    peer->pid = who.pid;
    if (!is_of_suite(fd, &who))
        snprintf(peer->foreign_tag, sizeof(peer->foreign_tag), "uid=%ld", (long)who.uid);
}

static void take_packet(const struct peer *peer, struct span packet)
{
    struct log_record record;
    int code;

    while ((code = log_record_decode(&packet, &record)) == 0) {
        struct str text = {0}, tag = {0};
        struct log_line line = {.level = record.level, .wall_us = record.wall_us, .pid = peer->pid};

        log_escape(&text, record.text);
        if (peer->foreign_tag[0] != '\0') {
            /* Neither the level nor the time of a stranger counts. */
            str_append_cstr(&tag, peer->foreign_tag);
            line.level = LOG_LEVEL_INFO;
            line.wall_us = clock_wall_us();
        } else {
            log_escape(&tag, record.tag);
        }
        line.tag = str_span(&tag);
        line.text = str_span(&text);
        take_line(&line);
        str_fini(&text);
        str_fini(&tag);
    }
}

/* What is there: 0 when nothing is any more, negative at the end. */
static int take_all(int fd, const struct peer *peer)
{
    static char packet[LOG_CHANNEL_PACKET_MAX]; /* used up before the next wait */
    ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

    if (n > 0) {
        take_packet(peer, span_make(packet, (size_t)n));
        return 1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : ERR_EOF;
}

/* All connections are looked at in the same turn. Without this each packet of each
 * process woke postlogd: a fifth to a half of its time. */
static int nap(void)
{
    int64_t now = clock_mono_ms();

    return task_sleep(deadline_in(NAP_MS - now % NAP_MS));
}

static void serve(struct service_client *client)
{
    struct peer peer;
    struct task_fd fd;
    int code = task_fd_init(&fd, client->fd);

    identify(client->fd, &peer);
    while (code >= 0) {
        bool is_more = false;

        while ((code = take_all(client->fd, &peer)) > 0 && (code = task_breathe()) >= 0)
            is_more = true;
        if (code == 0)
            code = is_more ? nap() : task_fd_wait(&fd, TASK_READABLE, DEADLINE_NONE);
    }
    /* Told to end: from here on the sender's next line fails and goes to the next
     * postlogd; what it sent before is still written. */
    shutdown(client->fd, SHUT_RD);
    while (code != ERR_EOF && take_all(client->fd, &peer) > 0)
        ;
    task_fd_fini(&fd);
    fd_close(&client->fd);
}

/* --- life --- */

static int load(const struct conf *conf, struct str *why)
{
    const struct group *group = getgrnam(conf_string(conf, "waypost_user"));
    int code = log_file_open(conf, why);

    if (group != NULL)
        shared_gid = group->gr_gid;
    turn.flush = start_writing;
    hold.expired = release_lines;
    if (code == 0)
        log_set_sink(own_line, NULL);
    return code;
}

static void reopen(int signo)
{
    service_give_up("SIGHUP: the next one opens the log anew");
}

static int start(const struct conf *conf)
{
    return task_signal(SIGHUP, reopen);
}

static void stop(void)
{
    while (writer.is_busy)
        task_sleep(deadline_in(5));
    task_timer_clear(&hold);
    log_order_release(&held, INT64_MAX, write_line);
    log_file_flush();
}

static const struct service postlogd_service = {
    .name = "postlogd",
    .kind = SERVICE_SINGLE,
    .user_parameter = "waypost_log_user",
    .tasks = {.threads = {[TASK_POOL_SYNC] = 1}},
    .on_load = load,
    .on_start = start,
    .on_client = serve,
    .on_stop = stop,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &postlogd_service);
}
