"""Sessions that keep saying commands while something else is measured, and how long their
answers take: test-session_load, run beside the instance.
"""
import contextlib
import json
import os
import socket
import subprocess

from instance import BUILD


class SessionLoad:
    """with SessionLoad(20, ["imap:1143:10:1"], ["NOOP"]) as load: ...; load.lap()"""

    def __init__(self, period_ms, kinds, commands):
        ours, theirs = socket.socketpair()
        self.input = ours.makefile("wb", buffering=0)
        # The load is ahead of all others: an answer counts from when it is there.
        self.process = subprocess.Popen(["nice", "-n", "-10", os.path.join(BUILD, "bin/test-session_load"),
                                         str(period_ms), *kinds, "--", *commands],
                                        stdin=theirs, stdout=subprocess.PIPE, text=True)
        ours.close()
        theirs.close()
        self.line()  # all are logged in

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.input.close()
        self.process.wait()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise ConnectionError("the sessions ended")
        return line

    def lap(self):
        """The figures since the last lap: {"imap": {"p50": ..., "p99": ..., ...}, ..., "generator": ...}."""
        self.input.write(b"\n")
        return json.loads(self.line())
