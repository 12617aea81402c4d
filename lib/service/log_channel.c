#include "service/log_channel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "task/task.h"

enum {
    BACKLOG_MAX = 1 << 20, /* octets of packets that wait for room in the socket */
    RETRY_MS = 20,
    CLOSE_MS = 1000, /* what a process that ends gives them */
};

enum sending { SENT, FULL, AWAY };

/* In front of each packet of the backlog. */
struct backlog_head {
    uint32_t octets, lines;
};

static struct {
    pthread_mutex_t mutex; /* lines come from worker threads too */
    int fd;
    char path[108];
    bool is_stderr_wanted;
    bool is_batching;
    pthread_t loop_thread;
    int64_t next_connect_ms;
    struct str batch;
    size_t batch_lines;
    struct str backlog; /* packets, each behind its head; the first ones were sent */
    size_t backlog_sent;
    uint64_t dropped, dropped_untold;
    struct task_turn_hook hook;
    struct task_timer retry; /* of the loop thread */
} channel = {.mutex = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void connect_channel(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int64_t now = clock_mono_ms();

    if (channel.fd >= 0 || now < channel.next_connect_ms)
        return;
    channel.next_connect_ms = now + 1000;
    channel.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (channel.fd < 0)
        return;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", channel.path);
    if (connect(channel.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fd_close(&channel.fd);
}

static void drop_lines(uint64_t count)
{
    channel.dropped += count;
    channel.dropped_untold += count;
}

/* One packet, with the mutex held. */
static enum sending send_packet(struct span packet)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        connect_channel();
        if (channel.fd < 0)
            return AWAY;
        if (send(channel.fd, packet.p, packet.n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return SENT;
        if (errno == EMSGSIZE) { /* it never will: no record is that long */
            drop_lines(1);
            return SENT;
        }
        if (errno == EAGAIN || errno == ENOBUFS)
            return FULL;
        /* postlogd ended: its successor has the same listener. */
        fd_close(&channel.fd);
        channel.next_connect_ms = 0;
    }
    return AWAY;
}

/* False while something waits. */
static bool send_backlog(void)
{
    while (channel.backlog_sent < channel.backlog.len) {
        struct span rest = span_drop(str_span(&channel.backlog), channel.backlog_sent);
        struct backlog_head head;

        memcpy(&head, rest.p, sizeof(head));
        if (send_packet(span_take(span_drop(rest, sizeof(head)), head.octets)) != SENT)
            return false;
        channel.backlog_sent += sizeof(head) + head.octets;
    }
    str_fini(&channel.backlog);
    channel.backlog_sent = 0;
    return true;
}

static void put_off(struct span packet, size_t lines)
{
    struct backlog_head head = {(uint32_t)packet.n, (uint32_t)lines};

    str_drop_front(&channel.backlog, channel.backlog_sent);
    channel.backlog_sent = 0;
    if (channel.backlog.len + sizeof(head) + packet.n > BACKLOG_MAX ||
        str_reserve(&channel.backlog, sizeof(head) + packet.n) < 0) {
        channel.backlog.error = 0;
        drop_lines(lines);
        return;
    }
    str_append(&channel.backlog, span_make(&head, sizeof(head)));
    str_append(&channel.backlog, packet);
}

static void tell_dropped(void)
{
    struct str packet = {0};
    char text[80];
    struct log_record record = {LOG_LEVEL_WARN, clock_wall_us(), span_cstr(log_tag()), SPAN_NONE};

    snprintf(text, sizeof(text), "warning: %llu log lines were dropped: the log is too slow",
             (unsigned long long)channel.dropped_untold);
    record.text = span_cstr(text);
    if (log_record_encode(&packet, &record) == 0 && send_packet(str_span(&packet)) == SENT)
        channel.dropped_untold = 0;
    str_fini(&packet);
}

/* In order: what was put off, how many lines are missing behind it, what is new. */
static void send_batch(void)
{
    bool is_free = send_backlog();
    enum sending result = FULL;

    if (is_free && channel.dropped_untold > 0)
        tell_dropped();
    if (channel.batch_lines == 0)
        return;
    if (is_free && channel.dropped_untold == 0)
        result = send_packet(str_span(&channel.batch));
    if (result == AWAY && channel.is_stderr_wanted) {
        if (write(STDERR_FILENO, str_cstr(&channel.batch), channel.batch.len) < 0)
            errno = 0; /* there is nobody left to tell */
    } else if (result != SENT && channel.dropped_untold > 0) {
        drop_lines(channel.batch_lines); /* behind those that are missing already */
    } else if (result != SENT) {
        put_off(str_span(&channel.batch), channel.batch_lines);
    }
    str_clear(&channel.batch);
    channel.batch_lines = 0;
}

/* A process that has nothing more to log still sends what waits. */
static void plan_retry(void)
{
    bool is_waiting = channel.backlog.len > 0 || channel.dropped_untold > 0;

    if (is_waiting && !channel.retry.is_armed)
        task_timer_set(&channel.retry, deadline_in(RETRY_MS));
}

static void retry_expired(struct task_timer *timer)
{
    log_channel_flush();
    plan_retry();
}

static void flush_turn(struct task_turn_hook *hook)
{
    log_channel_flush();
    plan_retry();
}

static void take_line(void *arg, enum log_level level, struct span text)
{
    struct log_record record = {level, clock_wall_us(), span_cstr(log_tag()), text};
    bool is_urgent = level >= LOG_LEVEL_ERROR;
    size_t before;

    pthread_mutex_lock(&channel.mutex);
    if (channel.batch.len + text.n + 256 > LOG_CHANNEL_PACKET_MAX)
        send_batch();
    before = channel.batch.len;
    if (log_record_encode(&channel.batch, &record) == 0) {
        channel.batch_lines++;
    } else {
        str_truncate(&channel.batch, before);
        channel.batch.error = 0;
        drop_lines(1);
    }
    /* What may be the last line of this process does not wait for the turn's
     * end, and a worker thread cannot ask for it. */
    if (!channel.is_batching || is_urgent || !pthread_equal(pthread_self(), channel.loop_thread))
        send_batch();
    else
        /* What was done is in the log before anybody is told and logs what follows. */
        task_turn_end_first(&channel.hook);
    pthread_mutex_unlock(&channel.mutex);
}

void log_channel_open(const char *path, bool is_stderr_wanted)
{
    snprintf(channel.path, sizeof(channel.path), "%s", path);
    channel.is_stderr_wanted = is_stderr_wanted;
    channel.hook.flush = flush_turn;
    channel.retry.expired = retry_expired;
    pthread_mutex_lock(&channel.mutex);
    connect_channel();
    pthread_mutex_unlock(&channel.mutex);
    log_set_sink(take_line, NULL);
}

void log_channel_batch(void)
{
    channel.loop_thread = pthread_self();
    channel.is_batching = true;
}

void log_channel_flush(void)
{
    pthread_mutex_lock(&channel.mutex);
    send_batch();
    pthread_mutex_unlock(&channel.mutex);
}

uint64_t log_channel_dropped(void)
{
    return channel.dropped;
}

void log_channel_close(void)
{
    deadline_t end = deadline_in(CLOSE_MS);

    log_set_sink(NULL, NULL);
    pthread_mutex_lock(&channel.mutex);
    send_batch();
    while (!send_backlog() && channel.fd >= 0 && clock_mono_ms() < end) {
        struct pollfd room = {.fd = channel.fd, .events = POLLOUT};
        poll(&room, 1, RETRY_MS);
    }
    channel.is_batching = false;
    fd_close(&channel.fd);
    str_fini(&channel.batch);
    str_fini(&channel.backlog);
    channel.backlog_sent = 0;
    pthread_mutex_unlock(&channel.mutex);
}
