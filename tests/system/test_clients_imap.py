"""IMAP by the programs people use: curl, mbsync, fetchmail, getmail, mutt, Python's imaplib."""
import base64
import imaplib
import mailbox
import os
import re
import shutil
import socket
import tempfile
import time

import pytest

from clients import Scram, run_on_terminal, scram_lines
from suite import PASSWORD, message

BODY = "First line.\r\n.dot\r\nFrom the third\r\n\r\nlast\r\n"


def fill(lab, user, count, folder="INBOX", prefix="m"):
    """Append messages with subjects m1, m2, ...; returns them."""
    texts = [message(f"{prefix}{i}", BODY * i, lab.address("u1"), lab.address(user)) for i in range(1, count + 1)]
    client = lab.imap(user)
    if folder != "INBOX":
        client.create(folder)
    for text in texts:
        assert client.append(folder, None, None, text)[0] == "OK"
    client.logout()
    return texts


def fetch(lab, user, folder="INBOX"):
    """{subject: (flags, octets)}"""
    client = lab.imap(user)
    got = {}
    if client.select(folder, readonly=True)[1][0] != b"0":
        for item in client.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                subject = re.search(rb"^Subject: (\S+)", item[1], re.M).group(1).decode()
                got[subject] = (set(imaplib.ParseFlags(item[0])) - {b"\\Recent"}, item[1])
    client.logout()
    return got


# --- curl ---

@pytest.mark.parametrize("port, scheme", [("IMAP_PORT", "imap"), ("IMAPS_PORT", "imaps")])
def test_curl(lab, peer_tool, run_tool, tmp_path, port, scheme):
    user = "u2" if scheme == "imap" else "u3"
    text, upload, out = message("curl", BODY), tmp_path / "up", tmp_path / "down"
    upload.write_bytes(text)
    url = f"{scheme}://127.0.0.1:{getattr(lab, port)}/INBOX"
    common = [peer_tool("curl"), "-sSv", "--cacert", lab.CA, "--ssl-reqd", "--user",
              f"{lab.address(user)}:{PASSWORD}"]
    status, shown = run_tool(*common, "-T", str(upload), url)
    assert status == 0, shown
    status, shown = run_tool(*common, "-o", str(out), url + ";MAILINDEX=1")
    assert status == 0, shown
    assert out.read_bytes() == text
    status, shown = run_tool(*common, url + "?SUBJECT%20curl")
    assert status == 0 and "* SEARCH 1" in shown, shown
    status, shown = run_tool(*common, "-X", "STATUS INBOX (MESSAGES UNSEEN)", url)
    assert status == 0 and "MESSAGES 1" in shown, shown


# --- mbsync ---

