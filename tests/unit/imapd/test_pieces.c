/* The parts that know no session: words, sets, patterns, FETCH's items. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "base/error.h"
#include "imapd/fetch_items.h"
#include "imapd/pattern.h"
#include "imapd/set.h"

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"*", "a/b/c", true},          {"%", "a", true},         {"%", "a/b", false},
        {"%/%", "a/b", true},          {"a*c", "a/b/c", true},   {"a%c", "a/b/c", false},
        {"a%c", "abbc", true},         {"inbox", "INBOX", true}, {"InBox/*", "INBOX/x", true},
        {"inboxes", "INBOXes", false}, {"", "", true},           {"", "a", false},
        {"**%*", "x/y", true},         {"a", "ab", false},       {"ab", "a", false},
        {"*b", "ab/b", true},          {"%b", "ab/b", false},    {"foo", "FOO", false},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (pattern_matches(span_cstr(cases[i].pattern), span_cstr(cases[i].name)) !=
            cases[i].matches)
            fail_msg("%s against %s", cases[i].pattern, cases[i].name);
    }
}

/* Six messages with UIDs 10, 20, ... 60. */
static void fill(struct store_view *v)
{
    for (uint32_t i = 1; i <= 6; i++)
        array_push(&v->messages)->uid = i * 10;
}

static void test_sets(void **state)
{
    static const struct {
        const char *set;
        bool by_uid, may_miss;
        const char *want; /* NULL: refused */
    } cases[] = {
        {"1", false, false, "1"},
        {"2:4", false, false, "2:4"},
        {"4:2", false, false, "2:4"},
        {"*", false, false, "6"},
        {"*:5", false, false, "5:6"},
        {"5:*", false, false, "5:6"},
        {"6,1,3:4,4", false, false, "1,3:4,6"},
        {"1:4,2:3,3:5,2,5", false, false, "1:5"},
        {"7", false, false, NULL},
        {"7:*", false, false, NULL},
        {"5:9", false, false, NULL},
        {"5:9", false, true, "5:6"},
        {"9", false, true, ""},
        {"9:*", false, true, "6"},
        {"10", true, false, "1"},
        {"11:30", true, false, "2:3"},
        {"*", true, false, "6"},
        {"100:*", true, false, "6"},
        {"61:99", true, false, ""},
        {"4294967295", true, false, ""},
        {"1:4294967295", true, false, "1:6"},
    };
    struct store_view view = {0};

    fill(&view);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parse p = {.rest = span_cstr(cases[i].set)};
        struct parse_set ranges;
        struct set set;
        struct str text = {0};
        int rc;

        assert_int_equal(parse_sequence_set(&p, &ranges), 0);
        rc = set_resolve(&view, &ranges, cases[i].by_uid, cases[i].may_miss, &set);
        array_free(&ranges.ranges);
        if (cases[i].want == NULL) {
            assert_int_equal(rc, ERR_NOT_FOUND);
            continue;
        }
        assert_int_equal(rc, 0);
        set_append(&text, set.numbers.items, set.numbers.len);
        if (strcmp(str_cstr(&text), cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].set, str_cstr(&text));
        str_fini(&text);
        set_free(&set);
    }
    array_free(&view.messages);
}

/* As many ranges as fit a command, each the whole of a large mailbox: one pass, where a
 * mark for each message of each range would be 6.5 GB of memory to write. */
static void test_overlapping_ranges_cost_nothing(void **state)
{
    enum { MESSAGES = 100000 };
    struct store_view view = {0};
    struct parse_set ranges = {0};
    struct set set;
    clock_t start;

    for (uint32_t i = 1; i <= MESSAGES; i++)
        array_push(&view.messages)->uid = i;
    for (unsigned i = 0; i < PARSE_RANGES_MAX; i++)
        *array_push(&ranges.ranges) = (struct parse_range){1, 0};
    start = clock();
    assert_int_equal(set_resolve(&view, &ranges, true, false, &set), 0);
    assert_true(clock() - start < CLOCKS_PER_SEC / 25);
    assert_int_equal(set.numbers.len, MESSAGES);
    set_free(&set);
    array_free(&ranges.ranges);
    array_free(&view.messages);
}

