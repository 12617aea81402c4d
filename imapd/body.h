/*
 * body.h: sections of a message (RFC 3501 6.4.5, BODY[...]): where they stand, and
 * sending them. Short sections are taken into memory; long ones stay places in the
 * message and are read while they are sent, 32 KiB at a time, whatever their size.
 */
#ifndef IMAPD_BODY_H
#define IMAPD_BODY_H

#include <stdbool.h>

#include "imapd/session.h"
#include "mail/imap.h"

/* For the parts of a message, its ENVELOPE and BODYSTRUCTURE. What these cost is the
 * sender's will, within lib/mail's limits, and not the client's: in the session's budget,
 * one message could end every session that comes across it. One message at a time. */
enum { BODY_MEMORY_OCTETS = 64 * 1024 * 1024 };

/* What is asked for, and the answer. */
struct body_section {
    const struct imap_section *want;
    int rc;        /* 0; ERR_NOT_FOUND: the message has no such part; -ENOMEM */
    uint64_t size; /* octets as they are sent */
    bool is_text;  /* it is in text; otherwise in pieces of the message */
    bool is_bare;  /* has LF without CR, which are sent as CRLF */
    struct str text;
    ARRAY(struct body_piece) pieces;
};
struct body_piece {
    uint64_t offset, length; /* from the message's beginning */
    bool is_line_end;        /* CRLF that is not in the message: it ends a list of fields */
};

/* Before the first use and after the last. */
void body_section_init(struct body_section *section, const struct imap_section *want,
                       struct budget *budget);
void body_section_clear(struct body_section *section);

/* Answer sections from a message in memory. header_only: message is at least the whole
 * header. Pure; may run on a worker. */
void body_find(struct span message, struct body_section *sections, size_t count);
/* The header with its empty line; n is 0 when its end is not in text. */
struct span body_header(struct span text);

/* Answer sections of a message in the store. is_plain: its size is its length, so it has
 * no bare LF. Negative: it could not be read. */
TASK_WAITS int body_find_stored(struct session *s, const struct store_body *body, bool is_plain,
                                struct body_section *sections, size_t count);
/* ENVELOPE and BODYSTRUCTURE of a message in the store that has none cached. */
TASK_WAITS int body_describe_stored(const struct store_body *body, struct str *envelope,
                                    struct str *structure);
/* Send count octets from offset. ERR_TRUNCATED and others: fewer went out. */
TASK_WAITS int body_send(struct session *s, const struct store_body *body,
                         const struct body_section *section, uint64_t offset, uint64_t count);

/* The whole message for work on a worker: run(arg, message) sees it in memory, where it
 * may be mapped. Negative: it could not be read, run was not called. */
TASK_WAITS int body_with_content(const struct store_body *body, uint64_t limit,
                                 void (*run)(void *arg, struct span message), void *arg);

#endif
