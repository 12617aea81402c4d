"""Debian's Postfix and smtp(8) send to the same servers: what they say to them, and what they
log, is the same, and so are header addresses that were not complete. And Postfix itself as the
next hop."""
import os
import re
import smtplib

import pytest

import suite
from sink import Sink, free_port
from smtp_dialogues import peer

PORT = free_port("127.0.0.1", "127.0.0.2")
HOSTS = """
broken.test FAIL servfail
next.test MX 10 a.test
a.test A 127.0.0.1
b.test A 127.0.0.2
"""
COMMON = f"""
myhostname = mx.example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
compatibility_level = 3.6
smtp_tcp_port = {PORT}
smtp_tls_security_level = none
smtp_connection_cache_on_demand = no
"""
COMPLETING = "myorigin = origin.test\nmydomain = example.test\nappend_dot_mydomain = yes\n"
COMMON += COMPLETING
MAIN_CF = COMPLETING + f"smtp_tcp_port = {PORT}\nsmtp_tls_security_level = none\nsmtp_connection_cache_on_demand = no\n"
MANY = "250-2.1.5 first\r\n250 2.1.5 second"

pytestmark = pytest.mark.skipif(not peer.can_run(), reason="Postfix cannot run here")


def only(word, reply):
    """A reply to lines that have the word."""
    return lambda line: reply if word in line else "250 2.1.5 Ok"


# Postfix says RSET before QUIT, and QUIT after 421; whether it is read is a matter of chance.
PARTING = ("RSET", "QUIT")

# name: recipients, replies of a.test, its features, replies of b.test (None: nobody listens)
ALL = ("PIPELINING", "SIZE 100000", "8BITMIME", "ENHANCEDSTATUSCODES")
SCENARIOS = {
    "delivered": (["x@one.test"], {}, ALL, None),
    "delivered without pipelining": (["x@one.test", "y@one.test"], {}, (), None),
    "replies of several lines": (["x@one.test"], {"RCPT": MANY, ".": "250-2.0.0 a\r\n250 2.0.0 b"}, ALL, None),
    "no enhanced status codes": (["x@one.test"], {".": "250 queued"}, (), None),
    "550 for one of three": (["x@one.test", "y@one.test", "z@one.test"],
                             {"RCPT": only("<y@", "550 5.1.1 no such user")}, ALL, None),
    "550 for all": (["x@one.test"], {"RCPT": "550 no"}, ALL, None),
    "550 for all, without pipelining": (["x@one.test"], {"RCPT": "550 no"}, (), None),
    "450 for one of two": (["x@one.test", "y@one.test"], {"RCPT": only("<y@", "450 4.2.0 later")}, ALL, None),
    "450 for one, then closed": (["x@one.test", "y@one.test"],
                                 {"RCPT": lambda line: "450 4.2.0 later" if "<x@" in line else None}, ALL, None),
    "450 for one, then 421": (["x@one.test", "y@one.test"],
                              {"RCPT": lambda line: "450 4.2.0 later" if "<x@" in line else "421 4.3.2 bye"}, ALL, None),
    "MAIL refused": (["x@one.test"], {"MAIL": "553 5.1.8 who are you"}, ALL, None),
    "MAIL put off": (["x@one.test"], {"MAIL": "451 4.7.1 later"}, ALL, None),
    "DATA refused": (["x@one.test"], {"DATA": "554 5.5.1 no"}, ALL, None),
    "content refused": (["x@one.test"], {".": "554 5.6.0 spam"}, ALL, None),
    "content put off": (["x@one.test"], {".": "452 4.3.1 disk full"}, ALL, None),
    "421 at the greeting": (["x@one.test"], {"connect": "421 4.3.2 busy"}, ALL, None),
    "554 at the greeting": (["x@one.test"], {"connect": "554 5.3.2 no mail"}, ALL, None),
    "EHLO refused": (["x@one.test"], {"EHLO": "502 what"}, ALL, None),
    "closed at the greeting": (["x@one.test"], {"connect": None}, ALL, None),
    "closed at EHLO": (["x@one.test"], {"EHLO": None}, ALL, None),
    "closed at MAIL": (["x@one.test"], {"MAIL": None}, ALL, None),
    "closed at RCPT": (["x@one.test"], {"RCPT": None}, (), None),
    "closed at DATA": (["x@one.test"], {"DATA": None}, (), None),
    "closed at the end": (["x@one.test"], {".": None}, ALL, None),
    "too large": (["x@one.test"], {}, ("PIPELINING", "SIZE 10"), None),
    "refused connection": (["x@one.test"], None, ALL, None),
    "the second exchanger": (["x@two.test"], None, ALL, {}),
    "the second exchanger after 421": (["x@two.test"], {"connect": "421 busy"}, ALL, {}),
    "the second exchanger after 450": (["x@two.test", "y@two.test"], {"RCPT": only("<y@", "450 no")}, ALL, {}),
    "both exchangers put off": (["x@two.test"], {"RCPT": "450 4.2.0 a"}, ALL, {"RCPT": "451 4.2.0 b"}),
    "an address without exchanger": (["x@addressed.test"], {}, ALL, None),
    "a name server in trouble": (["x@broken.test"], {}, ALL, None),
    "an exchanger without address": (["x@homeless.test"], {}, ALL, None),
    "an odd local part": (['"a b"@one.test', "c..d@one.test"], {}, ALL, None),
}


