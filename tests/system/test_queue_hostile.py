"""A receiver or an agent that was taken over: what it says to qmgr costs it its connection,
and never somebody else's mail."""
import os
import random
import re
import signal
import socket
import time

import pytest

from test_queue_qmgr import Queue, fixture_queue  # noqa: F401 (the fixture)

ARRIVAL_US = int(time.time() * 1e6)


def packet(kind, content=b"", **values):
    """One message as lib/ipc/codec.h has it; a list is a value that repeats."""
    text = b""
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            one = one if isinstance(one, bytes) else str(one).encode()
            text += b"%s=%d:%s\n" % (name.replace("_", "-").encode(), len(one), one)
    return b"%s %d %d 0\n" % (kind.encode(), len(text), len(content)) + text + content


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def attributes(*pairs):
    """As lib/queue/attr.h has them."""
    out = b""
    for name, value in pairs:
        value = value if isinstance(value, bytes) else str(value).encode()
        out += varint(len(name)) + name.encode() + varint(len(value)) + value
    return out


class Peer:
    """A connection to qmgr."""

    def __init__(self, queue, protocol="queue"):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        cwd = os.getcwd()
        os.chdir(queue.run)  # the path may be too long for an address
        try:
            self.socket.connect("qmgr")
        finally:
            os.chdir(cwd)
        if protocol:
            self.send(packet("hello", protocol=protocol, version=1))
            assert self.receive().startswith(b"hello")
        self.calls = 0

    def send(self, *messages):
        self.socket.send(b"".join(messages))

    def receive(self):
        return self.socket.recv(1 << 20)

    def is_closed(self):
        try:
            return self.receive() == b""
        except ConnectionResetError:
            return True

    def request(self, kind, **values):
        self.calls += 1
        return packet(kind, id=self.calls, **values)

    def call(self, kind, **values):
        """Values of the reply."""
        self.send(self.request(kind, **values))
        return self.reply()

    def reply(self):
        return {name: value for name, value in re.findall(r"([\w-]+)=\d+:(.*)\n", self.receive().decode())}

    def take_id(self):
        return int(self.call("ids", count=1)["first"])

    def commit(self, number, commit=b"c" * 16, sender="a@here.test", **values):
        body = b"Subject: x\r\n\r\n"
        head = attributes(("format", 1), ("id", number), ("time", ARRIVAL_US), ("arrival", ARRIVAL_US),
                          ("sender", sender), ("size", len(body)), ("commit", commit),
                          ("extent", f"0 {len(body)} 0"),
                          ("recipient", values.pop("recipient", "defer@there.test")), ("r.index", 0))
        values = {"number": number, "commit": commit, "envelope": head, **values}
        self.calls += 1
        return packet("commit", content=body, id=self.calls, **values)


@pytest.fixture(name="alive")
def fixture_alive(queue):
    """The queue; afterwards qmgr is the same process and works."""
    process = queue.processes["qmgr"]
    yield queue
    assert process.poll() is None
    queue.end("agent")
    os.unlink(os.path.join(queue.run, "smtp"))
    queue.start_agent()
    last, = queue.submit(1, 1, 1000, "last@here.test", "last@there.test")
    queue.until(lambda: (last, "last@there.test") in queue.delivered())
    assert process.poll() is None and "panic" not in queue.text("qmgr.log")


def test_garbage_costs_the_connection(alive):
    good = packet("ids", count=1, id=1)
    rows = [b"\0", b"\xff" * 60000, b"ids 0 0", b"ids 9999 0 0\n", b"ids 0 9999 0\n", b"ids 0 0 9\n",
            b"ids 18446744073709551616 0 0\n", good[:-2], good + b"x", packet("nobody-knows"),
            packet("ids"), packet("ids", count=0, id=1), packet("ids", count="x", id=1),
            packet("drop", id=1), packet("part", key=1, id=1), packet("committed", number=1, id=1),
            packet("results", id=1), packet("results", queue_id="x", attempt=1, commit="y", id=1),
            packet("commit", id=1), packet("hello", protocol="queue", version=1)]
    for row in rows:
        peer = Peer(alive)
        peer.send(row)
        if not row.startswith(b"commit"):
            assert peer.is_closed(), row
    for row in (good, b"\0", packet("hello"), packet("hello", protocol="admin", version=1),
                packet("hello", protocol="queue", version=0)):
        peer = Peer(alive, protocol=None)
        peer.send(row)
        if peer.receive():
            assert peer.is_closed(), row


def test_random_changes_of_a_commit(alive):
    dice = random.Random(5)
    peer = Peer(alive)
    number = peer.take_id()
    for _ in range(400):
        octets = bytearray(peer.commit(number))
        for _ in range(dice.randrange(1, 4)):
            octets[dice.randrange(len(octets))] = dice.choice(b"\0\xff0919 \n=:")
        try:
            peer.send(bytes(octets))
            peer.receive()
        except OSError:
            pass
        if peer.socket.fileno() < 0 or dice.random() < 0.5:
            peer.socket.close()
            peer = Peer(alive)
    alive.tool("postsuper", "-d", "ALL")


