"""tests/lab by itself: what it promises to whoever calls it."""
import os
import socket
import stat
import subprocess
import tempfile

import pytest

import suite


@pytest.fixture
def directory():
    """As mktemp -d makes it: mode 0700."""
    with tempfile.TemporaryDirectory(prefix="waypost-lab.") as path:
        yield path


def lab(verb, path, *words, **environ):
    with tempfile.TemporaryFile("w+") as out:
        done = subprocess.run([suite.LAB, verb, path, *words], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, **environ), check=False, timeout=90)
        out.seek(0)
        return done.returncode, out.read()


def values(path):
    return dict(line.split("=", 1) for line in lab("env", path)[1].splitlines())


def deliver(path, expected):
    """Send a message, and wait until that many are there."""
    with suite.smtplib.SMTP("127.0.0.1", int(values(path)["SMTP_PORT"]), timeout=20) as client:
        client.sendmail("a@elsewhere.test", ["u1@example.test"], suite.message())
    count = [os.path.join(values(path)["BUILD_DIR"], "bin/waypost"), "-c", values(path)["CONFIG_DIR"], "mailbox", "count"]
    suite.wait_for(lambda: int(subprocess.run(count, stdout=subprocess.PIPE, check=True).stdout) >= expected)


def processes_of(path):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as text:
                if path.encode() in text.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as text:
            return text.read().decode(errors="replace")
    except OSError:
        return ""


def test_lab_comes_up_again_with_its_mail_after_kill_9_of_everything(directory):
    assert lab("start", directory) == (0, "")
    before = values(directory)
    try:
        deliver(directory, 1)
        # More than once: who is killed last may have been restarted by who is killed first.
        while processes_of(directory):
            for pid in processes_of(directory):
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
        assert lab("start", directory) == (0, "")
        assert values(directory) == before
        deliver(directory, 2)  # or more: a kill may deliver a second time what it did not see recorded
    finally:
        lab("stop", directory)
    suite.wait_for(lambda: not processes_of(directory))


def test_lab_takes_lab_conf_at_each_start(directory):
    conf = os.path.join(directory, "extra.cf")
    try:
        for limit in ("23456", "34567"):
            with open(conf, "w", encoding="ascii") as out:
                out.write(f"message_size_limit = {limit}\n")
            assert lab("start", directory, LAB_CONF=conf) == (0, "")
            with suite.smtplib.SMTP("127.0.0.1", int(values(directory)["SMTP_PORT"]), timeout=20) as client:
                client.ehlo()
                assert client.esmtp_features["size"] == limit
            lab("stop", directory)
    finally:
        lab("stop", directory)


def test_lab_without_a_build_leaves_nothing(directory):
    code, text = lab("start", directory, LAB_BUILD="/nonexistent")
    assert code == 1 and "no build in /nonexistent" in text
    assert os.listdir(directory) == []


def test_lab_refuses_a_path_that_main_cf_cannot_hold(directory):
    for name in ("with blank", "with,comma", "with$dollar"):
        code, text = lab("start", os.path.join(directory, name))
        assert code == 1 and "no blanks" in text and "Traceback" not in text
    assert os.listdir(directory) == []


def test_lab_that_fails_to_start_leaves_nothing_running(directory):
    conf = os.path.join(directory, "extra.cf")
    with open(conf, "w", encoding="ascii") as out:
        out.write("smtpd_sender_restrictions = no_such_restriction\n")
    code, text = lab("start", directory, LAB_CONF=conf)
    assert code == 1 and "no_such_restriction" in text
    suite.wait_for(lambda: not processes_of(directory))


def test_lab_ended_by_a_signal_leaves_nothing_running(directory):
    for number in (1, 15):
        process = subprocess.Popen([suite.LAB, "start", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        suite.wait_for(lambda: any("dnsd" in command_line(pid) for pid in processes_of(directory)))
        process.send_signal(number)
        assert process.wait(60) == 1
        suite.wait_for(lambda: not processes_of(directory))


def test_lab_that_runs_is_not_disturbed_by_a_second_start(directory):
    try:
        assert lab("start", directory) == (0, "")
        code, text = lab("start", directory)
        assert code == 1 and "runs already" in text
        deliver(directory, 1)
        assert any("dnsd" in command_line(pid) for pid in processes_of(directory))
    finally:
        lab("stop", directory)


def test_lab_notices_that_its_dns_server_does_not_answer(directory):
    assert lab("start", directory) == (0, "")
    lab("stop", directory)
    suite.wait_for(lambda: not processes_of(directory))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", int(values(directory)["DNS_PORT"])))
        code, text = lab("start", directory)
    assert code == 1 and "not answering: DNS_PORT" in text and "in use" in text
    assert not processes_of(directory)


def test_stop_ends_no_other_labs_dns_server(directory):
    with tempfile.TemporaryDirectory(prefix="waypost-lab.") as other:
        try:
            assert lab("start", directory) == (0, "") and lab("start", other) == (0, "")
            theirs = [pid for pid in processes_of(other) if "dnsd" in command_line(pid)]
            with open(os.path.join(directory, "dns.pid"), "w", encoding="ascii") as out:
                out.write(f"{theirs[0]}\n")
            lab("stop", directory)
            suite.wait_for(lambda: not processes_of(directory))
            assert "dnsd" in command_line(theirs[0])
        finally:
            lab("stop", directory)
            lab("stop", other)


@pytest.mark.skipif(os.getuid() == 0, reason="root's services need to get through")
def test_directory_of_an_ordinary_user_stays_closed(directory):
    try:
        assert lab("start", directory) == (0, "")
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    finally:
        lab("stop", directory)
