#!/usr/bin/python3
"""The main job, shown: two instances, real clients, every message compared byte for byte.

KEEP=1 leaves both instances running and prints how to reach them.
"""
import glob
import itertools
import os
import poplib
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "system"))
import suite  # noqa: E402

VECTORS = os.path.join(os.path.dirname(HERE), "../shared/vectors/mime")
SENDER = "u1@example.test"
LOCAL = "u2@example.test"
REMOTE = "u3@internet.test"
LINE_LIMIT = 998  # RFC 5321 4.5.3.1.6
PER_KIND = 3
TRACE = ("Return-Path", "Delivered-To", "Received")
MAY_BE_ADDED = {"Date", "From", "Message-Id"}  # where a message has none


def say(text=""):
    print(text, flush=True)


# --- the messages ---

def kind_of(data):
    header, _, body = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    lowered = data.lower()
    if not body or b": " not in header[:200]:
        return "broken"
    if lowered.count(b"content-type: multipart/") > 1:
        return "nested multipart"
    if b"content-disposition: attachment" in lowered:
        return "attachments"
    if any(octet > 127 for octet in data):
        return "8-bit"
    return "plain"


def on_the_wire(data):
    """What a client that keeps the octets sends: every line end as CRLF."""
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def oddity_of(wire):
    """Why a message cannot arrive as it was sent (RFC 5321 2.3.8, 4.5.3.1.6), or nothing."""
    if b"\0" in wire:
        return "NUL"
    if b"\r" in wire.replace(b"\r\n", b""):
        return "bare CR"
    if any(len(line) > LINE_LIMIT for line in wire.split(b"\r\n")):
        return "line over 998 octets"
    return ""


def choose_messages():
    """A few messages of each kind: (name, kind, octets on the wire)."""
    paths = sorted(glob.glob(os.path.join(VECTORS, "**/*.eml"), recursive=True))
    own = sorted(glob.glob(os.path.join(HERE, "samples/*.eml")))
    chosen, counts = [], {}
    for path in own + paths:
        with open(path, "rb") as text:
            data = text.read()
        kind = oddity_of(on_the_wire(data)) or kind_of(data)
        if path in own or counts.get(kind, 0) < PER_KIND:
            counts[kind] = counts.get(kind, 0) + (path not in own)
            chosen.append((os.path.basename(path), kind, on_the_wire(data)))
    return chosen


# --- sending with three clients ---

def send_smtplib(lab, wire):
    with lab.submission("u1") as client:
        # Not sendmail(): it would rewrite line ends inside the message.
        client.mail(SENDER, ["BODY=8BITMIME"] if any(o > 127 for o in wire) else [])
        for recipient in (LOCAL, REMOTE):
            code, text = client.rcpt(recipient)
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
        code, text = client.docmd("DATA")
        if code != 354:
            raise smtplib.SMTPResponseException(code, text)
        stuffed = wire.replace(b"\r\n.", b"\r\n..")
        client.sock.sendall((b"." if wire.startswith(b".") else b"") + stuffed + b".\r\n")
        code, text = client.getreply()
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        return text.decode()


def run(command, data=b""):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def send_curl(lab, wire):
    with tempfile.NamedTemporaryFile() as message:
        message.write(wire)
        message.flush()
        code, out = run(["curl", "-sv", "--ssl-reqd", "--cacert", lab.CA, "--resolve",
                         f"localhost:{lab.SUBMISSION_PORT}:127.0.0.1",
                         f"smtp://localhost:{lab.SUBMISSION_PORT}/client.test", "--user", f"{SENDER}:pass",
                         "--mail-from", SENDER, "--mail-rcpt", LOCAL, "--mail-rcpt", REMOTE,
                         "--upload-file", message.name])
    if code:
        raise RuntimeError(out)
    return next(line for line in out.splitlines() if "queued as" in line)


def send_swaks(lab, wire):
    # --no-data-fixup: swaks sends what it is given, so the end of data is ours to give.
    stuffed = wire.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    code, out = run(["swaks", "--server", f"127.0.0.1:{lab.SUBMISSION_PORT}", "-tls", "--tls-ca-path",
                     lab.CA, "-a", "PLAIN", "-au", SENDER, "-ap", "pass", "-f", SENDER, "-t",
                     f"{LOCAL},{REMOTE}", "--no-data-fixup", "--data", "-"], stuffed)
    if code:
        raise RuntimeError(out)
    return next(line for line in out.splitlines() if "queued as" in line)


