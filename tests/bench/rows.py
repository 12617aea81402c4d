"""The rows of `make bench`: what is measured, beside whom, and the bar.

A row's workload is one of the harness (its README has their variables) or, without a peer,
a program of this directory, which takes its variables from the environment and prints its
result as a line of JSON. `short` is what `make bench` uses, and a row without it is left out
there; `full` is what FULL=1 uses: the sizes the bars were set for.
"""
import dataclasses
import typing


@dataclasses.dataclass
class Measure:
    """figure(result) of a workload's JSON. Without a unit it is compared with the best peer's
    of the same round; with one it stands for itself. The bar is a maximum unless least.
    """
    label: str
    figure: typing.Callable[[dict], float]
    bar: float
    least: bool = False
    unit: str = ""


@dataclasses.dataclass
class Row:
    """peers: "NAME VARIABLE=VALUE ...", the variables in addition to the row's. {N} in
    the name is what the variables say.
    """
    name: str
    workload: str
    short: str
    measures: list
    peers: tuple = ()
    full: str = ""


def at(*path):
    """The figure at a path of keys; several paths "a.b" are added up."""
    def figure(result):
        total = 0.0
        for term in path:
            here = result
            for key in term.split("."):
                here = here[key]
            total += float(here)
        return total
    return figure


def cpu(bar):
    return Measure("CPU a message", at("cpu_s_per_1000"), bar)


def rate(bar):
    return Measure("messages/s", at("msgs_per_s"), bar, least=True)


def took(operation, bar):
    return Measure(operation.replace("_", " ").upper(), at(f"ops.{operation}.p50_ms"), bar)


def often(operation, bar):
    return Measure(operation.replace("_", " ").upper() + "/s", at(f"ops.{operation}.per_s"), bar, least=True)


def memory(kind, bar):
    return Measure("PSS + kernel each", at(f"pss_kb_per_{kind}", f"kmem_kb_per_{kind}"), bar, unit="KB")


def absolute(label, key, bar, unit, least=False):
    return Measure(label, at(key), bar, unit=unit, least=least)


def last_of_first(result):
    return result["last"] / result["first"]


def octets_a_message(result):
    """What the whole suite grew by from the first step to the last, for each message."""
    first, last = result["steps"][0], result["steps"][-1]
    return (last["pss_mb"] - first["pss_mb"]) * 1048576 / (last["queued"] - first["queued"])


OPERATIONS = ("fetch_body", "store", "append", "search_header", "copy1000", "idle_done")
NOOP_P99 = 50  # ms, of everybody else's sessions
NOTIFIED = absolute("all told after", "notify_max_ms", 1000, "ms")
LOGIN = absolute("CPU a login", "cpu_ms_per_login", 1, "ms")
LOCAL_PEERS = ("postfix VIA=smtp", "dovecot VIA=lmtp")

