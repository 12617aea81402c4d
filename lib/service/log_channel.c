#include "service/log_channel.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "task/task.h"

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
    uint64_t dropped, dropped_untold;
    struct task_turn_hook hook;
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

/* One packet, with the mutex held. False when it did not get through. */
static bool send_packet(struct span packet)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        connect_channel();
        if (channel.fd < 0)
            return false;
        if (send(channel.fd, packet.p, packet.n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return true;
        if (errno == EAGAIN || errno == ENOBUFS || errno == EMSGSIZE)
            return false;
        /* postlogd ended: its successor has the same listener. */
        fd_close(&channel.fd);
        channel.next_connect_ms = 0;
    }
    return false;
}

static void tell_dropped(void)
{
    struct str packet = {0};
    char text[80];
    struct log_record record = {LOG_LEVEL_WARN, clock_wall_us(), span_cstr(log_tag()), SPAN_NONE};

    snprintf(text, sizeof(text), "warning: %llu log lines were dropped: the log is too slow",
             (unsigned long long)channel.dropped_untold);
    record.text = span_cstr(text);
    if (log_record_encode(&packet, &record) == 0 && send_packet(str_span(&packet)))
        channel.dropped_untold = 0;
    str_fini(&packet);
}

static void send_batch(void)
{
    if (channel.batch_lines == 0)
        return;
    if (channel.dropped_untold > 0)
        tell_dropped();
    if (channel.dropped_untold > 0 || !send_packet(str_span(&channel.batch))) {
        if (channel.is_stderr_wanted && channel.fd < 0) {
            if (write(STDERR_FILENO, str_cstr(&channel.batch), channel.batch.len) < 0)
                errno = 0; /* there is nobody left to tell */
        } else {
            channel.dropped += channel.batch_lines;
            channel.dropped_untold += channel.batch_lines;
        }
    }
    str_clear(&channel.batch);
    channel.batch_lines = 0;
}

static void flush_turn(struct task_turn_hook *hook)
{
    log_channel_flush();
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
        channel.dropped++;
        channel.dropped_untold++;
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
    log_set_sink(NULL, NULL);
    pthread_mutex_lock(&channel.mutex);
    send_batch();
    channel.is_batching = false;
    fd_close(&channel.fd);
    str_fini(&channel.batch);
    pthread_mutex_unlock(&channel.mutex);
}
