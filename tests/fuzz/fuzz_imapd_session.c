/* A whole IMAP session with the input as what the client sends, on a real store with two
 * messages in it. Memory in which it lives: FUZZ_DIRECTORY, default /dev/shm. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "imapd/session.h"

static const char *const messages[] = {
    "Subject: =?utf-8?q?one?=\r\nDate: Sat, 1 Nov 2025 10:00:00 +0000\r\n\r\nbody\r\n",
    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\n--b--\r\n",
};

static char directory[128];
static struct span script;

static void no_log(void *arg, enum log_level level, struct span text)
{
    if (level == LOG_LEVEL_PANIC)
        fprintf(stderr, "%.*s\n", SPAN_ARG(text));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    return remove(path);
}

/* --- the client: says the script, and hears everything --- */

static ssize_t say(void *arg, void *buf, size_t n)
{
    n = n < script.n ? n : script.n;
    if (n > 0)
        memcpy(buf, script.p, n);
    script = span_drop(script, n);
    return (ssize_t)n;
}

static ssize_t hear(void *arg, const void *buf, size_t n)
{
    return (ssize_t)n;
}

static int is_ready(void *arg, int events, deadline_t deadline)
{
    return 0;
}

static const struct stream_transport transport = {say, hear, is_ready, NULL};

static void fill(void)
{
    struct store_account *account;
    struct store_append append[2] = {0};
    struct store_appended done[2];
    struct store_mailbox inbox;
    struct arena arena = {0};

    if (store_open(session_settings.store, SPAN_LIT("fuzz"), true, &account) < 0)
        abort();
    for (int i = 0; i < 2; i++) {
        append[i].content = span_cstr(messages[i]);
        append[i].fd = -1;
    }
    if (store_find(account, SPAN_LIT("INBOX"), &arena, &inbox) < 0 ||
        store_append(account, inbox.id, append, 2, done) < 0)
        abort();
    arena_reset(&arena);
    store_close(account);
}

static void live(void *arg)
{
    struct store_options options = {.open_limit = 4};
    struct mailbox_session client = {0};

    if (store_new(&session_settings.store, session_settings.directory, &options) < 0)
        abort();
    fill();
    budget_init(&client.budget, 1 << 20);
    if (stream_new_transport(&client.stream, &transport, NULL, &client.budget) < 0)
        abort();
    str_set(&client.account, SPAN_LIT("fuzz"));
    str_set(&client.tag, SPAN_LIT("L"));
    session_serve(&client);
    stream_free(client.stream);
    if (client.budget.used != 0)
        abort();
    str_fini(&client.account);
    str_fini(&client.tag);
    store_free(session_settings.store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *parent = getenv("FUZZ_DIRECTORY");
    struct task_options options = {0};

    log_set_sink(no_log, NULL);
    snprintf(directory, sizeof(directory), "%s/fuzz-imapd.XXXXXX",
             parent != NULL ? parent : "/dev/shm");
    if (mkdtemp(directory) == NULL)
        abort();
    session_settings = (struct session_settings){
        .directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .idle_ms = 60000,
        .notify_ms = 60000,
        .line_limit = 8192,
        .message_limit = 100000,
        .special_use = "Sent=\\Sent",
    };
    script = span_make(data, size);
    if (session_settings.directory < 0 || task_runtime_init(&options) < 0 ||
        task_runtime_run(live, NULL) < 0)
        abort();
    task_runtime_fini();
    close(session_settings.directory);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
