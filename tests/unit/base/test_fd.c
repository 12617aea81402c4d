/* Files that are read at a start. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/fd.h"

static char noted[64];

static void take_note(const char *path)
{
    snprintf(noted, sizeof(noted), "%s", path);
}

static void test_a_file_is_noted_before_it_is_opened(void **state)
{
    struct str text = {0};

    file_note("/nonexistent/nobody");
    file_set_note(take_note);
    assert_string_equal(noted, "");
    assert_int_equal(file_read("/nonexistent/table", &text, 100), -ENOENT);
    assert_string_equal(noted, "/nonexistent/table");
    file_set_note(NULL);
    assert_int_equal(file_read("/nonexistent/other", &text, 100), -ENOENT);
    assert_string_equal(noted, "/nonexistent/table");
    str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_noted_before_it_is_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
