/* The parts of imapd that take a command's text apart, without a session. */
#include <stdlib.h>

#include "imapd/fetch_items.h"
#include "imapd/parse.h"
#include "imapd/pattern.h"

static void parse_words(struct span text, struct arena *arena)
{
    struct parse p = {.rest = text, .arena = arena};
    struct span word;
    uint64_t number;

    while (parse_tag(&p, &word) == 0 || parse_astring(&p, &word) == 0 ||
           parse_nstring(&p, &word) == 0 || parse_list_mailbox(&p, &word) == 0 ||
           parse_number64(&p, &number) == 0 || parse_space(&p) || parse_char(&p, '(')) {
        if (p.rest.n > text.n)
            abort();
    }
}

static void parse_set(struct span text)
{
    struct parse p = {.rest = text};
    struct parse_set set;

    if (parse_sequence_set(&p, &set) == 0) {
        if (set.ranges.len == 0 || p.rest.n >= text.n)
            abort();
        array_free(&set.ranges);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_make(data, size);
    struct arena arena = {0};
    struct parse p = {.rest = text, .arena = &arena};
    struct fetch_items items = {0};
    ptrdiff_t half = span_find(text, '\n');

    parse_words(text, &arena);
    parse_set(text);
    fetch_items_take(&p, &items);
    fetch_items_free(&items);
    if (half > 0 && half < 2000)
        pattern_matches(span_take(text, (size_t)half), span_drop(text, (size_t)half + 1));
    arena_reset(&arena);
    return 0;
}
