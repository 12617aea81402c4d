/* params_waypost.c: what Postfix has no word for. Adding a row: param.h. Keep the
 * rows of one program together. */
#include "conf/tables.h"

static const struct param rows[] = {
    /* --- the suite --- */
    {"waypost_version", PARAM_STRING, "0.1", 1, 0, "all", PARAM_HONOURED,
     "Version of this mail system (mail_version names the Postfix version it understands)."},
    {"waypost_user", PARAM_STRING, "waypost", 1, 0, "all", PARAM_HONOURED,
     "Group that services share to reach each other's sockets, and user that owns run/."},
    {"waypost_smtpd_user", PARAM_STRING, "waypost-smtpd", 1, 0, "smtpd anvil", PARAM_HONOURED,
     "User that smtpd and anvil run as."},
    {"waypost_queue_user", PARAM_STRING, "waypost-queue", 1, 0, "qmgr bounce pickup",
     PARAM_HONOURED, "User that owns the queue and that qmgr, bounce and pickup run as."},
    {"waypost_smtp_user", PARAM_STRING, "waypost-smtp", 1, 0, "smtp", PARAM_HONOURED,
     "User that smtp and lmtp run as."},
    {"waypost_store_user", PARAM_STRING, "waypost-store", 1, 0, "store imapd pop3d", PARAM_HONOURED,
     "User that owns the mail store and that store, imapd and pop3d run as."},
    {"waypost_auth_user", PARAM_STRING, "waypost-auth", 1, 0, "auth", PARAM_HONOURED,
     "User that auth runs as."},
    {"waypost_login_user", PARAM_STRING, "waypost-login", 1, 0, "imap-login pop3-login",
     PARAM_HONOURED, "User that imap-login and pop3-login run as."},
    {"waypost_tls_user", PARAM_STRING, "waypost-tls", 1, 0, "tlsproxy", PARAM_HONOURED,
     "User that tlsproxy, the holder of the private keys, runs as."},
    {"waypost_broker_user", PARAM_STRING, "waypost-broker", 1, 0, "broker", PARAM_HONOURED,
     "User that broker runs as."},
    {"waypost_log_user", PARAM_STRING, "waypost-log", 1, 0, "postlogd", PARAM_HONOURED,
     "User that postlogd runs as."},
    {"alias_expansion_limit", PARAM_INT, "100000", 1, 0, "local", PARAM_HONOURED,
     "Most recipients that an alias of alias_maps may stand for; mail for one with more is "
     "deferred."},
    {"anvil_table_limit", PARAM_INT, "100000", 1, 0, "anvil", PARAM_HONOURED,
     "Most clients and services whose connections anvil counts at once."},
    {"drain_time_limit", PARAM_TIME, "1h", 1, 0, "all", PARAM_HONOURED,
     "Time that the sessions of a process may last after a reload has replaced it."},
    {"file_check_interval", PARAM_TIME, "5s", 0, 86400, "master", PARAM_HONOURED,
     "Time between two looks at the tables, lists and certificates that main.cf and master.cf "
     "name; when one has changed, and is the same at the next look, new processes take over as "
     "after a reload. 0: not looked at."},
    {"process_busy_share", PARAM_INT, "80", 5, 100, "master", PARAM_HONOURED,
     "Use of a core, in percent, from which on a service gets a further process, up to one for "
     "each core; fewer processes need less time for each message."},
    {"session_memory_limit", PARAM_INT, "4194304", 65536, -1, "all", PARAM_HONOURED,
     "Memory in bytes that one client's session may take before it is ended."},
    {"task_hang_limit", PARAM_TIME, "60s", 2, 0, "master", PARAM_HONOURED,
     "Time after which a process whose loop is held by one task is ended as if it had crashed, "
     "while the task uses the processor; one that waits for a disk is only named in the log."},
    {"sync_thread_count", PARAM_INT, "16", 1, 256, "all", PARAM_HONOURED,
     "Worker threads of a process that wait for disk syncs."},
    {"store_thread_count", PARAM_INT, "4", 1, 256, "all", PARAM_HONOURED,
     "Worker threads of a process for index transactions and cold reads."},
    {"cpu_thread_count", PARAM_INT, "2", 1, 256, "all", PARAM_HONOURED,
     "Worker threads of a process for handshakes and password hashes."},
    {"dns_servers", PARAM_STRING, "", 0, 0, "smtp smtpd", PARAM_HONOURED,
     "DNS servers to ask, as address or address:port; empty: those of /etc/resolv.conf."},
    {"dns_timeout", PARAM_TIME, "5s", 1, 300, "smtp smtpd", PARAM_HONOURED,
     "Time to wait for one DNS server's answer."},
    {"dns_attempts", PARAM_INT, "3", 1, 20, "smtp smtpd", PARAM_HONOURED,
     "Times that every DNS server is asked."},

    {"broker_read_directory", PARAM_STRING, "/etc", 1, 0, "broker", PARAM_HONOURED,
     "Directory that broker may read after it has started: users, groups, and what the name "
     "service needs."},
    {"broker_timeout", PARAM_TIME, "30s", 1, 0, "all", PARAM_HONOURED,
     "Time to wait for broker, such as for a look-up in a proxy: table."},

    /* --- store --- */
    {"store_directory", PARAM_STRING, "/var/lib/waypost/mail", 1, 0, "store imapd pop3d auth",
     PARAM_HONOURED, "Where the mail accounts are."},
    {"store_open_limit", PARAM_INT, "512", 1, 0, "store imapd pop3d", PARAM_HONOURED,
     "Most account indexes that one process keeps open."},
    {"store_default_mailboxes", PARAM_STRING, "Drafts Sent Trash Junk", 0, 0, "store imapd pop3d",
     PARAM_HONOURED,
     "Mailboxes that a new account has besides INBOX, with their usual special use."},
    {"store_blob_threshold", PARAM_INT, "1048576", 65536, 0, "store imapd pop3d", PARAM_HONOURED,
     "Size in bytes above which a message gets a file of its own."},
    {"store_minfree", PARAM_INT, "33554432", 0, -1, "store imapd", PARAM_HONOURED,
     "Free space in bytes that the store leaves for indexes, flags and deletions; no message is "
     "taken that would leave less."},
    {"store_segment_size", PARAM_INT, "16777216", 1048576, 1073741824, "store imapd pop3d",
     PARAM_HONOURED, "Size in bytes of the segments of an account's journal."},
    {"store_alignment", PARAM_INT, "8", 8, 4096, "store imapd pop3d", PARAM_HONOURED,
     "Multiple at which records begin: 8, or 512 or 4096 for disks that destroy a sector they are "
     "writing when the power fails."},
    {"store_mailbox_name_limit", PARAM_INT, "255", 16, 480, "store imapd pop3d", PARAM_HONOURED,
     "Longest mailbox name in bytes of UTF-8."},
    {"store_mailbox_depth_limit", PARAM_INT, "20", 1, 100, "store imapd pop3d", PARAM_HONOURED,
     "Most levels of a mailbox name."},
    {"store_undelete_window", PARAM_TIME, "0s", 0, 0, "store imapd pop3d", PARAM_HONOURED,
     "Time that the disk space of expunged messages lingers; at least as long as a backup runs."},

    /* --- auth --- */
    {"auth_passwd_file", PARAM_STRING, "", 0, 0, "auth", PARAM_HONOURED,
     "Users and passwords, in Dovecot's passwd-file format."},
    {"auth_mechanisms", PARAM_STRING, "PLAIN LOGIN SCRAM-SHA-256", 0, 0,
     "auth smtpd imap-login pop3-login", PARAM_HONOURED, "SASL mechanisms that are offered."},
    {"auth_default_realm", PARAM_STRING, "", 0, 0, "auth", PARAM_HONOURED,
     "Domain that is appended to logins without one."},
    {"auth_failure_delay", PARAM_TIME, "2s", 0, 60, "auth", PARAM_HONOURED,
     "Pause before a failed login is answered."},
    {"auth_session_timeout", PARAM_TIME, "60s", 1, 3600, "auth", PARAM_HONOURED,
     "Time within which a session id must be redeemed after a login."},
    {"auth_exchange_limit", PARAM_INT, "1000", 1, 0, "auth", PARAM_HONOURED,
     "Most SASL exchanges at once that one connection to auth may have."},

    /* --- smtp --- */
    {"smtp_reply_size_limit", PARAM_INT, "16384", 512, 1048576, "smtp", PARAM_HONOURED,
     "Octets of a server's reply that are kept; a reply sixteen times as long ends the session."},
    {"smtp_overlap_latency_limit", PARAM_INT, "200", 0, 60000, "smtp", PARAM_HONOURED,
     "Milliseconds: a destination that takes messages faster than this gets the next message's "
     "envelope together with the end of the one before; 0: never."},

    /* --- logins, IMAP, POP3 --- */
    {"login_timeout", PARAM_TIME, "180s", 1, 0, "imap-login pop3-login", PARAM_HONOURED,
     "Time that a client has to authenticate."},
    {"login_failure_limit", PARAM_INT, "10", 1, 0, "imap-login pop3-login", PARAM_HONOURED,
     "Failed logins after which a client is disconnected."},
    {"disable_plaintext_auth", PARAM_BOOL, "yes", 0, 0, "imap-login pop3-login", PARAM_HONOURED,
     "Refuse passwords in clear text on connections without TLS; clients on this host count as "
     "secured."},
    {"mail_max_userip_connections", PARAM_INT, "10", 0, 0, "imapd pop3d", PARAM_HONOURED,
     "Most sessions at once of one user from one address, over all processes; 0: no limit."},
    {"imap_idle_timeout", PARAM_TIME, "30m", 1, 0, "imapd", PARAM_HONOURED,
     "Time after which an IMAP client that sends nothing is logged out."},
    {"imap_max_line_length", PARAM_INT, "65536", 1024, 0, "imapd", PARAM_HONOURED,
     "Longest command line in bytes, literals aside, that an IMAP client may send."},
    {"imap_idle_notify_interval", PARAM_TIME, "2m", 1, 0, "imapd", PARAM_HONOURED,
     "Time between two signs of life to a client in IDLE."},
    {"imap_special_use_mailboxes", PARAM_STRING,
     "Archive=\\Archive Drafts=\\Drafts Junk=\\Junk Sent=\\Sent Trash=\\Trash", 0, 0, "imapd",
     PARAM_HONOURED,
     "Mailboxes, as name=attribute, that get a special use (RFC 6154) when they are created."},
    {"pop3_idle_timeout", PARAM_TIME, "10m", 1, 0, "pop3d", PARAM_HONOURED,
     "Time after which a POP3 client that sends nothing is logged out (RFC 1939 asks for 10 "
     "minutes at least)."},
    {"pop3_line_length_limit", PARAM_INT, "512", 64, 0, "pop3d pop3-login", PARAM_HONOURED,
     "Longest command line in bytes that a POP3 client may send."},
    {"smtpd_tls_remote_key", PARAM_BOOL, "yes", 0, 0, "smtpd", PARAM_HONOURED,
     "Leave main.cf's private keys to tlsproxy, which signs handshakes; no makes smtpd read them."},
    {"tlsproxy_handover_service", PARAM_STRING, "", 0, 0, "tlsproxy", PARAM_HONOURED,
     "Service that gets the clients of this listener once TLS is up, such as imap-login."},
};

const struct param_table params_waypost = {rows, COUNT_OF(rows)};
