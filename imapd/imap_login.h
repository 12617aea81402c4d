/* imap_login.h: the commands of IMAP before authentication (RFC 3501 6.1, 6.2). */
#ifndef IMAPD_IMAP_LOGIN_H
#define IMAPD_IMAP_LOGIN_H

#include "login/login.h"

extern const struct login_protocol imap_login_protocol;

#endif
