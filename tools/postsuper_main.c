/* postsuper: delete, hold, release, requeue and expire messages. postsuper(1). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "base/log.h"
#include "queue/admin.h"
#include "tools/queue_admin.h"

enum { IDS_OF_A_REQUEST = 1000 };

struct action {
    enum queue_verb verb;
    const char *what; /* an id, "ALL", or "-" for standard input */
};

static ARRAY(struct action) actions;

static const struct {
    char option;
    enum queue_verb verb;
    const char *past;
} verbs[] = {
    {'d', QUEUE_DELETE, "Deleted"},
    {'e', QUEUE_EXPIRE, "Expired"},
    {'h', QUEUE_PUT_ON_HOLD, "Placed on hold"},
    {'H', QUEUE_RELEASE, "Released from hold"},
    {'r', QUEUE_REQUEUE, "Requeued"},
};

static const char *past_of(enum queue_verb verb)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (verbs[i].verb == verb)
            return verbs[i].past;
    return "";
}

static int print_changed(void *arg, const struct ipc_in *m)
{
    static const char *const words[QUEUE_VERBS] = {"removed", "placed on hold",
                                                   "released from hold", "requeued", "expired"};
    const struct action *a = arg;
    struct span id;

    if (ipc_get(m, "id", &id) == 0)
        log_info("%.*s: %s", SPAN_ARG(id), words[a->verb]);
    return 0;
}

static int ask(struct queue_tool *t, const struct action *a, struct ipc_out *request,
               uint64_t *total)
{
    uint64_t count = 0;
    int rc = queue_tool_ask(t, request, print_changed, (void *)a, &count);

    *total += count;
    return rc;
}

static void begin(struct ipc_out *request, const struct action *a)
{
    ipc_begin(request, "act");
    ipc_put(request, "verb", span_cstr(queue_verb_text(a->verb)));
}

/* Ids from standard input, one a line. */
static int act_on_input(struct queue_tool *t, const struct action *a, uint64_t *total)
{
    struct ipc_out request = {0};
    char line[256];
    int rc = 0, pending = 0;

    begin(&request, a);
    while (rc == 0 && fgets(line, sizeof(line), stdin) != NULL) {
        struct span id = span_trim(span_cstr(line));

        if (id.n == 0)
            continue;
        ipc_put(&request, "id", id);
        if (++pending == IDS_OF_A_REQUEST) {
            rc = ask(t, a, &request, total);
            begin(&request, a);
            pending = 0;
        }
    }
    if (rc == 0 && pending > 0)
        rc = ask(t, a, &request, total);
    ipc_out_fini(&request);
    return rc;
}

static int act(struct queue_tool *t, const struct action *a, uint64_t *total)
{
    struct ipc_out request = {0};
    struct queue_id id;

    if (strcmp(a->what, "-") == 0)
        return act_on_input(t, a, total);
    begin(&request, a);
    if (strcmp(a->what, "ALL") == 0) {
        ipc_put_bool(&request, "all", true);
    } else if (queue_id_parse(span_cstr(a->what), &id) == 0) {
        ipc_put(&request, "id", span_cstr(a->what));
    } else {
        log_warn("bad queue id: %s", a->what);
        ipc_out_fini(&request);
        return 0;
    }
    return ask(t, a, &request, total);
}

static void run(struct queue_tool *t)
{
    for (size_t i = 0; i < actions.len; i++) {
        const struct action *a = &actions.items[i];
        uint64_t total = 0;
        int rc = act(t, a, &total);

        if (total > 0)
            log_info("%s: %llu message%s", past_of(a->verb), (unsigned long long)total,
                     total == 1 ? "" : "s");
        if (rc < 0) {
            log_error("%s: %s", queue_verb_text(a->verb), error_text(rc));
            t->status = 1;
        }
    }
}

static void usage(void)
{
    fprintf(stderr, "usage: postsuper [-c config_dir] [-d id] [-e id] [-h id] [-H id] [-r id]\n"
                    "       id: a queue id, ALL, or - for ids from standard input\n");
    exit(64);
}

int main(int argc, char **argv)
{
    const char *config_directory = NULL;
    bool is_maintenance = false;
    struct queue_tool t;
    int option;

    while ((option = getopt(argc, argv, "c:d:e:f:h:H:psSr:v")) != -1) {
        struct action *a = NULL;

        if (option == 'c') {
            config_directory = optarg;
            continue;
        }
        /* The journal needs no repair or purge of stale files. */
        is_maintenance = is_maintenance || option == 'p' || option == 's' || option == 'S';
        if (option == 'p' || option == 's' || option == 'S' || option == 'v')
            continue;
        for (size_t i = 0; i < COUNT_OF(verbs); i++) {
            if (verbs[i].option != option)
                continue;
            a = array_push(&actions);
            if (a != NULL)
                *a = (struct action){verbs[i].verb, optarg};
        }
        if (a == NULL)
            usage();
    }
    if (optind != argc || (actions.len == 0 && !is_maintenance))
        usage();
    queue_tool_init(&t, argv[0], config_directory);
    if (actions.len == 0)
        return 0;
    return queue_tool_run(&t, run);
}
