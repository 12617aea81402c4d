/* The decoder of IPC packets: whatever decodes encodes to the same octets. */
#include <stdlib.h>

#include "base/log.h"
#include "ipc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_frame(struct span packet, const struct ipc_frame *f)
{
    struct ipc_walk w = {0};
    struct str again = {0};
    size_t descriptors = 0;

    str_printf(&again, "%.*s %zu %zu %zu\n", SPAN_ARG(f->kind), f->values.n, f->content.n,
               f->descriptors);
    while (ipc_value_next(f->values, &w)) {
        str_append(&again, w.name);
        if (w.is_descriptor)
            str_append_char(&again, '@');
        else
            str_printf(&again, "=%zu:", w.value.n);
        str_append(&again, w.value);
        str_append_char(&again, '\n');
        descriptors += w.is_descriptor;
    }
    str_append(&again, f->content);
    ENSURE(descriptors == f->descriptors);
    ENSURE(span_eq(str_span(&again), span_take(packet, f->size)));
    str_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span packet = span_make(data, n);
    struct ipc_frame frame;

    while (packet.n > 0 && ipc_decode(packet, &frame) == 0) {
        check_frame(packet, &frame);
        packet = span_drop(packet, frame.size);
    }
    return 0;
}
