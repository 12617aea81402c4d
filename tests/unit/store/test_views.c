/* What sessions see of a mailbox while others change it. */
#include "tests/unit/store/support_store.h"

#include <errno.h>

static void views_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct store_view *v, *w;
    struct store_flag_change unseen = {.op = STORE_FLAGS_REMOVE, .flags = STORE_SEEN};
    struct store_uids refused = {0};
    uint32_t uids[6];

    for (unsigned i = 0; i < 5; i++)
        uids[i] = append_message(a, STORE_INBOX, i, 0);
    v = open_view(a, STORE_INBOX);
    w = open_view(a, STORE_INBOX);
    assert_int_equal(v->recent.len, 5);
    assert_int_equal(w->recent.len, 0);
    check_refresh(v, true, "");
    assert_int_equal(set_flags(v, uids + 1, 2, STORE_FLAGS_ADD, STORE_SEEN | STORE_DELETED, "a b"),
                     0);
    check_refresh(w, true, "*2 *3");
    assert_int_equal(w->messages.items[1].flags, STORE_SEEN | STORE_DELETED);
    assert_int_equal(w->messages.items[1].keywords, 3);
    check_refresh(v, false, "*2 *3");
    check_refresh(v, true, "");
    /* unchanged: no new modseq */
    assert_int_equal(set_flags(v, uids + 1, 2, STORE_FLAGS_ADD, STORE_SEEN, ""), 0);
    check_refresh(w, true, "");
    unseen.unchanged_since = v->messages.items[0].modseq;
    assert_int_equal(store_set_flags(v, uids, 5, &unseen, &refused), 0);
    assert_int_equal(refused.items.len, 4);
    array_free(&refused.items);
    assert_int_equal(store_expunge(v, NULL, 0, false), 0);
    uids[5] = append_message(a, STORE_INBOX, 6, 0);
    check_refresh(w, false, "+1");
    assert_int_equal(w->messages.len, 6);
    store_view_park(w);
    check_refresh(w, true, "-2 -2");
    assert_int_equal(w->messages.len, 4);
    assert_int_equal(w->recent.len, 1);
    check_refresh(v, true, "-2 -2 +1");
    store_view_park(v);
    store_view_park(w);
    assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_SET, STORE_FLAGGED, ""), -EINVAL);
    check_refresh(v, true, "");
    assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_SET, STORE_FLAGGED, ""), 0);
    assert_int_equal(store_expunge(v, uids + 3, 1, true), 0);
    check_refresh(w, true, "-2 *1");
    check_refresh(v, true, "-2 *1");
    store_view_close(v);
    store_view_close(w);
    store_close(a);
}

static void test_views(void **state)
{
    run(views_main, NULL);
}

static void copy_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct store_copied copied;
    struct store_view *v, *w;
    uint32_t uids[5], junk = find_mailbox(a, "Junk");
    uint64_t bytes, messages;

    for (unsigned i = 0; i < 5; i++)
        uids[i] = append_message(a, STORE_INBOX, i, i == 1 ? STORE_FLAGGED : 0);
    v = open_view(a, STORE_INBOX);
    w = open_view(a, junk);
    assert_int_equal(store_copy(v, uids, 3, junk, false, &copied), 0);
    assert_int_equal(copied.to.len, 3);
    assert_int_equal(copied.from.items[2], uids[2]);
    store_copied_free(&copied);
    check_refresh(w, true, "+3");
    assert_int_equal(w->messages.items[1].flags, STORE_FLAGGED);
    assert_int_equal(w->recent.len, 3);
    check_body(w, w->messages.items[2].uid, 2, 300);
    assert_int_equal(store_copy(v, uids + 3, 2, junk, true, &copied), 0);
    store_copied_free(&copied);
    check_refresh(v, true, "-4 -4");
    check_refresh(w, true, "+2");
    check_body(w, w->messages.items[4].uid, 4, 300);
    assert_int_equal(store_usage(a, &bytes, &messages), 0);
    assert_int_equal(messages, 8);
    assert_int_equal(store_copy(v, uids, 1, 12345, true, &copied), ERR_NOT_FOUND);
    store_view_close(v);
    store_view_close(w);
    store_close(a);
}

static void test_copy(void **state)
{
    run(copy_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_views, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_copy, place_setup, place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
