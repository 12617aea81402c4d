/* The counts of anvil: windows, bounds; and the look of a log line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "services/anvil_table.h"
#include "services/log_file.h"
#include "services/log_order.h"

static struct anvil_host *connect_at(struct anvil_table *t, const char *key, int64_t now,
                                     uint32_t connections, uint32_t rate)
{
    struct anvil_counts counts;
    struct anvil_host *host = anvil_table_connect(t, span_cstr(key), now, 0, &counts);

    assert_int_equal(counts.connections, connections);
    assert_int_equal(counts.rate, rate);
    return host;
}

static void test_counts(void **state)
{
    struct anvil_table t;
    struct anvil_counts counts;
    struct anvil_host *host;

    anvil_table_init(&t, 100, 60000);
    host = connect_at(&t, "smtp:192.0.2.1", 1000, 1, 1);
    connect_at(&t, "smtp:192.0.2.1", 2000, 2, 2);
    connect_at(&t, "smtp:192.0.2.2", 2000, 1, 1);
    connect_at(&t, "submission:192.0.2.1", 2000, 1, 1);
    anvil_table_disconnect(&t, host);
    anvil_table_lookup(&t, SPAN_LIT("smtp:192.0.2.1"), 3000, &counts);
    assert_int_equal(counts.connections, 1);
    assert_int_equal(counts.rate, 2);
    /* A new window: the rate begins again, connections stay. */
    connect_at(&t, "smtp:192.0.2.1", 61000, 2, 1);
    anvil_table_lookup(&t, SPAN_LIT("smtp:192.0.2.1"), 121000, &counts);
    assert_int_equal(counts.rate, 0);
    anvil_table_disconnect(&t, host);
    anvil_table_disconnect(&t, host);
    anvil_table_disconnect(&t, host); /* once too often */
    anvil_table_lookup(&t, SPAN_LIT("smtp:192.0.2.1"), 121000, &counts);
    assert_int_equal(counts.connections, 0);
    assert_int_equal(t.peak_connections.value, 2);
    assert_string_equal(t.peak_connections.key, "smtp:192.0.2.1");
    anvil_table_fini(&t);
}

static void test_table_is_bounded(void **state)
{
    struct anvil_table t;
    struct anvil_counts counts;
    char key[64];

    anvil_table_init(&t, 10, 60000);
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "smtp:10.0.0.%d", i);
        connect_at(&t, key, i, 1, 1);
    }
    /* All have connections: one more is served and not counted. */
    assert_null(anvil_table_connect(&t, SPAN_LIT("smtp:10.0.1.1"), 20, 0, &counts));
    assert_int_equal(counts.connections, 0);
    /* One left: it makes room. */
    anvil_table_disconnect(&t, anvil_table_find(&t, SPAN_LIT("smtp:10.0.0.4")));
    connect_at(&t, "smtp:10.0.1.1", 30, 1, 1);
    assert_null(anvil_table_find(&t, SPAN_LIT("smtp:10.0.0.4")));
    assert_int_equal(t.hosts.count, 10);
    anvil_table_fini(&t);
}

static void test_log_line(void **state)
{
    struct str line = {0};

    setenv("TZ", "UTC", 1);
    tzset();
    assert_int_equal(log_file_format(&line, "mx", 1795255387222109, SPAN_LIT("postfix/smtpd"), 42,
                                     SPAN_LIT("connect from unknown[192.0.2.1]")),
                     0);
    assert_string_equal(str_cstr(&line), "Nov 21 10:03:07 mx postfix/smtpd[42]: connect from "
                                         "unknown[192.0.2.1]");
    str_clear(&line);
    log_file_format(&line, "mx", 1767225600000000, SPAN_LIT("a/b"), 1, SPAN_LIT(""));
    assert_string_equal(str_cstr(&line), "Jan  1 00:00:00 mx a/b[1]: ");
    str_fini(&line);
}

/* --- the order of lines --- */

static char order_seen[64];

static void see_line(const struct log_line *line)
{
    size_t n = strlen(order_seen);

    assert_true(span_eq(line->tag, SPAN_LIT("t")));
    snprintf(order_seen + n, sizeof(order_seen) - n, "%.*s", SPAN_ARG(line->text));
}

