/* Table types, lists, match lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "map/lmdb_file.h"
#include "map/map.h"

static struct conf *conf;
static char dir[] = "/tmp/test_map.XXXXXX";
static char last_log[1024];

static void keep_log(void *arg, enum log_level level, struct span text)
{
    snprintf(last_log, sizeof(last_log), "%.*s", SPAN_ARG(text));
}

/* "%s" in text becomes the test's folder. */
static void in_dir(struct str *out, const char *text)
{
    struct span rest = span_cstr(text);
    ptrdiff_t at;

    while ((at = span_search(rest, SPAN_LIT("DIR"))) >= 0) {
        str_append(out, span_take(rest, (size_t)at));
        str_append_cstr(out, dir);
        rest = span_drop(rest, (size_t)at + 3);
    }
    str_append(out, rest);
}

static void write_file(const char *name, const char *text)
{
    struct str path = {0};

    str_printf(&path, "%s/%s", dir, name);
    assert_int_equal(file_replace(str_cstr(&path), span_cstr(text), 0644), 0);
    str_fini(&path);
}

static void make_lmdb(const char *name, bool with_nul)
{
    struct str path = {0}, why = {0};
    struct map_lmdb *f = NULL;

    str_printf(&path, "%s/%s", dir, name);
    assert_int_equal(map_lmdb_open(&f, str_cstr(&path), MAP_LMDB_CREATE, 0, &why), 0);
    assert_int_equal(
        map_lmdb_put(f, SPAN_LIT("a@b"), SPAN_LIT("one"), with_nul, MAP_LMDB_KEEP, &why), 0);
    assert_int_equal(
        map_lmdb_put(f, SPAN_LIT("a@b"), SPAN_LIT("two"), with_nul, MAP_LMDB_KEEP, &why),
        ERR_EXISTS);
    assert_int_equal(
        map_lmdb_put(f, SPAN_LIT("c"), SPAN_LIT("three"), with_nul, MAP_LMDB_KEEP, &why), 0);
    assert_int_equal(
        map_lmdb_put(f, SPAN_LIT("c"), SPAN_LIT("four"), !with_nul, MAP_LMDB_REPLACE, &why), 0);
    assert_int_equal(map_lmdb_commit(f, &why), 0);
    map_lmdb_close(f);
    str_fini(&path);
    str_fini(&why);
}

static int setup(void **state)
{
    struct str why = {0}, text = {0};

    assert_non_null(mkdtemp(dir));
    write_file("text", "# c\nKey one\n\"quoted key\" two words \ncont a,\n b\nbad\nkey again\n");
    write_file("domains", "# mine\nexample.com, example.org\n!not.example.net\n  .example.net\n");
    write_file("cidr", "192.0.2.1 REJECT one\n192.0.2.0/24 net\nif 10.0.0.0/8\n!10.1.0.0/16 outer\n"
                       "endif\n[2001:db8::]/32 six\n10.0.0.1/8 bad bits\n0.0.0.0/0 any\n");
    make_lmdb("nul", true);
    make_lmdb("plain", false);
    in_dir(&text,
           "mynetworks = 127.0.0.0/8 [::1]/128, 192.0.2.7 !10.1.2.3 10.0.0.0/8 trusted.example\n"
           "mydestination = example.com, .example.org, DIR/domains texthash:DIR/text\n"
           "virtual_alias_maps = inline:{a=1, {b = two words}} texthash:DIR/text\n");
    assert_int_equal(conf_load_text(&conf, "/", "main.cf", str_span(&text), &why), 0);
    str_fini(&why);
    str_fini(&text);
    return 0;
}

static int teardown(void **state)
{
    struct str command = {0};
    int rc;

    conf_free(conf);
    str_printf(&command, "rm -rf %s", dir);
    rc = system(str_cstr(&command));
    str_fini(&command);
    return rc;
}

/* --- one table --- */

