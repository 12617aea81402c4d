#include "services/log_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { HELD_OCTETS_MAX = 1 << 20 };

int log_order_add(struct log_order *o, const struct log_line *line, int64_t now_ms)
{
    size_t size = line->tag.n + line->text.n;
    struct log_held *held;
    char *copy;

    if (o->octets + size > HELD_OCTETS_MAX)
        return ERR_LIMIT;
    copy = malloc(size + 1);
    held = copy != NULL ? array_push(&o->lines) : NULL;
    if (held == NULL) {
        free(copy);
        return -ENOMEM;
    }
    if (line->tag.n > 0)
        memcpy(copy, line->tag.p, line->tag.n);
    if (line->text.n > 0)
        memcpy(copy + line->tag.n, line->text.p, line->text.n);
    *held = (struct log_held){*line, copy, now_ms, o->count++};
    held->line.tag.p = copy;
    held->line.text.p = copy + line->tag.n;
    o->octets += size;
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct log_held *a = left, *b = right;

    if (a->line.wall_us != b->line.wall_us)
        return a->line.wall_us < b->line.wall_us ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

void log_order_release(struct log_order *o, int64_t until_ms,
                       void (*write)(const struct log_line *line))
{
    size_t count = 0;

    if (o->lines.len == 0)
        return;
    qsort(o->lines.items, o->lines.len, sizeof(o->lines.items[0]), compare);
    for (size_t i = 0; i < o->lines.len; i++) {
        if (o->lines.items[i].taken_ms < until_ms)
            count = i + 1;
    }
    for (size_t i = 0; i < count; i++) {
        const struct log_held *held = &o->lines.items[i];

        write(&held->line);
        o->octets -= held->line.tag.n + held->line.text.n;
        free(held->copy);
    }
    o->lines.len -= count;
    memmove(o->lines.items, &o->lines.items[count], o->lines.len * sizeof(o->lines.items[0]));
}
