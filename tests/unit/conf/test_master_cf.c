/* master.cf: columns, overrides, absorbed services; and conf_check over both files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "conf/check.h"
#include "conf/conf.h"
#include "conf/files.h"
#include "conf/master_cf.h"

static struct conf *load_main(const char *text)
{
    struct conf *c = NULL;
    struct str why = {0};

    assert_int_equal(conf_load_text(&c, "/etc/postfix", "main.cf", span_cstr(text), &why), 0);
    str_fini(&why);
    return c;
}

static struct master_cf *load(const struct conf *c, const char *text)
{
    struct master_cf *m = NULL;
    struct str why = {0};
    int error = master_cf_load_text(&m, c, "master.cf", span_cstr(text), &why);

    if (error < 0)
        print_message("%s\n", str_cstr(&why));
    assert_int_equal(error, 0);
    str_fini(&why);
    return m;
}

static void reads_entries(void **state)
{
    struct conf *c = load_main("");
    struct master_cf *m =
        load(c, "# comment\n"
                "smtp      inet  n       -       y       -       -       smtpd -v -v -D\n"
                "  -o syslog_name=postfix/$service_name\n"
                "#  -o disabled=1\n"
                "  # indented\n"
                "\n"
                "  -osmtpd_timeout=5\n"
                "  -o { smtpd_banner = $myhostname is here }\n"
                "  -o content_filter=\n"
                "127.0.0.1:10025 inet n n n - 40 smtpd -o a=permit_mynetworks,reject\n"
                "pickup fifo n - n 60 1 pickup\n"
                "qmgr unix n - n 300? 1 qmgr\n"
                "maildrop unix - n n - - pipe\n"
                "  flags=DRhu user=vmail argv=/usr/bin/maildrop -d ${recipient} { a b }\n"
                "postlog unix-dgram n - n - 1 postlogd\n");
    const struct master_entry *e = master_cf_at(m, 0);

    assert_int_equal(master_cf_count(m), 6);
    assert_string_equal(e->name, "smtp");
    assert_int_equal(e->type, SERVICE_TYPE_INET);
    assert_false(e->is_private);
    assert_true(e->is_unprivileged);
    assert_true(e->is_chrooted);
    assert_int_equal(e->limit, MASTER_CF_LIMIT_DEFAULT);
    assert_string_equal(e->command, "smtpd");
    assert_int_equal(e->verbose, 2);
    assert_true(e->is_debugged);
    assert_int_equal(e->line, 2);
    assert_int_equal(e->override_count, 4);
    assert_string_equal(e->overrides[0], "syslog_name=postfix/$service_name");
    assert_string_equal(e->overrides[1], "smtpd_timeout=5");
    assert_string_equal(e->overrides[2], "smtpd_banner=$myhostname is here");
    assert_string_equal(e->overrides[3], "content_filter=");
    assert_null(e->taken_over_by);
    e = master_cf_at(m, 1);
    assert_int_equal(e->limit, 40);
    assert_false(e->is_unprivileged);
    e = master_cf_at(m, 2);
    assert_int_equal(e->type, SERVICE_TYPE_FIFO);
    assert_int_equal(e->wakeup_seconds, 60);
    assert_false(e->wakeup_if_used);
    e = master_cf_at(m, 3);
    assert_true(e->wakeup_if_used);
    e = master_cf_at(m, 4);
    assert_true(e->is_private);
    assert_int_equal(e->argument_count, 6);
    assert_string_equal(e->arguments[2], "argv=/usr/bin/maildrop");
    assert_string_equal(e->arguments[3], "-d");
    assert_string_equal(e->arguments[5], "a b");
    assert_null(e->arguments[6]);
    assert_ptr_equal(master_cf_find(m, "postlog", SERVICE_TYPE_UNIX_DGRAM), master_cf_at(m, 5));
    assert_null(master_cf_find(m, "postlog", SERVICE_TYPE_UNIX));
    master_cf_free(m);
    conf_free(c);
}

static void refuses_bad_entries(void **state)
{
    static const char *const cases[][2] = {
        {"smtp inet n - y - -\n", "master.cf, line 1: field \"command\" is missing"},
        {"smtp inet n\n", "field \"unpriv\" is missing"},
        {"\n# x\nsmtp tcp n - n - - smtpd\n", "master.cf, line 3: field \"type\" must be"},
        {"smtp inet x - n - - smtpd\n", "field \"private\" must be y, n or -: \"x\""},
        {"smtp inet - - n - - smtpd\n", "an inet service cannot be private"},
        {"a unix - - n x - b\n", "field \"wakeup\""},
        {"a unix - - n ? - b\n", "field \"wakeup\""},
        {"a unix - - n - -5 b\n", "field \"maxproc\""},
        {"a unix - - n - - /bin/sh\n", "must not be a path"},
        {"a/b unix - - n - - b\n", "must not be a path"},
        {"../b unix - - n - - b\n", "must not be a path"},
        {"a unix - - n - - b -o\n", "-o needs name=value"},
        {"a unix - - n - - b -o x\n", "\"=\" is missing"},
        {"a unix - - n - - b -o { x = y\n", "unbalanced {}"},
        {"a unix - - n - - b -z\n", "unknown option"},
    };
    struct conf *c = load_main("");

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct master_cf *m = NULL;
        struct str why = {0};

        assert_int_equal(master_cf_load_text(&m, c, "master.cf", span_cstr(cases[i][0]), &why),
                         ERR_SYNTAX);
        if (strstr(str_cstr(&why), cases[i][1]) == NULL)
            print_message("want %s\nhave %s\n", cases[i][1], str_cstr(&why));
        assert_non_null(strstr(str_cstr(&why), cases[i][1]));
        str_fini(&why);
    }
    conf_free(c);
}

static void last_duplicate_wins(void **state)
{
    struct conf *c = load_main("");
    struct master_cf *m = load(c, "a unix - - n - 1 b\na inet n - n - 2 b\na unix - - n - 3 b\n");

    assert_int_equal(master_cf_count(m), 2);
    assert_int_equal(master_cf_at(m, 0)->limit, 3);
    master_cf_free(m);
    conf_free(c);
}

static void chroot_default_depends_on_the_level(void **state)
{
    struct conf *old = load_main("compatibility_level = 0\n"), *now = load_main("");
    struct master_cf *a = load(old, "a unix - - - - - b\n"), *b = load(now, "a unix - - - - - b\n");

    assert_true(master_cf_at(a, 0)->is_chrooted);
    assert_false(master_cf_at(b, 0)->is_chrooted);
    master_cf_free(a);
    master_cf_free(b);
    conf_free(old);
    conf_free(now);
}

static void absorbed_services(void **state)
{
    static const struct {
        const char *line, *by;
    } cases[] = {
        {"cleanup unix n - y - 0 cleanup\n", "smtpd and pickup"},
        {"rewrite unix - - y - - trivial-rewrite\n", "smtpd and qmgr"},
        {"bounce unix - - y - 0 bounce\n", NULL},
        {"defer unix - - y - 0 bounce\n", "qmgr"},
        {"trace unix - - y - 0 bounce\n", "qmgr and bounce"},
        {"proxywrite unix - - n - 1 proxymap\n", "broker"},
        {"retry unix - - y - - error\n", "qmgr"},
        {"smtpd pass - - y - - smtpd\n", "smtpd"},
        {"uucp unix - n n - - pipe\n",
         "nothing (delivery to commands is not supported; mail for it is deferred)"},
        {"smtp unix - - y - - smtp\n", NULL},
    };
    struct conf *c = load_main("");
    struct master_cf *m;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        m = load(c, cases[i].line);
        if (cases[i].by == NULL)
            assert_null(master_cf_at(m, 0)->taken_over_by);
        else
            assert_string_equal(master_cf_at(m, 0)->taken_over_by, cases[i].by);
        master_cf_free(m);
    }
    m = load(c, "smtp inet n - y - 1 postscreen -o x=y\nsmtpd pass - - y - 50 smtpd -o a=b\n");
    assert_string_equal(master_cf_at(m, 0)->command, "smtpd");
    assert_int_equal(master_cf_at(m, 0)->limit, 50);
    assert_string_equal(master_cf_at(m, 0)->overrides[0], "a=b");
    assert_null(master_cf_at(m, 0)->taken_over_by);
    master_cf_free(m);
    conf_free(c);
}

/* --- conf_check --- */

