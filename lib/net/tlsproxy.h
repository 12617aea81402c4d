/*
 * tlsproxy.h: asking tlsproxy(8), the only holder of TLS private keys, to end
 * TLS for a client of a login process.
 *
 * Protocol "tls", version 1, on the socket "tlsproxy":
 *   starttls  client(fd) peer -> reply ok plain(fd) tls | reason
 * tlsproxy makes the handshake on the client's descriptor; plain is one end of a
 * socket pair with the plaintext.
 *
 *   sign  key scheme digest data -> reply signature | reason
 * is how a program that ends TLS itself (smtpd) uses a private key; data must be what
 * a TLS server signs in a handshake (tls_signer.h).
 *
 *   hold  key ... -> reply ok | reason
 * as the first request: signatures with these keys may be asked for over this
 * connection as long as it lasts. After a reload the tlsproxy that holds the keys of
 * an earlier generation stays until the last of that generation has closed it.
 *
 * Protocol "login", version 1, on the sockets "imap-login" and "pop3-login":
 *   client  client(fd) peer local tls -> reply ok | reason
 * is how tlsproxy hands over a client that connected to a port with implicit TLS,
 * after its handshake.
 */
#ifndef NET_TLSPROXY_H
#define NET_TLSPROXY_H

enum { TLSPROXY_PROTOCOL_VERSION = 1, LOGIN_PROTOCOL_VERSION = 1 };

#define TLSPROXY_SOCKET "tlsproxy"
#define TLSPROXY_PROTOCOL "tls"
#define LOGIN_PROTOCOL "login"

#endif
