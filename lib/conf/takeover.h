/* takeover.h: for lib/conf only: which of Postfix's services have no process of
 * their own here, and who does their work. */
#ifndef CONF_TAKEOVER_H
#define CONF_TAKEOVER_H

#include "conf/master_cf.h"

/* Set entry->taken_over_by. An inet postscreen entry becomes an smtpd entry,
 * with the overrides and the limit of the "smtpd pass" entry behind it. */
void takeover_apply(const struct master_cf *m, struct master_entry *entry);

#endif
