/* Mailbox names: what decodes encodes to exactly what it was. */
#include <stdlib.h>

#include "mail/imap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span name = span_make(data, size);
    struct str utf8 = {0}, again = {0};

    if (imap_utf7_decode(&utf8, name) == 0 &&
        (imap_utf7_encode(&again, str_span(&utf8)) != 0 || !span_eq(str_span(&again), name)))
        abort();
    str_clear(&utf8);
    str_clear(&again);
    if (imap_utf7_encode(&again, name) == 0 &&
        (imap_utf7_decode(&utf8, str_span(&again)) != 0 || !span_eq(str_span(&utf8), name)))
        abort();
    str_fini(&utf8);
    str_fini(&again);
    return 0;
}
