"""The demo: it shows what it claims, and notices when something is missing."""
import os
import subprocess
import sys

import suite

sys.path.insert(0, os.path.join(suite.ROOT, "tests"))
import demo  # noqa: E402

WIRE = b"Subject: one\r\n\r\nA line.\r\n"
TRACE = (b"Return-Path: <a@example.test>\r\nDelivered-To: b@example.test\r\n"
         b"Received: from client.test (localhost [127.0.0.1])\r\n\tby mx.example.test (Postfix) with ESMTPSA id 4jcS\r\n"
         b"\tfor <b@example.test>; Sun, 29 Nov 2026 00:00:00 +0000 (UTC)\r\n")


def run_demo(**environ):
    return subprocess.run([os.path.join(suite.ROOT, "tests/demo.py")], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=240, check=False,
                          env=dict({k: v for k, v in os.environ.items() if k != "KEEP"}, **environ))


def test_demo_passes_and_shows_the_path_of_each_message():
    done = run_demo()
    assert done.returncode == 0, done.stdout
    queued = [line.rsplit(" ", 1)[1] for line in done.stdout.splitlines() if ": queued as " in line
              and " by " in line]
    assert len(queued) >= 8
    for queue_id in queued:
        path = [line for line in done.stdout.splitlines() if f"]: {queue_id}:" in line]
        for word in ("client=", "message-id=", "(queue active)", "relay=store", "relay=mx.internet.test", "removed"):
            assert any(word in line for line in path), (queue_id, word, path)
    assert "limit that hurts" in done.stdout


def test_demo_that_cannot_start_fails():
    done = run_demo(LAB_BUILD="/nonexistent")
    assert done.returncode == 1
    assert "no build in /nonexistent" in done.stdout
    assert "Traceback" not in done.stdout


def test_message_below_its_trace_is_as_sent():
    assert demo.added_to(TRACE + WIRE, WIRE, 1) == ["Return-Path", "Delivered-To", "Received"]
    assert demo.added_to(TRACE + b"Date: now\r\n" + WIRE, WIRE, 1)[-1] == "Date"


def test_anything_else_on_top_is_a_difference():
    for between in (b"X-Surprise: 1\r\n", b"Subject: zero\r\n", b"\r\n", b"Date: a\r\nDate: b\r\n", b"stray text\r\n"):
        assert demo.added_to(TRACE + between + WIRE, WIRE, 1) is None, between
    assert demo.added_to(TRACE + WIRE, WIRE, 2) is None
    assert demo.added_to(TRACE + WIRE + b"more\r\n", WIRE, 1) is None


def test_empty_message_is_not_found_in_any_other():
    assert demo.added_to(TRACE + WIRE, b"", 1) is None


def test_copy_is_found_by_its_queue_id():
    assert demo.find_copy([b"Received: x id 9\r\n\r\n", TRACE + WIRE], "4jcS") == TRACE + WIRE
    assert demo.find_copy([TRACE + WIRE], "4jc") is None


def test_difference_names_the_place():
    changed = TRACE + WIRE.replace(b"A line", b"A l!ne")
    assert "line 3 of 7 octets" in demo.first_difference(changed, WIRE)
