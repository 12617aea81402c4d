/* params.c: print main.cf(5) from the table of parameters. See man.mk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/param.h"

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct param *const *)a)->name, (*(const struct param *const *)b)->name);
}

/* Text for mdoc: backslashes and line-leading dots and quotes are its own. */
static void put_text(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\\')
            fputs("\\e", stdout);
        else if (*p == '"')
            fputs("\\(dq", stdout);
        else if (*p == '-')
            fputs("\\-", stdout);
        else if (p == text && (*p == '.' || *p == '\''))
            printf("\\&%c", *p);
        else
            putchar(*p);
    }
}

/* Sentences each on a line of their own, as mdoc wants it. */
static void put_sentence(const char *text)
{
    put_text(text);
    putchar('\n');
}

/* Paths that ./configure chose are named, not spelt out. */
static void put_default(const char *text)
{
    static const char *const places[][2] = {
        {WAYPOST_SYSCONFDIR, "SYSCONFDIR"}, {WAYPOST_BINDIR, "BINDIR"},
        {WAYPOST_SBINDIR, "SBINDIR"},       {WAYPOST_LIBEXECDIR, "LIBEXECDIR"},
        {WAYPOST_MANDIR, "MANDIR"},
    };

    for (size_t i = 0; i < COUNT_OF(places); i++) {
        size_t n = strlen(places[i][0]);

        if (strncmp(text, places[i][0], n) == 0 && (text[n] == '/' || text[n] == '\0')) {
            fputs(places[i][1], stdout);
            text += n;
            break;
        }
    }
    put_text(text);
}

static void put_kind(const struct param *p)
{
    printf("Type: %s", param_type_name(p->type));
    if (p->type == PARAM_ENUM)
        printf(" (%s%s)", p->choices, p->min == 0 ? "; may be empty" : "");
    if (p->type == PARAM_INT && p->max > 0)
        printf(", %lld to %lld", (long long)p->min, (long long)p->max);
    else if (p->type == PARAM_INT && p->min != 0)
        printf(", at least %lld", (long long)p->min);
    if (p->type == PARAM_TIME)
        printf(", default unit %c", param_time_unit(p));
    printf(".\n");
    if (strcmp(p->programs, "none") != 0 && p->programs[0] != '\0')
        printf("Used by: %s.\n", p->programs);
}

static void put_row(const struct param *p, const char *before)
{
    printf(".It Ic %s%s Pq ", before, p->name);
    if (p->compute != NULL)
        printf("default: from the host");
    else if (p->fallback[0] == '\0')
        printf("default: empty");
    else {
        printf("default: ");
        put_default(p->fallback);
    }
    putchar('\n');
    put_sentence(p->help);
    put_kind(p);
    if (p->status == PARAM_IGNORED)
        printf("Accepted, and without effect here.\n");
    if (p->status == PARAM_NOT_HONOURED)
        printf("Not supported: accepted with a warning, and without effect.\n");
    if (p->status == PARAM_RESTRICTS)
        printf("Not supported: any value but the default keeps the mail system from starting.\n");
    if (p->note != NULL)
        put_sentence(p->note);
}

/* Those that work here (or need not), or those that do not. */
static void put_rows(const struct param **rows, size_t count, bool is_supported)
{
    printf(".Bl -tag -width Ds\n");
    for (size_t i = 0; i < count; i++) {
        bool is_missing =
            rows[i]->status == PARAM_NOT_HONOURED || rows[i]->status == PARAM_RESTRICTS;

        if (is_missing != is_supported)
            put_row(rows[i], "");
    }
    printf(".El\n");
}

static void put_head(void)
{
    printf(
        ".\\\" Made from lib/conf/params_*.c by \"make man\"; do not edit.\n"
        ".Dd November 21, 2026\n.Dt MAIN.CF 5\n.Os Waypost\n.Sh NAME\n.Nm main.cf\n"
        ".Nd parameters of the mail system\n.Sh DESCRIPTION\n"
        ".Nm\nsets parameters, one a line:\n.Dl name = value\n"
        "A line that begins with white space goes on with the value of the line before.\n"
        "Comment lines, which begin with\n.Ql # ,\n"
        "and blank lines may stand anywhere, also between such lines; a\n.Ql #\n"
        "behind a value is part of the value.\nWhen a name is set twice, the last one "
        "counts.\n.Pp\n"
        "In values,\n.Ic $name ,\n.Ic ${name}\nand\n.Ic $(name)\n"
        "stand for the value of another parameter, or nothing when there is none of that name;\n"
        ".Ic ${name?text}\nfor the text when that value is not empty,\n.Ic ${name:text}\n"
        "when it is empty,\n.Ic ${name?{text}:{text}}\nfor the one or the other, and\n"
        ".Ic ${{text} == {text} ? {text} : {text}}\n"
        "compares (== != < <= > >=, as numbers when both are).\n.Ql $$\nis a dollar sign.\n.Pp\n"
        "Times are numbers with a unit: s, m, h, d or w.\n"
        "A bad value keeps the mail system from starting; the message names file and line.\n"
        "Names that are not listed here may be set and referred to as\n.Ic $name ;\n"
        "those that nothing refers to are warned about.\n.Pp\n"
        "Names, meanings and defaults are those of Postfix 3.7.11 at compatibility level 3.6\n"
        "where Postfix has the parameter.\n"
        "BINDIR, SBINDIR, LIBEXECDIR, MANDIR and SYSCONFDIR are the directories chosen when the\n"
        "suite was built.\n");
}

int main(void)
{
    size_t count = param_count();
    const struct param **rows = mem_new_or_die(count * sizeof(*rows));

    for (size_t i = 0; i < count; i++)
        rows[i] = param_at(i);
    qsort(rows, count, sizeof(*rows), by_name);
    put_head();
    printf(".Sh PARAMETERS\n");
    put_rows(rows, count, true);
    printf(".Ss Parameters of one transport or service\n"
           "Names begin with a transport or service of\n.Xr master.cf 5 .\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < param_pattern_count(); i++)
        put_row(param_pattern_at(i), "<name>");
    printf(".El\n.Sh PARAMETERS OF POSTFIX THAT ARE NOT SUPPORTED\n");
    put_rows(rows, count, false);
    printf(".Sh SEE ALSO\n.Xr postconf 1 ,\n.Xr master.cf 5 ,\n.Xr waypost 8\n");
    free(rows);
    return 0;
}
