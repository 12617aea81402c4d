/* Connections that go from one delivery to the next, and envelopes that overlap the end of
 * the data before them; several hosts for one delivery. */
#include "tests/unit/smtp/support_world.h"

#include <errno.h>
#include <stdio.h>

#define HOST "mx.remote.test[192.0.2.1]"
#define NAMES                                                             \
    "remote.test MX 10 mx.remote.test\nremote.test MX 20 b.remote.test\n" \
    "mx.remote.test A 192.0.2.1\nb.remote.test A 192.0.2.2\nother.test A 192.0.2.9\n"
#define HELLO "220 mx.remote.test ESMTP\r\n250-mx.remote.test\r\n250 PIPELINING\r\n"
#define OK "250 2.0.0 Ok\r\n"
#define GO "354 go\r\n"
#define TAKEN PEER_PAUSE OK OK GO OK
#define NEXT OK OK GO OK /* asked for together with the verdict before */
#define EHLO "EHLO me.example.test\r\n"
#define SEND(x) "MAIL FROM:<a@b.test>\r\nRCPT TO:<" x "@remote.test>\r\nDATA\r\nx\r\n.\r\n"
#define ENVELOPE(x) "MAIL FROM:<a@b.test>\r\nRCPT TO:<" x "@remote.test>\r\nDATA\r\n"
#define SENT(x) x "@remote.test sent 2.0.0 relay (250 2.0.0 Ok)\n"
#define TO(x)                                                                           \
    {                                                                                   \
        .next_hop = "remote.test", .sender = "a@b.test", .recipients = x "@remote.test" \
    }
#define SLOW_OVERLAP "smtp_overlap_latency_limit = 60000\n"

