#include "smtp/envelope.h"

#include "base/error.h"
#include "mail/address.h"
#include "smtp/settings.h"

/* Of letters, digits and what an atom may hold: nothing to quote. */
static bool is_plain(struct span address)
{
    for (size_t i = 0; i < address.n; i++) {
        char c = address.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) &&
            (c == '\0' || strchr("@-_+=/~^*!#$%&'?`{}|", c) == NULL) &&
            (c != '.' || i == 0 || i + 1 == address.n || strchr(".@", address.p[i + 1]) ||
             address.p[i - 1] == '@'))
            return false;
    }
    return span_find(address, '@') == span_rfind(address, '@');
}

static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 32 || text.p[i] == 127)
            return true;
    return false;
}

bool envelope_is_writable(struct span address)
{
    return address.n > 0 && !has_control(address);
}

/* smtp_quote_rfc821_envelope: the local part is quoted where it must be. */
static int put_address(struct str *out, struct span text)
{
    struct arena arena = {0};
    struct address address;
    int rc;

    if (is_plain(text))
        return str_append(out, text);
    if (has_control(text))
        return ERR_SYNTAX;
    if (address_parse(&arena, text, ADDRESS_STRICT | ADDRESS_ALLOW_UTF8, &address) < 0)
        address_from_internal(text, &address);
    rc = address_print(out, &address);
    arena_reset(&arena);
    return rc;
}

static void put_xtext(struct str *out, const char *name, struct span value)
{
    str_printf(out, " %s=", name);
    xtext_encode(out, value);
}

static int finish(struct str *out, int rc)
{
    int end = str_append_cstr(out, "\r\n");

    return rc < 0 ? rc : end;
}

int envelope_mail(struct str *out, const struct queue_message *m, unsigned features, uint64_t size,
                  uint32_t content_flags)
{
    int rc;

    str_append_cstr(out, "MAIL FROM:<");
    rc = put_address(out, m->sender);
    str_append_char(out, '>');
    if (features & SMTP_SIZE) {
        str_append_cstr(out, " SIZE=");
        str_append_u64(out, size);
    }
    if ((features & SMTP_8BITMIME) && (content_flags & QUEUE_EXTENT_8BIT))
        str_append_cstr(out, " BODY=8BITMIME");
    else if ((features & SMTP_8BITMIME) && m->body == QUEUE_BODY_7BIT)
        str_append_cstr(out, " BODY=7BIT");
    if ((features & SMTP_SMTPUTF8) && (m->flags & QUEUE_MESSAGE_SMTPUTF8))
        str_append_cstr(out, " SMTPUTF8");
    if ((features & SMTP_DSN) && m->ret != QUEUE_RETURN_UNSET)
        str_printf(out, " RET=%s", m->ret == QUEUE_RETURN_FULL ? "FULL" : "HDRS");
    if ((features & SMTP_DSN) && m->envid.n > 0)
        put_xtext(out, "ENVID", m->envid);
    return finish(out, rc);
}

int envelope_rcpt(struct str *out, const struct queue_recipient *r, unsigned features)
{
    char notify[40];
    ptrdiff_t semicolon = span_find(r->orcpt, ';');
    int rc;

    str_append_cstr(out, "RCPT TO:<");
    rc = r->address.n > 0 ? put_address(out, r->address) : ERR_SYNTAX;
    str_append_char(out, '>');
    if ((features & SMTP_DSN) && r->notify != 0)
        str_printf(out, " NOTIFY=%s", queue_notify_text(r->notify, notify));
    if ((features & SMTP_DSN) && semicolon > 0 &&
        !has_control(span_take(r->orcpt, (size_t)semicolon))) {
        str_printf(out, " ORCPT=%.*s;", (int)semicolon, r->orcpt.p);
        xtext_encode(out, span_drop(r->orcpt, (size_t)semicolon + 1));
    }
    return finish(out, rc);
}
