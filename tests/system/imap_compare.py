"""IMAP command sequences, played to two servers; what both answered, made comparable.

A file of imap_sequences/ holds sequences:

    == name                  begins one; each gets a user with an empty mailbox
    A: SELECT INBOX          session A (opened at its first use) sends a command, with a
                             tag, and reads to the tagged response
    A> IDLE                  sends it, and reads up to the continuation request
    A< DONE                  sends the line without a tag, reads to the tagged response
    A! raw line              sends the line as it is; what comes is read by the next step
    A? 2                     reads what comes by itself: up to 2 lines, or 3 seconds of them
    A+ 3                     appends messages 1 to 3 of MESSAGES to the INBOX (not compared)

In a command #N is the UID of the Nth message that the mailbox ever had (numbers differ
between servers; answers are turned back into N), ~{text} is a synchronising literal, ~+{text} one that is not (RFC 7888), and
<<NAME a literal with a message of MESSAGES. Lines that begin with # are comments.
"""
import os
import pathlib
import pwd
import grp
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 10


def _message(number, subject, sender, day, body, extra=""):
    return (f"Date: {day} Nov 2025 10:0{number % 10}:00 +0000\r\nFrom: {sender}\r\n"
            f"To: Team <team@example.test>\r\nSubject: {subject}\r\n"
            f"Message-ID: <m{number}@example.test>\r\n{extra}\r\n{body}")


MULTIPART = ("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n")
MESSAGES = {
    "1": _message(1, "first words", "Ann Smith <ann@example.test>", "1", "Hello world.\r\nSecond line.\r\n"),
    "2": _message(2, "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=", "Bob <bob@example.test>", "12",
                  "Zw=C3=B6lf Boxk=C3=A4mpfer=\r\n jagen.\r\n",
                  "Cc: carol@example.test, dave@example.test\r\nMIME-Version: 1.0\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\n"
                  "Content-Transfer-Encoding: quoted-printable\r\n"),
    "3": _message(3, "a multipart", "Eve <eve@example.test>", "23",
                  "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nplain part\r\n"
                  "--b1\r\nContent-Type: text/html\r\nContent-Disposition: inline; filename=x.html\r\n\r\n"
                  "<p>html part</p>\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\n"
                  "Subject: inner\r\nFrom: inner@example.test\r\n\r\ninner body\r\n--b1--\r\nepilogue\r\n",
                  MULTIPART),
    "4": _message(4, "fourth", "Ann Smith <ann@example.test>", "24", "x" * 70 + "\r\n" + "needle in here\r\n" * 40,
                  "Bcc: hidden@example.test\r\nX-Spam: no\r\n"),
    "5": _message(5, "fifth", "zed@example.test", "25", "last one\r\n", "In-Reply-To: <m1@example.test>\r\n"),
}
DATES = {"1": "01-Nov-2025 10:01:00 +0000", "2": "12-Nov-2025 10:02:00 +0000",
         "3": "23-Nov-2025 10:03:00 +0000", "4": "24-Nov-2025 10:04:00 +0000",
         "5": "25-Nov-2025 10:05:00 +0000"}


def load_sequences():
    """{name: [(session, kind, text), ...]} of every file, in order."""
    found = {}
    for path in sorted((HERE / "imap_sequences").glob("*.txt")):
        steps = None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("== "):
                name = line[3:].strip()
                assert name not in found, f"{path.name}:{number}: {name} again"
                steps = found[name] = []
                continue
            match = re.fullmatch(r"([A-Z])([:><!?+]) ?(.*)", line)
            assert match and steps is not None, f"{path.name}:{number}: {line}"
            steps.append(match.groups())
    return found


# --- a client ---


