#include "mail/date.h"

#include "base/error.h"
#include "base/mem.h"

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

enum { DAY_SECONDS = 86400 };

/* --- civil time --- */

/* Days since 1970-01-01; years begin in March here, so that the leap day is the last one. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? (int64_t)year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static int64_t floor_days(int64_t seconds)
{
    return (seconds >= 0 ? seconds : seconds - (DAY_SECONDS - 1)) / DAY_SECONDS;
}

void date_split(int64_t seconds, struct date_parts *out)
{
    int64_t days = floor_days(seconds), z = days + 719468;
    int rest = (int)(seconds - days * DAY_SECONDS);
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int month = (int)((5 * doy + 2) / 153);

    out->day = (int)(doy - (153 * month + 2) / 5 + 1);
    out->month = month < 10 ? month + 3 : month - 9;
    out->year = (int)(yoe + era * 400 + (out->month <= 2));
    out->hour = rest / 3600;
    out->minute = rest / 60 % 60;
    out->second = rest % 60;
    out->weekday = (int)(((days + 4) % 7 + 7) % 7);
}

int64_t date_join(const struct date_parts *p)
{
    return days_from_civil(p->year, p->month, p->day) * DAY_SECONDS + p->hour * 3600 +
           p->minute * 60 + p->second;
}

int64_t date_day(struct mail_date date, bool in_own_zone)
{
    return floor_days(date.seconds + (in_own_zone ? date.zone * 60 : 0));
}

static int month_days(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && is_leap);
}

static bool is_valid(const struct date_parts *p)
{
    return p->month >= 1 && p->month <= 12 && p->day >= 1 &&
           p->day <= month_days(p->year, p->month) && p->hour <= 23 && p->minute <= 59 &&
           p->second <= 60;
}

/* --- reading --- */

/* Blanks, folds and comments (RFC 5322 3.2.2). */
static void skip_blanks(struct span *s)
{
    unsigned level = 0;
    size_t i = 0;

    for (; i < s->n; i++) {
        char c = s->p[i];

        if (c == '\\' && level > 0 && i + 1 < s->n)
            i++;
        else if (c == '(')
            level++;
        else if (c == ')' && level > 0)
            level--;
        else if (level == 0 && !ascii_is_space(c))
            break;
    }
    *s = span_drop(*s, i);
}

/* min to max digits. */
static bool take_number(struct span *s, size_t min, size_t max, int *value)
{
    size_t n = 0;

    *value = 0;
    for (; n < s->n && n < max && ascii_is_digit(s->p[n]); n++)
        *value = *value * 10 + (s->p[n] - '0');
    *s = span_drop(*s, n);
    return n >= min;
}

static bool take_char(struct span *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = span_drop(*s, 1);
    return true;
}

static struct span take_word(struct span *s)
{
    size_t n = 0;

    while (n < s->n && ascii_is_alpha(s->p[n]))
        n++;
    *s = span_drop(*s, n);
    return span_make(s->p - n, n);
}

static bool take_month(struct span *s, int *month)
{
    struct span word = take_word(s);

    for (*month = 1; *month <= 12 && word.n >= 3; (*month)++)
        if (span_ieq(span_take(word, 3), span_cstr(month_names[*month - 1])))
            return true;
    return false;
}

/* "+hhmm" */
static bool take_offset(struct span *s, int *zone)
{
    int sign = take_char(s, '-') ? -1 : 1, value;

    if (sign > 0 && !take_char(s, '+'))
        return false;
    if (!take_number(s, 4, 4, &value) || value % 100 > 59)
        return false;
    *zone = sign * (value / 100 * 60 + value % 100);
    return true;
}

