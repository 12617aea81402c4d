"""The SMTP server as clients meet it: submission, STARTTLS, AUTH, large messages."""
import base64
import hashlib
import hmac
import os
import smtplib
import socket
import subprocess
import time

import pytest

import suite
from suite import message


def dialogue(lab, data, port=None, seconds=3):
    """What the server says to these octets, until it falls silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", int(port or lab.SMTP_PORT)), seconds) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while chunk := client.recv(65536):
            answer += chunk
    return answer.decode()


def test_recipients_are_checked_at_rcpt(lab):
    answer = dialogue(lab, b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u1@example.test>\r\n"
                           b"RCPT TO:<nobody@example.test>\r\nQUIT\r\n")
    assert "250 2.1.5 Ok\r\n550 5.1.1 <nobody@example.test>: Recipient address rejected: " \
           "User unknown in virtual mailbox table\r\n221 2.0.0 Bye\r\n" in answer


def test_the_time_for_a_command_is_one(new_lab):
    """Some octets of it do not buy a second one."""
    lab = new_lab(main_cf="smtpd_timeout = 4s\n")
    with socket.create_connection(("127.0.0.1", int(lab.SMTP_PORT)), 20) as client:
        assert client.recv(4096).startswith(b"220 ")
        start = time.monotonic()
        time.sleep(3)
        client.sendall(b"EH")
        assert client.recv(4096).startswith(b"421 4.4.2 ")
        assert 3.5 < time.monotonic() - start < 6


def test_input_before_the_handshake_is_thrown_away(lab):
    """CVE-2011-0411: nothing sent in the clear is answered under TLS."""
    client = lab.smtp()
    client.ehlo("c.test")
    client.sock.sendall(b"STARTTLS\r\nRSET\r\nNOOP injected\r\n")
    assert client.getreply()[0] == 220
    client.sock = lab.tls().wrap_socket(client.sock, server_hostname="localhost")
    client.file = None
    assert client.ehlo("c.test")[0] == 250
    assert client.noop()[0] == 250
    client.quit()


def test_a_failed_handshake_is_logged_with_its_reason(lab):
    client = lab.smtp()
    assert client.docmd("STARTTLS")[0] == 220
    client.sock.sendall(b"this is not TLS\r\n" * 20)
    with socket.create_connection(("127.0.0.1", int(lab.SMTPS_PORT)), 10) as plain:
        plain.sendall(b"EHLO c.test\r\n" * 20)
        plain.recv(65536)
    lab.wait_for_log("/smtpd[", "SSL_accept error from localhost[127.0.0.1]: ", "wrong version number")
    lab.wait_for_log("/smtps/smtpd[", "SSL_accept error from localhost[127.0.0.1]: ", "wrong version number")


def test_submission_needs_tls_and_a_login(lab):
    answer = dialogue(lab, b"EHLO c.test\r\nAUTH PLAIN AHUxAHBhc3M=\r\nMAIL FROM:<a@b.test>\r\n"
                           b"QUIT\r\n", lab.SUBMISSION_PORT)
    assert "AUTH" not in answer
    assert answer.count("530 5.7.0 Must issue a STARTTLS command first") == 2


def scram(client, password, initial):
    """RFC 5802 as a client; the reply to the last step."""
    bare = b"n=u1@example.test,r=" + base64.b64encode(os.urandom(12))
    first = base64.b64encode(b"n,," + bare).decode()
    if initial:
        code, text = client.docmd("AUTH SCRAM-SHA-256 " + first)
    else:
        assert client.docmd("AUTH SCRAM-SHA-256") == (334, b"")
        code, text = client.docmd(first)
    assert code == 334
    server_first = base64.b64decode(text)
    fields = dict(item.split(b"=", 1) for item in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields[b"s"]),
                                 int(fields[b"i"]))
    key = hmac.new(salted, b"Client Key", "sha256").digest()
    final = b"c=biws,r=" + fields[b"r"]
    signature = hmac.new(hashlib.sha256(key).digest(), bare + b"," + server_first + b"," + final,
                         "sha256").digest()
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature)))
    code, text = client.docmd(base64.b64encode(final + b",p=" + proof).decode())
    return client.docmd("")[0] if code == 334 else code


def test_scram_with_and_without_initial_response(lab):
    for initial in (True, False):
        for password, code in ((b"pass", 235), (b"wrong", 535)):
            with smtplib.SMTP("127.0.0.1", int(lab.SUBMISSION_PORT), timeout=20) as client:
                client.starttls(context=lab.tls())
                client.ehlo("c.test")
                assert scram(client, password, initial) == code


def test_a_large_message_is_queued_whole(lab):
    body = "".join(f"{i:074d}\r\n" for i in range(40000))
    client = lab.submission()
    client.sendmail("u1@example.test", ["u2@example.test"], message(body=body))
    client.quit()
    lab.wait_for_log("size=30", "nrcpt=1 (queue active)")


def test_the_size_limit_holds_for_completed_headers(lab):
    """Each "a" becomes "a@example.test": 9.9 MB in, 77 MB out. Postfix refuses it, too."""
    fields = (b"To: " + b"a," * 5100 + b"\r\n") * 970
    client = lab.smtp()
    client.ehlo("c.test")
    for text, code in ((fields, 552), (b"Cc: a@example.test\r\n", 250)):
        client.mail("a@b.test")
        assert client.rcpt("u1@example.test")[0] == 250
        reply = client.data(text + b"\r\nbody\r\n")
        assert reply[0] == code
        assert code == 250 or reply[1] == b"5.3.4 Error: message file too big"
    client.quit()


def test_sendmail_reads_untidy_recipient_lists(lab):
    text = (b"To: u1@example.test,, u2@example.test, <>, Some Words,\n"
            b" u1@example.test (twice)\nSubject: untidy\n\nhello\n")
    done = subprocess.run([os.path.join(lab.BUILD_DIR, "bin/sendmail"), "-C", lab.CONFIG_DIR, "-t", "-f",
                           "u3@example.test"], input=text, timeout=30, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    line = lab.wait_for_log("from=<u3@example.test>", "(queue active)")
    queue_id = line.split("]: ")[1].split(":")[0]
    lab.wait_for_log(queue_id, "removed")
    seen = {line.split("to=<")[1].split(">")[0] for line in lab.log().splitlines() if f"{queue_id}: to=<" in line}
    assert seen == {"u1@example.test", "u2@example.test", '"Some Words"@example.test'}


def test_sendmail_says_once_that_a_message_is_too_large(lab):
    done = subprocess.run([os.path.join(lab.BUILD_DIR, "bin/sendmail"), "-C", lab.CONFIG_DIR, "u1@example.test"],
                          input=b"x\n" * 12_000_000, timeout=60, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = [line for line in done.stdout.decode().splitlines() if "warning" not in line]
    assert len(lines) == 1 and "too l" in lines[0], lines
    assert done.returncode not in (0, 71)


def test_redirect_overrides_filter_and_is_not_aliased(tmp_path):
    """As with Postfix: the queue manager's address for the whole message, behind all expansion."""
    lab = suite.Lab(str(tmp_path / "lab"), main_cf="virtual_alias_domains = alias.test\n"
                    "virtual_alias_maps = inline:{ {u5@example.test = u6@example.test}"
                    " {joe@alias.test = u7@example.test} }\n"
                    "smtpd_sender_restrictions = check_sender_access inline:{"
                    " {one.test = REDIRECT u5@example.test} {two.test = REDIRECT joe@alias.test} }\n"
                    "smtpd_recipient_restrictions = check_recipient_access inline:{"
                    " {u1@example.test = FILTER smtp:[127.0.0.1]:1} {u2@example.test = BCC u3@example.test} }\n")
    lab.start()
    try:
        for domain, outcome in (("one", "to=<u5@example.test>, orig_to=<u1@example.test>, relay=store"),
                                ("two", "to=<joe@alias.test>, orig_to=<u1@example.test>, relay=none")):
            answer = dialogue(lab, b"EHLO c.test\r\nMAIL FROM:<a@%s.test>\r\nRCPT TO:<u1@example.test>\r\n"
                              b"RCPT TO:<u2@example.test>\r\nDATA\r\nA: b\r\n\r\n.\r\nQUIT\r\n" % domain.encode(),
                              seconds=20)
            queue_id = answer.split("queued as ")[1].split("\r\n")[0]
            lab.wait_for_log(f"{queue_id}: ", outcome)
            lab.wait_for_log(f"{queue_id}: ", "nrcpt=1 (queue active)")
        lab.wait_for_log("User unknown in virtual alias table")
        lab.wait_for_log(": redirect: RCPT from localhost[127.0.0.1]: <a@one.test>: "
                         "Sender address triggers REDIRECT u5@example.test; from=<a@one.test> to=<u1@example.test> ")
    finally:
        lab.stop()


@pytest.fixture(name="table_lab")
def fixture_table_lab(tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "main.cf").write_text("myhostname = mx.example.test\n")
    lab = suite.Lab(str(tmp_path / "lab"), main_cf=f"virtual_alias_maps = hash:{tmp_path}/alias\n"
                    f"transport_maps = hash:{tmp_path}/transport\nalias_maps = hash:{tmp_path}/local\n")
    yield lab
    lab.stop()


def make_table(tmp_path, text, name="alias"):
    program = "postalias" if "local" in name else "postmap"
    (tmp_path / name).write_text(text)
    build = os.environ.get("LAB_BUILD", os.path.join(suite.ROOT, "build"))
    subprocess.run([os.path.join(build, "bin", program), "-c", tmp_path, f"hash:{tmp_path}/{name}"],
                   check=True, timeout=30)


def replace_table(tmp_path, text, name):
    make_table(tmp_path, text, f"new.{name}")
    os.rename(tmp_path / f"new.{name}.lmdb", tmp_path / f"{name}.lmdb")


def reply_to(lab, recipient):
    return dialogue(lab, b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<%s>\r\nQUIT\r\n" %
                    recipient.encode(), seconds=20).split("250 2.1.0 Ok\r\n")[1]


def test_tables_that_are_made_late_or_replaced_are_seen_without_a_reload(table_lab, tmp_path):
    lab = table_lab
    make_table(tmp_path, "", "transport")
    make_table(tmp_path, "", "local")
    lab.start()
    assert reply_to(lab, "one@example.test").startswith("451 4.3.0 ")
    make_table(tmp_path, "one@example.test u1@example.test\n")
    suite.wait_for(lambda: reply_to(lab, "one@example.test").startswith("250 "), 60)
    # A new file in place of the old one, and one that was removed first.
    replace_table(tmp_path, "two@example.test u2@example.test\n", "alias")
    suite.wait_for(lambda: reply_to(lab, "two@example.test").startswith("250 "))
    assert reply_to(lab, "one@example.test").startswith("550 ")
    os.unlink(tmp_path / "alias.lmdb")
    make_table(tmp_path, "three@example.test u3@example.test\n")
    suite.wait_for(lambda: reply_to(lab, "three@example.test").startswith("250 "))
    assert f"table hash:{tmp_path}/alias has changed -- restarting" in lab.log()


def test_the_queue_manager_and_local_see_replaced_tables(table_lab, tmp_path):
    lab = table_lab
    for name in "alias", "transport":
        make_table(tmp_path, "", name)
    make_table(tmp_path, "list: u1@example.test\n", "local")
    lab.start()

    def outcome(recipient, *words):
        with lab.submission("u3") as client:
            client.mail("u3@example.test")
            if client.rcpt(recipient)[0] != 250:
                return False
            queue_id = client.data(message("x"))[1].split()[-1].decode()
        line = lab.wait_for_log(f"{queue_id}: to=<{recipient}>")
        return all(word in line for word in words)

    assert outcome("list@mx.example.test", "relay=local", "status=expanded")
    replace_table(tmp_path, "elsewhere.test discard:\n", "transport")
    replace_table(tmp_path, "other: u1@example.test\n", "local")
    suite.wait_for(lambda: outcome("x@elsewhere.test", "relay=none", "status=sent"))
    suite.wait_for(lambda: outcome("other@mx.example.test", "relay=local", "status=expanded"))
    assert f"this process ends: table hash:{tmp_path}/transport has changed" in lab.log()
    assert f"this process ends: table hash:{tmp_path}/local has changed" in lab.log()
