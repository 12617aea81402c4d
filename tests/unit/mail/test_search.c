#include "tests/unit/mail/support_mail.h"

#include "base/error.h"
#include "mail/search.h"

static const char message[] =
    "Subject: =?iso-8859-1?q?Gr=FC=DFe?=   from\r\n Berlin\r\nX-Empty:\r\n"
    "Content-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n--x\r\n"
    "Content-Type: text/plain; charset=iso-8859-1\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n\r\nSch=F6nes Wet=\r\nter\r\n--x\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    "5pel5pys6Kqe\r\n--x\r\nContent-Type: image/png\r\n\r\npicture\r\n--x\r\n"
    "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nInside\r\n--x--\r\n";

enum { HEADER, BODY, TEXT };

static int search(int where, const char *name, const char *text)
{
    struct arena arena = {0};
    struct span span = span_cstr(message);
    struct mime_part *root;
    struct search_needle *needle;
    int found;

    mime_parse(&arena, span, NULL, &root);
    assert_int_equal(search_needle_new(span_cstr(text), &needle), 0);
    found = where == HEADER ? search_header(span, span_cstr(name), needle, NULL)
            : where == BODY ? search_body(span, root, needle, NULL)
                            : search_text(span, root, needle, NULL);
    search_needle_free(needle);
    arena_reset(&arena);
    return found;
}

static void test_rows(void **state)
{
    static const struct {
        int where;
        const char *name, *text;
        int found;
    } rows[] = {
        {HEADER, "subject", "gr\xc3\x9c", 1},
        {HEADER, "Subject",
         "\xc3\x9f"
         "e from berlin",
         1},
        {HEADER, "Subject", "inner", 0},
        {HEADER, "X-Empty", "", 1},
        {HEADER, "X-None", "", 0},
        {BODY, NULL, "sch\xc3\x96nes wetter", 1},
        {BODY, NULL, "Scho\xcc\x88n", 1},
        {BODY, NULL, "\xe6\x9c\xac", 1},
        {BODY, NULL, "picture", 0},
        {BODY, NULL, "preamble", 0},
        {BODY, NULL, "inner", 0},
        {BODY, NULL, "inside", 1},
        {BODY, NULL, "text/plain", 0},
        {TEXT, NULL, "inner", 1},
        {TEXT, NULL, "content-type: image", 1},
        {TEXT, NULL, "berlin", 1},
        {TEXT, NULL, "inside", 1},
        {TEXT, NULL, "picture", 0},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (search(rows[i].where, rows[i].name, rows[i].text) != rows[i].found)
            fail_msg("row %zu: %s", i, rows[i].text);
}

/* The needle may lie anywhere in a long body, also across the pieces it is read in. */
static void test_every_position(void **state)
{
    struct arena arena = {0};
    struct search_needle *needle;
    struct str text = {0};

    search_needle_new(SPAN_LIT("n\xc3\xa4"
                               "dl"),
                      &needle);
    for (size_t at = 4070; at < 4110; at++) {
        struct mime_part *root;

        str_clear(&text);
        str_append_cstr(&text, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
        str_append_fill(&text, 'x', at);
        str_append_cstr(&text, "N\xc3\x84"
                               "DL");
        mime_parse(&arena, str_span(&text), NULL, &root);
        assert_int_equal(search_body(str_span(&text), root, needle, NULL), 1);
        str_truncate(&text, text.len - 1);
        mime_parse(&arena, str_span(&text), NULL, &root);
        assert_int_equal(search_body(str_span(&text), root, needle, NULL), 0);
        arena_reset(&arena);
    }
    search_needle_free(needle);
    str_fini(&text);
}

static void test_long_needle(void **state)
{
    struct search_needle *needle;
    struct str text = {0};

    str_append_fill(&text, 'x', 5000);
    assert_int_equal(search_needle_new(str_span(&text), &needle), ERR_TOO_LONG);
    str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_position),
        cmocka_unit_test(test_long_needle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
