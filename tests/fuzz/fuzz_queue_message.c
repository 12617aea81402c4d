/* Messages, results, listings, dropped files and ids of the queue: the first octet
 * chooses the decoder. What decodes must encode, and decode again to the same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "queue/admin.h"
#include "queue/deliver.h"
#include "queue/drop.h"
#include "queue/message.h"

static void message(struct span in)
{
    struct queue_message a, b;
    struct str one = {0}, two = {0};

    queue_message_init(&a, NULL);
    queue_message_init(&b, NULL);
    if (queue_message_decode(&a, in) == 0) {
        ENSURE(queue_message_encode(&a, &one) == 0);
        ENSURE(queue_message_decode(&b, str_span(&one)) == 0);
        ENSURE(queue_message_encode(&b, &two) == 0);
        ENSURE(span_eq(str_span(&one), str_span(&two)));
    }
    queue_message_fini(&a);
    queue_message_fini(&b);
    str_fini(&one);
    str_fini(&two);
}

static void result(struct span in)
{
    struct deliver_result a, b;
    struct arena arena = {0};
    struct str one = {0};
    uint32_t index, again;

    if (deliver_result_decode(&a, &index, &arena, in) == 0) {
        deliver_result_encode(&a, index, &one);
        ENSURE(deliver_result_decode(&b, &again, &arena, str_span(&one)) == 0);
        ENSURE(index == again && a.status == b.status && a.expansion_count == b.expansion_count);
    }
    arena_reset(&arena);
    str_fini(&one);
}

static void listing(struct span in)
{
    struct queue_listing l;
    struct arena arena = {0};
    struct str out = {0};

    if (queue_listing_decode(&l, &arena, in) == 0) {
        queue_listing_print(&l, &out);
        queue_listing_print_json(&l, &out);
    }
    queue_listing_fini(&l);
    arena_reset(&arena);
    str_fini(&out);
}

static void drop(struct span in)
{
    struct drop d;
    size_t used = 0;

    if (drop_decode(&d, in, &used) == 0)
        ENSURE(used <= in.n);
    drop_fini(&d);
}

static void id(struct span in)
{
    struct queue_id parsed;
    char text[QUEUE_ID_TEXT_MAX];

    if (queue_id_parse(in, &parsed) == 0)
        ENSURE(span_eq(span_cstr(queue_id_format(text, parsed)), in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const decoders[])(struct span) = {message, result, listing, drop, id};

    if (size > 0)
        decoders[data[0] % COUNT_OF(decoders)](span_make(data + 1, size - 1));
    return 0;
}
