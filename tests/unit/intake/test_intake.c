/* The header pass, in every fragmentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "intake/intake.h"
#include "intake/rewrite.h"

static const struct {
    const char *in, *out; /* out NULL: as in */
    const char *message_id;
    bool is_local;
} cases[] = {
    {"A: b\r\n\r\nx\r\n", NULL, "", false},
    {"", "", "", false},
    {"\r\n", NULL, "", false},
    {"\r\nx\r\n", NULL, "", false},
    {"A: b\r\n", NULL, "", false},
    {"x\r\n", "\r\nx\r\n", "", false},
    {"A: b\r\nno header\r\nx\r\n", "A: b\r\n\r\nno header\r\nx\r\n", "", false},
    {" folded first\r\nx\r\n", "\r\n folded first\r\nx\r\n", "", false},
    {"From a@b Thu\r\nA: b\r\n\r\n", "X-Mailbox-Line: From a@b Thu\r\nA: b\r\n\r\n", "", false},
    {">From a@b\r\n\r\n", "X-Mailbox-Line: >From a@b\r\n\r\n", "", false},
    {"Message-ID: <a@b>\r\n\r\n", NULL, "<a@b>", false},
    {"Message-ID:\r\n <a@b>\r\n\r\n", NULL, "<a@b>", false},
    {"Message-Id : <a@b>  \r\nX: y\r\n\r\n", NULL, "<a@b>", false},
    {"Message-Id: <1>\r\nMessage-Id: <2>\r\n\r\n", NULL, "<1>", false},
    {"Bcc: x\r\n y\r\nA: b\r\nReturn-Path: <z>\r\nContent-Length: 7\r\nResent-Bcc: q\r\n\r\nBcc: "
     "x\r\n",
     "A: b\r\n\r\nBcc: x\r\n", "", false},
    {"Bccx: a\r\n\r\n", NULL, "", false},
    /* completed: a fixed time and id */
    {"Subject: x\r\n\r\nbody\r\n",
     "Message-Id: <20200913122640.ID@mx.test>\r\n"
     "Date: Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\nFrom: s@b.test\r\n"
     "Subject: x\r\n\r\nbody\r\n",
     "<20200913122640.ID@mx.test>", true},
    {"Date: x\r\nFROM: y\r\nmessage-id: <a@b>\r\n\r\n", NULL, "<a@b>", true},
    {"Resent-To: z\r\nDate: x\r\nFrom: y\r\nMessage-Id: <a@b>\r\n\r\n",
     "Resent-Message-Id: <20200913122640.ID@mx.test>\r\n"
     "Resent-Date: Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\nResent-From: s@b.test\r\n"
     "Resent-To: z\r\nDate: x\r\nFrom: y\r\nMessage-Id: <a@b>\r\n\r\n",
     "<a@b>", true},
    {"body only\r\n",
     "Message-Id: <20200913122640.ID@mx.test>\r\n"
     "Date: Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\nFrom: s@b.test\r\n\r\nbody only\r\n",
     "<20200913122640.ID@mx.test>", true},
};

static char last_log[512];

static void keep_log(void *arg, enum log_level level, struct span text)
{
    snprintf(last_log, sizeof(last_log), "%s: %.*s", log_tag(), SPAN_ARG(text));
}

static int keep(void *arg, struct span octets)
{
    return str_append(arg, octets);
}

static int insert(void *arg, uint64_t at, struct span octets)
{
    struct str *s = arg, whole = {0};

    str_append(&whole, span_take(str_span(s), at));
    str_append(&whole, octets);
    str_append(&whole, span_drop(str_span(s), at));
    str_set(s, str_span(&whole));
    str_fini(&whole);
    return str_error(s);
}

static const struct intake_options options = {
    .myhostname = {"mx.test", 7},
    .mail_name = {"Postfix", 7},
    .drop_headers = {"bcc, content-length, resent-bcc, return-path", 44},
    .header_size_limit = 102400,
    .hopcount_limit = 50,
    .log_tag = "postfix/cleanup",
};

