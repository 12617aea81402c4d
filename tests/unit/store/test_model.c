/* Random commands on two views, compared with a model after each; in between the
 * store is closed, its index deleted, its segments cleaned. */
#include "tests/unit/store/support_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BOXES = 2, STEPS = 400, LIVES = 6, NAMES = 70 };

/* Keywords by name: more of them than an account can have at a time. */
struct names {
    bool has[NAMES];
};

struct model_message {
    uint32_t uid;
    unsigned n;
    uint32_t flags;
    struct names keywords;
    size_t extra;
};

struct model_box {
    uint32_t id, uidvalidity;
    ARRAY(struct model_message) messages;
};

/* What a client knows: only what it was told. */
struct shadow {
    struct store_view *view;
    unsigned box;
    ARRAY(struct store_message) messages;
    int names[STORE_KEYWORDS_MAX]; /* what the numbers meant at the last refresh, -1: nothing */
};

static struct {
    struct place place;
    struct store_account *account;
    struct model_box boxes[BOXES];
    struct shadow shadows[2];
    unsigned counter;
    uint64_t seed;
} m;

static unsigned below(unsigned n)
{
    m.seed = m.seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((m.seed >> 33) % n);
}

/* --- keywords --- */

static struct names some_names(void)
{
    struct names out = {0};

    for (unsigned n = below(8) == 0 ? 60 : below(4); n > 0; n--)
        out.has[below(NAMES)] = true;
    return out;
}

/* As the store takes them. */
static size_t spell(const struct names *n, char texts[NAMES][8], struct span spans[NAMES])
{
    size_t count = 0;

    for (unsigned i = 0; i < NAMES; i++) {
        if (!n->has[i])
            continue;
        snprintf(texts[count], 8, "k%u", i);
        spans[count] = span_cstr(texts[count]);
        count++;
    }
    return count;
}

/* Whether there are numbers for all that messages have, and for these. */
static bool fits(const struct names *wanted)
{
    struct names all = *wanted;
    unsigned count = 0;

    for (unsigned b = 0; b < BOXES; b++) {
        for (size_t i = 0; i < m.boxes[b].messages.len; i++) {
            for (unsigned k = 0; k < NAMES; k++)
                all.has[k] |= m.boxes[b].messages.items[i].keywords.has[k];
        }
    }
    for (unsigned k = 0; k < NAMES; k++)
        count += all.has[k];
    return count <= STORE_KEYWORDS_MAX;
}

static void read_names(const struct store_view *v, int out[STORE_KEYWORDS_MAX])
{
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        uint64_t name;
        out[i] = -1;
        if (i >= v->keyword_count || v->keywords[i].p == NULL)
            continue;
        assert_int_equal(span_to_u64(span_drop(v->keywords[i], 1), &name), 0);
        out[i] = (int)name;
    }
}

/* Who has a name for a number hears when it gets another one. */
static void note_names(struct shadow *s, bool is_changed)
{
    int names[STORE_KEYWORDS_MAX];

    read_names(s->view, names);
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++)
        assert_true(names[i] == s->names[i] || s->names[i] == -1 || is_changed);
    memcpy(s->names, names, sizeof(names));
}

static struct names names_of(const struct shadow *s, uint64_t bits)
{
    struct names out = {0};

    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        if ((bits >> i & 1) == 0)
            continue;
        assert_int_not_equal(s->names[i], -1);
        out.has[s->names[i]] = true;
    }
    return out;
}

/* A message of the view has the names that it has in the model; one that is gone has none
 * that the client was not told of it before. */
static void check_names(const struct shadow *s, const struct names *before)
{
    const struct model_box *box = &m.boxes[s->box];
    size_t k = 0;

    for (size_t i = 0; i < s->view->messages.len; i++) {
        const struct store_message *message = &s->view->messages.items[i];
        struct names now = names_of(s, message->keywords);
        while (k < box->messages.len && box->messages.items[k].uid < message->uid)
            k++;
        if (k < box->messages.len && box->messages.items[k].uid == message->uid) {
            assert_memory_equal(&now, &box->messages.items[k].keywords, sizeof(now));
            continue;
        }
        for (unsigned n = 0; n < NAMES; n++)
            assert_true(!now.has[n] || before[i].has[n]);
    }
}