class Client:
    """Reads response lines with their literals; everything is latin-1 text."""

    def __init__(self, port, user):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.buffer = b""
        self.tag = 0
        self.line()
        self.command(f"LOGIN {user} pass")

    def fill(self, seconds=PATIENCE):
        ready, _, _ = select.select([self.socket], [], [], seconds)
        if not ready:
            raise TimeoutError("no answer")
        try:
            octets = self.socket.recv(65536)
        except ConnectionResetError:
            octets = b""
        if not octets:
            raise EOFError("closed")
        self.buffer += octets

    def line(self, seconds=PATIENCE):
        """One response with its literals inside, without the last CRLF."""
        whole = b""
        while True:
            while b"\r\n" not in self.buffer:
                self.fill(seconds)
            text, self.buffer = self.buffer.split(b"\r\n", 1)
            whole += text
            match = re.search(rb"\{(\d+)\}$", text)
            if not match:
                return whole.decode("latin-1")
            size = int(match[1])
            while len(self.buffer) < size:
                self.fill(seconds)
            whole += b"\r\n" + self.buffer[:size]
            self.buffer = self.buffer[size:]

    def send(self, text):
        self.socket.sendall(text.encode("utf-8"))

    def until_tagged(self):
        lines = []
        while True:
            line = self.line()
            if re.match(rf"t{self.tag} ", line):
                return lines + [line]
            lines.append(line)

    def continuation(self, lines):
        """True: go on. False: the tagged response came instead."""
        while True:
            line = self.line()
            lines.append(line)
            if line.startswith("+"):
                lines.pop()
                return True
            if re.match(rf"t{self.tag} ", line):
                return False

    def start(self, text):
        """Send a command up to its end; None, or the lines that ended it early."""
        self.tag += 1
        lines = []
        rest = f"t{self.tag} {text}"
        rest = re.sub(r"<<(\+?)(\w+)", lambda m: f"~{m[1]}{{{MESSAGES[m[2]]}}}", rest)
        while True:
            match = re.search(r"~(\+?)\{(.*?)\}(?=[ )\]]|$)", rest, re.S)
            if not match:
                break
            literal = match[2].encode("utf-8")
            self.send(f"{rest[:match.start()]}{{{len(literal)}{match[1]}}}\r\n")
            if not match[1] and not self.continuation(lines):
                return lines
            self.socket.sendall(literal)
            rest = rest[match.end():]
        self.send(rest + "\r\n")
        self.lines = lines
        return None

    def command(self, text):
        early = self.start(text)
        return early if early is not None else self.lines + self.until_tagged()

    def unasked(self, count):
        lines, end = [], time.monotonic() + 3
        while len(lines) < count and time.monotonic() < end:
            try:
                lines.append(self.line(max(0.01, end - time.monotonic())))
            except (TimeoutError, EOFError) as error:
                lines += ["closed"] if isinstance(error, EOFError) else []
                break
        return lines

    def close(self):
        self.socket.close()


class Uids:
    """UIDs by their order: the first message a mailbox had is 1. Seen by a session of its
    own, which only EXAMINEs."""

    def __init__(self, port, user):
        self.client = Client(port, user)
        self.client.command("UNSUBSCRIBE INBOX")
        self.known = {}
        self.selected = {}

    @staticmethod
    def mailbox(text):
        name = text.strip().strip('"')
        return "INBOX" if name.upper() == "INBOX" else name

    def look(self, mailbox):
        if not mailbox or '"' in mailbox or "(" in mailbox:
            return
        answer = self.client.command(f'EXAMINE "{mailbox}"')
        if " OK " not in answer[-1]:
            return
        seen = self.known.setdefault(mailbox, [])
        for line in self.client.command("UID SEARCH ALL"):
            if line.startswith("* SEARCH"):
                seen += sorted(int(u) for u in line.split()[2:] if int(u) not in seen)

    def before(self, session, text):
        """The command as this server must get it."""
        known = self.known.get(self.selected.get(session), [])

        def uid(match):
            number = int(match[1])
            return str(known[number - 1] if number <= len(known) else 900000 + number)
        return re.sub(r"#(\d+)", uid, text)

    def after(self, session, text, lines):
        """The answer with UIDs as numbers of their order."""
        words = re.sub(r"~\+?\{(.*?)\}", r"\1", text).split(" ", 2)
        verb = words[0].upper()
        if verb in ("SELECT", "EXAMINE") and any(" OK " in line for line in lines[-1:]):
            self.selected[session] = self.mailbox(" ".join(words[1:]))
        target = self.selected.get(session)
        match = re.match(r"(?:UID )?(?:COPY|MOVE) \S+ (.+)|APPEND (\"[^\"]*\"|\S+)",
                         re.sub(r"~\+?\{(.*?)\}", r"\1", text), re.I)
        if match:
            target = self.mailbox(match[1] or match[2])
        for mailbox in {target, self.selected.get(session)}:
            self.look(mailbox)
        own = self.known.get(self.selected.get(session), [])
        other = self.known.get(target, [])
        is_search = [word.upper() for word in words[:2]] == ["UID", "SEARCH"]
        return [self.line(line, own, other, is_search) for line in lines]

    @staticmethod
    def number(known, text):
        def ordinal(match):
            uid = int(match[0])
            return str(known.index(uid) + 1 if uid in known else 0)
        return re.sub(r"\d+", ordinal, text)

    @staticmethod
    def spread(uids):
        """1:3 as 1,2,3."""
        out = []
        for item in uids.split(","):
            first, _, last = item.partition(":")
            out += range(int(first), int(last or first) + 1)
        return ",".join(map(str, out))

    def line(self, line, own, other, is_uid_search):
        line = re.sub(r"\bUID (\d+)", lambda m: "UID " + self.number(own, m[1]), line)
        line = re.sub(r"UIDNEXT \d+", "UIDNEXT N", line)
        line = re.sub(r"\[APPENDUID (\d+) (\d+)\]",
                      lambda m: f"[APPENDUID 1 {self.number(other, m[2])}]", line)
        line = re.sub(r"\[COPYUID (\d+) (\S+) (\S+)\]",
                      lambda m: f"[COPYUID 1 {self.number(own, self.spread(m[2]))}"
                                f" {self.number(other, self.spread(m[3]))}]", line)
        if is_uid_search and line.startswith("* SEARCH"):
            line = self.number(own, line)
        return line


