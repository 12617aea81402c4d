#include "imapd/set.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

void set_free(struct set *set)
{
    array_free(&set->numbers);
}

/* The range with its ends in order and "*" as the highest number: "9:*" with eight
 * messages is "8:9" (RFC 3501 9, seq-range). */
static struct parse_range order(struct parse_range range, uint32_t highest)
{
    uint32_t first = range.first != 0 ? range.first : highest;
    uint32_t last = range.last != 0 ? range.last : highest;

    return first <= last ? (struct parse_range){first, last} : (struct parse_range){last, first};
}

/* The range as indexes [first, end) of the view. */
static int place(const struct store_view *v, struct parse_range range, bool by_uid, bool may_miss,
                 size_t *first, size_t *end)
{
    size_t count = v->messages.len;

    *first = *end = 0;
    if (count == 0)
        return by_uid || may_miss ? 0 : ERR_NOT_FOUND;
    range = order(range, by_uid ? v->messages.items[count - 1].uid : (uint32_t)count);
    if (by_uid) {
        *first = store_view_find(v, range.first);
        *end = range.last == UINT32_MAX ? count : store_view_find(v, range.last + 1);
        return 0;
    }
    if (range.last > count && !may_miss)
        return ERR_NOT_FOUND;
    *first = range.first - 1;
    *end = range.last < count ? range.last : count;
    return 0;
}

/* edges: ranges that begin at an index less those that end there. */
static int collect(const int32_t *edges, size_t count, struct set *out)
{
    int32_t open = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t *number;
        open += edges[i];
        if (open == 0)
            continue;
        number = array_push(&out->numbers);
        if (number == NULL)
            return -ENOMEM;
        *number = (uint32_t)i + 1;
    }
    return 0;
}

int set_resolve(const struct store_view *v, const struct parse_set *ranges, bool by_uid,
                bool may_miss, struct set *out)
{
    /* Not a mark for each message of each range: thousands of "1:*" cost one pass. */
    int32_t *edges = calloc(v->messages.len + 1, sizeof(*edges));
    int rc = edges == NULL ? -ENOMEM : 0;

    *out = (struct set){0};
    for (size_t i = 0; i < ranges->ranges.len && rc == 0; i++) {
        size_t first, end;
        rc = place(v, ranges->ranges.items[i], by_uid, may_miss, &first, &end);
        if (rc == 0 && end > first) {
            edges[first]++;
            edges[end]--;
        }
    }
    if (rc == 0)
        rc = collect(edges, v->messages.len, out);
    free(edges);
    if (rc < 0)
        set_free(out);
    return rc;
}

bool set_take(struct session *s, struct parse *p, struct set *out)
{
    struct parse_set ranges = {0};
    int rc;

    *out = (struct set){0};
    if (!parse_space(p) || parse_sequence_set(p, &ranges) < 0) {
        session_bad(s, parse_end(p) ? "Missing arguments."
                       : s->by_uid  ? "Invalid uidset"
                                    : "Invalid messageset");
        return false;
    }
    rc = set_resolve(s->view, &ranges, s->by_uid, false, out);
    array_free(&ranges.ranges);
    if (rc == -ENOMEM)
        session_store_error(s, rc, "message set");
    else if (rc < 0)
        session_bad(s, "Invalid messageset");
    return rc == 0;
}

uint32_t *set_uids(const struct session *s, const struct set *set)
{
    uint32_t *uids = calloc(set->numbers.len + 1, sizeof(*uids));

    for (size_t i = 0; i < set->numbers.len && uids != NULL; i++)
        uids[i] = s->view->messages.items[set->numbers.items[i] - 1].uid;
    return uids;
}

int set_append(struct str *out, const uint32_t *numbers, size_t count)
{
    size_t end;

    for (size_t i = 0; i < count; i = end) {
        end = i + 1;
        while (end < count && numbers[end] == numbers[end - 1] + 1)
            end++;
        str_printf(out, end - i > 1 ? "%s%u:%u" : "%s%u", i > 0 ? "," : "", numbers[i],
                   numbers[end - 1]);
    }
    return str_error(out);
}
