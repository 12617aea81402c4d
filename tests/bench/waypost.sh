#!/bin/bash
# Waypost as a system under test of the bench harness (the verb contract is in the
# harness' README): setup|start|stop|env|qcount|mcount WORKDIR.
# BENCH is the harness' directory (default: ../shared/bench of this tree), WAYPOST_BUILD the
# build directory (default: build/ of this tree).
TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BENCH=${BENCH:-$TREE/../shared/bench}
[ -f "$BENCH/lib/common.sh" ] || { echo "$0: no harness in $BENCH: set BENCH" >&2; exit 2; }
# shellcheck source=/dev/null
. "$BENCH/lib/common.sh"
PEER=waypost; verb=$1; WD=$2; CG=mbench-$PEER-$PORTBASE; ROLE=${ROLE:-relay}
BUILD=${WAYPOST_BUILD:-$TREE/build}; BIN=$BUILD/bin

main_cf() {
  cat <<END
compatibility_level = 3.6
daemon_directory = $BIN
command_directory = $BIN
queue_directory = $WD/spool
data_directory = $WD/data
store_directory = $WD/mail
maillog_file = $WD/log
maillog_file_prefixes = $WD
myhostname = mx.$DOMAIN
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_tls_security_level = may
smtpd_tls_cert_file = $WD/cert.pem
smtpd_tls_key_file = $WD/key.pem
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
mail_max_userip_connections = 0
default_process_limit = $(( ${MAXSESS:-100} > 20000 ? MAXSESS + 200 : 20000 ))
message_size_limit = 104857600
auth_passwd_file = $WD/etc/users
auth_default_realm = $DOMAIN
END
  if [ "$ROLE" = relay ]; then
    printf '%s\n' "relayhost = [127.0.0.1]:$SINK_PORT" "alias_maps =" "local_recipient_maps ="
  else
    printf '%s\n' "virtual_mailbox_domains = $DOMAIN" "virtual_mailbox_maps = userdb:" "virtual_transport = store"
  fi
}

master_cf() { # the shipped one on the harness' ports, without submission
  awk -v ports="smtp=$SMTP_PORT imap=$IMAP_PORT imaps=$IMAPS_PORT pop3=$POP3_PORT pop3s=$POP3S_PORT" '
    BEGIN { n = split(ports, p, " "); for (i = 1; i <= n; i++) { split(p[i], kv, "="); port[kv[1]] = kv[2] } }
    /^[^ \t#]/ { skip = ($2 == "inet" && !($1 in port)) }
    skip { next }
    $2 == "inet" && ($1 in port) { sub(/^[^ \t]+/, "127.0.0.1:" port[$1]) }
    { print }' "$TREE/conf/master.cf"
}

[ -n "$WD" ] || verb=
[ -x "$BIN/master" ] || { echo "$0: no build in $BUILD: run make, or set WAYPOST_BUILD" >&2; exit 2; }

case $verb in
setup)
  "$TREE/tools/install-users"
  mkdir -p "$WD/etc"; mkcert "$WD"
  for i in $(seq 1 "${USERS:-100}"); do echo "user$i@$DOMAIN:{PLAIN}pw::::::userdb_account=user$i"; done >"$WD/etc/users"
  chgrp waypost-auth "$WD/etc/users"
  main_cf >"$WD/etc/main.cf"
  master_cf >"$WD/etc/master.cf" ;;
start)
  cg_run "$CG" $PEER "$WD" "$BIN/waypost" -c "$WD/etc" start-fg >"$WD/out" 2>&1 &
  wait_port 127.0.0.1 "$SMTP_PORT" 20 && { [ "$ROLE" = relay ] || wait_port 127.0.0.1 "$IMAP_PORT" 20; } ;;
stop) "$BIN/waypost" -c "$WD/etc" stop >/dev/null 2>&1; cg_killall "$CG" ;;
env) echo "MCOUNT_OK=1 IMAP_PORT_OK=1 PEER=$PEER WD=$WD CG=$CG SMTP_PORT=$SMTP_PORT SINK_PORT=$SINK_PORT IMAP_PORT=$IMAP_PORT IMAPS_PORT=$IMAPS_PORT POP3_PORT=$POP3_PORT" ;;
qcount) "$BIN/postqueue" -c "$WD/etc" -j | wc -l ;;
mcount) "$BIN/waypost" -c "$WD/etc" mailbox count ;;
*) echo "usage: $0 setup|start|stop|env|qcount|mcount WORKDIR" >&2; exit 2 ;;
esac
