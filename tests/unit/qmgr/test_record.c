/* A message and what became of it, through its records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "qmgr/entry.h"
#include "qmgr/record.h"

static void load(struct loaded *l)
{
    struct queue_message m;
    struct str head = {0};

    queue_message_init(&m, NULL);
    m.id.number = 5;
    m.sender = SPAN_LIT("s@x");
    queue_message_add(&m, SPAN_LIT("a@b"));
    queue_message_add(&m, SPAN_LIT("c@d"));
    queue_message_encode(&m, &head);
    struct journal_record r = {.kind = RECORD_MESSAGE, .head = str_span(&head)};
    loaded_init(l);
    assert_int_equal(loaded_from_message(l, &r, true), 0);
    queue_message_fini(&m);
    str_fini(&head);
}

static struct deliver_result result(enum deliver_status status, const char *dsn)
{
    return (struct deliver_result){.status = status, .dsn = dsn, .reason = SPAN_LIT("because")};
}

static void test_results_are_idempotent(void **state)
{
    struct deliver_result sent = result(DELIVER_SENT, "2.0.0");
    struct deliver_result later = result(DELIVER_DEFERRED, "4.0.0");
    struct deliver_result bounced = result(DELIVER_BOUNCED, "5.0.0");
    struct loaded l;

    load(&l);
    assert_int_equal(loaded_pending(&l), 2);
    assert_int_equal(loaded_take_result(&l, 0, 2, 1, &later), 1);
    assert_int_equal(loaded_take_result(&l, 0, 2, 1, &later), 0);
    assert_int_equal(loaded_take_result(&l, 0, 1, 1, &later), 0);
    /* A final one counts from whichever attempt, once. */
    assert_int_equal(loaded_take_result(&l, 0, 1, 1, &sent), 1);
    assert_int_equal(loaded_take_result(&l, 0, 3, 1, &bounced), 0);
    assert_int_equal(l.outcomes.items[0].state, QUEUE_RECIPIENT_DONE);
    assert_int_equal(loaded_pending(&l), 1);
    assert_int_equal(loaded_take_result(&l, 2, 1, 1, &sent), ERR_SYNTAX);
    loaded_fini(&l);
}

static void test_state_replaces_results(void **state)
{
    struct queue_recipient more = {.address = SPAN_LIT("e@f"), .notify = QUEUE_NOTIFY_NEVER};
    struct deliver_result expanded = result(DELIVER_EXPANDED, "2.0.0");
    struct deliver_result later = result(DELIVER_DEFERRED, "4.2.1");
    struct loaded a, b;
    struct str head = {0};

    expanded.expansion = &more;
    expanded.expansion_count = 1;
    load(&a);
    load(&b);
    assert_int_equal(loaded_take_result(&a, 0, 1, 100, &expanded), 1);
    assert_int_equal(loaded_take_result(&a, 1, 1, 101, &later), 1);
    a.sequence = 9;
    a.flags = ENTRY_HOLD | ENTRY_WARNED;
    a.next_attempt_s = 12345;
    assert_int_equal(record_state(&head, &a, 5), 0);
    struct journal_record r = {.kind = RECORD_STATE, .head = str_span(&head)};
    /* Twice changes nothing. */
    assert_int_equal(loaded_apply(&b, &r), 0);
    assert_int_equal(loaded_apply(&b, &r), 0);
    assert_int_equal(b.sequence, 9);
    assert_int_equal(b.flags, a.flags);
    assert_int_equal(b.next_attempt_s, 12345);
    assert_int_equal(b.message.recipients.len, 3);
    assert_true(span_eq(b.message.recipients.items[2].address, more.address));
    assert_int_equal(b.message.recipients.items[2].notify, QUEUE_NOTIFY_NEVER);
    assert_int_equal(b.outcomes.items[0].state, QUEUE_RECIPIENT_DONE);
    assert_int_equal(b.outcomes.items[1].state, QUEUE_RECIPIENT_PENDING);
    assert_string_equal(b.outcomes.items[1].result.dsn, "4.2.1");
    assert_int_equal(b.outcomes.items[1].at_s, 101);
    assert_int_equal(b.outcomes.items[2].attempt, 0);
    loaded_fini(&a);
    loaded_fini(&b);
    str_fini(&head);
}

