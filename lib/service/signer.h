/* signer.h: asking tlsproxy(8) for signatures with private keys that only it holds. */
#ifndef SERVICE_SIGNER_H
#define SERVICE_SIGNER_H

#include "net/tls_signer.h"

/* Once, in on_load: contexts made with tls_options.is_key_remote sign through
 * tlsproxy. 0 or ERR_TLS. */
int service_signer_start(void);
/* In on_start: from now on there is a tlsproxy that keeps these keys for this process,
 * whatever becomes of the files. Nothing without service_signer_start(). -ENOMEM. */
int service_signer_hold(void);

#endif