/* Feed text in pieces of at most piece octets; 0: random ones. */
static void pass(struct intake *in, const struct intake_options *o, struct span text, bool is_local,
                 size_t piece, struct str *out)
{
    const struct intake_facts facts = {.queue_id = SPAN_LIT("ID"),
                                       .sender = SPAN_LIT("s@b.test"),
                                       .arrival_s = 1600000000,
                                       .is_local = is_local};

    str_clear(out);
    intake_begin(in, o, &facts, keep, insert, out, NULL);
    while (text.n > 0) {
        size_t n = piece != 0 ? piece : 1 + (size_t)rand() % 5;

        assert_int_equal(intake_feed(in, span_take(text, n)), 0);
        text = span_drop(text, n);
    }
    assert_int_equal(intake_finish(in), 0);
}

static void passes_headers(void **state)
{
    struct str out = {0};

    setenv("TZ", "UTC", 1);
    tzset();
    log_set_sink(keep_log, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t piece = 0; piece < 40; piece++) {
            const char *want = cases[i].out != NULL ? cases[i].out : cases[i].in;
            char line[600];
            struct intake in;

            pass(&in, &options, span_cstr(cases[i].in), cases[i].is_local, piece, &out);
            assert_string_equal(str_cstr(&out), want);
            assert_string_equal(str_cstr(&in.message_id), cases[i].message_id);
            snprintf(line, sizeof(line), "postfix/cleanup: ID: message-id=%s", cases[i].message_id);
            assert_string_equal(last_log, line);
            assert_int_equal(in.verdict, INTAKE_ACCEPT);
            intake_fini(&in);
        }
    log_set_sink(NULL, NULL);
    str_fini(&out);
}

static void limits(void **state)
{
    struct intake_options o = options;
    struct str text = {0}, out = {0};
    struct intake in;

    log_set_sink(keep_log, NULL);
    /* Long lines pass, also when they are longer than what is collected. */
    str_append_cstr(&text, "A: ");
    str_append_fill(&text, 'x', 3 * INTAKE_LINE_MAX);
    str_append_cstr(&text, "\r\nB: c\r\n\r\nend\r\n");
    pass(&in, &o, str_span(&text), false, 1000, &out);
    assert_true(span_eq(str_span(&out), str_span(&text)));
    intake_fini(&in);
    /* header_size_limit: the rest of the field goes, the next one stays. */
    o.header_size_limit = 100;
    pass(&in, &o, str_span(&text), false, 1000, &out);
    assert_int_equal(out.len, 100 + 2 + strlen("B: c\r\n\r\nend\r\n"));
    intake_fini(&in);
    o.message_size_limit = 1000;
    pass(&in, &o, str_span(&text), false, 1000, &out);
    assert_int_equal(in.verdict, INTAKE_TOO_BIG);
    intake_fini(&in);
    /* What is added counts, too. */
    for (int limit = 100; limit <= 1000; limit += 900) {
        o.message_size_limit = (uint64_t)limit;
        pass(&in, &o, SPAN_LIT("Subject: x\r\n\r\nbody\r\n"), true, 7, &out);
        assert_int_equal(in.verdict, limit < 1000 ? INTAKE_TOO_BIG : INTAKE_ACCEPT);
        intake_fini(&in);
    }
    o.message_size_limit = 0;
    o.hopcount_limit = 2;
    pass(&in, &o, SPAN_LIT("Received: a\r\nReceived: b\r\n\r\n"), false, 7, &out);
    assert_int_equal(in.verdict, INTAKE_TOO_MANY_HOPS);
    assert_string_equal(intake_verdict_reply(in.verdict), "554 5.4.0 Error: too many hops");
    intake_fini(&in);
    str_fini(&text);
    str_fini(&out);
    log_set_sink(NULL, NULL);
}