def play(port, user, steps):
    """The answers: a list of lines for each step."""
    clients, answers = {}, []
    uids = Uids(port, user)
    try:
        for session, kind, text in steps:
            if session not in clients:
                clients[session] = Client(port, user)
            client = clients[session]
            try:
                lines = step(client, kind, uids.before(session, text))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                lines = ["closed"]
            except TimeoutError:
                lines = ["no answer"]
            answers.append(uids.after(session, text, lines))
    finally:
        for client in [uids.client, *clients.values()]:
            client.close()
    return answers


def step(client, kind, text):
    if kind == ":":
        return client.command(text)
    if kind == ">":
        early = client.start(text)
        if early is None:
            lines = []
            return lines + ["+"] if client.continuation(lines) else lines
        return early
    if kind == "<":
        client.send(text + "\r\n")
        return client.until_tagged()
    if kind == "!":
        client.send(text + "\r\n")
        return []
    if kind == "?":
        return client.unasked(int(text))
    for number in range(1, int(text) + 1):
        name = str((number - 1) % len(MESSAGES) + 1)
        answer = client.command(f'APPEND INBOX "{DATES[name]}" <<{name}')[-1]
        assert " OK " in answer, answer
    return []


# --- what is compared ---


def tokens(text):
    """An IMAP response taken apart: atoms, strings (as ('s', text)), lists."""
    stack, i = [[]], 0
    while i < len(text):
        c = text[i]
        if c in " ":
            i += 1
        elif c in "([":
            stack.append([])
            i += 1
        elif c in ")]" and len(stack) > 1:
            done = stack.pop()
            stack[-1].append(done)
            i += 1
        elif c == '"':
            end, value = i + 1, ""
            while end < len(text) and text[end] != '"':
                end += text[end] == "\\"
                value += text[end:end + 1]
                end += 1
            stack[-1].append(("s", value))
            i = end + 1
        elif c == "{":
            match = re.match(r"\{(\d+)\}\r\n", text[i:])
            start = i + match.end()
            stack[-1].append(("s", text[start:start + int(match[1])]))
            i = start + int(match[1])
        else:
            end = i
            while end < len(text) and text[end] not in " ()\"{" and not (text[end] in "[]" and end == i):
                if text[end] == "[":  # BODY[...] is one word
                    end = text.index("]", end)
                end += 1
            stack[-1].append(text[i:end] if end > i else c)
            i = max(end, i + 1)
    return stack[0]


def freeze(value):
    return tuple(freeze(v) for v in value) if isinstance(value, list) else value


def fetch_items(text):
    """{item: value} of what stands between the parentheses of a FETCH response."""
    flat = tokens(text)
    items, i = {}, 0
    while i + 1 < len(flat):
        name, value = flat[i], flat[i + 1]
        name = name.upper() if isinstance(name, str) else freeze(name)
        if name == "FLAGS":
            value = sorted(v.lower() for v in value)
        if name == "INTERNALDATE":  # " 1-" and "01-" are one date (RFC 3501 9, date-day-fixed)
            value = ("s", re.sub(r"^0", " ", value[1]))
        items[name] = freeze(value)
        i += 2
    return tuple(sorted(items.items(), key=str))


# Which of these a server gives is its own affair (RFC 5530 3).
RFC_5530 = ("NONEXISTENT", "ALREADYEXISTS", "CANNOT", "LIMIT", "SERVERBUG", "CLIENTBUG", "NOPERM", "EXPUNGEISSUED")


