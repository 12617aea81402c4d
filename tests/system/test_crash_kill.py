"""Nothing that was acknowledged is lost when processes are killed, and nothing stays stuck.

MESSAGES=2000 makes it longer (tests/torture); SEED=n repeats the order of the kills.
"""
import collections
import glob
import imaplib
import json
import os
import random
import re
import shutil
import signal
import smtplib
import socketserver
import threading
import time

import pytest

import suite

MESSAGES = int(os.environ.get("MESSAGES", "500"))
SEED = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
CLIENTS = 4
PAUSE = 0.08  # of a client between messages, so that there is time to kill
VICTIMS = ("qmgr", "smtpd", "smtp", "store", "imapd", "local", "auth", "bounce", "tlsproxy",
           "imap-login", "anvil", "postlogd", "pickup")
USERS = ("u1", "u2", "u3")
SECONDS = 240 + MESSAGES // 10  # for one phase; a phase that takes longer hangs

MAIN_CF = """
transport_maps = inline:{{sink.test=smtp:[127.0.0.1]:{port}}}
alias_maps = inline:{{crash=u3@example.test}}
smtp_tls_security_level = none
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
smtp_destination_concurrency_failed_cohort_limit = 0
default_destination_concurrency_failed_cohort_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
"""


class Sink(socketserver.ThreadingTCPServer):
    """A next hop that keeps the number and text of what it takes."""
    allow_reuse_address = daemon_threads = True
    request_queue_size = 100

    def __init__(self):
        self.lock, self.messages = threading.Lock(), []
        super().__init__(("127.0.0.1", 0), SinkSession)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class SinkSession(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            self.talk()
        except OSError:
            pass  # the client was killed

    def say(self, line):
        self.wfile.write(line + b"\r\n")

    def talk(self):
        self.say(b"220 sink.test ESMTP")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.say(b"354 go on")
                text = self.read_message()
                if text is None:
                    return
                with self.server.lock:
                    self.server.messages.append(text)
                self.say(b"250 taken")
            elif verb == b"EHLO":
                self.say(b"250-sink.test\r\n250 PIPELINING")
            else:
                self.say(b"221 bye" if verb == b"QUIT" else b"250 ok")
            if verb == b"QUIT":
                return

    def read_message(self):
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line)
        return None


def body(number):
    """The octets of a message are made from its number, so that damage shows."""
    random_text = random.Random(number)
    lines = [f"{number} {random_text.getrandbits(200):x}" for _ in range(random_text.choice((1, 3, 40, 2500)))]
    return "\r\n".join(lines) + "\r\n"


def recipient(number):
    return ("u1@example.test", "u2@example.test", "crash@mx.example.test",
            f"n{number}@sink.test")[number % 4]


class Clients:
    """Threads that send all messages, each until it is acknowledged."""

    def __init__(self, lab):
        self.lab, self.lock = lab, threading.Lock()
        self.todo = collections.deque(range(MESSAGES))
        self.tries, self.acknowledged = collections.Counter(), set()
        self.refused = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while True:
            with self.lock:
                if not self.todo:
                    return
                number = self.todo.popleft()
            while number not in self.acknowledged:
                self.send(number)
            time.sleep(PAUSE)

    def send(self, number):
        self.tries[number] += 1
        text = (f"From: crash@client.test\r\nSubject: crash {number}\r\n\r\n" + body(number)).encode()
        try:
            with smtplib.SMTP("127.0.0.1", self.lab.SMTP_PORT, local_hostname="client.test", timeout=20) as client:
                client.sendmail("", [recipient(number)], text)
                self.acknowledged.add(number)
        except smtplib.SMTPRecipientsRefused as error:
            if any(code >= 500 for code, _ in error.recipients.values()):
                self.refused.append((number, error))
                self.acknowledged.add(number)
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)

    def are_done(self):
        return not any(thread.is_alive() for thread in self.threads)


def read_mail(lab, is_over):
    """A reader that is always connected, so that imapd is there to be killed."""
    while not is_over.is_set():
        try:
            client = lab.imap("u1")
            client.select("INBOX")
            while not is_over.wait(0.1):
                client.noop()
            client.logout()
        except (OSError, imaplib.IMAP4.error):
            is_over.wait(0.1)


def processes(lab):
    """(program, pid) of this instance's services."""
    try:
        code, text = lab.tool("waypost", "status", "--json")
        status = json.loads(text[re.search(r"^\{", text, re.M).start():])  # warnings stand in front
    except (ValueError, AttributeError):
        return [], 0
    return [(service["program"], process["pid"]) for service in status["services"]
            for process in service["processes"]], status["pid"]


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as text:
            return text.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill_some(lab, chance):
    living, master = processes(lab)
    living = [(program, pid) for program, pid in living if program in VICTIMS]
    if master and chance.random() < 0.04:
        living = [("master", master)]
    if living:
        program, pid = chance.choice(living)
        kill(pid)
        return program
    return "nobody"


def supervisor_of(pid):
    """waypost's own supervisor brings master back; it dies first, or the instance would not be dead."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as text:
        parent = int(text.read().rpartition(")")[2].split()[1])
    with open(f"/proc/{parent}/cmdline", "rb") as text:
        return parent if b"waypost" in text.read() else 0


def kill_everything(lab):
    """True when there was something to kill, and it is gone."""
    living, master = processes(lab)
    if not master:
        return False
    parent = supervisor_of(master)
    if parent:
        kill(parent)
    kill(master)
    for _, pid in living:
        kill(pid)
    suite.wait_for(lambda: not is_alive(master))
    return True


def is_queue_empty(lab):
    code, text = lab.tool("postqueue", "-p")
    return code == 0 and "Mail queue is empty" in text


def reader_of(lab, user):
    """An IMAP client, once there is a server again: the last kill may have been master's."""
    def connect():
        try:
            return lab.imap(user)
        except (OSError, imaplib.IMAP4.error):
            return None
    return suite.wait_for(connect, explain=lambda: f"no IMAP server came back\n{lab.log()[-3000:]}")


