#include "smtp/exchanger.h"

#include <errno.h>

#include "base/error.h"
#include "base/random.h"

void exchangers_fini(struct exchangers *x)
{
    array_free(&x->list);
    arena_reset(&x->arena);
}

int exchangers_add(struct exchangers *x, const char *host, unsigned preference,
                   const struct net_address *address)
{
    struct exchanger *e = array_push(&x->list);

    if (e == NULL)
        return -ENOMEM;
    *e = (struct exchanger){arena_strdup(&x->arena, span_cstr(host)), preference, *address};
    return e->host != NULL ? 0 : -ENOMEM;
}

static bool is_own(const struct exchanger *e, const struct settings *s)
{
    return settings_is_own(s, &e->address) ||
           span_ieq(span_cstr(e->host), span_cstr(s->myhostname));
}

bool exchangers_drop_own(struct exchangers *x, const struct settings *s)
{
    unsigned best = UINT32_MAX;
    bool found = false;
    size_t kept = 0;

    for (size_t i = 0; i < x->list.len; i++) {
        const struct exchanger *e = &x->list.items[i];

        if (is_own(e, s)) {
            found = true;
            best = e->preference < best ? e->preference : best;
        }
    }
    for (size_t i = 0; found && i < x->list.len; i++)
        if (x->list.items[i].preference < best)
            x->list.items[kept++] = x->list.items[i];
    if (found)
        x->list.len = kept;
    return found;
}

static unsigned family_rank(const struct exchanger *e, enum smtp_preference preference)
{
    if (preference == SMTP_PREFER_ANY)
        return 0;
    return (e->address.family == AF_INET6) != (preference == SMTP_PREFER_IPV6);
}

static bool is_before(const struct exchanger *a, const struct exchanger *b,
                      enum smtp_preference preference)
{
    if (a->preference != b->preference)
        return a->preference < b->preference;
    return family_rank(a, preference) < family_rank(b, preference);
}

void exchangers_arrange(struct exchangers *x, enum smtp_preference preference, bool randomize)
{
    struct exchanger *items = x->list.items;

    for (size_t i = x->list.len; randomize && i > 1; i--) {
        size_t j = random_below((uint32_t)i);
        struct exchanger moved = items[j];

        items[j] = items[i - 1];
        items[i - 1] = moved;
    }
    /* Insertion keeps the order of equals; lists are short. */
    for (size_t i = 1; i < x->list.len; i++) {
        struct exchanger moved = items[i];
        size_t j = i;

        for (; j > 0 && is_before(&moved, &items[j - 1], preference); j--)
            items[j] = items[j - 1];
        items[j] = moved;
    }
}

void exchangers_balance(struct exchangers *x, size_t limit)
{
    size_t places[2] = {0}, kept = 0;

    if (x->list.len <= limit)
        return;
    for (size_t i = 0; i < x->list.len; i++)
        places[x->list.items[i].address.family == AF_INET6]++;
    /* What one family does not fill is the other's. */
    size_t half = limit / 2, four = places[0], six = places[1];
    if (six <= half)
        places[0] = limit - six;
    else if (four <= half)
        places[1] = limit - four;
    else {
        places[1] = limit - half;
        places[0] = half;
    }
    for (size_t i = 0; i < x->list.len; i++) {
        size_t *left = &places[x->list.items[i].address.family == AF_INET6];

        if (*left == 0)
            continue;
        (*left)--;
        x->list.items[kept++] = x->list.items[i];
    }
    x->list.len = kept;
}
