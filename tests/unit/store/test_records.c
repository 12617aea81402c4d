/* Records and names: what is written is read again, and nothing else is read. */
#include "tests/unit/store/support_store.h"

#include "store/cached.h"
#include "store/names.h"
#include "store/octets.h"
#include "store/records.h"

static void check_same(const struct record *a, const struct record *b)
{
    assert_int_equal(a->mailbox, b->mailbox);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->to, b->to);
    assert_int_equal(a->value, b->value);
    assert_int_equal(a->keywords, b->keywords);
    assert_int_equal(a->message_flags, b->message_flags);
    assert_memory_equal(&a->hot, &b->hot, sizeof(a->hot));
    assert_true(span_eq(a->name, b->name) && span_eq(a->other, b->other));
    assert_true(span_eq(a->uids, b->uids) && span_eq(a->owners, b->owners));
    assert_true(span_eq(a->envelope, b->envelope) && span_eq(a->bodystructure, b->bodystructure));
}

static void test_octets(void **state)
{
    unsigned char octets[8];

    for (size_t n = 1; n <= 8; n++) {
        uint64_t value = UINT64_C(0xfedcba9876543210) >> 8 * (8 - n);
        memset(octets, 0xee, sizeof(octets));
        octets_put(octets, value, n);
        assert_int_equal(octets[0], value & 0xff);
        assert_int_equal(octets[n - 1], 0xfe);
        assert_int_equal(octets_get(octets, n), value);
        octets_put_key(octets, value, n);
        assert_int_equal(octets[0], 0xfe);
        assert_int_equal(octets[n - 1], value & 0xff);
        assert_int_equal(octets_get_key(octets, n), value);
        assert_true(n == 8 || octets[n] == 0xee); /* nothing behind it was touched */
    }
}

static void test_round_trip(void **state)
{
    struct str pairs = {0};
    struct record all[] = {
        {.kind = RECORD_DELIVER,
         .flags = RECORD_TOTALS | RECORD_BLOB,
         .mailbox = 7,
         .bytes = 99,
         .messages = 3,
         .hot = {1, -60, 2, 3, -4, 5, "0123456789abcde", 6},
         .envelope = SPAN_LIT("(env)"),
         .bodystructure = SPAN_LIT("(structure)")},
        {.kind = RECORD_MOVED, .mailbox = 1, .hot = {.size = 77}, .envelope = SPAN_LIT("e")},
        {.kind = RECORD_FLAGS, .mailbox = 2, .op = 2, .message_flags = 31, .keywords = 1ull << 63},
        {.kind = RECORD_EXPUNGE, .mailbox = 3},
        {.kind = RECORD_COPY, .flags = RECORD_MOVE, .mailbox = 3, .to = 4},
        {.kind = RECORD_MAILBOX,
         .op = RECORD_BOX_RENAME,
         .mailbox = 5,
         .value = 9,
         .name = SPAN_LIT("a"),
         .other = SPAN_LIT("b/c")},
        {.kind = RECORD_MAILBOX, .op = RECORD_BOX_RENEW, .value = UINT32_MAX},
        {.kind = RECORD_KEYWORD, .value = 63, .name = SPAN_LIT("$Junk")},
    };

    record_append_pair(&pairs, 1, 5);
    record_append_pair(&pairs, 7, 7);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct record *r = &all[i], got;
        struct str head = {0};
        uint64_t bytes = 0, messages = 0;
        if (r->kind == RECORD_MOVED)
            r->owners = str_span(&pairs);
        if (r->kind == RECORD_FLAGS || r->kind == RECORD_EXPUNGE || r->kind == RECORD_COPY)
            r->uids = str_span(&pairs);
        assert_int_equal(record_encode(r, &head), 0);
        assert_int_equal(record_decode(r->kind, str_span(&head), &got), 0);
        check_same(r, &got);
        assert_int_equal(record_totals(r->kind, head.data, &bytes, &messages), i == 0);
        assert_int_equal(bytes, r->bytes);
        /* Cut anywhere before the lists, it is refused. */
        for (size_t n = 0; n < RECORD_COMMON_SIZE; n++)
            assert_int_equal(record_decode(r->kind, span_make(head.data, n), &got), ERR_CORRUPT);
        /* Of a newer program. */
        head.data[0] = 2;
        assert_int_equal(record_decode(r->kind, str_span(&head), &got), ERR_VERSION);
        str_fini(&head);
    }
    str_fini(&pairs);
}

