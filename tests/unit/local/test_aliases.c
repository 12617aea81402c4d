#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "local/aliases.h"

static void test_items_of_a_value(void **state)
{
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"bob", "A:bob"},
        {" a , b@x.test ,, c ", "A:a A:b@x.test A:c"},
        {"\\bob, bob", "M:bob A:bob"},
        {"|/bin/cat", "R:|/bin/cat"},
        {"\"|/bin/cat a, b\"", "R:|/bin/cat a, b"},
        {"/var/log/mail", "R:/var/log/mail"},
        {":include:/etc/list", "R::include:/etc/list"},
        {"\"quo\\\"ted, name\"@x.test, y", "A:\"quo\\\"ted, name\"@x.test A:y"},
        {"", ""},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct str got = {0};
        struct span rest = span_cstr(cases[i].value);
        struct alias_item item;
        while (alias_next(&rest, &arena, &item))
            str_printf(&got, "%s%c:%.*s", got.len > 0 ? " " : "", "AMR"[item.kind],
                       SPAN_ARG(item.text));
        assert_string_equal(str_cstr(&got), cases[i].want);
        str_fini(&got);
        arena_reset(&arena);
    }
}

static int is_local(void *arg, struct span domain)
{
    return span_ieq(domain, SPAN_LIT("here.test"));
}

static void expand(const char *table, const char *name, int want_rc, const char *want)
{
    struct conf *conf;
    struct str why = {0}, got = {0};
    struct map_list *maps;
    struct arena arena = {0};
    struct alias_expansion e = {0};
    int rc;

    assert_int_equal(conf_load_text(&conf, "/nonexistent", "main.cf", SPAN_LIT(""), &why), 0);
    assert_int_equal(map_list_open_text(&maps, conf, span_cstr(table), &why), 0);
    rc = alias_expand(maps, span_cstr(name), is_local, NULL, &arena, &e);
    assert_int_equal(rc, want_rc);
    for (size_t i = 0; i < e.items.len; i++)
        str_printf(&got, "%s%c:%.*s", i > 0 ? " " : "", "AMR"[e.items.items[i].kind],
                   SPAN_ARG(e.items.items[i].text));
    assert_string_equal(str_cstr(&got), want);
    alias_expansion_free(&e);
    arena_reset(&arena);
    map_list_free(maps);
    conf_free(conf);
    str_fini(&got);
    str_fini(&why);
}

static void test_expansion(void **state)
{
    static const char table[] =
        "inline:{ {postmaster = root} {root = root, ann@else.test} {list = ann, bob@here.test, "
        "ann} {loop1 = loop2} {loop2 = loop1} {cmd = \"|/bin/x\"} {all = list, postmaster} }";

    expand(table, "nobody", ERR_NOT_FOUND, "");
    expand(table, "postmaster", 0, "M:root A:ann@else.test");
    expand(table, "list", 0, "A:ann A:bob@here.test");
    expand(table, "loop1", 0, "M:loop1");
    expand(table, "cmd", 0, "R:|/bin/x");
    expand(table, "all", 0, "A:ann A:bob@here.test M:root A:ann@else.test");
    expand("fail:x", "list", ERR_TEMPORARY, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_of_a_value),
        cmocka_unit_test(test_expansion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
