/* Packets that master and postlogd take from services: control words, log records. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "service/control.h"
#include "service/log_channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span packet = span_make(data, size);
    struct control_message message;
    struct log_record record;
    struct str again = {0};

    if (control_decode(packet, &message) == 0 && message.text.n > size)
        abort();
    while (log_record_decode(&packet, &record) == 0) {
        struct log_record copy;
        struct span rest;

        str_clear(&again);
        if (log_record_encode(&again, &record) < 0)
            continue;
        rest = str_span(&again);
        if (log_record_decode(&rest, &copy) < 0 || !span_eq(copy.text, record.text) ||
            copy.wall_us != record.wall_us)
            abort();
    }
    str_fini(&again);
    return 0;
}