static const struct row {
    const char *name, *main_cf;
    struct world_server servers[WORLD_SERVERS];
    struct world_job jobs[WORLD_JOBS];
    bool at_once;
    const char *sent[3];
    const char *results;
    const char *log; /* a piece of it */
} rows[] = {
    {"one after the other over one connection",
     NULL,
     {{"192.0.2.1", HELLO TAKEN TAKEN, -ETIMEDOUT}},
     {TO("a"), TO("b")},
     false,
     {EHLO SEND("a") SEND("b")},
     SENT("a") SENT("b"),
     "to=<b@remote.test>, relay=mx.remote.test[192.0.2.1]:25, conn_use=2, delay="},
    {"reuse is off",
     "smtp_connection_cache_on_demand = no\n",
     {{"192.0.2.1", HELLO TAKEN, 0}, {"192.0.2.1", HELLO TAKEN, 0}},
     {TO("a"), TO("b")},
     false,
     {EHLO SEND("a") "QUIT\r\n", EHLO SEND("b") "QUIT\r\n"},
     SENT("a") SENT("b"),
     NULL},
    {"two uses at most",
     "smtp_connection_reuse_count_limit = 2\n",
     {{"192.0.2.1", HELLO TAKEN TAKEN, 0}, {"192.0.2.1", HELLO TAKEN, 0}},
     {TO("a"), TO("b"), TO("c")},
     false,
     {EHLO SEND("a") SEND("b") "QUIT\r\n", EHLO SEND("c")},
     SENT("a") SENT("b") SENT("c"),
     NULL},
    {"an idle connection that is gone costs nothing",
     NULL,
     {{"192.0.2.1", HELLO TAKEN, 0}, {"192.0.2.1", HELLO TAKEN, 0}},
     {TO("a"), TO("b")},
     false,
     {EHLO SEND("a") ENVELOPE("b"), EHLO SEND("b")},
     SENT("a") SENT("b"),
     NULL},
    {"nor does one that says 421 by now",
     NULL,
     {{"192.0.2.1", HELLO TAKEN PEER_PAUSE "421 4.4.2 too slow\r\n", 0},
      {"192.0.2.1", HELLO TAKEN, 0}},
     {TO("a"), TO("b")},
     false,
     {EHLO SEND("a") ENVELOPE("b"), EHLO SEND("b")},
     SENT("a") SENT("b"),
     NULL},
    {"RSET after a transaction without data",
     NULL,
     {{"192.0.2.1", HELLO OK "550 5.1.1 no\r\n503 5.5.1 no\r\n" OK TAKEN, -ETIMEDOUT}},
     {TO("a"), TO("b")},
     false,
     {EHLO ENVELOPE("a") "RSET\r\n" SEND("b")},
     "a@remote.test bounced 5.1.1 relay (host " HOST
     " said: 550 5.1.1 no (in reply to RCPT TO command))\n" SENT("b"),
     NULL},
    {"other destinations have their own",
     NULL,
     {{"192.0.2.1", HELLO TAKEN, -ETIMEDOUT}, {"192.0.2.9", HELLO TAKEN, -ETIMEDOUT}},
     {TO("a"), {.next_hop = "other.test", .sender = "a@b.test", .recipients = "b@remote.test"}},
     false,
     {EHLO SEND("a"), EHLO SEND("b")},
     SENT("a") SENT("b"),
     NULL},
    /* The envelope behind the dot. */
    {"two deliveries share a connection",
     SLOW_OVERLAP,
     {{"192.0.2.1", HELLO TAKEN TAKEN NEXT, -ETIMEDOUT}},
     {TO("a"), TO("b"), TO("c")},
     true,
     {EHLO SEND("a") SEND("b") SEND("c")},
     SENT("a") SENT("b") SENT("c"),
     "conn_use=3"},
    {"a refusal of the next one leaves the verdict alone",
     SLOW_OVERLAP,
     {{"192.0.2.1", HELLO TAKEN TAKEN "550 5.7.1 not you\r\n503 no\r\n503 no\r\n", -ETIMEDOUT}},
     {TO("a"), TO("b"), TO("c")},
     true,
     {EHLO SEND("a") SEND("b") ENVELOPE("c")},
     SENT("a") SENT("b") "c@remote.test bounced 5.7.1 relay (host " HOST
                         " said: 550 5.7.1 not you (in reply to MAIL FROM command))\n",
     NULL},
    {"a bad verdict leaves the next one alone",
     SLOW_OVERLAP,
     {{"192.0.2.1", HELLO TAKEN PEER_PAUSE OK OK GO "554 5.6.0 no\r\n" NEXT, -ETIMEDOUT}},
     {TO("a"), TO("b"), TO("c")},
     true,
     {EHLO SEND("a") SEND("b") SEND("c")},
     SENT("a") "b@remote.test bounced 5.6.0 relay (host " HOST
               " said: 554 5.6.0 no (in reply to end of DATA command))\n" SENT("c"),
     NULL},
    {"the connection is lost behind the verdict",
     SLOW_OVERLAP,
     {{"192.0.2.1", HELLO TAKEN TAKEN, 0}, {"192.0.2.1", HELLO TAKEN, 0}},
     {TO("a"), TO("b"), TO("c")},
     true,
     {EHLO SEND("a") SEND("b") ENVELOPE("c"), EHLO SEND("c")},
     SENT("a") SENT("b") SENT("c"),
     NULL},
    {"the connection is lost before the verdict",
     SLOW_OVERLAP,
     {{"192.0.2.1", HELLO TAKEN PEER_PAUSE OK OK GO, 0},
      {"192.0.2.2", HELLO TAKEN, 0},
      {"192.0.2.1", HELLO TAKEN, 0}},
     {TO("a"), TO("b"), TO("c")},
     true,
     {EHLO SEND("a") SEND("b") ENVELOPE("c"), EHLO SEND("b") "QUIT\r\n", EHLO SEND("c")},
     NULL,
     "3zzzz: lost connection with " HOST
     " while sending end of data -- message may be sent more than once\n"},
    {"a host that put it off over a kept connection is not asked again",
     NULL,
     {{"192.0.2.1", HELLO TAKEN PEER_PAUSE OK "450 4.2.0 later\r\n503 no\r\n" PEER_PAUSE OK,
       -ETIMEDOUT},
      {"192.0.2.2", HELLO TAKEN, 0}},
     {TO("a"), TO("b")},
     false,
     {EHLO SEND("a") ENVELOPE("b") "RSET\r\n", EHLO SEND("b") "QUIT\r\n"},
     SENT("a") SENT("b"),
     "3zzzz: host " HOST " said: 450 4.2.0 later (in reply to RCPT TO command)\n"},
    {"overlap is off",
     "smtp_overlap_latency_limit = 0\n",
     {{"192.0.2.1", HELLO TAKEN TAKEN, -ETIMEDOUT}, {"192.0.2.1", HELLO TAKEN, -ETIMEDOUT}},
     {TO("a"), TO("b"), TO("c")},
     true,
     {EHLO SEND("a") SEND("b"), EHLO SEND("c")},
     NULL,
     NULL},
    {"a probe is not sent as an empty message",
     NULL,
     {{.address = NULL}},
     {{.next_hop = "remote.test",
       .sender = "a@b.test",
       .recipients = "a@remote.test",
       .flags = QUEUE_MESSAGE_PROBE}},
     false,
     {""},
     "a@remote.test deferred 4.3.3 none (address probes are not supported)\n",
     NULL},
    /* Further hosts. */
    {"the second host when the first refuses connections",
     NULL,
     {{"192.0.2.1", NULL, 0}, {"192.0.2.2", HELLO TAKEN, 0}},
     {TO("a")},
     false,
     {"", EHLO SEND("a") "QUIT\r\n"},
     SENT("a"),
     "connect to mx.remote.test[192.0.2.1]:25: Connection refused\n"},
    {"the second host for those that the first put off",
     NULL,
     {{"192.0.2.1", HELLO OK "450 4.2.0 later\r\n" OK GO OK, -ETIMEDOUT},
      {"192.0.2.2", HELLO TAKEN, 0}},
     {{.next_hop = "remote.test",
       .sender = "a@b.test",
       .recipients = "a@remote.test b@remote.test"}},
     false,
     {EHLO "MAIL FROM:<a@b.test>\r\nRCPT TO:<a@remote.test>\r\nRCPT TO:<b@remote.test>\r\nDATA\r\n"
           "x\r\n.\r\n",
      EHLO SEND("a") "QUIT\r\n"},
     SENT("b") SENT("a"),
     "3zzzz: host " HOST " said: 450 4.2.0 later (in reply to RCPT TO command)\n"},
    {"two sessions are enough",
     "smtp_mx_session_limit = 1\n",
     {{"192.0.2.1", "421 busy\r\n", 0}, {"192.0.2.2", HELLO TAKEN, 0}},
     {TO("a")},
     false,
     {"", ""},
     "a@remote.test deferred 4.0.0 relay (host " HOST " refused to talk to me: 421 busy) site\n",
     NULL},
    {"nobody answers",
     NULL,
     {{"192.0.2.1", NULL, 0}, {"192.0.2.2", NULL, 0}},
     {TO("a")},
     false,
     {"", ""},
     "a@remote.test deferred 4.4.1 none (connect to b.remote.test[192.0.2.2]:25: Connection "
     "refused) site\n",
     NULL},
    {"the fallback relay",
     "smtp_fallback_relay = [192.0.2.9]:587\n",
     {{"192.0.2.1", NULL, 0}, {"192.0.2.2", NULL, 0}, {"192.0.2.9:587", HELLO TAKEN, 0}},
     {TO("a")},
     false,
     {"", "", EHLO SEND("a") "QUIT\r\n"},
     SENT("a"),
     NULL},
    {"a fallback relay that does not exist is no reason to bounce",
     "smtp_fallback_relay = absent.test\n",
     {{.address = NULL}},
     {{.next_hop = "gone.test", .sender = "a@b.test", .recipients = "a@remote.test"}},
     false,
     {""},
     "a@remote.test deferred 4.4.4 none (Host or domain name not found. Name service error for "
     "name=absent.test type=MX: Host not found) site\n",
     "warning: smtp_fallback_relay configuration problem\n"},
    {"nor is a relayhost",
     "relayhost = gone.test\n",
     {{.address = NULL}},
     {{.next_hop = "gone.test", .sender = "a@b.test", .recipients = "a@remote.test"}},
     false,
     {""},
     "a@remote.test deferred 4.4.4 none (Host or domain name not found. Name service error for "
     "name=gone.test type=MX: Host not found) site\n",
     "warning: relayhost configuration problem\n"},
};

