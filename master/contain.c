#include "master/contain.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static void refuse(struct containment *c, int64_t now_ms, const char *address)
{
    unsigned slot = 0;

    for (unsigned i = 0; i < CONTAIN_REFUSED_MAX; i++) {
        if (strcmp(c->refused[i].address, address) == 0) {
            slot = i;
            break;
        }
        if (c->refused[i].until_ms < c->refused[slot].until_ms)
            slot = i;
    }
    snprintf(c->refused[slot].address, sizeof(c->refused[slot].address), "%s", address);
    c->refused[slot].until_ms = now_ms + CONTAIN_PERIOD_MS;
}

bool contain_crash(struct containment *c, int64_t now_ms, const char *address)
{
    memmove(&c->crashes_ms[0], &c->crashes_ms[1], sizeof(c->crashes_ms) - sizeof(c->crashes_ms[0]));
    c->crashes_ms[CONTAIN_CRASHES - 1] = now_ms;
    if (!contain_is_active(c, now_ms) &&
        (c->crashes_ms[0] == 0 || now_ms - c->crashes_ms[0] > CONTAIN_WINDOW_MS))
        return false;
    c->until_ms = now_ms + CONTAIN_PERIOD_MS;
    if (address[0] != '\0')
        refuse(c, now_ms, address);
    return true;
}

bool contain_is_active(const struct containment *c, int64_t now_ms)
{
    return now_ms < c->until_ms;
}

bool contain_refused(const struct containment *c, int64_t now_ms, unsigned index, struct str *out)
{
    str_clear(out);
    for (unsigned i = 0; i < CONTAIN_REFUSED_MAX; i++) {
        int64_t left_ms = c->refused[i].until_ms - now_ms;

        if (left_ms > 0 && index-- == 0)
            return str_printf(out, "%lld %s", (long long)(left_ms + 999) / 1000,
                              c->refused[i].address) == 0;
    }
    return false;
}

void contain_start_failed(struct containment *c, int64_t now_ms, int64_t throttle_ms)
{
    int64_t pause = CONTAIN_PAUSE_MIN_MS;

    for (uint32_t i = 0; i < c->failures && pause < throttle_ms; i++)
        pause *= 2;
    c->failures++;
    c->start_again_ms = now_ms + (pause < throttle_ms ? pause : throttle_ms);
}

void contain_started(struct containment *c)
{
    c->failures = 0;
    c->start_again_ms = 0;
}

bool contain_may_start(const struct containment *c, int64_t now_ms)
{
    return now_ms >= c->start_again_ms;
}
