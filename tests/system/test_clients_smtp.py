"""Submission by the programs people use: swaks, curl, msmtp, mutt, and Python's smtplib."""
import base64
import os
import smtplib
import ssl

import pytest

from clients import Scram
from suite import PASSWORD, message

BODY = "First line.\r\n.A line with a dot in front.\r\n..two\r\n\r\nCaf\u00e9, last line.\r\n"


def find(lab, user, subject):
    """The message with that subject, once it is there."""
    def arrived():
        return [m for m in lab.wait_for_messages(1, user) if f"Subject: {subject}\r\n".encode() in m]
    import suite
    return suite.wait_for(arrived, explain=lambda: f"no {subject}\n{lab.log()[-3000:]}")[0]


@pytest.fixture
def swaks(lab, peer_tool, run_tool):
    def run(*arguments, subject, to="u2"):
        return run_tool(peer_tool("swaks"), "--server", "127.0.0.1", "--from", lab.address("u1"), "--to",
                        lab.address(to), "--helo", "client.test", "--tls-ca-path", lab.CA, "--tls-verify",
                        "--header", f"Subject: {subject}", "--body", "body of swaks", *arguments)
    return run


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_starttls_auth(lab, swaks, mechanism):
    status, out = swaks("--port", str(lab.SUBMISSION_PORT), "--tls", "--auth", mechanism, "--auth-user",
                        lab.address("u1"), "--auth-password", PASSWORD, subject=f"swaks-{mechanism}")
    assert status == 0, out
    assert "235 " in out and "250 2.0.0 Ok: queued as" in out
    assert b"body of swaks" in find(lab, "u2", f"swaks-{mechanism}")


def test_swaks_tls_on_connect(lab, swaks):
    status, out = swaks("--port", str(lab.SMTPS_PORT), "--tls-on-connect", "--auth", "PLAIN", "--auth-user",
                        lab.address("u1"), "--auth-password", PASSWORD, subject="swaks-465")
    assert status == 0, out
    find(lab, "u2", "swaks-465")


def test_swaks_pipeline(lab, swaks):
    status, out = swaks("--port", str(lab.SMTP_PORT), "--pipeline", subject="swaks-pipeline",
                        to=f"{lab.address('u2')},{lab.address('u3')}")
    assert status == 0, out
    find(lab, "u2", "swaks-pipeline")
    find(lab, "u3", "swaks-pipeline")


def test_swaks_pipeline_with_auth_and_tls(lab, swaks):
    status, out = swaks("--port", str(lab.SUBMISSION_PORT), "--tls", "--pipeline", "--auth", "PLAIN",
                        "--auth-user", lab.address("u1"), "--auth-password", PASSWORD, subject="swaks-all")
    assert status == 0, out
    find(lab, "u2", "swaks-all")


def test_swaks_is_refused_without_auth(lab, swaks):
    status, out = swaks("--port", str(lab.SUBMISSION_PORT), "--tls", subject="never")
    assert status != 0 and "554 5.7.1" in out, out


def test_submission_offers_no_auth_in_the_clear(lab, swaks):
    status, out = swaks("--port", str(lab.SUBMISSION_PORT), "--auth", "PLAIN", "--auth-user", lab.address("u1"),
                        "--auth-password", PASSWORD, subject="never")
    assert status != 0 and "AUTH" not in out.split("EHLO", 1)[1].split("QUIT")[0], out


@pytest.fixture
def curl(lab, peer_tool, run_tool, tmp_path):
    def run(url, *arguments, subject):
        path = tmp_path / "message"
        path.write_bytes(message(subject, BODY, lab.address("u1"), lab.address("u4")))
        return run_tool(peer_tool("curl"), "-sSv", "--url", url, "--cacert", lab.CA, "--mail-from",
                        lab.address("u1"), "--mail-rcpt", lab.address("u4"), "--crlf", "-T", str(path), *arguments)
    return run


def test_curl_smtp_starttls(lab, curl):
    status, out = curl(f"smtp://127.0.0.1:{lab.SUBMISSION_PORT}/client.test", "--ssl-reqd", "--user",
                       f"{lab.address('u1')}:{PASSWORD}", subject="curl-starttls")
    assert status == 0, out
    assert find(lab, "u4", "curl-starttls").endswith(BODY.encode())


def test_curl_smtps(lab, curl):
    status, out = curl(f"smtps://127.0.0.1:{lab.SMTPS_PORT}/client.test", "--user",
                       f"{lab.address('u1')}:{PASSWORD}", subject="curl-smtps")
    assert status == 0, out
    assert find(lab, "u4", "curl-smtps").endswith(BODY.encode())