static void names_the_sender(void **state)
{
    static const char rest[] = "Date: x\r\nMessage-Id: <x>\r\n\r\n";
    static const struct {
        const char *name, *sender, *from;
    } names[] = {
        {"", "s@b.test", "From: s@b.test\r\n"},
        {"Joe", "s@b.test", "From: Joe <s@b.test>\r\n"},
        {"  Joe User ", "s@b.test", "From: Joe User <s@b.test>\r\n"},
        {"Joe Q. Public", "s@b.test", "From: \"Joe Q. Public\" <s@b.test>\r\n"},
        {"A \"B\" \\", "s@b.test", "From: \"A \\\"B\\\" \\\\\" <s@b.test>\r\n"},
        {"J\303\266rg", "s@b.test", "From: J\303\266rg <s@b.test>\r\n"},
        {"a\r\nTo: x\tb", "s@b.test", "From: \"a  To: x b\" <s@b.test>\r\n"},
        {"Joe", "", "From: MAILER-DAEMON\r\n"},
    };
    struct str out = {0};

    log_set_sink(keep_log, NULL);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct intake_facts facts = {.queue_id = SPAN_LIT("ID"),
                                           .sender = span_cstr(names[i].sender),
                                           .full_name = span_cstr(names[i].name),
                                           .is_local = true};
        struct intake in;

        str_clear(&out);
        intake_begin(&in, &options, &facts, keep, insert, &out, NULL);
        intake_feed(&in, span_cstr(rest));
        assert_int_equal(intake_finish(&in), 0);
        assert_true(span_starts(str_span(&out), span_cstr(names[i].from)));
        assert_string_equal(str_cstr(&out) + strlen(names[i].from), rest);
        intake_fini(&in);
    }
    log_set_sink(NULL, NULL);
    str_fini(&out);
}

/* --- addresses in headers --- */

static const char route_text[] = "myhostname = mx.test\nmydomain = dom.test\nmyorigin = o.test\n"
                                 "inet_interfaces = 127.0.0.1\n";

static struct route *load_route(const char *more, struct conf **conf)
{
    struct str text = {0}, why = {0};
    struct route *r;

    str_printf(&text, "%s%s", route_text, more);
    assert_int_equal(conf_load_text(conf, "/nonexistent", "main.cf", str_span(&text), &why), 0);
    assert_int_equal(route_load(&r, *conf, &why), 0);
    str_fini(&text);
    str_fini(&why);
    return r;
}