static const struct {
    const char *spec, *key, *value; /* NULL: not found */
    unsigned flags;
} lookups[] = {
    {"inline:{a=1,B=2, {c = x y}}", "a", "1", 0},
    {"inline:{a=1,B=2, {c = x y}}", "A", "1", 0},
    {"inline:{a=1,B=2, {c = x y}}", "b", "2", 0},
    {"inline:{a=1,B=2, {c = x y}}", "c", "x y", 0},
    {"inline:{a=1}", "", NULL, 0},
    {"static:all", "anything", "all", MAP_PARTIAL},
    {"static:{a b}", "x", "a b", 0},
    {"texthash:DIR/text", "KEY", "one", 0},
    {"texthash:DIR/text", "\"quoted key\"", "two words", 0},
    {"texthash:DIR/text", "cont", "a, b", 0},
    {"texthash:DIR/text", "bad", NULL, 0},
    {"lmdb:DIR/nul", "A@b", "one", 0},
    {"lmdb:DIR/plain", "a@b", "one", 0},
    {"hash:DIR/nul", "c", "four", 0},
    {"btree:DIR/plain", "c", "four", 0},
    {"hash:DIR/nul", "d", NULL, 0},
    {"cidr:DIR/cidr", "192.0.2.1", "REJECT one", 0},
    {"cidr:DIR/cidr", "192.0.2.9", "net", 0},
    {"cidr:DIR/cidr", "10.2.0.1", "outer", 0},
    {"cidr:DIR/cidr", "10.1.0.1", "any", 0},
    {"cidr:DIR/cidr", "2001:db8::5", "six", 0},
    {"cidr:DIR/cidr", "2001:db9::5", NULL, 0},
    {"cidr:DIR/cidr", "name", NULL, 0},
    {"cidr:DIR/cidr", "192.0.2.1", NULL, MAP_PARTIAL},
    {"cidr:{{192.0.2.0/24 x}}", "192.0.2.1", "x", 0},
    {"unix:group.byname", "root", "root:x:0:", 0},
    {"unix:passwd.byname", "no-such-user", NULL, 0},
    {"unionmap:{inline:{a=1}, static:2}", "a", "1,2", 0},
    {"unionmap:{inline:{a=1}, static:2}", "b", "2", 0},
    {"unionmap:{inline:{a=1}}", "b", NULL, 0},
    {"pipemap:{inline:{a=1},inline:{1=x}}", "a", "x", 0},
    {"pipemap:{inline:{a=2},inline:{1=x}}", "a", NULL, 0},
};

static void looks_up(void **state)
{
    for (size_t i = 0; i < sizeof(lookups) / sizeof(lookups[0]); i++) {
        struct str spec = {0}, why = {0}, value = {0};
        struct map *m = NULL;
        int error;

        in_dir(&spec, lookups[i].spec);
        log_set_sink(keep_log, NULL);
        error = map_open(&m, conf, str_span(&spec), &why);
        log_set_sink(NULL, NULL);
        if (error < 0)
            print_message("%s: %s\n", str_cstr(&spec), str_cstr(&why));
        assert_int_equal(error, 0);
        error = map_lookup(m, span_cstr(lookups[i].key), lookups[i].flags, &value);
        if (error != (lookups[i].value != NULL ? 0 : ERR_NOT_FOUND))
            print_message("%s %s: %d\n", str_cstr(&spec), lookups[i].key, error);
        assert_int_equal(error, lookups[i].value != NULL ? 0 : ERR_NOT_FOUND);
        if (lookups[i].value != NULL)
            assert_string_equal(str_cstr(&value), lookups[i].value);
        map_free(m);
        str_fini(&spec);
        str_fini(&why);
        str_fini(&value);
    }
}

