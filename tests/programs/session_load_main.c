/*
 * session_load_main.c: sessions that keep saying commands, and how long the answers take.
 *
 *     test-session_load PERIOD_MS KIND:PORT:COUNT[:USER] ... -- COMMAND ...
 *
 * COUNT sessions each of a KIND (imap, imaps, smtp) on 127.0.0.1. IMAP sessions are logged
 * in as userUSER, user(USER+1), ... with INBOX selected. Every PERIOD_MS each says the next
 * COMMAND. "ready" is printed when all are logged in; then each line on standard input
 * ends a lap, and its figures are printed as a line of JSON: for each kind the
 * percentiles of its answers, and below "generator" how late this program itself was.
 *
 * An answer that came late counts once for every command that could not be sent
 * meanwhile, as it would have if the commands came from other clients.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "net/listen.h"
#include "net/stream.h"
#include "net/tls.h"

enum {
    TIMEOUT_MS = 60000,
    STEP_US = 10, /* resolution of a histogram; what is beyond its end is in the last step */
    STEPS = 1000000,
    KINDS_MAX = 8,
};

struct histogram {
    uint32_t *counts;
    uint64_t total;
};

struct kind {
    char name[8];
    unsigned port, count, user;
    struct histogram answers;
};

struct session {
    struct kind *kind;
    unsigned number; /* in its kind */
    unsigned place;  /* among all */
    struct stream *stream;
};

static struct {
    int period_ms;
    char **commands;
    unsigned command_count;
    struct kind kinds[KINDS_MAX];
    unsigned kind_count, session_count, ready_count;
    struct tls_context *tls;
    struct histogram lateness;
    struct task_cond all_ready;
} load;

static void must(int rc, const char *what)
{
    if (rc < 0)
        fatal("%s: %s", what, error_text(rc));
}

/* --- figures --- */

static void count_time(struct histogram *h, int64_t us)
{
    int64_t step = us / STEP_US;

    h->counts[step < 0 ? 0 : step < STEPS ? step : STEPS - 1]++;
    h->total++;
}

static double percentile_ms(const struct histogram *h, double share)
{
    uint64_t below = 0;

    for (unsigned i = 0; i < STEPS; i++) {
        below += h->counts[i];
        if (below > 0 && (double)below >= share * (double)h->total)
            return (i + 1) * STEP_US / 1000.0;
    }
    return 0;
}

static void say_histogram(const char *name, struct histogram *h)
{
    printf(
        "\"%s\": {\"p50\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"worst\": %.2f, \"count\": %llu}",
        name, percentile_ms(h, 0.5), percentile_ms(h, 0.99), percentile_ms(h, 0.999),
        percentile_ms(h, 1), (unsigned long long)h->total);
    memset(h->counts, 0, STEPS * sizeof(*h->counts));
    h->total = 0;
}

static void end_lap(void)
{
    printf("{");
    for (unsigned i = 0; i < load.kind_count; i++) {
        say_histogram(load.kinds[i].name, &load.kinds[i].answers);
        printf(", ");
    }
    say_histogram("generator", &load.lateness);
    printf("}\n");
    fflush(stdout);
}

/* --- a session --- */

static bool is_imap(const struct kind *k)
{
    return k->name[0] == 'i';
}

/* The last line of the answer: SMTP's without a hyphen, IMAP's with the tag. */
static void read_answer(struct session *s)
{
    struct span line;

    do {
        must(stream_read_line(s->stream, 65536, &line, deadline_in(TIMEOUT_MS)), s->kind->name);
    } while (is_imap(s->kind) ? !span_starts(line, SPAN_LIT("t "))
                              : line.n > 3 && line.p[3] == '-');
    if (is_imap(s->kind) ? !span_starts(line, SPAN_LIT("t OK")) : line.p[0] != '2')
        fatal("%s: %.*s", s->kind->name, (int)line.n, line.p);
}

static void say(struct session *s, const char *command)
{
    must(stream_printf(s->stream, deadline_in(TIMEOUT_MS), "%s%s\r\n", is_imap(s->kind) ? "t " : "",
                       command),
         s->kind->name);
    must(stream_flush(s->stream, deadline_in(TIMEOUT_MS)), s->kind->name);
    read_answer(s);
}

