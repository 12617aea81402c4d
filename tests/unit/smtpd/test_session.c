/* Whole sessions: dialogues, limits, errors, log lines. */
#include "tests/unit/smtpd/support_smtp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BANNER "220 mx.example.test ESMTP Postfix\r\n"
#define BYE "221 2.0.0 Bye\r\n"

struct dialogue {
    const char *main_cf, *client, *script, *replies;
};

static const struct dialogue dialogues[] = {
    {NULL, NULL, "QUIT\r\n", BANNER BYE},
    {NULL, NULL, "EHLO a.test\r\nQUIT\r\n",
     BANNER "250-mx.example.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 CHUNKING\r\n" BYE},
    {"smtpd_discard_ehlo_keywords = chunking, size, vrfy\n", NULL, "EHLO a.test\r\nQUIT\r\n",
     BANNER "250-mx.example.test\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n"
            "250 8BITMIME\r\n" BYE},
    {NULL, NULL, "HELO a.test\r\nNOOP\r\nRSET\r\nNOOP x y\r\nQUIT\r\n",
     BANNER "250 mx.example.test\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n" BYE},
    {NULL, NULL, "HELO\r\nEHLO\r\nRSET x\r\nDATA\r\nFOO\r\n\r\nQUIT\r\n",
     BANNER "501 Syntax: HELO hostname\r\n501 Syntax: EHLO hostname\r\n"
            "501 5.5.4 Syntax: RSET\r\n503 5.5.1 Error: need RCPT command\r\n"
            "500 5.5.2 Error: command not recognized\r\n500 5.5.2 Error: bad syntax\r\n" BYE},
    {NULL, NULL,
     "MAIL\r\nMAIL FROM\r\nMAIL FROM:\r\nMAIL FROM:<a@b\r\nMAIL FROM:<a@b.test> X=Y\r\n"
     "MAIL FROM:<a@b.test> SIZE=x\r\nMAIL FROM:<a@b.test> SIZE=99999999\r\n"
     "MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<u1@example.test>\r\nQUIT\r\n",
     BANNER "501 5.5.4 Syntax: MAIL FROM:<address>\r\n501 5.5.4 Syntax: MAIL FROM:<address>\r\n"
            "501 5.5.4 Syntax: MAIL FROM:<address>\r\n501 5.1.7 Bad sender address syntax\r\n"
            "555 5.5.4 Unsupported option: X=Y\r\n501 5.5.4 Bad message size syntax\r\n"
            "552 5.3.4 Message size exceeds fixed limit\r\n"
            "555 5.5.4 Unsupported option: BODY=BINARYMIME\r\n"
            "503 5.5.1 Error: need MAIL command\r\n" BYE},
    {NULL, NULL,
     "MAIL FROM:<a@b.test>\r\nMAIL FROM:<a@b.test>\r\nRCPT\r\nRCPT TO:<>\r\n"
     "RCPT TO:<nobody@example.test>\r\nRCPT TO:<x@other.test>\r\nDATA\r\nDATA x\r\nQUIT\r\n",
     BANNER "250 2.1.0 Ok\r\n503 5.5.1 Error: nested MAIL command\r\n"
            "501 5.5.4 Syntax: RCPT TO:<address>\r\n501 5.1.3 Bad recipient address syntax\r\n"
            "550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in local "
            "recipient table\r\n"
            "454 4.7.1 <x@other.test>: Relay access denied\r\n"
            "554 5.5.1 Error: no valid recipients\r\n501 5.5.4 Syntax: DATA\r\n" BYE},
    {"smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n", NULL,
     "MAIL FROM:<>\r\nRCPT TO:<x@other.test>\r\nRCPT TO:<x%other.test@example.test>\r\n"
     "RCPT TO:<x@other.test@example.test>\r\nRCPT TO:<\"x@other.test\"@example.test>\r\n"
     "RCPT TO:<other.test!x@example.test>\r\nRCPT TO:<@example.test:x@other.test>\r\n"
     "RCPT TO:<postmaster>\r\nRCPT TO:<u1@[127.0.0.1]>\r\nQUIT\r\n",
     BANNER "250 2.1.0 Ok\r\n554 5.7.1 <x@other.test>: Relay access denied\r\n"
            "554 5.7.1 <x%other.test@example.test>: Relay access denied\r\n"
            "554 5.7.1 <\"x@other.test\"@example.test>: Relay access denied\r\n"
            "554 5.7.1 <\"x@other.test\"@example.test>: Relay access denied\r\n"
            "554 5.7.1 <other.test!x@example.test>: Relay access denied\r\n"
            "554 5.7.1 <x@other.test>: Relay access denied\r\n"
            "250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n" BYE},
    {NULL, "10.1.2.3", "MAIL FROM:<u1@example.test>\r\nRCPT TO:<x@other.test>\r\nQUIT\r\n",
     BANNER "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n" BYE},
    {"smtpd_recipient_limit = 1\n", NULL,
     "MAIL FROM:<a@b.test>\r\nRCPT TO:<u1@example.test>\r\nRCPT TO:<u2@example.test>\r\nQUIT\r\n",
     BANNER "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n452 4.5.3 Error: too many recipients\r\n" BYE},
    {"smtpd_hard_error_limit = 2\n", NULL, "FOO\r\nFOO\r\nNOOP\r\n",
     BANNER "500 5.5.2 Error: command not recognized\r\n"
            "500 5.5.2 Error: command not recognized\r\n"
            "421 4.7.0 mx.example.test Error: too many errors\r\n"},
    {"smtpd_helo_required = yes\n", NULL, "MAIL FROM:<a@b.test>\r\nQUIT\r\n",
     BANNER "503 5.5.1 Error: send HELO/EHLO first\r\n" BYE},
    {"disable_vrfy_command = yes\n", NULL, "VRFY u1\r\nQUIT\r\n",
     BANNER "502 5.5.1 VRFY command is disabled\r\n" BYE},
    {NULL, NULL, "VRFY\r\nVRFY u1@example.test\r\nVRFY nobody@example.test\r\nQUIT\r\n",
     BANNER "501 5.5.4 Syntax: VRFY address\r\n252 2.0.0 u1@example.test\r\n"
            "550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in local "
            "recipient table\r\n" BYE},
    {NULL, NULL, "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
     BANNER "221 2.7.0 Error: I can break rules, too. Goodbye.\r\n"},
    {NULL, NULL, "STARTTLS\r\nAUTH PLAIN\r\nEHLO a\r\nAUTH PLAIN\r\nQUIT\r\n",
     BANNER "502 5.5.1 Error: command not implemented\r\n"
            "503 5.5.1 Error: authentication not enabled\r\n"
            "250-mx.example.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 CHUNKING\r\n"
            "503 5.5.1 Error: authentication not enabled\r\n" BYE},
    {"smtpd_tls_security_level = encrypt\n", NULL, /* and no certificate */
     "STARTTLS\r\nEHLO a\r\nMAIL FROM:<a@b.test>\r\nQUIT\r\n",
     BANNER "454 4.7.0 TLS not available due to local problem\r\n"
            "250-mx.example.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 CHUNKING\r\n"
            "530 5.7.0 Must issue a STARTTLS command first\r\n" BYE},
    {"smtpd_tls_wrappermode = yes\n", NULL, "EHLO a\r\n", ""},
    {"smtpd_forbid_bare_newline = reject\nsmtpd_forbid_bare_newline_exclusions =\n", NULL,
     "HELO a\nQUIT\r\n", BANNER "550 5.5.2 mx.example.test Error: bare <LF> received\r\n"},
    {NULL, NULL, "HELO a\nQUIT\n", BANNER "250 mx.example.test\r\n" BYE},
    {"smtpd_delay_reject = no\nsmtpd_client_restrictions = reject\n", NULL,
     "HELO a\r\nMAIL FROM:<>\r\nQUIT\r\n",
     "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied\r\n"
     "503 5.7.0 Error: access denied for unknown[192.0.2.1]\r\n"
     "503 5.7.0 Error: access denied for unknown[192.0.2.1]\r\n" BYE},
    {"strict_rfc821_envelopes = yes\n", NULL,
     "MAIL FROM:a@b.test\r\nMAIL FROM:<a@b.test>\r\nQUIT\r\n",
     BANNER "501 5.1.7 Bad sender address syntax\r\n250 2.1.0 Ok\r\n" BYE},
    {NULL, NULL, "Subject: hello\r\nNOOP\r\n",
     BANNER "221 2.7.0 Error: I can break rules, too. Goodbye.\r\n"},
    {"soft_bounce = yes\n", NULL,
     "FOO\r\nMAIL FROM:<>\r\nRCPT TO:<\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\nQUIT\r\n",
     BANNER "400 4.5.2 Error: command not recognized\r\n250 2.1.0 Ok\r\n"
            "401 4.1.3 Bad recipient address syntax\r\n"
            "450 4.1.1 <nobody@example.test>: Recipient address rejected: User unknown in local "
            "recipient table\r\n454 4.5.1 Error: no valid recipients\r\n" BYE},
    {NULL, NULL,
     "MAIL FROM:<a b@c.test>\r\nMAIL FROM:<a@c.test> SIZE=\r\n"
     "MAIL FROM:<a@c.test> SIZE=99999999999999999999999\r\nMAIL FROM:<a@c.test> "
     "AUTH=<>\r\nQUIT\r\n",
     BANNER "501 5.1.7 Bad sender address syntax\r\n501 5.5.4 Bad message size syntax\r\n"
            "552 5.3.4 Message size exceeds file system imposed limit\r\n250 2.1.0 Ok\r\n" BYE},
    {"smtpd_discard_ehlo_keywords = chunking\n", NULL,
     "MAIL FROM:<>\r\nRCPT TO:<u1@example.test>\r\nBDAT 0 LAST\r\nNOOP\r\n",
     BANNER "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n521 5.5.1 Error: command not implemented\r\n"},
    {"message_size_limit = 10\n", NULL,
     "MAIL FROM:<>\r\nRCPT TO:<u1@example.test>\r\nBDAT 12 LAST\r\na: b\r\n\r\n1234NOOP\r\n",
     BANNER "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n552 5.3.4 Chunk exceeds message size limit\r\n"
            "250 2.0.0 Ok\r\n"},
    {"smtpd_delay_reject = no\nsmtpd_helo_restrictions = reject_non_fqdn_helo_hostname\n", NULL,
     "EHLO [1.2.3]\r\nHELO host\r\nQUIT\r\n",
     BANNER "501 5.5.2 <[1.2.3]>: Helo command rejected: invalid ip address\r\n"
            "504 5.5.2 <host>: Helo command rejected: need fully-qualified hostname\r\n" BYE},
    {"smtpd_sender_restrictions = defer_if_reject\n", NULL,
     "MAIL FROM:<>\r\nRCPT TO:<nobody@example.test>\r\nQUIT\r\n",
     BANNER "250 2.1.0 Ok\r\n"
            "550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in local "
            "recipient table\r\n" BYE},
};

