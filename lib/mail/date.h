/*
 * date.h: dates of mail: RFC 5322 header dates with their obsolete forms, IMAP's
 * date-time and date (RFC 3501 9). Pure arithmetic: the time zone is an argument.
 */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

struct mail_date {
    int64_t seconds; /* since 1970-01-01 UTC */
    int zone;        /* minutes east of UTC */
};

struct date_parts {
    int year, month, day; /* month 1-12, day 1-31 */
    int hour, minute, second;
    int weekday; /* 0 = Sunday */
};

/* RFC 5322 3.3 with obs-date (two-digit years, named zones, comments); a missing
 * zone counts as UTC. ERR_SYNTAX. */
int date_parse(struct span text, struct mail_date *out);
/* "Fri, 21 Nov 1997 09:55:06 -0600" */
int date_append(struct str *out, struct mail_date date);

/* " 1-Feb-1994 21:52:25 -0800" without the quotes (RFC 3501 date-time). */
int date_parse_imap(struct span text, struct mail_date *out);
int date_append_imap(struct str *out, struct mail_date date);
/* "1-Feb-1994" (RFC 3501 date) as a day number, days since 1970-01-01. */
int date_parse_imap_day(struct span text, int64_t *day);
/* The day of a date: in its own zone (SENTON, RFC 3501 6.4.4), or in UTC. */
int64_t date_day(struct mail_date date, bool in_own_zone);

/* Civil time and back, proleptic Gregorian. */
void date_split(int64_t seconds, struct date_parts *out);
int64_t date_join(const struct date_parts *parts);

#endif
