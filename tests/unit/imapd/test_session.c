/* Whole sessions: what the client sends, and what it must and must not be told. */
#include "tests/unit/imapd/support_session.h"

#include <stdio.h>

#include "tests/unit/net/support_run.h"

enum { MEMORY = 4 << 20 };

#define MESSAGE_ONE "From: a@x.test\r\nSubject: one\r\n\r\nbody one\r\n" /* 42 octets */
#define APPEND_ONE "p1 APPEND INBOX {42+}\r\n" MESSAGE_ONE "\r\n"
#define SELECT "p2 SELECT INBOX\r\n"

static const struct {
    const char *script;
    const char *wants[6];
    const char *forbids[3];
} cases[] = {
    {"", {"L OK [CAPABILITY IMAP4rev1 ", "] Logged in\r\n"}, {0}},
    {"a NOOP\r\nb LOGOUT\r\nc NOOP\r\n",
     {"a OK NOOP completed.\r\n* BYE Logging out\r\nb OK Logout completed.\r\n"},
     {"c OK"}},
    {"a FETCH 1 FLAGS\r\n", {"a BAD No mailbox selected."}, {0}},
    {APPEND_ONE SELECT, {"p1 OK [APPENDUID ", "* 1 EXISTS", "* 1 RECENT", "[UNSEEN 1]"}, {0}},
    /* Bare LF becomes CRLF, NUL 0x80. */
    {"a APPEND INBOX {6+}\r\nA: b\n\n\r\n" SELECT "b FETCH 1 (RFC822.SIZE BODY.PEEK[])\r\n",
     {"RFC822.SIZE 8 BODY[] {8}\r\nA: b\r\n\r\n)"},
     {0}},
    /* A message that is refused is not read as commands. */
    {"a APPEND nosuch {8+}\r\nx NOOP\r\n\r\nb NOOP\r\n",
     {"a NO [TRYCREATE]", "b OK NOOP"},
     {"x OK", "BAD"}},
    {"a APPEND INBOX {9999999}\r\nb NOOP\r\n", {"a NO [TOOBIG]", "b OK NOOP"}, {"+ OK"}},
    {"a APPEND INBOX {4}\r\nabcd\r\nb NOOP\r\n", {"+ OK\r\n", "a OK [APPENDUID"}, {"BAD"}},
    {"a APPEND INBOX {4+}\r\nabcdefgh\r\nb NOOP\r\n", {"a BAD", "b OK"}, {"a OK"}},
    /* Literals that are sent unasked belong to their command, whatever became of it. */
    {"a APPEND INBOX {4+}\r\nabcd {8+}\r\nx NOOP\r\n {3+}\r\ny \r\r\nb NOOP\r\n",
     {"a BAD", "b OK NOOP"},
     {"x OK", "y BAD", "a OK"}},
    {"a APPEND INBOX (\\Foo) {8+}\r\nx NOOP\r\n {8+}\r\ny NOOP\r\n\r\nb NOOP\r\n",
     {"a BAD", "b OK NOOP"},
     {"x OK", "y OK"}},
    {"a FOO {100000+}\r\n", {"a BAD"}, {"FOO: "}},
    /* \Seen by reading, told once. */
    {APPEND_ONE SELECT "a FETCH 1 BODY[TEXT]\r\nb FETCH 1 BODY[TEXT]\r\nc FETCH 1 FLAGS\r\n",
     {"* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {10}\r\nbody one\r\n)\r\na OK",
      "* 1 FETCH (BODY[TEXT] {10}\r\nbody one\r\n)\r\nb OK",
      "* 1 FETCH (FLAGS (\\Seen \\Recent))\r\nc OK"},
     {0}},
    {APPEND_ONE SELECT "a FETCH 1 BODY.PEEK[]<3.8>\r\n", {"BODY[]<3> {8}\r\nm: a@x.t)"}, {0}},
    {APPEND_ONE SELECT "a STORE 1 +FLAGS.SILENT (\\Seen)\r\nb STORE 1 +FLAGS (kw)\r\n",
     {"a OK Store completed.", "* FLAGS (", "\\Draft kw)",
      "* 1 FETCH (FLAGS (\\Seen \\Recent kw))"},
     {"* 1 FETCH (FLAGS (\\Seen \\Recent))\r\na OK"}},
    {APPEND_ONE SELECT "a STORE 1 +FLAGS (\\Deleted)\r\nb EXPUNGE\r\nc FETCH 1 UID\r\n",
     {"* 1 EXPUNGE\r\n* 0 RECENT\r\nb OK Expunge", "c BAD "},
     {0}},
    {APPEND_ONE SELECT "a CREATE b\r\nb COPY 1 b\r\nc MOVE 1 b\r\nd STATUS b (MESSAGES)\r\n",
     {"b OK [COPYUID ", "* OK [COPYUID ", "* 1 EXPUNGE", "(MESSAGES 2)"},
     {0}},
    {APPEND_ONE SELECT "a SEARCH SUBJECT ONE BODY body\r\nb SEARCH NOT TEXT one\r\n",
     {"* SEARCH 1\r\na OK", "* SEARCH\r\nb OK"},
     {0}},
    /* By the fields that the store keeps, by others, and by both. */
    {APPEND_ONE SELECT
     "a SEARCH HEADER X-None \"\" FROM a@x\r\nb SEARCH OR HEADER X-None one FROM A@X\r\n"
     "c SEARCH NOT HEADER X-None one\r\nd SEARCH NOT FROM a@x\r\n"
     "e SEARCH OR TO a@x BODY \"body one\"\r\nf SEARCH HEADER CC \"\"\r\n",
     {"* SEARCH\r\na OK", "* SEARCH 1\r\nb OK", "* SEARCH 1\r\nc OK", "* SEARCH\r\nd OK",
      "* SEARCH 1\r\ne OK", "* SEARCH\r\nf OK"},
     {0}},
    {SELECT "a SEARCH CHARSET X-NONE ALL\r\n", {"a NO [BADCHARSET ("}, {0}},
    {"a CREATE \"Entw&APw-rfe\"\r\nb LIST \"\" \"E*\"\r\nc CREATE &xx\r\n",
     {"/\" Entw&APw-rfe\r\n", "c NO "},
     {0}},
    {"a IDLE\r\nDONE\r\nb NOOP\r\n", {"+ idling\r\n", "a OK Idle completed.", "b OK"}, {0}},
    {"a IDLE\r\nfoo\r\nb NOOP\r\n", {"a BAD Expected DONE.", "b OK"}, {0}},
    /* Nesting and numbers have their bounds. */
    {SELECT
     "a SEARCH ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1))))))))))))))\r\n",
     {"a BAD "},
     {0}},
    {SELECT "a FETCH 99999999999999999999 FLAGS\r\nb FETCH 1:* (FLAGS\r\n",
     {"a BAD ", "b BAD "},
     {0}},
};