TASK_TEST(answers_dialogues)
{
    for (size_t i = 0; i < COUNT_OF(dialogues); i++)
        for (int split = PEER_WHOLE; split <= PEER_RANDOM; split++) {
            struct smtp_run run = {.main_cf = dialogues[i].main_cf,
                                   .client = dialogues[i].client,
                                   .script = span_cstr(dialogues[i].script),
                                   .split = (enum peer_split)split,
                                   .seed = (unsigned)i};

            smtp_play(&run);
            assert_string_equal(str_cstr(&run.replies), dialogues[i].replies);
            smtp_run_fini(&run);
        }
}

static const char envelope[] =
    "EHLO a.test\r\nMAIL FROM:<s@b.test>\r\nRCPT TO:<u1@example.test>\r\n";

static void play(struct smtp_run *run, const char *rest)
{
    static struct str script;

    str_clear(&script);
    str_append_cstr(&script, envelope);
    str_append_cstr(&script, rest);
    run->script = str_span(&script);
    smtp_play(run);
    str_fini(&script);
    memset(&script, 0, sizeof(script));
}

/* The last reply but the one to QUIT. */
static const char *last_reply(struct smtp_run *run)
{
    static char text[512];
    struct span all = str_span(&run->replies);
    ptrdiff_t at;

    if (span_iends(all, SPAN_LIT(BYE)))
        all.n -= strlen(BYE);
    all.n -= all.n >= 2 ? 2 : all.n;
    at = span_rfind(all, '\n');
    all = span_drop(all, (size_t)(at + 1));
    snprintf(text, sizeof(text), "%.*s", SPAN_ARG(all));
    return text;
}

