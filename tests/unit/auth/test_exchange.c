/* Whole SASL exchanges, server side, with a client made of GNU SASL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <gsasl.h>

#include "auth/exchange.h"
#include "auth/tickets.h"
#include "base/error.h"
#include "base/mem.h"

static const char mechanisms[] = "PLAIN LOGIN SCRAM-SHA-256";

static struct passwd_table *make_users(void)
{
    struct str problems = {0};
    struct passwd_table *t =
        passwd_table_parse(SPAN_LIT("u1@example.test:{PLAIN}pass::::::userdb_account=one\n"
                                    "u2@example.test:{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
                                    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
                                    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"
                                    "u3@example.test:{SHA512-CRYPT}$6$saltstring$"
                                    "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/"
                                    "O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1\n"
                                    "u4@example.test:{PLAIN}pass::::::nologin\n"
                                    "u5@example.test:{PLAIN}pass::::::allow_nets=127.0.0.1\n"
                                    "u6@example.test:{PLAIN}\n"),
                           &problems);

    assert_int_equal(problems.len, 0);
    return t;
}

struct login {
    const char *name, *authzid, *password;
};

static int client_callback(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
    const struct login *login = gsasl_callback_hook_get(library);

    if (property == GSASL_AUTHID)
        return gsasl_property_set(session, property, login->name);
    if (property == GSASL_PASSWORD)
        return gsasl_property_set(session, property, login->password);
    if (property == GSASL_AUTHZID && login->authzid != NULL)
        return gsasl_property_set(session, property, login->authzid);
    return GSASL_NO_CALLBACK;
}

/* Play client and server against each other; the server's last word. */
static enum exchange_result play(const char *mechanism, const struct login *login, bool initial,
                                 struct exchange **server)
{
    struct passwd_table *users = make_users();
    Gsasl *library;
    Gsasl_session *client;
    enum exchange_result result;
    struct str challenge = {0};
    struct span response;
    char *text = NULL;
    size_t n = 0;

    assert_int_equal(gsasl_init(&library), GSASL_OK);
    gsasl_callback_set(library, client_callback);
    gsasl_callback_hook_set(library, (void *)login);
    assert_int_equal(gsasl_client_start(library, mechanism, &client), GSASL_OK);
    result = exchange_new(server, span_cstr(mechanism), SPAN_LIT(mechanisms), "example.test");
    assert_int_equal(result, EXCHANGE_CONTINUE);
    if (!initial)
        result = exchange_step(*server, users, NULL, &challenge);
    for (int round = 0; result == EXCHANGE_CONTINUE && round < 8; round++) {
        gsasl_step(client, challenge.len > 0 || !initial ? str_cstr(&challenge) : NULL,
                   challenge.len, &text, &n);
        response = span_make(text, n);
        str_clear(&challenge);
        result = exchange_step(*server, users, &response, &challenge);
        gsasl_free(text);
        text = NULL;
        n = 0;
    }
    str_fini(&challenge);
    gsasl_finish(client);
    gsasl_done(library);
    passwd_table_unref(users);
    return result;
}

