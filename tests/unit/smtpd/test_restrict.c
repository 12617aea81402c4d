/* Restriction lists and access tables. */
#include "smtpd/restrict_internal.h"
#include "tests/unit/smtpd/support_smtp.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *main_cf, *client, *sender, *recipient;
    const char *reply; /* to RCPT */
} cases[] = {
    /* order: relay before recipient, each list on its own */
    {"smtpd_recipient_restrictions = permit\n", NULL, "a@b.test", "x@other.test",
     "454 4.7.1 <x@other.test>: Relay access denied"},
    {"smtpd_relay_restrictions = permit\nsmtpd_recipient_restrictions = reject\n", NULL, "a@b.test",
     "u1@example.test", "554 5.7.1 <u1@example.test>: Recipient address rejected: Access denied"},
    {"smtpd_client_restrictions = reject\n", NULL, "a@b.test", "u1@example.test",
     "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied"},
    {"smtpd_helo_restrictions = reject\n", NULL, "a@b.test", "u1@example.test",
     "554 5.7.1 <h.test>: Helo command rejected: Access denied"},
    {"smtpd_sender_restrictions = defer\n", NULL, "a@b.test", "u1@example.test",
     "450 4.3.2 <a@b.test>: Sender address rejected: Try again later"},
    {"smtpd_recipient_restrictions = warn_if_reject reject, permit\n", NULL, "a@b.test",
     "u1@example.test", "250 2.1.5 Ok"},
    {"smtpd_client_restrictions = permit_mynetworks, reject\n", "10.0.0.1", "a@b.test",
     "u1@example.test", "250 2.1.5 Ok"},
    {"smtpd_client_restrictions = permit_sasl_authenticated, reject\n", "10.0.0.1", "a@b.test",
     "u1@example.test", "554 5.7.1 <unknown[10.0.0.1]>: Client host rejected: Access denied"},
    {"relay_domains = r.test\n", NULL, "a@b.test", "x@sub.r.test", "250 2.1.5 Ok"},
    {"relay_domains = r.test\nrelay_recipient_maps = inline:{y@r.test=x}\n", NULL, "a@b.test",
     "x@r.test",
     "550 5.1.1 <x@r.test>: Recipient address rejected: User unknown in relay recipient table"},
    {"virtual_mailbox_domains = m.test\nvirtual_mailbox_maps = inline:{y@m.test=x}\n", NULL,
     "a@b.test", "y+ext@m.test",
     "550 5.1.1 <y+ext@m.test>: Recipient address rejected: User unknown in virtual mailbox table"},
    {"virtual_mailbox_domains = m.test\nvirtual_mailbox_maps = inline:{y@m.test=x}\n"
     "recipient_delimiter = +\n",
     NULL, "a@b.test", "y+ext@m.test", "250 2.1.5 Ok"},
    {"myorigin = m.test\nvirtual_mailbox_domains = m.test\n"
     "virtual_mailbox_maps = inline:{y@m.test=x}\n",
     NULL, "a@b.test", "postmaster", "250 2.1.5 Ok"},
    {"smtpd_reject_unlisted_recipient = no\n", NULL, "a@b.test", "no@example.test", "250 2.1.5 Ok"},
    {"smtpd_reject_unlisted_sender = yes\n", NULL, "no@example.test", "u1@example.test",
     "550 5.1.0 <no@example.test>: Sender address rejected: User unknown in local recipient table"},
    {"show_user_unknown_table_name = no\n", NULL, "a@b.test", "no@example.test",
     "550 5.1.1 <no@example.test>: Recipient address rejected: User unknown"},
    {"soft_bounce = yes\n", NULL, "a@b.test", "no@example.test",
     "450 4.1.1 <no@example.test>: Recipient address rejected: User unknown in local recipient "
     "table"},
    {"local_recipient_maps = fail:x\n", NULL, "a@b.test", "u1@example.test",
     "451 4.3.0 <u1@example.test>: Temporary lookup failure"},
    {"transport_maps = inline:{ {u1@example.test = error:5.2.1 mailbox closed} }\n", NULL,
     "a@b.test", "u1@example.test",
     "550 5.2.1 <u1@example.test>: Recipient address rejected: mailbox closed"},
    /* access(5) */
    {"smtpd_client_restrictions = check_client_access inline:{192.0.2=REJECT}\n", NULL, "a@b.test",
     "u1@example.test", "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied"},
    {"smtpd_client_restrictions = check_client_access cidr:{{192.0.2.0/24 REJECT 5.7.9 go away}}\n",
     NULL, "a@b.test", "u1@example.test",
     "554 5.7.9 <unknown[192.0.2.1]>: Client host rejected: go away"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = 450 4.7.5 later} }\n",
     NULL, "a@sub.b.test", "u1@example.test",
     "450 4.7.5 <a@sub.b.test>: Sender address rejected: later"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {<> = 550 no bounces} }\n", NULL, "",
     "u1@example.test", "550 5.7.1 <>: Sender address rejected: no bounces"},
    {"smtpd_recipient_restrictions = check_recipient_access inline:{ {u1@ = DEFER} }\n", NULL,
     "a@b.test", "u1@example.test",
     "450 4.7.1 <u1@example.test>: Recipient address rejected: Access denied"},
    {"smtpd_helo_restrictions = check_helo_access inline:{ {h.test = 521 bye} }\n", NULL,
     "a@b.test", "u1@example.test", "521 5.7.1 <h.test>: Helo command rejected: bye"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = OK} }, reject\n", NULL,
     "a@b.test", "u1@example.test", "250 2.1.5 Ok"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = DUNNO} }, reject\n", NULL,
     "a@b.test", "u1@example.test", "554 5.7.1 <a@b.test>: Sender address rejected: Access denied"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = 200} }, reject\n", NULL,
     "a@b.test", "u1@example.test", "250 2.1.5 Ok"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = permit_mynetworks, "
     "reject} "
     "}\n",
     NULL, "a@b.test", "u1@example.test",
     "554 5.7.1 <a@b.test>: Sender address rejected: Access denied"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = 450} }, reject\n", NULL,
     "a@b.test", "u1@example.test", "250 2.1.5 Ok"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = 200 text} }\n", NULL,
     "a@b.test", "u1@example.test", "451 4.3.5 Server configuration error"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = FROBNICATE} }\n", NULL,
     "a@b.test", "u1@example.test", "451 4.3.5 Server configuration error"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = DEFER_IF_PERMIT busy} }\n",
     NULL, "a@b.test", "u1@example.test", "450 4.7.1 <a@b.test>: Sender address rejected: busy"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = DEFER_IF_PERMIT busy} }\n",
     NULL, "a@b.test", "no@example.test",
     "550 5.1.1 <no@example.test>: Recipient address rejected: User unknown in local recipient "
     "table"},
    {"smtpd_sender_restrictions = check_sender_access inline:{ {b.test = DEFER_IF_REJECT busy} }, "
     "reject\n",
     NULL, "a@b.test", "u1@example.test", "450 4.7.1 <a@b.test>: Sender address rejected: busy"},
    {"smtpd_client_restrictions = check_client_access fail:x\n", NULL, "a@b.test",
     "u1@example.test", "451 4.3.0 <unknown[192.0.2.1]>: Temporary lookup failure"},
    /* classes */
    {"smtpd_restriction_classes = strict\nstrict = permit_mynetworks, reject\n"
     "smtpd_sender_restrictions = strict\n",
     NULL, "a@b.test", "u1@example.test",
     "554 5.7.1 <a@b.test>: Sender address rejected: Access denied"},
    {"smtpd_restriction_classes = strict\nstrict = reject\n"
     "smtpd_recipient_restrictions = check_recipient_access inline:{u1@example.test=strict}\n",
     NULL, "a@b.test", "u1@example.test",
     "554 5.7.1 <u1@example.test>: Recipient address rejected: Access denied"},
    {"smtpd_restriction_classes = strict\nstrict = reject\n"
     "smtpd_sender_restrictions = warn_if_reject strict\n",
     NULL, "a@b.test", "u1@example.test", "250 2.1.5 Ok"},
    {"smtpd_restriction_classes = strict\nstrict = reject\n"
     "smtpd_sender_restrictions = warn_if_reject strict, reject\n",
     NULL, "a@b.test", "u1@example.test",
     "554 5.7.1 <a@b.test>: Sender address rejected: Access denied"},
    {"smtpd_restriction_classes = strict\nstrict = reject\nsmtpd_recipient_restrictions = "
     "check_recipient_access inline:{ {u1@example.test = warn_if_reject strict} }\n",
     NULL, "a@b.test", "u1@example.test", "250 2.1.5 Ok"},
    /* names */
    {"smtpd_sender_restrictions = reject_non_fqdn_sender\n", NULL, "a@localhost", "u1@example.test",
     "504 5.5.2 <a@localhost>: Sender address rejected: need fully-qualified address"},
    {"smtpd_client_restrictions = reject_unknown_client_hostname\n", NULL, "a@b.test",
     "u1@example.test", "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]"},
    {"smtpd_client_restrictions = reject_plaintext_session\n", NULL, "a@b.test", "u1@example.test",
     "450 4.7.1 Session encryption is required"},
};