static const char *body(struct smtp_run *run)
{
    const char *text = strstr(str_cstr(&run->messages[0].content), "\r\n\r\n");

    return text != NULL ? text + 4 : "";
}

TASK_TEST(takes_a_message)
{
    struct smtp_run run = {0};
    const char *content;

    play(&run,
         "DATA\r\nSubject: x\r\nMessage-ID: <m@b.test>\r\n\r\nhello\r\n..\r\n.x\r\n.\r\nQUIT\r\n");
    assert_true(
        span_search(str_span(&run.replies), SPAN_LIT("354 End data with <CR><LF>.<CR><LF>\r\n"
                                                     "250 2.0.0 Ok: queued as ")) > 0);
    assert_int_equal(run.count, 1);
    assert_string_equal(str_cstr(&run.messages[0].sender), "s@b.test");
    assert_string_equal(str_cstr(&run.messages[0].recipients), "u1@example.test");
    content = str_cstr(&run.messages[0].content);
    assert_non_null(strstr(content, "Received: from a.test (unknown [192.0.2.1])\r\n"
                                    "\tby mx.example.test (Postfix) with ESMTP id "));
    assert_non_null(strstr(content, "\r\n\tfor <u1@example.test>; "));
    assert_non_null(
        strstr(content, "\r\nSubject: x\r\nMessage-ID: <m@b.test>\r\n\r\nhello\r\n.\r\nx\r\n"));
    assert_non_null(strstr(str_cstr(&run.log), "connect from unknown[192.0.2.1]\n"));
    assert_non_null(strstr(str_cstr(&run.log), ": client=unknown[192.0.2.1]\n"));
    assert_non_null(strstr(str_cstr(&run.log), ": message-id=<m@b.test>\n"));
    assert_non_null(strstr(str_cstr(&run.log),
                           "disconnect from unknown[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 "
                           "commands=5\n"));
    smtp_run_fini(&run);
}

