"""An account that is put back from a backup: file by file, made while mail came in."""
import glob
import os
import re
import shutil
import threading
import time

from suite import message, wait_for

MAIN_CF = "store_segment_size = 1048576\nstore_blob_threshold = 65536\n"
LINE = "x" * 70 + "\r\n"


class Traffic(threading.Thread):
    """Mail to u1, and changes by IMAP, until it is told to stop."""

    def __init__(self, lab):
        super().__init__()
        self.lab, self.count, self.problem = lab, 0, None
        self.is_over = threading.Event()

    def run(self):
        try:
            self.deliver()
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def deliver(self):
        client = self.lab.imap("u1")
        client.create("Kept")
        with self.lab.submission("u2") as sender:
            while not self.is_over.is_set():
                to = self.lab.address("u1")
                lines = 2000 if self.count % 7 == 0 else 800  # some get a file of their own
                sender.sendmail(self.lab.address("u2"), [to],
                                message(f"busy-{self.count}", LINE * lines, to=to))
                self.count += 1
                if int(client.select("INBOX")[1][0]) == 0:
                    continue
                client.store("1:*", "+FLAGS" if self.count % 2 else "-FLAGS", "\\Flagged")
                if self.count % 5 == 0:
                    client.copy("1", "Kept")
        client.logout()


def directory(lab):
    [path] = glob.glob(os.path.join(lab.STORE_DIR, "*", "u1*"))
    return path


def back_up(source, target):
    """What store(8) says: the segments first, then the large messages; slowly."""
    os.makedirs(os.path.join(target, "blob"))
    for pattern in ("seg.*", "blob/*"):
        names = glob.glob(os.path.join(source, pattern))
        assert names, pattern
        for name in sorted(names, key=lambda path: (len(path), path)):
            shutil.copy2(name, os.path.join(target, os.path.relpath(name, source)))
            time.sleep(0.1)


def put_back(copy, path, owner):
    shutil.copytree(copy, path)
    for place, folders, files in os.walk(path):
        for name in [".", *files]:
            os.chown(os.path.join(place, name), owner.st_uid, owner.st_gid)


def look_by_imap(lab):
    """UIDVALIDITY and the messages of each mailbox: {name: (uidvalidity, {uid: message})}."""
    client = lab.imap("u1")
    found = {}
    for name in ("INBOX", "Kept"):
        assert client.select(name, readonly=True)[0] == "OK"
        uidvalidity = int(client.response("UIDVALIDITY")[1][0])
        messages = {}
        for item in client.fetch("1:*", "(UID BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                messages[int(re.search(rb"UID (\d+)", item[0])[1])] = item[1]
        found[name] = uidvalidity, messages
    client.logout()
    return found


def look_by_pop3(lab):
    client = lab.pop3("u1")
    uidls = [line.split()[1] for line in client.uidl()[1]]
    client.quit()
    return uidls


def test_a_restored_account_hands_out_nothing_twice(new_lab, tmp_path):
    lab = new_lab(main_cf=MAIN_CF, users=2)
    traffic, copy = Traffic(lab), str(tmp_path / "copy")
    traffic.start()
    wait_for(lambda: traffic.count >= 30 or traffic.problem, 60)
    back_up(directory(lab), copy)
    at_backup = traffic.count
    wait_for(lambda: traffic.count >= at_backup + 30 or traffic.problem, 60)
    traffic.is_over.set()
    traffic.join()
    assert traffic.problem is None, traffic.problem
    lab.wait_for_messages(traffic.count)
    before, uidls = look_by_imap(lab), look_by_pop3(lab)

    lab.stop()
    path = directory(lab)
    shutil.move(path, str(tmp_path / "lost"))
    put_back(copy, path, os.stat(os.path.dirname(path)))
    assert lab.tool("waypost", "mailbox", "renew", lab.address("u1")) == (0, "")
    lab.start()
    assert lab.tool("waypost", "mailbox", "verify", lab.address("u1")) == (0, "")

    after = look_by_imap(lab)
    highest = max(uidvalidity for uidvalidity, messages in before.values())
    for name, (uidvalidity, messages) in after.items():
        assert uidvalidity > highest
        assert messages and len(messages) < len(before[name][1])
        for uid, octets in messages.items():
            assert octets == before[name][1][uid]
    with lab.submission("u2") as sender:
        for i in range(traffic.count):
            sender.sendmail(lab.address("u2"), [lab.address("u1")],
                            message(f"after-{i}", to=lab.address("u1")))
    lab.wait_for_messages(len(after["INBOX"][1]) + traffic.count)
    now = look_by_imap(lab)["INBOX"][1]
    known = {uid: octets for uidvalidity, messages in before.values() for uid, octets in messages.items()}
    for uid, octets in now.items():
        assert known.get(uid, octets) == octets
    assert not set(uidls) & set(look_by_pop3(lab))
    assert lab.tool("waypost", "mailbox", "verify", lab.address("u1")) == (0, "")