def destination(index):
    """Each scenario has domains of its own: one that failed five times is left alone for a while."""
    return (f"one-{index}.test MX 10 a.test\ntwo-{index}.test MX 10 a.test\ntwo-{index}.test MX 20 b.test\n"
            f"addressed-{index}.test A 127.0.0.1\nhomeless-{index}.test MX 10 nowhere.test\n")


ZONE = HOSTS + "".join(destination(index) for index in range(len(SCENARIOS)))


@pytest.fixture(scope="module")
def postfix(lab, tmp_path_factory):
    zone = tmp_path_factory.mktemp("dns") / "zone"
    zone.write_text(ZONE)
    with open(lab.ZONE, "a", encoding="utf-8") as out:
        out.write(ZONE)
    port, next_hop = peer.free_ports(2)
    instance = peer.Postfix(
        COMMON + "mydestination = next.test\nmynetworks = 127.0.0.0/8\nlocal_recipient_maps =\n"
        "local_transport = discard\nsmtpd_tls_security_level = may\n"
        f"smtpd_tls_cert_file = {lab.CA.rsplit('/', 1)[0]}/cert.pem\n"
        f"smtpd_tls_key_file = {lab.CA.rsplit('/', 1)[0]}/key.pem\n",
        f"127.0.0.1:{port} inet n - n - - smtpd\n127.0.0.1:{next_hop} inet n - n - - smtpd\n",
        str(zone), os.path.join(suite.ROOT, "tests/dnsd"), suite.PASSWORD)
    instance.port, instance.next_hop = port, next_hop
    try:
        instance.start(port)
        yield instance
    finally:
        instance.stop()


def submit(port, recipients):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=20) as client:
        client.ehlo()
        assert client.docmd("MAIL FROM:<>")[0] == 250
        for recipient in recipients:
            code, text = client.docmd(f"RCPT TO:<{recipient}>")
            assert code == 250, text
        code, text = client.data(suite.message(subject="out"))
        assert code == 250
    return re.search(r"queued as (\S+)", text.decode()).group(1)


def results(log, queue_id):
    """Recipient -> what the log says of it, from "relay=" on, without the delays."""
    found = {}
    for line in log.splitlines():
        match = re.search(rf"/smtp\[\d+\]: {queue_id}: to=<(.*?)>, (relay=.*)", line)
        if match:
            text = re.sub(r"delay=\S+ delays=\S+ ", "", match.group(2))
            found.setdefault(match.group(1), re.sub(r"message size \d+", "message size n", text))
    return found