/* --- comparing --- */

static void apply_news(struct shadow *s, const struct store_news *news)
{
    size_t known;

    for (size_t i = 0; i < news->expunged.len; i++) {
        size_t at = news->expunged.items[i] - 1;
        assert_true(at < s->messages.len);
        assert_int_equal(s->messages.items[at].uid, news->expunged_uids.items[i]);
        array_remove(&s->messages, at);
    }
    for (size_t i = 0; i < news->changed.len; i++) {
        size_t at = news->changed.items[i] - 1;
        assert_true(at < s->messages.len);
        s->messages.items[at] = s->view->messages.items[at];
    }
    known = s->messages.len;
    for (size_t i = 0; i < news->arrived; i++) {
        struct store_message *item = array_push(&s->messages);
        assert_non_null(item);
        *item = s->view->messages.items[known + i];
    }
    assert_int_equal(s->messages.len, s->view->messages.len);
}

static void refresh(struct shadow *s, bool may_expunge)
{
    const struct model_box *box = &m.boxes[s->box];
    static struct names before[1024];
    struct store_news news;

    assert_true(s->messages.len <= COUNT_OF(before));
    for (size_t i = 0; i < s->messages.len; i++)
        before[i] = names_of(s, s->messages.items[i].keywords);
    assert_int_equal(store_view_refresh(s->view, may_expunge, &news), 0);
    apply_news(s, &news);
    note_names(s, news.keywords_changed);
    store_news_free(&news);
    check_names(s, before);
    for (size_t i = 0; i < s->messages.len; i++) {
        assert_int_equal(s->messages.items[i].uid, s->view->messages.items[i].uid);
        if (may_expunge) {
            assert_int_equal(s->messages.items[i].flags, s->view->messages.items[i].flags);
            assert_int_equal(s->messages.items[i].keywords, s->view->messages.items[i].keywords);
        }
    }
    if (!may_expunge)
        return;
    assert_int_equal(s->view->messages.len, box->messages.len);
    for (size_t i = 0; i < box->messages.len; i++) {
        assert_int_equal(s->view->messages.items[i].uid, box->messages.items[i].uid);
        assert_int_equal(s->view->messages.items[i].flags, box->messages.items[i].flags);
    }
}

static void check_bodies(struct shadow *s)
{
    const struct model_box *box = &m.boxes[s->box];

    refresh(s, true);
    for (size_t i = 0; i < box->messages.len; i += 1 + below(4)) {
        const struct model_message *message = &box->messages.items[i];
        struct str want = {0}, got = {0};
        message_text(&want, message->n, message->extra);
        assert_int_equal(store_body_read(s->view, message->uid, &got), 0);
        assert_true(span_eq(str_span(&want), str_span(&got)));
        str_fini(&want);
        str_fini(&got);
    }
}

/* --- commands --- */

static void add_to_model(unsigned box, uint32_t uid, unsigned n, uint32_t flags,
                         struct names keywords, size_t extra)
{
    struct model_message *message = array_push(&m.boxes[box].messages);

    assert_non_null(message);
    *message = (struct model_message){uid, n, flags, keywords, extra};
}

static void do_append(void)
{
    unsigned box = below(BOXES), n = ++m.counter, flags = below(32);
    size_t extra = below(20) == 0 ? 20000 : below(3000);
    struct names keywords = some_names();
    char texts[NAMES][8];
    struct span spans[NAMES];
    struct store_append message = {.fd = -1, .flags = flags, .keywords = spans};
    int rc;
    struct store_appended out;
    struct str text = {0};
    char id[16];

    message_text(&text, n, extra);
    message.content = str_span(&text);
    snprintf(id, sizeof(id), "id %u", n);
    if (box == 0 && below(2) == 0) {
        message.delivery_id = span_cstr(id);
        keywords = (struct names){0};
    }
    message.keyword_count = spell(&keywords, texts, spans);
    rc = store_append(m.account, m.boxes[box].id, &message, 1, &out);
    assert_int_equal(rc, fits(&keywords) ? 0 : ERR_LIMIT);
    if (rc == 0)
        add_to_model(box, out.uid, n, flags, keywords, extra);
    str_fini(&text);
}

