"""POP3 as RFC 1939 has it, by poplib, curl and by hand."""
import base64
import poplib
import socket
import time

import pytest

from clients import Scram, scram_lines
from suite import PASSWORD, message, wait_for

BODY = "One.\r\n.dot\r\n\r\nThree.\r\n"


def fill(lab, user, count):
    """A mailbox with count messages, subjects 1 to count."""
    with lab.submission() as client:
        for i in range(1, count + 1):
            client.sendmail(lab.address("u1"), [lab.address(user)],
                            message(f"pop-{i}", BODY * i, lab.address("u1"), lab.address(user)))
            lab.wait_for_messages(i, user)  # in this order


def open_again(lab, user):
    """A session, once the one before has let go of the mailbox."""
    def attempt():
        try:
            return lab.pop3(user)
        except poplib.error_proto as problem:
            assert b"[IN-USE]" in problem.args[0]
            return None
    return wait_for(attempt)


class Line:
    """A POP3 session by hand."""

    def __init__(self, lab, source=None):
        self.sock = socket.create_connection(("127.0.0.1", lab.POP3_PORT), 20,
                                             (source, 0) if source else None)
        self.file = self.sock.makefile("rb")
        self.greeting = self.file.readline()

    def send(self, line):
        self.sock.sendall(line + b"\r\n")

    def receive(self):
        return self.file.readline().rstrip(b"\r\n")

    def ask(self, line):
        self.send(line)
        return self.receive()

    def lines(self):
        got = []
        while (line := self.receive()) != b".":
            got.append(line)
        return got

    def close(self):
        self.file.close()
        self.sock.close()


def test_a_session(lab):
    fill(lab, "u2", 3)
    client = lab.pop3("u2")
    count, size = client.stat()
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    assert count == 3 and sum(sizes) == size and len(sizes) == 3
    for i in range(1, 4):
        _, lines, octets = client.retr(i)
        assert b"Subject: pop-%d" % i in lines
        # poplib takes the dots off; sizes count the message as it is sent, without them.
        assert sum(len(line) + 2 for line in lines) == sizes[i - 1]
        assert (b"\r\n".join(lines) + b"\r\n").endswith((BODY * i).encode())
    _, lines, _ = client.top(3, 2)
    at = lines.index(b"")
    assert lines[at + 1:] == [b"One.", b".dot"]
    _, lines, _ = client.top(3, 0)
    assert lines[-1] == b""
    with pytest.raises(poplib.error_proto):
        client.retr(4)
    with pytest.raises(poplib.error_proto):
        client.retr(0)
    assert client.noop().startswith(b"+OK")
    client.quit()


def test_dele_rset_quit(lab):
    fill(lab, "u3", 3)
    client = lab.pop3("u3")
    client.dele(1)
    client.dele(2)
    with pytest.raises(poplib.error_proto):
        client.retr(1)
    with pytest.raises(poplib.error_proto):
        client.dele(1)
    assert client.stat()[0] == 1
    client.rset()
    assert client.stat()[0] == 3
    client.dele(2)
    client.quit()
    client = open_again(lab, "u3")
    assert client.stat()[0] == 2
    assert [b"Subject: pop-%d" % i in client.retr(n)[1] for n, i in ((1, 1), (2, 3))] == [True, True]
    client.quit()


def test_a_lost_connection_deletes_nothing(lab):
    fill(lab, "u4", 2)
    client = lab.pop3("u4")
    client.dele(1)
    client.dele(2)
    client.close()
    client = open_again(lab, "u4")
    assert client.stat()[0] == 2
    client.quit()


def test_uidl_is_stable(lab):
    fill(lab, "u5", 3)
    client = lab.pop3("u5")
    first = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(first)) == 3 and all(0 < len(uid) <= 70 for uid in first)
    assert client.uidl(2).split()[2] == first[1]
    client.dele(1)
    client.quit()
    client = open_again(lab, "u5")
    assert [line.split()[1] for line in client.uidl()[1]] == first[1:]
    client.quit()
    fill(lab, "u5", 0)
    client = open_again(lab, "u5")
    assert [line.split()[1] for line in client.uidl()[1]] == first[1:]
    client.quit()