static void begin(struct session *s)
{
    struct net_address server;
    struct span greeting;
    char login[64];
    int fd;

    must(net_address_parse(SPAN_LIT("127.0.0.1"), &server), "address");
    server.port = (uint16_t)s->kind->port;
    must(net_connect(&fd, &server, NULL, deadline_in(TIMEOUT_MS)), "connect");
    must(stream_new(&s->stream, fd, NULL), "stream");
    if (strcmp(s->kind->name, "imaps") == 0)
        must(stream_start_tls_client(s->stream, load.tls, "", deadline_in(TIMEOUT_MS)), "TLS");
    must(stream_read_line(s->stream, 4096, &greeting, deadline_in(TIMEOUT_MS)), "greeting");
    if (!is_imap(s->kind)) {
        say(s, "EHLO load.test");
        return;
    }
    snprintf(login, sizeof(login), "LOGIN user%u pw", s->kind->user + s->number);
    say(s, login);
    say(s, "SELECT INBOX");
}

static void count_answer(struct session *s, int64_t us)
{
    int64_t period_us = load.period_ms * 1000;

    for (; us >= 0; us -= period_us) {
        count_time(&s->kind->answers, us);
        if (us < period_us)
            break;
    }
}

static void run_session(void *arg)
{
    struct session *s = arg;
    unsigned next = s->place;
    deadline_t due;

    begin(s);
    if (++load.ready_count == load.session_count)
        task_cond_broadcast(&load.all_ready);
    /* The sessions' commands are spread over the period. */
    due = deadline_in(load.period_ms * (int)s->place / (int)load.session_count);
    for (;;) {
        must(task_sleep(due), "sleep");
        int64_t sent = clock_mono_us();
        count_time(&load.lateness, sent - due * 1000);
        say(s, load.commands[next++ % load.command_count]);
        count_answer(s, clock_mono_us() - sent);
        due += load.period_ms;
        if (due < clock_mono_ms())
            due = clock_mono_ms();
    }
}

/* --- all of them --- */

static void spawn_all(struct task_group *group)
{
    for (unsigned k = 0, place = 0; k < load.kind_count; k++) {
        for (unsigned i = 0; i < load.kinds[k].count; i++) {
            struct session *s = NEW_OR_DIE(struct session);
            *s = (struct session){.kind = &load.kinds[k], .number = i, .place = place++};
            must(task_group_spawn(group, "session", run_session, s), "spawn");
        }
    }
}

static void run_all(void *arg)
{
    struct task_group group;
    struct stream *input;
    struct span line;

    task_cond_init(&load.all_ready);
    task_group_init(&group);
    spawn_all(&group);
    while (load.ready_count < load.session_count)
        must(task_cond_wait(&load.all_ready, DEADLINE_NONE), "ready");
    printf("ready\n");
    fflush(stdout);
    must(stream_new(&input, STDIN_FILENO, NULL), "standard input");
    while (stream_read_line(input, 64, &line, DEADLINE_NONE) == 0)
        end_lap();
    exit(EXIT_SUCCESS); /* in the middle of what the sessions say */
}

static void take_kind(const char *text)
{
    struct kind *k = &load.kinds[load.kind_count++];

    if (sscanf(text, "%7[^:]:%u:%u:%u", k->name, &k->port, &k->count, &k->user) < 3)
        fatal("%s: not KIND:PORT:COUNT:USER", text);
    load.session_count += k->count;
    k->answers.counts = mem_new_or_die(STEPS * sizeof(uint32_t));
}

int main(int argc, char **argv)
{
    struct task_options options = {.has_no_watchdog = true};
    struct tls_options tls_options = {.level = TLS_LEVEL_MAY};
    struct str why = {0};
    int i = 2;

    for (; i < argc && strcmp(argv[i], "--") != 0 && load.kind_count < KINDS_MAX; i++)
        take_kind(argv[i]);
    if (i + 1 >= argc || load.session_count == 0 || (load.period_ms = atoi(argv[1])) <= 0)
        fatal("usage: test-session_load PERIOD_MS KIND:PORT:COUNT[:USER] ... -- COMMAND ...");
    load.commands = argv + i + 1;
    load.command_count = (unsigned)(argc - i - 1);
    load.lateness.counts = mem_new_or_die(STEPS * sizeof(uint32_t));
    signal(SIGPIPE, SIG_IGN);
    must(tls_context_new_client(&load.tls, &tls_options, &why), "TLS");
    must(task_runtime_init(&options), "runtime");
    must(task_runtime_run(run_all, NULL), "run");
    return 1; /* run_all() ends the process */
}
