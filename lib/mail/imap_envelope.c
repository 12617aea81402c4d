/* ENVELOPE (RFC 3501 7.4.2). */
#include <errno.h>

#include "mail/addrlist.h"
#include "mail/header.h"
#include "mail/imap.h"
#include "mail/imap_internal.h"

/* So many addresses of a field are shown: an envelope is a multiple of what it is made
 * from, three times for From. */
enum { ADDRESSES_MAX = 10000 };

enum field_kind { PLAIN, PEOPLE, ADDRESSES };

enum { DATE, SUBJECT, FROM, SENDER, REPLY_TO, TO, CC, BCC, IN_REPLY_TO, MESSAGE_ID, FIELDS };

static const struct envelope_field {
    struct span name;
    enum field_kind kind;
} fields[FIELDS] = {
    [DATE] = {SPAN_LIT("Date"), PLAIN},
    [SUBJECT] = {SPAN_LIT("Subject"), PEOPLE},
    [FROM] = {SPAN_LIT("From"), ADDRESSES},
    [SENDER] = {SPAN_LIT("Sender"), ADDRESSES},
    [REPLY_TO] = {SPAN_LIT("Reply-To"), ADDRESSES},
    [TO] = {SPAN_LIT("To"), ADDRESSES},
    [CC] = {SPAN_LIT("Cc"), ADDRESSES},
    [BCC] = {SPAN_LIT("Bcc"), ADDRESSES},
    [IN_REPLY_TO] = {SPAN_LIT("In-Reply-To"), PLAIN},
    [MESSAGE_ID] = {SPAN_LIT("Message-ID"), PLAIN},
};

struct envelope {
    struct arena *arena;
    struct str *out;
    struct str scratch;
    struct span values[FIELDS]; /* p NULL: no such field. Of several the last one counts. */
    struct addrlist_item *lists[FIELDS]; /* of several fields all addresses count */
    struct addrlist_item **tails[FIELDS];
    unsigned counts[FIELDS];
};

static int field_index(struct span name)
{
    if (name.n < 2 || name.n > 11)
        return -1;
    for (int i = 0; i < FIELDS; i++)
        if (fields[i].name.n == name.n && span_ieq(fields[i].name, name))
            return i;
    return -1;
}

static void append_address(struct envelope *e, const struct addrlist_item *item)
{
    str_append_char(e->out, '(');
    if (item->name.p == NULL)
        str_append(e->out, SPAN_LIT("NIL"));
    else
        imap_append_text(e->out, item->name, &e->scratch);
    str_append_char(e->out, ' ');
    imap_append_nstring(e->out, item->route);
    str_append_char(e->out, ' ');
    imap_append_nstring(e->out, item->mailbox);
    str_append_char(e->out, ' ');
    imap_append_nstring(e->out, item->domain);
    str_append_char(e->out, ')');
}

static void append_list(struct envelope *e, const struct addrlist_item *list)
{
    if (list == NULL) {
        str_append(e->out, SPAN_LIT("NIL"));
        return;
    }
    str_append_char(e->out, '(');
    for (; list != NULL; list = list->next)
        append_address(e, list);
    str_append_char(e->out, ')');
}

static void append_field(struct envelope *e, int i)
{
    const struct addrlist_item *list = e->lists[i];

    switch (fields[i].kind) {
    case PLAIN:
        imap_append_unfolded(e->out, e->values[i], &e->scratch);
        break;
    case PEOPLE:
        if (e->values[i].p == NULL)
            str_append(e->out, SPAN_LIT("NIL"));
        else
            imap_append_text(e->out, e->values[i], &e->scratch);
        break;
    case ADDRESSES:
        /* RFC 3501 7.4.2: a missing Sender or Reply-To is From. */
        if (list == NULL && (i == SENDER || i == REPLY_TO))
            list = e->lists[FROM];
        append_list(e, list);
        break;
    }
}

static int add_addresses(struct envelope *e, int i, struct span value)
{
    struct addrlist_item **tail = e->tails[i] != NULL ? e->tails[i] : &e->lists[i];
    int error = addrlist_parse(e->arena, value, ADDRESSES_MAX - e->counts[i], tail);

    for (; *tail != NULL; e->counts[i]++)
        tail = &(*tail)->next;
    e->tails[i] = tail;
    return error;
}

int imap_append_envelope(struct arena *arena, struct str *out, struct span message)
{
    struct envelope e = {.arena = arena, .out = out};
    struct header_walk walk = header_begin(message);
    struct header_field field;
    int error = 0;

    while (error == 0 && header_next(&walk, &field)) {
        int i = field_index(field.name);

        if (i < 0)
            continue;
        if (fields[i].kind == ADDRESSES)
            error = add_addresses(&e, i, field.value);
        else
            e.values[i] = field.value;
    }
    str_init(&e.scratch, out->budget);
    for (int i = 0; i < FIELDS && error == 0; i++) {
        str_append_char(out, i == 0 ? '(' : ' ');
        append_field(&e, i);
        error = str_error(&e.scratch);
    }
    str_append_char(out, ')');
    str_fini(&e.scratch);
    return error != 0 ? error : str_error(out);
}

bool imap_is_envelope_field(struct span name)
{
    return field_index(name) >= 0;
}

int imap_envelope_fields(struct str *out, struct span message)
{
    struct header_walk walk = header_begin(message);
    struct header_field field;

    while (header_next(&walk, &field)) {
        if (!imap_is_envelope_field(field.name))
            continue;
        str_append(out, field.raw);
        if (field.raw.p[field.raw.n - 1] != '\n') /* the message ends here */
            str_append(out, SPAN_LIT("\r\n"));
    }
    return str_append(out, SPAN_LIT("\r\n"));
}

int imap_envelope(struct str *out, struct span message)
{
    struct arena arena;
    int error;

    arena_init(&arena, out->budget);
    error = imap_append_envelope(&arena, out, message);
    arena_reset(&arena);
    return error;
}