static void check(size_t i, enum peer_split split, const char *account)
{
    struct str out = {0};

    session_play(account, split, span_cstr(cases[i].script), MEMORY, &out);
    for (size_t k = 0; k < 6 && cases[i].wants[k] != NULL; k++) {
        if (strstr(str_cstr(&out), cases[i].wants[k]) == NULL)
            fail_msg("case %zu, not told: %s\nbut:\n%s", i, cases[i].wants[k], str_cstr(&out));
    }
    for (size_t k = 0; k < 3 && cases[i].forbids[k] != NULL; k++) {
        if (strstr(str_cstr(&out), cases[i].forbids[k]) != NULL)
            fail_msg("case %zu, told: %s\nin:\n%s", i, cases[i].forbids[k], str_cstr(&out));
    }
    str_fini(&out);
}

TASK_TEST(test_sessions_in_every_fragmentation)
{
    sessions_begin();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int split = PEER_WHOLE; split <= PEER_RANDOM; split++) {
            char account[32];
            snprintf(account, sizeof(account), "case%zu.%d", i, split);
            check(i, (enum peer_split)split, account);
        }
    }
    sessions_end();
}

/* A message larger than what is kept in memory goes through a file, and comes back in
 * pieces, whatever the session may take. */
TASK_TEST(test_a_large_message)
{
    enum { LINES = 9000 };
    struct str script = {0}, body = {0}, out = {0};

    sessions_begin();
    str_append_cstr(&body, "Subject: large\r\n\r\n");
    for (int i = 0; i < LINES; i++)
        str_printf(&body, "line %06d of a message that does not fit into memory\r\n", i);
    str_printf(&script, "a APPEND INBOX {%zu+}\r\n", body.len);
    str_append(&script, str_span(&body));
    str_append_cstr(&script, "\r\nb SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\n"
                             "d FETCH 1 BODY.PEEK[TEXT]<11.17>\r\ne SEARCH BODY \"008999 of\"\r\n");
    session_play("large", PEER_WHOLE, str_span(&script), 400000, &out);
    assert_true(body.len > 400000);
    assert_true(span_search(str_span(&out), str_span(&body)) > 0);
    assert_non_null(strstr(str_cstr(&out), "BODY[TEXT]<11> {17}\r\n of a message tha)"));
    assert_non_null(strstr(str_cstr(&out), "* SEARCH 1\r\n"));
    sessions_end();
    str_fini(&script);
    str_fini(&body);
    str_fini(&out);
}