/* Some UIDs of the view, ascending. */
static size_t choose(const struct shadow *s, uint32_t *uids, unsigned share)
{
    size_t count = 0;

    for (size_t i = 0; i < s->view->messages.len; i++) {
        if (below(share) == 0)
            uids[count++] = s->view->messages.items[i].uid;
    }
    return count;
}

static bool is_chosen(const uint32_t *uids, size_t count, uint32_t uid)
{
    for (size_t i = 0; i < count; i++) {
        if (uids[i] == uid)
            return true;
    }
    return false;
}

static void do_flags(struct shadow *s, const uint32_t *uids, size_t count)
{
    enum store_flag_op op = (enum store_flag_op)below(3);
    uint32_t flags = below(32);
    struct names keywords = some_names();
    char texts[NAMES][8];
    struct span spans[NAMES];
    struct store_flag_change change = {.op = op, .flags = flags, .keywords = spans};
    struct model_box *box = &m.boxes[s->box];
    int rc;

    change.keyword_count = spell(&keywords, texts, spans);
    rc = store_set_flags(s->view, uids, count, &change, NULL);
    assert_int_equal(rc, count == 0 || op == STORE_FLAGS_REMOVE || fits(&keywords) ? 0 : ERR_LIMIT);
    if (rc < 0)
        return;
    for (size_t i = 0; i < box->messages.len; i++) {
        struct model_message *x = &box->messages.items[i];
        if (!is_chosen(uids, count, x->uid))
            continue;
        x->flags = op == STORE_FLAGS_SET   ? flags
                   : op == STORE_FLAGS_ADD ? x->flags | flags
                                           : x->flags & ~flags;
        for (unsigned k = 0; k < NAMES; k++)
            x->keywords.has[k] = op == STORE_FLAGS_SET   ? keywords.has[k]
                                 : op == STORE_FLAGS_ADD ? x->keywords.has[k] || keywords.has[k]
                                                         : x->keywords.has[k] && !keywords.has[k];
    }
}

static void drop(struct model_box *box, const uint32_t *uids, size_t count, bool any)
{
    for (size_t i = box->messages.len; i > 0; i--) {
        const struct model_message *x = &box->messages.items[i - 1];
        if ((uids == NULL || is_chosen(uids, count, x->uid)) && (any || x->flags & STORE_DELETED))
            array_remove(&box->messages, i - 1);
    }
}

static void do_expunge(struct shadow *s, const uint32_t *uids, size_t count)
{
    bool any = below(2) == 0, all = below(8) == 0;

    assert_int_equal(store_expunge(s->view, all ? NULL : uids, all ? 0 : count, any && !all), 0);
    drop(&m.boxes[s->box], all ? NULL : uids, count, any && !all);
}

static void do_copy(struct shadow *s, const uint32_t *uids, size_t count)
{
    unsigned to = below(BOXES);
    bool move = below(2) == 0;
    struct model_box *box = &m.boxes[s->box];
    struct store_copied copied;

    assert_int_equal(store_copy(s->view, uids, count, m.boxes[to].id, move, &copied), 0);
    for (size_t i = 0; i < copied.from.len; i++) {
        for (size_t k = 0; k < box->messages.len; k++) {
            struct model_message x = box->messages.items[k];
            if (x.uid == copied.from.items[i]) {
                add_to_model(to, copied.to.items[i], x.n, x.flags, x.keywords, x.extra);
                break;
            }
        }
    }
    if (move && copied.from.len > 0)
        drop(box, copied.from.items, copied.from.len, true);
    store_copied_free(&copied);
}