static void assert_finding(const char *main_text, const char *master_text, int kind,
                           const char *text)
{
    struct conf *c = load_main(main_text);
    struct master_cf *m = load(c, master_text);
    struct conf_findings f = {0};

    assert_int_equal(conf_check(c, m, &f), 0);
    if (f.list.len != (kind >= 0))
        for (size_t i = 0; i < f.list.len; i++)
            print_message("%s: found %s\n", main_text, str_cstr(&f.list.items[i].text));
    assert_int_equal(f.list.len, kind >= 0);
    if (kind >= 0) {
        assert_int_equal(f.list.items[0].kind, kind);
        assert_non_null(strstr(str_cstr(&f.list.items[0].text), text));
        assert_int_equal(conf_findings_count(&f, kind), 1);
    }
    conf_findings_fini(&f);
    master_cf_free(m);
    conf_free(c);
}

static void findings(void **state)
{
    static const char smtp[] = "smtp unix - - y - - smtp\nslow unix - - y - - smtp\n";

    assert_finding("relayhost = x\n", smtp, -1, "");
    assert_finding("\nrelay_host = x\n", smtp, CONF_UNKNOWN,
                   "main.cf, line 2: unused parameter: relay_host=x");
    assert_finding("relay_host = x\nrelayhost = $relay_host\n", smtp, -1, "");
    assert_finding("a = x\nrelayhost = ${b?{$a}}\n", smtp, -1, "");
    assert_finding("virtual_maps = hash:/x\n", smtp, -1, "");
    assert_finding("smtpd_restriction_classes = c1, c2\nc1 = permit\n", smtp, -1, "");
    assert_finding("mua = reject\n", "a unix - - n - - b -o smtpd_client_restrictions=$mua\n", -1,
                   "");
    assert_finding("slow_destination_rate_delay = 1s\n", smtp, -1, "");
    assert_finding("slower_destination_rate_delay = 1s\n", smtp, CONF_UNKNOWN,
                   "slower_destination_rate_delay");
    assert_finding("virtual_alias_maps = proxy:mysql:my\nmy_hosts = x\n", smtp, CONF_RESTRICTS,
                   "line 1: virtual_alias_maps=proxy:mysql:my: tables of the type of "
                   "proxy:mysql:my are not supported");
    assert_finding("transport_maps = hash:/a, pcre:/b\n", smtp, CONF_RESTRICTS,
                   "the type of pcre:/b");
    assert_finding("transport_maps = unionmap:{hash:/a, ldap:b}\n", smtp, CONF_RESTRICTS,
                   "the type of ldap:b");
    assert_finding("", "a unix - - n - - b -o mynetworks=sqlite:/x\n", CONF_RESTRICTS,
                   "master.cf, line 1: -o mynetworks=sqlite:/x");
    assert_finding("smtpd_forbidden_commands = CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}\n", smtp,
                   -1, "");
    assert_finding("t = pgsql:x\ntransport_maps = $t\n", smtp, CONF_RESTRICTS, "pgsql:x");
    assert_finding("always_bcc = x@y\n", smtp, CONF_NOT_HONOURED, "always_bcc=x@y: not supported");
    assert_finding("always_bcc =\n", smtp, -1, "");
    assert_finding("smtpd_milters = inet:x:1\n", smtp, CONF_RESTRICTS, "smtpd_milters");
    assert_finding("smtpd_client_message_rate_limit = 0\n", smtp, -1, "");
    assert_finding("", "a unix - - n - - b -o content_filter=x\n", CONF_RESTRICTS,
                   "master.cf, line 1: -o content_filter=x: ");
    assert_finding("content_filter = $x\n", smtp, -1, "");
}