TASK_TEST(logs_rejections_as_readers_expect)
{
    struct smtp_run run = {.script = SPAN_LIT("EHLO a.test\r\nMAIL FROM:<s@b.test>\r\n"
                                              "RCPT TO:<no@example.test>\r\nQUIT\r\n")};

    smtp_play(&run);
    assert_non_null(strstr(
        str_cstr(&run.log),
        "NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.1.1 <no@example.test>: Recipient "
        "address rejected: User unknown in local recipient table; from=<s@b.test> "
        "to=<no@example.test> proto=ESMTP helo=<a.test>\n"));
    assert_non_null(strstr(str_cstr(&run.log), " rcpt=0/1 quit=1 commands=3/4\n"));
    smtp_run_fini(&run);
}

TASK_TEST(logs_what_is_no_address_and_who_says_nothing)
{
    struct smtp_run run = {.script = SPAN_LIT("EHLO a.test\r\nMAIL FROM:<a@b..c>\r\nVRFY a b\r\n"
                                              "MAIL FROM:<>\r\nRCPT TO:<@> X=y\r\nQUIT\r\n")};
    struct smtp_run silent = {.script = SPAN_LIT(""), .end = ERR_EOF};
    static const char *const lines[] = {
        "Illegal address syntax from unknown[192.0.2.1] in MAIL command: <a@b..c>\n",
        "Illegal address syntax from unknown[192.0.2.1] in VRFY command: a b\n",
        "Illegal address syntax from unknown[192.0.2.1] in RCPT command: <@> X=y\n",
    };

    smtp_play(&run);
    smtp_play(&silent);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (strstr(str_cstr(&run.log), lines[i]) == NULL)
            fail_msg("%s: %s", lines[i], str_cstr(&run.log));
    assert_non_null(strstr(str_cstr(&silent.log), "disconnect from unknown[192.0.2.1] "
                                                  "commands=0/0\n"));
    smtp_run_fini(&run);
    smtp_run_fini(&silent);
}

static const struct {
    const char *name, *data; /* what the client sends behind 354 */
    const char *body;        /* NULL: more than one message, or none */
    size_t messages;
    const char *main_cf;
} smuggling[] = {
    {"LF.LF", "\r\nx\n.\nMAIL FROM:<evil@b.test>\r\ny\r\n.\r\n",
     "x\r\n\r\nMAIL FROM:<evil@b.test>\r\ny\r\n", 1, NULL},
    {"LF.CRLF", "\r\nx\n.\r\ny\r\n.\r\n", "x\r\n\r\ny\r\n", 1, NULL},
    {"CRLF.LF", "\r\nx\r\n.\ny\r\n.\r\n", "x\r\n\r\ny\r\n", 1, NULL},
    {"CR.CR", "\r\nx\r.\ry\r\n.\r\n", "x . y\r\n", 1, NULL},
    {"CRLF.CR", "\r\nx\r\n.\ry\r\n.\r\n", "x\r\n y\r\n", 1, NULL},
    {"CR.CRLF", "\r\nx\r.\r\ny\r\n.\r\n", "x .\r\ny\r\n", 1, NULL},
    {"CRLF.CRCRLF", "\r\nx\r\n.\r\r\ny\r\n.\r\n", "x\r\n\r\ny\r\n", 1, NULL},
    {"CRCRLF", "\r\nx\r\r\ny\r\n.\r\n", "x\r\ny\r\n", 1, NULL},
    {"dots", "\r\n...\r\n..\r\n.a\r\n.\r\n", "..\r\n.\r\na\r\n", 1, NULL},
    {"stray kept", "\r\nx\ry\r\n.\r\n", "x\ry\r\n", 1, "cleanup_replace_stray_cr_lf = no\n"},
    {"LF.LF allowed", "\r\nx\n.\n", "x\r\n", 1, "smtpd_forbid_bare_newline = no\n"},
    {"rejected", "\r\nx\ny\r\n.\r\n", NULL, 0, "smtpd_forbid_bare_newline = reject\n"},
};