def test_a_message_is_committed_once(queue):
    peer = Peer(queue)
    number = peer.take_id()
    one, two = peer.commit(number), peer.commit(number)
    other = peer.commit(number, commit=b"d" * 16, sender="evil@here.test")
    peer.send(one, two, other)
    errors = {}
    while len(errors) < 3:
        for values in peer.receive().split(b"reply ")[1:]:
            found = dict(re.findall(r"([\w-]+)=\d+:(.*)\n", values.decode()))
            errors[found["id"]] = int(found["error"])
    assert sorted(errors.values())[-1] == 0 and list(errors.values()).count(0) <= 2
    assert errors[str(peer.calls)] != 0
    entry, = queue.listing()
    assert entry["sender"] == "a@here.test"
    assert peer.call("committed", number=number, commit="c" * 16)["committed"] == "yes"
    assert peer.call("committed", number=number, commit="d" * 16)["committed"] == "no"
    queue.end(how=signal.SIGKILL)
    queue.start()
    entry, = queue.listing()
    assert entry["sender"] == "a@here.test"


def test_results_without_the_commit_id_change_nothing(alive):
    mine, = alive.submit(1, 1, 1000, "a@here.test", "defer@there.test")
    alive.until(lambda: alive.listing()[0]["queue_name"] == "deferred")
    result = attributes(("recipient", 0), ("status", 0), ("dsn", "2.0.0"), ("reason", "ok"))
    for commit in ({}, {"commit": b""}, {"commit": b"0" * 16}, {"commit": b"\0" * 16}):
        peer = Peer(alive)
        peer.send(peer.request("results", queue_id=mine, attempt=1, result=result, **commit))
        assert peer.is_closed()
    time.sleep(1.2)
    assert [e["queue_id"] for e in alive.listing()] == [mine]


def test_files_and_pieces_without_end(alive):
    peer = Peer(alive)
    for _ in range(20):
        peer.send(peer.request("part", key=1, envelope=b"x" * 60000))
        peer.receive()
    for i in range(40):
        peer.send(peer.request("part", key=100 + i, envelope=b"x" * 1000))
        peer.receive()
    files = [peer.call("content")["file"] for _ in range(30)]
    assert peer.call("drop", file=files[0])["error"] == "0"
    assert peer.call("drop", file=12345)["error"] == "0"
    assert peer.call("drop", file=0)["error"] == "0"
    peer.socket.close()
    large = alive.path("spool/queue/large")
    alive.until(lambda: not os.listdir(large))


# --- agents ---

class Agent:
    """A transport's socket with us behind it."""

    def __init__(self, queue):
        queue.end("agent")
        cwd = os.getcwd()
        os.chdir(queue.run)
        try:
            os.unlink("smtp")
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.listener.bind("smtp")
        finally:
            os.chdir(cwd)
        self.listener.listen(8)
        self.listener.settimeout(10)

    def accept(self, ready):
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        assert connection.recv(1 << 20).startswith(b"hello")
        connection.send(packet("hello", protocol="deliver", version=1))
        connection.send(ready)
        return connection


def test_an_agent_that_lies(queue):
    process = queue.processes["qmgr"]
    agent = Agent(queue)
    good = attributes(("recipient", 0), ("status", 0), ("dsn", "2.0.0"), ("reason", "ok"))
    rows = [packet("ready"), packet("ready", capacity=0), b"\0\0\0", packet("result", job=1, done=1),
            packet("ready", capacity="99999999999999999999")]
    mine, = queue.submit(1, 1, 1000, "a@here.test", "b@there.test")
    for row in rows:
        agent.accept(row).close()

    def lie(*answers):
        connection = agent.accept(packet("ready", capacity=5))
        job = connection.recv(1 << 20)
        assert job.startswith(b"job")
        number = re.search(rb"job=\d+:(\d+)\n", job).group(1)
        for answer in answers:
            connection.send(answer(number))
        time.sleep(0.2)
        connection.close()

    bad = [attributes(("recipient", 7), ("status", 0), ("dsn", "2.0.0")),
           attributes(("recipient", 4294967295), ("status", 0), ("dsn", "2.0.0")),
           attributes(("recipient", 0), ("status", 77), ("dsn", "2.0.0")),
           attributes(("recipient", 0), ("status", 0), ("dsn", "2.0.0000000000000000000")),
           attributes(("recipient", 0)), b"\xff" * 100]
    for result in bad:
        lie(lambda n, result=result: packet("result", job=n, result=result, done=1))
        assert [e["queue_id"] for e in queue.listing()] == [mine]
    lie(lambda n: packet("result", job=999999, result=good, done=1))
    lie(lambda n: packet("drain"), lambda n: packet("drain"))
    assert [e["queue_id"] for e in queue.listing()] == [mine]
    lie(lambda n: packet("result", job=n, result=[good, good]) + packet("result", job=n, done=1)
        + packet("result", job=n, result=good, done=1))
    queue.until(lambda: not queue.listing())
    agent.listener.close()
    assert process.poll() is None and "panic" not in queue.text("qmgr.log")
