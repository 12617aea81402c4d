"""Talking to an instance below the client libraries: TLS records whose end can be told
apart, the suite's own messages, and its processes."""
import os
import socket
import ssl
import struct

PATIENCE = 20


class TlsClient:
    """A TLS client over memory buffers: how the server ends stays visible."""

    def __init__(self, sock, context, hostname="localhost"):
        self.sock = sock
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=hostname)
        self.end = None  # "close_notify" or "truncated"
        self.data = b""

    def _flush(self):
        octets = self.outgoing.read()
        if octets:
            self.sock.sendall(octets)

    def _more(self):
        try:
            octets = self.sock.recv(65536)
        except ConnectionResetError:
            octets = b""
        if octets:
            self.incoming.write(octets)
        else:
            self.incoming.write_eof()
        return bool(octets)

    def handshake(self, early=b""):
        """early: octets to send in the same segment as the end of the handshake."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                if not self._more():
                    raise ConnectionError("the server ended the handshake") from None
        if early:
            self.tls.write(early)
        self._flush()
        return self

    def send(self, octets):
        for at in range(0, len(octets), 16384):
            self.tls.write(octets[at:at + 16384])
            self._flush()

    def read_some(self):
        """The next octets; b"" at the end, whose kind is then in self.end."""
        while self.end is None:
            try:
                octets = self.tls.read(65536)
                if octets:
                    return octets
                self.end = "close_notify"
            except ssl.SSLWantReadError:
                self._flush()
                self._more()
            except ssl.SSLZeroReturnError:
                self.end = "close_notify"
            except ssl.SSLError:
                self.end = "truncated"
        return b""

    def read_until(self, mark):
        while mark not in self.data:
            octets = self.read_some()
            assert octets, f"{self.end} before {mark!r}: {self.data[-500:]!r}"
            self.data += octets
        at = self.data.index(mark) + len(mark)
        found, self.data = self.data[:at], self.data[at:]
        return found

    def read_line_with(self, mark):
        self.read_until(mark)
        return self.read_until(b"\r\n")

    def read_to_end(self):
        pieces, self.data = [self.data], b""
        while octets := self.read_some():
            pieces.append(octets)
        return b"".join(pieces)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def reset(sock):
    """Vanish without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        octet = sock.recv(1)
        if not octet:
            break
        line += octet
    return line


# --- lib/ipc ---


def encode(kind, values, fds=0):
    """values: (name, bytes) pairs; None as value stands for a descriptor."""
    text = b""
    for name, value in values:
        text += name.encode()
        text += b"@\n" if value is None else b"=%d:%s\n" % (len(value), value)
    return b"%s %d 0 %d\n%s" % (kind.encode(), len(text), fds, text)


def decode(packet):
    """The first message of a packet: (kind, {name: value})."""
    head, rest = packet.split(b"\n", 1)
    kind, length = head.split(b" ")[:2]
    rest, values = rest[:int(length)], {}
    while rest:
        at = min(i for i in (rest.find(b"="), rest.find(b"@")) if i >= 0)
        name = rest[:at].decode()
        if rest[at:at + 1] == b"@":
            values[name], rest = None, rest[at + 2:]
            continue
        size, rest = rest[at + 1:].split(b":", 1)
        values[name], rest = rest[:int(size)], rest[int(size) + 1:]
    return kind.decode(), values


class Ipc:
    """A connection to a socket in run/."""

    def __init__(self, lab, name, protocol=None, version=1):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(os.path.join(lab.QUEUE_DIR, "run", name))
        if protocol:
            kind, _ = self.call("hello", [("protocol", protocol.encode()), ("version", b"%d" % version)])
            assert kind == "hello"

    def call(self, kind, values, fds=()):
        self.send(encode(kind, [("id", b"7")] * (kind != "hello") + list(values), len(fds)), fds)
        return decode(self.receive())

    def send(self, packet, fds=()):
        if fds:
            socket.send_fds(self.sock, [packet], list(fds))
        else:
            self.sock.send(packet)

    def receive(self):
        """b"" when the other side has closed."""
        try:
            return self.sock.recv(262144)
        except ConnectionResetError:
            return b""

    def close(self):
        self.sock.close()


# --- processes ---


def processes(lab):
    """{pid: (program, command line)} of an instance's services."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as text:
                line = text.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if lab.CONFIG_DIR in line and "-n" in line:
            found[int(name)] = (os.path.basename(line[0]), line)
    return found


def pids(lab, program, entry=None):
    """Processes of a program, and of one master.cf entry."""
    return [pid for pid, (name, line) in processes(lab).items()
            if name == program and (entry is None or line[line.index("-n") + 1] == entry)]


def memory_kib(pid):
    """Proportional set size."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as text:
        return next(int(line.split()[1]) for line in text if line.startswith("Pss:"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
