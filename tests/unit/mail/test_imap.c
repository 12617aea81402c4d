#include "tests/unit/mail/support_mail.h"

#include "base/error.h"
#include "mail/addrlist.h"
#include "mail/imap.h"

static void test_strings(void **state)
{
    static const struct {
        struct span text;
        const char *nstring, *astring;
    } rows[] = {
        {SPAN_LIT(""), "\"\"", "\"\""},
        {SPAN_LIT("abc"), "\"abc\"", "abc"},
        {SPAN_LIT("nil"), "\"nil\"", "\"nil\""},
        {SPAN_LIT("a b"), "\"a b\"", "\"a b\""},
        {SPAN_LIT("a\"b\\"), "\"a\\\"b\\\\\"", "\"a\\\"b\\\\\""},
        {SPAN_LIT("\"\"\"\"\""), "{5}\r\n\"\"\"\"\"", "{5}\r\n\"\"\"\"\""},
        {SPAN_LIT("a\r\nb"), "{4}\r\na\r\nb", "{4}\r\na\r\nb"},
        {SPAN_LIT("\xfc"), "{1}\r\n\xfc", "{1}\r\n\xfc"},
        {SPAN_LIT("a\0b"),
         "{3}\r\na\x80"
         "b",
         "{3}\r\na\x80"
         "b"},
    };
    struct str out = {0};

    imap_append_nstring(&out, SPAN_NONE);
    check_text(&out, "NIL", "NIL");
    imap_append_string(&out, SPAN_NONE);
    check_text(&out, "\"\"", "empty");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        imap_append_nstring(&out, rows[i].text);
        check_text(&out, rows[i].nstring, rows[i].nstring);
        imap_append_astring(&out, rows[i].text);
        check_text(&out, rows[i].astring, rows[i].astring);
    }
    str_fini(&out);
}

