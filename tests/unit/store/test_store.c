/* Accounts, mailboxes, messages and views on a real directory. */
#include "tests/unit/store/support_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

/* --- accounts --- */

static void accounts_main(void *arg)
{
    static const char *const bad[] = {"", ".x", "a/b", "a b", "\xc3\xa4"};
    struct store_account *a, *b;
    struct store_listing list;
    struct arena arena = {0};
    struct store *second;

    assert_int_equal(store_open(place.store, SPAN_LIT("u1"), false, &a), ERR_NOT_FOUND);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(store_open(place.store, span_cstr(bad[i]), true, &a), -EINVAL);
    a = open_account("u1");
    assert_int_equal(store_open(place.store, SPAN_LIT("u1"), false, &b), 0);
    assert_ptr_equal(a, b);
    assert_int_equal(store_new(&second, place.rootfd, &place.options), -EBUSY);
    assert_int_equal(store_list(a, &arena, &list), 0);
    assert_int_equal(list.boxes.len, 5);
    assert_true(span_eq(list.boxes.items[0].name, SPAN_LIT("INBOX")));
    assert_int_equal(list.boxes.items[0].id, STORE_INBOX);
    assert_true(span_eq(list.boxes.items[1].special_use, SPAN_LIT("\\Drafts")));
    for (size_t i = 0; i < list.boxes.len; i++)
        assert_true(list.boxes.items[i].is_selectable && list.boxes.items[i].is_subscribed);
    assert_int_equal(list.subscriptions.len, 5);
    store_listing_free(&list);
    arena_reset(&arena);
    store_close(a);
    store_close(b);
}

static void test_accounts(void **state)
{
    run(accounts_main, NULL);
}

/* --- messages --- */

static void messages_main(void *arg)
{
    struct store_account *a = open_account("u1");
    uint32_t uids[4];
    struct store_view *v;
    struct store_cached cached[3];
    size_t count = 3;
    struct arena arena = {0};
    struct store_body body;
    uint64_t bytes, messages;
    char start[11] = {0};

    uids[0] = append_message(a, STORE_INBOX, 1, 0);
    uids[1] = append_message(a, STORE_INBOX, 2, STORE_SEEN);
    uids[2] = deliver_message(a, 3, "q1 x");
    assert_int_equal(deliver_message(a, 3, "q1 x"), uids[2]);
    assert_true(uids[0] < uids[1] && uids[1] < uids[2]);
    v = open_view(a, STORE_INBOX);
    assert_int_equal(v->messages.len, 3);
    assert_int_equal(v->recent.len, 3);
    assert_int_equal(v->uidnext, uids[2] + 1);
    assert_int_equal(v->messages.items[1].flags, STORE_SEEN);
    check_body(v, uids[0], 1, 300);
    assert_int_equal(store_cached(v, uids, &count, SIZE_MAX, &arena, cached), 0);
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++)
        assert_true(span_search(cached[i].envelope, SPAN_LIT("\"number ")) > 0 &&
                    span_search(cached[i].bodystructure, SPAN_LIT("plain")) > 0);
    assert_int_equal(store_body_open(v, uids[2], &body), 0);
    assert_int_equal(body.length, v->messages.items[2].size);
    assert_int_equal(store_body_read_at(&body, 0, start, 10), 0);
    assert_string_equal(start, "Return-Pat");
    assert_int_equal(store_body_read_at(&body, 7, start, 3), 0);
    assert_string_equal(start, "Paturn-Pat");
    assert_int_equal(store_body_read_at(&body, UINT64_C(1) << 40, start, 1), ERR_EOF);
    assert_int_equal(store_view_find(v, uids[1]), 1);
    assert_int_equal(store_view_find(v, uids[2] + 1), 3);
    close(body.fd);
    assert_int_equal(store_body_open(v, 9999, &body), ERR_NOT_FOUND);
    assert_int_equal(store_usage(a, &bytes, &messages), 0);
    assert_int_equal(messages, 3);
    arena_reset(&arena);
    store_view_close(v);
    v = open_view(a, STORE_INBOX);
    assert_int_equal(v->recent.len, 0);
    store_view_close(v);
    store_close(a);
}

static void test_messages(void **state)
{
    run(messages_main, NULL);
}

