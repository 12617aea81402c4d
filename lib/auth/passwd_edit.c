#include "auth/passwd_edit.h"

#include "auth/passwd_file.h"
#include "base/error.h"

enum { USER_MAX = 255 };

static bool may_stand_in_field(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < ' ' || c == 127 || c == ':')
            return false;
    }
    return true;
}

bool passwd_user_is_valid(struct span user)
{
    ptrdiff_t at = span_rfind(user, '@');

    return user.n > 0 && user.n <= USER_MAX && user.p[0] != '#' && may_stand_in_field(user) &&
           span_find(user, ' ') < 0 && at != 0 && at != (ptrdiff_t)user.n - 1;
}

/* By the name field, so also when the line is broken behind it. */
static bool is_line_of(struct span line, struct span user)
{
    ptrdiff_t colon = span_find(line, ':');

    return colon > 0 && line.p[0] != '#' && span_ieq(span_take(line, (size_t)colon), user);
}

/* The next line with its newline, if it has one. */
static bool take_line(struct span *rest, struct span *line)
{
    ptrdiff_t end = span_find(*rest, '\n');

    if (rest->n == 0)
        return false;
    *line = span_take(*rest, end < 0 ? rest->n : (size_t)end + 1);
    *rest = span_drop(*rest, line->n);
    return true;
}

static bool has_user(struct span text, struct span user)
{
    struct span line;

    while (take_line(&text, &line)) {
        if (is_line_of(line, user))
            return true;
    }
    return false;
}

int passwd_account_user(struct span text, struct span account, struct span *user)
{
    struct str made = {0};
    struct span line;
    int rc = ERR_NOT_FOUND;

    while (rc == ERR_NOT_FOUND && take_line(&text, &line)) {
        struct passwd_entry entry;

        if (line.p[line.n - 1] == '\n')
            line.n--;
        if (passwd_line_parse(line, &entry) < 0)
            continue;
        str_clear(&made);
        if (entry.account.n == 0 && passwd_default_account(&made, entry.user) == 0)
            entry.account = str_span(&made);
        if (span_eq(entry.account, account)) {
            *user = entry.user;
            rc = 0;
        }
    }
    str_fini(&made);
    return rc;
}

int passwd_edit_add(struct str *out, struct span text, struct span user, struct span password,
                    struct span account)
{
    struct span other;

    if (!passwd_user_is_valid(user) || !may_stand_in_field(password) ||
        !passwd_account_is_valid(account))
        return ERR_SYNTAX;
    if (has_user(text, user))
        return ERR_EXISTS;
    if (passwd_account_user(text, account, &other) == 0)
        return ERR_DENIED;
    str_append(out, text);
    if (text.n > 0 && text.p[text.n - 1] != '\n')
        str_append_char(out, '\n');
    str_append(out, user);
    str_append_char(out, ':');
    str_append(out, password);
    str_append_cstr(out, "::::::userdb_account=");
    str_append(out, account);
    return str_append_char(out, '\n');
}

/* What is behind the first field of s: from its end on. */
static struct span behind_field(struct span s)
{
    size_t end = 0;

    while (end < s.n && s.p[end] != ':' && s.p[end] != '\r' && s.p[end] != '\n')
        end++;
    return span_drop(s, end);
}

int passwd_edit_password(struct str *out, struct span text, struct span user, struct span password)
{
    struct span line;
    bool is_done = false;

    if (!may_stand_in_field(password))
        return ERR_SYNTAX;
    while (take_line(&text, &line)) {
        size_t name;

        if (is_done || !is_line_of(line, user)) {
            str_append(out, line);
            continue;
        }
        name = (size_t)span_find(line, ':') + 1;
        str_append(out, span_take(line, name));
        str_append(out, password);
        str_append(out, behind_field(span_drop(line, name)));
        is_done = true;
    }
    return is_done ? str_error(out) : ERR_NOT_FOUND;
}

int passwd_edit_remove(struct str *out, struct span text, struct span user)
{
    struct span line;
    bool is_done = false;

    while (take_line(&text, &line)) {
        if (is_line_of(line, user))
            is_done = true;
        else
            str_append(out, line);
    }
    return is_done ? str_error(out) : ERR_NOT_FOUND;
}
