/* capability.h: what CAPABILITY lists; one place for imap-login and imapd. */
#ifndef IMAPD_CAPABILITY_H
#define IMAPD_CAPABILITY_H

/* Before authentication: STARTTLS, LOGINDISABLED and AUTH= are added as they apply. */
#define CAPABILITY_LOGIN "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE"
/* After it. */
#define CAPABILITY_SESSION                                                                \
    "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE UNSELECT CHILDREN UIDPLUS MOVE " \
    "SPECIAL-USE"

#endif
