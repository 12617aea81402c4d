#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "ipc/message.h"

static struct span cat(struct str *out, const struct ipc_out *m)
{
    str_clear(out);
    assert_int_equal(ipc_encode(out, m), 0);
    return str_span(out);
}

static void round_trip(void **state)
{
    static const char odd[] = "a=3:b\nc@\0\xff";
    struct ipc_out m = {0};
    struct str packet = {0};
    struct ipc_frame frame;
    struct ipc_in *in;
    struct span value;
    uint64_t u;
    int64_t i;
    bool b;

    ipc_begin(&m, "commit");
    ipc_put(&m, "sender", SPAN_LIT("a@example.test"));
    ipc_put(&m, "rcpt", SPAN_LIT("one"));
    ipc_put(&m, "rcpt", SPAN_LIT("two"));
    ipc_put(&m, "odd", span_make(odd, sizeof(odd) - 1));
    ipc_put(&m, "empty", SPAN_NONE);
    ipc_put_u64(&m, "most", UINT64_MAX);
    ipc_put_i64(&m, "least", INT64_MIN);
    ipc_put_bool(&m, "yes", true);
    ipc_put_content(&m, SPAN_LIT("one two"));
    cat(&packet, &m);

    assert_int_equal(ipc_decode(str_span(&packet), &frame), 0);
    assert_int_equal(frame.size, packet.len);
    in = ipc_in_new(&frame, NULL);
    str_fini(&packet); /* the message is a copy */
    assert_true(ipc_is(in, "commit"));
    assert_int_equal(ipc_get(in, "rcpt", &value), 0);
    assert_true(span_eq(value, SPAN_LIT("one")));
    assert_int_equal(ipc_get(in, "odd", &value), 0);
    assert_true(span_eq(value, span_make(odd, sizeof(odd) - 1)));
    assert_int_equal(ipc_get(in, "empty", &value), 0);
    assert_int_equal(value.n, 0);
    assert_int_equal(ipc_get_u64(in, "most", &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(ipc_get_i64(in, "least", &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(ipc_get_bool(in, "yes", &b), 0);
    assert_true(b);
    assert_int_equal(ipc_get_bool(in, "sender", &b), ERR_SYNTAX);
    assert_int_equal(ipc_get_u64(in, "sender", &u), ERR_SYNTAX);
    assert_int_equal(ipc_get(in, "c", &value), ERR_NOT_FOUND);
    assert_true(span_eq(ipc_content(in), SPAN_LIT("one two")));
    ipc_in_free(in);
    ipc_out_fini(&m);
}

static void readable_on_the_wire(void **state)
{
    struct ipc_out m = {0};
    struct str packet = {0};

    ipc_begin(&m, "get");
    ipc_put(&m, "key", SPAN_LIT("a b"));
    ipc_put_fd(&m, "file", STDERR_FILENO);
    ipc_put_content(&m, SPAN_LIT("XY"));
    cat(&packet, &m);
    assert_string_equal(str_cstr(&packet), "get 16 2 1\nkey=3:a b\nfile@\nXY");
    str_fini(&packet);
    ipc_out_fini(&m);
}

static void limits_of_the_builder(void **state)
{
    static char big[IPC_ATTRIBUTES_MAX + 1];
    struct ipc_out m = {0};
    struct str packet = {0};

    ipc_begin(&m, "k");
    ipc_put(&m, "v", span_make(big, sizeof(big)));
    assert_int_equal(ipc_encode(&packet, &m), ERR_TOO_LONG);
    ipc_begin(&m, "k");
    ipc_put_content(&m, span_make(big, IPC_CONTENT_MAX));
    assert_int_equal(ipc_encode(&packet, &m), 0);
    ipc_put_content(&m, SPAN_LIT("x"));
    assert_int_equal(ipc_encode(&packet, &m), ERR_LIMIT); /* once */
    ipc_begin(&m, "k");
    ipc_put_content(&m, span_make(big, sizeof(big)));
    assert_int_equal(ipc_encode(&packet, &m), ERR_TOO_LONG);
    ipc_begin(&m, "k");
    ipc_put(&m, "two words", SPAN_LIT(""));
    assert_int_equal(ipc_encode(&packet, &m), ERR_SYNTAX);
    ipc_begin(&m, "");
    assert_int_equal(m.error, ERR_SYNTAX);
    ipc_begin(&m, "k");
    for (int i = 0; i < IPC_FDS_MAX; i++)
        ipc_put_fd(&m, "f", STDERR_FILENO);
    assert_int_equal(m.error, 0);
    ipc_put_fd(&m, "f", STDERR_FILENO);
    assert_int_equal(m.error, ERR_LIMIT);
    ipc_begin(&m, "k");
    for (int i = 0; i < IPC_VALUES_MAX; i++)
        ipc_put(&m, "n", SPAN_NONE);
    assert_int_equal(m.error, 0);
    ipc_put(&m, "n", SPAN_NONE);
    assert_int_equal(m.error, ERR_LIMIT);
    ipc_out_fini(&m);
    str_fini(&packet);
}

static void malformed(void **state)
{
    static const char *const packets[] = {
        "",
        "k",
        "k 0 0",
        "k 0 0 0",
        "k 0 0 0 ",
        " 0 0 0\n",
        "k  0 0 0\n",
        "k 00 0 0\n",
        "k -1 0 0\n",
        "k 1 0 0\n",
        "k 0 1 0\n",
        "k 0 0 1\n",
        "k 0 0 17\n",
        "k 99999999999999999999 0 0\n",
        "k 65537 0 0\n",
        "k 5 0 0\na=1:b",
        "k 6 0 0\na=2:b\n",
        "k 6 0 0\na=0:b\n",
        "k 6 0 0\na=9:b\n",
        "k 6 0 0\n=1:bb\n",
        "k 6 0 0\na 1:b\n",
        "k 3 0 0\na@\n",
        "k 3 0 2\na@\n",
        "k 15 0 0\n!requiretls=0:\n", /* must be understood, and is not */
        "k 9 0 0\na=999999\n",
        "k\xff 0 0 0\n",
    };

    for (size_t i = 0; i < COUNT_OF(packets); i++) {
        struct ipc_frame frame;

        if (ipc_decode(span_cstr(packets[i]), &frame) != ERR_PROTOCOL)
            fail_msg("accepted: \"%s\"", packets[i]);
    }
}

static void too_many_values(void **state)
{
    struct str packet = {0};
    struct ipc_frame frame;
    size_t n = IPC_VALUES_MAX + 1;

    str_printf(&packet, "k %zu 0 0\n", n * 5);
    for (size_t i = 0; i < n; i++)
        str_append_cstr(&packet, "a=0:\n");
    assert_int_equal(ipc_decode(str_span(&packet), &frame), ERR_PROTOCOL);
    str_fini(&packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),      cmocka_unit_test(readable_on_the_wire),
        cmocka_unit_test(malformed),       cmocka_unit_test(limits_of_the_builder),
        cmocka_unit_test(too_many_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