def run(port, read_log, recipients, first, features, second):
    """(results by recipient, what the servers were told)."""
    sinks = [Sink(address, PORT, replies, features)
             for address, replies in (("127.0.0.1", first), ("127.0.0.2", second)) if replies is not None]
    try:
        queue_id = submit(port, recipients)
        suite.wait_for(lambda: len(results(read_log(), queue_id)) == len(recipients), 20,
                       lambda: f"{queue_id}\n{read_log()[-3000:]}")
    finally:
        for sink in sinks:
            sink.close()
    return results(read_log(), queue_id), [
        [re.sub(r"SIZE=\d+", "SIZE=n", line) for line in sink.lines if line not in PARTING] for sink in sinks]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_words(lab, postfix, name):
    recipients, first, features, second = SCENARIOS[name]
    index = list(SCENARIOS).index(name)
    recipients = [re.sub(r"(one|two|addressed|homeless)\.test", rf"\1-{index}.test", recipient)
                  for recipient in recipients]
    theirs, told_by_them = run(postfix.port, postfix.log, recipients, first, features, second)
    ours, told_by_us = run(lab.SMTP_PORT, lab.log, recipients, first, features, second)
    assert ours == theirs
    assert told_by_us == told_by_them


# Header fields of mail from here: what was not complete is completed alike. What stands in
# smtp-differences.md as "header: NAME" differs.
FIELDS = {
    "complete": "To: joe@x.test,A <b@x.test>,  c@y.test (C)",
    "cron": "From: root (Cron Daemon)",
    "a list": 'To: root, joe@x.test, "A B" <joe>, list: a, b;',
    "sender": "Sender: root",
    "cc": "Cc: root",
    "reply-to": "Reply-To: root",
    "errors-to": "Errors-To: root",
    "return-receipt-to": "Return-Receipt-To: root",
    "disposition-notification-to": "Disposition-Notification-To: root",
    "mail-followup-to": "Mail-Followup-To: root",
    "mail-reply-to": "Mail-Reply-To: root",
    "apparently-to": "Apparently-To: root",
    "resent-from": "Resent-From: root",
    "resent-sender": "Resent-Sender: root",
    "resent-to": "Resent-To: root",
    "resent-cc": "Resent-Cc: root",
    "resent-reply-to": "Resent-Reply-To: root",
    "delivered-to": "Delivered-To: root",
    "x-original-to": "X-Original-To: root",
    "other": "X-From: root",
    "encoded words": "To: =?utf-8?Q?J=C3=B6rg?= <joerg>, =?utf-8?B?w4Q=?= =?utf-8?Q?_x?= <x@x.test>",
    "encoded comment": "From: root (=?utf-8?Q?J=C3=B6rg?=)",
    "8-bit name": "From: J\u00f6rg <joerg>",
    "quoted local part": 'To: "a b", "a b"@x.test, "c d" <"e f">',
    "quoted words": 'To: "plain"',
    "quoted at sign": 'To: "a@b"',
    "quoted at sign with a domain": 'To: "a@b"@x.test, "@a:b"@x.test',
    "escaped quote": 'To: "a\\"b" <joe>, "c\\"d"',
    "route": "To: <@a.test,@b.test:joe@x.test>",
    "route to a bare name": "To: Joe <@a.test:joe>",
    "bare domain": "To: joe@host, <joe@mx>, A <joe@host>",
    "literal": "To: joe@[192.0.2.1], joe@[IPv6:2001:db8::1]",
    "trailing dot": "To: joe@x.test.",
    "trailing dot of a bare name": "To: joe@host.",
    "bang path": "To: host!joe, a.test!b!joe, <host!joe>",
    "percent": "To: joe%x.test, joe%host",
    "lone operators": "To: %%, !",
    "bang path without host": "To: !x.test;",
    "percent without domain": "To : (c)'%;",
    "dots": "To: joe.user, .joe, joe., j..e",
    "folded": "To: root,\r\n\tJoe\r\n <joe>,\r\n  bob (a\r\n b)",
    "blanks inside": "To: joe @ x.test, joe . user",
    "comments": "To: (a) root (b), <root (c)>, (d) <root>, joe(e)@x.test",
    "comment inside": "To: joe (x) @host",
    "nested comment": "From: root (a (b) c)",
    "escaped comment": "From: root (a \\) c)",
    "empty group": "To: undisclosed-recipients:;",
    "group with names": "To: my list: A <a>, b@x.test;, c",
    "empty": "To:",
    "blanks": "To:   ",
    "null": "From: <>",
    "null with a name": "From: Nobody <>",
    "empty quotes": 'To: ""',
    "commas": "To: ,a,,b,",
    "long list": "To: " + ", ".join(f"user{i}" for i in range(40)),
    "name of the field": "tO : root",
    "two words": "From: Cron Daemon",
    "two words in brackets": "From: <Cron Daemon>",
    "words behind brackets": "To: <joe> x",
    "no comma": "To: <a> <b>",
    "two at signs": "To: a@b@c",
    "lone at sign": "To: @",
    "no local part": "To: @x.test",
    "no domain": "To: joe@",
    "open comment": "To: joe (x",
    "open quotes": 'To: joe, "x',
    "open bracket": "To: joe, <bob",
    "closing bracket": "To: joe>, bob",
    "open literal": "To: joe, bob@[1",
    "open group": "To: list: a, b",
    "group without name": "To: :a;",
    "semicolon": "To: a; b",
    "backslash": "To: a\\b, joe",
    "route without brackets": "To: @a.test:joe",
    "pipe": "To: joe|x, |cmd",
    "name with a comma": "To: Doe, Joe <joe>",
    "name with an address": "To: joe@x.test <joe>",
    "name with dots": "To: Joe Q. Public <joe>",
    "name with a colon": "To: Re: this <joe>",
    "equals sign": "To: a=b, +c, 1",
}