TASK_TEST(decides)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct smtp_run run = {.main_cf = cases[i].main_cf, .client = cases[i].client};
        struct str script = {0}, want = {0};

        str_printf(&script, "HELO h.test\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nQUIT\r\n",
                   cases[i].sender, cases[i].recipient);
        str_printf(&want, "250 2.1.0 Ok\r\n%s\r\n", cases[i].reply);
        run.script = str_span(&script);
        smtp_play(&run);
        if (span_search(str_span(&run.replies), str_span(&want)) < 0)
            fail_msg("%zu: %s: %s", i, cases[i].reply, str_cstr(&run.replies));
        smtp_run_fini(&run);
        str_fini(&script);
        str_fini(&want);
    }
}

TASK_TEST(acts_on_the_message)
{
    static const char script[] = "MAIL FROM:<a@b.test>\r\nRCPT TO:<u1@example.test>\r\n"
                                 "DATA\r\nA: b\r\n\r\n.\r\nQUIT\r\n";
    struct smtp_run hold = {.main_cf = "smtpd_sender_restrictions = check_sender_access "
                                       "inline:{ {b.test = HOLD} }\n"};
    struct smtp_run discard = {.main_cf = "smtpd_sender_restrictions = check_sender_access "
                                          "inline:{ {b.test = DISCARD} }\n"};
    struct smtp_run prepend = {.main_cf = "smtpd_sender_restrictions = check_sender_access "
                                          "inline:{ {b.test = PREPEND X-Note: seen} }\n"};
    struct smtp_run redirect = {.main_cf = "smtpd_sender_restrictions = check_sender_access "
                                           "inline:{ {b.test = REDIRECT u2@example.test} }\n"};
    struct smtp_run filter = {.main_cf = "smtpd_sender_restrictions = check_sender_access "
                                         "inline:{ {b.test = FILTER scan:[192.0.2.9]:10025} }\n"};
    struct smtp_run bcc = {.main_cf = "smtpd_sender_restrictions = check_sender_access "
                                      "inline:{ {b.test = BCC u2@example.test} }\n"};
    /* Overrides FILTER and BCC, is completed, and no virtual alias is looked up for it. */
    struct smtp_run both = {
        .main_cf = "virtual_alias_maps = inline:{ {u2@example.test = u3@example.test} }\n"
                   "smtpd_client_restrictions = check_client_access "
                   "inline:{ {192.0.2.1 = REDIRECT u2@example.test.} }\n"
                   "smtpd_sender_restrictions = check_sender_access "
                   "inline:{ {b.test = FILTER scan:[192.0.2.9]:10025} }\n"
                   "smtpd_recipient_restrictions = check_recipient_access "
                   "inline:{ {u1@example.test = BCC u3@example.test} }\n"};
    struct smtp_run *runs[] = {&hold, &discard, &prepend, &redirect, &filter, &bcc, &both};

    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        runs[i]->script = span_cstr(script);
        smtp_play(runs[i]);
        assert_true(span_search(str_span(&runs[i]->replies), SPAN_LIT("250 2.0.0 Ok: queued as ")) >
                    0);
    }
    assert_int_equal(hold.messages[0].flags & QUEUE_MESSAGE_HOLD, QUEUE_MESSAGE_HOLD);
    assert_int_equal(discard.count, 0);
    assert_true(span_starts(str_span(&prepend.messages[0].content),
                            SPAN_LIT("X-Note: seen\r\nReceived: ")));
    assert_string_equal(str_cstr(&redirect.messages[0].recipients),
                        "u2@example.test(u1@example.test)");
    assert_true(span_search(str_span(&redirect.log),
                            SPAN_LIT("redirect: RCPT from unknown[192.0.2.1]: <a@b.test>: Sender "
                                     "address triggers REDIRECT u2@example.test; from=<a@b.test> "
                                     "to=<u1@example.test> ")) > 0);
    assert_string_equal(str_cstr(&both.messages[0].recipients), "u2@example.test(u1@example.test)");
    assert_string_equal(str_cstr(&both.messages[0].transport), "");
    assert_string_equal(str_cstr(&filter.messages[0].transport), "scan:[192.0.2.9]:10025");
    assert_string_equal(str_cstr(&bcc.messages[0].recipients), "u1@example.test u2@example.test");
    for (size_t i = 0; i < COUNT_OF(runs); i++)
        smtp_run_fini(runs[i]);
}

