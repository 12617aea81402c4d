#include "tests/unit/mail/support_mail.h"

#include <errno.h>

#include "base/error.h"
#include "mail/mime.h"

static void test_decoders(void **state)
{
    static const struct {
        enum mime_encoding encoding;
        const char *text, *decoded;
    } rows[] = {
        {MIME_BASE64, "aGVsbG8=", "hello"},
        {MIME_BASE64, "aGVs\r\nbG8=\r\n", "hello"},
        {MIME_BASE64, "aGVsbG8", "hello"},
        {MIME_BASE64, "a!G#V$sbG8=", "hello"},
        {MIME_BASE64, "aGVsbG8=aGVs", "hello"},
        {MIME_BASE64, "aGVsbA==", "hell"},
        {MIME_BASE64, "=aGVs", "hel"},
        {MIME_BASE64, "a", ""},
        {MIME_QUOTED_PRINTABLE, "a=3Db", "a=b"},
        {MIME_QUOTED_PRINTABLE, "a=3db", "a=b"},
        {MIME_QUOTED_PRINTABLE, "a=\r\nb", "ab"},
        {MIME_QUOTED_PRINTABLE, "a=\nb", "ab"},
        {MIME_QUOTED_PRINTABLE, "a= \t\r\nb", "ab"},
        {MIME_QUOTED_PRINTABLE, "a  \r\nb", "a\r\nb"},
        {MIME_QUOTED_PRINTABLE, "a b \nc", "a b\nc"},
        {MIME_QUOTED_PRINTABLE, "a=XYb", "a=XYb"},
        {MIME_QUOTED_PRINTABLE, "a=4Yb", "a=4Yb"},
        {MIME_QUOTED_PRINTABLE, "a= b", "a= b"},
        {MIME_QUOTED_PRINTABLE, "a=", "a"},
        {MIME_QUOTED_PRINTABLE, "a==41", "a=A"},
        {MIME_QUOTED_PRINTABLE, "a\rb", "a\rb"},
        {MIME_IDENTITY, "a=41\r\n", "a=41\r\n"},
    };
    struct str out = {0};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span text = span_cstr(rows[i].text);
        struct mime_decoder d;

        assert_int_equal(mime_decode(rows[i].encoding, text, &out), 0);
        check_text(&out, rows[i].decoded, rows[i].text);
        mime_decoder_init(&d, rows[i].encoding);
        for (size_t at = 0; at < text.n; at++)
            mime_decoder_feed(&d, span_make(text.p + at, 1), &out);
        mime_decoder_finish(&d, &out);
        mime_decoder_fini(&d);
        check_text(&out, rows[i].decoded, rows[i].text);
    }
    str_fini(&out);
}

static void test_encoding_names(void **state)
{
    assert_int_equal(mime_encoding_parse(SPAN_LIT(" BASE64 (x)")), MIME_BASE64);
    assert_int_equal(mime_encoding_parse(SPAN_LIT("(x)quoted-Printable;")), MIME_QUOTED_PRINTABLE);
    assert_int_equal(mime_encoding_parse(SPAN_LIT("8bit")), MIME_IDENTITY);
    assert_int_equal(mime_encoding_parse(SPAN_NONE), MIME_IDENTITY);
    assert_int_equal(mime_encoding_parse(SPAN_LIT("x-uuencode")), MIME_UNKNOWN);
    assert_int_equal(mime_encoding_parse(SPAN_LIT("")), MIME_UNKNOWN);
}