/* A zone by number or name (RFC 5322 4.3); everything unknown is UTC. */
static int take_zone(struct span *s)
{
    static const struct {
        char name[4];
        int hours;
    } zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
                 {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
    struct span word;
    int zone = 0;

    if (take_offset(s, &zone))
        return zone;
    word = take_word(s);
    for (size_t i = 0; i < COUNT_OF(zones); i++)
        if (span_ieq(word, span_cstr(zones[i].name)))
            return zones[i].hours * 60;
    return 0;
}

/* RFC 5322 4.3: 00-49 are 2000 on, 50-99 and three digits 1900 on. */
static int full_year(int year, size_t digits)
{
    if (digits == 2)
        return year + (year < 50 ? 2000 : 1900);
    return digits == 3 ? year + 1900 : year;
}

static bool take_year(struct span *s, int *year)
{
    size_t before = s->n;

    if (!take_number(s, 2, 4, year))
        return false;
    *year = full_year(*year, before - s->n);
    return true;
}

/* hour ":" minute [":" second], blanks around the colons tolerated. */
static bool take_time(struct span *s, struct date_parts *p)
{
    if (!take_number(s, 1, 2, &p->hour))
        return false;
    skip_blanks(s);
    if (!take_char(s, ':') && !take_char(s, '.'))
        return false;
    skip_blanks(s);
    if (!take_number(s, 1, 2, &p->minute))
        return false;
    skip_blanks(s);
    if (take_char(s, ':') || take_char(s, '.')) {
        skip_blanks(s);
        if (!take_number(s, 1, 2, &p->second))
            return false;
        skip_blanks(s);
    }
    return true;
}

static int finish(const struct date_parts *p, int zone, struct mail_date *out)
{
    if (!is_valid(p))
        return ERR_SYNTAX;
    out->zone = zone;
    out->seconds = date_join(p) - (int64_t)zone * 60;
    return 0;
}

int date_parse(struct span text, struct mail_date *out)
{
    struct date_parts p = {0};

    skip_blanks(&text);
    if (text.n > 0 && ascii_is_alpha(text.p[0])) {
        (void)take_word(&text);
        skip_blanks(&text);
        (void)take_char(&text, ',');
        skip_blanks(&text);
    }
    if (!take_number(&text, 1, 2, &p.day))
        return ERR_SYNTAX;
    skip_blanks(&text);
    (void)take_char(&text, '-');
    if (!take_month(&text, &p.month))
        return ERR_SYNTAX;
    skip_blanks(&text);
    (void)take_char(&text, '-');
    if (!take_year(&text, &p.year))
        return ERR_SYNTAX;
    skip_blanks(&text);
    if (text.n > 0 && !take_time(&text, &p))
        return ERR_SYNTAX;
    return finish(&p, take_zone(&text), out);
}

/* "d-Mon-yyyy"; a leading blank for one digit only where the grammar has it. */
static bool take_imap_date(struct span *s, bool is_fixed, struct date_parts *p)
{
    if (is_fixed) {
        bool has_blank = take_char(s, ' ');

        if (!take_number(s, has_blank ? 1 : 2, has_blank ? 1 : 2, &p->day))
            return false;
    } else if (!take_number(s, 1, 2, &p->day)) {
        return false;
    }
    if (!take_char(s, '-') || s->n < 4 || s->p[3] != '-' || !take_month(s, &p->month))
        return false;
    return take_char(s, '-') && take_number(s, 4, 4, &p->year);
}

int date_parse_imap(struct span text, struct mail_date *out)
{
    struct date_parts p = {0};
    int zone;

    if (!take_imap_date(&text, true, &p) || !take_char(&text, ' ') ||
        !take_number(&text, 2, 2, &p.hour) || !take_char(&text, ':') ||
        !take_number(&text, 2, 2, &p.minute) || !take_char(&text, ':') ||
        !take_number(&text, 2, 2, &p.second) || !take_char(&text, ' ') ||
        !take_offset(&text, &zone) || text.n > 0)
        return ERR_SYNTAX;
    return finish(&p, zone, out);
}

int date_parse_imap_day(struct span text, int64_t *day)
{
    struct date_parts p = {0};

    if (!take_imap_date(&text, false, &p) || text.n > 0 || !is_valid(&p))
        return ERR_SYNTAX;
    *day = days_from_civil(p.year, p.month, p.day);
    return 0;
}

/* --- writing --- */

static int append_zone(struct str *out, int zone)
{
    unsigned minutes = (unsigned)(zone < 0 ? -zone : zone);

    return str_printf(out, " %c%02u%02u", zone < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

int date_append(struct str *out, struct mail_date date)
{
    struct date_parts p;

    date_split(date.seconds + (int64_t)date.zone * 60, &p);
    str_printf(out, "%s, %d %s %04d %02d:%02d:%02d", day_names[p.weekday], p.day,
               month_names[p.month - 1], p.year, p.hour, p.minute, p.second);
    return append_zone(out, date.zone);
}

int date_append_imap(struct str *out, struct mail_date date)
{
    struct date_parts p;

    date_split(date.seconds + (int64_t)date.zone * 60, &p);
    str_printf(out, "%2d-%s-%04d %02d:%02d:%02d", p.day, month_names[p.month - 1], p.year, p.hour,
               p.minute, p.second);
    return append_zone(out, date.zone);
}