def test_one_session_at_a_time(lab):
    fill(lab, "u6", 1)
    holder = lab.pop3("u6")
    with pytest.raises(poplib.error_proto) as refused:
        lab.pop3("u6")
    assert b"[IN-USE]" in refused.value.args[0]
    # A snapshot: what arrives meanwhile is for the next session.
    with lab.submission() as client:
        client.sendmail(lab.address("u1"), [lab.address("u6")], message("later", BODY))
    lab.wait_for_messages(2, "u6")
    assert holder.stat()[0] == 1
    holder.quit()
    client = open_again(lab, "u6")
    assert client.stat()[0] == 2
    client.quit()


def test_expunged_by_imap_meanwhile(lab):
    fill(lab, "u7", 2)
    client = lab.pop3("u7")
    imap = lab.imap("u7")
    imap.select("INBOX")
    imap.store("1", "+FLAGS", "\\Deleted")
    imap.expunge()
    imap.logout()
    try:
        assert b"Subject: pop-1" in client.retr(1)[1]
    except poplib.error_proto as gone:
        assert b"-ERR" in gone.args[0]
    assert b"Subject: pop-2" in client.retr(2)[1]
    client.dele(1)
    client.dele(2)
    client.quit()
    client = open_again(lab, "u7")
    assert client.stat()[0] == 0
    client.quit()


def test_capa_and_stls(lab):
    plain = poplib.POP3("127.0.0.1", lab.POP3_PORT, timeout=20)
    before = plain.capa()
    assert {"UIDL", "TOP", "STLS", "PIPELINING", "RESP-CODES", "USER"} <= set(before)
    plain.stls(context=lab.tls())
    after = plain.capa()
    assert "STLS" not in after and "SCRAM-SHA-256" in after["SASL"] and "PLAIN" in after["SASL"]
    plain.user(lab.address("u8"))
    plain.pass_(PASSWORD)
    assert plain.stat() == (0, 0)
    plain.quit()


def test_what_was_sent_before_tls_is_dropped(lab):
    line = Line(lab)
    line.sock.sendall(b"STLS\r\nUSER u8\r\nCAPA\r\n")
    assert line.receive().startswith(b"+OK")
    with lab.tls().wrap_socket(line.sock, server_hostname="localhost") as tls:
        tls.settimeout(1)
        with pytest.raises(TimeoutError):
            tls.recv(100)
        tls.settimeout(20)
        tls.sendall(b"NOOP-NOT-HERE\r\n")
        assert tls.recv(1000).startswith(b"-ERR")


def test_no_password_in_the_clear_from_elsewhere(lab):
    line = Line(lab, source="127.0.0.2")
    line.send(b"CAPA")
    assert line.receive().startswith(b"+OK")
    offered = line.lines()
    assert b"USER" not in offered and not any(b"PLAIN" in c for c in offered)
    assert any(c.startswith(b"SASL") and b"SCRAM-SHA-256" in c for c in offered)
    assert line.ask(b"USER " + lab.address("u8").encode()).startswith(b"-ERR")
    assert line.ask(b"AUTH PLAIN AHU4AHBhc3M=").startswith(b"-ERR")
    line.close()


@pytest.mark.parametrize("initial", [True, False])
def test_scram(lab, initial):
    line, scram = Line(lab, source="127.0.0.2"), Scram(lab.address("u9"), PASSWORD)
    first = base64.b64encode(scram.first())
    if initial:
        line.send(b"AUTH SCRAM-SHA-256 " + first)
    else:
        assert line.ask(b"AUTH SCRAM-SHA-256").strip() == b"+"
        line.send(first)
    assert scram_lines(scram, line.send, line.receive, b"+ ").startswith(b"+OK")
    assert line.ask(b"STAT") == b"+OK 0 0"
    line.close()