class Mbsync:
    def __init__(self, lab, run_tool, program, directory, user):
        self.run_tool, self.program, self.directory = run_tool, program, str(directory)
        self.rc = os.path.join(self.directory, "mbsyncrc")
        self.mail = os.path.join(self.directory, "mail")
        os.mkdir(self.mail)
        with open(self.rc, "w", encoding="utf-8") as out:
            out.write(f"""IMAPAccount lab
Host localhost
Port {lab.IMAPS_PORT}
User {lab.address(user)}
Pass {PASSWORD}
SSLType IMAPS
CertificateFile {lab.CA}
AuthMechs LOGIN

IMAPStore far
Account lab

MaildirStore near
Path {self.mail}/
Inbox {self.mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")

    def __call__(self):
        status, out = self.run_tool(self.program, "-c", self.rc, "-V", "all",
                                    env=dict(os.environ, HOME=self.directory))
        assert status == 0, out
        return out

    def box(self, name="INBOX"):
        return mailbox.Maildir(os.path.join(self.mail, name), create=False)

    def snapshot(self):
        found = []
        for folder, _, files in os.walk(self.mail):
            found += [os.path.join(folder, name) for name in files
                      if os.path.basename(folder) in ("cur", "new")]
        return sorted(found)


def key_of(box, subject):
    return next(key for key, got in box.iteritems() if got["Subject"] == subject)


def test_mbsync(lab, peer_tool, run_tool, tmp_path):
    sync = Mbsync(lab, run_tool, peer_tool("mbsync"), tmp_path, "u4")
    fill(lab, "u4", 4)
    fill(lab, "u4", 2, "Work/2026", "w")
    sync()
    assert {m["Subject"] for m in sync.box()} == {"m1", "m2", "m3", "m4"}
    assert {m["Subject"] for m in sync.box("Work/2026")} == {"w1", "w2"}

    # Nothing to do: the second run changes nothing on either side.
    files, far = sync.snapshot(), fetch(lab, "u4")
    sync()
    assert sync.snapshot() == files and fetch(lab, "u4") == far

    # Both sides change: flags, deletions, a new message, a new folder.
    box = sync.box()
    changed = box[key_of(box, "m1")]
    changed.set_subdir("cur")
    changed.set_flags("SF")
    box[key_of(box, "m1")] = changed
    box.remove(key_of(box, "m2"))
    box.add(mailbox.MaildirMessage(message("from-near", "near\r\n").replace(b"\r\n", b"\n")))
    os.makedirs(os.path.join(sync.mail, "Near", "cur"))
    os.makedirs(os.path.join(sync.mail, "Near", "new"))
    os.makedirs(os.path.join(sync.mail, "Near", "tmp"))
    client = lab.imap("u4")
    client.select("INBOX")
    number = client.search(None, "SUBJECT", "m3")[1][0]
    client.store(number, "+FLAGS", "(\\Answered)")
    number = client.search(None, "SUBJECT", "m4")[1][0]
    client.store(number, "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.append("INBOX", "(\\Draft)", None, message("from-far", "far\r\n"))
    client.logout()
    sync()

    far = fetch(lab, "u4")
    assert set(far) == {"m1", "m3", "from-near", "from-far"}
    assert far["m1"][0] == {b"\\Seen", b"\\Flagged"} and far["m3"][0] == {b"\\Answered"}
    assert far["from-near"][1].endswith(b"\r\n\r\nnear\r\n")
    near = {m["Subject"]: m.get_flags() for m in sync.box()}
    assert set(near) == set(far) and near["m3"] == "R" and near["from-far"] == "D" and near["m1"] == "FS"
    client = lab.imap("u4")
    assert any(b"Near" in line for line in client.list()[1])
    client.logout()

    files = sync.snapshot()
    sync()
    assert sync.snapshot() == files and fetch(lab, "u4") == far


def test_mbsync_many_and_large(lab, peer_tool, run_tool, tmp_path):
    sync = Mbsync(lab, run_tool, peer_tool("mbsync"), tmp_path, "u5")
    client = lab.imap("u5")
    large = message("large", "0123456789abcdef" * 4 + "\r\n") + b"x" * 70 + b"\r\n"
    large += (b"y" * 76 + b"\r\n") * 40000
    client.append("INBOX", None, None, large)
    for i in range(60):
        client.append("INBOX", None, None, message(f"many{i}", f"{i}\r\n"))
    client.logout()
    sync()
    box = sync.box()
    assert len(box) == 61
    with open(os.path.join(sync.mail, "INBOX", box._lookup(key_of(box, "large"))), "rb") as got:
        text = got.read()
    assert re.sub(rb"X-TUID: [^\n]*\n", b"", text).replace(b"\n", b"\r\n") == large


# --- fetchmail and getmail ---

@pytest.mark.parametrize("protocol, port, user", [("pop3", "POP3S_PORT", "u6"), ("imap", "IMAPS_PORT", "u7")])
def test_fetchmail(lab, peer_tool, run_tool, tmp_path, protocol, port, user):
    program = peer_tool("fetchmail")
    texts = fill(lab, user, 3)
    got, rc = tmp_path / "got", tmp_path / "fetchmailrc"
    rc.write_text(f"""poll localhost protocol {protocol} port {getattr(lab, port)}
    user "{lab.address(user)}" password "{PASSWORD}"
    ssl sslcertck sslcertfile "{lab.CA}"
    fetchall nokeep mda "cat >>{got}; echo ===END >>{got}"
""")
    rc.chmod(0o600)
    environ = dict(os.environ, HOME=str(tmp_path), FETCHMAILHOME=str(tmp_path))
    status, out = run_tool(program, "-f", str(rc), "--nodetach", "--daemon", "0", "-v", env=environ)
    assert status == 0, out
    parts = got.read_bytes().split(b"===END\n")[:-1]
    assert len(parts) == 3
    for text, part in zip(texts, parts):
        assert part.endswith(text.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n"))
    status, out = run_tool(program, "-f", str(rc), "--nodetach", "--daemon", "0", env=environ)
    assert status == 1, out  # no mail
    assert fetch(lab, user) == {}


@pytest.mark.parametrize("kind, port, user", [("SimplePOP3SSLRetriever", "POP3S_PORT", "u8"),
                                              ("SimpleIMAPSSLRetriever", "IMAPS_PORT", "u9")])
def test_getmail(request, lab, peer_tool, run_tool, kind, port, user):
    program = peer_tool("getmail")
    fill(lab, user, 3)
    folder = tempfile.mkdtemp(prefix="waypost-getmail.")
    request.addfinalizer(lambda: shutil.rmtree(folder))
    got = os.path.join(folder, "got")
    open(got, "w", encoding="ascii").close()
    with open(os.path.join(folder, "getmailrc"), "w", encoding="utf-8") as out:
        out.write(f"""[retriever]
type = {kind}
server = localhost
port = {getattr(lab, port)}
username = {lab.address(user)}
password = {PASSWORD}
ca_certs = {lab.CA}

[destination]
type = Mboxrd
path = {got}

[options]
delete = true
read_all = true
verbose = 2
""")
    # It does not deliver as root.
    identity = {}
    if os.getuid() == 0:
        identity = {"user": "games", "group": "games", "extra_groups": []}
        for path in (folder, got, os.path.join(folder, "getmailrc")):
            shutil.chown(path, "games", "games")
    status, out = run_tool(program, "--getmaildir", folder, "--rcfile", "getmailrc", cwd="/",
                           env=dict(os.environ, HOME=folder), **identity)
    assert status == 0, out
    assert [m["Subject"] for m in mailbox.mbox(got)] == ["m1", "m2", "m3"]
    assert fetch(lab, user) == {}


# --- mutt ---

def test_mutt_limits_and_saves(lab, peer_tool, tmp_path):
    program = peer_tool("mutt")
    fill(lab, "u10", 12)
    saved, rc = tmp_path / "saved", tmp_path / "muttrc"
    url = f"imaps://u10%40{lab.domain}:{PASSWORD}@localhost:{lab.IMAPS_PORT}/INBOX"
    rc.write_text(f"""set ssl_ca_certificates_file = "{lab.CA}"
set imap_authenticators = "login"
set folder = "imaps://u10%40{lab.domain}@localhost:{lab.IMAPS_PORT}/"
set mbox_type = mbox
set delete = yes
set confirmcreate = no
set confirmappend = no
set copy = no
set wait_key = no
set header_cache = "{tmp_path}/cache"
push '<limit>~s m7$<enter><copy-message>{saved}<enter><delete-message><limit>~s m1$<enter><flag-message><quit>'
""")
    status, shown = run_on_terminal([program, "-n", "-F", str(rc), "-f", url],
                                    dict(os.environ, HOME=str(tmp_path), TERM="vt100", LINES="24", COLUMNS="80"))
    assert status == 0, shown
    # mutt does not quote "From " in an mbox: no parsing.
    assert re.findall(rb"^Subject: (\S+)", saved.read_bytes(), re.M) == [b"m7"]
    far = fetch(lab, "u10")
    assert "m7" not in far and len(far) == 11 and b"\\Flagged" in far["m1"][0]


# --- imaplib and by hand ---

class Line:
    """An IMAP connection by hand."""

    def __init__(self, lab, source=None):
        self.sock = socket.create_connection(("127.0.0.1", lab.IMAP_PORT), 20, (source, 0) if source else None)
        self.file = self.sock.makefile("rb")
        self.greeting = self.receive()

    def send(self, line):
        self.sock.sendall(line + b"\r\n")

    def receive(self):
        return self.file.readline().rstrip(b"\r\n")

    def ask(self, line):
        """A tagged command; all lines up to its end."""
        self.send(line)
        got, tag = [], line.split()[0] + b" "
        while not got or not got[-1].startswith(tag):
            got.append(self.receive())
            assert got[-1], got
        return got

    def close(self):
        self.file.close()
        self.sock.close()


def test_starttls(lab):
    client = imaplib.IMAP4("127.0.0.1", lab.IMAP_PORT, timeout=20)
    assert "STARTTLS" in client.capabilities
    client.starttls(ssl_context=lab.tls())
    assert "STARTTLS" not in client.capabilities and "LOGINDISABLED" not in client.capabilities
    client.login(lab.address("u11"), PASSWORD)
    assert client.select()[0] == "OK"
    client.logout()


def test_what_was_sent_before_tls_is_dropped(lab):
    line = Line(lab)
    line.sock.sendall(b"a STARTTLS\r\nb CAPABILITY\r\n")
    assert line.receive().startswith(b"a OK")
    with lab.tls().wrap_socket(line.sock, server_hostname="localhost") as tls:
        tls.settimeout(1)
        with pytest.raises(TimeoutError):
            tls.recv(100)
        tls.settimeout(20)
        tls.sendall(b"c NOOP\r\n")
        assert tls.recv(1000).startswith(b"c OK")


def test_login_is_disabled_from_elsewhere(lab):
    """Without TLS; a client from the server's own address counts as secured."""
    own = Line(lab)
    assert b"LOGINDISABLED" not in own.greeting
    assert own.ask(b"a LOGIN %s %s" % (lab.address("u11").encode(), PASSWORD.encode()))[-1].startswith(b"a OK")
    own.close()
    other = Line(lab, source="127.0.0.2")
    assert b"LOGINDISABLED" in other.greeting or b"LOGINDISABLED" in other.ask(b"c CAPABILITY")[0]
    assert other.ask(b"a LOGIN %s %s" % (lab.address("u11").encode(), PASSWORD.encode()))[-1].startswith(b"a NO")
    assert other.ask(b"b AUTHENTICATE PLAIN AHUAcA==")[-1].startswith(b"b NO")
    other.close()


@pytest.mark.parametrize("initial", [True, False])
def test_scram(lab, initial):
    """Allowed without TLS: it shows no password."""
    line, scram = Line(lab, source="127.0.0.2"), Scram(lab.address("u11"), PASSWORD)
    first = base64.b64encode(scram.first())
    if initial:
        line.send(b"a AUTHENTICATE SCRAM-SHA-256 " + first)
    else:
        line.send(b"a AUTHENTICATE SCRAM-SHA-256")
        assert line.receive().strip() == b"+"
        line.send(first)
    end = scram_lines(scram, line.send, line.receive, b"+ ")
    while end.startswith(b"* "):
        end = line.receive()
    assert end.startswith(b"a OK")
    assert line.ask(b"b SELECT INBOX")[-1].startswith(b"b OK")
    line.close()


def test_scram_with_a_wrong_password(lab):
    line, scram = Line(lab), Scram(lab.address("u11"), "wrong")
    line.send(b"a AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(scram.first()))
    challenge = line.receive()
    line.send(base64.b64encode(scram.final(base64.b64decode(challenge[2:]))))
    assert line.receive().startswith(b"a NO")
    # An unknown user looks the same up to the end.
    scram = Scram(lab.address("nobody"), PASSWORD)
    line.send(b"b AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(scram.first()))
    challenge = line.receive()
    assert challenge.startswith(b"+ ")
    line.send(base64.b64encode(scram.final(base64.b64decode(challenge[2:]))))
    assert line.receive().startswith(b"b NO")
    line.close()


def test_aborted_authentication(lab):
    line = Line(lab)
    line.send(b"a AUTHENTICATE PLAIN")
    assert line.receive().startswith(b"+")
    line.send(b"*")
    assert line.receive().startswith(b"a BAD")
    assert line.ask(b"b NOOP")[-1].startswith(b"b OK")
    line.close()


def test_two_clients_see_each_other_in_idle(lab):
    fill(lab, "u12", 1)
    watcher = Line(lab)
    watcher.ask(b"a LOGIN %s %s" % (lab.address("u12").encode(), PASSWORD.encode()))
    watcher.ask(b"b SELECT INBOX")
    watcher.send(b"c IDLE")
    assert watcher.receive().startswith(b"+")
    writer = lab.imap("u12")
    writer.select("INBOX")
    start = time.monotonic()
    writer.store("1", "+FLAGS", "(\\Flagged)")
    assert b"FETCH" in watcher.receive()
    writer.append("INBOX", None, None, message("new", BODY))
    assert watcher.receive() == b"* 2 EXISTS"
    assert time.monotonic() - start < 10  # test_imap.py: how quickly
    watcher.send(b"DONE")
    line = watcher.receive()
    while not line.startswith(b"c "):
        line = watcher.receive()
    assert line.startswith(b"c OK")
    writer.logout()
    watcher.close()
