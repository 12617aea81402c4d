"""A written SMTP dialogue: reading it, holding it with a server, and its transcript.

A file holds dialogues; each begins with "== NAME [PROFILE]". Its lines:

    > LINE    send it, read one reply (and those still owed)
    + LINE    send it in the same packet as what follows; its reply is owed
    - LINE    the same, without a reply of its own (message content)
    = TEXT    as "-", but without CRLF behind it
    <         read one more reply
    !tls      shake hands
    !eof      the server is expected to close
    #         a comment

\\r \\n \\t \\\\ \\xNN are octets; {X*N} is X, N times; {b64:USER:PASSWORD} is SASL PLAIN.
"""
import base64
import re
import socket
import ssl

PATIENCE = 20


class Dialogue:
    def __init__(self, name, profile):
        self.name, self.profile, self.steps = name, profile, []


def read_dialogues(text):
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        head = re.match(r"== (.*?)(?: \[(\w+)\])?$", line)
        if head:
            found.append(Dialogue(head[1].strip(), head[2] or "plain"))
        elif line[0] in ">+-=<!":
            found[-1].steps.append((line[0], line[2:] if line[0] != "!" else line[1:]))
        else:
            raise ValueError(f"not a line of a dialogue: {line}")
    return found


def octets(text):
    def plain(match):
        user, password = match[1].split(":")
        return base64.b64encode(f"\0{user}\0{password}".encode()).decode()

    text = re.sub(r"\{b64:([^}]*)\}", plain, text)
    text = re.sub(r"\{(.+?)\*(\d+)\}", lambda match: match[1] * int(match[2]), text)
    out = re.sub(rb"\\(?:x([0-9a-fA-F]{2})|(.))", lambda match: bytes([int(match[1], 16)]) if match[1] else
                 {b"r": b"\r", b"n": b"\n", b"t": b"\t"}.get(match[2], match[2]), text.encode())
    return out


class Talk:
    """One connection; says what was sent and what came back."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input, self.output, self.owed = b"", b"", 0
        self.lines, self.is_closed = [], False

    def receive_line(self):
        while b"\n" not in self.input:
            try:
                piece = self.sock.recv(65536)
            except (TimeoutError, ConnectionError) as error:
                self.is_closed = True
                self.lines.append(f"S: ({'silence' if isinstance(error, TimeoutError) else 'closed'})")
                return None
            if not piece:
                self.is_closed = True
                self.lines.append("S: (closed)")
                return None
            self.input += piece
        line, self.input = self.input.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "backslashreplace")

    def receive_reply(self):
        while not self.is_closed:
            line = self.receive_line()
            if line is None:
                return
            self.lines.append("S: " + line)
            if line[3:4] != "-":
                return

    def flush(self):
        data, self.output = self.output, b""
        if self.is_closed:
            self.owed = 0
            return
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # the replies tell
        while self.owed:
            self.owed -= 1
            self.receive_reply()

    def shake_hands(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            self.sock = context.wrap_socket(self.sock)
            self.input = b""
            self.lines.append("(TLS)")
        except (OSError, ssl.SSLError):
            self.is_closed = True
            self.lines.append("(no TLS)")

    def hold(self, dialogue):
        self.receive_reply()
        for kind, text in dialogue.steps:
            if kind == "!":
                self.flush()
                if text == "tls":
                    self.shake_hands()
                elif not self.is_closed:
                    line = self.receive_line()
                    if line is not None:
                        self.lines.append("S: (still open) " + line)
                continue
            if kind == "<":
                self.owed += 1
                self.flush()
                continue
            if not self.is_closed:
                self.lines.append(f"C: {text if len(text) < 200 else text[:190] + ' ...'}")
            self.output += octets(text) + (b"" if kind == "=" else b"\r\n")
            self.owed += kind in ">+"
            if kind == ">":
                self.flush()
        self.flush()
        self.sock.close()
        return self.lines


def hold(dialogue, port):
    """The transcript, without what differs from one time to the next."""
    return [normal(line) for line in Talk(port).hold(dialogue)]


def normal(line):
    if not line.startswith("S: "):
        return line
    line = re.sub(r"(queued as) \S+", r"\1 ID", line)
    # The nonce of a challenge (CRAM and SCRAM) and a base64 prompt stay, ids go.
    return re.sub(r"(bytes queued as|id=)\S+", r"\1ID", line)
