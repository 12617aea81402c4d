"""An IMAP session that is read as fast as Python can: for measurements, where an answer
may have a million lines.
"""
import socket
import time


class ImapSession:
    def __init__(self, port, user=None, password="pw"):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = 0
        self.left = b""
        self.line()
        if user is not None:
            self.command(f"LOGIN {user} {password}")

    def close(self):
        self.socket.close()

    def line(self):
        while b"\n" not in self.left:
            self.left += self.receive()
        line, self.left = self.left.split(b"\n", 1)
        return line

    def receive(self):
        octets = self.socket.recv(1 << 20)
        if not octets:
            raise ConnectionError("the server closed the connection")
        return octets

    def send(self, command):
        """Returns the tag."""
        self.number += 1
        tag = b"t%d" % self.number
        self.socket.sendall(tag + b" " + (command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return tag

    def answer(self, tag):
        """Everything up to the tagged response of the last command."""
        pieces, end = [self.left], self.left[-512:]
        mark = b"\n" + tag + b" "
        while not (end.endswith(b"\r\n") and (mark in end or end.startswith(tag + b" "))):
            pieces.append(self.receive())
            end = (end + pieces[-1])[-512:]
        self.left = b""
        text = b"".join(pieces)
        last = text[max(text.rfind(mark), 0):].strip()
        if not last.startswith(tag + b" OK"):
            raise ConnectionError(last[:200].decode("latin-1"))
        return text

    def command(self, command):
        return self.answer(self.send(command))

    def timed(self, command):
        """Milliseconds until the tagged response, and the answer."""
        start = time.monotonic()
        text = self.command(command)
        return (time.monotonic() - start) * 1000, text

    def append(self, mailbox, text):
        start = time.monotonic()
        tag = self.send(f"APPEND {mailbox} {{{len(text)}+}}")
        self.socket.sendall(text + b"\r\n")
        answer = self.answer(tag)
        return (time.monotonic() - start) * 1000, answer
