/* What crosses between master and a service: command line, control packets, log
 * records, the statistics page; each with hostile input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "service/control.h"
#include "service/inherit.h"
#include "service/log_channel.h"
#include "service/service.h"
#include "service/stats.h"

/* --- command line --- */

static int parse(struct inherit *out, const char **argv)
{
    struct str why = {0};
    int argc = 0, code;

    while (argv[argc] != NULL)
        argc++;
    code = inherit_parse(out, argc, (char **)argv, &why);
    assert_true((code < 0) == (why.len > 0));
    str_fini(&why);
    return code;
}

static void test_command_line(void **state)
{
    const char *argv[] = {"smtpd", "-n",    "smtp", "-t",   "inet",      "-c", "/etc/postfix",
                          "-s",    "smtp",  "-s",   "more", "-l",        "0",  "-o",
                          "a=b",   "-oc=d", "-vv",  "-r",   "192.0.2.1", "--", "flags=R",
                          "-x",    NULL};
    struct inherit in;

    assert_int_equal(parse(&in, argv), 0);
    assert_string_equal(in.entry, "smtp");
    assert_int_equal(in.listener_count, 2);
    assert_string_equal(in.listeners[1], "more");
    assert_int_equal(in.limit, 0);
    assert_int_equal(in.override_count, 2);
    assert_string_equal(in.overrides[1], "c=d");
    assert_int_equal(in.verbosity, 2);
    assert_int_equal(in.refused_count, 1);
    assert_string_equal(in.arguments[0], "flags=R");
    assert_string_equal(in.arguments[1], "-x");
    assert_null(in.arguments[2]);
}

static void test_command_line_without_limit(void **state)
{
    const char *argv[] = {"smtpd", "-n", "smtp", NULL};
    struct inherit in;

    assert_int_equal(parse(&in, argv), 0);
    assert_int_equal(in.limit, UINT32_MAX);
    assert_false(in.is_trial);
}

static void test_command_line_of_a_trial(void **state)
{
    const char *argv[] = {"smtpd", "-n", "smtp", "-T", "-o", "a=b", "--", "-T", NULL};
    struct inherit in;

    assert_int_equal(parse(&in, argv), 0);
    assert_true(in.is_trial);
    assert_int_equal(in.override_count, 1);
    assert_string_equal(in.arguments[0], "-T");
}

static void test_bad_command_lines(void **state)
{
    const char *rows[][4] = {
        {"smtpd", "-n", NULL},         {"smtpd", "-z", "1", NULL},  {"smtpd", "-l", "many", NULL},
        {"smtpd", "-o", "word", NULL}, {"smtpd", "-l", "-1", NULL},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct inherit in;

        assert_int_equal(parse(&in, rows[i]), ERR_SYNTAX);
    }
}

/* --- control packets --- */

static void test_control_round_trip(void **state)
{
    int pair[2];
    char buf[CONTROL_PACKET_MAX];
    struct control_message m;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(control_send(pair[0], CONTROL_LIMIT, 4000000000u, NULL), 0);
    assert_int_equal(control_send(pair[0], CONTROL_FAILED, 0, "main.cf, line 3: no"), 0);
    assert_int_equal(control_send(pair[0], CONTROL_DRAIN, 0, NULL), 0);
    assert_int_equal(control_receive(pair[1], buf, &m), 0);
    assert_int_equal(m.word, CONTROL_LIMIT);
    assert_int_equal(m.number, 4000000000u);
    assert_int_equal(control_receive(pair[1], buf, &m), 0);
    assert_int_equal(m.word, CONTROL_FAILED);
    assert_true(span_eq(m.text, SPAN_LIT("main.cf, line 3: no")));
    assert_int_equal(control_receive(pair[1], buf, &m), 0);
    assert_int_equal(m.word, CONTROL_DRAIN);
    assert_int_equal(control_receive(pair[1], buf, &m), -EAGAIN);
    close(pair[0]);
    assert_int_equal(control_receive(pair[1], buf, &m), ERR_EOF);
    close(pair[1]);
}

static void test_control_long_text_is_cut(void **state)
{
    int pair[2];
    char buf[CONTROL_PACKET_MAX], text[3000];
    struct control_message m;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(control_send(pair[0], CONTROL_BYE, 0, text), 0);
    assert_int_equal(control_receive(pair[1], buf, &m), 0);
    assert_int_equal(m.word, CONTROL_BYE);
    assert_true(m.text.n > 900 && m.text.n < CONTROL_PACKET_MAX);
    close(pair[0]);
    close(pair[1]);
}

static void test_control_hostile(void **state)
{
    struct control_message m;

    assert_int_equal(control_decode(SPAN_LIT("limit"), &m), ERR_SYNTAX);
    assert_int_equal(control_decode(SPAN_LIT("limit -1"), &m), ERR_SYNTAX);
    assert_int_equal(control_decode(SPAN_LIT("limit 99999999999"), &m), -ERANGE);
    assert_int_equal(control_decode(SPAN_LIT("limit 5 6"), &m), ERR_SYNTAX);
    assert_int_equal(control_decode(SPAN_LIT("fly 5"), &m), 0);
    assert_int_equal(m.word, CONTROL_UNKNOWN);
    assert_int_equal(control_decode(SPAN_LIT(""), &m), 0);
    assert_int_equal(m.word, CONTROL_UNKNOWN);
}

/* --- log records --- */