/* out NULL: nothing changes. */
static const struct {
    const char *in, *out;
} addresses[] = {
    {"To: a@b.test,c <d@e.test>,  f@g.test (h)\r\n", NULL},
    {"to : root\r\n", "to : root@o.test\r\n"},
    {"From: root (Cron Daemon)\r\n", "From: root@o.test (Cron Daemon)\r\n"},
    {"To: root, joe@x.test, \"A B\" <joe>, list: a, b;\r\n",
     "To: root@o.test, joe@x.test, \"A B\" <joe@o.test>, list: a@o.test, b@o.test;\r\n"},
    {"To: a,\r\n\tb\r\n (c\r\n d)\r\n", "To: a@o.test,\r\n\tb@o.test\r\n (c\r\n d)\r\n"},
    {"To: =?utf-8?Q?J=C3=B6rg?= <joerg>\r\n", "To: =?utf-8?Q?J=C3=B6rg?= <joerg@o.test>\r\n"},
    {"To: \"a b\", \"c@d\", \"e\\\"f\"\r\n",
     "To: \"a b\"@o.test, \"c@d\"@o.test, \"e\\\"f\"@o.test\r\n"},
    {"To: \"@a:b\"@x.test, \"c%d\"@x.test\r\n", NULL},
    {"To: <@a.test,@b.test:joe@x.test>\r\n", "To: <joe@x.test>\r\n"},
    {"To: <@a.test:joe>\r\n", "To: <joe@o.test>\r\n"},
    {"To: joe@x.test. (c)\r\n", "To: joe@x.test (c)\r\n"},
    {"To: joe@(c)x.test.\r\n", "To: joe@x.test (c)\r\n"},
    {"To: h.test!joe, joe%x.test\r\n", "To: joe@h.test, joe@x.test\r\n"},
    {"To: joe@[192.0.2.1], <>\r\n", NULL},
    {"To: .joe\r\n", "To: \".joe\"@o.test\r\n"},
    {"To: undisclosed-recipients:;\r\n", NULL},
    {"To:\r\n", NULL},
    {"To: ,, ;:<\r\n", NULL},
    {"To: \"\", \"\"@x.test\r\n", NULL},
    /* An operator with nothing on one side of it, and what would be no domain. */
    {"To: !x.test;\r\n", NULL},
    {"Reply-To: %%\r\n", NULL},
    {"To : (c)'%;\r\n", NULL},
    {"To: joe%, %x.test, joe!, !, x..test!joe, joe@x..test., joe@[a@b].\r\n", NULL},
    {"To: <@a.test:joe@x..test>, <@a.test:joe%>, <@a.test:joe@[a@b]>\r\n", NULL},
    {"To: Cron Daemon, <a b>, a@b@c, @, @x.test, a@, [1], a\\b\r\n", NULL},
    {"To: a (b\r\n", NULL},
    {"To: \"a\r\n", NULL},
    {"To: a, <b\r\n", "To: a@o.test, <b\r\n"},
    {"To: a, b@[1\r\n", "To: a@o.test, b@[1\r\n"},
    {"To: <a> b, c\r\n", "To: <a@o.test> b, c@o.test\r\n"},
    {"To: \"a\\\r\n\"\r\n", "To: \"a\\\r\n\"@o.test\r\n"},
    /* Folded between addresses where it has become too long, and only there. */
    {"To: first, second, third, fourth, fifth, sixth, seventh, eighth\r\n",
     "To: first@o.test, second@o.test, third@o.test, fourth@o.test, fifth@o.test,\r\n"
     "\tsixth@o.test, seventh@o.test, eighth@o.test\r\n"},
};

static void completes_addresses(void **state)
{
    struct conf *conf;
    struct route *r = load_route("", &conf);
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        struct span in = span_cstr(addresses[i].in);
        int changed = intake_rewrite_field(r, ROUTE_CONTEXT_LOCAL, in, 1000, &out);

        assert_int_equal(changed, addresses[i].out != NULL);
        assert_string_equal(str_cstr(&out), changed ? addresses[i].out : addresses[i].in);
        str_clear(&out);
    }
    str_fini(&out);
    route_free(r);
    conf_free(conf);
}

static const struct {
    const char *parameters;
    enum route_context context;
} completions[] = {
    {"", ROUTE_CONTEXT_LOCAL},
    {"append_dot_mydomain = yes\n", ROUTE_CONTEXT_LOCAL},
    {"append_at_myorigin = no\nappend_dot_mydomain = yes\n", ROUTE_CONTEXT_LOCAL},
    {"append_dot_mydomain = yes\nmyorigin = bare\n", ROUTE_CONTEXT_LOCAL},
    {"swap_bangpath = no\npercent_hack = no\n", ROUTE_CONTEXT_LOCAL},
    {"append_dot_mydomain = yes\nremote_header_rewrite_domain = invalid.test\n",
     ROUTE_CONTEXT_REMOTE},
};

static void add_pieces(struct str *out, const char *const *pieces, size_t count, int n)
{
    while (n-- > 0)
        str_append_cstr(out, pieces[(size_t)rand() % count]);
}

