#include "tests/unit/mail/support_mail.h"

#include <stdio.h>

void check_text(struct str *out, const char *expected, const char *label)
{
    if (!span_eq(str_span(out), span_cstr(expected)))
        fail_msg("%s:\n  got      %s\n  expected %s", label, str_cstr(out), expected);
    str_clear(out);
}