/* --- fields --- */

static void count_fields(void *arg, size_t i, struct span fields)
{
    char want[80];

    snprintf(want, sizeof(want), "From: a@example.test\r\nSubject: number %zu\r\n\r\n", i);
    assert_true(span_eq(fields, span_cstr(want)));
    ++*(size_t *)arg;
}

static void check_field_count(struct store_view *v, const uint32_t *uids, size_t count, size_t want)
{
    size_t seen = 0;

    assert_int_equal(store_fields(v, uids, count, count_fields, &seen), 0);
    assert_int_equal(seen, want);
}

/* From the index, and from the messages where a rebuild has lost them: those are kept then,
 * beside ENVELOPE. */
static void fields_main(void *arg)
{
    enum { MESSAGES = 2000 }; /* more than a segment */
    struct store_account *a = open_account("u1");
    uint32_t *uids = calloc(MESSAGES + 1, sizeof(*uids));
    struct arena arena = {0};
    struct store_cached cached;
    struct store_copied copied = {0};
    struct store_view *v;
    size_t count = 1;

    for (unsigned i = 0; i < MESSAGES; i++)
        uids[i] = append_message(a, STORE_INBOX, i, 0);
    uids[MESSAGES] = 999999; /* never was */
    v = open_view(a, STORE_INBOX);
    check_field_count(v, uids, MESSAGES + 1, MESSAGES);
    assert_int_equal(store_rebuild(a), 0);
    check_field_count(v, uids, MESSAGES + 1, MESSAGES);
    assert_int_equal(store_cached(v, uids, &count, SIZE_MAX, &arena, &cached), 0);
    assert_true(span_search(cached.envelope, SPAN_LIT("number 0")) > 0);
    check_field_count(v, uids, MESSAGES + 1, MESSAGES);
    assert_int_equal(store_create(a, SPAN_LIT("copy"), SPAN_NONE), 0);
    assert_int_equal(store_copy(v, uids, 10, find_mailbox(a, "copy"), true, &copied), 0);
    check_field_count(v, uids, MESSAGES + 1, MESSAGES - 10);
    store_view_close(v);
    v = open_view(a, find_mailbox(a, "copy"));
    check_field_count(v, copied.to.items, 10, 10);
    store_copied_free(&copied);
    store_view_close(v);
    store_close(a);
    arena_reset(&arena);
    free(uids);
}

static void test_fields(void **state)
{
    run(fields_main, NULL);
}

/* --- large messages --- */

static void blob_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct str text = {0};
    struct store_append m = {.fd = -1};
    struct store_appended out;
    struct store_cached cached;
    size_t count = 1;
    struct arena arena = {0};
    struct store_view *v;

    message_text(&text, 7, 100000);
    m.content = str_span(&text);
    assert_int_equal(store_append(a, STORE_INBOX, &m, 1, &out), 0);
    v = open_view(a, STORE_INBOX);
    check_body(v, out.uid, 7, 100000);
    assert_int_equal(store_rebuild(a), 0);
    assert_int_equal(store_cached(v, &out.uid, &count, SIZE_MAX, &arena, &cached), 0);
    assert_true(span_search(cached.envelope, SPAN_LIT("number 7")) > 0);
    check_body(v, out.uid, 7, 100000);
    store_view_close(v);
    arena_reset(&arena);
    str_fini(&text);
    store_close(a);
}

static void test_blob(void **state)
{
    run(blob_main, NULL);
}

/* The tail file as it was before the last record: what a writer leaves that is killed
 * between its record and its hint. */
static void with_old_hint(void (*change)(void))
{
    char path[256], hint[512];
    ssize_t n;
    int fd;

    place_path(&place, "u1", "tail", path);
    fd = open(path, O_RDWR);
    n = pread(fd, hint, sizeof(hint), 0);
    assert_true(n > 0);
    change();
    assert_int_equal(pwrite(fd, hint, (size_t)n, 0), n);
    fd_close(&fd);
}

static void deliver_twice_main(void *arg)
{
    struct store_append m = {
        .fd = -1, .delivery_id = SPAN_LIT("job 2"), .content = SPAN_LIT("a: b\r\n\r\n")};
    struct store_account *a = open_account("u1");
    struct store_appended *out = arg;

    m.is_retry = out->uid != 0;
    assert_int_equal(store_append(a, STORE_INBOX, &m, 1, out), 0);
    store_close(a);
}

