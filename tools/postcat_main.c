/* postcat: show a message of the queue. postcat(1). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "queue/message.h"
#include "tools/queue_admin.h"

static bool with_envelope, with_header, with_body;
static char **ids;

struct shown {
    struct str envelope;
    bool is_envelope_printed;
    struct queue_scan scan;
    const char *id;
};

static void put_line(struct str *out, const char *name, struct span value)
{
    if (value.n > 0)
        str_printf(out, "%s: %.*s\n", name, SPAN_ARG(value));
}

static void put_attribute(struct str *out, const char *name, struct span value)
{
    if (value.n > 0)
        str_printf(out, "named_attribute: %s=%.*s\n", name, SPAN_ARG(value));
}

/* "*** WHAT ID ***": where a part begins. */
static void print_marker(const struct shown *s, const char *what)
{
    struct str out = {0};

    str_printf(&out, "*** %s %s ***\n", what, s->id);
    fd_write_all(1, out.data, out.len);
    str_fini(&out);
}

static void print_envelope(struct shown *s)
{
    struct queue_message m;
    struct str out = {0};

    queue_message_init(&m, NULL);
    if (queue_message_decode(&m, str_span(&s->envelope)) == 0) {
        time_t t = (time_t)(m.arrival_us / 1000000);
        char when[64];

        strftime(when, sizeof(when), "%a %b %e %H:%M:%S %Y", localtime(&t));
        str_printf(&out,
                   "*** ENVELOPE RECORDS %s ***\nmessage_size: %llu\nmessage_arrival_time: %s\n"
                   "create_time: %s\n",
                   s->id, (unsigned long long)m.size, when, when);
        put_attribute(&out, "rewrite_context", m.rewrite_context);
        put_attribute(&out, "envelope_id", m.envid);
        put_attribute(&out, "log_client_name", m.client_name);
        put_attribute(&out, "log_client_address", m.client_address);
        put_attribute(&out, "log_helo_name", m.client_helo);
        put_attribute(&out, "log_protocol_name", m.client_protocol);
        put_attribute(&out, "sasl_username", m.login);
        put_line(&out, "content_filter", m.transport);
        str_printf(&out, "sender: %.*s\n", SPAN_ARG(m.sender));
        for (size_t i = 0; i < m.recipients.len; i++) {
            put_line(&out, "original_recipient", m.recipients.items[i].original);
            str_printf(&out, "recipient: %.*s\n", SPAN_ARG(m.recipients.items[i].address));
        }
    }
    if (with_envelope)
        fd_write_all(1, out.data, out.len);
    queue_message_fini(&m);
    str_fini(&out);
}

/* Lines end as they do on this system. */
static void print_content(struct shown *s, struct span octets)
{
    struct str out = {0};

    while (octets.n > 0) {
        ptrdiff_t end = span_find(octets, '\n');
        struct span line = end < 0 ? octets : span_take(octets, (size_t)end + 1);
        bool was_header = !s->scan.is_header_done;

        queue_scan(&s->scan, line);
        octets = span_drop(octets, line.n);
        if ((was_header && !s->scan.is_header_done) ? !with_header : !with_body)
            continue;
        if (line.n >= 2 && line.p[line.n - 1] == '\n' && line.p[line.n - 2] == '\r') {
            str_append(&out, span_take(line, line.n - 2));
            str_append_char(&out, '\n');
        } else {
            str_append(&out, line);
        }
    }
    fd_write_all(1, out.data, out.len);
    str_fini(&out);
}

static int show_part(void *arg, const struct ipc_in *m)
{
    struct shown *s = arg;
    struct span part;

    if (ipc_is(m, "envelope") && ipc_get(m, "part", &part) == 0)
        return str_append(&s->envelope, part);
    if (!ipc_is(m, "content"))
        return 0;
    if (!s->is_envelope_printed) {
        print_envelope(s);
        s->is_envelope_printed = true;
        if (with_envelope)
            print_marker(s, "MESSAGE CONTENTS");
    }
    print_content(s, ipc_content(m));
    return 0;
}

static void run(struct queue_tool *t)
{
    for (char **id = ids; *id != NULL; id++) {
        struct shown s = {.id = *id};
        struct ipc_out request = {0};

        ipc_begin(&request, "show");
        ipc_put(&request, "id", span_cstr(*id));
        int rc = queue_tool_ask(t, &request, show_part, &s, NULL);
        if (rc == 0 && !s.is_envelope_printed)
            print_envelope(&s);
        if (rc == 0 && with_envelope) {
            print_marker(&s, "HEADER EXTRACTED");
            print_marker(&s, "MESSAGE FILE END");
        }
        if (rc < 0) {
            log_error("%s: %s", *id, error_text(rc));
            t->status = 1;
        }
        str_fini(&s.envelope);
    }
}

int main(int argc, char **argv)
{
    const char *config_directory = NULL;
    bool is_queue = false;
    struct queue_tool t;
    int option;

    while ((option = getopt(argc, argv, "bc:dehnoqv")) != -1) {
        switch (option) {
        case 'c':
            config_directory = optarg;
            break;
        case 'b':
            with_body = true;
            break;
        case 'e':
            with_envelope = true;
            break;
        case 'h':
            with_header = true;
            break;
        case 'q':
            is_queue = true;
            break;
        case 'v':
            break;
        default:
            optind = argc + 1;
        }
    }
    /* There are no queue files to name: messages are found by their id. */
    if (!is_queue || optind >= argc) {
        fprintf(stderr, "usage: postcat [-c config_dir] [-beh] -q queue_id...\n");
        return 64;
    }
    if (!with_body && !with_envelope && !with_header)
        with_body = with_envelope = with_header = true;
    ids = argv + optind;
    queue_tool_init(&t, argv[0], config_directory);
    return queue_tool_run(&t, run);
}