TASK_TEST(ends_a_message_at_crlf_dot_crlf_only)
{
    for (size_t i = 0; i < COUNT_OF(smuggling); i++)
        for (unsigned seed = 0; seed < 12; seed++) {
            struct smtp_run run = {.main_cf = smuggling[i].main_cf,
                                   .split = seed == 0   ? PEER_WHOLE
                                            : seed == 1 ? PEER_BYTEWISE
                                                        : PEER_RANDOM,
                                   .seed = seed};
            struct str script = {0};

            str_printf(&script, "DATA\r\n%s%sQUIT\r\n", "A: b\r\n", smuggling[i].data);
            play(&run, str_cstr(&script));
            if (run.count != smuggling[i].messages)
                fail_msg("%s: %zu messages: %s", smuggling[i].name, run.count,
                         str_cstr(&run.replies));
            if (smuggling[i].body != NULL && strcmp(body(&run), smuggling[i].body) != 0)
                fail_msg("%s: %s", smuggling[i].name, body(&run));
            assert_true(span_iends(str_span(&run.replies), SPAN_LIT(BYE)));
            smtp_run_fini(&run);
            str_fini(&script);
        }
}

TASK_TEST(keeps_nul_and_eight_bit)
{
    struct smtp_run run = {0};
    struct span script =
        SPAN_LIT("MAIL FROM:<s@b.test> BODY=8BITMIME\r\nRCPT TO:<u1@example.test>\r\n"
                 "DATA\r\nA: b\r\n\r\na\0b\xff\r\n.\r\nQUIT\r\n");

    run.script = script;
    smtp_play(&run);
    assert_int_equal(run.count, 1);
    assert_true(span_search(str_span(&run.messages[0].content), SPAN_LIT("\r\n\r\na\0b\xff\r\n")) >
                0);
    smtp_run_fini(&run);
}

TASK_TEST(takes_chunks)
{
    for (unsigned seed = 0; seed < 8; seed++) {
        struct smtp_run run = {.split = seed == 0 ? PEER_WHOLE : PEER_RANDOM, .seed = seed};

        play(&run, "BDAT 8\r\nA: b\r\n\r\nBDAT 5\r\n.\r\nx\nBDAT 2 LAST\r\ny\rQUIT\r\n");
        assert_int_equal(run.count, 1);
        assert_string_equal(body(&run), ".\r\nx\r\ny \r\n");
        assert_true(span_search(str_span(&run.replies),
                                SPAN_LIT("250 2.0.0 Ok: 8 bytes\r\n250 2.0.0 Ok: 5 bytes\r\n"
                                         "250 2.0.0 Ok: ")) > 0);
        smtp_run_fini(&run);
    }
}

static const struct {
    const char *rest, *reply, *main_cf;
    size_t messages;
} chunk_errors[] = {
    {"BDAT\r\n", "521 5.5.4 Syntax: BDAT count [LAST]", NULL, 0},
    {"BDAT x LAST\r\n", "521 5.5.4 Syntax: BDAT count [LAST]", NULL, 0},
    {"BDAT 5 FOO\r\nquit\r", "521 5.5.4 Syntax: BDAT count [LAST]", NULL, 0},
    {"BDAT 6\r\nA: b\r\nDATA\r\nQUIT\r\n", "503 5.5.1 Error: DATA after BDAT", NULL, 0},
    {"BDAT 6\r\nA: b\r\nMAIL FROM:<x@y.test>\r\nQUIT\r\n", "503 5.5.1 Error: MAIL after BDAT", NULL,
     0},
    {"BDAT 6\r\nA: b\r\nRSET\r\nQUIT\r\n", "250 2.0.0 Ok", NULL, 0},
    {"RSET\r\nBDAT 6 LAST\r\nQUIT\r\nQUIT\r\n", "503 5.5.1 Error: need RCPT command", NULL, 0},
    {"BDAT 0 LAST\r\nQUIT\r\n", "250 2.0.0 Ok: 0 bytes queued as ", NULL, 1},
    {"BDAT 12\r\n0123456789\r\nBDAT 4 LAST\r\nQUITQUIT\r\n",
     "551 5.0.0 Discarded 4 bytes after earlier error", "message_size_limit = 10\n", 0},
};