static const char zone[] = "1.2.0.192.in-addr.arpa PTR mx.c.test\nmx.c.test A 192.0.2.1\n"
                           "2.2.0.192.in-addr.arpa PTR forged.test\nforged.test A 192.0.2.99\n"
                           "3.2.0.192.in-addr.arpa PTR lost.test\n"
                           "good.test MX 10 mx.good.test\nhost.test A 192.0.2.7\n"
                           "null.test MX 0 .\nsick.test * SERVFAIL\n";

static const struct {
    const char *client, *restriction, *sender;
    const char *seen;  /* in the log */
    const char *reply; /* to RCPT */
} names[] = {
    {"192.0.2.1", "permit", "a@b.test", "connect from mx.c.test[192.0.2.1]\n", "250 2.1.5 Ok"},
    {"192.0.2.2", "permit", "a@b.test",
     "hostname forged.test does not resolve to address 192.0.2.2\n", "250 2.1.5 Ok"},
    {"192.0.2.2", "reject_unknown_client_hostname", "a@b.test", "connect from unknown[192.0.2.2]\n",
     "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.2]"},
    {"192.0.2.2", "reject_unknown_reverse_client_hostname", "a@b.test", "", "250 2.1.5 Ok"},
    {"192.0.2.4", "reject_unknown_reverse_client_hostname", "a@b.test",
     "connect from unknown[192.0.2.4]\n",
     "450 4.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.4]"},
    {"192.0.2.1", "reject_unknown_sender_domain", "a@good.test", "", "250 2.1.5 Ok"},
    {"192.0.2.1", "reject_unknown_sender_domain", "a@host.test", "", "250 2.1.5 Ok"},
    {"192.0.2.1", "reject_unknown_sender_domain", "a@example.test", "", "250 2.1.5 Ok"},
    {"192.0.2.1", "reject_unknown_sender_domain", "a@none.test", "",
     "450 4.1.8 <a@none.test>: Sender address rejected: Domain not found"},
    {"192.0.2.1", "reject_unknown_sender_domain", "a@sick.test", "",
     "450 4.1.8 <a@sick.test>: Sender address rejected: Domain not found"},
    {"192.0.2.1", "reject_unknown_sender_domain", "a@null.test", "",
     "550 5.7.27 <a@null.test>: Sender address rejected: Domain null.test does not accept mail "
     "(nullMX)"},
    {"192.0.2.1", "check_client_access inline:{ {c.test = REJECT} }", "a@b.test", "",
     "554 5.7.1 <mx.c.test[192.0.2.1]>: Client host rejected: Access denied"},
};

