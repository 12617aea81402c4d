/* NOTIFY= of RFC 3461 4.1. */
#include <stdio.h>

#include "queue/message.h"

static const struct {
    const char *word;
    uint32_t bit;
} words[] = {
    {"NEVER", QUEUE_NOTIFY_NEVER},
    {"SUCCESS", QUEUE_NOTIFY_SUCCESS},
    {"FAILURE", QUEUE_NOTIFY_FAILURE},
    {"DELAY", QUEUE_NOTIFY_DELAY},
};

uint32_t queue_notify_parse(struct span text)
{
    uint32_t notify = 0;
    struct span item;

    while (span_next(&text, ',', &item)) {
        uint32_t bit = 0;

        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (span_ieq(item, span_cstr(words[i].word)))
                bit = words[i].bit;
        if (bit == 0)
            return 0;
        notify |= bit;
    }
    /* NEVER stands alone. */
    if ((notify & QUEUE_NOTIFY_NEVER) != 0 && notify != QUEUE_NOTIFY_NEVER)
        return 0;
    return notify;
}

const char *queue_notify_text(uint32_t notify, char text[40])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (notify & words[i].bit)
            used += (size_t)snprintf(text + used, 40 - used, "%s%s", used > 0 ? "," : "",
                                     words[i].word);
    return text;
}