def test_curl_wrong_password(lab, curl):
    status, out = curl(f"smtps://127.0.0.1:{lab.SMTPS_PORT}/client.test", "--user",
                       f"{lab.address('u1')}:wrong", subject="never")
    assert status == 67 and "535 5.7.8" in out, out


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_msmtp(lab, peer_tool, run_tool, tmp_path, mechanism):
    rc = tmp_path / "msmtprc"
    rc.write_text(f"""account default
host localhost
port {lab.SUBMISSION_PORT}
domain client.test
tls on
tls_starttls on
tls_trust_file {lab.CA}
auth {mechanism}
user {lab.address('u1')}
password {PASSWORD}
from {lab.address('u1')}
""")
    rc.chmod(0o600)
    subject = f"msmtp-{mechanism}"
    text = message(subject, BODY, lab.address("u1"), lab.address("u5")).replace(b"\r\n", b"\n")
    status, out = run_tool(peer_tool("msmtp"), "-C", str(rc), lab.address("u5"), input=text.decode())
    assert status == 0, out
    assert find(lab, "u5", subject).endswith(BODY.encode())


def test_mutt_sends_an_attachment(lab, peer_tool, run_tool, tmp_path):
    attachment = tmp_path / "numbers.bin"
    attachment.write_bytes(bytes(range(256)) * 40)
    rc = tmp_path / "muttrc"
    rc.write_text(f"""set from = "{lab.address('u1')}"
set smtp_url = "smtp://u1%40{lab.domain}:{PASSWORD}@localhost:{lab.SUBMISSION_PORT}/"
set smtp_authenticators = "plain"
set ssl_starttls = yes
set ssl_force_tls = yes
set ssl_ca_certificates_file = "{lab.CA}"
set copy = no
""")
    status, out = run_tool(peer_tool("mutt"), "-n", "-F", str(rc), "-s", "mutt-sends", "-a", str(attachment), "--",
                           lab.address("u6"), input="See the attachment.\n",
                           env=dict(os.environ, HOME=str(tmp_path), TERM="dumb"))
    assert status == 0, out
    got = find(lab, "u6", "mutt-sends")
    coded = b"".join(got.split(b"numbers.bin")[-1].split(b"\r\n\r\n", 1)[1].split(b"\r\n--")[0].split())
    assert base64.b64decode(coded) == attachment.read_bytes()


def test_smtplib_scram(lab):
    client = smtplib.SMTP("127.0.0.1", lab.SUBMISSION_PORT, local_hostname="client.test", timeout=20)
    client.starttls(context=lab.tls())
    client.ehlo()
    assert "SCRAM-SHA-256" in client.esmtp_features["auth"]
    scram = Scram(lab.address("u1"), PASSWORD)
    code, text = client.docmd("AUTH", "SCRAM-SHA-256 " + base64.b64encode(scram.first()).decode())
    assert code == 334
    code, text = client.docmd(base64.b64encode(scram.final(base64.b64decode(text))).decode())
    assert code == 334
    scram.check(base64.b64decode(text))
    code, text = client.docmd("")
    assert code == 235, text
    client.sendmail(lab.address("u1"), [lab.address("u7")], message("scram", BODY).decode().encode())
    client.quit()
    find(lab, "u7", "scram")


def test_smtplib_lmtp_verbs_and_chunking(lab):
    with lab.submission() as client:
        assert client.has_extn("chunking") and client.has_extn("8bitmime") and client.has_extn("pipelining")
        client.mail(lab.address("u1"))
        client.rcpt(lab.address("u7"))
        text = message("chunks", BODY, lab.address("u1"), lab.address("u7"))
        client.send(f"BDAT {len(text) - 10}\r\n".encode() + text[:-10])
        assert client.getreply()[0] == 250
        client.send(b"BDAT 10 LAST\r\n" + text[-10:])
        assert client.getreply()[0] == 250
    assert find(lab, "u7", "chunks").endswith(BODY.encode())


def test_tls_versions(lab):
    """TLS 1.2 and 1.3 are spoken on 465."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = lab.tls()
        context.minimum_version = context.maximum_version = version
        with smtplib.SMTP_SSL("127.0.0.1", lab.SMTPS_PORT, local_hostname="client.test", context=context,
                              timeout=20) as client:
            assert client.ehlo()[0] == 250
