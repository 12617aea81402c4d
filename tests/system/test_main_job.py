"""The main job: SMTP in, queue, store, IMAP and POP3 out, with Python's own clients."""
import smtplib
import socket

import pytest

import suite


def test_message_from_smtp_is_read_by_imap(lab):
    sent = suite.message("imap-path", to="u2@example.test")
    with lab.smtp() as client:
        client.sendmail("someone@elsewhere.test", ["u2@example.test"], sent)
    got = lab.wait_for_messages(1, "u2")[0]
    assert got.endswith(sent)
    top = got[:-len(sent)].decode()
    assert top.startswith("Return-Path: <someone@elsewhere.test>\r\n")
    assert "Delivered-To: u2@example.test\r\n" in top
    assert "Received: from client.test (" in top
    assert "by mx.example.test (Postfix) with ESMTP id " in top


def test_message_from_smtp_is_read_by_pop3(lab):
    sent = suite.message("pop-path", to="u3@example.test")
    with lab.smtp() as client:
        client.sendmail("someone@elsewhere.test", ["u3@example.test"], sent)
    lab.wait_for_messages(1, "u3")
    client = lab.pop3("u3")
    try:
        assert client.stat()[0] == 1
        lines = client.retr(1)[1]
        assert b"\r\n".join(lines).endswith(sent.rstrip(b"\r\n"))
    finally:
        client.quit()


def test_submission_needs_authentication(lab):
    client = smtplib.SMTP("127.0.0.1", lab.SUBMISSION_PORT, local_hostname="client.test", timeout=20)
    client.starttls(context=lab.tls())
    client.ehlo()
    code, text = client.docmd("MAIL FROM:<u1@example.test>")
    if code == 250:
        code, text = client.docmd("RCPT TO:<u2@example.test>")
    assert code in (530, 554, 553), text
    client.rset()
    with pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("u1@example.test", "wrong")
    client.close()


def test_submitted_message_reaches_a_local_user(lab):
    sent = suite.message("submitted", to="u4@example.test")
    with lab.submission("u1") as client:
        client.sendmail("u1@example.test", ["u4@example.test"], sent)
    got = lab.wait_for_messages(1, "u4")[0]
    assert got.endswith(sent)
    assert b"with ESMTPSA id " in got


def test_unknown_user_is_refused_at_rcpt(lab):
    with lab.smtp() as client:
        client.ehlo()
        client.mail("someone@elsewhere.test")
        code, text = client.rcpt("nobody-here@example.test")
    assert code == 550
    assert text.startswith(b"5.1.1 <nobody-here@example.test>: Recipient address rejected: User unknown in virtual mailbox table")


def test_log_tells_the_path(lab):
    sent = suite.message("logged", to="u5@example.test")
    with lab.smtp() as client:
        client.sendmail("someone@elsewhere.test", ["u5@example.test"], sent)
    done = lab.wait_for_log("to=<u5@example.test>", "status=sent")
    queue_id = done.split("]: ")[1].split(":")[0]
    lab.wait_for_log(f"{queue_id}: client=", "postfix/smtpd[")
    lab.wait_for_log(f"{queue_id}: message-id=<", "postfix/cleanup[")
    lab.wait_for_log(f"{queue_id}: from=<someone@elsewhere.test>, size=", "nrcpt=1 (queue active)")
    lab.wait_for_log(f"{queue_id}: removed", "postfix/qmgr[")


def test_two_recipients_get_one_copy_each(lab):
    sent = suite.message("two", to="u6@example.test, u7@example.test")
    with lab.smtp() as client:
        client.sendmail("a@elsewhere.test", ["u6@example.test", "u7@example.test"], sent)
    for user in ("u6", "u7"):
        got = lab.wait_for_messages(1, user)
        assert len(got) == 1 and got[0].endswith(sent)


def test_idle_tells_about_a_delivery_at_once(lab):
    reader = lab.imap("u8")
    reader.select("INBOX")
    reader.send(b"i1 IDLE\r\n")
    assert reader.readline().startswith(b"+")
    with lab.smtp() as client:
        client.sendmail("a@elsewhere.test", ["u8@example.test"], suite.message("news", to="u8@example.test"))
    reader.sock.settimeout(5)
    lines = []
    try:
        while not any(b"EXISTS" in line for line in lines):
            lines.append(reader.readline())
    except socket.timeout:
        pass
    assert any(b"* 1 EXISTS" in line for line in lines), lines
    reader.send(b"DONE\r\n")
    reader.shutdown()
