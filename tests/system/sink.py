"""SMTP servers that do as a test says: each on an address of its own, all on one port."""
import random
import socket
import socketserver
import threading


class Sink:
    """A server on address:port. replies maps a verb ("connect", "EHLO", "MAIL", "RCPT", "DATA",
    "." ...) to a reply, or to a function of the line (RCPT: the line; ".": the message)
    that returns one; None closes the connection."""

    def __init__(self, address="127.0.0.1", port=0, replies=None, features=("PIPELINING", "8BITMIME"),
                 tls=None, name="sink.test"):
        self.replies, self.features, self.tls, self.name = replies or {}, features, tls, name
        self.messages, self.sessions, self.lines = [], 0, []
        self.open = set()
        self.lock = threading.Lock()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                outer.serve(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server((address, port), Handler)
        self.address, self.port = self.server.server_address
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Connections that a client keeps end here too."""
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            left = list(self.open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    # --- a session ---

    def reply(self, peer, verb, line, default, accepted=None):
        answer = self.replies.get(verb, default)
        if callable(answer):
            answer = answer(line)
        if answer is None:
            return False
        if accepted is not None and answer.startswith("2"):
            accepted.append(line)
        peer.wfile.write((answer + "\r\n").encode())
        return True

    def serve(self, peer):
        with self.lock:
            self.sessions += 1
            self.open.add(peer.connection)
        peer.is_tls, first = False, peer.connection
        try:
            if self.reply(peer, "connect", "", f"220 {self.name} ESMTP"):
                while self.command(peer):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(first)

    def command(self, peer):
        line = peer.rfile.readline()
        if not line:
            return False
        line = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        verb = line.split(" ")[0].upper()
        with self.lock:
            self.lines.append(line)
        if verb == "EHLO":
            words = list(self.features) + (["STARTTLS"] if self.tls and not peer.is_tls else [])
            lines = [self.name] + words
            text = "\r\n".join(f"250{' ' if i + 1 == len(lines) else '-'}{word}"
                               for i, word in enumerate(lines))
            return self.reply(peer, verb, line, text)
        if verb == "MAIL":
            peer.envelope = [line, []]
            return self.reply(peer, verb, line, "250 2.1.0 Ok")
        if verb == "RCPT":
            return self.reply(peer, verb, line, "250 2.1.5 Ok", accepted=peer.envelope[1])
        if verb == "STARTTLS":
            return self.reply(peer, verb, line, "220 go") and self.start_tls(peer)
        if verb == "DATA":
            return self.data(peer, line)
        if verb == "QUIT":
            self.reply(peer, verb, line, "221 bye")
            return False
        return self.reply(peer, verb, line, "250 2.0.0 Ok")

    def data(self, peer, line):
        if not peer.envelope[1]:
            return self.reply(peer, "", line, "554 5.5.1 no valid recipients")
        answer = self.replies.get("DATA", "354 go")
        if not self.reply(peer, "DATA", line, answer):
            return False
        if not answer.startswith("354"):
            return True
        body = b""
        while True:
            line = peer.rfile.readline()
            if not line:
                return False
            if line == b".\r\n":
                break
            body += line[1:] if line.startswith(b".") else line
        sender, recipients = peer.envelope
        with self.lock:
            count = len(self.messages)
        answer = self.replies.get(".", f"250 2.0.0 Ok: queued as S{count}")
        if callable(answer):
            answer = answer(body)
        if answer is None:
            return False
        if answer.startswith("2"):
            with self.lock:
                self.messages.append((sender, recipients, body))
        peer.wfile.write((answer + "\r\n").encode())
        return True

    def start_tls(self, peer):
        peer.connection = self.tls.wrap_socket(peer.connection, server_side=True)
        peer.request = peer.connection
        peer.rfile = peer.connection.makefile("rb")
        peer.wfile = peer.connection.makefile("wb", buffering=0)
        peer.is_tls = True
        return True


def free_port(*addresses):
    """A port that is free on all of these addresses, and stays free until a test binds it: below
    what the kernel hands out to other tests' clients, beside what tests/lab takes (its offsets
    in a hundred begin at 10)."""
    while True:
        port = random.randrange(110, 319) * 100 + random.randrange(10)
        try:
            for address in addresses:
                with socket.socket() as probe:
                    probe.bind((address, port))
            return port
        except OSError:
            continue
