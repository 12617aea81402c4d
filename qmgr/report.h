/*
 * report.h: delivery status notifications as text (RFC 3464, RFC 6522, RFC 6533
 * for SMTPUTF8), in the shape that readers know from Postfix. Pure: time, names
 * and the message are arguments.
 */
#ifndef QMGR_REPORT_H
#define QMGR_REPORT_H

#include "base/str.h"
#include "queue/bounce.h"

enum report_audience {
    REPORT_TO_SENDER,
    REPORT_TO_POSTMASTER, /* a copy, or a notification that could not be returned */
};

struct report_options {
    const char *myhostname, *mail_name;
    uint64_t size_limit; /* bounce_size_limit: more than that, and only the header returns */
    int64_t now_s;
    int64_t delay_warning_s, queue_lifetime_s;
    const char *queue_id;    /* of the notification */
    const char *original_id; /* of the message it is about */
    struct span recipient;   /* of the notification */
    enum report_audience audience;
};

/* Append everything in front of the returned message: the header of the
 * notification, the text for people, the delivery status, the part header. Lines
 * end with CRLF. */
int report_print(const struct bounce_request *r, const struct report_options *o, struct str *out);
/* How much of the original follows, from its beginning. */
uint64_t report_returned_size(const struct bounce_request *r, const struct report_options *o);
/* The end of the last part. */
int report_print_end(const struct report_options *o, struct str *out);
/* "<id.host@...>" without brackets: the notification's Message-ID. */
int report_message_id(const struct report_options *o, struct str *out);

#endif