static void names_services_without_a_certificate(void **state)
{
    static const char smtp[] = "smtp inet n - y - - smtpd\n";
    static const char wrapper[] = "submissions inet n - y - - smtpd -o smtpd_tls_wrappermode=yes\n";
    static const char imaps[] = "imaps inet n - y - - tlsproxy\n";

    assert_finding("", smtp, -1, "");
    assert_finding("smtpd_tls_security_level = may\n", smtp, CONF_NO_TLS,
                   "main.cf: no certificate is configured, set smtpd_tls_chain_files, or "
                   "smtpd_tls_cert_file and smtpd_tls_key_file; services that cannot serve TLS: "
                   "smtp (STARTTLS is not offered)");
    assert_finding("smtpd_use_tls = yes\n", smtp, CONF_NO_TLS, "STARTTLS is not offered");
    assert_finding("smtpd_tls_security_level = encrypt\n", smtp, CONF_NO_TLS, "cannot send mail");
    assert_finding("smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = /c\n", smtp, -1, "");
    assert_finding("smtpd_tls_security_level = may\nsmtpd_tls_cert_file = none\n", smtp,
                   CONF_NO_TLS, "TLS: smtp (STARTTLS");
    assert_finding("", wrapper, CONF_NO_TLS, "TLS: submissions (connections are closed");
    assert_finding("", imaps, CONF_NO_TLS, "TLS: imaps (connections are closed at once)");
    assert_finding("tlsproxy_tls_chain_files = /c\n", imaps, -1, "");
    assert_finding("smtpd_tls_eccert_file = /c\n", imaps, -1, "");
    assert_finding("", "tlsproxy unix - - y - - tlsproxy\n", -1, "");
    assert_finding("", "imap inet n - y - - imap-login\n", CONF_NO_TLS, "STARTTLS is not offered");
    /* One finding for all of them. */
    assert_finding("smtpd_tls_security_level = may\n",
                   "smtp inet n - y - - smtpd\nimaps inet n - y - - tlsproxy\n"
                   "submission inet n - y - - smtpd -o smtpd_tls_security_level=encrypt\n"
                   "imap inet n - y - - imap-login\npop3s inet n - y - - tlsproxy\n",
                   CONF_NO_TLS,
                   "TLS: smtp, imap (STARTTLS is not offered); submission (clients cannot send "
                   "mail, as STARTTLS is demanded and not offered); imaps, pop3s (connections are "
                   "closed at once)");
}

