/* Paths, parameters, xtext, literals; what parses prints and parses to the same. */
#include <stdlib.h>

#include "mail/address.h"
#include "mail/addrlist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct arena *arena, const struct address *a, unsigned flags)
{
    struct str text = {0};
    struct address again;

    address_print(&text, a);
    if (address_parse(arena, str_span(&text), flags, &again) != 0 || !address_eq(a, &again))
        abort();
    str_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct span text = span_make(data, size), rest, keyword, value;
    struct str out = {0};
    struct addrlist_item *list;
    struct address a;

    for (unsigned flags = 0; flags < 16; flags++) {
        rest = text;
        if (address_parse_path(&arena, &rest, flags, &a) == 0 && (flags & ADDRESS_STRICT) != 0)
            round_trip(&arena, &a, flags);
    }
    rest = text;
    while (esmtp_param_next(&rest, &keyword, &value))
        continue;
    xtext_decode(&out, text);
    str_clear(&out);
    str_clear(&out);
    address_domain_to_ascii(&out, text);
    str_clear(&out);
    address_domain_to_unicode(&out, text);
    addrlist_parse(&arena, text, 1000, &list);
    str_fini(&out);
    arena_reset(&arena);
    return 0;
}
