/*
 * Structure, ENVELOPE, BODYSTRUCTURE, BODY, sections: parts must lie inside their parents,
 * one behind the other, and BODY must follow from BODYSTRUCTURE.
 */
#include <stdlib.h>

#include "mail/imap.h"

/* The fields of ENVELOPE alone give the same ENVELOPE. */
static void check_fields(struct span message)
{
    struct str fields = {0}, of_fields = {0}, of_message = {0};

    if (imap_envelope_fields(&fields, message) != 0 ||
        imap_envelope(&of_fields, str_span(&fields)) != 0 ||
        imap_envelope(&of_message, message) != 0 ||
        !span_eq(str_span(&of_fields), str_span(&of_message)))
        abort();
    str_fini(&fields);
    str_fini(&of_fields);
    str_fini(&of_message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(const struct mime_part *part)
{
    size_t at = part->offset + part->header.physical;
    size_t end = at + part->body.physical;

    for (const struct mime_part *child = part->children; child != NULL; child = child->next) {
        if (child->parent != part || child->offset < at)
            abort();
        at = child->offset + child->header.physical + child->body.physical;
        if (at > end)
            abort();
    }
}

static void check_sections(struct arena *arena, struct span message, const struct mime_part *root)
{
    static const char *const texts[] = {"",
                                        "1",
                                        "1.1",
                                        "2",
                                        "2.MIME",
                                        "1.HEADER",
                                        "TEXT",
                                        "HEADER",
                                        "HEADER.FIELDS (To From)",
                                        "HEADER.FIELDS.NOT (To)"};

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct imap_section s;
        struct imap_ranges ranges = {0};
        struct str out = {0};

        if (imap_section_parse(arena, span_cstr(texts[i]), &s) != 0)
            abort();
        if (imap_section_find(message, root, &s, &ranges) == 0) {
            imap_ranges_append(&out, &ranges, 0, UINT64_MAX);
            if (out.len != ranges.size.virtual_size)
                abort();
        }
        array_free(&ranges.items);
        imap_section_free(&s);
        str_fini(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = span_make(data, size);
    struct mime_limits limits = {.depth_max = 20, .parts_max = 200};
    struct arena arena = {0};
    struct str envelope = {0}, structure = {0};
    struct mime_part *root;
    struct imap_section section;
    unsigned parts = 0;

    if (mime_parse(&arena, message, &limits, &root) != 0)
        abort();
    if (root->header.physical + root->body.physical != size)
        abort();
    for (const struct mime_part *p = root; p != NULL; p = mime_part_walk(p)) {
        if (p->depth > limits.depth_max || ++parts > limits.parts_max + 1)
            abort();
        check_part(p);
    }
    check_sections(&arena, message, root);
    if (imap_describe(&arena, message, &envelope, &structure) != 0)
        abort();
    str_clear(&envelope);
    if (imap_body(&envelope, str_span(&structure)) != 0)
        abort();
    str_clear(&envelope);
    imap_body(&envelope, message);
    check_fields(message);
    if (imap_section_parse(&arena, message, &section) == 0)
        imap_section_free(&section);
    str_fini(&envelope);
    str_fini(&structure);
    arena_reset(&arena);
    return 0;
}
