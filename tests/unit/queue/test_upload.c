/* Content on its way in, while it is inline: appending and editing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue/internal.h"

static const char message[] = "A: 1\r\nB: 22\r\n\r\nbody\r\n\r\nend\r\n";
static const char field[] = "X: y\r\n";
enum { HEADER = 13, FIELD = sizeof(field) - 1 };

/* What a reader sees. */
static void check(struct queue_upload *u, const char *want, size_t header_size)
{
    struct queue_message m;
    struct queue_content content;
    struct str text = {0};

    queue_message_init(&m, NULL);
    queue_content_init(&content);
    assert_int_equal(queue_upload_finish(u, &m, &content.inline_octets), 0);
    for (size_t i = 0; i < m.extents.len; i++) {
        struct queue_extent *e = array_push(&content.extents);
        assert_non_null(e);
        *e = m.extents.items[i];
        assert_true(e->length > 0 && e->length <= content.inline_octets.n);
    }
    assert_int_equal(m.size, strlen(want));
    assert_int_equal(queue_content_size(&content), strlen(want));
    assert_true(queue_content_copy(&content, 0, m.size, &text) >= 0);
    assert_string_equal(str_cstr(&text), want);
    assert_int_equal(queue_content_header_size(&content), header_size);
    str_fini(&text);
    queue_content_fini(&content);
    queue_message_fini(&m);
    queue_upload_free(u);
}

static struct queue_upload *begin(void)
{
    struct queue_upload *u;

    assert_int_equal(queue_upload_begin(&u, NULL, NULL), 0);
    return u;
}

static void test_any_pieces(void **state)
{
    for (size_t cut = 0; cut < sizeof(message); cut++) {
        struct queue_upload *u = begin();
        struct span rest = span_drop(span_cstr(message), cut);

        assert_int_equal(queue_upload_append(u, span_take(span_cstr(message), cut)), 0);
        while (rest.n > 0) {
            assert_int_equal(queue_upload_append(u, span_take(rest, 3)), 0);
            rest = span_drop(rest, 3);
        }
        check(u, message, HEADER);
    }
}

/* A field put in at each line of the header, when each number of lines was there:
 * the header's pass does so at the header's end, before the blank line. */
static void test_fields_put_in(void **state)
{
    static const size_t lines[] = {0, 6, HEADER, HEADER + 2, HEADER + 8, sizeof(message) - 1};

    for (size_t when = 0; when < COUNT_OF(lines); when++) {
        for (size_t at = 0; at <= when && lines[at] <= HEADER; at++) {
            struct queue_upload *u = begin();
            struct str want = {0};

            assert_int_equal(queue_upload_append(u, span_make(message, lines[when])), 0);
            assert_int_equal(queue_upload_insert(u, lines[at], span_cstr(field)), 0);
            assert_int_equal(queue_upload_append(u, span_cstr(message + lines[when])), 0);
            str_printf(&want, "%.*s%s%s", (int)lines[at], message, field, message + lines[at]);
            check(u, str_cstr(&want), HEADER + FIELD);
            str_fini(&want);
        }
    }
}

static void test_octets_cut_out(void **state)
{
    struct queue_upload *u = begin();

    assert_int_equal(queue_upload_append(u, span_make(message, HEADER)), 0);
    assert_int_equal(queue_upload_insert(u, 6, span_cstr(field)), 0);
    assert_int_equal(queue_upload_delete(u, 3, 3 + FIELD), 0);
    assert_int_equal(queue_upload_append(u, span_cstr(message + HEADER)), 0);
    check(u, "A: B: 22\r\n\r\nbody\r\n\r\nend\r\n", 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_pieces),
        cmocka_unit_test(test_fields_put_in),
        cmocka_unit_test(test_octets_cut_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