TASK_TEST(asks_the_dns)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct str script = {0}, want = {0}, main_cf = {0};
        struct smtp_run run = {.client = names[i].client, .dns = zone};

        str_printf(&main_cf, "smtpd_peername_lookup = yes\nsmtpd_client_restrictions = %s\n",
                   names[i].restriction);
        str_printf(&script, "MAIL FROM:<%s>\r\nRCPT TO:<u1@example.test>\r\nQUIT\r\n",
                   names[i].sender);
        str_printf(&want, "\r\n%s\r\n", names[i].reply);
        run.main_cf = str_cstr(&main_cf);
        run.script = str_span(&script);
        smtp_play(&run);
        if (span_search(str_span(&run.replies), str_span(&want)) < 0)
            fail_msg("%zu: %s", i, str_cstr(&run.replies));
        if (strstr(str_cstr(&run.log), names[i].seen) == NULL)
            fail_msg("%zu: %s", i, str_cstr(&run.log));
        smtp_run_fini(&run);
        str_fini(&script);
        str_fini(&want);
        str_fini(&main_cf);
    }
}

static const struct {
    const char *main_cf, *why; /* NULL: good */
} configurations[] = {
    {"", NULL},
    {"smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks\n",
     "specify at least one working instance"},
    {"smtpd_relay_restrictions = warn_if_reject reject_unauth_destination\n",
     "specify at least one working instance"},
    {"smtpd_recipient_restrictions = reject_rbl_client zen.test\n",
     "smtpd_recipient_restrictions: reject_rbl_client: unknown or unsupported restriction"},
    {"smtpd_client_restrictions = check_client_access\n", "unknown or unsupported"},
    {"smtpd_client_restrictions = check_client_access nosuchtype:x\n",
     "smtpd_client_restrictions: "},
    {"smtpd_client_restrictions = sleep x\n", "unknown or unsupported"},
    {"smtpd_restriction_classes = a\na = a\nsmtpd_client_restrictions = a\n",
     "unknown or unsupported"},
    {"smtpd_restriction_classes = a\na = frobnicate\nsmtpd_client_restrictions = a\n",
     "frobnicate: unknown"},
    {"smtpd_restriction_classes = a\na = permit\nsmtpd_client_restrictions = a\n", NULL},
};

