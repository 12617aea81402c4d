"""The demo: it shows what it claims, and notices when something is missing."""
import os
import signal
import subprocess
import sys
import tempfile

import pytest

import suite

sys.path.insert(0, os.path.join(suite.ROOT, "tests"))
import demo  # noqa: E402

from test_lab import processes_of  # noqa: E402

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


ODD = (b"stray\r\nSubject: one\r\n\r\na\0b\r\n\0c\rd\r\n" + b"x" * 2000 + b"\r\nlast\r\n")


def test_each_oddity_is_named_and_changed_exactly():
    assert demo.oddities_of(ODD) == ["NUL", "bare CR", "line over 998 octets", "text in the header"]
    due, told = demo.arrives_as(ODD, "IMAPS")
    assert due == b"\r\n" + ODD.replace(b"\0", b"\x80").replace(b"\rd", b" d")
    assert [line.partition(":")[0] for line in told] == [
        "bare CR (1)", "line 1 is no header field", "lines over 998 octets (1)", "NUL (2)"]
    due, told = demo.arrives_as(ODD, "POP3S")
    broken = b"x" * 998 + b"\r\n " + b"x" * 997 + b"\r\n " + b"x" * 5
    assert due == b"\r\n" + ODD.replace(b"\n\0", b"\n ").replace(b"\rd", b" d").replace(b"x" * 2000, broken)
    assert demo.arrives_as(WIRE, "IMAPS") == demo.arrives_as(WIRE, "POP3S") == (WIRE, [])
    assert demo.arrives_as(b"From me\r\n" + WIRE, "IMAPS")[0] == b"X-Mailbox-Line: From me\r\n" + WIRE


def test_odd_message_whose_body_was_lost_fails(capsys):
    for where in ("IMAPS", "POP3S"):
        due = demo.arrives_as(ODD, where)[0]
        assert demo.check("odd", where, TRACE + due, ODD, 1)
        assert not demo.check("odd", where, TRACE + due[:due.index(b"\r\n\r\n") + 4], ODD, 1)
        assert not demo.check("odd", where, TRACE + due.replace(b"last", b"lost"), ODD, 1)
        assert "NOT AS IT HAS TO BE: line" in capsys.readouterr().out


def test_samples_show_each_kind():
    kinds = {}
    for sample in os.listdir(os.path.join(suite.ROOT, "tests/samples")):
        with open(os.path.join(suite.ROOT, "tests/samples", sample), "rb") as text:
            kinds[sample] = demo.kind_of(text.read())
    assert kinds["broken.eml"] == "broken" and list(kinds.values()).count("broken") == 1
    assert {"plain", "8-bit", "nested multipart", "attachments"} < set(kinds.values())


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("word", ["Starting", "Submitting"])
def test_demo_ended_by_a_signal_leaves_nothing(number, word):
    top = tempfile.mkdtemp(prefix="waypost-demo.")
    os.chmod(top, 0o755)
    environ = {name: value for name, value in os.environ.items() if name != "KEEP"}
    with subprocess.Popen([os.path.join(suite.ROOT, "tests/demo.py")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          env=dict(environ, TMPDIR=top)) as process:
        while word.encode() not in process.stdout.readline():
            assert process.poll() is None
        if word == "Starting":
            suite.wait_for(lambda: processes_of(top))
        process.send_signal(number)
        process.stdout.close()  # as when a terminal has gone
        assert process.wait(90) != 0
    suite.wait_for(lambda: not processes_of(top))
    assert os.listdir(top) == []
    os.rmdir(top)


def test_difference_names_the_place():
    changed = TRACE + WIRE.replace(b"A line", b"A l!ne")
    assert "line 3 of 7 octets" in demo.first_difference(changed, WIRE)
