#include "tests/unit/store/support_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"

struct place place;

static void open_store(struct place *p)
{
    p->rootfd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->rootfd >= 0);
    assert_int_equal(store_new(&p->store, p->rootfd, &p->options), 0);
}

void place_make(struct place *p)
{
    *p = (struct place){.options = {.segment_size = 256 * 1024,
                                    .blob_threshold = 32 * 1024,
                                    .default_mailboxes = "Drafts Sent Trash Junk"}};
    snprintf(p->path, sizeof(p->path), "/tmp/waypost-store-XXXXXX");
    assert_non_null(mkdtemp(p->path));
    open_store(p);
}

void place_reopen(struct place *p)
{
    store_free(p->store);
    close(p->rootfd);
    open_store(p);
}

void place_remove(struct place *p)
{
    char command[128];

    store_free(p->store);
    close(p->rootfd);
    snprintf(command, sizeof(command), "rm -rf %s", p->path);
    assert_int_equal(system(command), 0);
}

void place_path(const struct place *p, const char *account, const char *file, char out[256])
{
    snprintf(out, 256, "%s/%02x/%s/%s", p->path, crc32c(0, account, strlen(account)) & 0xff,
             account, file);
}

int place_setup(void **state)
{
    place_make(&place);
    return 0;
}

int place_teardown(void **state)
{
    place_remove(&place);
    return 0;
}

struct store_account *open_account(const char *id)
{
    struct store_account *a = NULL;

    assert_int_equal(store_open(place.store, span_cstr(id), true, &a), 0);
    return a;
}

struct store_view *open_view(struct store_account *a, uint32_t mailbox)
{
    struct store_view *v = NULL;

    assert_int_equal(store_view_open(a, mailbox, false, &v), 0);
    return v;
}

void run(task_fn *main, void *arg)
{
    assert_int_equal(task_runtime_init(NULL), 0);
    assert_int_equal(task_runtime_run(main, arg), 0);
    task_runtime_fini();
}

void message_text(struct str *out, unsigned n, size_t extra)
{
    str_printf(out, "From: a@example.test\r\nSubject: number %u\r\n\r\n", n);
    for (size_t i = 0; i < extra; i += 60)
        str_printf(out, "%058zu\r\n", i + n);
    assert_int_equal(str_error(out), 0);
}

uint32_t append_message(struct store_account *a, uint32_t mailbox, unsigned n, uint32_t flags)
{
    struct str text = {0};
    struct store_append m = {.fd = -1, .flags = flags, .internal_date = 1000000 + n};
    struct store_appended out = {0};

    message_text(&text, n, 300);
    m.content = str_span(&text);
    assert_int_equal(store_append(a, mailbox, &m, 1, &out), 0);
    assert_true(out.uid > 0 && out.uidvalidity > 0);
    str_fini(&text);
    return out.uid;
}

uint32_t deliver_message(struct store_account *a, unsigned n, const char *delivery_id)
{
    struct str text = {0};
    struct store_append m = {.fd = -1, .delivery_id = span_cstr(delivery_id)};
    struct store_appended out = {0};

    message_text(&text, n, 300);
    m.content = str_span(&text);
    m.prefix = SPAN_LIT("Return-Path: <x@example.test>\r\n");
    assert_int_equal(store_append(a, STORE_INBOX, &m, 1, &out), 0);
    assert_true(out.uid > 0);
    str_fini(&text);
    return out.uid;
}

int set_flags(struct store_view *v, const uint32_t *uids, size_t count, enum store_flag_op op,
              uint32_t flags, const char *keywords)
{
    struct span names[STORE_KEYWORDS_MAX], rest = span_cstr(keywords);
    struct store_flag_change change = {.op = op, .flags = flags, .keywords = names};

    while (change.keyword_count < STORE_KEYWORDS_MAX &&
           span_token(&rest, " ", &names[change.keyword_count]))
        change.keyword_count++;
    return store_set_flags(v, uids, count, &change, NULL);
}

uint32_t find_mailbox(struct store_account *a, const char *name)
{
    struct arena arena = {0};
    struct store_mailbox box = {0};
    int rc = store_find(a, span_cstr(name), &arena, &box);

    arena_reset(&arena);
    return rc == 0 ? box.id : 0;
}

/* "-1 -1 *2 +3": expunged, changed, arrived. */
void check_refresh(struct store_view *v, bool may_expunge, const char *want)
{
    struct store_news news;
    struct str got = {0};

    assert_int_equal(store_view_refresh(v, may_expunge, &news), 0);
    for (size_t i = 0; i < news.expunged.len; i++)
        str_printf(&got, "%s-%u", got.len > 0 ? " " : "", news.expunged.items[i]);
    for (size_t i = 0; i < news.changed.len; i++)
        str_printf(&got, "%s*%u", got.len > 0 ? " " : "", news.changed.items[i]);
    if (news.arrived > 0)
        str_printf(&got, "%s+%u", got.len > 0 ? " " : "", news.arrived);
    assert_string_equal(str_cstr(&got), want);
    str_fini(&got);
    store_news_free(&news);
}

void check_body(struct store_view *v, uint32_t uid, unsigned n, size_t extra)
{
    struct str want = {0}, got = {0};

    message_text(&want, n, extra);
    assert_int_equal(store_body_read(v, uid, &got), 0);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
    str_fini(&want);
    str_fini(&got);
}