static struct store_appended delivered[2];

static void deliver_2(void)
{
    run(deliver_twice_main, &delivered[0]);
}

static void look_main(void *arg)
{
    struct store_account *a = open_account("u1");

    deliver_message(a, 1, "job 1");
    store_view_close(open_view(a, STORE_INBOX)); /* there is an index now */
    store_close(a);
}

static void verify_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct str report = {0};

    assert_int_equal(store_verify(a, &report), 0);
    assert_string_equal(str_cstr(&report), "");
    str_fini(&report);
    store_close(a);
}

static void test_a_record_without_a_hint(void **state)
{
    memset(delivered, 0, sizeof(delivered));
    run(look_main, NULL);
    with_old_hint(deliver_2);
    place_reopen(&place);
    run(verify_main, NULL);
    /* It is found when the same job comes again, although no hint tells of it. */
    place_reopen(&place);
    delivered[1].uid = 1;
    run(deliver_twice_main, &delivered[1]);
    assert_int_equal(delivered[1].uid, delivered[0].uid);
}

/* --- recent deliveries --- */

enum { DELIVERIES = 256 };

struct retry {
    unsigned n;
    uint32_t uid;
};

static void remember_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct retry *first = arg;
    char id[16];

    /* Other changes take numbers, too. */
    for (unsigned n = 0; n < DELIVERIES; n++) {
        uint32_t uid;
        snprintf(id, sizeof(id), "job %u", n);
        uid = deliver_message(a, n, id);
        append_message(a, STORE_INBOX, n, 0);
        if (n == first->n)
            first->uid = uid;
    }
    store_close(a);
}

/* Whether a job that comes again is answered with the UID that it had. */
static void retry_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct retry *job = arg;
    char id[16];
    struct store_append m = {.fd = -1, .content = SPAN_LIT("a: b\r\n\r\n"), .is_retry = true};
    struct store_appended out = {0};

    snprintf(id, sizeof(id), "job %u", job->n);
    m.delivery_id = span_cstr(id);
    assert_int_equal(store_append(a, STORE_INBOX, &m, 1, &out), 0);
    job->uid = out.uid;
    store_close(a);
}

static void rebuild_main(void *arg)
{
    struct store_account *a = open_account("u1");

    assert_int_equal(store_rebuild(a), 0);
    store_close(a);
}

static void test_last_deliveries_are_known(void **state)
{
    struct retry first = {0}, job = {0}, other = {.n = 1000};

    run(remember_main, &first);
    place_reopen(&place); /* as another process: only the index knows */
    run(retry_main, &job);
    assert_int_equal(job.uid, first.uid);
    run(verify_main, NULL);
    run(rebuild_main, NULL);
    place_reopen(&place);
    run(retry_main, &job);
    assert_int_equal(job.uid, first.uid);
    run(retry_main, &other); /* one more than there is room for */
    place_reopen(&place);
    run(retry_main, &job);
    assert_true(job.uid > other.uid);
    run(verify_main, NULL);
}

/* Sessions keep their index while another one is made beside it. */
static void verify_open_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct store_view *v = open_view(a, STORE_INBOX);
    struct str report = {0};
    char path[256];

    for (unsigned n = 1; n <= 20; n++)
        append_message(a, STORE_INBOX, n, 0);
    assert_int_equal(store_verify(a, &report), 0);
    assert_string_equal(str_cstr(&report), "");
    check_refresh(v, true, "+20");
    assert_int_equal(v->recent.len, 20);
    place_path(&place, "u1", "verify", path);
    assert_int_equal(access(path, F_OK), -1);
    str_fini(&report);
    store_view_close(v);
    store_close(a);
}

static void test_verify_beside_a_session(void **state)
{
    run(verify_open_main, NULL);
}

/* --- files that may be lost --- */

static void deliver_main(void *arg)
{
    struct store_account *a;

    assert_int_equal(store_open(place.store, SPAN_LIT("u1"), false, &a), 0);
    *(uint32_t *)arg = deliver_message(a, 2, "job 3");
    store_close(a);
}