ROWS = [
    Row("relay 4 KiB, 20 sessions", "relay", "S=20 N=4000", [cpu(1 / 10), rate(6)], ("postfix",)),
    Row("relay 4 KiB, 100 sessions", "relay", "S=100 N=4000", [cpu(1 / 10), rate(6)], ("postfix",)),
    Row("relay, one message a session", "relay", "S=20 K=1 N=3000", [cpu(1 / 7), rate(5)], ("postfix",)),
    Row("relay, one session", "relay", "S=1 N=1000", [cpu(1 / 4), rate(2.5)], ("postfix",)),
    Row("relay 50 KiB, 20 sessions", "relay", "S=20 SIZE=51200 N=1500", [cpu(1 / 5), rate(3)], ("postfix",)),
    Row("relay, syncs 2 ms slower", "relay", "S=20 N=1500 SLOWSYNC=2000", [rate(4)], ("postfix",)),
    Row("accept, next hop down", "accept", "STEP=4000 STEPS=3",
        [rate(6), Measure("last step of first", last_of_first, 0.9, least=True, unit="x"),
         Measure("memory a message", octets_a_message, 600, unit="B")], ("postfix",), full="STEP=10000 STEPS=5"),
    Row("{N} SMTP sessions that wait", "conc", "N=3000 MAXSESS=3100", [memory("session", 12)], full="N=10000 MAXSESS=10100"),
    Row("local by SMTP, 100 users", "local", "USERS=100 N=3000 VIA=smtp", [cpu(1 / 4), rate(3)], LOCAL_PEERS),
    Row("local by SMTP, 10,000 users", "local", "USERS=10000 N=2000 VIA=smtp", [cpu(1 / 4), rate(3)], LOCAL_PEERS,
        full="USERS=10000 N=20000 VIA=smtp"),
    Row("local, syncs 2 ms slower", "local", "VIA=smtp USERS=100 N=1500 SLOWSYNC=2000", [rate(2.5)], ("postfix",)),
    Row("IMAP, one session", "imap", "C=1 MSGS=4000 R=30",
        [took("select", 1 / 8), took("fetch_all", 1 / 8), took("search_text", 1 / 3), took("expunge", 1 / 2)] +
        [took(operation, 1) for operation in OPERATIONS], ("dovecot",), full="C=1 MSGS=10000"),
    Row("IMAP, 50 sessions of 5 users", "imap", "C=50 USERS=5 MSGS=1000 R=5",
        [often("select", 8), often("fetch_all", 8)] +
        [often(operation, 1.5) for operation in OPERATIONS + ("search_text", "expunge")], ("dovecot",),
        full="C=50 USERS=5 MSGS=5000 R=20"),
    Row("IDLE, 1,000 connections", "idle", "N=1000 USERS=1000", [memory("conn", 12), LOGIN, NOTIFIED]),
    Row("IDLE, 1,000 connections, TLS", "idle", "N=1000 USERS=1000 TLS=1", [memory("conn", 32), NOTIFIED]),
    Row("IDLE, 5,000 connections", "idle", "", [memory("conn", 12), LOGIN, NOTIFIED], full="N=5000 USERS=5000"),
    Row("IDLE, 5,000 connections, TLS", "idle", "", [memory("conn", 32), NOTIFIED], full="N=5000 USERS=5000 TLS=1"),
    Row("IDLE, 10,000 connections", "idle", "", [memory("conn", 12), LOGIN], full="N=10000 USERS=10000"),
    Row("IDLE, 10,000 connections, TLS", "idle", "", [memory("conn", 32)], full="N=10000 USERS=10000 TLS=1"),
    Row("POP3, one session", "pop3", "C=1 USERS=10", [cpu(2 / 3)], ("dovecot",)),
    Row("POP3, 20 sessions", "pop3", "C=20", [cpu(2 / 3)], ("dovecot",)),
    Row("handshakes, SMTP", "tls", "MODE=smtp SECS=4", [Measure("CPU each", at("cpu_ms_per_handshake"), 1 / 2)], ("postfix",)),
    Row("handshakes, IMAPS", "tls", "MODE=imaps SECS=4", [Measure("CPU each", at("cpu_ms_per_handshake"), 4 / 5)], ("dovecot",)),
    Row("{N} deferred messages", "million_queue", "N=100000 ROUNDS=1",
        [absolute("start, clean stop before", "clean_start_s", 5, "s"), absolute("start, all killed before", "unclean_start_s", 60, "s"),
         absolute("memory", "pss_mb", 700, "MB"), absolute("new mail, of an empty queue's rate", "rate_ratio", 0.9, "x", least=True)],
        full="N=1000000 ROUNDS=3"),
    Row("{N} messages in a mailbox", "million_mailbox", "N=150000 DELIVERIES=2000",
        [absolute("SELECT", "select_ms", 100, "ms"), absolute("FETCH of the newest 50", "fetch_newest_50_ms", 5, "ms"),
         absolute("delivery, of an empty one's rate", "ratio", 0.9, "x", least=True)], full="N=1000000 DELIVERIES=4000"),
    Row("NOOP p99 of 30 other sessions", "neighbours", "SECONDS=4 SEARCHED=20000",
        [absolute("beside a handshake storm", "storm_p99_ms", NOOP_P99, "ms"),
         absolute("beside SEARCH of everything", "search_p99_ms", NOOP_P99, "ms"),
         absolute("beside a message of 50 MB", "big_message_p99_ms", NOOP_P99, "ms")], full="SECONDS=15 SEARCHED=100000"),
    Row("p99 of 100 busy sessions, {N} idle beside them (TLS)", "crowd", "N=2000 LAPS=3",
        [absolute("who read, of that without them", "read_ratio", 2, "x"),
         absolute("who write, of that without them", "write_ratio", 2, "x")], full="N=10000 LAPS=5"),
]