static void play(const struct row *row, enum peer_split split, unsigned seed)
{
    struct world w = {.main_cf = row->main_cf, .names = NAMES, .split = split, .seed = seed};

    memcpy(w.servers, row->servers, sizeof(w.servers));
    memcpy(w.jobs, row->jobs, sizeof(w.jobs));
    w.at_once = row->at_once;
    world_play(&w);
    for (size_t i = 0; i < COUNT_OF(row->sent); i++)
        if (row->sent[i] != NULL && strcmp(str_cstr(&w.sent[i]), row->sent[i]) != 0)
            fail_msg("%s\n-- sent to %zu:\n%s-- expected:\n%s-- results:\n%s-- log:\n%s", row->name,
                     i, str_cstr(&w.sent[i]), row->sent[i], str_cstr(&w.results), str_cstr(&w.log));
    if (row->results != NULL && strcmp(str_cstr(&w.results), row->results) != 0)
        fail_msg("%s\n-- results:\n%s-- expected:\n%s-- log:\n%s", row->name, str_cstr(&w.results),
                 row->results, str_cstr(&w.log));
    if (row->log != NULL && strstr(str_cstr(&w.log), row->log) == NULL)
        fail_msg("%s\n-- log:\n%s-- expected:\n%s", row->name, str_cstr(&w.log), row->log);
    world_fini(&w);
}

TASK_TEST(test_reuse)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        /* Only a peer that is waited for lets another delivery come up. */
        if (!rows[i].at_once)
            play(&rows[i], PEER_WHOLE, 0);
        play(&rows[i], PEER_BYTEWISE, 0);
    }
}

/* Cancelled at any moment: nobody is left waiting, and nothing is reported twice. */
TASK_TEST(test_cancellation)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (unsigned after = 1; rows[i].at_once && after < 1000; after += after < 40 ? 1 : 9) {
            struct world w = {.main_cf = rows[i].main_cf,
                              .names = NAMES,
                              .split = PEER_BYTEWISE,
                              .at_once = true,
                              .cancel_after = after};
            struct span rest;
            unsigned reports[128] = {0};

            memcpy(w.servers, rows[i].servers, sizeof(w.servers));
            memcpy(w.jobs, rows[i].jobs, sizeof(w.jobs));
            world_play(&w);
            rest = str_span(&w.results);
            for (struct span line; span_next(&rest, '\n', &line) && line.n > 0;)
                assert_int_equal(reports[(unsigned char)line.p[0] & 127]++, 0);
            world_fini(&w);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_cancellation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
