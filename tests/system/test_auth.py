"""Logins: what a wrong password costs, and how soon a changed file counts."""
import base64
import concurrent.futures
import imaplib
import poplib
import smtplib
import threading
import time

import pytest

from clients import Scram
from suite import PASSWORD, PATIENCE, message, wait_for


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


# --- reloads ---

def imap_login(lab, authenticate):
    with imaplib.IMAP4("127.0.0.1", lab.IMAP_PORT, timeout=PATIENCE) as client:
        authenticate(client)
        assert client.select()[0] == "OK"


def imap_starttls_login(lab):
    with imaplib.IMAP4("127.0.0.1", lab.IMAP_PORT, timeout=PATIENCE) as client:
        client.starttls(lab.tls())
        password_in_one(client)


def password_in_one(client):
    client.login("u1@example.test", PASSWORD)


def password_when_asked(client):
    client.authenticate("PLAIN", lambda _: f"\0u2@example.test\0{PASSWORD}".encode())


def scram(client):
    exchange = Scram("u3@example.test", PASSWORD)
    steps = iter((lambda _: exchange.first(), exchange.final, lambda said: exchange.check(said) or b""))
    client.authenticate("SCRAM-SHA-256", lambda said: next(steps)(said))


def pop3_login(lab, user):
    client = poplib.POP3("127.0.0.1", lab.POP3_PORT, timeout=PATIENCE)
    try:
        client.user(user)
        client.pass_(PASSWORD)
        client.stat()
        client.quit()
    finally:
        client.close()


def recipients(lab):
    with lab.smtp() as client:
        client.helo()
        for user in range(1, 21):
            assert client.mail("sender@elsewhere.test")[0] == 250
            code, text = client.rcpt(f"u{user}@example.test")
            assert code == 250, text
            assert client.rcpt("postmaster@mx.example.test")[0] == 250
            assert client.rset()[0] == 250


def submission_login(lab):
    with smtplib.SMTP("127.0.0.1", lab.SUBMISSION_PORT, timeout=PATIENCE) as client:
        client.starttls(context=lab.tls())
        client.ehlo()
        token = base64.b64encode(f"\0u5@example.test\0{PASSWORD}".encode()).decode()
        code, text = client.docmd("AUTH", "PLAIN " + token)
        assert code == 235, text


def test_a_reload_costs_nobody_a_login(new_lab):
    lab = new_lab(main_cf="mail_max_userip_connections = 0\n")
    work = {
        "imap LOGIN": lambda: imap_login(lab, password_in_one),
        "imap PLAIN": lambda: imap_login(lab, password_when_asked),
        "imap SCRAM": lambda: imap_login(lab, scram),
        "imap STARTTLS": lambda: imap_starttls_login(lab),
        "imaps": lambda: lab.imap("u7").logout(),
        "pop3": lambda: pop3_login(lab, "u4@example.test"),
        "pop3 too": lambda: pop3_login(lab, "u6@example.test"),
        "submission": lambda: submission_login(lab),
        "smtp": lambda: recipients(lab),
    }
    stop, done, failures = threading.Event(), dict.fromkeys(work, 0), []

    def repeat(name):
        while not stop.is_set():
            try:
                work[name]()
                done[name] += 1
            except (AssertionError, OSError, EOFError, poplib.error_proto, imaplib.IMAP4.error,
                    smtplib.SMTPException) as error:
                failures.append((name, repr(error)))

    threads = [threading.Thread(target=repeat, args=(name,)) for name in work
               for _ in range(1 if name.startswith("pop3") else 2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            assert lab.tool("waypost", "reload")[0] == 0
            time.sleep(0.4)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print(done)
    assert not failures, (len(failures), done, failures[:20])
    assert all(done.values())
    log = lab.log()
    assert "was refused" not in log and "logins under way are lost" not in log