TASK_TEST(never_takes_chunks_for_commands)
{
    for (size_t i = 0; i < COUNT_OF(chunk_errors); i++) {
        struct smtp_run run = {.main_cf = chunk_errors[i].main_cf};

        play(&run, chunk_errors[i].rest);
        if (strncmp(last_reply(&run), chunk_errors[i].reply, strlen(chunk_errors[i].reply)) != 0)
            fail_msg("%zu: %s", i, str_cstr(&run.replies));
        assert_int_equal(run.count, chunk_errors[i].messages);
        smtp_run_fini(&run);
    }
}

TASK_TEST(refuses_what_is_too_big_or_goes_round)
{
    static const char tiny[] = "message_size_limit = 20\n";
    struct smtp_run big = {.main_cf = tiny}, loop = {.main_cf = "hopcount_limit = 3\n"};

    play(&big, "DATA\r\nA: b\r\n\r\n0123456789012345\r\n.\r\nQUIT\r\n");
    assert_string_equal(last_reply(&big), "552 5.3.4 Error: message file too big");
    assert_int_equal(big.count, 0);
    play(&loop, "DATA\r\nReceived: a\r\nReceived: b\r\n\r\n.\r\nQUIT\r\n");
    assert_string_equal(last_reply(&loop), "554 5.4.0 Error: too many hops");
    assert_int_equal(loop.count, 0);
    smtp_run_fini(&big);
    smtp_run_fini(&loop);
}

TASK_TEST(refuses_mail_when_the_disk_is_nearly_full)
{
    static const struct {
        const char *main_cf;
        uint64_t space;
        const char *parameter;
        bool is_refused;
    } cases[] = {
        {"message_size_limit = 1000\n", 1501, "", false},
        {"message_size_limit = 1000\n", 1500, "", true},
        {"message_size_limit = 1000\n", 1501, " SIZE=1000", false},
        {"message_size_limit = 1000\nqueue_minfree = 2000\n", 2001, "", false},
        {"message_size_limit = 1000\nqueue_minfree = 2000\n", 2000, "", true},
        {"message_size_limit = 1000\nqueue_minfree = 1\n", 1500, "", true},
        {"message_size_limit = 0\n", 1, "", false},
        {"message_size_limit = 0\n", 5000, " SIZE=4999", false},
        {"message_size_limit = 0\n", 5000, " SIZE=5000", true},
        {"message_size_limit = 9223372036854775807\n", UINT64_MAX / 2, "", true},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct smtp_run run = {.main_cf = cases[i].main_cf, .space = cases[i].space};
        char script[200];

        snprintf(script, sizeof(script), "EHLO c\r\nMAIL FROM:<a@b.test>%s\r\n",
                 cases[i].parameter);
        run.script = span_cstr(script);
        smtp_play(&run);
        assert_int_equal(span_search(str_span(&run.replies),
                                     SPAN_LIT("452 4.3.1 Insufficient system storage")) >= 0,
                         cases[i].is_refused);
        assert_int_equal(span_search(str_span(&run.replies), SPAN_LIT("250 2.1.0 Ok")) >= 0,
                         !cases[i].is_refused);
        assert_int_equal(span_search(str_span(&run.log), SPAN_LIT("reject: MAIL from")) >= 0,
                         cases[i].is_refused);
        assert_int_equal(span_search(str_span(&run.log), SPAN_LIT("not enough free space")) >= 0,
                         cases[i].is_refused);
        smtp_run_fini(&run);
    }
}

