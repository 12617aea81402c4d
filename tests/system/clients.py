"""What the tests with foreign clients share: SCRAM by hand, and programs on a terminal."""
import base64
import hashlib
import hmac
import os
import pty
import secrets
import select
import time


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding."""

    def __init__(self, user, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        self.first_bare = f"n={user},r={self.nonce}"
        self.signature = b""

    def first(self):
        return ("n,," + self.first_bare).encode()

    def final(self, server_first):
        text = server_first.decode()
        fields = dict(field.split("=", 1) for field in text.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce)
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        key = self._hmac(salted, b"Client Key")
        without_proof = "c=biws,r=" + fields["r"]
        whole = ",".join((self.first_bare, text, without_proof)).encode()
        signature = self._hmac(hashlib.sha256(key).digest(), whole)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        self.signature = self._hmac(self._hmac(salted, b"Server Key"), whole)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final):
        """The server has to prove that it knows the password as well."""
        assert server_final == b"v=" + base64.b64encode(self.signature), server_final

    @staticmethod
    def _hmac(key, text):
        return hmac.new(key, text, "sha256").digest()


def scram_lines(exchange, send, receive, prefix):
    """Run an exchange over a line protocol: base64 lines, challenges behind prefix. The first
    message was sent already. Returns the line that ends it."""
    line = receive()
    assert line.startswith(prefix), line
    send(base64.b64encode(exchange.final(base64.b64decode(line[len(prefix):]))))
    line = receive()
    if line.startswith(prefix):
        exchange.check(base64.b64decode(line[len(prefix):]))
        send(b"")
        line = receive()
    return line


def run_on_terminal(command, environ, seconds=30):
    """Run a full-screen program; returns its exit status and what it drew."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, environ)
    shown, end = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 65536)
    except OSError:
        pass
    else:
        os.kill(child, 9)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown
