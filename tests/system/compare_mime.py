#!/usr/bin/env python3
"""Compare lib/mail's views of messages with Dovecot's.

usage: compare_mime.py [-v] [--build DIR] FILE-OR-FOLDER...

Starts a private Dovecot on a loopback port with the messages in a Maildir, asks both sides
for ENVELOPE, BODY, BODYSTRUCTURE, every BODY[section] and a set of SEARCHes, and prints
what differs. Exits 1 when there is a difference that mime-differences.md does not list.
Needs root (Dovecot switches users) and Debian's dovecot-imapd.
"""

import argparse
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
USER = "nobody"

SEARCHES = [
    ("HEADER", "Subject", "test"), ("HEADER", "Subject", "re"), ("HEADER", "From", "com"),
    ("HEADER", "To", "@"), ("HEADER", "Received", ""), ("HEADER", "X-Mailer", "micro"),
    ("HEADER", "Subject", "\u00e4"), ("HEADER", "From", "\u00e9"), ("HEADER", "Content-Type", "boundary"),
    ("BODY", "the"), ("BODY", "hello"), ("BODY", "\u00fc"), ("BODY", "\u00e9"), ("BODY", "html"),
    ("BODY", "\u65e5"), ("BODY", "\u0434\u0430"), ("BODY", "subject"), ("BODY", "<body"),
    ("TEXT", "multipart"), ("TEXT", "from"), ("TEXT", "\u00d6"), ("TEXT", "example.com"),
    ("TEXT", "\u9673"), ("TEXT", "content-transfer"), ("TEXT", "attachment"),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Imap:
    """Just enough of a client: tagged commands, untagged lines with their literals."""

    def __init__(self, port):
        self.file = socket.create_connection(("127.0.0.1", port), timeout=30).makefile("rwb")
        self.line()
        self.tag = 0

    def line(self):
        """One response line: a list of text and literal pieces."""
        pieces = []
        while True:
            text = self.file.readline()
            if not text:
                raise EOFError("the server closed the connection")
            match = re.search(rb"\{(\d+)\}\r\n$", text)
            if not match:
                pieces.append(text[:-2])
                return pieces
            pieces += [text, self.file.read(int(match[1]))]

    def command(self, text, literal=None):
        """Untagged lines of a command that must succeed; literal ends the command."""
        self.tag += 1
        tag = b"a%d" % self.tag
        self.file.write(tag + b" " + text)
        if literal is not None:
            self.file.write(b" {%d+}\r\n" % len(literal) + literal)
        self.file.write(b"\r\n")
        self.file.flush()
        lines = []
        while True:
            line = self.line()
            if line[0].startswith(tag + b" "):
                if not line[0].startswith(tag + b" OK"):
                    raise RuntimeError(f"{text!r}: {line[0]!r}")
                return lines
            lines.append(line)

    def fetch(self, number, item):
        """The value of one fetch item, as it stood on the wire."""
        name = item.split(b" (")[0].split(b".PEEK")[0].encode() if isinstance(item, str) else item
        for line in self.command(b"FETCH %d %s" % (number, name)):
            whole = b"".join(line)
            prefix = b"* %d FETCH (" % number
            if whole.startswith(prefix) and b"FLAGS" not in whole[:len(prefix) + 5]:
                return whole[len(prefix):-1]
        raise RuntimeError(f"no answer to FETCH {item!r}")


class Dovecot:
    """A private instance over a folder of messages; stop() takes all of it away."""

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
mail_location = maildir:{base}/mail
first_valid_uid = 1
first_valid_gid = 0
mail_uid = {user}
mail_gid = {group}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={base}/home
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

    def __init__(self, files):
        entry = pwd.getpwnam(USER)
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="compare-mime-"))
        self.base.chmod(0o755)
        for name in ("mail/cur", "mail/new", "mail/tmp", "home"):
            (self.base / name).mkdir(parents=True)
        for number, path in enumerate(files, 1):
            shutil.copyfile(path, self.base / "mail/cur" / f"{1000000000 + number}.M1P1.host:2,S")
        for folder, _, names in os.walk(self.base):
            for name in [""] + names:
                os.chown(os.path.join(folder, name), entry.pw_uid, entry.pw_gid)
        import grp
        self.port = free_port()
        config = self.base / "dovecot.conf"
        config.write_text(self.CONFIG.format(base=self.base, port=self.port, user=USER,
                                             group=grp.getgrgid(entry.pw_gid).gr_name))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(config)])
        for _ in range(100):
            try:
                self.imap = Imap(self.port)
                break
            except OSError:
                time.sleep(0.1)
        else:
            self.stop()
            raise RuntimeError("dovecot did not start")
        self.imap.command(b"LOGIN someone secret")
        self.imap.command(b"SELECT INBOX")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.base, ignore_errors=True)


class Ours:
    """lib/mail behind tests/unit/mail/mimedump.c."""

    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def ask(self, request):
        self.process.stdin.write(request + b"\n")
        self.process.stdin.flush()
        head = self.process.stdout.readline()
        if head == b"-\n":
            return None
        if not head or head.startswith(b"!"):
            return b"ERROR " + head
        return self.process.stdout.read(int(head))

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def parse(text, at=0):
    """An IMAP value as nested lists and octets: quoted and literal forms become equal."""
    def skip_blank(at):
        while text[at:at + 1] == b" ":
            at += 1
        return at

    def value(at):
        at = skip_blank(at)
        c = text[at:at + 1]
        if c == b"(":
            items, at = [], at + 1
            while (at := skip_blank(at)) < len(text) and text[at:at + 1] != b")":
                item, at = value(at)
                items.append(item)
            return items, at + 1
        if c == b'"':
            out, at = b"", at + 1
            while at < len(text) and text[at:at + 1] != b'"':
                if text[at:at + 1] == b"\\":
                    at += 1
                out += text[at:at + 1]
                at += 1
            return ("s", out), at + 1
        if c == b"{":
            end = text.index(b"}\r\n", at)
            n = int(text[at + 1:end])
            return ("s", text[end + 3:end + 3 + n]), end + 3 + n
        end = at
        while end < len(text) and text[end:end + 1] not in (b" ", b"(", b")"):
            end += 1
        return text[at:end], max(end, at + 1)

    return value(at)[0]


def sections(structure, prefix="", out=None):
    """All part numbers of a parsed BODYSTRUCTURE, with those of messages inside."""
    out = [] if out is None else out
    if structure and isinstance(structure[0], list):
        for number, part in enumerate(structure, 1):
            if not isinstance(part, list) or (number > 1 and not is_part(part)):
                break
            name = f"{prefix}{number}"
            out.append(name)
            inner(part, name, out)
    else:
        out.append(f"{prefix}1")
        inner(structure, f"{prefix}1", out)
    return out


def is_part(item):
    return bool(item) and (isinstance(item[0], list) or (len(item) >= 7 and isinstance(item[0], tuple)))


def inner(part, name, out):
    if isinstance(part[0], list):
        sections(part, name + ".", out)
    elif part[0] == ("s", b"message") and len(part) > 8 and isinstance(part[8], list):
        if isinstance(part[8][0], list):
            sections(part[8], name + ".", out)
        else:
            out.append(name + ".1")


def section_requests(structure):
    fields = "(Subject To X-None)"
    yield from ("HEADER", "TEXT", "", f"HEADER.FIELDS {fields}", f"HEADER.FIELDS.NOT {fields}", "99", "1.99")
    for name in sections(structure):
        yield name
        for kind in ("MIME", "HEADER", "TEXT", f"HEADER.FIELDS {fields}"):
            yield f"{name}.{kind}"


