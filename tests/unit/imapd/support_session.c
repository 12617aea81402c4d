#include "tests/unit/imapd/support_session.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "imapd/session.h"
#include "tests/unit/net/support_run.h"

static char directory[64];

static void drop_line(void *arg, enum log_level level, struct span text)
{
    if (level >= LOG_LEVEL_WARN && getenv("LOG") != NULL)
        fprintf(stderr, "%.*s\n", SPAN_ARG(text));
}

void sessions_begin(void)
{
    struct store_options options = {.open_limit = 16};

    log_set_sink(drop_line, NULL);
    snprintf(directory, sizeof(directory), "/tmp/test-imapd.XXXXXX");
    assert_non_null(mkdtemp(directory));
    session_settings = (struct session_settings){
        .directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .idle_ms = 60000,
        .notify_ms = 60000,
        .line_limit = 65536,
        .message_limit = 1000000,
        .special_use = "Sent=\\Sent Drafts=\\Drafts",
    };
    assert_true(session_settings.directory >= 0);
    assert_int_equal(store_new(&session_settings.store, session_settings.directory, &options), 0);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    return remove(path);
}

void sessions_end(void)
{
    store_free(session_settings.store);
    close(session_settings.directory);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void session_play(const char *account, enum peer_split split, struct span script, size_t limit,
                  struct str *out)
{
    struct mailbox_session client = {0};
    struct peer peer;

    peer_init(&peer, split, 7, script);
    budget_init(&client.budget, limit);
    client.stream = peer_stream(&peer, &client.budget);
    assert_non_null(client.stream);
    str_set(&client.user, SPAN_LIT("u1@example.test"));
    str_set(&client.account, span_cstr(account));
    str_set(&client.tag, SPAN_LIT("L"));
    session_serve(&client);
    stream_free(client.stream);
    assert_int_equal(client.budget.used, 0);
    str_append(out, str_span(&peer.received));
    str_fini(&client.user);
    str_fini(&client.account);
    str_fini(&client.tag);
    peer_fini(&peer);
}
