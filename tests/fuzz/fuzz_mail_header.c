/* Fields, encoded words, dates. */
#include <stdlib.h>

#include "mail/charset.h"
#include "mail/date.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_make(data, size);
    struct header_walk w = header_begin(text);
    struct header_field field;
    struct str out = {0};
    struct mail_date date;
    int64_t day;

    while (header_next(&w, &field)) {
        str_clear(&out);
        header_decode(&out, field.value);
        if (!utf8_is_valid(str_span(&out)))
            abort();
        if (date_parse(field.value, &date) == 0) {
            struct mail_date again;

            str_clear(&out);
            date_append(&out, date);
            if (date.zone > -1440 && date.zone < 1440 &&
                (date_parse(str_span(&out), &again) != 0 || again.seconds != date.seconds))
                abort();
        }
    }
    date_parse_imap(text, &date);
    date_parse_imap_day(text, &day);
    str_clear(&out);
    header_decode(&out, text);
    str_fini(&out);
    return 0;
}