static void test_refused(void **state)
{
    struct record r = {.kind = RECORD_EXPUNGE}, got;
    struct str head = {0}, pairs = {0};
    static const uint32_t bad[][4] = {{5, 1, 7, 8}, {0, 1, 2, 3}, {1, 5, 5, 6}, {6, 7, 1, 2}};

    assert_int_equal(record_decode(RECORD_KINDS_END, SPAN_LIT("x"), &got), ERR_VERSION);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        str_clear(&head);
        str_clear(&pairs);
        record_append_pair(&pairs, bad[i][0], bad[i][1]);
        record_append_pair(&pairs, bad[i][2], bad[i][3]);
        r.uids = str_span(&pairs);
        assert_int_equal(record_encode(&r, &head), 0);
        assert_int_equal(record_decode(r.kind, str_span(&head), &got), ERR_CORRUPT);
    }
    str_fini(&head);
    str_fini(&pairs);
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        int want;
    } rows[] = {
        {"INBOX", 0},
        {"a/b", 0},
        {"Entw\xc3\xbcrfe", 0},
        {"\xf0\x9f\x93\xac", 0},
        {"", ERR_SYNTAX},
        {"/a", ERR_SYNTAX},
        {"a/", ERR_SYNTAX},
        {"a//b", ERR_SYNTAX},
        {"a\x7f", ERR_SYNTAX},
        {"a\tb", ERR_SYNTAX},
        {"\xc3", ERR_SYNTAX},
        {"\xc0\xaf", ERR_SYNTAX},
        {"\xed\xa0\x80", ERR_SYNTAX},
        {"\xc2\x85", ERR_SYNTAX},
        {"\xe2\x80\xa8", ERR_SYNTAX},
        {"12345678901", ERR_TOO_LONG},
        {"1/2/3/4", ERR_TOO_LONG},
    };
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(name_check(span_cstr(rows[i].name), 10, 3), rows[i].want);
    name_normalise(&out, SPAN_LIT("inBox/Sub/"));
    assert_string_equal(str_cstr(&out), "INBOX/Sub");
    str_clear(&out);
    name_normalise(&out, SPAN_LIT("inboxes"));
    assert_string_equal(str_cstr(&out), "inboxes");
    str_fini(&out);
    assert_true(name_is_below(SPAN_LIT("a/b"), SPAN_LIT("a")));
    assert_false(name_is_below(SPAN_LIT("ab"), SPAN_LIT("a")));
    assert_true(span_eq(name_special_use(SPAN_LIT("Junk")), SPAN_LIT("\\Junk")));
}

/* Of a search's messages all are held together: what is not kept must not be. */
static void test_fields(void **state)
{
    struct str message = {0}, text = {0};

    str_append_cstr(&message, "Subject: short\r\nX-Other: no\r\n\r\nbody\r\n");
    assert_true(
        span_eq(cached_fields(str_span(&message), &text), SPAN_LIT("Subject: short\r\n\r\n")));
    str_clear(&message);
    for (int i = 0; i < 5000; i++)
        str_append_cstr(&message, "To: somebody@example.test\r\n");
    assert_int_equal(cached_fields(str_span(&message), &text).n, 0);
    assert_int_equal(text.cap, 0);
    str_fini(&text);
    str_fini(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_octets),  cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_names),
        cmocka_unit_test(test_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
