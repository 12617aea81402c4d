"""The queue by itself: qmgr and bounce without master, a test client and a test agent
(tests/programs/queue_*_main.c)."""
import collections
import json
import os
import signal
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(os.path.abspath(os.environ.get("LAB_BUILD", os.path.join(ROOT, "build"))), "bin")
PATIENCE = 20

MAIN_CF = """compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
daemon_directory = {bin}
command_directory = {bin}
myhostname = mx.example.test
mydomain = example.test
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination = localhost
alias_maps =
local_recipient_maps =
minimal_backoff_time = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
{extra}
"""


class Queue:
    """A queue directory, and the processes around it."""

    def __init__(self, directory, extra=""):
        self.dir = str(directory)
        self.run = os.path.join(self.dir, "spool/run")
        self.processes = {}
        for name in ("spool/run", "spool/maildrop", "data", "etc"):
            os.makedirs(os.path.join(self.dir, name))
        with open(os.path.join(self.dir, "etc/main.cf"), "w", encoding="utf-8") as out:
            out.write(MAIN_CF.format(dir=self.dir, bin=BIN, extra=extra))
        open(os.path.join(self.dir, "etc/master.cf"), "w", encoding="utf-8").close()

    def spawn(self, name, *command):
        with open(self.path(name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(command, cwd=self.run, stdout=log, stderr=log)

    def start(self, name="qmgr"):
        if os.path.exists(os.path.join(self.run, name)):
            os.unlink(os.path.join(self.run, name))
        self.spawn(name, os.path.join(BIN, name), "-n", name, "-t", "unix", "-c",
                   self.path("etc"), "-L", "unix:" + name)
        self.until(lambda: os.path.exists(os.path.join(self.run, name)))

    def start_agent(self, capacity=50, delay_ms=0):
        socket = os.path.join(self.run, "smtp")
        self.spawn("agent", os.path.join(BIN, "test-queue_agent"), socket, self.path("delivered"),
                   str(capacity), str(delay_ms))
        self.until(lambda: os.path.exists(socket))

    def end(self, name="qmgr", how=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(timeout=PATIENCE)

    def end_all(self):
        for name in list(self.processes):
            self.end(name)

    def path(self, name):
        return os.path.join(self.dir, name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as lines:
            return lines.read()

    def submit_command(self, sessions, count, size, sender, *recipients):
        return [os.path.join(BIN, "test-queue_submit"), self.run, str(sessions), str(count),
                str(size), sender, *recipients]

    def submit(self, *arguments):
        """Queue ids of what was committed."""
        out = subprocess.run(self.submit_command(*arguments), stdout=subprocess.PIPE, text=True,
                             timeout=60, check=True).stdout
        return [line.split()[1] for line in out.splitlines() if line.startswith("committed")]

    def delivered(self):
        """Queue id and recipient of every delivery."""
        if not os.path.exists(self.path("delivered")):
            return []
        return [tuple(line.split()[:2]) for line in self.text("delivered").splitlines()]

    def tool(self, *command, check=True):
        done = subprocess.run([os.path.join(BIN, command[0]), *command[1:]], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                              env=dict(os.environ, MAIL_CONFIG=self.path("etc")), check=False)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def listing(self):
        return [json.loads(line) for line in self.tool("postqueue", "-j").splitlines()]

    def until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "\n".join(
                self.text(name)[-2000:] for name in os.listdir(self.dir) if name.endswith(".log"))
            time.sleep(0.05)


@pytest.fixture(name="queue")
def fixture_queue(tmp_path):
    queue = Queue(tmp_path)
    queue.start()
    queue.start("bounce")
    queue.start_agent()
    yield queue
    queue.end_all()


def test_delivers_and_removes(queue):
    ids = queue.submit(5, 50, 2000, "a@here.test", "b@there.test", "c@other.test")
    queue.until(lambda: len(queue.delivered()) == 100)
    queue.until(lambda: queue.text("qmgr.log").count(": removed") == 50)
    assert {i for i, _ in queue.delivered()} == set(ids)
    assert queue.tool("mailq") == "Mail queue is empty\n"


def test_large_content_has_a_file_that_goes(queue):
    queue.submit(2, 6, 300000, "a@here.test", "b@there.test")
    queue.until(lambda: len(queue.delivered()) == 6)
    large = queue.path("spool/queue/large")
    queue.until(lambda: not os.listdir(large))


def test_deferred_mail_is_tried_again(queue):
    ids = queue.submit(1, 1, 1000, "a@here.test", "defer@there.test", "b@there.test")
    queue.until(lambda: queue.text("agent.log").count("status=deferred (not now)") >= 3)
    entry, = queue.listing()
    assert entry["queue_id"] == ids[0]
    assert [(r["address"], r["delay_reason"]) for r in entry["recipients"]] == \
        [("defer@there.test", "not now")]
    assert queue.delivered() == [(ids[0], "b@there.test")]


def test_dead_site_defers_what_waits(queue):
    queue.submit(5, 20, 1000, "a@here.test", "site@dead.test")
    queue.until(lambda: "delivery temporarily suspended: connect to test" in queue.text("qmgr.log"))
    queue.submit(1, 1, 1000, "a@here.test", "b@there.test")
    queue.until(lambda: len(queue.delivered()) == 1)
    assert len(queue.listing()) == 20


def test_mail_behind_a_long_lane_is_not_forgotten(queue):
    """More than a lane holds, for a site that dies while they wait."""
    queue.end("agent")
    os.unlink(os.path.join(queue.run, "smtp"))
    queue.start_agent(capacity=2, delay_ms=300)
    ids = queue.submit(50, 700, 1000, "a@here.test", "site@dead.test")

    def deferred():
        lines = (queue.text("qmgr.log") + queue.text("agent.log")).splitlines()
        return {line.split(": ")[1] for line in lines if "status=deferred" in line}
    queue.until(lambda: len(deferred()) == len(ids))


def test_failure_is_reported_to_the_sender(queue):
    failed, = queue.submit(1, 1, 1000, "a@here.test", "bounce@there.test")
    queue.until(lambda: [r for _, r in queue.delivered()] == ["a@here.test"])
    report, _ = queue.delivered()[0]
    assert f"{failed}: sender non-delivery notification: {report}" in queue.text("bounce.log")
    queue.until(lambda: queue.tool("mailq") == "Mail queue is empty\n")


def test_a_failed_notification_ends(queue):
    queue.submit(1, 1, 1000, "bounce@here.test", "bounce@there.test")
    queue.until(lambda: queue.text("qmgr.log").count(": removed") == 2)
    assert queue.delivered() == []


def test_an_alias_becomes_its_members(queue):
    first, = queue.submit(1, 1, 1000, "a@here.test", "alias@there.test")
    queue.until(lambda: queue.delivered() == [(first, "one@list.test")])
    queue.until(lambda: [r["address"] for e in queue.listing() for r in e["recipients"]]
                == ["defer@list.test"])
    queue.end(how=signal.SIGKILL)
    queue.start()
    count = queue.text("agent.log").count("to=<defer@list.test>")
    queue.until(lambda: queue.text("agent.log").count("to=<defer@list.test>") > count)
    assert queue.delivered() == [(first, "one@list.test")]


def test_expiry(tmp_path):
    queue = Queue(tmp_path, extra="maximal_queue_lifetime = 3s")
    queue.start()
    queue.start("bounce")
    queue.start_agent()
    queue.submit(1, 1, 1000, "a@here.test", "defer@there.test")
    queue.until(lambda: [r for _, r in queue.delivered()] == ["a@here.test"])
    assert "from=<a@here.test>, status=expired, returned to sender" in queue.text("qmgr.log")
    queue.end_all()


def test_tools_while_it_runs_and_while_it_is_stopped(queue):
    ids = queue.submit(1, 3, 1000, "a@here.test", "defer@there.test")
    queue.until(lambda: len(queue.listing()) == 3)

    def check(first, rest):
        queue.tool("postsuper", "-h", first)
        assert {e["queue_id"]: e["queue_name"] for e in queue.listing()}[first] == "hold"
        queue.tool("postsuper", "-H", first)
        assert {e["queue_id"]: e["queue_name"] for e in queue.listing()}[first] != "hold"
        text = queue.tool("postcat", "-q", first)
        assert "sender: a@here.test\n" in text and "Subject: message" in text
        assert "Subject: message" not in queue.tool("postcat", "-b", "-q", first)
        queue.tool("postsuper", "-r", first)
        queue.tool("postsuper", "-d", first)
        # One that is being tried goes when its agent has answered.
        queue.until(lambda: {e["queue_id"] for e in queue.listing()} == set(rest))

    check(ids[0], ids[1:])
    queue.end()
    check(ids[1], ids[2:])
    assert "mail system is down" in queue.tool("postqueue", "-f", check=False)
    queue.start()
    assert [e["queue_id"] for e in queue.listing()] == ids[2:]
    queue.tool("postsuper", "-d", "ALL")
    assert queue.tool("mailq") == "Mail queue is empty\n"


def test_hold_survives_a_restart(queue):
    first, = queue.submit(1, 1, 1000, "a@here.test", "defer@there.test")
    queue.until(lambda: len(queue.listing()) == 1)
    queue.until(lambda: "placed on hold" in queue.tool("postsuper", "-h", first)
                or queue.listing()[0]["queue_name"] == "hold")
    queue.end(how=signal.SIGKILL)
    queue.start()
    assert queue.listing()[0]["queue_name"] == "hold"


def test_sendmail(queue):
    queue.start("pickup")
    message = "To: x@there.test, \"y z\" <y@there.test>\nBcc: z@there.test\nSubject: s\n\nbody\n"
    subprocess.run([os.path.join(BIN, "sendmail"), "-t", "-i", "-f", "me@here.test"], input=message,
                   text=True, check=True, env=dict(os.environ, MAIL_CONFIG=queue.path("etc")))
    queue.until(lambda: len(queue.delivered()) == 3)
    assert {r for _, r in queue.delivered()} == {"x@there.test", "y@there.test", "z@there.test"}
    assert os.listdir(queue.path("spool/maildrop")) == []


def test_nothing_is_lost_when_qmgr_is_killed(queue):
    """kill -9 during commits, with clients that were told "committed" as the witnesses."""
    command = queue.submit_command(20, 6000, 3000, "a@here.test", "b@there.test")
    with open(queue.path("committed"), "w", encoding="utf-8") as out:
        client = subprocess.Popen(command, stdout=out)
        for _ in range(6):
            time.sleep(0.15)
            queue.end(how=signal.SIGKILL)
            queue.start()
        assert client.wait(timeout=60) == 0
    committed = {line.split()[1] for line in queue.text("committed").splitlines()
                 if line.startswith("committed")}
    assert len(committed) == 6000
    queue.until(lambda: committed <= {i for i, _ in queue.delivered()})
    queue.until(lambda: queue.tool("mailq") == "Mail queue is empty\n")
    twice = [i for i, n in collections.Counter(queue.delivered()).items() if n > 1]
    print(f"{len(twice)} of {len(committed)} delivered twice")
    assert len(twice) < len(committed) / 4


def test_nothing_is_lost_when_the_agent_is_killed(queue):
    ids = set()
    for _ in range(4):
        ids |= set(queue.submit(10, 300, 2000, "a@here.test", "b@there.test"))
        queue.end("agent", how=signal.SIGKILL)
        os.unlink(os.path.join(queue.run, "smtp"))
        queue.start_agent()
    queue.until(lambda: ids <= {i for i, _ in queue.delivered()})