/* Whatever stands in a field: what is complete once is complete. */
static void completes_once(void **state)
{
    static const char *const pieces[] = {
        "a",     "joe",   "x.test", "\303\244", "1",    ".",       ".",      "@",          "@",
        "%",     "!",     ",",      ",",        ";",    ":",       "<",      ">",          "(c)",
        "(",     ")",     "[",      "]",        "[1]",  "\"a b\"", "\"\"",   "\"a@b\"",    "\"",
        "\\",    " ",     "\r\n\t", "'",        "\x01", "@x:",     "<@x:y@", "\"a\\\"b\"", "h.",
        "%x.t.", "host!", "@host",  "@host.",   "@x..y"};
    struct str in = {0}, once = {0}, twice = {0};

    srand(1);
    for (size_t i = 0; i < COUNT_OF(completions); i++) {
        struct conf *conf;
        struct route *r = load_route(completions[i].parameters, &conf);

        for (int round = 0; round < 20000; round++) {
            str_clear(&in);
            str_clear(&once);
            str_clear(&twice);
            str_append_cstr(&in, "To: ");
            add_pieces(&in, pieces, COUNT_OF(pieces), 1 + rand() % 12);
            str_append_cstr(&in, "\r\n");
            if (intake_rewrite_field(r, completions[i].context, str_span(&in), 1000, &once) == 0)
                continue;
            assert_int_equal(str_error(&once), 0);
            if (intake_rewrite_field(r, completions[i].context, str_span(&once), 1000, &twice) != 0)
                fail_msg("%s%s%s%s", completions[i].parameters, str_cstr(&in), str_cstr(&once),
                         str_cstr(&twice));
        }
        route_free(r);
        conf_free(conf);
    }
    str_fini(&in);
    str_fini(&once);
    str_fini(&twice);
}

/* Nothing of a field whose addresses have local part and domain is touched. */
static void keeps_complete_fields(void **state)
{
    static const char *const addresses_of[] = {"joe@x.test",
                                               "<joe@x.test>",
                                               "Joe User <a%b!c@x.test>",
                                               "\"a@b!c%d\"@x.test",
                                               "\"\"@x.test",
                                               "\"J, <U>;\" <j.u@[192.0.2.1]>",
                                               "(c) joe (d) @ x.test (e)",
                                               "<>",
                                               "list: a@x.test, b@y.test;",
                                               "undisclosed-recipients:;",
                                               "=?utf-8?Q?=C3=A4?= <\303\244@x.test>",
                                               ".joe.@x.test",
                                               ""};
    static const char *const separators[] = {",", ", ", ",\r\n\t", " ,(c)\r\n  ", ";", " ; "};
    struct str in = {0}, out = {0};

    srand(1);
    for (size_t i = 0; i < COUNT_OF(completions); i++) {
        struct conf *conf;
        struct route *r = load_route(completions[i].parameters, &conf);

        for (int round = 0; round < 2000; round++) {
            str_clear(&in);
            str_clear(&out);
            str_append_cstr(&in, "to : ");
            for (int left = rand() % 20; left >= 0; left--) {
                add_pieces(&in, addresses_of, COUNT_OF(addresses_of), 1);
                add_pieces(&in, separators, COUNT_OF(separators), left > 0);
            }
            str_append_cstr(&in, "\r\n");
            if (intake_rewrite_field(r, completions[i].context, str_span(&in), 1000, &out) != 0)
                fail_msg("%s%s%s", completions[i].parameters, str_cstr(&in), str_cstr(&out));
        }
        route_free(r);
        conf_free(conf);
    }
    str_fini(&in);
    str_fini(&out);
}