def test_pipelining(lab):
    line = Line(lab)
    line.sock.sendall(f"USER {lab.address('u10')}\r\nPASS {PASSWORD}\r\nSTAT\r\nNOOP\r\nLIST\r\nQUIT\r\n".encode())
    answers = line.file.read().split(b"\r\n")
    assert all(a.startswith(b"+OK") for a in answers[:5])
    assert answers[2] == b"+OK 0 0" and answers[5] == b"." and answers[6].startswith(b"+OK")
    line.close()


def test_wrong_password(lab):
    line = Line(lab)
    assert line.ask(b"USER " + lab.address("u11").encode()).startswith(b"+OK")
    start = time.monotonic()
    assert line.ask(b"PASS wrong").startswith(b"-ERR [AUTH]")
    assert time.monotonic() - start >= 1.9
    assert line.ask(b"STAT").startswith(b"-ERR")
    line.close()


@pytest.mark.parametrize("port, scheme", [("POP3_PORT", "pop3"), ("POP3S_PORT", "pop3s")])
def test_curl(lab, peer_tool, run_tool, tmp_path, port, scheme):
    user = "u12" if scheme == "pop3" else "u13"
    fill(lab, user, 1)
    out = tmp_path / "out"
    url = f"{scheme}://127.0.0.1:{getattr(lab, port)}/1"
    status, shown = run_tool(peer_tool("curl"), "-sSv", "--cacert", lab.CA, "--ssl-reqd", "--user",
                             f"{lab.address(user)}:{PASSWORD}", "-o", str(out), url)
    assert status == 0, shown
    assert out.read_bytes() == lab.wait_for_messages(1, user)[0]


def test_more_than_a_command_takes_does_nothing(lab):
    fill(lab, "u14", 2)
    line = Line(lab)
    line.ask(b"USER " + lab.address("u14").encode())
    assert line.ask(b"PASS " + PASSWORD.encode()).startswith(b"+OK")
    for command in (b"DELE 1 2", b"RETR 1 2", b"LIST 1 2", b"UIDL 1 2", b"TOP 1 0 2"):
        assert line.ask(command).startswith(b"-ERR"), command
    assert line.ask(b"STAT").startswith(b"+OK 2 ")
    assert line.ask(b"LIST 2 ").startswith(b"+OK 2 ")
    line.close()


def test_messages_in_any_order_are_the_messages(lab):
    """Short ones are read ahead, long ones are not, and neither may be another's octets."""
    user = "u15"
    sizes = [10, 20000, 30000, 5, 70000, 3000, 1200000, 40, 31000, 33000, 7] + [2500] * 40
    with lab.imap(user) as imap:
        stored = [b"Subject: %d\r\n\r\n.%d\r\n%s\r\n" % (i, i, b"x" * 76 + b"\r\n" + b"y" * (n % 900) + b"\r\n" * (n // 2))
                  for i, n in enumerate(sizes)]
        for text in stored:
            assert imap.append("INBOX", None, None, text)[0] == "OK"
    client = lab.pop3(user)
    count = len(stored)
    orders = [list(range(count)), list(range(count))[::-1], [0, 1, 2, 9, 3, 4, 5, 2, 6, 7, 8, 9, 10, 11, 49, 50, 12, 13, 12]]
    for order in orders:
        for i in order:
            assert b"\r\n".join(client.retr(i + 1)[1]) + b"\r\n" == stored[i], (order, i)
    for i in range(count):
        assert client.top(i + 1, 1)[1] == [b"Subject: %d" % i, b"", b".%d" % i]
    # What goes while the session has it, read ahead or not, is no other message.
    assert client.retr(11)[0] and client.retr(12)[0]
    with lab.imap(user) as imap:
        imap.select("INBOX")
        imap.store("13:20", "+FLAGS.SILENT", "\\Deleted")
        imap.expunge()
    for i in range(12, count):
        try:
            assert b"\r\n".join(client.retr(i + 1)[1]) + b"\r\n" == stored[i]
        except poplib.error_proto as problem:
            assert i < 20 and b"Message is gone" in problem.args[0]
    client.quit()


def test_nonsense_before_login_ends(lab):
    line = Line(lab)
    line.sock.sendall(b"GET / HTTP/1.1\r\n" * 20)
    assert len(line.file.read().splitlines()) == 10
    line.close()