static void test_a_lost_tail(void **state)
{
    uint32_t uid, next;
    char path[256];

    run(look_main, NULL);
    run(deliver_main, &uid);
    place_reopen(&place);
    place_path(&place, "u1", "tail", path);
    assert_int_equal(unlink(path), 0);
    run(deliver_main, &next);
    assert_true(next > uid + 1);
    run(verify_main, NULL);
}

/* --- a new uidvalidity --- */

static void renew_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct store_listing before, after;
    struct arena arena = {0};
    struct store_view *v;
    struct store_news news;
    uint32_t uid = append_message(a, STORE_INBOX, 1, STORE_SEEN), last = 0, highest = 0;
    uint64_t modseq;

    assert_int_equal(store_create(a, SPAN_LIT("x/y"), SPAN_NONE), 0); /* x is \Noselect */
    assert_int_equal(store_list(a, &arena, &before), 0);
    for (size_t i = 0; i < before.boxes.len; i++) {
        if (before.boxes.items[i].uidvalidity > last)
            last = before.boxes.items[i].uidvalidity;
    }
    v = open_view(a, STORE_INBOX);
    modseq = v->modseq;
    assert_int_equal(store_renew(a), 0);
    assert_int_equal(store_view_refresh(v, true, &news), -ESTALE);
    store_view_close(v);
    assert_int_equal(store_list(a, &arena, &after), 0);
    assert_int_equal(after.boxes.len, before.boxes.len);
    for (size_t i = 0; i < after.boxes.len; i++) {
        assert_int_equal(after.boxes.items[i].id, before.boxes.items[i].id);
        assert_true(after.boxes.items[i].uidvalidity > last + 3600);
        assert_true(after.boxes.items[i].uidvalidity > (uint64_t)clock_wall_s() + 3600);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(after.boxes.items[i].uidvalidity,
                                 after.boxes.items[k].uidvalidity);
        if (after.boxes.items[i].uidvalidity > highest)
            highest = after.boxes.items[i].uidvalidity;
    }
    v = open_view(a, STORE_INBOX);
    assert_int_equal(v->messages.len, 1);
    assert_int_equal(v->messages.items[0].uid, uid);
    assert_int_equal(v->messages.items[0].flags, STORE_SEEN);
    assert_true(v->modseq > modseq + 1000000);
    check_body(v, uid, 1, 300);
    assert_true(append_message(a, STORE_INBOX, 2, 0) > uid + 1000000);
    check_refresh(v, true, "+1");
    store_view_close(v);
    assert_int_equal(store_create(a, SPAN_LIT("new"), SPAN_NONE), 0);
    store_listing_free(&before);
    assert_int_equal(store_list(a, &arena, &before), 0);
    for (size_t i = 0; i < before.boxes.len; i++) {
        if (span_eq(before.boxes.items[i].name, SPAN_LIT("new")))
            assert_int_equal(before.boxes.items[i].uidvalidity, highest + 1);
    }
    store_listing_free(&before);
    store_listing_free(&after);
    arena_reset(&arena);
    store_close(a);
}

static void test_renew(void **state)
{
    run(renew_main, NULL);
    run(verify_main, NULL);
}

/* --- mailboxes --- */

