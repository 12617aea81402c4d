#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "pop3d/retrieve.h"

static const struct {
    const char *message;
    uint64_t lines;
    const char *want;
} cases[] = {
    {"A: b\r\n\r\nbody\r\n", RETRIEVE_ALL, "A: b\r\n\r\nbody\r\n.\r\n"},
    {"A: b\r\n\r\n.\r\n..x\r\n", RETRIEVE_ALL, "A: b\r\n\r\n..\r\n...x\r\n.\r\n"},
    {".hidden: b\r\n\r\nx\r\n", 0, "..hidden: b\r\n\r\n.\r\n"},
    {"A: b\r\n\r\none\r\ntwo\r\nthree\r\n", 0, "A: b\r\n\r\n.\r\n"},
    {"A: b\r\n\r\none\r\ntwo\r\nthree\r\n", 2, "A: b\r\n\r\none\r\ntwo\r\n.\r\n"},
    {"A: b\r\n\r\none\r\n", 9, "A: b\r\n\r\none\r\n.\r\n"},
    /* No line end at the end; bare LF; a message that is only a header. */
    {"A: b\r\n\r\nno end", RETRIEVE_ALL, "A: b\r\n\r\nno end\r\n.\r\n"},
    {"A: b\n\nx\n.y\n", RETRIEVE_ALL, "A: b\r\n\r\nx\r\n..y\r\n.\r\n"},
    {"A: b\r\n", 5, "A: b\r\n.\r\n"},
    {"A: b\r\n\r\nlast\r", RETRIEVE_ALL, "A: b\r\n\r\nlast\r\n.\r\n"},
    {"", RETRIEVE_ALL, ".\r\n"},
    {"\r\n\r\n\r\nx\r\n", 2, "\r\n\r\n\r\n.\r\n"},
};

static void check(size_t i, size_t step)
{
    struct retrieve_filter f;
    struct str out = {0};
    struct span rest = span_cstr(cases[i].message);

    retrieve_filter_init(&f, cases[i].lines);
    while (rest.n > 0) {
        assert_int_equal(retrieve_filter_feed(&f, span_take(rest, step), &out), 0);
        rest = span_drop(rest, step);
    }
    assert_int_equal(retrieve_filter_end(&f, &out), 0);
    assert_string_equal(str_cstr(&out), cases[i].want);
    str_fini(&out);
}

static void test_messages_in_pieces_of_every_size(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t step = 1; step <= 32; step++)
            check(i, step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_in_pieces_of_every_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
