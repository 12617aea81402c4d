#!/usr/bin/python3
"""The main job, shown: two instances, real clients, every message compared byte for byte.

KEEP=1 leaves both instances running and prints how to reach them.
"""
import email
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
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
MAY_BE_ADDED = {"Date", "From", "Message-Id"}  # where a message has none


def say(text=""):
    print(text, flush=True)


# --- the messages ---

def kind_of(data):
    parts = list(email.message_from_bytes(data).walk())
    lowered = data.lower()
    if any(part.defects for part in parts) or not parts[0].get_payload():
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


# --- what has to become of a message that cannot arrive as it was sent ---
#
# Each function returns the octets that have to arrive, and the sentences that say so to the reader.

def change_bare_cr(wire):
    """RFC 5321 2.3.8; cleanup_replace_stray_cr_lf."""
    changed, count = re.subn(rb"\r(?!\n)", b" ", wire)
    return changed, [f"bare CR ({count}): a blank each"] if count else []


def end_header(wire):
    """A header ends in front of what is no header field (RFC 5322 2.2)."""
    at, told = 0, []
    if re.match(rb">*From ", wire, re.I):
        wire, told = b"X-Mailbox-Line: " + wire, ["line 1 is a mailbox' From line: it became X-Mailbox-Line:"]
    for number, line in enumerate(wire.split(b"\r\n")[:-1], 1):
        is_folded = number > 1 and line[:1] in (b" ", b"\t")
        if not line:
            break
        if not is_folded and not re.match(rb"[!-9;-~]+[ \t]*:", line):
            return (wire[:at] + b"\r\n" + wire[at:],
                    told + [f"line {number} is no header field: a blank line ends the header in front of it"])
        at += len(line) + 2
    return wire, told


def change_nul_for_imap(wire):
    """RFC 3501 4.3: no NUL in a literal."""
    return wire.replace(b"\0", b"\x80"), [f"NUL ({wire.count(0)}): octet 0x80 each, as IMAP has no NUL"] if 0 in wire else []


def change_nul_for_smtp(wire):
    """Who takes NULs out must not find a dot, or something else, at the start of the line."""
    changed, count = re.subn(rb"(^|\r\n)\0", rb"\1 ", wire)
    told = [f"NUL at the start of a line ({count}): a blank each"] if count else []
    return changed, told + ([f"NUL ({changed.count(0)}): as sent"] if 0 in changed else [])


def break_long_lines(wire):
    """RFC 5321 4.5.3.1.6; smtp_line_length_limit."""
    lines, told = wire.split(b"\r\n"), []
    for number, line in enumerate(lines):
        if len(line) > LINE_LIMIT:
            pieces = [line[:LINE_LIMIT]]
            for at in range(LINE_LIMIT, len(line), LINE_LIMIT - 1):
                pieces.append(b" " + line[at:at + LINE_LIMIT - 1])
            lines[number] = b"\r\n".join(pieces)
            told.append(f"line {number + 1} of {len(line)} octets: broken into {len(pieces)} of at most {LINE_LIMIT}, "
                        "each further one behind a blank")
    return b"\r\n".join(lines), told


def keep_long_lines(wire):
    count = sum(len(line) > LINE_LIMIT for line in wire.split(b"\r\n"))
    return wire, [f"lines over {LINE_LIMIT} octets ({count}): as sent"] if count else []


BECOMES = {  # here, and behind SMTP
    "IMAPS": (change_bare_cr, end_header, keep_long_lines, change_nul_for_imap),
    "POP3S": (change_bare_cr, end_header, change_nul_for_smtp, break_long_lines),
}


def arrives_as(wire, where):
    told = []
    for change in BECOMES[where]:
        wire, more = change(wire)
        told += more
    return wire, told


def oddities_of(wire):
    """Why a message cannot arrive as it was sent."""
    return [name for name, is_odd in (
        ("NUL", b"\0" in wire),
        ("bare CR", change_bare_cr(wire)[1]),
        ("line over 998 octets", keep_long_lines(wire)[1]),
        ("text in the header", end_header(wire)[1]),
    ) if is_odd]