static void mailboxes_main(void *arg)
{
    struct store_account *a = open_account("u1");
    struct store_mailbox box, again;
    struct arena arena = {0};
    struct store_view *v;
    struct store_news news;

    assert_int_equal(store_create(a, SPAN_LIT("a/b/c"), SPAN_NONE), 0);
    assert_int_equal(store_create(a, SPAN_LIT("a/b/c"), SPAN_NONE), ERR_EXISTS);
    assert_int_equal(store_create(a, SPAN_LIT("inbox"), SPAN_NONE), ERR_EXISTS);
    assert_int_equal(store_create(a, SPAN_LIT("a//c"), SPAN_NONE), ERR_SYNTAX);
    assert_int_equal(store_create(a, SPAN_LIT("x\ny"), SPAN_NONE), ERR_SYNTAX);
    assert_int_equal(store_find(a, SPAN_LIT("a/b"), &arena, &box), 0);
    assert_false(box.is_selectable);
    assert_int_equal(store_delete(a, SPAN_LIT("a/b")), ERR_DENIED);
    assert_int_equal(store_delete(a, SPAN_LIT("INBOX")), ERR_DENIED);
    assert_int_equal(store_create(a, SPAN_LIT("a/b"), SPAN_NONE), 0);
    assert_int_equal(store_find(a, SPAN_LIT("a/b"), &arena, &box), 0);
    append_message(a, box.id, 1, 0);
    v = open_view(a, box.id);
    assert_int_equal(store_delete(a, SPAN_LIT("a/b")), 0);
    assert_int_equal(store_view_refresh(v, true, &news), ERR_NOT_FOUND);
    store_view_close(v);
    assert_int_equal(store_create(a, SPAN_LIT("a/b"), SPAN_NONE), 0);
    assert_int_equal(store_find(a, SPAN_LIT("a/b"), &arena, &again), 0);
    assert_true(again.uidvalidity > box.uidvalidity && again.messages == 0);
    /* delete and create */
    assert_int_equal(store_find(a, SPAN_LIT("a/b/c"), &arena, &box), 0);
    assert_int_equal(store_delete(a, SPAN_LIT("a/b/c")), 0);
    assert_int_equal(store_create(a, SPAN_LIT("a/b/c/"), SPAN_NONE), 0);
    assert_int_equal(store_find(a, SPAN_LIT("a/b/c"), &arena, &again), 0);
    assert_true(again.uidvalidity > box.uidvalidity && again.id != box.id);
    /* rename */
    assert_int_equal(store_rename(a, SPAN_LIT("a"), SPAN_LIT("a/d")), ERR_DENIED);
    assert_int_equal(store_rename(a, SPAN_LIT("none"), SPAN_LIT("d")), ERR_NOT_FOUND);
    assert_int_equal(store_rename(a, SPAN_LIT("a"), SPAN_LIT("Junk")), ERR_EXISTS);
    assert_int_equal(store_rename(a, SPAN_LIT("a"), SPAN_LIT("z/y")), 0);
    assert_int_equal(find_mailbox(a, "z/y/b/c"), again.id);
    assert_int_equal(find_mailbox(a, "a/b/c"), 0);
    append_message(a, STORE_INBOX, 1, 0);
    append_message(a, STORE_INBOX, 2, 0);
    assert_int_equal(store_rename(a, SPAN_LIT("INBOX"), SPAN_LIT("old/mail")), 0);
    assert_int_equal(store_find(a, SPAN_LIT("old/mail"), &arena, &box), 0);
    assert_int_equal(box.messages, 2);
    assert_int_equal(store_find(a, SPAN_LIT("inbox"), &arena, &box), 0);
    assert_int_equal(box.messages, 0);
    /* subscriptions */
    assert_int_equal(store_subscribe(a, SPAN_LIT("gone"), true), 0);
    assert_int_equal(store_subscribe(a, SPAN_LIT("Junk"), false), 0);
    assert_int_equal(store_find(a, SPAN_LIT("Junk"), &arena, &box), 0);
    assert_false(box.is_subscribed);
    arena_reset(&arena);
    store_close(a);
}

static void test_mailboxes(void **state)
{
    run(mailboxes_main, NULL);
}

static void check_keyword(const struct store_view *v, unsigned number, const char *want)
{
    assert_true(number < v->keyword_count);
    assert_true(span_eq(v->keywords[number], span_cstr(want)));
    assert_true(store_view_keyword(v, span_cstr(want)) == 1ULL << number);
}

/* The name that a number has now. */
static void check_name(struct store_account *a, unsigned number, const char *want)
{
    struct store_view *v;

    assert_int_equal(store_view_open(a, STORE_INBOX, true, &v), 0);
    check_keyword(v, number, want);
    store_view_close(v);
}