TASK_TEST(answers_4xx_when_the_queue_fails)
{
    static const struct {
        int commit, append;
        const char *reply;
    } cases[] = {
        {-ENOSPC, 0, "452 4.3.1 Insufficient system storage"},
        {ERR_TEMPORARY, 0, "451 4.3.0 Error: queue file write error"},
        {ERR_READ_ONLY, 0, "451 4.3.0 Error: queue file write error"},
        {0, -ENOSPC, "452 4.3.1 Insufficient system storage"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct smtp_run run = {.commit_error = cases[i].commit, .append_error = cases[i].append};

        /* A failed upload shows at DATA already when the first header line cannot be
         * written. */
        play(&run, "DATA\r\n\r\nx\r\n.\r\nQUIT\r\n");
        if (cases[i].append == 0)
            assert_string_equal(last_reply(&run), cases[i].reply);
        assert_int_equal(run.count, 0);
        smtp_run_fini(&run);
    }
    struct smtp_run run = {.id_error = ERR_TEMPORARY};

    play(&run, "QUIT\r\n");
    assert_string_equal(last_reply(&run), "451 4.3.0 Error: queue file write error");
    smtp_run_fini(&run);
}

TASK_TEST(says_why_a_client_went)
{
    struct smtp_run lost = {.script = SPAN_LIT("EHLO a\r\n")};
    struct smtp_run late = {.script = SPAN_LIT("EHLO a\r\n"), .end = -ETIMEDOUT};
    struct smtp_run data = {0}, slow = {.end = -ETIMEDOUT}, chunk = {.end = -ETIMEDOUT};

    smtp_play(&lost);
    assert_non_null(
        strstr(str_cstr(&lost.log), "lost connection after EHLO from unknown[192.0.2.1]\n"));
    smtp_play(&late);
    assert_non_null(strstr(str_cstr(&late.log), "timeout after EHLO from unknown[192.0.2.1]\n"));
    assert_true(span_iends(str_span(&late.replies),
                           SPAN_LIT("421 4.4.2 mx.example.test Error: timeout exceeded\r\n")));
    play(&data, "DATA\r\nA: b\r\n\r\nxx\r\n");
    assert_non_null(
        strstr(str_cstr(&data.log), "lost connection after DATA (12 bytes) from unknown"));
    assert_int_equal(data.count, 0);
    smtp_run_fini(&lost);
    /* A client that falls silent in a message gets no second chance: its next lines
     * would be commands. */
    play(&slow, "DATA\r\nA: b\r\n\r\nxx\r\n");
    assert_non_null(strstr(str_cstr(&slow.log), "timeout after DATA (12 bytes) from unknown"));
    assert_string_equal(last_reply(&slow), "421 4.4.2 mx.example.test Error: timeout exceeded");
    play(&chunk, "BDAT 100 LAST\r\nA: b\r\n");
    assert_non_null(strstr(str_cstr(&chunk.log), "timeout after BDAT (6 bytes) from unknown"));
    smtp_run_fini(&slow);
    smtp_run_fini(&chunk);
    smtp_run_fini(&late);
    smtp_run_fini(&data);
}

TASK_TEST(authenticates)
{
    static const struct {
        const char *script, *reply;
    } cases[] = {
        {"AUTH PLAIN AHUxAHBhc3M=\r\n", "235 2.7.0 Authentication successful"},
        {"AUTH plain\r\nAHUxAHBhc3M=\r\n", "235 2.7.0 Authentication successful"},
        {"AUTH PLAIN AHUxAHdyb25n\r\n",
         "535 5.7.8 Error: authentication failed: (reason unavailable)"},
        {"AUTH PLAIN =\r\n", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
        {"AUTH PLAIN\r\n*\r\n", "501 5.7.0 Authentication aborted"},
        {"AUTH PLAIN !!\r\n",
         "535 5.7.8 Error: authentication failed: Invalid base64 data in initial response"},
        {"AUTH FOO\r\n",
         "535 5.7.8 Error: authentication failed: Invalid authentication mechanism"},
        {"AUTH DOWN\r\n",
         "454 4.7.0 Temporary authentication failure: Connection lost to authentication server"},
        {"AUTH\r\n", "501 5.5.4 Syntax: AUTH mechanism"},
        {"AUTH PLAIN a b\r\n", "501 5.5.4 Syntax: AUTH mechanism"},
        {"AUTH PLAIN AHUxAHBhc3M=\r\nAUTH PLAIN\r\n", "503 5.5.1 Error: already authenticated"},
        {"MAIL FROM:<a@b.test>\r\nAUTH PLAIN\r\n", "503 5.5.1 Error: MAIL transaction in progress"},
        {"AUTH PLAIN AHUxAHBhc3M=\r\nMAIL FROM:<u1@example.test>\r\nRCPT TO:<x@other.test>\r\n",
         "250 2.1.5 Ok"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct smtp_run run = {.main_cf = "smtpd_sasl_auth_enable = yes\n"};
        struct str script = {0};

        str_printf(&script, "EHLO a\r\n%sQUIT\r\n", cases[i].script);
        run.script = str_span(&script);
        smtp_play(&run);
        assert_string_equal(last_reply(&run), cases[i].reply);
        smtp_run_fini(&run);
        str_fini(&script);
    }
    struct smtp_run plain = {.main_cf = "smtpd_sasl_auth_enable=yes\nsmtpd_tls_auth_only=yes\n",
                             .script = SPAN_LIT("EHLO a\r\nAUTH PLAIN AHUxAHBhc3M=\r\nQUIT\r\n")};

    smtp_play(&plain);
    assert_null(strstr(str_cstr(&plain.replies), "AUTH PLAIN"));
    assert_string_equal(last_reply(&plain),
                        "538 5.7.11 Encryption required for requested authentication mechanism");
    smtp_run_fini(&plain);
}

TASK_TEST(limits_connections_lines_and_memory)
{
    struct smtp_run many = {.script = SPAN_LIT("QUIT\r\n"), .connections = 51};
    struct str script = {0};
    struct smtp_run line = {0}, memory = {.main_cf = "session_memory_limit = 65536\n"};

    smtp_play(&many);
    assert_string_equal(str_cstr(&many.replies),
                        "421 4.7.0 mx.example.test Error: too many connections from 192.0.2.1\r\n");
    str_append_fill(&script, 'x', 5000);
    str_append_cstr(&script, "\r\nQUIT\r\n");
    line.script = str_span(&script);
    smtp_play(&line);
    assert_string_equal(str_cstr(&line.replies), BANNER "500 5.5.2 Error: line too long\r\n" BYE);
    str_clear(&script);
    str_append_cstr(&script, "MAIL FROM:<a@b.test>\r\n");
    for (int i = 0; i < 2000; i++)
        str_append_cstr(&script, "RCPT TO:<u1@example.test>\r\n");
    str_append_cstr(&script, "QUIT\r\n");
    memory.script = str_span(&script);
    smtp_play(&memory); /* asserts that nothing leaks; the session may end early */
    smtp_run_fini(&many);
    smtp_run_fini(&line);
    smtp_run_fini(&memory);
    str_fini(&script);
}

TASK_TEST(expands_aliases_and_removes_doubles)
{
    struct smtp_run run = {
        .main_cf = "virtual_alias_domains = v.test\n"
                   "virtual_alias_maps = inline:{ {list@v.test = u1@example.test, u2} }\n",
        .script = SPAN_LIT("MAIL FROM:<s@b.test>\r\nRCPT TO:<list@v.test>\r\n"
                           "RCPT TO:<no@v.test>\r\nRCPT TO:<u1@example.test>\r\n"
                           "RCPT TO:<u1@example.test>\r\nDATA\r\n\r\n.\r\nQUIT\r\n")};

    smtp_play(&run);
    assert_int_equal(run.count, 1);
    assert_string_equal(str_cstr(&run.messages[0].recipients),
                        "u1@example.test(list@v.test) u2@mx.example.test(list@v.test) "
                        "u1@example.test");
    assert_non_null(strstr(str_cstr(&run.replies),
                           "550 5.1.1 <no@v.test>: Recipient address rejected: User unknown in "
                           "virtual alias table\r\n"));
    /* Several recipients: none is named. */
    assert_null(strstr(str_cstr(&run.messages[0].content), "\tfor <"));
    smtp_run_fini(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_dialogues),
        cmocka_unit_test(takes_a_message),
        cmocka_unit_test(logs_rejections_as_readers_expect),
        cmocka_unit_test(logs_what_is_no_address_and_who_says_nothing),
        cmocka_unit_test(ends_a_message_at_crlf_dot_crlf_only),
        cmocka_unit_test(keeps_nul_and_eight_bit),
        cmocka_unit_test(takes_chunks),
        cmocka_unit_test(never_takes_chunks_for_commands),
        cmocka_unit_test(refuses_what_is_too_big_or_goes_round),
        cmocka_unit_test(answers_4xx_when_the_queue_fails),
        cmocka_unit_test(refuses_mail_when_the_disk_is_nearly_full),
        cmocka_unit_test(says_why_a_client_went),
        cmocka_unit_test(authenticates),
        cmocka_unit_test(limits_connections_lines_and_memory),
        cmocka_unit_test(expands_aliases_and_removes_doubles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
