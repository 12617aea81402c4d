/* support_mail.h: shared by the tests of lib/mail. */
#ifndef TESTS_SUPPORT_MAIL_H
#define TESTS_SUPPORT_MAIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

/* The text of out is expected; clears out. label says which row of a table it was. */
void check_text(struct str *out, const char *expected, const char *label);

#endif
