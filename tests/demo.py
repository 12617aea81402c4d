#!/usr/bin/python3
"""The main job, shown: two instances, real clients, every message compared byte for byte.

KEEP=1 leaves both instances running and prints how to reach them.
"""
import glob
import os
import poplib
import shutil
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


def say(text=""):
    print(text, flush=True)


# --- the messages -----------------------------------------------------------------------

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


# --- sending with three clients -------------------------------------------------------------

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


# --- reading back -------------------------------------------------------------------------------

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


def find_copy(copies, wire):
    return next((copy for copy in copies if copy.endswith(wire)), None)


def first_difference(copies, wire):
    """The first line of the message that its nearest copy does not have, for the reader."""
    lines = wire.split(b"\r\n")
    best, depth = None, -1
    for copy in copies:
        got = copy.split(b"\r\n")
        common = next((i for i in range(1, len(lines) + 1) if got[-i:] != lines[-i:]), len(lines) + 1) - 1
        if common > depth:
            best, depth = got, common
    return f"line {len(lines) - depth}: sent {lines[-depth - 1][:90]!r}, got {best[-depth - 1][:90]!r}"


def check(name, where, copies, wire):
    copy = find_copy(copies, wire)
    if copy is None:
        say(f"   MISSING {name}: not as it was sent in {where}: {first_difference(copies, wire)}")
        return False
    added = copy[:len(copy) - len(wire)]
    names = [line.split(b":")[0].decode() for line in added.split(b"\r\n") if line and line[:1] not in b" \t"]
    say(f"   {where}: {len(wire)} octets as sent, below {', '.join(names)}")
    return True


def describe_odd(name, why, copies, wire):
    """What became of a message that SMTP does not carry as it is."""
    marker = next((line for line in wire.split(b"\r\n") if line.lower().startswith(b"message-id:")), wire[:60])
    copy = next((copy for copy in copies if marker in copy), None)
    if copy is None:
        return f"{name} ({why}): no copy with its Message-ID"
    if copy.endswith(wire):
        return f"{name} ({why}): arrived as it was sent"
    return f"{name} ({why}): arrived with {len(copy)} octets for {len(wire)} sent"


def lines_about(log, queue_id):
    return [line for line in log.splitlines() if f"]: {queue_id}:" in line]


def show_path(lab, internet, queue_id):
    say("   path:")
    for line in lines_about(lab.log(), queue_id):
        say(f"     example.test   {line}")
        if "status=sent (250 " in line and "queued as " in line:
            for further in lines_about(internet.log(), line.split("queued as ")[1].rstrip(")")):
                say(f"     internet.test  {further}")


# --- the whole -------------------------------------------------------------------------------------

def start_both(top):
    say("Starting the internet (internet.test) and example.test, unprivileged ports on loopback ...")
    internet = suite.Lab(os.path.join(top, "internet"), domain="internet.test")
    internet.start()
    lab = suite.Lab(os.path.join(top, "example"), main_cf=f"smtp_tcp_port = {internet.SMTP_PORT}\n")
    lab.start()
    with open(lab.ZONE, "a", encoding="ascii") as zone:
        zone.write("internet.test MX 10 mx.internet.test\nmx.internet.test A 127.0.0.1\n")
    return lab, internet


def demonstrate(lab, internet):
    messages = choose_messages()
    say(f"\nSubmitting {len(messages)} messages from {SENDER} to {LOCAL} and {REMOTE}, each over\n"
        f"STARTTLS with AUTH on port {lab.SUBMISSION_PORT}:\n")
    ids, ok = {}, True
    for number, (name, kind, wire) in enumerate(messages):
        title, send = sender_for(number, wire)
        try:
            answer = send(lab, wire)
        except (RuntimeError, smtplib.SMTPException, OSError, StopIteration) as error:
            say(f"   {name}: {title}: refused: {error}")
            ok = ok and bool(oddity_of(wire))
            continue
        ids[name] = answer.split("queued as ")[1].split()[0]
        say(f"   {name} ({kind}, {len(wire)} octets) by {title}: queued as {ids[name]}")

    sent = [message for message in messages if message[0] in ids]
    say(f"\nReading {LOCAL} by IMAPS on port {lab.IMAPS_PORT}, {REMOTE} by POP3S on port {internet.POP3S_PORT}:\n")
    here = lab.wait_for_messages(len(sent), "u2", seconds=60)
    there = read_pop3s(internet, "u3", len(sent))
    odd = []
    for name, _, wire in sent:
        if oddity_of(wire):
            odd.append(describe_odd(name, oddity_of(wire), here, wire))
            continue
        say(f"   {name}")
        ok &= check(name, "IMAPS", here, wire)
        ok &= check(name, "POP3S", there, wire)
        if name in ("plain.eml", "attachment.eml"):
            show_path(lab, internet, ids[name])
    say("\nInputs that SMTP does not carry as they are:")
    for line in odd:
        say("   " + line)
    say("\nThe processes of example.test and their limits:\n")
    say(lab.tool("waypost", "status")[1])
    return ok


def main():
    top = tempfile.mkdtemp(prefix="waypost-demo.")
    os.chmod(top, 0o755)
    labs, ok, started = [], False, time.monotonic()
    try:
        labs = list(start_both(top))
        ok = demonstrate(*labs)
    except AssertionError as error:
        say(f"FAILED: {error}")
    if os.environ.get("KEEP") and labs:
        for lab in labs:
            say(f"\n{lab.domain}: users u1 to u20 at {lab.domain}, password \"pass\"; CA {lab.CA}")
            say("   " + " ".join(f"{k}={v}" for k, v in sorted(lab.values.items()) if k.endswith("_PORT")))
            say(f"   end it with: tests/lab stop {lab.directory}")
    else:
        for lab in labs:
            lab.stop()
        shutil.rmtree(top, ignore_errors=True)
    say(f"\nDemo {'passed' if ok else 'FAILED'} in {time.monotonic() - started:.0f} s.")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
