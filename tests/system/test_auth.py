"""Logins: what a wrong password costs, and how soon a changed file counts."""
import concurrent.futures
import imaplib
import poplib
import smtplib
import time

import pytest

from suite import PASSWORD, message, wait_for


def can_log_in(lab, user, password):
    client = imaplib.IMAP4_SSL("127.0.0.1", lab.IMAPS_PORT, ssl_context=lab.tls(), timeout=20)
    try:
        return client.login(lab.address(user), password)[0] == "OK"
    except imaplib.IMAP4.error:
        return False
    finally:
        client.logout()


def test_a_wrong_password_is_delayed(lab):
    start = time.monotonic()
    assert not can_log_in(lab, "u1", "wrong")
    assert 1.9 < time.monotonic() - start < 20
    lab.wait_for_log("authentication failed", lab.address("u1"))


def test_the_delay_is_only_the_guesser_s(lab):
    times = []
    with concurrent.futures.ThreadPoolExecutor(11) as pool:
        for _ in range(4):
            guesses = [pool.submit(can_log_in, lab, "u1", f"guess{i}") for i in range(10)]
            time.sleep(0.3)
            start = time.monotonic()
            assert can_log_in(lab, "u2", PASSWORD)
            times.append(time.monotonic() - start)
            assert not any(guess.result() for guess in guesses)
            if times[-1] < 1.5:
                break
    assert min(times) < 1.5, times


def test_an_unknown_user_looks_like_a_wrong_password(lab):
    answers = []
    for user in ("u1", "nobody"):
        client = imaplib.IMAP4_SSL("127.0.0.1", lab.IMAPS_PORT, ssl_context=lab.tls(), timeout=20)
        with pytest.raises(imaplib.IMAP4.error) as refused:
            client.login(lab.address(user), "wrong")
        answers.append(refused.value.args)
        client.logout()
    assert answers[0] == answers[1]


def test_too_many_failures_end_the_session(lab):
    client = imaplib.IMAP4_SSL("127.0.0.1", lab.IMAPS_PORT, ssl_context=lab.tls(), timeout=30)
    failures = 0
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        for failures in range(30):
            try:
                client.login(lab.address("u1"), "wrong")
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error:
                pass
    assert failures <= 10


def test_users_change_while_it_runs(lab):
    """waypost user: effective within two seconds, in every protocol, without a reload."""
    def patiently(what, seconds=2.5):
        wait_for(what, seconds)

    status, out = lab.tool("waypost", "user", "add", "-s", "SCRAM-SHA-256", "-p", "-", lab.address("new"),
                           input="first\n")
    assert status == 0, out
    patiently(lambda: can_log_in(lab, "new", "first"), 6)
    with lab.submission("u1") as client:
        client.sendmail(lab.address("u1"), [lab.address("new")], message("welcome"))
    box = imaplib.IMAP4_SSL("127.0.0.1", lab.IMAPS_PORT, ssl_context=lab.tls(), timeout=20)
    box.login(lab.address("new"), "first")
    wait_for(lambda: box.select()[1] == [b"1"])

    assert lab.tool("waypost", "user", "passwd", "-p", "-", lab.address("new"), input="second\n")[0] == 0
    patiently(lambda: not can_log_in(lab, "new", "first"), 10)
    assert can_log_in(lab, "new", "second")
    client = poplib.POP3_SSL("127.0.0.1", lab.POP3S_PORT, context=lab.tls(), timeout=20)
    client.user(lab.address("new"))
    assert client.pass_("second").startswith(b"+OK")
    client.quit()
    # Who is in stays in.
    assert box.noop()[0] == "OK"

    assert lab.tool("waypost", "user", "del", lab.address("new"))[0] == 0
    patiently(lambda: not can_log_in(lab, "new", "second"), 10)
    with lab.submission("u1") as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail(lab.address("u1"), [lab.address("new")], message("too late"))
    assert refused.value.recipients[lab.address("new")][0] == 550
    box.logout()


def test_a_broken_line_costs_only_itself(lab):
    path = f"{lab.CONFIG_DIR}/users"
    with open(path, "a", encoding="utf-8") as out:
        out.write("no colon here\n" + f"late@{lab.domain}:{{PLAIN}}x::::::userdb_account=late\n")
    wait_for(lambda: can_log_in(lab, "late", "x"), 8)
    assert can_log_in(lab, "u3", PASSWORD)
    lab.wait_for_log("not a passwd-file line")


@pytest.mark.parametrize("name", ["U4@EXAMPLE.TEST", "u4@Example.Test"])
def test_names_have_no_case(lab, name):
    assert can_log_in(lab, name, PASSWORD)