static void keywords_main(void *arg)
{
    struct store_account *a = open_account("u1");
    uint32_t uids[2] = {append_message(a, STORE_INBOX, 1, 0), append_message(a, STORE_INBOX, 2, 0)};
    struct store_view *v = open_view(a, STORE_INBOX);
    struct store_news news;
    char name[16];

    assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_REMOVE, 0, "$Junk"), 0);
    check_refresh(v, true, "");
    assert_int_equal(v->keyword_count, 0);
    assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_ADD, 0, "$Junk $JUNK"), 0);
    assert_int_equal(store_view_keyword(v, SPAN_LIT("$jUNK")), 0);
    check_refresh(v, true, "*1");
    assert_int_equal(store_view_keyword(v, SPAN_LIT("$jUNK")), 1);
    for (unsigned i = 1; i < STORE_KEYWORDS_MAX; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_ADD, 0, name), 0);
        check_name(a, i, name);
    }
    check_name(a, 63, "k63");
    assert_int_equal(set_flags(v, uids + 1, 1, STORE_FLAGS_ADD, 0, "more"), ERR_LIMIT);
    /* A number that no message has any more is given to a new name, once it is needed. */
    assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_REMOVE, 0, "k7 k9"), 0);
    check_name(a, 7, "k7");
    assert_int_equal(store_view_refresh(v, true, &news), 0);
    assert_false(news.keywords_changed);
    store_news_free(&news);
    /* One that is asked for in the same change is in use. */
    assert_int_equal(set_flags(v, uids + 1, 1, STORE_FLAGS_ADD, 0, "more k7 still"), ERR_LIMIT);
    assert_int_equal(set_flags(v, uids + 1, 1, STORE_FLAGS_ADD, 0, "more k7"), 0);
    check_name(a, 7, "k7");
    check_name(a, 9, "more");
    assert_int_equal(store_view_refresh(v, true, &news), 0);
    assert_true(news.keywords_changed);
    store_news_free(&news);
    assert_true(v->messages.items[1].keywords == (1 << 7 | 1 << 9));
    assert_int_equal(set_flags(v, uids + 1, 1, STORE_FLAGS_ADD, 0, "other"), ERR_LIMIT);
    assert_int_equal(store_expunge(v, uids + 1, 1, true), 0);
    assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_ADD, 0, "other"), 0);
    check_name(a, 7, "other");
    assert_int_equal(store_rebuild(a), 0);
    check_name(a, 7, "other");
    check_name(a, 9, "more");
    store_view_close(v);
    store_close(a);
}

/* A view that was not refreshed keeps the names that its messages' numbers had. */
static void older_names_main(void *arg)
{
    struct store_account *a = open_account("u1");
    uint32_t uids[2] = {append_message(a, STORE_INBOX, 1, 0), append_message(a, STORE_INBOX, 2, 0)};
    struct store_view *v = open_view(a, STORE_INBOX), *old, *parked;
    struct store_news news;
    char name[16];

    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        assert_int_equal(set_flags(v, uids, 1, STORE_FLAGS_ADD, 0, name), 0);
    }
    old = open_view(a, STORE_INBOX);
    parked = open_view(a, STORE_INBOX);
    store_view_park(parked);
    assert_int_equal(parked->keyword_count, 0);
    assert_int_equal(store_expunge(v, uids, 1, true), 0);
    assert_int_equal(set_flags(v, uids + 1, 1, STORE_FLAGS_ADD, 0, "new"), 0);
    check_name(a, 0, "new");
    check_keyword(old, 0, "k0");
    assert_int_equal(store_view_keyword(old, SPAN_LIT("new")), 0);
    /* The message that is expunged, but not yet told, does not get the new name. */
    assert_int_equal(store_view_refresh(old, false, &news), 0);
    assert_true(news.keywords_changed);
    store_news_free(&news);
    check_keyword(old, 0, "new");
    check_keyword(old, 1, "k1");
    assert_int_equal(old->messages.len, 2);
    assert_true(old->messages.items[0].keywords == ~1ULL);
    assert_int_equal(old->messages.items[1].keywords, 1);
    assert_int_equal(store_view_refresh(parked, true, &news), 0);
    assert_true(news.keywords_changed);
    store_news_free(&news);
    check_keyword(parked, 0, "new");
    store_view_close(parked);
    store_view_close(old);
    store_view_close(v);
    store_close(a);
}

static void test_older_names(void **state)
{
    run(older_names_main, NULL);
}

static void test_keywords(void **state)
{
    run(keywords_main, NULL);
    run(verify_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_accounts, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_messages, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_fields, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_blob, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_a_record_without_a_hint, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_last_deliveries_are_known, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(test_verify_beside_a_session, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_tail, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_renew, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_mailboxes, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_keywords, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_older_names, place_setup, place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