static void test_value(void **state)
{
    static const struct {
        const char *value;
        const char *printed; /* type|subtype|name=value|... */
    } rows[] = {
        {"text/plain; charset=utf-8", "text|plain|charset=utf-8"},
        {"text/plain; a=\"b;\\\"c\" (x); d=e", "text|plain|a=b;\"c|d=e"},
        {"text/plain; n*0=a; n*1=b", "text|plain|n=ab"},
        {"text/plain; n*1=b; n*0=a; x=y", "text|plain|x=y|n=ab"},
        {"text/plain; n*0*=utf-8''a%20; n*1=b%", "text|plain|n*=utf-8''a%20b%25"},
        {"text/plain; n*0=a; n*2=c", "text|plain|n*0=a|n*2=c"},
        {"text/plain; n*=us-ascii''x", "text|plain|n*=us-ascii''x"},
        {"text/plain; ; =x; a; b=c", "text|plain"},
        {"text/plain; a=\"unclosed", "text|plain"},
        {"text/plain; a==?utf-8?q?x?= ; b=c", "text|plain|a==?utf-8?q?x?=|b=c"},
        {"text", "text|"},
        {"text/", "|"},
        {"/plain", "|"},
        {"text/plain x", "|"},
        {"", "|"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena = {0};
        struct mime_value v;
        struct str out = {0};

        assert_int_equal(mime_value_parse(&arena, span_cstr(rows[i].value), true, &v), 0);
        str_printf(&out, "%.*s|%.*s", SPAN_ARG(v.type), SPAN_ARG(v.subtype));
        for (struct mime_param *p = v.params; p != NULL; p = p->next)
            str_printf(&out, "|%.*s=%.*s", SPAN_ARG(p->name), SPAN_ARG(p->value));
        check_text(&out, rows[i].printed, rows[i].value);
        str_fini(&out);
        arena_reset(&arena);
    }
}

/* "(offset+header+body:lines type ...children)" */
static void print_part(struct str *out, const struct mime_part *part)
{
    str_printf(out, "(%zu+%d+%d:%d %s", part->offset, (int)part->header.physical,
               (int)part->body.physical, (int)part->body.lines,
               (part->flags & MIME_MULTIPART) ? "multi"
               : (part->flags & MIME_MESSAGE) ? "message"
               : (part->flags & MIME_TEXT)    ? "text"
                                              : "other");
    for (const struct mime_part *child = part->children; child != NULL; child = child->next)
        print_part(out, child);
    str_append_char(out, ')');
}

#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\n\n"

static void test_structure(void **state)
{
    static const struct {
        const char *message, *parts;
    } rows[] = {
        {"", "(0+0+0:0 text)"},
        {"A: b\n\nx\ny", "(0+6+3:1 text)"},
        {"A: b", "(0+4+0:0 text)"},
        {MULTI("x") "--x\n\na\n--x\n\nb\n--x--\nend\n",
         "(0+43+24:8 multi(47+1+1:0 text)(54+1+1:0 text))"},
        /* no closing boundary */
        {MULTI("x") "--x\n\na\n", "(0+43+7:3 multi(47+1+2:1 text))"},
        /* no boundary at all, no boundary parameter */
        {MULTI("x") "a\n", "(0+43+2:1 multi)"},
        {"Content-Type: multipart/mixed\n\n--\na\n", "(0+31+5:2 multi)"},
        /* the inner one is not closed */
        {MULTI("x") "--x\n" MULTI("yy") "--yy\n\na\n--x\n\nb\n--x--\n",
         "(0+43+69:10 multi(47+44+7:2 multi(96+1+1:0 text))(103+1+1:0 text))"},
        /* a boundary where the header goes on: its line break is not the header's */
        {MULTI("x") "--x\nA: b\n--x--\n", "(0+43+15:3 multi(47+4+0:0 text))"},
        /* an empty part at the end */
        {MULTI("x") "--x\n", "(0+43+4:1 multi(47+0+0:0 text))"},
        {MULTI("x") "--x", "(0+43+3:0 multi)"},
        /* a longer boundary that begins like the outer one */
        {MULTI("x") "--x\n" MULTI("xy") "--xy\n\na\n--xy--\n--x--\n",
         "(0+43+69:8 multi(47+44+15:4 multi(96+1+1:0 text)))"},
        /* "--x--" closes the inner x; it does not begin a part of the outer "x--" */
        {MULTI("x--") "--x--\n" MULTI("x") "--x--\n--x--\n\nb\n--x----\n",
         "(0+45+72:8 multi(51+43+6:1 multi)(106+1+1:0 text))"},
        {"Content-Type: message/rfc822\n\nA: b\n\nx\n", "(0+30+8:3 message(30+6+2:1 text))"},
        {"Content-Type: multipart/digest; boundary=x\n\n--x\n\nA: b\n\nx\n--x--\n",
         "(0+44+19:6 multi(48+1+7:2 message(49+6+1:0 text)))"},
        {"Content-Type: image/png\n\nx", "(0+25+1:0 other)"},
        /* without a type the other fields do not count */
        {"Content-Transfer-Encoding: base64\n\nx", "(0+35+1:0 text)"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena = {0};
        struct mime_part *root;
        struct str out = {0};

        assert_int_equal(mime_parse(&arena, span_cstr(rows[i].message), NULL, &root), 0);
        print_part(&out, root);
        check_text(&out, rows[i].parts, rows[i].message);
        str_fini(&out);
        arena_reset(&arena);
    }
}

static void test_sizes_as_sent(void **state)
{
    struct arena arena = {0};
    struct mime_part *root;
    struct span message = SPAN_LIT("A: b\r\nC: d\n\na\r\nb\n\rc\n");
    struct mime_size size = mime_measure(message);

    mime_parse(&arena, message, NULL, &root);
    assert_int_equal(root->header.physical, 12);
    assert_int_equal(root->header.virtual_size, 14);
    assert_int_equal(root->body.physical, 8);
    assert_int_equal(root->body.virtual_size, 10);
    assert_int_equal(root->body.lines, 3);
    assert_int_equal(size.virtual_size, 24);
    arena_reset(&arena);
}

/* Messages in messages, each with a multipart: deeper than the limit is opaque. */
static void test_limits(void **state)
{
    struct mime_limits limits = {.depth_max = 5, .parts_max = 10};
    struct arena arena = {0};
    struct mime_part *root;
    struct str text = {0};
    unsigned depth = 0, parts = 0;

    for (int i = 0; i < 1000; i++)
        str_append_cstr(&text, "Content-Type: message/rfc822\n\n");
    mime_parse(&arena, str_span(&text), &limits, &root);
    for (const struct mime_part *p = root; p != NULL; p = mime_part_walk(p)) {
        depth = p->depth > depth ? p->depth : depth;
        parts++;
    }
    assert_int_equal(depth, 5);
    assert_int_equal(parts, 6);
    mime_parse(&arena, str_span(&text), NULL, &root);
    str_clear(&text);
    str_append_cstr(&text, MULTI("x"));
    for (int i = 0; i < 100; i++)
        str_append_cstr(&text, "--x\n\na\n");
    mime_parse(&arena, str_span(&text), &limits, &root);
    parts = 0;
    for (const struct mime_part *p = root; p != NULL; p = mime_part_walk(p))
        parts++;
    assert_int_equal(parts, 10);
    assert_int_equal(root->header.physical + root->body.physical, text.len);
    arena_reset(&arena);
    str_fini(&text);
}

static void test_budget(void **state)
{
    struct budget budget;
    struct arena arena;
    struct mime_part *root;
    struct str text = {0};

    str_append_cstr(&text, MULTI("x"));
    for (int i = 0; i < 1000; i++)
        str_append_cstr(&text, "--x\n\na\n");
    budget_init(&budget, 16384);
    arena_init(&arena, &budget);
    assert_int_equal(mime_parse(&arena, str_span(&text), NULL, &root), -ENOMEM);
    arena_reset(&arena);
    assert_int_equal(budget.used, 0);
    str_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoders),      cmocka_unit_test(test_encoding_names),
        cmocka_unit_test(test_value),         cmocka_unit_test(test_structure),
        cmocka_unit_test(test_sizes_as_sent), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_budget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