static void refuses_bad_specs(void **state)
{
    static const char *const cases[][2] = {
        {"text", "need type:name"},
        {":x", "need type:name"},
        {"mysql:/x", "not supported"},
        {"inline:a=b", "need inline:"},
        {"inline:{}", "need inline:"},
        {"inline:{a}", "\"=\" is missing"},
        {"inline:{a=1,a=2}", "twice"},
        {"texthash:/nonexistent", "/nonexistent"},
        {"cidr:/nonexistent", "/nonexistent"},
        {"cidr:{{1.2.3.4/x y}}", "bad network"},
        {"unix:shadow", "unix:passwd.byname"},
        {"unionmap:{}", "need unionmap"},
        {"unionmap:{bad:x}", "not supported"},
        {"proxy:x", "proxy:type:name"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str why = {0};
        struct map *m = NULL;

        assert_true(map_open(&m, conf, span_cstr(cases[i][0]), &why) < 0);
        if (span_search(str_span(&why), span_cstr(cases[i][1])) < 0)
            print_message("%s: %s\n", cases[i][0], str_cstr(&why));
        assert_true(span_search(str_span(&why), span_cstr(cases[i][1])) >= 0);
        str_fini(&why);
    }
}

static char last_report[200];

static void keep_report(const char *why)
{
    snprintf(last_report, sizeof(last_report), "%s", why);
}

/* Tools that put a new file in place of the old one, or remove it first. */
static void a_replaced_file_is_reported(void **state)
{
    struct str spec = {0}, path = {0}, why = {0}, value = {0};
    struct map *m = NULL;

    make_lmdb("moved", true);
    in_dir(&path, "DIR/moved.lmdb");
    in_dir(&spec, "hash:DIR/moved");
    assert_int_equal(map_open(&m, conf, str_span(&spec), &why), 0);
    map_on_change(keep_report);
    assert_int_equal(map_lookup(m, SPAN_LIT("c"), 0, &value), 0);
    assert_string_equal(last_report, "");
    assert_int_equal(unlink(str_cstr(&path)), 0);
    assert_int_equal(map_lookup(m, SPAN_LIT("c"), 0, &value), 0);
    assert_non_null(strstr(last_report, "/moved has changed -- restarting"));
    map_on_change(NULL);
    map_free(m);
    str_fini(&spec);
    str_fini(&path);
    str_fini(&why);
    str_fini(&value);
}

/* A file that is not there defers mail and says what to do. */
static void missing_and_stale_files(void **state)
{
    struct str spec = {0}, why = {0}, value = {0}, path = {0};
    struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    struct map *m = NULL;

    log_set_sink(keep_log, NULL);
    in_dir(&spec, "hash:DIR/aliases");
    assert_int_equal(map_open(&m, conf, str_span(&spec), &why), 0);
    assert_true(span_search(span_cstr(last_log), SPAN_LIT("run: postalias hash:")) >= 0);
    last_log[0] = '\0';
    assert_int_equal(map_lookup(m, SPAN_LIT("x"), 0, &value), ERR_TEMPORARY);
    assert_true(span_search(span_cstr(last_log), SPAN_LIT("run: postalias hash:")) >= 0);
    last_log[0] = '\0';
    assert_int_equal(map_lookup(m, SPAN_LIT("x"), 0, &value), ERR_TEMPORARY);
    assert_string_equal(last_log, "");
    map_free(m);

    make_lmdb("text", true);
    in_dir(&path, "DIR/text.lmdb");
    assert_int_equal(utimensat(AT_FDCWD, str_cstr(&path), times, 0), 0);
    str_clear(&spec);
    in_dir(&spec, "lmdb:DIR/text");
    assert_int_equal(map_open(&m, conf, str_span(&spec), &why), 0);
    assert_true(span_search(span_cstr(last_log), SPAN_LIT("is older than source file")) >= 0);
    assert_int_equal(map_lookup(m, SPAN_LIT("c"), 0, &value), 0);
    map_free(m);
    log_set_sink(NULL, NULL);
    str_fini(&spec);
    str_fini(&why);
    str_fini(&value);
    str_fini(&path);
}

/* What postmap writes is seen by tables that are open. */
static void changes_are_seen_in_place(void **state)
{
    struct str spec = {0}, path = {0}, why = {0}, value = {0}, big = {0};
    struct map_lmdb *f = NULL;
    struct map *m = NULL;

    make_lmdb("live", true);
    in_dir(&path, "DIR/live");
    in_dir(&spec, "lmdb:DIR/live");
    assert_int_equal(map_open(&m, conf, str_span(&spec), &why), 0);
    assert_int_equal(map_lookup(m, SPAN_LIT("a@b"), 0, &value), 0);
    /* Larger than the map that the reader has. */
    str_append_fill(&big, 'x', 60000);
    assert_int_equal(map_lmdb_open(&f, str_cstr(&path), MAP_LMDB_CREATE, 256 << 20, &why), 0);
    for (unsigned i = 0; i < 600; i++) {
        struct str key = {0};

        str_printf(&key, "k%u", i);
        assert_int_equal(map_lmdb_put(f, str_span(&key), str_span(&big), true, MAP_LMDB_KEEP, &why),
                         0);
        str_fini(&key);
    }
    assert_int_equal(map_lmdb_commit(f, &why), 0);
    map_lmdb_close(f);
    assert_int_equal(map_lookup(m, SPAN_LIT("a@b"), 0, &value), ERR_NOT_FOUND);
    assert_int_equal(map_lookup(m, SPAN_LIT("k599"), 0, &value), 0);
    assert_int_equal(value.len, 60000);
    assert_int_equal(map_lmdb_open(&f, str_cstr(&path), MAP_LMDB_UPDATE, 0, &why), 0);
    assert_int_equal(map_lmdb_delete(f, SPAN_LIT("k599"), &why), 0);
    assert_int_equal(map_lmdb_delete(f, SPAN_LIT("nothing"), &why), ERR_NOT_FOUND);
    assert_int_equal(map_lmdb_commit(f, &why), 0);
    map_lmdb_close(f);
    assert_int_equal(map_lookup(m, SPAN_LIT("k599"), 0, &value), ERR_NOT_FOUND);
    map_free(m);
    str_fini(&spec);
    str_fini(&path);
    str_fini(&why);
    str_fini(&value);
    str_fini(&big);
}

static int answer_userdb(struct span address, struct str *value)
{
    return span_eq(address, SPAN_LIT("u@x")) ? str_append_cstr(value, "account") : ERR_NOT_FOUND;
}

static void userdb_asks_the_service(void **state)
{
    struct str why = {0}, value = {0};
    struct map *m = NULL;

    assert_int_equal(map_open(&m, conf, SPAN_LIT("userdb:"), &why), 0);
    map_set_userdb(answer_userdb);
    assert_int_equal(map_lookup(m, SPAN_LIT("u@x"), 0, &value), 0);
    assert_string_equal(str_cstr(&value), "account");
    assert_int_equal(map_lookup(m, SPAN_LIT("v@x"), 0, &value), ERR_NOT_FOUND);
    map_set_userdb(NULL);
    map_free(m);
    str_fini(&why);
    str_fini(&value);
}

/* --- lists --- */

static void lists_ask_in_order(void **state)
{
    struct str why = {0}, value = {0};
    struct map_list *l = NULL;

    log_set_sink(keep_log, NULL);
    assert_int_equal(map_list_open(&l, conf, "virtual_alias_maps", &why), 0);
    assert_int_equal(map_list_find(l, SPAN_LIT("b"), 0, &value), 0);
    assert_string_equal(str_cstr(&value), "two words");
    assert_int_equal(map_list_find(l, SPAN_LIT("key"), 0, &value), 0);
    assert_string_equal(str_cstr(&value), "one");
    assert_int_equal(map_list_find(l, SPAN_LIT("zz"), 0, &value), ERR_NOT_FOUND);
    map_list_free(l);
    assert_int_equal(map_list_open_text(&l, conf, SPAN_LIT("inline:{a=1} fail:x static:1"), &why),
                     0);
    assert_int_equal(map_list_find(l, SPAN_LIT("a"), 0, &value), 0);
    assert_int_equal(map_list_find(l, SPAN_LIT("b"), 0, &value), ERR_TEMPORARY);
    map_list_free(l);
    assert_int_equal(map_list_open_text(&l, conf, SPAN_LIT("static:"), &why), 0);
    assert_int_equal(map_list_find(l, SPAN_LIT("a"), 0, &value), ERR_TEMPORARY);
    map_list_free(l);
    assert_int_equal(map_list_open(&l, conf, "canonical_maps", &why), 0);
    assert_int_equal(map_list_find(l, SPAN_LIT("a"), 0, &value), ERR_NOT_FOUND);
    map_list_free(l);
    log_set_sink(NULL, NULL);
    str_fini(&why);
    str_fini(&value);
}

static void match_lists(void **state)
{
    static const struct {
        const char *parameter;
        unsigned flags;
        const char *text;
        bool is_match;
    } cases[] = {
        {"mynetworks", MAP_MATCH_ADDRESS, "127.0.0.1", true},
        {"mynetworks", MAP_MATCH_ADDRESS, "::1", true},
        {"mynetworks", MAP_MATCH_ADDRESS, "192.0.2.7", true},
        {"mynetworks", MAP_MATCH_ADDRESS, "192.0.2.8", false},
        {"mynetworks", MAP_MATCH_ADDRESS, "10.1.2.3", false},
        {"mynetworks", MAP_MATCH_ADDRESS, "10.1.2.4", true},
        {"mynetworks", MAP_MATCH_ADDRESS, "unknown", false},
        {"mydestination", MAP_MATCH_EXACT, "Example.COM", true},
        {"mydestination", MAP_MATCH_EXACT, "sub.example.com", false},
        {"mydestination", MAP_MATCH_DOTTED, "sub.example.org", true},
        {"mydestination", MAP_MATCH_EXACT, "sub.example.org", false},
        {"mydestination", MAP_MATCH_PARENT, "sub.example.com", true},
        {"mydestination", MAP_MATCH_PARENT, "subexample.com", false},
        {"mydestination", MAP_MATCH_EXACT, "example.org", true},
        {"mydestination", MAP_MATCH_DOTTED, "not.example.net", false},
        {"mydestination", MAP_MATCH_DOTTED, "so.example.net", true},
        {"mydestination", MAP_MATCH_EXACT, "key", true},
        {"mydestination", MAP_MATCH_EXACT, "sub.key", false},
        {"mydestination", MAP_MATCH_PARENT, "sub.key", true},
        {"mydestination", MAP_MATCH_EXACT, "", false},
    };

    log_set_sink(keep_log, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str why = {0};
        struct map_match *m = NULL;

        assert_int_equal(map_match_open(&m, conf, cases[i].parameter, cases[i].flags, &why), 0);
        if (map_match_find(m, span_cstr(cases[i].text)) != (cases[i].is_match ? 0 : ERR_NOT_FOUND))
            print_message("%s %s\n", cases[i].parameter, cases[i].text);
        assert_int_equal(map_match_find(m, span_cstr(cases[i].text)),
                         cases[i].is_match ? 0 : ERR_NOT_FOUND);
        map_match_free(m);
        str_fini(&why);
    }
    log_set_sink(NULL, NULL);
}

static void match_lists_of_clients(void **state)
{
    struct str why = {0};
    struct map_match *m = NULL;

    assert_int_equal(
        map_match_open(&m, conf, "mynetworks", MAP_MATCH_ADDRESS | MAP_MATCH_DOTTED, &why), 0);
    assert_int_equal(map_match_find_client(m, SPAN_LIT("trusted.example"), SPAN_LIT("203.0.113.1")),
                     0);
    assert_int_equal(map_match_find_client(m, SPAN_LIT("x.example"), SPAN_LIT("203.0.113.1")),
                     ERR_NOT_FOUND);
    assert_int_equal(map_match_find_client(m, SPAN_LIT("unknown"), SPAN_LIT("127.0.0.1")), 0);
    map_match_free(m);
    assert_true(map_match_open_text(&m, conf, SPAN_LIT("10.0.0.1/8"), MAP_MATCH_ADDRESS, &why) < 0);
    str_clear(&why);
    assert_true(map_match_open_text(&m, conf, SPAN_LIT("a ! b"), 0, &why) < 0);
    str_clear(&why);
    assert_true(map_match_open_text(&m, conf, SPAN_LIT("/nonexistent"), 0, &why) < 0);
    str_fini(&why);
    assert_int_equal(map_match_open_text(&m, conf, SPAN_LIT("fail:x a"), 0, &why), 0);
    assert_int_equal(map_match_find(m, SPAN_LIT("a")), ERR_TEMPORARY);
    map_match_free(m);
    assert_int_equal(map_match_domain_flags(conf, "relay_domains"), MAP_MATCH_PARENT);
    assert_int_equal(map_match_domain_flags(conf, "mydestination"), MAP_MATCH_DOTTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_up),
        cmocka_unit_test(refuses_bad_specs),
        cmocka_unit_test(missing_and_stale_files),
        cmocka_unit_test(a_replaced_file_is_reported),
        cmocka_unit_test(changes_are_seen_in_place),
        cmocka_unit_test(userdb_asks_the_service),
        cmocka_unit_test(lists_ask_in_order),
        cmocka_unit_test(match_lists),
        cmocka_unit_test(match_lists_of_clients),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