static void test_address_lists(void **state)
{
    static const struct {
        const char *value, *items; /* name/route/mailbox/domain */
    } rows[] = {
        {"", ""},
        {"a@b", "(~/~/a/b)"},
        {"Joe <a@b>, \"Q, R\" <c@d>", "(Joe/~/a/b)(Q, R/~/c/d)"},
        {"a@b (Joe)", "(Joe/~/a/b)"},
        {"<@r1,@r2:a@b>", "(~/@r1,@r2/a/b)"},
        {"grp: a@b, c@d;, e@f", "(~/~/grp/~)(~/~/a/b)(~/~/c/d)(~/~/~/~)(~/~/e/f)"},
        {"undisclosed-recipients:;", "(~/~/undisclosed-recipients/~)(~/~/~/~)"},
        {"a", "(~/~/a/MISSING_DOMAIN)"},
        {"a b", "(a b/~/MISSING_MAILBOX/MISSING_DOMAIN)"},
        {"<a@b", "(~/~/a/SYNTAX_ERROR)"},
        {"<>", "(~/~/MISSING_MAILBOX/MISSING_DOMAIN)"},
        {"@b", "(~/~/MISSING_MAILBOX/b)"},
        {".a..b.@c", "(~/~/.a..b./c)"},
        {"a@[192.0.2.1]", "(~/~/a/[192.0.2.1])"},
        {"\"a\\\"b\"@c", "(~/~/a\"b/c)"},
        {"a @ b . c", "(~/~/a/b.c)"},
        {"a@b,,c@d", "(~/~/a/b)(~/~/MISSING_MAILBOX/MISSING_DOMAIN)(~/~/c/d)"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena = {0};
        struct addrlist_item *list;
        struct str out = {0};

        assert_int_equal(addrlist_parse(&arena, span_cstr(rows[i].value), 100, &list), 0);
        for (; list != NULL; list = list->next) {
            struct span parts[] = {list->name, list->route, list->mailbox, list->domain};

            for (int k = 0; k < 4; k++) {
                str_append_char(&out, k == 0 ? '(' : '/');
                str_append(&out, parts[k].p == NULL ? SPAN_LIT("~") : parts[k]);
            }
            str_append_char(&out, ')');
        }
        check_text(&out, rows[i].items, rows[i].value);
        str_fini(&out);
        arena_reset(&arena);
    }
}

static void test_address_list_is_bounded(void **state)
{
    struct arena arena = {0};
    struct addrlist_item *list;
    struct str text = {0};
    unsigned n = 0;

    for (int i = 0; i < 1000; i++)
        str_append_cstr(&text, "a@b,");
    addrlist_parse(&arena, str_span(&text), 10, &list);
    for (; list != NULL; list = list->next)
        n++;
    assert_int_equal(n, 10);
    str_fini(&text);
    arena_reset(&arena);
}

static void test_envelope(void **state)
{
    struct str out = {0};

    imap_envelope(&out, SPAN_LIT("Subject: a\tb\r\n c\r\nfrom: J <j@x>\r\nFROM: k@x\r\n"
                                 "Date: 1\r\n 2\r\nDate: 3\r\nTo:\r\nMessage-ID:  <m>\r\n\r\n"));
    check_text(&out,
               "(\"3\" {5}\r\na b c ((\"J\" NIL \"j\" \"x\")(NIL NIL \"k\" \"x\")) "
               "((\"J\" NIL \"j\" \"x\")(NIL NIL \"k\" \"x\")) "
               "((\"J\" NIL \"j\" \"x\")(NIL NIL \"k\" \"x\")) NIL NIL NIL NIL \"<m>\")",
               "envelope");
    imap_envelope(&out, SPAN_LIT(""));
    check_text(&out, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", "empty");
    str_fini(&out);
}

#define MESSAGE                                                                                  \
    "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\n" \
    "Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=f\r\n\r\n"        \
    "Subject: t\r\nTo: a@b\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n"           \
    "--y\r\nContent-Language: de, en\r\nContent-ID: <i>\r\n\r\n1\r\n--y\r\n"                     \
    "Content-Type: text/html\r\n\r\n2\r\n--y--\r\n--x--\r\n"

/* What Dovecot makes of octets that no header should have. */
static void test_envelope_of_odd_octets(void **state)
{
    static const struct {
        struct span header;
        const char *want;
    } cases[] = {
        {SPAN_LIT("Subject: a\rb\r \r\n\tc\r\n\r\n"),
         "(NIL {5}\r\na b c NIL NIL NIL NIL NIL NIL NIL NIL)"},
        {SPAN_LIT("Subject: a\vb\0c\r\n\r\n"), "(NIL {7}\r\na\vb\xef\xbf\xbd"
                                               "c NIL NIL NIL NIL NIL NIL NIL NIL)"},
        {SPAN_LIT("Message-ID: <a>\rb\r\r\n c\r\n\r\n"),
         "(NIL NIL NIL NIL NIL NIL NIL NIL NIL \"<a> b c\")"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str out = {0};
        assert_int_equal(imap_envelope(&out, cases[i].header), 0);
        check_text(&out, cases[i].want, "odd octets");
        str_fini(&out);
    }
}

static void test_structure(void **state)
{
    struct arena arena = {0};
    struct str envelope = {0}, structure = {0}, body = {0};

    assert_int_equal(imap_describe(&arena, SPAN_LIT(MESSAGE), &envelope, &structure), 0);
    imap_body(&body, str_span(&structure));
    check_text(
        &structure,
        "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0 NIL NIL NIL NIL)"
        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 167 (NIL \"t\" NIL NIL NIL ((NIL NIL \"a\" "
        "\"b\")) NIL NIL NIL NIL) ((\"text\" \"plain\" (\"charset\" \"us-ascii\") \"<i>\" NIL "
        "\"7bit\" 1 0 NIL NIL (\"de\" \"en\") NIL)(\"text\" \"html\" (\"charset\" \"us-ascii\") "
        "NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"alternative\" (\"boundary\" \"y\") NIL NIL NIL) "
        "14 NIL (\"attachment\" (\"filename\" \"f\")) NIL NIL) \"mixed\" (\"boundary\" \"x\") "
        "NIL NIL NIL)",
        "bodystructure");
    check_text(
        &body,
        "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0)"
        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 167 (NIL \"t\" NIL NIL NIL ((NIL NIL \"a\" "
        "\"b\")) NIL NIL NIL NIL) ((\"text\" \"plain\" (\"charset\" \"us-ascii\") \"<i>\" NIL "
        "\"7bit\" 1 0)(\"text\" \"html\" (\"charset\" \"us-ascii\") "
        "NIL NIL \"7bit\" 1 0) \"alternative\") 14) \"mixed\")",
        "body");
    for (const char *const *bad =
             (const char *const[]){"", "(", "()", "(((((", "(\"a\")", "x",
                                   "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1", NULL};
         *bad != NULL; bad++) {
        assert_int_equal(imap_body(&body, span_cstr(*bad)), ERR_CORRUPT);
        str_clear(&body);
    }
    str_fini(&envelope);
    str_fini(&structure);
    str_fini(&body);
    arena_reset(&arena);
}

/* Whatever somebody sends: whoever gets it can list his mail. */
static void test_too_much_to_describe(void **state)
{
    struct budget budget;
    struct arena arena;
    struct str envelope = {0}, structure = {0};

    budget_init(&budget, 1024);
    arena_init(&arena, &budget);
    assert_int_equal(imap_describe(&arena, SPAN_LIT(MESSAGE "\n"), &envelope, &structure), 0);
    assert_string_equal(str_cstr(&envelope), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    check_text(&structure,
               "(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" 329 NIL NIL NIL NIL)",
               "opaque");
    arena_reset(&arena);
    str_fini(&envelope);
    str_fini(&structure);
}

static void test_sections(void **state)
{
    static const struct {
        const char *section;
        int result;
        const char *text;
    } rows[] = {
        {"", 0, MESSAGE},
        {"1", 0, "hello"},
        {"1.MIME", 0, "\r\n"},
        {"1.TEXT", ERR_NOT_FOUND, NULL},
        {"1.1", 0, "hello"},
        {"1.1.1", ERR_NOT_FOUND, NULL},
        {"3", ERR_NOT_FOUND, NULL},
        {"2.HEADER.FIELDS (to)", 0, "To: a@b\r\n\r\n"},
        {"2.1", 0, "1"},
        {"2.2", 0, "2"},
        {"2.2.MIME", 0, "Content-Type: text/html\r\n\r\n"},
        {"2.TEXT", 0,
         "--y\r\nContent-Language: de, en\r\nContent-ID: <i>\r\n\r\n1\r\n--y\r\n"
         "Content-Type: text/html\r\n\r\n2\r\n--y--\r\n"},
        {"HEADER", 0, "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"},
        {"HEADER.FIELDS (\"subject\" X)", 0, "Subject: s\r\n\r\n"},
        {"header.fields.not (Subject)", 0, "Content-Type: multipart/mixed; boundary=x\r\n\r\n"},
        {"MIME", ERR_SYNTAX, NULL},
        {"0", ERR_SYNTAX, NULL},
        {"1.", ERR_SYNTAX, NULL},
        {"1..2", ERR_SYNTAX, NULL},
        {"1.FOO", ERR_SYNTAX, NULL},
        {"HEADER.FIELDS ()", ERR_SYNTAX, NULL},
        {"HEADER.FIELDS (a", ERR_SYNTAX, NULL},
        {"HEADER (a)", ERR_SYNTAX, NULL},
        {"99999999999", ERR_SYNTAX, NULL},
    };
    struct arena arena = {0};
    struct mime_part *root;
    struct str out = {0};

    mime_parse(&arena, SPAN_LIT(MESSAGE), NULL, &root);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct imap_section s;
        struct imap_ranges ranges = {0};
        int result = imap_section_parse(&arena, span_cstr(rows[i].section), &s);

        if (result == 0)
            result = imap_section_find(SPAN_LIT(MESSAGE), root, &s, &ranges);
        if (result != rows[i].result)
            fail_msg("%s: %d", rows[i].section, result);
        if (result == 0) {
            imap_ranges_append(&out, &ranges, 0, UINT64_MAX);
            assert_int_equal(ranges.size.virtual_size, out.len);
            check_text(&out, rows[i].text, rows[i].section);
        }
        imap_section_free(&s);
        array_free(&ranges.items);
    }
    str_fini(&out);
    arena_reset(&arena);
}

static void test_nul_is_not_sent(void **state)
{
    struct span message = SPAN_LIT("A: b\r\n\r\nx\0y\0");
    struct arena arena = {0};
    struct mime_part *root;
    struct imap_section s;
    struct imap_ranges ranges;
    struct str out = {0};

    mime_parse(&arena, message, NULL, &root);
    imap_section_parse(&arena, SPAN_LIT("TEXT"), &s);
    imap_section_find(message, root, &s, &ranges);
    imap_ranges_append(&out, &ranges, 0, UINT64_MAX);
    check_text(&out, "x\x80y\x80", "NUL");
    array_free(&ranges.items);
    str_fini(&out);
    arena_reset(&arena);
}

/* A field that comes again and again costs no more than its length, and is cut. */
static void test_many_address_fields(void **state)
{
    struct str text = {0}, out = {0};

    for (int i = 0; i < 200000; i++)
        str_append_cstr(&text, "To: a@b\n");
    assert_int_equal(imap_envelope(&out, str_span(&text)), 0);
    assert_true(out.len < 200000);
    str_fini(&text);
    str_fini(&out);
}

static void test_partial_of_bare_lf(void **state)
{
    struct span message = SPAN_LIT("A: b\n\nx\ny\r\nz\n");
    const char *sent = "A: b\r\n\r\nx\r\ny\r\nz\r\n";
    struct arena arena = {0};
    struct mime_part *root;
    struct imap_section s;
    struct imap_ranges ranges;
    struct str out = {0};

    mime_parse(&arena, message, NULL, &root);
    imap_section_parse(&arena, SPAN_LIT(""), &s);
    imap_section_find(message, root, &s, &ranges);
    for (uint64_t offset = 0; offset <= strlen(sent) + 1; offset++) {
        for (uint64_t count = 1; count <= strlen(sent) + 1; count++) {
            struct span expected = span_take(span_drop(span_cstr(sent), offset), count);

            imap_ranges_append(&out, &ranges, offset, count);
            assert_true(span_eq(str_span(&out), expected));
            str_clear(&out);
        }
    }
    array_free(&ranges.items);
    str_fini(&out);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_address_lists),
        cmocka_unit_test(test_address_list_is_bounded),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_envelope_of_odd_octets),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_too_much_to_describe),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_nul_is_not_sent),
        cmocka_unit_test(test_many_address_fields),
        cmocka_unit_test(test_partial_of_bare_lf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
