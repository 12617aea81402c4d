/* main.cf: syntax, types, bounds, layers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "conf/host.h"
#include "conf/param.h"

static char last_log[512];

static void keep_log(void *arg, enum log_level level, struct span text)
{
    snprintf(last_log, sizeof(last_log), "%.*s", SPAN_ARG(text));
}

static struct conf *load(const char *text)
{
    struct conf *c = NULL;
    struct str why = {0};
    int error = conf_load_text(&c, "/etc/postfix", "main.cf", span_cstr(text), &why);

    if (error < 0)
        print_message("%s\n", str_cstr(&why));
    assert_int_equal(error, 0);
    str_fini(&why);
    return c;
}

static void assert_refused(const char *text, const char *reason)
{
    struct conf *c = NULL;
    struct str why = {0};

    assert_int_not_equal(conf_load_text(&c, "/etc/postfix", "main.cf", span_cstr(text), &why), 0);
    if (strstr(str_cstr(&why), reason) == NULL)
        print_message("want %s\nhave %s\n", reason, str_cstr(&why));
    assert_non_null(strstr(str_cstr(&why), reason));
    str_fini(&why);
}

/* As real files have them: comments and blank lines inside values, values that
 * begin on a later line, CR LF, no final newline, column-aligned names. */
static void reads_real_syntax(void **state)
{
    static const struct {
        const char *text, *name, *value;
    } cases[] = {
        {"relayhost=[a]:25\n", "relayhost", "[a]:25"},
        {"relayhost\t =   x \t \n", "relayhost", "x"},
        {"relayhost = a b", "relayhost", "a b"},
        {"relay_domains =\n  one\n\ttwo\n", "relay_domains", "one\ttwo"},
        {"relay_domains = one,\n# comment\n\n   \n  # indented\n  two\n", "relay_domains",
         "one,  two"},
        {"relay_domains =\n# x\n#y\n  z\nmyorigin = q\n", "relay_domains", "z"},
        {"relayhost = a\r\nmyorigin = b\r\n", "relayhost", "a"},
        {"# x\n\n  # y\nrelayhost = a # b\n", "relayhost", "a # b"},
        {"relayhost = a=b=c\n", "relayhost", "a=b=c"},
        {"relayhost =\n", "relayhost", ""},
        {"relayhost = a\nrelayhost = b\n", "relayhost", "b"},
        {"relayhost = a\n  myorigin = b\n", "relayhost", "a  myorigin = b"},
        {"mua = permit\nsmtpd_client_restrictions = $mua, reject\n", "smtpd_client_restrictions",
         "permit, reject"},
        {"myhostname = h.example\n", "mydomain", "example"},
        {"myhostname = h.example\n", "mydestination", "h.example, localhost.example, localhost"},
        {"mydomain = d\nmyhostname = x.$mydomain\n", "myorigin", "x.d"},
        {"default_rbl_reply = $rbl_code x\n", "default_rbl_reply", "$rbl_code x"},
        {"", "smtp_tls_fingerprint_digest", "sha256"},
        {"compatibility_level = 2\n", "smtp_tls_fingerprint_digest", "md5"},
        {"", "syslog_name", "postfix"},
        {"multi_instance_name = two\n", "syslog_name", "two"},
        {"config_directory = /elsewhere\n", "config_directory", "/etc/postfix"},
        {"relayhost = \xc3\xa9\n", "relayhost", "\xc3\xa9"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf *c = load(cases[i].text);

        assert_string_equal(conf_string(c, cases[i].name), cases[i].value);
        conf_free(c);
    }
}

static void refuses_bad_values(void **state)
{
    static const char *const cases[][2] = {
        {"relayhost\n", "main.cf, line 1: \"=\" is missing behind the name: \"relayhost\""},
        {"a = b\n\n= x\n", "main.cf, line 3: a name is missing"},
        {"message_size_limit = 0 # none\n",
         "main.cf, line 1: message_size_limit: bad number: \"0 # "
         "none\" (a comment must stand on a line of its own)"},
        {"message_size_limit = 1k\n", "bad number"},
        {"message_size_limit = 4294967296\nsmtpd_recipient_limit = 4294967296\n",
         "line 2: smtpd_recipient_limit: 4294967296 is above the maximum of 2147483647"},
        {"message_size_limit =\n", "bad number"},
        {"smtpd_use_tls = yes # x\n", "bad boolean"},
        {"smtpd_use_tls = 1\n", "bad boolean"},
        {"a = b\nsmtpd_timeout = 5x\n", "main.cf, line 2: smtpd_timeout: bad time value or unit"},
        {"smtpd_timeout = 9999999999\n", "bad time"},
        {"smtpd_timeout = 0\n", "below the minimum of 1s"},
        {"maximal_queue_lifetime = 101d\n", "above the maximum"},
        {"line_length_limit = 100\n", "below the minimum of 512"},
        {"mynetworks_style = all\n", "one of: class subnet host"},
        {"mynetworks_style =\n", "bad value"},
        {"smtpd_tls_security_level = maybe\n", "one of: none may encrypt"},
        {"myhostname = $mydomain\nmydomain = $myhostname\n", "refers to itself"},
        {"relayhost = ${x\n", "main.cf, line 1: relayhost: a reference is not closed"},
        {"smtp_destination_recipient_limit = x\n", "smtp_destination_recipient_limit: bad number"},
        {"myorigin =\n", "must not be empty"},
        {"myorigin = /nonexistent/mailname\n", "/nonexistent/mailname"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(cases[i][0], cases[i][1]);
}

static void nul_is_refused(void **state)
{
    struct conf *c;
    struct str why = {0};

    assert_int_equal(conf_load_text(&c, "/", "main.cf", SPAN_LIT("a = b\0c\n"), &why), ERR_SYNTAX);
    str_fini(&why);
}

static void reads_types(void **state)
{
    struct conf *c =
        load("smtpd_timeout = 5m\nsmtp_data_xfer_timeout = 1800s   # default: 180s\n"
             "maximal_queue_lifetime = 2\nsmtpd_helo_required = YES\n"
             "message_size_limit = 99999999999\ndefault_destination_rate_delay = 1\n"
             "delay_warning_time = 4\nrelay_destination_concurrency_limit = 7\n"
             "default_destination_concurrency_limit = 9\nslow_destination_rate_delay = 2m\n"
             "submission_client_limit = 1\n");

    assert_int_equal(conf_ms(c, "smtpd_timeout"), 300000);
    assert_int_equal(conf_seconds(c, "smtp_data_xfer_timeout"), 1800);
    assert_int_equal(conf_seconds(c, "maximal_queue_lifetime"), 2 * 86400);
    assert_int_equal(conf_seconds(c, "delay_warning_time"), 4 * 3600);
    assert_true(conf_bool(c, "smtpd_helo_required"));
    assert_int_equal(conf_int(c, "message_size_limit"), 99999999999);
    assert_int_equal(conf_transport_int(c, "relay", "destination_concurrency_limit"), 7);
    assert_int_equal(conf_transport_int(c, "smtp", "destination_concurrency_limit"), 9);
    assert_int_equal(conf_transport_int(c, "local", "destination_concurrency_limit"), 2);
    assert_int_equal(conf_transport_ms(c, "slow", "destination_rate_delay"), 120000);
    assert_int_equal(conf_transport_ms(c, "smtp", "destination_rate_delay"), 1000);
    assert_string_equal(conf_transport_string(c, "x", "destination_concurrency_negative_feedback"),
                        "1");
    assert_int_equal(conf_transport_int(c, "submission", "client_limit"), 1);
    assert_int_equal(conf_transport_int(c, "smtp", "client_limit"), 0);
    assert_true(conf_is_set(c, "smtpd_timeout"));
    assert_false(conf_is_set(c, "smtpd_banner"));
    conf_free(c);
}

static void every_default_is_legal(void **state)
{
    struct conf *c = load("");

    for (size_t i = 0; i < param_count(); i++) {
        const struct param *p = param_at(i);

        assert_ptr_equal(param_find(span_cstr(p->name)), p);
        assert_int_equal(param_index(p), i);
        assert_non_null(conf_lookup(c, span_cstr(p->name)));
        assert_true(p->type != PARAM_ENUM || p->choices != NULL);
        assert_true(p->status != PARAM_IGNORED || p->note != NULL);
    }
    conf_free(c);
}

static void repeated_names_are_warned_about(void **state)
{
    struct conf *c;

    log_set_sink(keep_log, NULL);
    c = load("relayhost = a\nmyorigin = x\nrelayhost = b\n");
    log_set_sink(NULL, NULL);
    assert_non_null(strstr(last_log, "main.cf, line 3: overriding earlier entry: relayhost=a"));
    conf_free(c);
}

static void layers(void **state)
{
    static const char *const overrides[] = {"service_name=submission", "myhostname=other.example",
                                            "syslog_name=postfix/$service_name",
                                            "own = $myhostname", "content_filter="};
    static const char *const bad[] = {"smtpd_timeout=x"};
    struct conf *base =
        load("myhostname = one.example\nsmtpd_banner = $myhostname\nrelayhost = r\n");
    struct conf *layer = NULL;
    struct str why = {0};

    assert_int_equal(conf_overlay(&layer, base, overrides, 5, &why), 0);
    assert_string_equal(conf_string(base, "smtpd_banner"), "one.example");
    assert_string_equal(conf_string(layer, "smtpd_banner"), "other.example");
    assert_string_equal(conf_string(layer, "syslog_name"), "postfix/submission");
    assert_string_equal(conf_string(layer, "mydomain"), "example");
    assert_string_equal(conf_lookup(layer, SPAN_LIT("own")), "other.example");
    assert_null(conf_lookup(base, SPAN_LIT("own")));
    conf_free(base);
    assert_string_equal(conf_string(layer, "relayhost"), "r");
    assert_int_equal(conf_overlay(&base, layer, bad, 1, &why), ERR_SYNTAX);
    assert_string_equal(str_cstr(&why), "override -o smtpd_timeout: bad time value or unit: \"x\"");
    conf_free(layer);
    str_fini(&why);
}

static void lenient_loading_keeps_what_is_bad(void **state)
{
    char path[] = "/tmp/test_conf.XXXXXX";
    static const char *const overrides[] = {"relayhost=y"};
    struct str file = {0}, why = {0};
    struct conf *c = NULL;

    assert_non_null(mkdtemp(path));
    str_printf(&file, "%s/main.cf", path);
    assert_int_equal(file_replace(str_cstr(&file),
                                  SPAN_LIT("smtpd_timeout = x\nmyorigin = ${\nrelayhost = x\n"),
                                  0644),
                     0);
    log_set_sink(keep_log, NULL);
    assert_int_equal(conf_load(&c, path, &why), ERR_SYNTAX);
    assert_int_equal(conf_load_lenient(&c, path, overrides, 1, &why), 0);
    log_set_sink(NULL, NULL);
    assert_string_equal(conf_lookup(c, SPAN_LIT("smtpd_timeout")), "x");
    assert_string_equal(conf_string(c, "myorigin"), "${");
    assert_string_equal(conf_string(c, "relayhost"), "y");
    assert_string_equal(conf_directory(c), path);
    unlink(str_cstr(&file));
    rmdir(path);
    conf_free(c);
    str_fini(&file);
    str_fini(&why);
}

static void origin_from_a_file(void **state)
{
    char path[] = "/tmp/test_conf.XXXXXX";
    int fd = mkstemp(path);
    struct str text = {0};
    struct conf *c;

    assert_int_equal(fd_write_all(fd, "mail.example\nmore\n", 18), 0);
    close(fd);
    str_printf(&text, "myorigin = %s\nown = $myorigin\n", path);
    c = load(str_cstr(&text));
    unlink(path);
    assert_string_equal(conf_string(c, "myorigin"), "mail.example");
    assert_string_equal(conf_lookup(c, SPAN_LIT("own")), "mail.example");
    conf_free(c);
    str_fini(&text);
}

static void networks_follow_the_style(void **state)
{
    struct conf *host = load("mynetworks_style = host\ninet_interfaces = 127.0.0.1\n");
    struct conf *class = load("mynetworks_style = class\ninet_interfaces = 127.0.0.1\n");
    struct conf *v6 = load("inet_interfaces = 127.0.0.1\ninet_protocols = ipv6\n");

    assert_string_equal(conf_string(host, "mynetworks"), "127.0.0.1/32");
    assert_string_equal(conf_string(class, "mynetworks"), "127.0.0.0/8");
    assert_string_equal(conf_string(v6, "mynetworks"), "");
    conf_free(host);
    conf_free(class);
    conf_free(v6);
}

static void settings_in_order(void **state)
{
    struct conf *c = load("relayhost = $a\na = b\n");

    assert_int_equal(conf_setting_count(c), 3);
    assert_string_equal(conf_setting_at(c, 0)->name, "relayhost");
    assert_string_equal(conf_setting_at(c, 0)->value, "$a");
    assert_int_equal(conf_setting_at(c, 1)->line, 2);
    assert_null(conf_setting_at(c, 1)->param);
    assert_string_equal(conf_raw(c, SPAN_LIT("relayhost")), "$a");
    assert_string_equal(conf_raw(c, SPAN_LIT("mydomain")), conf_string(c, "mydomain"));
    assert_null(conf_raw(c, SPAN_LIT("nothing")));
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_real_syntax),
        cmocka_unit_test(refuses_bad_values),
        cmocka_unit_test(nul_is_refused),
        cmocka_unit_test(reads_types),
        cmocka_unit_test(every_default_is_legal),
        cmocka_unit_test(repeated_names_are_warned_about),
        cmocka_unit_test(layers),
        cmocka_unit_test(lenient_loading_keeps_what_is_bad),
        cmocka_unit_test(origin_from_a_file),
        cmocka_unit_test(networks_follow_the_style),
        cmocka_unit_test(settings_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
