/* The heads of the store's records, as kind (1 octet) and head: what decodes must encode
 * to the same octets' meaning again. */
#include <stdlib.h>

#include "store/names.h"
#include "store/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span head = span_make(data, size);
    struct record r, again;
    struct str text = {0};
    uint16_t kind;

    if (size == 0)
        return 0;
    (void)name_check(head, 255, 20);
    (void)name_normalise(&text, head);
    str_clear(&text);
    kind = (uint16_t)(JOURNAL_KIND_USER + data[0] % 8);
    if (record_decode(kind, span_drop(head, 1), &r) == 0) {
        if (record_encode(&r, &text) < 0 || record_decode(kind, str_span(&text), &again) < 0)
            abort();
        if (r.mailbox != again.mailbox || r.op != again.op || r.value != again.value ||
            !span_eq(r.uids, again.uids) || !span_eq(r.name, again.name) ||
            !span_eq(r.other, again.other) || !span_eq(r.envelope, again.envelope) ||
            !span_eq(r.bodystructure, again.bodystructure) || !span_eq(r.owners, again.owners) ||
            memcmp(&r.hot, &again.hot, sizeof(r.hot)) != 0)
            abort();
    }
    str_fini(&text);
    return 0;
}
