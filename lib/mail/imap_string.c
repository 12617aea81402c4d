/* Strings on IMAP's wire (RFC 3501 4.3): NIL, quoted, literal. */
#include "mail/imap.h"
#include "mail/imap_internal.h"

/* A quoted string with more escapes than this is shorter as a literal. */
enum { ESCAPES_MAX = 4 };

/* What a string needs. */
struct needs {
    unsigned escapes;
    bool is_literal;
};

static struct needs look_at(struct span text)
{
    struct needs needs = {0};

    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c == '"' || c == '\\')
            needs.escapes++;
        else if (c == '\r' || c == '\n' || c == '\0' || c >= 0x80)
            needs.is_literal = true;
    }
    needs.is_literal = needs.is_literal || needs.escapes > ESCAPES_MAX;
    return needs;
}

static int append_literal(struct str *out, struct span text)
{
    str_append_char(out, '{');
    str_append_u64(out, text.n);
    str_append(out, SPAN_LIT("}\r\n"));
    if (memchr(text.p, '\0', text.n) == NULL)
        return str_append(out, text);
    for (size_t i = 0; i < text.n; i++)
        str_append_char(out, text.p[i] == '\0' ? (char)0x80 : text.p[i]);
    return str_error(out);
}

int imap_append_string(struct str *out, struct span text)
{
    struct needs needs = look_at(text);

    if (needs.is_literal)
        return append_literal(out, text);
    str_append_char(out, '"');
    if (needs.escapes == 0) {
        str_append(out, text);
    } else {
        for (size_t i = 0; i < text.n; i++) {
            if (text.p[i] == '"' || text.p[i] == '\\')
                str_append_char(out, '\\');
            str_append_char(out, text.p[i]);
        }
    }
    return str_append_char(out, '"');
}

int imap_append_nstring(struct str *out, struct span text)
{
    return text.p == NULL ? str_append(out, SPAN_LIT("NIL")) : imap_append_string(out, text);
}

int imap_append_astring(struct str *out, struct span text)
{
    bool is_atom = text.n > 0 && !span_ieq(text, SPAN_LIT("NIL"));

    for (size_t i = 0; i < text.n && is_atom; i++)
        is_atom = ascii_is_print(text.p[i]) && strchr("(){ %*\"\\", text.p[i]) == NULL;
    return is_atom ? str_append(out, text) : imap_append_string(out, text);
}

static bool needs_cleaning(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\r' || text.p[i] == '\n' || text.p[i] == '\0')
            return true;
    return false;
}

/* The end of the run of CR at i. */
static size_t end_of_cr(struct span text, size_t i)
{
    while (i < text.n && text.p[i] == '\r')
        i++;
    return i;
}

int imap_append_unfolded(struct str *out, struct span text, struct str *scratch)
{
    if (text.p == NULL)
        return str_append(out, SPAN_LIT("NIL"));
    if (!needs_cleaning(text))
        return imap_append_string(out, text);
    str_clear(scratch);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r') {
            size_t end = end_of_cr(text, i);
            /* CR in front of LF is a line end; elsewhere it is a blank, as to Dovecot. */
            for (; i < end && (end == text.n || text.p[end] != '\n'); i++)
                str_append_char(scratch, ' ');
            i = end - 1;
        } else if (text.p[i] == '\0') {
            str_append(scratch, SPAN_LIT("\xef\xbf\xbd"));
        } else if (text.p[i] != '\n') {
            str_append_char(scratch, text.p[i]);
        }
    }
    if (str_error(scratch) != 0)
        return str_error(scratch);
    return imap_append_string(out, str_span(scratch));
}

int imap_append_text(struct str *out, struct span text, struct str *scratch)
{
    bool is_plain = true, after_blank = true;

    for (size_t i = 0; i < text.n && is_plain; i++) {
        char c = text.p[i];

        is_plain = ascii_is_print(c) && c != '"' && c != '\\' && !(c == ' ' && after_blank);
        after_blank = c == ' ';
    }
    if (is_plain && (text.n == 0 || !after_blank)) {
        str_append_char(out, '"');
        str_append(out, text);
        return str_append_char(out, '"');
    }
    str_clear(scratch);
    after_blank = true;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool is_blank = ascii_is_blank(c) || c == '\r' || c == '\n'; /* a bare CR, too */

        if (c == '\0')
            str_append(scratch, SPAN_LIT("\xef\xbf\xbd"));
        else if (!is_blank)
            str_append_char(scratch, c);
        else if (!after_blank)
            str_append_char(scratch, ' ');
        after_blank = is_blank;
    }
    if (scratch->len > 0 && after_blank)
        str_truncate(scratch, scratch->len - 1);
    if (str_error(scratch) != 0)
        return str_error(scratch);
    if (scratch->len == 0)
        return str_append(out, SPAN_LIT("\"\""));
    return append_literal(out, str_span(scratch));
}
