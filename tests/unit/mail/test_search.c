#include "tests/unit/mail/support_mail.h"

#include <fcntl.h>
#include <ftw.h>

#include "base/error.h"
#include "base/fd.h"
#include "mail/header.h"
#include "mail/imap.h"
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

/* --- the fields that the store keeps --- */

static const char *const kept[] = {"date", "SUBJECT", "From", "sender",      "Reply-To",
                                   "To",   "cc",      "Bcc",  "In-Reply-To", "Message-ID"};

static void check_needle(struct span mail, struct span fields, struct span text)
{
    struct search_needle *needle;

    if (search_needle_new(text, &needle) < 0)
        return;
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        assert_int_equal(search_header(fields, span_cstr(kept[i]), needle, NULL),
                         search_header(mail, span_cstr(kept[i]), needle, NULL));
    search_needle_free(needle);
}

/* A search in the fields finds what one in the message finds: of each field the field
 * itself (also an empty one), and every part of its decoded value. */
static void check_fields(struct span mail)
{
    struct str fields = {0}, value = {0}, of_message = {0}, of_fields = {0};
    struct header_walk walk = header_begin(mail);
    struct header_field field;

    assert_int_equal(imap_envelope_fields(&fields, mail), 0);
    assert_int_equal(imap_envelope(&of_message, mail), 0);
    assert_int_equal(imap_envelope(&of_fields, str_span(&fields)), 0);
    assert_true(span_eq(str_span(&of_fields), str_span(&of_message)));
    check_needle(mail, str_span(&fields), SPAN_NONE);
    while (header_next(&walk, &field)) {
        str_clear(&value);
        assert_int_equal(header_decode(&value, field.value), 0);
        check_needle(mail, str_span(&fields), str_span(&value));
        for (size_t at = 0; at < value.len && at < 1000; at += 7)
            check_needle(mail, str_span(&fields), span_take(span_drop(str_span(&value), at), 9));
    }
    str_fini(&fields);
    str_fini(&value);
    str_fini(&of_message);
    str_fini(&of_fields);
}

static void test_fields_rows(void **state)
{
    static const struct span rows[] = {
        SPAN_LIT(""),
        SPAN_LIT("\r\nSubject: in the body\r\n"),
        SPAN_LIT("Subject: ends here"),
        SPAN_LIT("Subject: ends\r\n here"),
        SPAN_LIT("Subject: one\r\nsubject: two\r\nSubject : three\r\n\r\nSubject: four\r\n"),
        SPAN_LIT("Subject:\r\nTo:\nCc: \r\n \r\n\r\n"),
        SPAN_LIT(" folded at once\nFrom: a\n\tb\nno field\n and its fold\nTo: c\n\nbody"),
        SPAN_LIT("From x@y Thu Jan 1\r\nFrom: =?utf-8?q?a?=\r\n =?utf-8?q?b?= <a@b>\r\n\r\n"),
        SPAN_LIT("Subject: a\rTo: b\r\r\nCc: \0nul\r\nX: To: d\r\n\r\n"),
        SPAN_LIT("Subjects: more\r\nXSubject: less\r\nDate: \xe9\xff\r\n"),
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_fields(rows[i]);
}

static unsigned files;

static int check_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    struct str text = {0};
    int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0 && fd_read_file(fd, &text, SIZE_MAX) == 0) {
        check_fields(str_span(&text));
        files++;
    }
    fd_close(&fd);
    str_fini(&text);
    return 0;
}

static void test_fields_of_samples(void **state)
{
    nftw("tests/samples", check_file, 10, FTW_PHYS);
    assert_true(files > 0);
    nftw("../shared/vectors/mime", check_file, 10, FTW_PHYS); /* more, where they are */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_position),
        cmocka_unit_test(test_long_needle),
        cmocka_unit_test(test_fields_rows),
        cmocka_unit_test(test_fields_of_samples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
