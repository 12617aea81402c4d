#include "smtp/ehlo.h"

#include "base/mem.h"
#include "smtp/reply.h"
#include "smtp/settings.h"

static const struct {
    const char *word;
    unsigned feature;
} keywords[] = {
    {"PIPELINING", SMTP_PIPELINING},
    {"SIZE", SMTP_SIZE},
    {"8BITMIME", SMTP_8BITMIME},
    {"STARTTLS", SMTP_STARTTLS},
    {"DSN", SMTP_DSN},
    {"SMTPUTF8", SMTP_SMTPUTF8},
    {"ENHANCEDSTATUSCODES", SMTP_ENHANCEDSTATUSCODES},
};

static void parse_keyword(struct span line, unsigned discarded, struct ehlo *out)
{
    struct span word, limit;

    if (!span_token(&line, " \t", &word))
        return;
    for (size_t i = 0; i < COUNT_OF(keywords); i++) {
        if (!span_ieq(word, span_cstr(keywords[i].word)) || (discarded & keywords[i].feature))
            continue;
        out->features |= keywords[i].feature;
        if (keywords[i].feature == SMTP_SIZE && span_token(&line, " \t", &limit) &&
            span_to_u64(limit, &out->size_limit) < 0)
            out->size_limit = 0;
    }
}

void ehlo_parse(struct span text, unsigned discarded, struct ehlo *out)
{
    struct span line;

    *out = (struct ehlo){.features = SMTP_ESMTP};
    if (!reply_next_line(&text, &line))
        return;
    if (!span_token(&line, " \t", &out->name))
        out->name = SPAN_NONE;
    while (reply_next_line(&text, &line))
        parse_keyword(line, discarded, out);
}