static void names_the_files_it_depends_on(void **state)
{
    static const struct {
        const char *path;
        bool is_database;
    } rows[] = {
        {"/etc/a.lmdb", true},     {"/tables/transport", false},  {"/tables/access.lmdb", true},
        {"/tables/relays", false}, {"/tables/class.cidr", false}, {"/tls/cert.pem", false},
        {"/tls/chain.pem", false}, {"/tables/one.pcre", false},   {"/etc/resolv.conf", false},
    };
    struct conf *c = load_main("tables = /tables\n"
                               "alias_maps = hash:/etc/a, nis:mail.aliases, inline:{ a=/no }\n"
                               "transport_maps = proxy:texthash:$tables/transport\n"
                               "relay_domains = example.org, !/tables/relays\n"
                               "smtpd_client_restrictions = mine,\n"
                               "  check_client_access { btree:$tables/access }\n"
                               "mine = check_client_access cidr:/tables/class.cidr, permit\n"
                               "smtpd_tls_cert_file = /tls/cert.pem\n"
                               "queue_directory = /no/file\n");
    struct master_cf *m = load(c, "smtp inet n - y - - smtpd\n"
                                  "  -o smtpd_tls_chain_files=/tls/chain.pem,/tls/cert.pem\n"
                                  "  -o virtual_alias_maps=pcre:$tables/one.pcre\n");
    struct conf_files files = {0};

    assert_int_equal(conf_files_find(c, m, &files), 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t found = 0;

        for (size_t k = 0; k < files.list.len; k++) {
            if (strcmp(files.list.items[k].path, rows[i].path) != 0)
                continue;
            found++;
            assert_int_equal(files.list.items[k].is_database, rows[i].is_database);
            assert_int_equal(files.list.items[k].is_secret, strncmp(rows[i].path, "/tls", 4) == 0);
        }
        if (found != 1)
            fail_msg("%s: found %zu times", rows[i].path, found);
    }
    for (size_t k = 0; k < files.list.len; k++) {
        if (strncmp(files.list.items[k].path, "/no", 3) == 0)
            fail_msg("%s is no such file", files.list.items[k].path);
    }
    conf_files_fini(&files);
    master_cf_free(m);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_entries),
        cmocka_unit_test(refuses_bad_entries),
        cmocka_unit_test(last_duplicate_wins),
        cmocka_unit_test(chroot_default_depends_on_the_level),
        cmocka_unit_test(absorbed_services),
        cmocka_unit_test(findings),
        cmocka_unit_test(names_services_without_a_certificate),
        cmocka_unit_test(names_the_files_it_depends_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
