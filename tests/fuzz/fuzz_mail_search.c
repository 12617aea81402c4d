/* Search: the first line is the needle, the rest the message. */
#include <stdlib.h>

#include "mail/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = span_make(data, size), needle_text;
    struct arena arena = {0};
    struct search_needle *needle;
    struct mime_part *root;

    if (!span_next(&message, '\n', &needle_text) || message.p == NULL)
        return 0;
    if (search_needle_new(needle_text, &needle) != 0)
        return 0;
    if (mime_parse(&arena, message, NULL, &root) != 0)
        abort();
    if (search_header(message, SPAN_LIT("Subject"), needle, NULL) < 0)
        abort();
    if (search_body(message, root, needle, NULL) > search_text(message, root, needle, NULL))
        abort();
    search_needle_free(needle);
    arena_reset(&arena);
    return 0;
}
