/* flags.h: flags and keywords (RFC 3501 2.3.2) between the wire and the store. */
#ifndef IMAPD_FLAGS_H
#define IMAPD_FLAGS_H

#include "imapd/session.h"

struct flag_list {
    uint32_t flags;        /* enum store_flag */
    struct span *keywords; /* STORE_KEYWORDS_MAX different ones at most, of the command's arena */
    size_t keyword_count;
};

/* Take "(\Seen $Forwarded)", or without parentheses where is_bare is set. False: the
 * answer is set. */
TASK_WAITS bool flags_take(struct session *s, struct parse *p, bool is_bare, struct flag_list *out);
/* The answer when the store had no room for a new keyword, or something else failed. */
TASK_WAITS void flags_say_error(struct session *s, const struct flag_list *list, int rc,
                                const char *what);

/* Append "\Seen \Recent $Forwarded" without parentheses, in Dovecot's order. keywords: as
 * the view has them. */
int flags_append(const struct store_view *v, struct str *out, uint32_t flags, uint64_t keywords,
                 bool is_recent);
/* Is the message \Recent here? */
bool flags_is_recent(const struct store_view *v, uint32_t uid);
/* The FLAGS and PERMANENTFLAGS responses, with s->shown_keywords. */
TASK_WAITS void flags_say(struct session *s);

#endif