/* What would exceed a session's memory ends it with BYE, and nothing else. */
TASK_TEST(test_memory_is_bounded)
{
    struct str script = {0}, out = {0};

    sessions_begin();
    str_append_cstr(&script, "a SELECT INBOX\r\nb SEARCH");
    for (int i = 0; i < 4000; i++)
        str_append_cstr(&script, " SUBJECT x");
    str_append_cstr(&script, "\r\nc NOOP\r\n");
    session_play("memory", PEER_WHOLE, str_span(&script), 200000, &out);
    assert_non_null(strstr(str_cstr(&out), "* BYE Session is out of memory."));
    assert_null(strstr(str_cstr(&out), "c OK"));
    sessions_end();
    str_fini(&script);
    str_fini(&out);
}

/* A line that is too long is answered with its tag, and its literal is skipped. */
TASK_TEST(test_a_long_line)
{
    struct str script = {0}, out = {0};

    sessions_begin();
    str_append_cstr(&script, "a SEARCH ");
    str_append_fill(&script, 'x', 200000);
    str_append_cstr(&script, " {8+}\r\nx NOOP\r\n {8+}\r\ny NOOP\r\n\r\nb NOOP\r\n");
    for (int split = PEER_WHOLE; split <= PEER_RANDOM; split++) {
        session_play("long", (enum peer_split)split, str_span(&script), MEMORY, &out);
        assert_non_null(strstr(str_cstr(&out), "a BAD "));
        assert_null(strstr(str_cstr(&out), "x OK"));
        assert_null(strstr(str_cstr(&out), "y OK"));
        assert_non_null(strstr(str_cstr(&out), "b OK"));
        str_clear(&out);
    }
    sessions_end();
    str_fini(&script);
    str_fini(&out);
}

TASK_TEST(test_too_many_bad_commands)
{
    struct str script = {0}, out = {0};

    sessions_begin();
    for (int i = 0; i < 30; i++)
        str_printf(&script, "t%d FOO\r\n", i);
    session_play("bad", PEER_WHOLE, str_span(&script), MEMORY, &out);
    assert_non_null(strstr(str_cstr(&out), "* BYE Too many invalid IMAP commands."));
    assert_null(strstr(str_cstr(&out), "t25 BAD"));
    sessions_end();
    str_fini(&script);
    str_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_in_every_fragmentation),
        cmocka_unit_test(test_a_large_message),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_a_long_line),
        cmocka_unit_test(test_too_many_bad_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