static void test_result_record(void **state)
{
    struct deliver_result sent = result(DELIVER_SENT, "2.0.0");
    struct loaded l;
    struct str head = {0}, one = {0};

    load(&l);
    record_result_begin(&head, 5, 3, 1, 77);
    deliver_result_encode(&sent, 1, &one);
    record_result_add(&head, str_span(&one));
    struct journal_record r = {.kind = RECORD_RESULT, .head = str_span(&head)};
    l.sequence = 3; /* a STATE record knew it already */
    assert_int_equal(loaded_apply(&l, &r), 0);
    assert_int_equal(loaded_pending(&l), 2);
    l.sequence = 2;
    assert_int_equal(loaded_apply(&l, &r), 0);
    assert_int_equal(loaded_pending(&l), 1);
    assert_int_equal(l.outcomes.items[1].at_s, 77);
    loaded_fini(&l);
    str_fini(&head);
    str_fini(&one);
}

static struct change change_at(uint64_t segment, uint64_t offset, uint32_t sequence, bool is_state)
{
    return (struct change){{segment, offset, 100}, sequence, is_state};
}

/* Which records of a message count, in whatever order they are found. */
static void test_changes_of_an_entry(void **state)
{
    struct entry *e = entry_new(900);
    struct change list[] = {
        change_at(1, 0, 1, false),   change_at(3, 0, 4, false), change_at(2, 0, 3, true),
        change_at(1, 100, 2, false), change_at(4, 0, 3, true),  change_at(1, 200, 3, true),
    };

    for (size_t i = 0; i < COUNT_OF(list); i++)
        assert_int_equal(entry_add_change(e, &list[i]), 0);
    assert_int_equal(e->change_count, 2);
    assert_int_equal(e->changes[0].sequence, 3);
    assert_int_equal(e->changes[0].at.segment, 4); /* the copy in the highest segment */
    assert_int_equal(entry_sequence(e), 4);
    assert_int_equal(segment_live(1), 0);
    assert_int_equal(segment_live(2), 0);
    assert_int_equal(segment_live(3), 100);
    assert_int_equal(segment_live(4), 100);
    entry_free(e);
    assert_int_equal(segment_live(3), 0);
}

static void test_copies_of_a_message(void **state)
{
    struct entry *e = entry_new(901);

    entry_set_message(e, &(struct journal_position){7, 0, 50});
    entry_set_message(e, &(struct journal_position){5, 0, 50});
    assert_int_equal(e->message.segment, 7);
    assert_int_equal(e->oldest_segment, 5);
    entry_set_message(e, &(struct journal_position){9, 0, 50});
    assert_int_equal(e->message.segment, 9);
    assert_int_equal(segment_live(7), 0);
    assert_int_equal(segment_live(9), 50);
    entry_free(e);
}

static void test_due_order(void **state)
{
    enum { N = 500 };
    struct entry *all[N];
    int64_t last = 0;

    for (int i = 0; i < N; i++) {
        all[i] = entry_new(1000 + (uint64_t)i);
        all[i]->next_attempt_s = (i * 7919) % 1009;
        entry_move(all[i], ENTRY_DEFERRED);
    }
    for (int i = 0; i < N; i += 3)
        entry_free(all[i]);
    size_t seen = 0;
    struct entry *e;
    while ((e = entry_next_due()) != NULL) {
        assert_true(e->next_attempt_s >= last);
        last = e->next_attempt_s;
        entry_free(e);
        seen++;
    }
    assert_int_equal(seen, N - (N + 2) / 3);
    assert_int_equal(entry_count(ENTRY_DEFERRED), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_are_idempotent),
        cmocka_unit_test(test_state_replaces_results),
        cmocka_unit_test(test_result_record),
        cmocka_unit_test(test_changes_of_an_entry),
        cmocka_unit_test(test_copies_of_a_message),
        cmocka_unit_test(test_due_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
