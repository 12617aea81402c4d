"""The log as its readers take it: Debian's pflogsumm sums up a run whose numbers are known."""
import os
import re
import shutil
import smtplib
import subprocess
import tempfile

import pytest

from conftest import make_lab
from suite import message, wait_for

ALIASES = """two: u4@example.test, u5@example.test
stuck: |/bin/false
list: u6@example.test
owner-list: u7@example.test
"""


@pytest.fixture(scope="module")
def lab(request):
    folder = tempfile.mkdtemp(prefix="waypost-logs.")
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.chmod(folder, 0o755)
    with open(os.path.join(folder, "aliases"), "w", encoding="utf-8") as out:
        out.write(re.sub(":", "", ALIASES))
    return make_lab(request, main_cf=f"alias_maps = texthash:{folder}/aliases\n")


class Ledger:
    """Sends, and keeps count of what a reader of the log should find."""

    def __init__(self, lab):
        self.lab, self.open = lab, []
        self.counts = dict.fromkeys(("received", "delivered", "forwarded", "deferred", "deferrals", "bounced",
                                     "rejected"), 0)
        self.senders, self.recipients, self.octets = set(), set(), 0

    def sent(self, sender, text):
        self.counts["received"] += 1
        self.senders.add(sender)
        self.octets += len(text)

    def delivered(self, *recipients):
        self.counts["delivered"] += len(recipients)
        self.recipients.update(recipients)

    def send(self, client, sender, recipients, delivered=None):
        """One message over an open client. delivered: where it ends up, when not at its recipients."""
        recipients = [r if "@" in r else f"{r}@example.test" for r in recipients]
        text = message(f"log{self.counts['received']}", "a line\r\n" * 20, sender, recipients[0])
        client.sendmail(sender, recipients, text)
        self.sent(sender, text)
        self.delivered(*(recipients if delivered is None else delivered))

    def refused(self, client, recipient):
        client.rset()
        client.mail("u1@example.test")
        assert client.rcpt(recipient)[0] == 550
        self.counts["rejected"] += 1


def run_everything(lab):
    book = Ledger(lab)
    here = "mx.example.test"
    with lab.smtp() as client:
        for i in range(20):
            book.send(client, f"u{i % 4 + 1}@example.test", ["u2"])
        for i in range(5):
            book.send(client, "someone@client.test", ["u2", "u3", "U3"][:2 + i % 2],
                      delivered=["u2@example.test", "u3@example.test"])
        # Aliases: what is delivered are their members, and a list's forwarding is no delivery.
        for i in range(3):
            book.send(client, "u1@example.test", [f"two@{here}"], delivered=["u4@example.test", "u5@example.test"])
        book.send(client, "u1@example.test", [f"list@{here}"], delivered=["u6@example.test"])
        book.counts["forwarded"] += 1
        # Failures, each with a notification to the sender, which nobody sent.
        for i in range(4):
            book.send(client, "u1@example.test", [f"nobody{i}@nowhere.test"], delivered=["u1@example.test"])
            book.counts["bounced"] += 1
        # To be tried again: counted by message, and by attempt.
        for i in range(3):
            book.send(client, "u1@example.test", [f"stuck@{here}"], delivered=[])
            book.counts["deferred"] += 1
            book.counts["deferrals"] += 1
        for i in range(7):
            book.refused(client, f"unknown{i}@example.test")
        book.refused(client, f"unknown@{here}")
        # Given up: like Postfix's, the log has a client but no message, and the reader counts it.
        client.rset()
        client.mail("u1@example.test")
        client.rcpt("u2@example.test")
        client.rset()
        book.counts["received"] += 1
        book.given_up = 1
    with lab.submission("u8") as client:
        for i in range(6):
            book.send(client, "u8@example.test", ["u9"])
    with smtplib.SMTP_SSL("127.0.0.1", lab.SMTPS_PORT, local_hostname="client.test", context=lab.tls(),
                          timeout=20) as client:
        client.login("u9@example.test", "pass")
        for i in range(4):
            book.send(client, "u9@example.test", ["u8"])
    program = os.path.join(lab.BUILD_DIR, "bin/sendmail")
    for i in range(2):
        text = b"Subject: local\nFrom: u10@example.test\n\nhello\n"
        done = subprocess.run([program, "-C", lab.CONFIG_DIR, "-i", "-f", "u10@example.test", "u1@example.test"],
                              input=text, timeout=30, check=False)
        assert done.returncode == 0
        book.sent("u10@example.test", text)
        book.delivered("u1@example.test")
    return book


