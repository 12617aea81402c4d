#include "smtp/envelope.h"

#include "base/error.h"
#include "mail/address.h"
#include "smtp/settings.h"

static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 32 || text.p[i] == 127)
            return true;
    return false;
}

bool envelope_is_writable(struct span address)
{
    struct span domain = span_drop(address, (size_t)(span_rfind(address, '@') + 1));

    if (address.n == 0 || has_control(address))
        return false;
    /* A local part can be quoted; a domain with these would end its command early. */
    return domain.n == address.n ||
           (span_find(domain, ' ') < 0 && span_find(domain, '<') < 0 && span_find(domain, '>') < 0);
}

/* The local part is quoted where it must be. */
static int put_address(struct str *out, struct span text)
{
    return has_control(text) ? ERR_SYNTAX : address_print_text(out, text);
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