def code(text):
    """The response code in brackets, without numbers that must differ."""
    match = re.match(r"\[([^\] ]+)([^\]]*)\]", text)
    if not match:
        return ""
    name, rest = match[1].upper(), match[2]
    if name in RFC_5530:
        return ""
    if name in ("APPENDUID", "COPYUID"):
        rest = re.sub(r"^ \d+", " V", rest)
    elif name == "UIDVALIDITY":
        rest = " V"
    elif name in ("FLAGS", "PERMANENTFLAGS"):
        rest = " " + " ".join(sorted(rest.lower().strip(" ()").split()))
    elif name in ("CAPABILITY", "BADCHARSET"):
        rest = ""
    return name + rest


def normal_line(line):
    """One response line in comparable form; None: not compared."""
    if line in ("closed", "no answer", "+"):
        return line
    tagged = re.match(r"[^*+ ]+ (OK|NO|BAD) ?(.*)", line, re.S)
    if tagged:
        return ("TAGGED", tagged[1], code(tagged[2]))
    if line.startswith("+"):
        return "+"
    status = re.match(r"\* (OK|NO|BAD|BYE|PREAUTH) ?(.*)", line, re.S)
    if status:
        word = code(status[2])
        if word.startswith(("HIGHESTMODSEQ", "NOMODSEQ")):
            return None
        return ("STATUS", status[1], word)
    fetch = re.match(r"\* (\d+) FETCH \((.*)\)$", line, re.S)
    if fetch:
        return ("FETCH", int(fetch[1]), fetch_items(fetch[2]))
    numbered = re.match(r"\* (\d+) (\w+)$", line)
    if numbered:
        return (numbered[2].upper(), int(numbered[1]))
    listing = re.match(r"\* (LIST|LSUB) \(([^)]*)\) (\S+) (.*)", line, re.S)
    if listing:
        flags = sorted(f.lower() for f in listing[2].split() if f.lower() not in ("\\unmarked", "\\marked"))
        return (listing[1], tuple(flags), listing[3], freeze(tokens(listing[4])))
    word, _, rest = line[2:].partition(" ")
    word = word.upper()
    if word == "FLAGS":
        return ("FLAGS", tuple(sorted(rest.lower().strip("()").split())))
    if word == "SEARCH":
        return ("SEARCH", tuple(rest.split()))
    if word == "STATUS":
        name, items = re.match(r"(.*) \((.*)\)$", rest, re.S).groups()
        pairs = items.split()
        values = dict(zip(pairs[::2], pairs[1::2]))
        if "UIDVALIDITY" in values:
            values["UIDVALIDITY"] = "V"
        return ("STATUS-OF", freeze(tokens(name)), tuple(sorted(values.items())))
    if word in ("CAPABILITY", "ID"):
        return (word,)
    return (word, freeze(tokens(rest)))


def normal(lines):
    """A step's answer. The order of untagged responses is free, but for EXPUNGE, of which
    only the numbers at the beginning of the run count."""
    out, gone = [], []
    for line in lines:
        item = normal_line(line)
        if item is None:
            continue
        if isinstance(item, tuple) and item[0] == "EXPUNGE":
            number = item[1]
            for earlier in sorted(gone):
                if earlier <= number:
                    number += 1
            gone.append(number)
        else:
            out.append(item)
    if gone:
        out.append(("EXPUNGED", tuple(sorted(gone))))
    tagged = [item for item in out if item[0] == "TAGGED"]
    return sorted((item for item in out if item[0] != "TAGGED"), key=str) + tagged


# --- Dovecot ---

CONFIG = """
protocols = imap
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
ssl = no
disable_plaintext_auth = no
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_location = maildir:{base}/mail/%u
first_valid_uid = 1
first_valid_gid = 0
mail_uid = {user}
mail_gid = {group}
mail_max_userip_connections = 0
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={base}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Archive {{
    special_use = \\Archive
  }}
  mailbox Drafts {{
    special_use = \\Drafts
  }}
  mailbox Junk {{
    special_use = \\Junk
  }}
  mailbox Sent {{
    special_use = \\Sent
  }}
  mailbox Trash {{
    special_use = \\Trash
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot:
    """A private instance with a Maildir for every user who comes."""

    def __init__(self):
        user = pwd.getpwnam("nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="imap-dovecot."))
        self.base.chmod(0o755)
        for name in ("mail", "home"):
            (self.base / name).mkdir()
            if os.geteuid() == 0:
                os.chown(self.base / name, user.pw_uid, user.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = self.base / "dovecot.conf"
        config.write_text(CONFIG.format(base=self.base, port=self.port, user=user.pw_name,
                                        group=grp.getgrgid(user.pw_gid).gr_name))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(config)])
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.base, ignore_errors=True)
