#include "imapd/sync.h"

#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "imapd/flags.h"

int sync_note_told(struct session *s, uint32_t uid, uint32_t flags, uint64_t keywords)
{
    struct told *t = array_push(&s->told);

    if (t == NULL)
        return -ENOMEM;
    *t = (struct told){uid, flags, keywords};
    return 0;
}

void sync_forget_told(struct session *s)
{
    array_free(&s->told);
}

static bool is_told(const struct session *s, const struct store_message *m)
{
    size_t low = 0, high = s->told.len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->told.items[middle].uid < m->uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->told.len && s->told.items[low].uid == m->uid &&
           s->told.items[low].flags == m->flags && s->told.items[low].keywords == m->keywords;
}

void sync_say_count(struct session *s)
{
    session_say(s, "* %zu EXISTS", s->view->messages.len);
    session_say(s, "* %zu RECENT", s->view->recent.len);
    s->shown_recent = s->view->recent.len;
}

static void say_expunged(struct session *s, const struct store_news *news)
{
    for (size_t i = 0; i < news->expunged.len && !s->is_over; i++)
        session_say(s, "* %u EXPUNGE", news->expunged.items[i]);
}

static void say_changed(struct session *s, const struct store_news *news)
{
    struct str flags;
    int rc;

    str_init(&flags, &s->client->budget);
    for (size_t i = 0; i < news->changed.len && !s->is_over; i++) {
        uint32_t number = news->changed.items[i];
        const struct store_message *m = &s->view->messages.items[number - 1];

        if (is_told(s, m))
            continue;
        str_clear(&flags);
        rc = flags_append(s->view, &flags, m->flags, m->keywords, flags_is_recent(s->view, m->uid));
        if (rc < 0)
            break;
        if (s->by_uid)
            session_say(s, "* %u FETCH (UID %u FLAGS (%s))", number, m->uid, str_cstr(&flags));
        else
            session_say(s, "* %u FETCH (FLAGS (%s))", number, str_cstr(&flags));
        (void)task_breathe();
    }
    str_fini(&flags);
}

/* Keywords that came into use (RFC 3501 7.2.6), or have another name for their number. */
static void say_keywords(struct session *s, const struct store_news *news)
{
    const struct store_message *messages = s->view->messages.items;
    size_t count = s->view->messages.len;
    uint64_t keywords = 0;

    for (size_t i = 0; i < news->changed.len; i++)
        keywords |= messages[news->changed.items[i] - 1].keywords;
    for (size_t i = count - (news->arrived < count ? news->arrived : count); i < count; i++)
        keywords |= messages[i].keywords;
    if (news->keywords_changed)
        sync_forget_told(s); /* in numbers that meant something else */
    else if ((keywords & ~s->shown_keywords) == 0)
        return;
    s->shown_keywords |= keywords;
    flags_say(s);
}

static void say_news(struct session *s, const struct store_news *news)
{
    say_keywords(s, news);
    say_expunged(s, news);
    say_changed(s, news);
    if (news->arrived > 0)
        session_say(s, "* %zu EXISTS", s->view->messages.len);
    if (s->view->recent.len != s->shown_recent) {
        s->shown_recent = s->view->recent.len;
        session_say(s, "* %zu RECENT", s->shown_recent);
    }
}

void sync_mailbox(struct session *s, bool may_expunge)
{
    struct store_news news = {0};
    int rc;

    if (s->view == NULL || s->is_over)
        return;
    rc = store_view_refresh(s->view, may_expunge, &news);
    if (rc == 0) {
        say_news(s, &news);
    } else if (rc == ERR_NOT_FOUND) {
        /* RFC 2180 3.3: the only way to tell that the mailbox is gone. */
        session_end(s, "Mailbox was deleted under us.");
    } else if (rc == -ESTALE) {
        /* RFC 3501 2.3.1.1: a UIDVALIDITY holds as long as a session. */
        session_end(s, "UIDVALIDITY of the mailbox has changed.");
    } else if (rc == -ENOMEM) {
        session_out_of_memory(s);
    } else if (rc != -ECANCELED) {
        log_error("user=<%s>: changes of the mailbox can't be read: %s", str_cstr(&s->client->user),
                  error_text(rc));
    }
    store_news_free(&news);
}