static void test_logins(void **state)
{
    static const struct {
        const char *mechanism;
        struct login login;
        bool initial;
        enum exchange_result want;
        const char *account;
    } cases[] = {
        {"PLAIN", {"u1@example.test", NULL, "pass"}, true, EXCHANGE_DONE, "one"},
        {"PLAIN", {"u1", NULL, "pass"}, false, EXCHANGE_DONE, "one"},
        {"PLAIN", {"U1@Example.TEST", NULL, "pass"}, true, EXCHANGE_DONE, "one"},
        {"PLAIN", {"u1", "u1@example.test", "pass"}, true, EXCHANGE_DONE, "one"},
        {"PLAIN", {"u1", "u2@example.test", "pass"}, true, EXCHANGE_FAILED, NULL},
        {"PLAIN", {"u1", NULL, "wrong"}, true, EXCHANGE_FAILED, NULL},
        {"PLAIN", {"nobody", NULL, "pass"}, true, EXCHANGE_FAILED, NULL},
        {"PLAIN", {"u2", NULL, "pencil"}, true, EXCHANGE_DONE, "u2_at_example.test"},
        {"PLAIN", {"u3", NULL, "Hello world!"}, true, EXCHANGE_DONE, "u3_at_example.test"},
        {"LOGIN", {"u1", NULL, "pass"}, false, EXCHANGE_DONE, "one"},
        {"LOGIN", {"u1", NULL, "wrong"}, false, EXCHANGE_FAILED, NULL},
        {"SCRAM-SHA-256", {"u1", NULL, "pass"}, true, EXCHANGE_DONE, "one"},
        {"SCRAM-SHA-256", {"u2", NULL, "pencil"}, true, EXCHANGE_DONE, "u2_at_example.test"},
        {"SCRAM-SHA-256", {"u2", NULL, "pencils"}, true, EXCHANGE_FAILED, NULL},
        {"SCRAM-SHA-256", {"nobody", NULL, "pass"}, true, EXCHANGE_FAILED, NULL},
        {"SCRAM-SHA-256", {"u3", NULL, "Hello world!"}, true, EXCHANGE_FAILED, NULL},
        {"PLAIN", {"u4", NULL, "pass"}, true, EXCHANGE_FAILED, NULL},
        {"LOGIN", {"u4", NULL, "pass"}, false, EXCHANGE_FAILED, NULL},
        {"SCRAM-SHA-256", {"u4", NULL, "pass"}, true, EXCHANGE_FAILED, NULL},
        {"PLAIN", {"u5", NULL, "pass"}, true, EXCHANGE_FAILED, NULL},
        {"PLAIN", {"u6", NULL, ""}, true, EXCHANGE_FAILED, NULL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct exchange *server;
        enum exchange_result got =
            play(cases[i].mechanism, &cases[i].login, cases[i].initial, &server);
        if (got != cases[i].want)
            print_error("%s %s: %d (%s)\n", cases[i].mechanism, cases[i].login.name, got,
                        exchange_reason(server));
        assert_int_equal(got, cases[i].want);
        if (got == EXCHANGE_DONE)
            assert_true(span_eq(exchange_account(server), span_cstr(cases[i].account)));
        exchange_free(server);
    }
}

/* Clients look for these prompts; some send the name with the command. */
static void test_login_prompts(void **state)
{
    const struct span name = SPAN_LIT("u1"), password = SPAN_LIT("pass");

    for (int is_initial = 0; is_initial <= 1; is_initial++) {
        struct passwd_table *users = make_users();
        struct exchange *e;
        struct str out = {0};

        assert_int_equal(exchange_new(&e, SPAN_LIT("login"), SPAN_LIT(mechanisms), "example.test"),
                         EXCHANGE_CONTINUE);
        if (!is_initial) {
            assert_int_equal(exchange_step(e, users, NULL, &out), EXCHANGE_CONTINUE);
            assert_string_equal(str_cstr(&out), "Username:");
            str_clear(&out);
        }
        assert_int_equal(exchange_step(e, users, &name, &out), EXCHANGE_CONTINUE);
        assert_string_equal(str_cstr(&out), "Password:");
        assert_int_equal(exchange_step(e, users, &password, &out), EXCHANGE_DONE);
        str_fini(&out);
        exchange_free(e);
        passwd_table_unref(users);
    }
}

static void test_a_mechanism_that_is_not_configured_is_refused(void **state)
{
    struct exchange *e;

    assert_int_equal(exchange_new(&e, SPAN_LIT("CRAM-MD5"), SPAN_LIT(mechanisms), ""),
                     EXCHANGE_BAD);
    assert_null(e);
    assert_int_equal(exchange_new(&e, SPAN_LIT("PLAIN"), SPAN_LIT("SCRAM-SHA-256"), ""),
                     EXCHANGE_BAD);
}

static void test_garbage_is_bad_and_not_fatal(void **state)
{
    static const struct {
        const char *mechanism;
        struct span input;
    } cases[] = {
        {"PLAIN", SPAN_LIT("no separators")},
        {"PLAIN", SPAN_LIT("")},
        {"SCRAM-SHA-256", SPAN_LIT("n,,n=")},
        {"SCRAM-SHA-256", SPAN_LIT("\0\0\0")},
    };
    struct passwd_table *users = make_users();

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct exchange *e;
        struct str out = {0};
        enum exchange_result result;
        exchange_new(&e, span_cstr(cases[i].mechanism), SPAN_LIT(mechanisms), "");
        result = exchange_step(e, users, &cases[i].input, &out);
        assert_int_not_equal(result, EXCHANGE_DONE);
        exchange_free(e);
        str_fini(&out);
    }
    passwd_table_unref(users);
}

