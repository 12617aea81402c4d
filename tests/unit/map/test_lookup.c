/* Orders of keys, and the sources of tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "map/lookup.h"
#include "map/source.h"

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

enum kind { ACCESS, ACCESS_PARENT, DOMAIN_DOTTED, DOMAIN_PARENT, NETWORK };

static const struct {
    enum kind kind;
    const char *text, *delimiters, *keys;
} cases[] = {
    {ACCESS_PARENT, "u+x@a.d.e", "+", "u+x@a.d.e u@a.d.e a.d.e d.e e u+x@ u@"},
    {ACCESS, "u@a.d.e", "+", "u@a.d.e a.d.e .d.e .e u@"},
    {ACCESS, "u", "+", "u u@"},
    {ACCESS, "u+x@d.e", "", "u+x@d.e d.e .e u+x@"},
    {ACCESS, "u-x@d.e", "+-", "u-x@d.e u@d.e d.e .e u-x@ u@"},
    {ACCESS, "+x@d.e", "+", "+x@d.e d.e .e +x@"},
    {ACCESS, "owner-x@d.e", "-", "owner-x@d.e d.e .e owner-x@"},
    {ACCESS, "x-request@d.e", "-", "x-request@d.e d.e .e x-request@"},
    {ACCESS, "MAILER-DAEMON@d.e", "-", "MAILER-DAEMON@d.e d.e .e MAILER-DAEMON@"},
    {DOMAIN_PARENT, "a.d.e", "", "a.d.e d.e e"},
    {DOMAIN_DOTTED, "a.d.e", "", "a.d.e .d.e .e"},
    {DOMAIN_PARENT, "a..e.", "", "a..e. .e."},
    {DOMAIN_PARENT, "192.0.2.1", "", "192.0.2.1"},
    {DOMAIN_PARENT, "e", "", "e"},
    {NETWORK, "192.0.2.1", "", "192.0.2.1 192.0.2 192.0 192"},
    {NETWORK, "2001:db8::1", "", "2001:db8::1 2001:db8: 2001:db8 2001"},
};

static int fill(struct map_keys *k, size_t i)
{
    struct span text = span_cstr(cases[i].text);

    switch (cases[i].kind) {
    case ACCESS:
    case ACCESS_PARENT:
        return map_keys_access_address(k, text, cases[i].delimiters,
                                       cases[i].kind == ACCESS_PARENT);
    case NETWORK:
        return map_keys_network(k, text);
    default:
        return map_keys_domain(k, text, cases[i].kind == DOMAIN_PARENT);
    }
}

static void orders_keys(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena = {0};
        struct map_keys k = {.arena = &arena};
        struct str all = {0};

        assert_int_equal(fill(&k, i), 0);
        for (size_t j = 0; j < k.count; j++) {
            if (j > 0)
                str_append_char(&all, ' ');
            str_append(&all, k.keys[j].text);
            assert_int_equal(k.keys[j].flags, j == 0 ? 0 : MAP_PARTIAL);
        }
        assert_string_equal(str_cstr(&all), cases[i].keys);
        str_fini(&all);
        arena_reset(&arena);
    }
}

static void reads_sources(void **state)
{
    static const struct {
        enum map_source_kind kind;
        const char *text, *entries; /* "key=value;..." */
        unsigned bad;
    } sources[] = {
        {MAP_SOURCE_TABLE, "a b\n c\n# x\n\n  # y\nd\te f \r\n", "a=b c;d=e f;", 0},
        {MAP_SOURCE_TABLE, "\"a b\" c\na\\ b c\n", "\"a b\"=c;a\\ b=c;", 0},
        {MAP_SOURCE_TABLE, "a\n\"b c\nd e", "d=e;", 2},
        {MAP_SOURCE_TABLE, "  a b\nc d\n", "c=d;", 1},
        {MAP_SOURCE_ALIAS, "Postmaster: root\nlist : a@b,\n  c@d\n",
         "Postmaster=root;list=a@b,  c@d;", 0},
        {MAP_SOURCE_ALIAS, "\"a b\": c\n\"x\\\"y@z\": \"|/bin/prog arg\"\n",
         "a b=c;x\"y@z=\"|/bin/prog arg\";", 0},
        {MAP_SOURCE_ALIAS, "list: :include:/etc/list\n", "list=:include:/etc/list;", 0},
        {MAP_SOURCE_ALIAS, "a@b: c\na,b: c\na c\na:\n: b\nok: x\n", "ok=x;", 5},
    };

    log_set_sink(drop_log, NULL);
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        struct map_source s;
        struct map_source_entry entry;
        struct str all = {0};

        map_source_init(&s, sources[i].kind, "source", span_cstr(sources[i].text));
        while (map_source_next(&s, &entry)) {
            str_append(&all, entry.key);
            str_append_char(&all, '=');
            str_append(&all, entry.value);
            str_append_char(&all, ';');
        }
        assert_string_equal(str_cstr(&all), sources[i].entries);
        assert_int_equal(s.bad, sources[i].bad);
        map_source_fini(&s);
        str_fini(&all);
    }
    log_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_keys),
        cmocka_unit_test(reads_sources),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
