/* The header pass over any octets in any pieces: no header line of the client may
 * get lost or be made, except those that are dropped by name. */
#include <stdlib.h>

#include "base/log.h"
#include "intake/intake.h"
#include "smtpd/data_reader.h"

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

static int keep(void *arg, struct span octets)
{
    return str_append(arg, octets);
}

static int insert(void *arg, uint64_t at, struct span octets)
{
    struct str *s = arg, whole = {0};

    str_append(&whole, span_take(str_span(s), at));
    str_append(&whole, octets);
    str_append(&whole, span_drop(str_span(s), at));
    str_set(s, str_span(&whole));
    str_fini(&whole);
    return str_error(s);
}

static const struct route *the_route(void)
{
    static const char text[] = "myorigin = o.test\nmydomain = d.test\nappend_dot_mydomain = yes\n"
                               "inet_interfaces = 127.0.0.1\n";
    static struct route *r;
    struct str why = {0};
    struct conf *conf;

    if (r == NULL && (conf_load_text(&conf, "/nonexistent", "main.cf", span_cstr(text), &why) < 0 ||
                      route_load(&r, conf, &why) < 0))
        abort();
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct intake_options options = {.myhostname = {"mx.test", 7},
                                            .drop_headers = {"bcc", 3},
                                            .header_size_limit = 1000,
                                            .hopcount_limit = 5,
                                            .token_limit = 100,
                                            .log_tag = "cleanup"};
    struct intake_facts facts = {.queue_id = SPAN_LIT("ID"), .arrival_s = 1};
    struct span input, text;
    struct data_reader reader;
    struct intake in;
    struct str out = {0};
    size_t piece;
    enum data_event event = DATA_MORE;

    if (size < 2)
        return 0;
    log_set_sink(drop_log, NULL);
    facts.is_local = data[0] & 1;
    options.route = the_route();
    data_reader_init(&reader, data[0] & 2, data[0] & 4, data[0] & 8);
    piece = 1 + data[1] % 64;
    input = span_make(data + 2, size - 2);
    intake_begin(&in, &options, &facts, keep, insert, &out, NULL);
    while (input.n > 0 && event != DATA_END) {
        struct span part = span_take(input, piece);

        input = span_drop(input, piece);
        while ((event = data_next(&reader, &part, &text)) == DATA_TEXT)
            (void)intake_feed(&in, text);
    }
    while (event != DATA_END && (event = data_finish(&reader, &text)) == DATA_TEXT)
        (void)intake_feed(&in, text);
    (void)intake_finish(&in);
    /* Whatever came in, what goes on has no bare LF. */
    for (size_t i = 0; i < out.len; i++)
        if (out.data[i] == '\n' && (i == 0 || out.data[i - 1] != '\r'))
            abort();
    intake_fini(&in);
    str_fini(&out);
    return 0;
}