static void completes_for_some(void **state)
{
    static const struct {
        const char *parameters;
        bool is_local;
        const char *in, *out; /* out NULL: as in */
    } passes[] = {
        {"", true, "Subject: a\r\nCc: a\r\nX-From: a\r\n\r\nTo: a\r\n",
         "Subject: a\r\nCc: a@o.test\r\nX-From: a\r\n\r\nTo: a\r\n"},
        {"", false, "From: a\r\nTo: <@b.test:c@d.test>\r\n\r\n", NULL},
        {"remote_header_rewrite_domain = invalid.test\n", false, "From: a\r\nTo: b@host\r\n\r\n",
         "From: a@invalid.test\r\nTo: b@host\r\n\r\n"},
        {"append_at_myorigin = no\n", true, "From: a\r\n\r\n", NULL},
        {"append_dot_mydomain = yes\n", true, "From: a@host,\r\n b\r\nCc: c\r\n\r\n",
         "From: a@host.dom.test,\r\n b@o.test\r\nCc: c@o.test\r\n\r\n"},
        /* The end of the message is the end of the field. */
        {"", true, "From: a", "From: a@o.test\r\n"},
    };
    static const char complete[] = "Date: x\r\nMessage-Id: <x>\r\nFrom: x@y.test\r\n";
    struct str in = {0}, want = {0}, out = {0};

    log_set_sink(keep_log, NULL);
    for (size_t i = 0; i < COUNT_OF(passes); i++)
        for (size_t piece = 0; piece < 40; piece++) {
            struct intake_options o = options;
            struct conf *conf;
            struct intake pass_in;

            o.route = load_route(passes[i].parameters, &conf);
            o.token_limit = 100;
            o.rewrites_remote = conf_string(conf, "remote_header_rewrite_domain")[0] != '\0';
            str_clear(&in);
            str_clear(&want);
            str_printf(&in, "%s%s", complete, passes[i].in);
            str_printf(&want, "%s%s", complete,
                       passes[i].out != NULL ? passes[i].out : passes[i].in);
            pass(&pass_in, &o, str_span(&in), passes[i].is_local, piece, &out);
            assert_string_equal(str_cstr(&out), str_cstr(&want));
            intake_fini(&pass_in);
            route_free((struct route *)o.route);
            conf_free(conf);
        }
    log_set_sink(NULL, NULL);
    str_fini(&in);
    str_fini(&want);
    str_fini(&out);
}

/* A header made to cost: its work and its growth are bounded, and nothing of it gets lost. */
static void addresses_are_bounded(void **state)
{
    struct intake_options o = options;
    struct str text = {0}, out = {0};
    struct budget budget;
    struct conf *conf;
    struct intake in;
    const struct intake_facts facts = {
        .queue_id = SPAN_LIT("ID"), .sender = SPAN_LIT("s"), .is_local = true};

    log_set_sink(keep_log, NULL);
    o.route = load_route("", &conf);
    o.token_limit = 10;
    str_append_cstr(&text, "Date: x\r\nMessage-Id: <x>\r\nFrom: a@b.test\r\nTo: a,b,c,d,e,");
    str_append_fill(&text, ',', 20000);
    str_append_cstr(&text, "f\r\n\r\n");
    pass(&in, &o, str_span(&text), true, 100, &out);
    assert_true(span_search(str_span(&out), SPAN_LIT("e@o.test,")) > 0);
    assert_true(span_search(str_span(&out), SPAN_LIT("f@o.test")) < 0);
    intake_fini(&in);
    /* What grows beyond message_size_limit is thrown away as soon as it does. */
    o.token_limit = 10000;
    o.message_size_limit = 40000;
    str_clear(&text);
    str_append_cstr(&text, "Date: x\r\nMessage-Id: <x>\r\nFrom: a@b.test\r\n");
    for (int i = 0; i < 5; i++) {
        str_append_cstr(&text, "To: ");
        for (int j = 0; j < 3000; j++)
            str_append_cstr(&text, "a,");
        str_append_cstr(&text, "\r\n");
    }
    assert_true(text.len < o.message_size_limit);
    pass(&in, &o, str_span(&text), true, 100, &out);
    assert_int_equal(in.verdict, INTAKE_TOO_BIG);
    assert_true(out.len <= o.message_size_limit);
    intake_fini(&in);
    pass(&in, &o, str_span(&text), false, 100, &out);
    assert_int_equal(in.verdict, INTAKE_ACCEPT);
    intake_fini(&in);
    o.token_limit = 10;
    o.message_size_limit = 0;
    /* Nesting costs no stack. */
    str_clear(&text);
    str_append_cstr(&text, "Date: x\r\nMessage-Id: <x>\r\nFrom: a ");
    str_append_fill(&text, '(', 90000);
    str_append_cstr(&text, "\r\n\r\n");
    pass(&in, &o, str_span(&text), true, 1000, &out);
    assert_true(span_eq(str_span(&out), str_span(&text)));
    intake_fini(&in);
    /* A field for which memory is short passes as it is. */
    str_clear(&text);
    str_append_cstr(&text, "Date: x\r\nMessage-Id: <x>\r\nFrom: root,\r\n");
    for (int i = 0; i < 2000; i++)
        str_append_cstr(&text, " root,\r\n");
    str_append_cstr(&text, " root\r\n\r\n");
    budget_init(&budget, 4096);
    str_clear(&out);
    intake_begin(&in, &o, &facts, keep, insert, &out, &budget);
    assert_int_equal(intake_feed(&in, str_span(&text)), 0);
    assert_int_equal(intake_finish(&in), 0);
    assert_true(span_eq(str_span(&out), str_span(&text)));
    intake_fini(&in);
    assert_int_equal(budget.used, 0);
    log_set_sink(NULL, NULL);
    str_fini(&text);
    str_fini(&out);
    route_free((struct route *)o.route);
    conf_free(conf);
}