def compare_message(imap, number, ours):
    """Yield (item, theirs, ours) for what differs."""
    structure = None
    for item in (b"ENVELOPE", b"BODYSTRUCTURE", b"BODY"):
        theirs = imap.fetch(number, item)[len(item) + 1:]
        mine = ours.ask(item)
        if item == b"BODYSTRUCTURE":
            structure = parse(theirs)
        if theirs != mine:
            same = mine is not None and not mine.startswith(b"ERROR") and parse(theirs) == parse(mine)
            yield item.decode() + (" (only its form)" if same else ""), theirs, mine
    for name in section_requests(structure):
        try:
            line = imap.fetch(number, b"BODY.PEEK[%s]" % name.encode())
        except RuntimeError as error:
            theirs = b"ERROR"
            del error
        else:
            rest = line[line.index(b"] ") + 2:]
            if rest == b"NIL":
                theirs = None
            elif rest.startswith(b'"'):
                theirs = parse(rest)[1]
            else:
                theirs = rest[rest.index(b"\r\n") + 2:]
        mine = ours.ask(b"SECTION " + name.encode())
        if mine is not None and mine.startswith(b"ERROR") and theirs == b"ERROR":
            continue
        # A part that is not there answers as an empty one.
        mine = (mine or b"").replace(b"\0", b"\x80")
        if (theirs or b"") != mine:
            yield f"BODY[{name}]", theirs, mine


def compare_searches(imap, all_ours):
    for search in SEARCHES:
        *where, text = search
        literal = text.encode()
        theirs = set()
        for line in imap.command(b"SEARCH CHARSET UTF-8 " + " ".join(where).encode(), literal):
            if line[0].startswith(b"* SEARCH"):
                theirs = {int(n) for n in line[0].split()[2:]}
        for number, ours in enumerate(all_ours, 1):
            answer = ours.ask(b"SEARCH " + " ".join(where).encode() + b" " + literal)
            if (answer == b"1") != (number in theirs):
                yield number, "SEARCH " + " ".join(search), str(number in theirs).encode(), answer


def known_differences():
    """File name -> items, from the list items "- `file`: `item`, ..." of the page."""
    known = {}
    page = HERE / "mime-differences.md"
    if page.exists():
        for line in page.read_text().splitlines():
            match = re.match(r"- `([^`]+)`: (`.*)$", line)
            if match:
                known.setdefault(match[1], set()).update(re.findall(r"`([^`]+)`", match[2]))
    return known


def build_mimedump(build, folder):
    """lib/mail must have been built in build."""
    program = os.path.join(folder, "mimedump")
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-I" + str(ROOT / "lib"),
                    str(ROOT / "tests/unit/mail/mimedump.c"), str(build / "lib/libmail.a"),
                    str(build / "lib/libbase.a"), "-lidn2", "-lunistring", "-o", program],
                   check=True)
    return program


def collect(paths):
    files = []
    for path in map(pathlib.Path, paths):
        files += sorted(p for p in path.rglob("*") if p.is_file() and p.name != "ORIGIN") if path.is_dir() else [path]
    return files


def compare(paths, build, report):
    """Number of differences that are not known; report(file, item, theirs, ours, is_known)."""
    files = collect(paths)
    known = known_differences()
    unknown = 0
    with tempfile.TemporaryDirectory() as folder:
        program = build_mimedump(build, folder)
        dovecot = Dovecot(files)
        all_ours = []
        try:
            all_ours = [Ours(program, path) for path in files]
            differences = []
            for number, (path, ours) in enumerate(zip(files, all_ours), 1):
                differences += [(path, *d) for d in compare_message(dovecot.imap, number, ours)]
            differences += [(files[n - 1], *rest) for n, *rest in compare_searches(dovecot.imap, all_ours)]
            for path, item, theirs, mine in differences:
                is_known = item in known.get(path.name, ())
                unknown += not is_known
                report(path, item, theirs, mine, is_known)
        finally:
            dovecot.stop()
            for ours in all_ours:
                ours.stop()
    return len(files), unknown


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()

    def report(path, item, theirs, mine, is_known):
        if is_known and not options.verbose:
            return
        print(f"{path.name}: {item}{' (known)' if is_known else ''}")
        if options.verbose:
            for who, value in (("dovecot", theirs), ("ours   ", mine)):
                print(f"    {who} {value[:1500] if value is not None else None!r}")

    count, unknown = compare(options.paths, options.build, report)
    print(f"{count} messages, {unknown} unexplained differences")
    return unknown != 0


if __name__ == "__main__":
    sys.exit(main())
