/* Whole deliveries against scripted servers: every way to succeed and to fail. */
#include "tests/unit/smtp/support_world.h"

#include <errno.h>
#include <stdio.h>

#define HOST "mx.remote.test[192.0.2.1]"
#define NAMES "remote.test MX 10 mx.remote.test\nmx.remote.test A 192.0.2.1\n"
#define GREET "220 mx.remote.test ESMTP\r\n"
#define FEATURES "250-mx.remote.test\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
#define HELLO GREET FEATURES
#define SLOW GREET "250 mx.remote.test\r\n"
#define OK "250 2.0.0 Ok\r\n"
#define GO "354 go\r\n"
#define EHLO "EHLO me.example.test\r\n"
#define MAIL "MAIL FROM:<a@b.test> SIZE=3\r\n"
#define MAIL0 "MAIL FROM:<a@b.test>\r\n"
#define RCPT(x) "RCPT TO:<" x "@remote.test>\r\n"
#define DATA "DATA\r\n"
#define DOT "x\r\n.\r\n"
#define SENT(x) x "@remote.test sent 2.0.0 relay (250 2.0.0 Ok)\n"

struct dialogue {
    const char *main_cf, *script;
    int end;
    const char *recipients, *sent, *results;
};

static const struct dialogue dialogues[] = {
    /* In one group, and command by command. */
    {NULL, HELLO OK OK GO "250 2.0.0 Ok: queued as X\r\n", 0, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test sent 2.0.0 relay (250 2.0.0 Ok: queued as X)\n"},
    {"smtp_connection_cache_on_demand = no\n", HELLO OK OK GO OK "221 bye\r\n", 0, "u",
     EHLO MAIL RCPT("u") DATA DOT "QUIT\r\n", SENT("u")},
    {"smtp_connection_cache_on_demand = no\nsmtp_connection_cache_destinations = remote.test\n",
     HELLO OK OK GO OK, 0, "u", EHLO MAIL RCPT("u") DATA DOT, SENT("u")},
    {NULL, SLOW OK OK GO "250 fine\r\n", 0, "u", EHLO MAIL0 RCPT("u") DATA DOT,
     "u@remote.test sent 2.0.0 relay (250 fine)\n"},
    {NULL, GREET "502 what?\r\n250 hello\r\n" OK OK GO OK, 0, "u",
     EHLO "HELO me.example.test\r\n" MAIL0 RCPT("u") DATA DOT, SENT("u")},
    {"smtp_never_send_ehlo = yes\n", GREET "250 hello\r\n" OK OK GO OK, 0, "u",
     "HELO me.example.test\r\n" MAIL0 RCPT("u") DATA DOT, SENT("u")},
    {"smtp_always_send_ehlo = no\n", "220 old\r\n250 hello\r\n" OK OK GO OK, 0, "u",
     "HELO me.example.test\r\n" MAIL0 RCPT("u") DATA DOT, SENT("u")},
    {"smtp_discard_ehlo_keywords = size, pipelining\n", HELLO OK OK GO OK, 0, "u",
     EHLO MAIL0 RCPT("u") DATA DOT, SENT("u")},
    {"smtp_helo_name = other.test\n", HELLO OK OK GO OK, 0, "u",
     "EHLO other.test\r\n" MAIL RCPT("u") DATA DOT, SENT("u")},
    /* Replies of many lines and of few octets, line ends of all kinds. */
    {NULL,
     "220-hello\n220-how\r\n220 are you\n" FEATURES OK "250\r\n354\r\n250-2.0.0 done\r\n"
     "250 2.0.0 really\r\n",
     0, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test sent 2.0.0 relay (250-2.0.0 done 250 2.0.0 really)\n"},
    /* Refusals, each at its stage. A greeting or a 4xx is no reason to bounce. */
    {NULL, "554 no mail here\r\n", 0, "u", "QUIT\r\n",
     "u@remote.test deferred 4.0.0 relay (host " HOST
     " refused to talk to me: 554 no mail here) site\n"},
    {"smtp_skip_5xx_greeting = no\n", "554 5.7.1 no mail here\r\n", 0, "u", "QUIT\r\n",
     "u@remote.test bounced 5.7.1 relay (host " HOST
     " refused to talk to me: 554 5.7.1 no mail here) site\n"},
    {NULL, "421 4.3.2 later\r\n", 0, "u", "",
     "u@remote.test deferred 4.3.2 relay (host " HOST
     " refused to talk to me: 421 4.3.2 later) site\n"},
    {NULL, GREET "550 go away\r\n550 really\r\n", 0, "u", EHLO "HELO me.example.test\r\nQUIT\r\n",
     "u@remote.test bounced 5.0.0 relay (host " HOST " refused to talk to me: 550 really) site\n"},
    {NULL, HELLO "550 5.7.1 not you\r\n503 first MAIL\r\n503 first MAIL\r\n", 0, "u",
     EHLO MAIL RCPT("u") DATA,
     "u@remote.test bounced 5.7.1 relay (host " HOST
     " said: 550 5.7.1 not you (in reply to MAIL FROM command))\n"},
    {NULL, SLOW "450 4.7.1 grey\r\n", 0, "u", EHLO MAIL0,
     "u@remote.test deferred 4.7.1 relay (host " HOST
     " said: 450 4.7.1 grey (in reply to MAIL FROM command))\n"},
    {NULL, HELLO OK "550 5.1.1 who?\r\n554 nobody\r\n", 0, "u", EHLO MAIL RCPT("u") DATA "RSET\r\n",
     "u@remote.test bounced 5.1.1 relay (host " HOST
     " said: 550 5.1.1 who? (in reply to RCPT TO command))\n"},
    {NULL, SLOW OK "550-5.1.1 who\r\n550 5.1.1 is that?\r\n" OK, 0, "u",
     EHLO MAIL0 RCPT("u") "RSET\r\n",
     "u@remote.test bounced 5.1.1 relay (host " HOST
     " said: 550-5.1.1 who 550 5.1.1 is that? (in reply to RCPT TO command))\n"},
    {NULL, SLOW OK "550-5.1.1 \033[31mwho\r\n550 5.1.1\tis that?\a\r\n" OK, 0, "u",
     EHLO MAIL0 RCPT("u") "RSET\r\n",
     "u@remote.test bounced 5.1.1 relay (host " HOST
     " said: 550-5.1.1 ?[31mwho 550 5.1.1?is that?? (in reply to RCPT TO command))\n"},
    {"soft_bounce = yes\n", HELLO OK "550 5.1.1 who?\r\n554 nobody\r\n", 0, "u",
     EHLO MAIL RCPT("u") DATA "RSET\r\n",
     "u@remote.test deferred 4.1.1 relay (host " HOST
     " said: 550 5.1.1 who? (in reply to RCPT TO command))\n"},
    /* Mixed answers reach the right recipients; data goes to those that are left. */
    {NULL, HELLO OK "550 5.1.1 no a\r\n" OK "450 4.2.0 not now\r\n552 5.2.2 full\r\n" GO OK, 0,
     "a b c d", EHLO MAIL RCPT("a") RCPT("b") RCPT("c") RCPT("d") DATA DOT,
     "a@remote.test bounced 5.1.1 relay (host " HOST
     " said: 550 5.1.1 no a (in reply to RCPT TO command))\n"
     "d@remote.test bounced 5.2.2 relay (host " HOST
     " said: 552 5.2.2 full (in reply to RCPT TO command))\n" SENT(
         "b") "c@remote.test deferred 4.2.0 relay (host " HOST
              " said: 450 4.2.0 not now (in reply to RCPT TO command))\n"},
    /* 354 although nobody was taken: a lone dot (RFC 2920 3.1). */
    {NULL, HELLO OK "550 5.1.1 no\r\n" GO "554 no recipients\r\n", 0, "u",
     EHLO MAIL RCPT("u") DATA ".\r\n",
     "u@remote.test bounced 5.1.1 relay (host " HOST
     " said: 550 5.1.1 no (in reply to RCPT TO command))\n"},
    {NULL, HELLO OK OK "452 4.3.1 disk\r\n" OK, 0, "u", EHLO MAIL RCPT("u") DATA "RSET\r\n",
     "u@remote.test deferred 4.3.1 relay (host " HOST
     " said: 452 4.3.1 disk (in reply to DATA command))\n"},
    {NULL, HELLO OK OK "250 what?\r\n", 0, "u", EHLO MAIL RCPT("u") DATA,
     "u@remote.test deferred 4.0.0 relay (host " HOST
     " said: 250 what? (in reply to DATA command))\n"},
    {NULL, HELLO OK OK GO "554 5.6.0 spam\r\n", 0, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test bounced 5.6.0 relay (host " HOST
     " said: 554 5.6.0 spam (in reply to end of DATA command))\n"},
    {NULL, HELLO OK OK GO "451 2.0.0 odd\r\n", 0, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test deferred 4.0.0 relay (host " HOST
     " said: 451 2.0.0 odd (in reply to end of DATA command))\n"},
    /* 421 in the middle. */
    {NULL, HELLO OK "421 4.7.0 enough\r\n", 0, "a b", EHLO MAIL RCPT("a") RCPT("b") DATA,
     "a@remote.test deferred 4.7.0 relay (host " HOST
     " said: 421 4.7.0 enough (in reply to RCPT TO command)) site\n"
     "b@remote.test deferred 4.7.0 relay (host " HOST
     " said: 421 4.7.0 enough (in reply to RCPT TO command)) site\n"},
    {NULL, HELLO OK OK GO "421 4.7.0 bye\r\n", 0, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test deferred 4.7.0 relay (host " HOST
     " said: 421 4.7.0 bye (in reply to end of DATA command)) site\n"},
    /* The connection ends, at each stage; and it stalls. */
    {NULL, "", 0, "u", "",
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while receiving the initial server greeting) site\n"},
    {NULL, "220 x", 0, "u", "",
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while receiving the initial server greeting) site\n"},
    {NULL, GREET, 0, "u", EHLO,
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while performing the EHLO handshake) site\n"},
    {NULL, HELLO, -ECONNRESET, "u", EHLO MAIL RCPT("u") DATA,
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending MAIL FROM) site\n"},
    {NULL, HELLO OK, 0, "u", EHLO MAIL RCPT("u") DATA,
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending RCPT TO) site\n"},
    {NULL, HELLO OK OK, 0, "u", EHLO MAIL RCPT("u") DATA,
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending DATA command) site\n"},
    {NULL, HELLO OK OK GO, 0, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending end of data -- message may be sent more than once) site\n"},
    {NULL, HELLO OK OK GO, -ETIMEDOUT, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test deferred 4.4.2 relay (conversation with " HOST
     " timed out while sending end of data -- message may be sent more than once) site\n"},
    {NULL, "", -ETIMEDOUT, "u", "",
     "u@remote.test deferred 4.4.2 relay (conversation with " HOST
     " timed out while receiving the initial server greeting) site\n"},
    /* A recipient that was refused for good stays refused when the rest is lost. */
    {NULL, HELLO OK "550 5.1.1 no\r\n", 0, "a b", EHLO MAIL RCPT("a") RCPT("b") DATA,
     "a@remote.test bounced 5.1.1 relay (host " HOST
     " said: 550 5.1.1 no (in reply to RCPT TO command))\n"
     "b@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending RCPT TO) site\n"},
    /* And one that was put off keeps the server's words, whatever ends the connection. */
    {NULL, HELLO OK "450 4.2.0 not now\r\n999 what\r\n" OK GO OK, 0, "a b c",
     EHLO MAIL RCPT("a") RCPT("b") RCPT("c") DATA,
     "a@remote.test deferred 4.2.0 relay (host " HOST
     " said: 450 4.2.0 not now (in reply to RCPT TO command))\n"
     "b@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending RCPT TO) site\n"
     "c@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending RCPT TO) site\n"},
    {NULL, HELLO OK "450 4.2.0 not now\r\n421 4.7.0 enough\r\n", 0, "a b",
     EHLO MAIL RCPT("a") RCPT("b") DATA,
     "a@remote.test deferred 4.2.0 relay (host " HOST
     " said: 450 4.2.0 not now (in reply to RCPT TO command))\n"
     "b@remote.test deferred 4.7.0 relay (host " HOST
     " said: 421 4.7.0 enough (in reply to RCPT TO command)) site\n"},
    {NULL, HELLO OK "450 4.2.0 not now\r\n" OK GO, 0, "a b", EHLO MAIL RCPT("a") RCPT("b") DATA DOT,
     "a@remote.test deferred 4.2.0 relay (host " HOST
     " said: 450 4.2.0 not now (in reply to RCPT TO command))\n"
     "b@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending end of data -- message may be sent more than once) site\n"},
    /* Garbage. */
    {NULL, "SSH-2.0-OpenSSH\r\n", 0, "u", "",
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while receiving the initial server greeting) site\n"},
    {NULL, HELLO "\r\n", 0, "u", EHLO MAIL RCPT("u") DATA,
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending MAIL FROM) site\n"},
    {NULL, HELLO OK OK GO "2500 x\r\n", 0, "u", EHLO MAIL RCPT("u") DATA DOT,
     "u@remote.test deferred 4.4.2 relay (lost connection with " HOST
     " while sending end of data -- message may be sent more than once) site\n"},
    /* What the server cannot take is not offered to it. */
    {NULL, GREET "250-x\r\n250 SIZE 2\r\n", 0, "u", EHLO,
     "u@remote.test bounced 5.3.4 relay (message size 3 exceeds size limit 2 of server " HOST
     ")\n"},
    {NULL, GREET "250-x\r\n250 SIZE 99999999999999999999999\r\n" OK OK GO OK, 0, "u",
     EHLO MAIL RCPT("u") DATA DOT, SENT("u")},
    /* TLS that is demanded and not there. */
    {"smtp_tls_security_level = encrypt\n", HELLO, 0, "u", EHLO "QUIT\r\n",
     "u@remote.test deferred 4.7.4 relay (TLS is required, but was not offered by host " HOST
     ") site\n"},
    {"smtp_tls_security_level = encrypt\n", GREET "250-x\r\n250 STARTTLS\r\n454 4.3.0 no key\r\n",
     0, "u", EHLO "STARTTLS\r\nQUIT\r\n",
     "u@remote.test deferred 4.3.0 relay (TLS is required, but host " HOST
     " refused to start TLS: 454 4.3.0 no key) site\n"},
    {"smtp_tls_security_level = may\n",
     GREET "250-x\r\n250 STARTTLS\r\n454 4.3.0 no key\r\n" OK OK GO OK, 0, "u",
     EHLO "STARTTLS\r\n" MAIL0 RCPT("u") DATA DOT, SENT("u")},
    /* Addresses that would break out of their command. */
    {NULL, HELLO, 0, "u\001", "",
     "u\001@remote.test bounced 5.1.3 none (bad recipient address "
     "syntax)\n"},
    {"soft_bounce = yes\n", HELLO OK OK GO OK, 0, "u\001 v", EHLO MAIL RCPT("v") DATA DOT,
     "u\001@remote.test deferred 4.1.3 none (bad recipient address syntax)\n" SENT("v")},
};

static void play(const struct dialogue *d, enum peer_split split, unsigned seed)
{
    struct span rest = span_cstr(d->recipients), item;
    struct str recipients = {0};
    struct world w = {.main_cf = d->main_cf, .names = NAMES, .split = split, .seed = seed};

    while (span_token(&rest, " ", &item))
        str_printf(&recipients, "%.*s@remote.test ", SPAN_ARG(item));
    w.servers[0] = (struct world_server){"192.0.2.1", d->script, d->end};
    w.jobs[0] = (struct world_job){
        .next_hop = "remote.test", .sender = "a@b.test", .recipients = str_cstr(&recipients)};
    world_play(&w);
    if (strcmp(str_cstr(&w.sent[0]), d->sent) != 0 || strcmp(str_cstr(&w.results), d->results) != 0)
        fail_msg("\n%s-- sent:\n%s-- expected:\n%s-- results:\n%s-- expected:\n%s-- log:\n%s",
                 d->script, str_cstr(&w.sent[0]), d->sent, str_cstr(&w.results), d->results,
                 str_cstr(&w.log));
    world_fini(&w);
    str_fini(&recipients);
}

TASK_TEST(test_dialogues)
{
    for (size_t i = 0; i < COUNT_OF(dialogues); i++) {
        play(&dialogues[i], PEER_WHOLE, 0);
        play(&dialogues[i], PEER_BYTEWISE, 0);
        for (unsigned seed = 1; seed < 5; seed++)
            play(&dialogues[i], PEER_RANDOM, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialogues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