static void prints_received_as_postfix_does(void **state)
{
    const struct intake_facts facts = {.queue_id = SPAN_LIT("ID"), .arrival_s = 1600000000};
    struct intake_trace trace = {
        .helo = SPAN_LIT("h.test"),
        .client_name = SPAN_LIT("c.test"),
        .client_address = SPAN_LIT("192.0.2.1"),
        .tls = SPAN_LIT("TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange "
                        "X25519 server-signature ECDSA (P-256) server-digest SHA256"),
        .tls_client = SPAN_LIT("(No client certificate requested)"),
        .login = SPAN_LIT("u1"),
        .protocol = SPAN_LIT("ESMTPSA"),
        .recipient = SPAN_LIT("u2@b.test"),
    };
    struct str out = {0};

    assert_int_equal(intake_print_received(&out, &options, &facts, &trace), 0);
    assert_string_equal(str_cstr(&out),
                        "Received: from h.test (c.test [192.0.2.1])\r\n"
                        "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n"
                        "\t key-exchange X25519 server-signature ECDSA (P-256) server-digest "
                        "SHA256)\r\n"
                        "\t(No client certificate requested)\r\n"
                        "\t(Authenticated sender: u1)\r\n"
                        "\tby mx.test (Postfix) with ESMTPSA id ID\r\n"
                        "\tfor <u2@b.test>; Sun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\n");
    trace = (struct intake_trace){.client_name = SPAN_LIT("unknown"),
                                  .client_address = SPAN_LIT("192.0.2.1"),
                                  .protocol = SPAN_LIT("SMTP")};
    str_clear(&out);
    assert_int_equal(intake_print_received(&out, &options, &facts, &trace), 0);
    assert_string_equal(str_cstr(&out), "Received: from unknown (unknown [192.0.2.1])\r\n"
                                        "\tby mx.test (Postfix) with SMTP id ID;\r\n"
                                        "\tSun, 13 Sep 2020 12:26:40 +0000 (UTC)\r\n");
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_headers),
        cmocka_unit_test(limits),
        cmocka_unit_test(names_the_sender),
        cmocka_unit_test(completes_addresses),
        cmocka_unit_test(completes_once),
        cmocka_unit_test(keeps_complete_fields),
        cmocka_unit_test(completes_for_some),
        cmocka_unit_test(addresses_are_bounded),
        cmocka_unit_test(prints_received_as_postfix_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