def sender_for(number, wire):
    """swaks and curl take turns with Python where they keep every octet."""
    clients = [("Python smtplib", send_smtplib)]
    is_ascii = all(octet < 128 for octet in wire)
    if shutil.which("curl") and is_ascii and not wire.startswith(b"."):
        clients.append(("curl", send_curl))
    if shutil.which("swaks") and is_ascii and b"%" not in wire and not wire.startswith(b"."):
        clients.append(("swaks", send_swaks))
    return clients[number % len(clients)]


# --- reading back ---

def read_pop3s(lab, user, count):
    def fetch():
        client = poplib.POP3_SSL("127.0.0.1", lab.POP3S_PORT, context=lab.tls(), timeout=30)
        poplib._MAXLINE = 1 << 20
        try:
            client.user(lab.address(user))
            client.pass_("pass")
            total = client.stat()[0]
            if total < count:
                return None
            return [b"\r\n".join(client.retr(i)[1]) + b"\r\n" for i in range(1, total + 1)]
        finally:
            client.quit()
    return suite.wait_for(fetch, 60, lambda: "the POP3 mailbox did not fill:\n" + lab.log()[-3000:])


def find_copy(copies, queue_id):
    """The copy of what example.test queued under that id: one of its Received: lines says so."""
    mark = re.compile(rb"\sid %s\b" % queue_id.encode())
    return next((copy for copy in copies if mark.search(copy.partition(b"\r\n\r\n")[0])), None)


def field_names(lines):
    return [line.partition(b":")[0].decode(errors="replace") for line in lines if line[:1] not in (b" ", b"\t")]


def added_to(copy, wire, hops):
    """Names of the header lines on top of a message that is there as it was sent, or None."""
    if not copy.endswith(wire):
        return None
    names = field_names(copy[:len(copy) - len(wire)].split(b"\r\n")[:-1])
    missing = names[hops + 2:]
    if names[:hops + 2] != ["Return-Path", "Delivered-To"] + ["Received"] * hops:
        return None
    if len(set(missing)) < len(missing) or not MAY_BE_ADDED.issuperset(missing):
        return None
    return names


def below_added(copy, first_line):
    """The message without the lines that the suite puts on top."""
    lines = copy.split(b"\r\n")
    while lines and lines[0] != first_line and (
            lines[0][:1] in (b" ", b"\t") or field_names(lines[:1])[0] in MAY_BE_ADDED.union(TRACE)):
        lines.pop(0)
    return lines


def first_difference(copy, wire):
    """The first line that is not as it was sent, for the reader."""
    sent_lines = wire.split(b"\r\n")
    pairs = itertools.zip_longest(sent_lines, below_added(copy, sent_lines[0]), fillvalue=b"")
    number, sent, have = next(((i, a, b) for i, (a, b) in enumerate(pairs, 1) if a != b), (0, b"", b""))
    start = max(0, len(os.path.commonprefix([sent, have])) - 10)
    return (f"line {number} of {len(sent)} octets is one of {len(have)}: from octet {start} on "
            f"{sent[start:start + 40]!r} became {have[start:start + 40]!r}")


def check(name, where, copy, wire, hops):
    """Say what became of a message; whether that is what has to become of it."""
    odd = oddity_of(wire)
    if copy is None:
        say(f"   MISSING {name}: not in {where}")
        return False
    added = added_to(copy, wire, hops)
    if added is not None:
        say(f"   {where}: {len(wire)} octets as sent, below {', '.join(added)}")
        return True
    say(f"   {where}: {'changed; it has a ' + odd if odd else 'NOT AS SENT'}: "
        f"{first_difference(copy, wire)}")
    return bool(odd)


def lines_about(log, queue_id):
    return [line for line in log.splitlines() if f"]: {queue_id}:" in line]


def show_path(lab, internet, queue_id):
    """Every log line of a message on its way; whether the way led to both recipients and to an end."""
    say("   path:")
    here, there = lines_about(lab.log(), queue_id), []
    for line in here:
        say(f"     example.test   {line}")
        if f"to=<{REMOTE}>" in line and "status=sent (250 " in line and "queued as " in line:
            there = lines_about(internet.log(), line.split("queued as ")[1].rstrip(")"))
            for further in there:
                say(f"     internet.test  {further}")
    for host, lines, recipient in (("example.test", here, LOCAL), ("internet.test", there, REMOTE)):
        delivered = any(f"to=<{recipient}>" in line and "status=sent" in line for line in lines)
        if not delivered or not any(line.endswith(": removed") for line in lines):
            say(f"     MISSING: {host} logged no delivery to {recipient}, or no end of the message")
            return False
    return True