def wait_until_settled(lab, book):
    """All but the deferred ones are gone from the queue."""
    # The bounces' notifications and the list's forwarding are messages of their own.
    total = book.counts["received"] - book.given_up + book.counts["bounced"] + book.counts["forwarded"]
    wait_for(lambda: len(re.findall(r"/qmgr\[\d+\]: \w+: removed$", lab.log(), re.M)) ==
             total - book.counts["deferred"], 40, lambda: lab.log()[-4000:])
    wait_for(lambda: lab.log().count("status=deferred") >= book.counts["deferrals"])


def summary(lab, peer_tool, run_tool):
    status, out = run_tool(peer_tool("pflogsumm"), lab.LOG)
    assert status == 0, out
    totals = out.split("Grand Totals")[1].split("Per-Hour")[0]
    found = {}
    for line in totals.splitlines():
        match = re.match(r" +(\d+)(k|m|) +(\D+?)(?: +\((\d+)[km%]?.*\))?$", line)
        if match:
            found[match.group(3)] = int(match.group(1)) * {"": 1, "k": 1024, "m": 1 << 20}[match.group(2)]
            if match.group(3) == "deferred":
                found["deferrals"] = int(match.group(4) or 0)
    return found, out


def test_pflogsumm(lab, peer_tool, run_tool):
    peer_tool("pflogsumm")
    book = run_everything(lab)
    wait_until_settled(lab, book)
    assert lab.tool("postqueue", "-f")[0] == 0
    book.counts["deferrals"] *= 2
    wait_for(lambda: lab.log().count("status=deferred") == book.counts["deferrals"], 20,
             lambda: lab.log()[-3000:])
    found, out = summary(lab, peer_tool, run_tool)
    for name, count in book.counts.items():
        assert found[name] == count, (name, count, out)
    assert found["senders"] == len(book.senders), out
    assert found["recipients"] == len(book.recipients), out
    for name in ("reject warnings", "held", "discarded"):
        assert found[name] == 0, out
    # Sizes are those of what is queued: with Received: and what was missing, but no more.
    assert book.octets < found["bytes received"] < book.octets + 600 * book.counts["received"], out
    for word in ("Fatal Errors", "Panics"):
        assert f"{word}: none" in out or word not in out, out
    assert "Messages with no size data" not in out, out


def test_every_message_has_its_lines(lab):
    """client= or uid=, message-id=, from=, at least one status, removed: in this order, once."""
    log = lab.log()
    seen = re.findall(r"postfix/(?:\w+/)?(?:smtpd|pickup)\[\d+\]: (\w+): (?:client|uid)=", log)
    assert len(seen) > 40 and len(seen) == len(set(seen))
    given_up = 0
    for queue_id in seen:
        lines = [line for line in log.splitlines() if f" {queue_id}: " in line]
        kinds = [next(kind for kind in ("client=", "uid=", "message-id=", "from=<", "status=", "removed",
                                        "notification", line) if kind in line) for line in lines]
        if len(lines) == 1:
            given_up += 1
            continue
        kinds = [kind for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] != kind]
        assert kinds[:3] in (["client=", "message-id=", "from=<"], ["uid=", "message-id=", "from=<"]), lines
        if "status=deferred" not in lines[-1] and "(queue active)" not in lines[-1]:
            assert kinds[-1] == "removed" and kinds.count("removed") == 1, lines
    assert given_up == 1


def test_nobody_forges_a_line(lab):
    """What a client says stays on the line it belongs to."""
    with lab.smtp() as client:
        client.ehlo("evil\tname")
        client.docmd("MAIL", "FROM:<x\tpostfix/smtpd[1]: forged@client.test>")
        client.docmd("RCPT", "TO:<\x1b[31mred@example.test>")
        client.docmd("VRFY", "x\x07y")
    lab.wait_for_log("disconnect from", "commands=")
    log = lab.log()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", log)
    line = re.compile(r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d mx postfix/[\w/-]+\[\d+\]: ")
    assert all(line.match(text) for text in log.splitlines())
