#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/passwd_file.h"
#include "auth/password.h"
#include "base/error.h"
#include "base/mem.h"

static void test_known_hashes(void **state)
{
    static const struct {
        const char *stored, *password;
        int want;
    } cases[] = {
        {"{PLAIN}pass", "pass", 0},
        {"{PLAIN}pass", "Pass", ERR_DENIED},
        {"{plain}", "", 0},
        {"{CLEARTEXT}a:b", "a:b", 0},
        /* Made by crypt(3). */
        {"{SHA512-CRYPT}$6$saltstring$"
         "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
         "Hello world!", 0},
        {"$6$saltstring$"
         "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
         "Hello world!", 0},
        {"{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!",
         0},
        {"{SHA512-CRYPT}*", "x", ERR_SYNTAX},
        {"{NO-SUCH}x", "x", ERR_NOT_SUPPORTED},
        {"{SCRAM-SHA-256}4096,AAAA,BBBB", "x", ERR_SYNTAX},
        {"{SCRAM-SHA-256}0,AAAA,BBBB,CCCC", "x", ERR_SYNTAX},
        {"{ARGON2ID}nonsense", "x", ERR_SYNTAX},
        /* RFC 7677 3: user "user", password "pencil". */
        {"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
         ","
         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
         "pencil", 0},
        {"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
         ","
         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
         "pencils", ERR_DENIED},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int rc = password_verify(span_cstr(cases[i].stored), span_cstr(cases[i].password));
        if (rc != cases[i].want)
            print_error("%s with \"%s\": %s\n", cases[i].stored, cases[i].password, error_text(rc));
        assert_int_equal(rc, cases[i].want);
    }
}

static void test_every_scheme_verifies_what_it_made(void **state)
{
    static const char *const names[] = {"PLAIN",     "SHA512-CRYPT",  "SHA256-CRYPT",
                                        "BLF-CRYPT", "SCRAM-SHA-256", "ARGON2ID"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct str stored = {0};
        assert_int_equal(password_make(&stored, span_cstr(names[i]), SPAN_LIT("s3cr\xc3\xa9t")), 0);
        assert_int_equal(password_verify(str_span(&stored), SPAN_LIT("s3cr\xc3\xa9t")), 0);
        assert_int_equal(password_verify(str_span(&stored), SPAN_LIT("s3cret")), ERR_DENIED);
        str_fini(&stored);
    }
}

static void test_a_nul_does_not_shorten_a_password(void **state)
{
    struct str stored = {0};

    assert_int_equal(password_make(&stored, SPAN_LIT("SHA256-CRYPT"), SPAN_LIT("ab")), 0);
    assert_int_equal(password_verify(str_span(&stored), SPAN_LIT("ab\0cd")), ERR_DENIED);
    assert_true(password_make(&stored, SPAN_LIT("SHA256-CRYPT"), SPAN_LIT("a\0b")) < 0);
    str_fini(&stored);
}

static void test_passwd_table(void **state)
{
    static const char text[] =
        "# users\n"
        "\n"
        "u1@example.test:{PLAIN}a:1000:1000::/home/u1::userdb_account=acc-1 x=y\n"
        "U2@Example.Test:{PLAIN}b\r\n"
        "nopassword\n"
        "u1@EXAMPLE.test:{PLAIN}again\n"
        "bad:{PLAIN}c::::::userdb_account=../../etc\n"
        "away@example.test:{PLAIN}e::::::userdb_account=away nologin=y\n"
        "near@example.test:{PLAIN}f::::::allow_nets=10.0.0.0/8 userdb_account=near\n"
        "strange/name@example.test:{PLAIN}d";
    struct str problems = {0};
    struct passwd_table *t = passwd_table_parse(SPAN_LIT(text), &problems);
    struct passwd_entry entry;

    assert_non_null(t);
    assert_int_equal(passwd_table_count(t), 5);
    assert_string_equal(str_cstr(&problems), "line 5: not a passwd-file line\n"
                                             "line 6: the user is there already\n"
                                             "line 7: not a passwd-file line\n");
    assert_int_equal(passwd_table_find(t, SPAN_LIT("U1@example.TEST"), &entry), 0);
    assert_true(span_eq(entry.account, SPAN_LIT("acc-1")));
    assert_true(span_eq(entry.password, SPAN_LIT("{PLAIN}a")));
    assert_int_equal(passwd_table_find(t, SPAN_LIT("u2@example.test"), &entry), 0);
    assert_true(span_eq(entry.account, SPAN_LIT("u2_at_example.test")));
    assert_int_equal(passwd_table_find(t, SPAN_LIT("strange/name@example.test"), &entry), 0);
    assert_true(span_starts(entry.account, SPAN_LIT("h-")));
    assert_int_equal(entry.account.n, 50);
    assert_int_equal(entry.barred_by.n, 0);
    assert_int_equal(passwd_table_find(t, SPAN_LIT("away@example.test"), &entry), 0);
    assert_true(span_eq(entry.barred_by, SPAN_LIT("nologin")));
    assert_int_equal(passwd_table_find(t, SPAN_LIT("near@example.test"), &entry), 0);
    assert_true(span_eq(entry.barred_by, SPAN_LIT("allow_nets")));
    assert_true(span_eq(entry.account, SPAN_LIT("near")));
    assert_int_equal(passwd_table_find(t, SPAN_LIT("u3@example.test"), &entry), ERR_NOT_FOUND);
    str_fini(&problems);
    passwd_table_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_hashes),
        cmocka_unit_test(test_every_scheme_verifies_what_it_made),
        cmocka_unit_test(test_a_nul_does_not_shorten_a_password),
        cmocka_unit_test(test_passwd_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