static void test_log_records(void **state)
{
    struct str packet = {0};
    struct log_record r = {LOG_LEVEL_WARN, 1795255387222109, SPAN_LIT("postfix/smtpd"),
                           SPAN_LIT("warning: a\tb")};
    struct span rest;

    assert_int_equal(log_record_encode(&packet, &r), 0);
    r.text = SPAN_LIT("");
    assert_int_equal(log_record_encode(&packet, &r), 0);
    rest = str_span(&packet);
    assert_int_equal(log_record_decode(&rest, &r), 0);
    assert_int_equal(r.level, LOG_LEVEL_WARN);
    assert_int_equal(r.wall_us, 1795255387222109);
    assert_true(span_eq(r.tag, SPAN_LIT("postfix/smtpd")));
    assert_true(span_eq(r.text, SPAN_LIT("warning: a\tb")));
    assert_int_equal(log_record_decode(&rest, &r), 0);
    assert_int_equal(r.text.n, 0);
    assert_int_equal(log_record_decode(&rest, &r), ERR_EOF);
    str_fini(&packet);
}

/* A reader that was slow for a while gets all lines; one that is too slow is told how
 * many it did not get. */
static void read_lines(int fd, unsigned *lines, unsigned *told)
{
    static char packet[LOG_CHANNEL_PACKET_MAX];
    ssize_t n;

    while ((n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
        struct span rest = span_make(packet, (size_t)n);
        struct log_record r;

        while (log_record_decode(&rest, &r) == 0) {
            if (span_search(r.text, SPAN_LIT("log lines were dropped")) >= 0)
                (*told)++;
            else
                (*lines)++;
        }
        log_channel_flush();
    }
}

static void log_many(const char *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        log_info("%u %s", i, words);
}

static void test_log_channel_backlog(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char directory[] = "/tmp/waypost-log.XXXXXX", words[200];
    unsigned lines = 0, told = 0;

    assert_non_null(mkdtemp(directory));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/log", directory);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 5), 0);
    log_channel_open(address.sun_path, false);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    memset(words, 'w', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';

    log_many(words, 3000);
    read_lines(fd, &lines, &told);
    assert_int_equal(lines, 3000);
    assert_int_equal(told, 0);
    assert_int_equal(log_channel_dropped(), 0);

    lines = 0;
    log_many(words, 20000);
    read_lines(fd, &lines, &told);
    log_info("after");
    read_lines(fd, &lines, &told);
    assert_true(lines > 3000 && told == 1);
    assert_int_equal(lines + log_channel_dropped(), 20001);
    log_channel_close();
    close(fd);
    close(listener);
    unlink(address.sun_path);
    rmdir(directory);
}

static void test_log_records_hostile(void **state)
{
    static const char *const rows[] = {
        "x",          "\n",         "1\n",        "1 2\n",   "1 2 tag text\n",
        "9 1 t\tx\n", "a 1 t\tx\n", "1 b t\tx\n", "1 1 t\tx"};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span rest = span_cstr(rows[i]);
        struct log_record r;

        assert_int_equal(log_record_decode(&rest, &r), ERR_SYNTAX);
    }
}

/* --- statistics page --- */

static void test_page_is_read_as_hostile(void **state)
{
    int fd = stats_create();
    struct stats_page *page, copy;
    const struct stats_page *reader;

    assert_true(fd >= 0);
    reader = stats_map_readonly(fd);
    assert_non_null(reader);
    assert_int_equal(stats_read(reader, &copy), ERR_CORRUPT);
    page = stats_map(fd);
    assert_non_null(page);
    assert_int_equal(stats_read(reader, &copy), 0);
    page->state = 77;
    page->kind = 4000000000u;
    memset(&page->note, 'A', sizeof(page->note));
    page->note.client[3] = '\n';
    assert_int_equal(stats_read(reader, &copy), 0);
    assert_int_equal(copy.state, STATS_READY);
    assert_int_equal(copy.kind, SERVICE_CLIENTS);
    assert_int_equal(strlen(copy.note.client), sizeof(copy.note.client) - 1);
    assert_int_equal(copy.note.client[3], '?');
    page->version = STATS_VERSION + 1;
    assert_int_equal(stats_read(reader, &copy), ERR_VERSION);
    /* Nobody can take the memory away from under the reader. */
    assert_int_equal(ftruncate(fd, 0), -1);
    stats_unmap(page);
    stats_unmap(reader);
    close(fd);
}

static void test_note_address(void **state)
{
    static const struct {
        const char *note, *address;
    } rows[] = {
        {"unknown[192.0.2.1]", "192.0.2.1"},
        {"mx.example[2001:db8::1]", "2001:db8::1"},
        {"no address", ""},
        {"x[not an address]", ""},
        {"][", ""},
        {"a[b[1]", ""},
        {"[]", ""},
        {"", ""},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct task_crash_note note = {.task = ""};

        strcpy(note.client, rows[i].note);
        assert_true(span_eq(stats_note_address(&note), span_cstr(rows[i].address)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_line),
        cmocka_unit_test(test_command_line_without_limit),
        cmocka_unit_test(test_command_line_of_a_trial),
        cmocka_unit_test(test_bad_command_lines),
        cmocka_unit_test(test_control_round_trip),
        cmocka_unit_test(test_control_long_text_is_cut),
        cmocka_unit_test(test_control_hostile),
        cmocka_unit_test(test_log_records),
        cmocka_unit_test(test_log_channel_backlog),
        cmocka_unit_test(test_log_records_hostile),
        cmocka_unit_test(test_page_is_read_as_hostile),
        cmocka_unit_test(test_note_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
