#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "base/error.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "local/aliases.h"
#include "task/task.h"

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

struct work {
    const struct alias_table *table;
    const char *name;
    struct arena arena;
    struct alias_expansion e;
    int rc;
};

static void expand_in_task(void *arg)
{
    struct work *work = arg;

    work->rc = alias_expand(work->table, span_cstr(work->name), &work->arena, &work->e);
}

/* The expansion of name as "KIND:text<owner> ..."; empty when it fails. */
static int expand_to(const char *main_cf, const char *table, const char *name, size_t limit,
                     struct str *got)
{
    struct conf *conf;
    struct str why = {0}, text = {0};
    struct map_list *maps;
    struct route *route;
    struct work work = {.name = name};

    str_printf(&text,
               "myhostname = mx.test\nmydestination = here.test, mx.test\nalias_maps =\n"
               "local_recipient_maps =\n%s",
               main_cf);
    assert_int_equal(conf_load_text(&conf, "/nonexistent", "main.cf", str_span(&text), &why), 0);
    assert_int_equal(map_list_open_text(&maps, conf, span_cstr(table), &why), 0);
    assert_int_equal(route_load(&route, conf, &why), 0);
    struct alias_table aliases = {.maps = maps,
                                  .route = route,
                                  .transport = SPAN_LIT("local"),
                                  .limit = limit,
                                  .has_owners = conf_bool(conf, "owner_request_special"),
                                  .owner_is_expanded = conf_bool(conf, "expand_owner_alias")};
    work.table = &aliases;
    assert_int_equal(task_runtime_init(&(struct task_options){0}), 0);
    assert_int_equal(task_runtime_run(expand_in_task, &work), 0);
    task_runtime_fini();
    for (size_t i = 0; i < work.e.items.len; i++) {
        const struct alias_item *item = &work.e.items.items[i];
        str_printf(got, "%s%c:%.*s", i > 0 ? " " : "", "AMR"[item->kind], SPAN_ARG(item->text));
        if (item->owner.n > 0)
            str_printf(got, "<%.*s>", SPAN_ARG(item->owner));
    }
    alias_expansion_free(&work.e);
    arena_reset(&work.arena);
    route_free(route);
    map_list_free(maps);
    conf_free(conf);
    str_fini(&why);
    str_fini(&text);
    return work.rc;
}

static void expand(const char *main_cf, const char *table, const char *name, int want_rc,
                   const char *want)
{
    struct str got = {0};

    assert_int_equal(expand_to(main_cf, table, name, 1000, &got), want_rc);
    assert_string_equal(str_cstr(&got), want);
    str_fini(&got);
}

#define AT_HERE "myorigin = here.test\n"

static void test_expansion(void **state)
{
    static const char table[] =
        "inline:{ {postmaster = root} {root = root, ann@else.test} {list = ann, bob@here.test, "
        "ann} {loop1 = loop2} {loop2 = loop1} {cmd = \"|/bin/x\"} {all = list, postmaster} }";

    expand(AT_HERE, table, "nobody", ERR_NOT_FOUND, "");
    expand(AT_HERE, table, "postmaster", 0, "M:root A:ann@else.test");
    expand(AT_HERE, table, "list", 0, "A:ann@here.test A:bob@here.test");
    expand(AT_HERE, table, "loop1", 0, "M:loop1");
    expand(AT_HERE, table, "cmd", 0, "R:|/bin/x");
    expand(AT_HERE, table, "all", 0, "A:ann@here.test A:bob@here.test M:root A:ann@else.test");
    expand(AT_HERE, "fail:x", "list", ERR_TEMPORARY, "");
}

static void test_names_without_a_domain_are_of_myorigin(void **state)
{
    static const char table[] = "inline:{ {postmaster = root} {root = admin, Root@HERE.test} "
                                "{admin = x@else.test} {list = ann} {owner-list = admin} }";

    expand("myorigin = site.test\n", table, "postmaster", 0, "A:root@site.test");
    expand("myorigin = site.test\n", table, "root", 0, "A:admin@site.test M:root");
    expand("myorigin = site.test\n", table, "list", 0, "A:ann@site.test<owner-list@site.test>");
    expand("myorigin = site.test\nexpand_owner_alias = yes\n", table, "list", 0,
           "A:ann@site.test<admin@site.test>");
    expand(AT_HERE, table, "root", 0, "A:x@else.test M:root");
}

static void test_a_user_gets_it_once(void **state)
{
    static const char table[] =
        "inline:{ {list = root} {self = \\root} {both = list, self} "
        "{back = self, list, Root@mx.test} {other = ann@x.test, ANN@x.test} }";

    expand(AT_HERE, table, "both", 0, "A:root@here.test");
    expand(AT_HERE, table, "back", 0, "M:root");
    expand(AT_HERE, table, "other", 0, "A:ann@x.test");
}

static void test_members_come_with_their_owner(void **state)
{
    static const char table[] =
        "inline:{ {nested = list, u2, plain} {list = u1, u3} {owner-list = u9} {plain = u4} "
        "{outer = list, plain} {owner-outer = u8} {tagged = list+x} }";
    static const char cf[] = AT_HERE "recipient_delimiter = +\n";

    expand(cf, table, "nested", 0,
           "A:u1@here.test<owner-list@here.test> A:u3@here.test<owner-list@here.test> "
           "A:u2@here.test A:u4@here.test");
    expand(cf, table, "list+x", 0,
           "A:u1@here.test<owner-list@here.test> A:u3@here.test<owner-list@here.test>");
    expand(cf, table, "tagged", 0,
           "A:u1@here.test<owner-list@here.test> A:u3@here.test<owner-list@here.test>");
    /* An alias without an owner leaves it to the one around it. */
    expand(cf, table, "outer", 0,
           "A:u1@here.test<owner-list@here.test> A:u3@here.test<owner-list@here.test> "
           "A:u4@here.test<owner-outer@here.test>");
    expand(AT_HERE, table, "list+x", ERR_NOT_FOUND, "");
    expand(AT_HERE "owner_request_special = no\n", table, "list", 0,
           "A:u1@here.test A:u3@here.test");
}

static void test_limits(void **state)
{
    enum { CROWD = 20000 };
    struct str table = {0}, got = {0};

    str_append_cstr(&table, "inline:{ {crowd = a0@x.test");
    for (int i = 1; i < CROWD; i++)
        str_printf(&table, ", a%d@x.test", i);
    str_append_cstr(&table, "} {d0 = u1} ");
    for (int i = 1; i <= 2 * ALIAS_DEPTH_MAX; i++)
        str_printf(&table, "{d%d = d%d} ", i, i - 1);
    str_append_cstr(&table, "}");
    assert_int_equal(expand_to(AT_HERE, str_cstr(&table), "crowd", CROWD, &got), 0);
    assert_true(got.len > CROWD * SPAN_LIT("A:a0@x.test").n);
    str_clear(&got);
    assert_int_equal(expand_to(AT_HERE, str_cstr(&table), "crowd", CROWD - 1, &got), ERR_LIMIT);
    assert_int_equal(expand_to(AT_HERE, str_cstr(&table), "d49", CROWD, &got), 0);
    assert_string_equal(str_cstr(&got), "A:u1@here.test");
    str_clear(&got);
    assert_int_equal(expand_to(AT_HERE, str_cstr(&table), "d50", CROWD, &got), -ELOOP);
    str_fini(&table);
    str_fini(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_of_a_value),
        cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_names_without_a_domain_are_of_myorigin),
        cmocka_unit_test(test_a_user_gets_it_once),
        cmocka_unit_test(test_members_come_with_their_owner),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
