#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/passwd_edit.h"
#include "auth/passwd_file.h"
#include "base/error.h"
#include "base/mem.h"

#define START "# users\nu1@a.test:{PLAIN}pass::::::userdb_account=u1\nbroken line\n"

static void test_names(void **state)
{
    static const struct {
        const char *name;
        bool want;
    } cases[] = {
        {"u1", true},     {"u1@a.test", true}, {"j\xc3\xb6rg", true}, {"a@b@c", true},
        {"", false},      {"#u", false},       {"a b", false},        {"a:b", false},
        {"a\nb", false},  {"a\tb", false},     {"@a.test", false},    {"u@", false},
        {"u\x7f", false}, {"@", false},
    };
    char longest[256];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (passwd_user_is_valid(span_cstr(cases[i].name)) != cases[i].want)
            fail_msg("%s", cases[i].name);
    }
    memset(longest, 'a', sizeof(longest));
    assert_true(passwd_user_is_valid(span_make(longest, 255)));
    assert_false(passwd_user_is_valid(span_make(longest, 256)));
    assert_false(passwd_user_is_valid(span_make("a\0b", 3)));
}

static void test_add(void **state)
{
    static const struct {
        const char *text, *user, *password, *account;
        int code;
        const char *want; /* what follows the text */
    } cases[] = {
        {"", "u2", "{PLAIN}x", "u2", 0, "u2:{PLAIN}x::::::userdb_account=u2\n"},
        {START, "u2", "{PLAIN}x", "u2", 0, "u2:{PLAIN}x::::::userdb_account=u2\n"},
        {"u1:x", "u2", "{PLAIN}x", "u2", 0, "\nu2:{PLAIN}x::::::userdb_account=u2\n"},
        {START, "u1@a.test", "{PLAIN}x", "u2", ERR_EXISTS, ""},
        {START, "U1@A.TEST", "{PLAIN}x", "u2", ERR_EXISTS, ""},
        {START, "u2", "{PLAIN}x", "u1", ERR_DENIED, ""},
        /* An account that is made from the name is taken as well. */
        {"u1@a.test:x\n", "u2", "{PLAIN}x", "u1_at_a.test", ERR_DENIED, ""},
        {"u1:x:::::userdb_account=wrong place\n", "u2", "{PLAIN}x", "u1", ERR_DENIED, ""},
        /* Broken lines keep their names. */
        {"u2:x::::::userdb_account=../x\n", "u2", "{PLAIN}x", "u2", ERR_EXISTS, ""},
        {"#u2:x\n", "u2", "{PLAIN}x", "u2", 0, "u2:{PLAIN}x::::::userdb_account=u2\n"},
        {START, "u:2", "{PLAIN}x", "u2", ERR_SYNTAX, ""},
        {START, "u2", "{PLAIN}x:y", "u2", ERR_SYNTAX, ""},
        {START, "u2", "{PLAIN}x\ny", "u2", ERR_SYNTAX, ""},
        {START, "u2", "{PLAIN}x", "../u2", ERR_SYNTAX, ""},
        {START, "u2", "{PLAIN}x", ".u2", ERR_SYNTAX, ""},
        {START, "u2", "{PLAIN}x", "", ERR_SYNTAX, ""},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str out = {0}, want = {0};
        int rc = passwd_edit_add(&out, span_cstr(cases[i].text), span_cstr(cases[i].user),
                                 span_cstr(cases[i].password), span_cstr(cases[i].account));

        if (rc == 0)
            str_printf(&want, "%s%s", cases[i].text, cases[i].want);
        if (rc != cases[i].code || strcmp(str_cstr(&out), str_cstr(&want)) != 0)
            fail_msg("case %zu: %d, \"%s\"", i, rc, str_cstr(&out));
        str_fini(&out);
        str_fini(&want);
    }
}

static void test_password(void **state)
{
    static const struct {
        const char *text, *user, *password, *want; /* NULL: ERR_NOT_FOUND */
    } cases[] = {
        {START, "u1@A.test", "{PLAIN}new",
         "# users\nu1@a.test:{PLAIN}new::::::userdb_account=u1\nbroken line\n"},
        {"u1:x", "u1", "y", "u1:y"},
        {"u1:x\r\nu2:z\r\n", "u1", "y", "u1:y\r\nu2:z\r\n"},
        {"u1:\nu2:z:1:2:g:h:s:e", "u2", "y", "u1:\nu2:y:1:2:g:h:s:e"},
        /* The first of two lines is the one in force. */
        {"u1:a\nu1:b\n", "u1", "y", "u1:y\nu1:b\n"},
        {"#u1:a\n", "u1", "y", NULL},
        {"u1\n", "u1", "y", NULL},
        {"", "u1", "y", NULL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str out = {0};
        int rc = passwd_edit_password(&out, span_cstr(cases[i].text), span_cstr(cases[i].user),
                                      span_cstr(cases[i].password));

        assert_int_equal(rc, cases[i].want != NULL ? 0 : ERR_NOT_FOUND);
        if (cases[i].want != NULL)
            assert_string_equal(str_cstr(&out), cases[i].want);
        str_fini(&out);
    }
    assert_int_equal(
        passwd_edit_password(&(struct str){0}, SPAN_LIT("u1:a"), SPAN_LIT("u1"), SPAN_LIT("a:b")),
        ERR_SYNTAX);
}

static void test_remove(void **state)
{
    static const struct {
        const char *text, *user, *want;
    } cases[] = {
        {START, "u1@a.test", "# users\nbroken line\n"},
        {"u1:a\nu2:b\nU1:c\n", "u1", "u2:b\n"}, /* else the second comes into force */
        {"u2:b\nu1:a", "u1", "u2:b\n"},
        {"u1:a\n", "u1", ""},
        {"u11:a\n", "u1", NULL},
        {" u1:a\n", "u1", NULL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str out = {0};
        int rc = passwd_edit_remove(&out, span_cstr(cases[i].text), span_cstr(cases[i].user));

        assert_int_equal(rc, cases[i].want != NULL ? 0 : ERR_NOT_FOUND);
        if (cases[i].want != NULL)
            assert_string_equal(str_cstr(&out), cases[i].want);
        str_fini(&out);
    }
}

/* What was edited is what auth reads. */
static void test_edited_text_parses(void **state)
{
    struct str text = {0}, problems = {0};
    struct passwd_table *table;
    struct passwd_entry entry;

    assert_int_equal(passwd_edit_add(&text, SPAN_NONE, SPAN_LIT("a@b.test"), SPAN_LIT("{PLAIN}x"),
                                     SPAN_LIT("a")),
                     0);
    table = passwd_table_parse(str_span(&text), &problems);
    assert_non_null(table);
    assert_int_equal(problems.len, 0);
    assert_int_equal(passwd_table_find(table, SPAN_LIT("A@b.test"), &entry), 0);
    assert_true(span_eq(entry.password, SPAN_LIT("{PLAIN}x")));
    assert_true(span_eq(entry.account, SPAN_LIT("a")));
    passwd_table_unref(table);
    str_fini(&text);
    str_fini(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_edited_text_parses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
