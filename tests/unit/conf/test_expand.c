/* Expansion of $name and its relatives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "conf/expand.h"

static const char *const names[][2] = {
    {"a", "one"},        {"empty", ""},       {"b", "<$a>"},           {"loop", "x$loop"},
    {"ping", "$pong"},   {"pong", "$ping"},   {"ref_empty", "$empty"}, {"level", "3.6"},
    {"d0", "$d1$d1$d1"}, {"d1", "$d2$d2$d2"}, {"d2", "$d3$d3$d3"},     {"d3", "$d4$d4$d4"},
    {"d4", "$d5$d5$d5"}, {"d5", "$d6$d6$d6"}, {"d6", "$d7$d7$d7"},     {"d7", "$d8$d8$d8"},
    {"d8", "$d9$d9$d9"}, {"d9", "$empty"},    {"stress", ""},          {"n10", "10"},
};

static bool lookup(void *arg, struct span name, struct span *value)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (span_eq(name, span_cstr(names[i][0]))) {
            *value = span_cstr(names[i][1]);
            return true;
        }
    }
    return false;
}

static const struct {
    const char *text, *result;
    int error;
} cases[] = {
    {"plain", "plain", 0},
    {"$a", "one", 0},
    {"${a}", "one", 0},
    {"$(a)", "one", 0},
    {"x${a}y$a-z", "xoneyone-z", 0},
    {"$b", "<one>", 0},
    {"$none", "", 0},
    {"[${none}]", "[]", 0},
    {"$$a $$", "$a $", 0},
    {"${a?yes}", "yes", 0},
    {"${empty?yes}", "", 0},
    {"${none?yes}", "", 0},
    {"${a:no}", "", 0},
    {"${empty:no}", "no", 0},
    {"${none:$a}", "one", 0},
    {"${a?{yes}:{no}}", "yes", 0},
    {"${empty?{yes}:{no}}", "no", 0},
    {"${ a ? {yes} : {no} }", "yes", 0},
    {"${stress?10}${stress:60}s", "60s", 0},
    {"${stress?{10}:{60}}s", "60s", 0},
    /* The test looks at the value as it is written. */
    {"${ref_empty?yes}", "yes", 0},
    {"${a?{${empty?{in}:{out}}}:{no}}", "out", 0},
    {"${a? x{y}z}", " x{y}z", 0},
    {"${{$a} == {one} ? {same} : {other}}", "same", 0},
    {"${{$a} != {one} ? {same} : {other}}", "other", 0},
    {"${{$a} == {one}}", "true", 0},
    {"${{$a} == {two}}", "", 0},
    {"${{$n10} > {9} ? {number}}", "number", 0},
    {"${{b} > {a} ? {text}}", "text", 0},
    {"${{$level} <level {3.10} ? {old} : {new}}", "old", 0},
    {"${{$level} <level {3.6} ? {old} : {new}}", "new", 0},
    {"${{$level} >=level {3} ? {new}}", "new", 0},
    {"$loop", NULL, ERR_LIMIT},
    {"$ping", NULL, ERR_LIMIT},
    {"$d0", NULL, ERR_LIMIT},
    {"${a", NULL, ERR_SYNTAX},
    {"$(a", NULL, ERR_SYNTAX},
    {"$", NULL, ERR_SYNTAX},
    {"a $ b", NULL, ERR_SYNTAX},
    {"${}", NULL, ERR_SYNTAX},
    {"${a-b}", NULL, ERR_SYNTAX},
    {"${a?{yes}no}", NULL, ERR_SYNTAX},
    {"${a?{yes}:{no}x}", NULL, ERR_SYNTAX},
    {"${{a} ~ {b} ? {c}}", NULL, ERR_SYNTAX},
    {"${{a} == b ? {c}}", NULL, ERR_SYNTAX},
    {"${{a} ==volume {b} ? {c}}", NULL, ERR_SYNTAX},
    {"${{x} <level {1} ? {c}}", NULL, ERR_SYNTAX},
};

static void expands(void **state)
{
    struct expand_source source = {lookup, NULL, false};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str out = {0}, why = {0};
        int error = expand_text(&out, span_cstr(cases[i].text), &source, &why);

        if (error != cases[i].error)
            print_message("%s: %d %s\n", cases[i].text, error, str_cstr(&why));
        assert_int_equal(error, cases[i].error);
        if (error == 0)
            assert_string_equal(str_cstr(&out), cases[i].result);
        else
            assert_true(why.len > 0);
        str_fini(&out);
        str_fini(&why);
    }
}

static void flat_values_are_not_expanded(void **state)
{
    struct expand_source source = {lookup, NULL, true};
    struct str out = {0}, why = {0};

    assert_int_equal(expand_text(&out, SPAN_LIT("$b $loop"), &source, &why), 0);
    assert_string_equal(str_cstr(&out), "<$a> x$loop");
    str_fini(&out);
    str_fini(&why);
}

static void deep_nesting_is_refused(void **state)
{
    struct expand_source source = {lookup, NULL, false};
    struct str text = {0}, out = {0}, why = {0};

    for (int i = 0; i < 5000; i++)
        str_append_cstr(&text, "${a?{");
    for (int i = 0; i < 5000; i++)
        str_append_cstr(&text, "}}");
    assert_int_equal(expand_text(&out, str_span(&text), &source, &why), ERR_LIMIT);
    str_fini(&text);
    str_fini(&out);
    str_fini(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands),
        cmocka_unit_test(flat_values_are_not_expanded),
        cmocka_unit_test(deep_nesting_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