def choose_messages():
    """A few messages of each kind: (name, kind, octets on the wire)."""
    paths = sorted(glob.glob(os.path.join(VECTORS, "**/*.eml"), recursive=True))
    own = sorted(glob.glob(os.path.join(HERE, "samples/*.eml")))
    chosen, counts = [], {}
    for path in own + paths:
        with open(path, "rb") as text:
            data = text.read()
        kind = ", ".join(oddities_of(on_the_wire(data))) or kind_of(data)
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
    """The first line that is not as it has to be, for the reader."""
    due_lines = wire.split(b"\r\n")
    pairs = itertools.zip_longest(due_lines, below_added(copy, due_lines[0]), fillvalue=b"")
    number, due, have = next(((i, a, b) for i, (a, b) in enumerate(pairs, 1) if a != b), (0, b"", b""))
    start = max(0, len(os.path.commonprefix([due, have])) - 10)
    return (f"line {number} of {len(due)} octets is one of {len(have)}: from octet {start} on "
            f"{due[start:start + 40]!r} became {have[start:start + 40]!r}")


def check(name, where, copy, wire, hops):
    """Say what became of a message; whether that is what has to become of it."""
    if copy is None:
        say(f"   MISSING {name}: not in {where}")
        return False
    due, told = arrives_as(wire, where)
    added = added_to(copy, due, hops)
    if added is None:
        say(f"   {where}: NOT AS IT HAS TO BE: {first_difference(copy, due)}")
        return False
    say(f"   {where}: {len(wire)} octets {'as sent' if due == wire else 'changed as below'}, "
        f"below {', '.join(added)}")
    for sentence in told:
        say(f"      {sentence}")
    return True


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

class Ending:
    """A signal that came while an instance was starting: cut off there, it would be left half there."""
    is_starting, came = False, False


def heed(*_):
    Ending.came = True
    if not Ending.is_starting:
        sys.exit(1)


def start_whole(lab):
    Ending.is_starting = True
    try:
        lab.start()
    finally:
        Ending.is_starting = False
    if Ending.came:
        sys.exit(1)


def start_both(top, labs):
    """labs gets each instance before it starts, so that the caller can end what began."""
    say("Starting the internet (internet.test) and example.test, unprivileged ports on loopback ...")
    internet = suite.Lab(os.path.join(top, "internet"), domain="internet.test")
    labs.append(internet)
    start_whole(internet)
    lab = suite.Lab(os.path.join(top, "example"), main_cf=f"smtp_tcp_port = {internet.SMTP_PORT}\n")
    labs.append(lab)
    start_whole(lab)
    with open(lab.ZONE, "a", encoding="ascii") as zone:
        zone.write("internet.test MX 10 mx.internet.test\nmx.internet.test A 127.0.0.1\n")
    return lab, internet


def submit_all(lab, messages):
    """(queue id by message name, whether all were taken)."""
    say(f"\nSubmitting {len(messages)} messages from {SENDER} to {LOCAL} and {REMOTE}, each over\n"
        f"STARTTLS with AUTH on port {lab.SUBMISSION_PORT}:\n")
    ids, ok = {}, True
    for number, (name, kind, wire) in enumerate(messages):
        title, send = sender_for(number, wire)
        try:
            answer = send(lab, wire)
        except (RuntimeError, smtplib.SMTPException, OSError, StopIteration, subprocess.TimeoutExpired) as error:
            say(f"   {name} ({kind}) by {title}: REFUSED: {error}")
            ok = False
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
    for name, kind, wire in sorted(sent, key=lambda message: bool(oddities_of(message[2]))):
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
    labs, trouble, ok, started = [], [], False, time.monotonic()
    for number in ENDING:
        signal.signal(number, heed)
    try:
        ok = demonstrate(*start_both(top, labs))
        if os.environ.get("KEEP"):
            keep(labs)
            labs = []
    except AssertionError as error:
        say(f"FAILED: {error}")
    finally:
        # Whatever went wrong, nothing stays behind, nor when the terminal has gone.
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        for lab in labs:
            try:
                lab.stop()
            except (AssertionError, subprocess.TimeoutExpired) as error:
                trouble.append(f"{lab.domain} did not stop: {error}")
        if labs:
            shutil.rmtree(top, ignore_errors=True)
    for line in trouble:
        say(line)
    say(f"\nDemo {'passed' if ok else 'FAILED'} in {time.monotonic() - started:.0f} s.")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