TASK_TEST(refuses_to_start_with_what_it_cannot_do)
{
    for (size_t i = 0; i < COUNT_OF(configurations); i++) {
        struct server server;
        struct conf *conf = NULL;
        struct str why = {0};
        bool is_good = smtp_load(&server, &conf, configurations[i].main_cf, &why);

        if (is_good != (configurations[i].why == NULL))
            fail_msg("%s: %s", configurations[i].main_cf, str_cstr(&why));
        if (!is_good && strstr(str_cstr(&why), configurations[i].why) == NULL)
            fail_msg("%s: %s", configurations[i].main_cf, str_cstr(&why));
        if (is_good)
            server_unload(&server);
        conf_free(conf);
        str_fini(&why);
    }
}

/* lib/conf names what smtpd implements: both must say the same. */
static void knows_every_restriction_of_conf(void **state)
{
    static const char *const some[] = {"permit", "warn_if_reject", "check_client_access",
                                       "reject_unlisted_recipient", "sleep"};
    enum restrict_argument argument;
    const struct restrict_kind *kind;

    for (size_t i = 0; i < COUNT_OF(some); i++)
        assert_true(restriction_is_known(span_cstr(some[i]), &argument));
    for (size_t i = 0; (kind = restrict_kind_at(i)) != NULL; i++) {
        assert_true(restriction_is_known(span_cstr(kind->name), &argument));
        assert_int_equal(argument, kind->argument);
        assert_ptr_equal(restrict_kind_find(span_cstr(kind->name)), kind);
    }
    for (size_t i = 0; i < restriction_count(); i++)
        assert_non_null(restrict_kind_find(span_cstr(restriction_name(i))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides),
        cmocka_unit_test(acts_on_the_message),
        cmocka_unit_test(asks_the_dns),
        cmocka_unit_test(knows_every_restriction_of_conf),
        cmocka_unit_test(refuses_to_start_with_what_it_cannot_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