static void open_views(void)
{
    assert_int_equal(store_open(m.place.store, SPAN_LIT("u"), true, &m.account), 0);
    m.boxes[0].id = STORE_INBOX;
    m.boxes[1].id = find_mailbox(m.account, "Junk");
    for (unsigned i = 0; i < 2; i++) {
        struct shadow *s = &m.shadows[i];
        s->box = below(BOXES);
        assert_int_equal(store_view_open(m.account, m.boxes[s->box].id, false, &s->view), 0);
        if (m.boxes[s->box].uidvalidity != 0)
            assert_int_equal(s->view->uidvalidity, m.boxes[s->box].uidvalidity);
        m.boxes[s->box].uidvalidity = s->view->uidvalidity;
        read_names(s->view, s->names);
        array_clear(&s->messages);
        for (size_t k = 0; k < s->view->messages.len; k++)
            *array_push(&s->messages) = s->view->messages.items[k];
    }
}

static void close_views(void)
{
    for (unsigned i = 0; i < 2; i++) {
        store_view_close(m.shadows[i].view);
        array_free(&m.shadows[i].messages);
    }
    store_close(m.account);
}

static void remove_index(void)
{
    static const char *const files[] = {"index", "index-lock", "index-boot"};
    char path[256];

    for (size_t i = 0; i < COUNT_OF(files); i++) {
        place_path(&m.place, "u", files[i], path);
        unlink(path);
    }
}

static void do_reopen(void)
{
    close_views();
    place_reopen(&m.place);
    if (below(2) == 0)
        remove_index();
    open_views();
}

static void do_renew(void)
{
    uint32_t before = m.boxes[0].uidvalidity > m.boxes[1].uidvalidity ? m.boxes[0].uidvalidity
                                                                      : m.boxes[1].uidvalidity;

    assert_int_equal(store_renew(m.account), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct store_news news;
        assert_int_equal(store_view_refresh(m.shadows[i].view, true, &news), -ESTALE);
    }
    close_views();
    m.boxes[0].uidvalidity = m.boxes[1].uidvalidity = 0;
    open_views();
    for (unsigned i = 0; i < 2; i++)
        assert_true(m.shadows[i].view->uidvalidity > before);
}

static void do_clean(void)
{
    bool more = true;

    for (int i = 0; more && i < 10; i++)
        assert_int_equal(store_clean(m.account, &more), 0);
}

static void step(void)
{
    struct shadow *s = &m.shadows[below(2)];
    uint32_t uids[4096];
    size_t count;

    if (below(40) == 0)
        do_reopen();
    if (below(30) == 0)
        do_clean();
    if (below(60) == 0)
        do_renew();
    if (below(60) == 0)
        assert_int_equal(store_rebuild(m.account), 0);
    if (below(3) > 0 || s->view->is_parked)
        refresh(s, below(3) > 0);
    if (below(8) == 0) {
        store_view_park(s->view);
        return;
    }
    if (s->view->is_parked)
        return;
    count = choose(s, uids, 1 + below(6));
    switch (below(6)) {
    case 0:
        do_flags(s, uids, count);
        break;
    case 1:
        do_expunge(s, uids, count);
        break;
    case 2:
        if (m.boxes[0].messages.len + m.boxes[1].messages.len < 400)
            do_copy(s, uids, count);
        break;
    case 3:
        check_bodies(s);
        break;
    default:
        do_append();
    }
}

static void model_main(void *arg)
{
    struct str report = {0};
    uint64_t bytes, messages;

    open_views();
    for (int i = 0; i < STEPS; i++)
        step();
    for (int i = 0; i < 2; i++)
        check_bodies(&m.shadows[i]);
    assert_int_equal(store_usage(m.account, &bytes, &messages), 0);
    assert_int_equal(messages, m.boxes[0].messages.len + m.boxes[1].messages.len);
    assert_int_equal(store_verify(m.account, &report), 0);
    assert_string_equal(str_cstr(&report), "");
    str_fini(&report);
    close_views();
    array_free(&m.boxes[0].messages);
    array_free(&m.boxes[1].messages);
}

static void test_model(void **state)
{
    const char *seed = getenv("SEED");
    uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;

    for (uint64_t life = 0; life < (seed != NULL ? 1 : LIVES); life++) {
        memset(&m, 0, sizeof(m));
        m.seed = first + life;
        place_make(&m.place);
        m.place.options.segment_size = 64 * 1024;
        place_reopen(&m.place);
        run(model_main, NULL);
        place_remove(&m.place);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