static void test_lines_come_in_the_order_of_their_times(void **state)
{
    static const struct {
        const char *text;
        int64_t wall_us, taken_ms, release_ms; /* release_ms 0: none after this line */
        const char *want;
    } steps[] = {
        {"b", 20, 100, 0, ""},       {"a", 10, 101, 0, ""},
        {"c", 20, 102, 102, "ab"},   /* c was taken too late */
        {"d", 15, 103, 104, "abdc"}, /* late, and before c, which it holds no longer */
        {"f", 40, 110, 0, "abdc"},   {"e", 30, 120, 115, "abdcef"},
    };
    struct log_order order = {0};

    order_seen[0] = '\0';
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct log_line line = {LOG_LEVEL_INFO, steps[i].wall_us, 1, SPAN_LIT("t"),
                                span_cstr(steps[i].text)};
        assert_int_equal(log_order_add(&order, &line, steps[i].taken_ms), 0);
        if (steps[i].release_ms > 0)
            log_order_release(&order, steps[i].release_ms, see_line);
        assert_string_equal(order_seen, steps[i].want);
    }
    log_order_release(&order, INT64_MAX, see_line);
    assert_string_equal(order_seen, "abdcef");
    assert_int_equal(order.octets, 0);
    array_free(&order.lines);
}

/* --- syslog --- */

enum { SYSLOG_LINES = 300 }; /* many more than a socket's queue holds */

static struct sockaddr_un syslog_at = {.sun_family = AF_UNIX};

static int bind_syslog(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    unlink(syslog_at.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&syslog_at, sizeof(syslog_at)), 0);
    return fd;
}

static void write_lines(int count)
{
    for (int i = 0; i < count; i++) {
        char text[32];

        snprintf(text, sizeof(text), "line %d", i);
        log_file_write(LOG_LEVEL_INFO, 1795255387222109, SPAN_LIT("postfix/smtpd"), 42,
                       span_cstr(text));
    }
}

static const char *receive_line(int fd, char *line, size_t size)
{
    ssize_t n = recv(fd, line, size - 1, 0);

    line[n < 0 ? 0 : n] = '\0';
    return line;
}

static void *read_late(void *arg)
{
    int fd = *(int *)arg;
    long wrong = 0;

    usleep(100000);
    for (int i = 0; i < SYSLOG_LINES; i++) {
        char line[200], want[200];

        snprintf(want, sizeof(want), "<22>Nov 21 10:03:07 postfix/smtpd[42]: line %d", i);
        wrong += strcmp(receive_line(fd, line, sizeof(line)), want) != 0;
    }
    return (void *)wrong;
}

static void test_syslog_is_waited_for(void **state)
{
    struct str why = {0};
    struct conf *conf;
    pthread_t reader;
    char line[200];
    void *wrong;
    int fd;

    setenv("TZ", "UTC", 1);
    snprintf(syslog_at.sun_path, sizeof(syslog_at.sun_path), "/tmp/test-syslog.%d", (int)getpid());
    assert_int_equal(
        conf_load_text(&conf, "/nonexistent", "main.cf", SPAN_LIT("myhostname = mx.test\n"), &why),
        0);
    log_file_use_syslog_at(syslog_at.sun_path, 300);
    assert_int_equal(log_file_open(conf, &why), 0);

    /* One that reads late gets every line, in order. */
    fd = bind_syslog();
    pthread_create(&reader, NULL, read_late, &fd);
    write_lines(SYSLOG_LINES);
    log_file_flush();
    pthread_join(reader, &wrong);
    assert_null(wrong);

    /* One that does not read costs the lines it does not take, and one wait. */
    write_lines(SYSLOG_LINES);
    log_file_flush();
    int taken = 0;
    while (recv(fd, line, sizeof(line), MSG_DONTWAIT) > 0)
        taken++;
    assert_in_range(taken, 1, SYSLOG_LINES - 1);

    /* Gone, and there again: what was lost is told by the next line. */
    close(fd);
    write_lines(1); /* tells of the above, too */
    log_file_flush();
    fd = bind_syslog();
    write_lines(1);
    log_file_flush();
    assert_non_null(strstr(receive_line(fd, line, sizeof(line)),
                           "warning: 2 log lines were lost: the log is too slow"));
    assert_string_equal(receive_line(fd, line, sizeof(line)),
                        "<22>Nov 21 10:03:07 postfix/smtpd[42]: line 0");

    /* What waits is bounded. */
    write_lines(200000);
    assert_in_range(log_file_pending(), 4000000, 4 * 1024 * 1024 + 200);
    log_file_flush();
    close(fd);
    unlink(syslog_at.sun_path);
    conf_free(conf);
    str_fini(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_table_is_bounded),
        cmocka_unit_test(test_log_line),
        cmocka_unit_test(test_lines_come_in_the_order_of_their_times),
        cmocka_unit_test(test_syslog_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
