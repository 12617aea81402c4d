/*
 * mimedump FILE: answer requests about a message, one a line on standard input, the way
 * imapd would. For tests/system/compare_mime.py; not installed.
 *
 * ENVELOPE | BODY | BODYSTRUCTURE | SECTION text | SEARCH HEADER name text | SEARCH BODY text
 * | SEARCH TEXT text | BENCH count. The answer is "n LF" and n octets, or "-" LF for nothing
 * (NIL).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "mail/charset.h"
#include "mail/imap.h"
#include "mail/search.h"

enum { MESSAGE_MAX = 64 << 20 };

struct dump {
    struct arena arena;
    struct span message;
    struct mime_part *root;
};

static int section(struct dump *d, struct span text, struct str *out)
{
    struct imap_section s;
    struct imap_ranges ranges = {0};
    int error = imap_section_parse(&d->arena, text, &s);

    if (error < 0)
        return error;
    error = imap_section_find(d->message, d->root, &s, &ranges);
    if (error == 0)
        error = imap_ranges_append(out, &ranges, 0, UINT64_MAX);
    array_free(&ranges.items);
    imap_section_free(&s);
    return error;
}

static int search(struct dump *d, struct span text, struct str *out)
{
    struct span rest = text, where, name = SPAN_NONE;
    struct search_needle *needle;
    int found;

    if (!span_next(&rest, ' ', &where))
        return ERR_SYNTAX;
    if (span_eq(where, SPAN_LIT("HEADER")) && !span_next(&rest, ' ', &name))
        return ERR_SYNTAX;
    found = search_needle_new(rest, &needle);
    if (found < 0)
        return found;
    if (name.p != NULL)
        found = search_header(d->message, name, needle, NULL);
    else if (span_eq(where, SPAN_LIT("BODY")))
        found = search_body(d->message, d->root, needle, NULL);
    else
        found = search_text(d->message, d->root, needle, NULL);
    search_needle_free(needle);
    str_append_u64(out, found > 0);
    return found < 0 ? found : 0;
}

static int bench(struct dump *d, struct span text, struct str *out)
{
    struct str envelope = {0}, structure = {0};
    int64_t start = clock_mono_us();
    uint64_t count;

    if (span_to_u64(text, &count) < 0 || count == 0)
        return ERR_SYNTAX;
    for (uint64_t i = 0; i < count; i++) {
        struct arena scratch;

        arena_init(&scratch, NULL);
        str_clear(&envelope);
        str_clear(&structure);
        imap_describe(&scratch, d->message, &envelope, &structure);
        arena_reset(&scratch);
    }
    str_append_u64(out, (uint64_t)(clock_mono_us() - start) * 1000 / count);
    str_fini(&envelope);
    str_fini(&structure);
    return 0;
}

static int answer(struct dump *d, struct span line, struct str *out)
{
    struct str structure = {0};
    int error;

    if (span_eq(line, SPAN_LIT("ENVELOPE")))
        return imap_envelope(out, d->message);
    if (span_eq(line, SPAN_LIT("BODYSTRUCTURE")))
        return imap_bodystructure(out, d->message, d->root);
    if (span_starts(line, SPAN_LIT("SECTION ")))
        return section(d, span_drop(line, 8), out);
    if (span_starts(line, SPAN_LIT("SEARCH ")))
        return search(d, span_drop(line, 7), out);
    if (span_starts(line, SPAN_LIT("BENCH ")))
        return bench(d, span_drop(line, 6), out);
    if (!span_eq(line, SPAN_LIT("BODY")))
        return ERR_SYNTAX;
    error = imap_bodystructure(&structure, d->message, d->root);
    if (error == 0)
        error = imap_body(out, str_span(&structure));
    str_fini(&structure);
    return error;
}

static int run(struct dump *d)
{
    struct str out = {0};
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    while ((n = getline(&line, &size, stdin)) > 0) {
        int error;

        if (line[n - 1] == '\n')
            n--;
        str_clear(&out);
        error = answer(d, span_make(line, (size_t)n), &out);
        if (error == ERR_NOT_FOUND) {
            puts("-");
        } else if (error < 0) {
            printf("! %s\n", error_text(error));
        } else {
            printf("%zu\n", out.len);
            fwrite(str_cstr(&out), 1, out.len, stdout);
        }
        fflush(stdout);
    }
    free(line);
    str_fini(&out);
    return 0;
}

int main(int argc, char **argv)
{
    struct str text = {0};
    struct dump d = {0};
    int error;

    if (argc != 2) {
        fputs("usage: mimedump FILE\n", stderr);
        return 2;
    }
    charset_preload();
    error = file_read(argv[1], &text, MESSAGE_MAX);
    if (error == 0) {
        d.message = str_span(&text);
        error = mime_parse(&d.arena, d.message, NULL, &d.root);
    }
    if (error == 0)
        error = run(&d);
    if (error < 0)
        fprintf(stderr, "mimedump: %s: %s\n", argv[1], error_text(error));
    arena_reset(&d.arena);
    str_fini(&text);
    return error < 0;
}