static void test_tickets_are_good_once_for_one_service_and_a_time(void **state)
{
    struct tickets *t = tickets_new(2, 1000);
    struct str a = {0}, b = {0}, c = {0}, user = {0}, account = {0};

    assert_int_equal(tickets_issue(t, "imap", SPAN_LIT("u1"), SPAN_LIT("one"), 0, &a), 0);
    assert_int_equal(tickets_issue(t, "imap", SPAN_LIT("u2"), SPAN_LIT("two"), 10, &b), 0);
    assert_int_equal(tickets_issue(t, "imap", SPAN_LIT("u3"), SPAN_LIT("x"), 20, &c), ERR_LIMIT);
    assert_int_equal(tickets_redeem(t, str_span(&a), SPAN_LIT("imap"), 500, &user, &account), 0);
    assert_string_equal(str_cstr(&account), "one");
    assert_int_equal(tickets_redeem(t, str_span(&a), SPAN_LIT("imap"), 500, &user, &account),
                     ERR_DENIED);
    assert_int_equal(tickets_redeem(t, str_span(&b), SPAN_LIT("pop3"), 500, &user, &account),
                     ERR_DENIED);
    assert_int_equal(tickets_redeem(t, str_span(&b), SPAN_LIT("imap"), 500, &user, &account),
                     ERR_DENIED);
    assert_int_equal(tickets_issue(t, "pop3", SPAN_LIT("u3"), SPAN_LIT("x"), 600, &c), 0);
    assert_int_equal(tickets_redeem(t, str_span(&c), SPAN_LIT("pop3"), 1600, &user, &account),
                     ERR_DENIED);
    assert_int_equal(tickets_redeem(t, SPAN_LIT("zz"), SPAN_LIT("pop3"), 0, &user, &account),
                     ERR_DENIED);
    tickets_free(t);
    str_fini(&a);
    str_fini(&b);
    str_fini(&c);
    str_fini(&user);
    str_fini(&account);
}

static void test_tickets_pass_to_the_next_process(void **state)
{
    static const char broken[] = "0123456789abcdef0123456789abcdef\0x\0imap\0u\0";
    struct tickets *old = tickets_new(9, 1000), *next = tickets_new(2, 500);
    struct str a = {0}, b = {0}, c = {0}, text = {0}, none = {0}, user = {0}, account = {0};

    assert_int_equal(tickets_issue(old, "imap", SPAN_LIT("u1"), SPAN_LIT("one"), 0, &a), 0);
    assert_int_equal(tickets_issue(old, "imap", SPAN_LIT("u 2"), SPAN_NONE, 600, &b), 0);
    assert_int_equal(tickets_issue(old, "pop3", SPAN_LIT("u3"), SPAN_LIT("x"), 700, &c), 0);
    assert_int_equal(tickets_redeem(old, str_span(&c), SPAN_LIT("pop3"), 800, &user, &account), 0);
    assert_int_equal(tickets_save(old, 800, &text), 0);
    assert_int_equal(tickets_restore(next, str_span(&text), 900), 0);
    /* Used before, of another service, used again, too old: as if nothing had happened. */
    assert_int_equal(tickets_redeem(next, str_span(&c), SPAN_LIT("pop3"), 900, &user, &account),
                     ERR_DENIED);
    str_clear(&user);
    str_clear(&account);
    assert_int_equal(tickets_redeem(next, str_span(&b), SPAN_LIT("imap"), 950, &user, &account), 0);
    assert_string_equal(str_cstr(&user), "u 2");
    assert_int_equal(account.len, 0);
    assert_int_equal(tickets_redeem(next, str_span(&b), SPAN_LIT("imap"), 950, &user, &account),
                     ERR_DENIED);
    assert_int_equal(tickets_redeem(next, str_span(&a), SPAN_LIT("imap"), 1000, &user, &account),
                     ERR_DENIED);
    /* The new lifetime holds for old ones, too, and so does the limit. */
    assert_int_equal(tickets_restore(next, str_span(&text), 1000), 0);
    assert_int_equal(tickets_redeem(next, str_span(&b), SPAN_LIT("imap"), 1500, &user, &account),
                     ERR_DENIED);
    assert_int_equal(tickets_restore(next, str_span(&text), 900), 0);
    assert_int_equal(tickets_restore(next, str_span(&text), 900), ERR_LIMIT);
    /* Nothing to leave, and what is no such text. */
    assert_int_equal(tickets_save(old, 5000, &none), 0);
    assert_int_equal(none.len, 0);
    assert_int_equal(tickets_restore(old, SPAN_LIT("garbage"), 5000), ERR_SYNTAX);
    assert_int_equal(tickets_restore(old, span_make(broken, sizeof(broken) - 1), 5000), ERR_SYNTAX);
    tickets_free(old);
    tickets_free(next);
    str_fini(&a);
    str_fini(&b);
    str_fini(&c);
    str_fini(&text);
    str_fini(&none);
    str_fini(&user);
    str_fini(&account);
}

static int start(void **state)
{
    return exchange_library_start();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_login_prompts),
        cmocka_unit_test(test_a_mechanism_that_is_not_configured_is_refused),
        cmocka_unit_test(test_garbage_is_bad_and_not_fatal),
        cmocka_unit_test(test_tickets_are_good_once_for_one_service_and_a_time),
        cmocka_unit_test(test_tickets_pass_to_the_next_process),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