def received(lab, sink):
    """number -> copies, of what is in the mailboxes and at the sink; every copy is whole."""
    found = collections.Counter()
    texts = list(sink.messages)
    for user in USERS:
        client = reader_of(lab, user)
        client.select("INBOX", readonly=True)
        ok, data = client.fetch("1:*", "(BODY.PEEK[])")
        texts += [item[1] for item in data if isinstance(item, tuple)]
        client.logout()
    for text in texts:
        match = re.search(rb"^Subject: crash (\d+)\r\n", text, re.M)
        if match:
            number = int(match[1])
            assert text.endswith(b"\r\n\r\n" + body(number).encode()), f"{number} is damaged"
            found[number] += 1
    return found


def check(lab, sink, clients, deaths):
    def flush():
        lab.tool("postqueue", "-f")
        return is_queue_empty(lab)

    suite.wait_for(flush, SECONDS, lambda: "still queued:\n" + lab.tool("postqueue", "-j")[1][-3000:] +
                   lab.log()[-3000:])
    found = received(lab, sink)
    lost = sorted(clients.acknowledged - set(found))
    copies = sum(found.values()) - len(found)
    retries = sum(clients.tries.values()) - len(clients.tries)
    print(f"{len(found)} messages, {copies} duplicates, {retries} retries of clients, "
          f"{sum(deaths.values())} kills {dict(deaths)}")
    assert not clients.refused
    assert not lost, f"lost: {lost[:20]}"
    for user in USERS:
        code, text = lab.tool("waypost", "mailbox", "verify", user)
        assert code == 0, text
    log = lab.log()
    for word in ("panic:", "damaged", "corrupt", "killed by signal 11", "killed by signal 6", "killed by signal 31"):
        assert word not in log, [line for line in log.splitlines() if word in line][:5]


@pytest.fixture
def sink():
    server = Sink()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scale", ["services", "everything"])
def test_nothing_acknowledged_is_lost(new_lab, sink, scale):
    print(f"SEED={SEED} MESSAGES={MESSAGES}")
    chance, deaths = random.Random(SEED), collections.Counter()
    lab = new_lab(main_cf=MAIN_CF.format(port=sink.server_address[1]))
    clients, is_over = Clients(lab), threading.Event()
    reader = threading.Thread(target=read_mail, args=(lab, is_over), daemon=True)
    reader.start()
    end = time.monotonic() + SECONDS
    while not clients.are_done():
        assert time.monotonic() < end, f"clients hang\n{lab.log()[-3000:]}"
        time.sleep(chance.uniform(0.02, 0.3))
        if scale == "everything" and chance.random() < 0.3 and kill_everything(lab):
            deaths["everything"] += 1
            lab.start()
        else:
            deaths[kill_some(lab, chance)] += 1
    is_over.set()
    reader.join(suite.PATIENCE + 5)
    check(lab, sink, clients, deaths)


def end_of_records(path):
    """Behind the last octet that is not 0: slots are written from the front."""
    with open(path, "rb") as slot:
        return len(slot.read().rstrip(b"\0"))


def test_a_torn_last_record_costs_only_itself(new_lab):
    """The journal cut anywhere in its last records: the queue comes up with what is before the cut."""
    lab = new_lab(main_cf="defer_transports = smtp\n")
    count = 20
    with lab.smtp() as client:
        for number in range(count):
            client.sendmail("a@client.test", [f"n{number}@elsewhere.test"], suite.message(f"torn {number}"))
    suite.wait_for(lambda: lab.tool("postqueue", "-j")[1].count("deferred") >= count)
    kill_everything(lab)
    queue = os.path.join(lab.QUEUE_DIR, "queue")
    kept = os.path.join(lab.directory, "queue.kept")
    shutil.copytree(queue, kept)
    slot = max(glob.glob(os.path.join(kept, "journal/slot.*")), key=end_of_records)
    size = end_of_records(slot)
    survivors = []
    for cut in (1, 7, 40, 700, 9000):
        for name in ("journal", "large"):
            for path in glob.glob(os.path.join(queue, name, "*")):
                os.unlink(path)
        for path in glob.glob(os.path.join(kept, "*", "*")):
            target = os.path.join(queue, os.path.relpath(path, kept))
            shutil.copyfile(path, target)
            shutil.copystat(path, target)
            if os.getuid() == 0:
                os.chown(target, *owner_of(queue))
        torn = os.path.join(queue, os.path.relpath(slot, kept))
        with open(torn, "r+b") as out:
            length = os.path.getsize(torn)
            out.truncate(max(size - cut, 0))
            out.truncate(length)
        lab.start()
        code, text = lab.tool("postqueue", "-j")
        assert code == 0, text
        numbers = sorted(int(n) for n in re.findall(r'"address": ?"n(\d+)@elsewhere', text))
        assert numbers == list(range(len(numbers))), numbers
        survivors.append(len(numbers))
        with lab.smtp() as client:
            client.sendmail("a@client.test", ["u1@example.test"], suite.message("after"))
        kill_everything(lab)
        assert "damaged" not in lab.log()
    assert survivors[0] >= count - 1 and survivors == sorted(survivors, reverse=True), survivors


def owner_of(path):
    info = os.stat(path)
    return info.st_uid, info.st_gid
