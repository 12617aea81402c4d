/* pop3_login.h: the commands of POP3 before authentication. */
#ifndef POP3D_POP3_LOGIN_H
#define POP3D_POP3_LOGIN_H

#include "login/login.h"

extern const struct login_protocol pop3_login_protocol;

#endif