def header_differences():
    page = open(os.path.join(os.path.dirname(__file__), "smtp-differences.md"), encoding="utf-8").read()
    return {name for name in re.findall(r"`header: ([^`]+)`", page)}


def fields(message):
    """Case -> its field, folds undone, one blank behind each comma."""
    header = message.decode("utf-8").split("\r\n\r\n", 1)[0]
    found = {}
    for name, text in re.findall(r"^X-Case: (.*)\r\n([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", header, re.M):
        text = re.sub(r"\r\n[ \t]*", " ", text)
        found[name] = re.sub(r",\s*", ", ", re.sub(r"[ \t]+", " ", text)).strip(" ")
    return found


@pytest.fixture(scope="module")
def headers(lab, postfix):
    """What each side made of a message with all fields."""
    text = "".join(f"X-Case: {name}\r\n{field}\r\n" for name, field in FIELDS.items()).encode() + b"\r\nbody\r\n"
    got = []
    for port in (postfix.port, lab.SMTP_PORT):
        with Sink("127.0.0.1", PORT) as sink:
            with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=20) as client:
                client.ehlo()
                client.docmd("MAIL FROM:<>")
                client.docmd("RCPT TO:<x@addressed-0.test>")
                assert client.data(text)[0] == 250
            suite.wait_for(lambda: sink.messages, 20)
            got.append(sink.messages[0][2])
    return got


@pytest.mark.parametrize("name", FIELDS)
def test_header_addresses(headers, name):
    theirs, ours = (fields(message)[name] for message in headers)
    if name in header_differences():
        assert ours != theirs, f"{name}: no difference any more; take it out of smtp-differences.md"
    else:
        assert ours == theirs


def test_long_headers_are_folded(headers):
    field = re.search(rb"X-Case: long list\r\n([^\r\n]*(?:\r\n\t[^\r\n]*)+)", headers[1]).group(1)
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))
    assert field.count(b"@origin.test") == 40
    # What was complete is octet for octet what was sent.
    assert b"X-Case: complete\r\n" + FIELDS["complete"].encode() + b"\r\nX-Case" in headers[1]


def test_postfix_as_the_next_hop(lab, postfix):
    with open(lab.CONFIG_DIR + "/transport", "w", encoding="utf-8") as out:
        out.write(f"next.test smtp:[127.0.0.1]:{postfix.next_hop}\n")
    code, text = lab.tool("postconf", "-e", f"transport_maps=texthash:{lab.CONFIG_DIR}/transport",
                          "smtp_tls_security_level=encrypt", "smtp_tls_loglevel=1")
    assert code == 0, text
    code, text = lab.tool("waypost", "reload")
    assert code == 0, text
    recipients = [f"r{i}@next.test" for i in range(30)]
    queue_id = submit(lab.SMTP_PORT, recipients)
    for recipient in recipients:
        line = lab.wait_for_log(f"{queue_id}: to=<{recipient}>", "status=sent (250 2.0.0 Ok: queued as ")
    remote = re.search(r"queued as (\w+)", line).group(1)
    suite.wait_for(lambda: postfix.log().count(f"{remote}: to=<r") == 30, 20)
    lab.wait_for_log("TLS connection established to 127.0.0.1[127.0.0.1]:")