static void test_sets_that_do_not_parse(void **state)
{
    static const char *const cases[] = {"", "0", "a", ":", "1:", ",1", "1,", "1,,2", "4294967296"};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parse p = {.rest = span_cstr(cases[i])};
        struct parse_set ranges;
        assert_int_equal(parse_sequence_set(&p, &ranges), ERR_SYNTAX);
    }
}

static void test_fetch_items(void **state)
{
    static const struct {
        const char *text;
        int rc;
        unsigned items;
        const char *name; /* of the first section */
        bool sets_seen;
    } cases[] = {
        {"FLAGS", 0, FETCH_FLAGS, NULL, false},
        {"(uid Flags)", 0, FETCH_FLAGS | FETCH_UID, NULL, false},
        {"FAST", 0, FETCH_FLAGS | FETCH_DATE | FETCH_SIZE, NULL, false},
        {"(FAST)", ERR_SYNTAX, 0, NULL, false},
        {"BODY", 0, FETCH_BODY, NULL, false},
        {"BODY[]", 0, 0, "BODY[]", true},
        {"body.peek[1.2.mime]<5.6>", 0, 0, "BODY[1.2.MIME]<5>", false},
        {"BODY[HEADER.FIELDS (To \"x]y\")]", 0, 0, "BODY[HEADER.FIELDS (TO \"X]Y\")]", true},
        {"BODY[HEADER.FIELDS ({2}\r\nTo)]", 0, 0, "BODY[HEADER.FIELDS (\"TO\")]", true},
        {"RFC822.HEADER", 0, 0, "RFC822.HEADER", false},
        {"RFC822", 0, 0, "RFC822", true},
        {"BODY[", ERR_SYNTAX, 0, NULL, false},
        {"BODY[1.]", ERR_SYNTAX, 0, NULL, false},
        {"BODY[]<1>", ERR_SYNTAX, 0, NULL, false},
        {"BODY[]<1.0>", ERR_SYNTAX, 0, NULL, false},
        {"BODY[HEADER.FIELDS]", ERR_SYNTAX, 0, NULL, false},
        {"BODY[HEADER.FIELDS ()]", ERR_SYNTAX, 0, NULL, false},
        {"FLAGS UID", ERR_SYNTAX, 0, NULL, false},
        {"()", ERR_SYNTAX, 0, NULL, false},
        {"(FLAGS", ERR_SYNTAX, 0, NULL, false},
        {"", ERR_SYNTAX, 0, NULL, false},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct parse p = {.rest = span_cstr(cases[i].text), .arena = &arena};
        struct fetch_items f = {0};

        if (fetch_items_take(&p, &f) != cases[i].rc)
            fail_msg("%s", cases[i].text);
        if (cases[i].rc == 0) {
            assert_int_equal(f.items, cases[i].items);
            assert_int_equal(f.sections.len, cases[i].name != NULL);
        }
        if (cases[i].name != NULL) {
            assert_true(span_eq(f.sections.items[0].name, span_cstr(cases[i].name)));
            assert_int_equal(f.sections.items[0].sets_seen, cases[i].sets_seen);
        }
        fetch_items_free(&f);
        arena_reset(&arena);
    }
}

static void test_words(void **state)
{
    struct arena arena = {0};
    struct parse p = {.rest = SPAN_LIT("\"a\\\"b\" {3+}\r\nx y atom]x NIL"), .arena = &arena};
    struct span out;

    assert_int_equal(parse_astring(&p, &out), 0);
    assert_true(span_eq(out, SPAN_LIT("a\"b")));
    assert_true(parse_space(&p));
    assert_int_equal(parse_string(&p, &out), 0);
    assert_true(span_eq(out, SPAN_LIT("x y")));
    assert_true(parse_space(&p));
    assert_int_equal(parse_astring(&p, &out), 0);
    assert_true(span_eq(out, SPAN_LIT("atom]x")));
    assert_true(parse_space(&p));
    assert_int_equal(parse_nstring(&p, &out), 0);
    assert_null(out.p);
    assert_true(parse_end(&p));
    p.rest = SPAN_LIT("\"open");
    assert_int_equal(parse_string(&p, &out), ERR_SYNTAX);
    p.rest = SPAN_LIT("{9}\r\nshort");
    assert_int_equal(parse_string(&p, &out), ERR_SYNTAX);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_overlapping_ranges_cost_nothing),
        cmocka_unit_test(test_sets_that_do_not_parse),
        cmocka_unit_test(test_fetch_items),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