# --- the whole ---

def start_both(top, labs):
    """labs gets each instance before it starts, so that the caller can end what began."""
    say("Starting the internet (internet.test) and example.test, unprivileged ports on loopback ...")
    internet = suite.Lab(os.path.join(top, "internet"), domain="internet.test")
    labs.append(internet)
    internet.start()
    lab = suite.Lab(os.path.join(top, "example"), main_cf=f"smtp_tcp_port = {internet.SMTP_PORT}\n")
    labs.append(lab)
    lab.start()
    with open(lab.ZONE, "a", encoding="ascii") as zone:
        zone.write("internet.test MX 10 mx.internet.test\nmx.internet.test A 127.0.0.1\n")
    return lab, internet


def submit_all(lab, messages):
    """(queue id by message name, whether all were taken that have to be)."""
    say(f"\nSubmitting {len(messages)} messages from {SENDER} to {LOCAL} and {REMOTE}, each over\n"
        f"STARTTLS with AUTH on port {lab.SUBMISSION_PORT}:\n")
    ids, ok = {}, True
    for number, (name, kind, wire) in enumerate(messages):
        title, send = sender_for(number, wire)
        try:
            answer = send(lab, wire)
        except (RuntimeError, smtplib.SMTPException, OSError, StopIteration, subprocess.TimeoutExpired) as error:
            say(f"   {name} ({kind}) by {title}: refused: {error}")
            ok = ok and bool(oddity_of(wire))
            continue
        ids[name] = answer.split("queued as ")[1].split()[0]
        say(f"   {name} ({kind}, {len(wire)} octets) by {title}: queued as {ids[name]}")
    return ids, ok


def demonstrate(lab, internet):
    messages = choose_messages()
    ids, ok = submit_all(lab, messages)
    sent = [message for message in messages if message[0] in ids]
    say(f"\nReading {LOCAL} by IMAPS on port {lab.IMAPS_PORT}, {REMOTE} by POP3S on port {internet.POP3S_PORT}:\n")
    here = lab.wait_for_messages(len(sent), "u2", seconds=60)
    there = read_pop3s(internet, "u3", len(sent))
    ok &= len(here) == len(there) == len(sent)
    for instance in (lab, internet):
        suite.wait_for(lambda: "Mail queue is empty" in instance.tool("postqueue", "-p")[1], 20)
    for name, kind, wire in sorted(sent, key=lambda message: bool(oddity_of(message[2]))):
        say(f"   {name} ({kind})")
        ok &= check(name, "IMAPS", find_copy(here, ids[name]), wire, 1)
        ok &= check(name, "POP3S", find_copy(there, ids[name]), wire, 2)
        ok &= show_path(lab, internet, ids[name])
    say("\nThe processes of example.test and their limits:\n")
    code, table = lab.tool("waypost", "status")
    say(table)
    return ok and code == 0


def keep(labs):
    for lab in labs:
        say(f"\n{lab.domain}: users u1 to u20 at {lab.domain}, password \"pass\"; CA {lab.CA}")
        say("   " + " ".join(f"{k}={v}" for k, v in sorted(lab.values.items()) if k.endswith("_PORT")))
        say(f"   end it with: tests/lab stop {lab.directory}")


def main():
    top = tempfile.mkdtemp(prefix="waypost-demo.")
    os.chmod(top, 0o755)
    labs, ok, started = [], False, time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        ok = demonstrate(*start_both(top, labs))
        if os.environ.get("KEEP"):
            keep(labs)
            labs = []
    except AssertionError as error:
        say(f"FAILED: {error}")
    finally:
        # Whatever went wrong, nothing stays behind.
        for lab in labs:
            try:
                lab.stop()
            except (AssertionError, subprocess.TimeoutExpired) as error:
                say(f"{lab.domain} did not stop: {error}")
        if labs:
            shutil.rmtree(top, ignore_errors=True)
    say(f"\nDemo {'passed' if ok else 'FAILED'} in {time.monotonic() - started:.0f} s.")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
