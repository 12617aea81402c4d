"""What faces the network: logins, TLS and its ends, crashes of the programs behind, and
what a hostile peer on the suite's own sockets gets."""
import base64
import hashlib
import imaplib
import json
import os
import pwd
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

from suite import PASSWORD, wait_for
from wire import (Ipc, TlsClient, connect, descriptors, encode, memory_kib, pids, processes, read_line,
                  reset)

MAIN_CF = "message_size_limit = 104857600\nimap_literal_limit = 104857600\n"
IS_ROOT = os.getuid() == 0
# Services are not dumpable, so that even their own user may not look into them.
looks_inside = pytest.mark.skipif(not IS_ROOT, reason="only root may look into the services")


def login_line(lab, user="u1", tag=b"a"):
    return b"%s LOGIN %s %s\r\n" % (tag, lab.address(user).encode(), PASSWORD.encode())


def imaps(lab, early=b""):
    client = TlsClient(connect(lab.IMAPS_PORT), lab.tls()).handshake(early)
    client.read_until(b"ready.\r\n")
    return client


def imaps_session(lab, user="u1"):
    client = imaps(lab)
    client.send(login_line(lab, user))
    client.read_line_with(b"a OK")
    return client


def pop3s_session(lab, user="u2"):
    client = TlsClient(connect(lab.POP3S_PORT), lab.tls()).handshake()
    client.read_line_with(b"+OK")
    client.send(b"USER %s\r\nPASS %s\r\n" % (lab.address(user).encode(), PASSWORD.encode()))
    client.read_line_with(b"+OK")
    client.read_line_with(b"+OK")
    return client


def start_tls(lab, port, command, plain=b""):
    """After the positive answer; plain: sent in one segment with the command."""
    sock = connect(port)
    read_line(sock)
    sock.sendall(command + plain)
    line = read_line(sock)
    assert b"Begin TLS" in line
    return TlsClient(sock, lab.tls())


# --- pipelines around the handshake ---


def test_starttls_143_first_commands_in_the_handshakes_segment(lab):
    client = start_tls(lab, lab.IMAP_PORT, b"s STARTTLS\r\n")
    client.handshake(b"c CAPABILITY\r\n" + login_line(lab) + b"n NOOP\r\nl LOGOUT\r\n")
    text = client.read_to_end()
    assert b"STARTTLS" not in text.split(b"c OK")[0]
    for tag in (b"c OK", b"a OK", b"n OK", b"l OK"):
        assert b"\r\n" + tag in b"\r\n" + text
    assert client.end == "close_notify"


def test_stls_110_first_commands_in_the_handshakes_segment(lab):
    client = start_tls(lab, lab.POP3_PORT, b"STLS\r\n")
    client.handshake(b"USER u1@example.test\r\nPASS pass\r\nSTAT\r\nQUIT\r\n")
    text = client.read_to_end()
    assert text.count(b"+OK") == 4, text
    assert client.end == "close_notify"


@pytest.mark.parametrize("port,command,mark", [
    ("IMAP_PORT", b"s STARTTLS\r\n", b"x NOOP\r\n"), ("POP3_PORT", b"STLS\r\n", b"CAPA\r\n")])
def test_what_comes_before_the_handshake_is_dropped(lab, port, command, mark):
    client = start_tls(lab, getattr(lab, port), command, plain=mark)
    client.handshake(b"l LOGOUT\r\n" if port == "IMAP_PORT" else b"QUIT\r\n")
    text = client.read_to_end()
    assert b"x OK" not in text and b"SASL" not in text


@pytest.mark.parametrize("port,early,answers", [
    ("IMAPS_PORT", b"a LOGIN u1@example.test pass\r\nb SELECT INBOX\r\nl LOGOUT\r\n",
     [b"a OK", b"b OK", b"l OK"]),
    ("POP3S_PORT", b"USER u1@example.test\r\nPASS pass\r\nSTAT\r\nQUIT\r\n", [b"+OK"] * 5)])
def test_implicit_tls_with_a_pipelined_session(lab, port, early, answers):
    client = TlsClient(connect(getattr(lab, port)), lab.tls()).handshake(early)
    text = client.read_to_end()
    for answer in answers:
        assert answer in text
        text = text[text.index(answer) + len(answer):]
    assert client.end == "close_notify"


def test_logging_out_before_login_is_an_orderly_end(lab):
    client = imaps(lab, b"l LOGOUT\r\n")
    assert b"l OK" in client.read_to_end()
    assert client.end == "close_notify"


# --- ends that must not look orderly ---


def append(client, octets, tag=b"p"):
    client.send(b"%s APPEND INBOX {%d+}\r\n" % (tag, len(octets)))
    client.send(octets + b"\r\n")
    client.read_line_with(tag + b" OK")


def big_message(size, seed):
    line = random.Random(seed).randbytes(36)
    body = b"".join(base64.b64encode(hashlib.sha256(line + b"%d" % i).digest()) + b"\r\n"
                    for i in range(2000))
    head = b"Subject: large\r\n\r\n"
    return head + (body * (size // len(body) + 1))[:size - len(head) - 2] + b"\r\n"


@pytest.fixture(scope="module")
def large(lab):
    """50 MB in u3's INBOX, brought through the pump."""
    octets = big_message(50 * 1000 * 1000, 1)
    client = imaps_session(lab, "u3")
    append(client, octets)
    client.send(b"l LOGOUT\r\n")
    client.read_to_end()
    return octets


def test_50_megabytes_to_a_slow_reader(lab, large):
    client = imaps_session(lab, "u3")
    client.send(b"b SELECT INBOX\r\n")
    client.read_line_with(b"b OK")
    client.send(b"f FETCH 1 BODY.PEEK[]\r\n")
    client.read_until(b"BODY[] {%d}\r\n" % len(large))
    digest, left, pauses = hashlib.sha256(), len(large), 0
    while left > 0:
        octets = client.data or client.read_some()
        client.data = b""
        assert octets, client.end
        if pauses < 20:
            pauses += 1
            time.sleep(0.05)
        digest.update(octets[:left])
        client.data, left = octets[left:], left - len(octets[:left])
    assert digest.digest() == hashlib.sha256(large).digest()
    client.read_line_with(b"f OK")
    for pid in pids(lab, "tlsproxy") if IS_ROOT else []:
        assert memory_kib(pid) < 32 * 1024


def test_pop3_of_50_megabytes(lab, large):
    client = pop3s_session(lab, "u3")
    client.send(b"RETR 1\r\nQUIT\r\n")
    text = client.read_to_end()
    at = text.index(b"\r\n") + 2
    assert text[at:at + len(large)] == large
    assert text[at + len(large):].startswith(b".\r\n+OK")
    assert client.end == "close_notify"


@pytest.mark.parametrize("program", ["imapd", "pop3d"])
def test_a_session_killed_inside_a_message_does_not_end_cleanly(lab, large, program):
    if program == "imapd":
        client = imaps_session(lab, "u3")
        client.send(b"b SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\n")
        client.read_until(b"BODY[] {")
    else:
        client = pop3s_session(lab, "u3")
        client.send(b"RETR 1\r\n")
        client.read_line_with(b"+OK")
    for pid in pids(lab, program):
        os.kill(pid, signal.SIGKILL)
    text = client.read_to_end()
    assert len(text) < len(large)
    assert client.end == "truncated"


def test_client_that_leaves_without_close_notify_ends_its_session(lab):
    client = imaps_session(lab)
    reset(client.sock)
    lab.wait_for_log("imap(u1@example.test)", "Disconnected: Connection closed")


# --- vanishing clients ---


def hello_prefix(lab, port, length):
    """The first octets of a client's hello."""
    outgoing = ssl.MemoryBIO()
    tls = lab.tls().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    sock = connect(port)
    sock.sendall(outgoing.read()[:length])
    return sock


@looks_inside
@pytest.mark.parametrize("port", ["IMAPS_PORT", "POP3S_PORT", "SMTPS_PORT"])
@pytest.mark.parametrize("length", [0, 1, 5, 100, 10000])
def test_vanishing_in_mid_handshake_leaves_nothing(lab, port, length):
    program = "smtpd" if port == "SMTPS_PORT" else "tlsproxy"
    reset(hello_prefix(lab, getattr(lab, port), length))
    wait_for(lambda: pids(lab, program))
    time.sleep(0.5)
    before = {pid: descriptors(pid) for pid in pids(lab, program)}
    for _ in range(20):
        reset(hello_prefix(lab, getattr(lab, port), length))
    wait_for(lambda: all(descriptors(pid) <= before[pid] + 2 for pid in pids(lab, program) if pid in before),
             explain=lambda: {p: (descriptors(p), before.get(p)) for p in pids(lab, program)})


def test_garbage_instead_of_a_handshake(lab):
    for port in (lab.IMAPS_PORT, lab.POP3S_PORT, lab.SMTPS_PORT):
        sock = connect(port)
        sock.sendall(b"a1 LOGIN who where\r\n" * 50)
        while read_line(sock):
            pass
    imaps_session(lab).sock.close()


def test_noplaintext_holds_for_what_was_not_offered(new_lab):
    lab = new_lab(main_cf="smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = no\n"
                          "smtpd_sasl_security_options = noanonymous, noplaintext\n")
    with lab.smtp() as smtp:
        smtp.ehlo()
        assert "SCRAM-SHA-256" in smtp.esmtp_features["auth"]
        assert "PLAIN" not in smtp.esmtp_features["auth"]
        secret = base64.b64encode(b"\0u1@example.test\0pass").decode()
        assert smtp.docmd("AUTH", "PLAIN " + secret)[0] == 535
        assert smtp.docmd("AUTH", "login")[0] == 535


# --- programs that go away ---


def test_tlsproxy_killed(lab):
    client = imaps_session(lab)
    for pid in pids(lab, "tlsproxy"):
        os.kill(pid, signal.SIGKILL)
    client.read_to_end()
    assert client.end == "truncated"
    wait_for(lambda: try_session(lab), seconds=30)
    client = start_tls(lab, lab.IMAP_PORT, b"s STARTTLS\r\n").handshake(login_line(lab))
    client.read_line_with(b"a OK")


def try_session(lab):
    try:
        imaps_session(lab).sock.close()
        return True
    except (OSError, AssertionError):
        time.sleep(0.2)
        return False


def test_auth_killed_inside_an_exchange(lab):
    client = imaps(lab)
    client.send(b"a AUTHENTICATE LOGIN\r\n")
    client.read_line_with(b"+ ")
    for pid in pids(lab, "auth"):
        os.kill(pid, signal.SIGKILL)
    # The next auth asks the same, and hears what the client has said so far.
    client.send(base64.b64encode(b"u1@example.test") + b"\r\n")
    client.read_line_with(b"+ ")
    client.send(base64.b64encode(b"wrong") + b"\r\n")
    client.read_line_with(b"a NO")
    client.send(login_line(lab, tag=b"b"))
    client.read_line_with(b"b OK")
    client.sock.close()


def smtp_starttls(lab):
    sock = connect(lab.SMTP_PORT)
    read_line(sock)
    sock.sendall(b"STARTTLS\r\n")
    assert read_line(sock).startswith(b"220")
    return TlsClient(sock, lab.tls())


def test_smtp_starttls_while_tlsproxy_hangs(lab):
    asked = pids(lab, "tlsproxy", "tlsproxy")
    if not asked:
        smtp_starttls(lab).handshake()
        asked = pids(lab, "tlsproxy", "tlsproxy")
    for pid in asked:
        os.kill(pid, signal.SIGSTOP)
    try:
        client = smtp_starttls(lab)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.handshake()
        lab.wait_for_log("private key's holder did not sign")
        with lab.smtp() as smtp:
            assert smtp.noop()[0] == 250
    finally:
        for pid in asked:
            os.kill(pid, signal.SIGCONT)
    client = smtp_starttls(lab).handshake(b"EHLO client.test\r\n")
    client.read_until(b"250 ")


def test_sessions_outlive_a_reload(lab):
    waiting = imaps(lab)
    inside = imaps_session(lab)
    plain = connect(lab.IMAP_PORT)
    read_line(plain)
    old = set(pids(lab, "tlsproxy") + pids(lab, "imap-login") + pids(lab, "imapd"))
    code, text = lab.tool("waypost", "reload")
    assert code == 0, text
    wait_for(lambda: set(pids(lab, "imap-login")) - old)
    time.sleep(0.5)
    inside.send(b"n NOOP\r\n")
    inside.read_line_with(b"n OK")
    waiting.send(login_line(lab) + b"n NOOP\r\n")
    waiting.read_line_with(b"a OK")
    waiting.read_line_with(b"n OK")
    plain.sendall(b"s STARTTLS\r\n")
    assert b"s OK" in read_line(plain)
    late = TlsClient(plain, lab.tls()).handshake(login_line(lab))
    late.read_line_with(b"a OK")
    for client in (inside, waiting, late):
        client.send(b"l LOGOUT\r\n")
        client.read_to_end()
        assert client.end == "close_notify"
    wait_for(lambda: not old & set(processes(lab)), seconds=30)


def certificate_of(lab, port, starttls="", *options):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options] +
                          (["-starttls", starttls] if starttls else []), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=30)
    found = re.search(rb"-----BEGIN.*-----END CERTIFICATE-----", done.stdout, re.S)
    return ssl.PEM_cert_to_DER_cert(found[0].decode()) if found else None


def tls_ports(lab):
    return ((lab.IMAPS_PORT,), (lab.SMTPS_PORT,), (lab.SMTP_PORT, "smtp"), (lab.IMAP_PORT, "imap"))


def certificates(lab):
    return {certificate_of(lab, *port) for port in tls_ports(lab)}


def make_certificate(lab, key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
    """cert.new and key.new beside those in use."""
    def openssl(*words):
        subprocess.run(("openssl",) + words, cwd=os.path.join(lab.directory, "tls"), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    openssl("req", "-newkey", *key, "-nodes", "-subj", "/CN=mx.example.test", "-keyout", "key.new", "-out", "request.new")
    openssl("x509", "-req", "-in", "request.new", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30",
            "-CAcreateserial", "-extfile", "san", "-out", "cert.new")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def put_in_place(lab, name):
    os.rename(os.path.join(lab.directory, "tls", name + ".new"),
              os.path.join(lab.directory, "tls", name + ".pem"))


def waypost(lab, *words):
    done = subprocess.run([os.path.join(lab.BUILD_DIR, "bin/waypost"), "-c", lab.CONFIG_DIR, *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=90)
    return done.returncode, done.stdout


def generation(lab):
    return json.loads(waypost(lab, "status", "--json")[1])["generation"]


def retired(lab):
    return len(json.loads(waypost(lab, "status", "--json")[1])["retired"]["processes"])


def test_a_renewed_certificate_is_taken(new_lab):
    """Certificate and key are replaced one after the other; nobody reloads."""
    lab = new_lab(main_cf="file_check_interval = 1s\n")
    old = certificates(lab)
    assert None not in old and len(old) == 1
    session = imaps_session(lab)
    make_certificate(lab)
    for name in ("cert", "key"):
        put_in_place(lab, name)
    for port in tls_ports(lab):
        wait_for(lambda port=port: certificate_of(lab, *port) not in {None} | old)
    assert len(certificates(lab)) == 1
    session.send(b"n NOOP\r\n")
    session.read_line_with(b"n OK")
    assert "throttling" not in lab.log()
    assert generation(lab) == 2


def test_a_certificate_without_its_key_changes_nothing(new_lab):
    """The key comes late: until then the pair before serves, also after max_idle, and then the
    new one does without a reload by hand."""
    lab = new_lab(main_cf="file_check_interval = 1s\nmax_idle = 1s\n")
    old = certificates(lab)
    make_certificate(lab)
    put_in_place(lab, "cert")
    line = lab.wait_for_log("reload refused", "tls/key.pem")
    assert "mismatch" in line and f"service 127.0.0.1:{lab.IMAPS_PORT}" in line
    code, text = waypost(lab, "reload")
    assert code == 1 and "tls/key.pem" in text and "mismatch" in text
    time.sleep(4)
    assert certificates(lab) == old
    assert "throttling" not in lab.log()
    assert generation(lab) == 1
    put_in_place(lab, "key")
    for port in tls_ports(lab):
        wait_for(lambda port=port: certificate_of(lab, *port) not in {None} | old)
    assert "throttling" not in lab.log()


def chain_files(lab, *files):
    """Each file is a list of the objects in it."""
    for name, objects in files:
        with open(os.path.join(lab.directory, "tls", name), "wb") as file:
            file.write(b"".join(objects))
    paths = ", ".join(os.path.join(lab.directory, "tls", name) for name, objects in files)
    lab.tool("postconf", "-e", f"smtpd_tls_chain_files = {paths}")


def test_chain_files_are_one_sequence_of_keys_and_certificates(new_lab):
    """postconf(5): a certificate for each kind of key, in one or several files, the key first."""
    lab = new_lab()
    pairs = {}
    for kind, key in (("rsa", ("rsa:2048",)), ("ec", ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"))):
        make_certificate(lab, key)
        pairs[kind] = [read(os.path.join(lab.directory, "tls", name + ".new"))
                       for name in ("key", "cert")]
    issuer = read(os.path.join(lab.directory, "tls/ca.pem"))
    signatures = {"rsa": "rsa_pss_rsae_sha256:RSA+SHA256", "ec": "ECDSA+SHA256"}
    layouts = ([("all.pem", pairs["rsa"] + [issuer] + pairs["ec"])],
               [("rsa.key", pairs["rsa"][:1]), ("rsa.cert", pairs["rsa"][1:]), ("ec.pem", pairs["ec"])])
    for number, layout in enumerate(layouts):
        chain_files(lab, *layout)
        code, text = waypost(lab, "reload")
        assert code == 0, text
        wait_for(lambda number=number: generation(lab) == number + 2)
        wait_for(lambda: retired(lab) == 0)
        for port in ((lab.SMTP_PORT, "smtp"), (lab.IMAPS_PORT, "")):
            for kind, names in signatures.items():
                for version in ("-tls1_2", "-tls1_3"):
                    assert certificate_of(lab, *port, version, "-sigalgs", names) == \
                        ssl.PEM_cert_to_DER_cert(pairs[kind][1].decode()), (port, kind, version)
    # The certificate first, which Postfix does not take, either: the file is named.
    chain_files(lab, ("wrong.pem", pairs["rsa"][::-1]))
    code, text = waypost(lab, "reload")
    assert code == 1 and "tls/wrong.pem: a certificate with no private key before it" in text


def test_a_trial_that_hangs_names_service_and_file(new_lab):
    """Each service has its own time; the others are tried, and what runs goes on."""
    lab = new_lab()
    fifo = os.path.join(lab.directory, "fifo")
    os.mkfifo(fifo)
    # On one service only, the others have their time for nothing.
    with open(os.path.join(lab.CONFIG_DIR, "master.cf"), "a", encoding="ascii") as file:
        file.write(f"slow unix - - n - - smtp\n  -o smtp_tls_security_level=may "
                   f"-o smtp_tls_chain_files={fifo}\n"
                   "wrong unix - - n - - smtp\n  -o smtp_tls_security_level=nonsense\n")
    start = time.monotonic()
    code, text = waypost(lab, "reload")
    assert 10 <= time.monotonic() - start < 40
    said = f"smtp is not done after 10 s, at {fifo} (service slow)"
    assert code == 1 and said in text and "(service wrong)" in text, text
    assert said in lab.wait_for_log("reload refused", "not done")
    assert generation(lab) == 1


@pytest.mark.skipif("LONG" not in os.environ, reason="takes a minute: make torture")
def test_a_trial_in_which_all_hang_is_bounded(new_lab):
    """The first ones are named within the time that there is."""
    lab = new_lab()
    fifo = os.path.join(lab.directory, "fifo")
    os.mkfifo(fifo)
    lab.tool("postconf", "-e", f"virtual_alias_maps = texthash:{fifo}")
    code, text = waypost(lab, "reload")
    assert code == 1 and "timed out" not in text.lower(), text
    assert re.search(rf"smtpd is not done after 10 s, at {fifo} \(service 127\.0\.0\.1:", text), text
    assert "not tried: the time for all services was up (service " in text, text
    assert generation(lab) == 1


def test_tls_fails_soon_while_tlsproxy_cannot_start(new_lab):
    """Nobody waits for its own time-out; plain sessions go on, and the certificate that is put
    right serves without a start by hand."""
    lab = new_lab(main_cf="service_throttle_time = 4s\n")
    path = os.path.join(lab.directory, "tls/cert.pem")
    good = read(path)
    os.truncate(path, 100)
    for pid in pids(lab, "tlsproxy"):
        os.kill(pid, signal.SIGKILL)
    lab.wait_for_log("tlsproxy", "throttling")
    for port in (lab.IMAPS_PORT, lab.POP3S_PORT):
        # Again and again, as a start is tried in between.
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=4) as client:
                try:
                    assert client.recv(1) == b""
                except ConnectionResetError:
                    pass
    for port, command, answer, after in (
            (lab.IMAP_PORT, b"a STARTTLS", b"a NO [UNAVAILABLE] TLS", b"b NOOP"),
            (lab.POP3_PORT, b"STLS", b"-ERR [SYS/TEMP] TLS", b"CAPA")):
        with socket.create_connection(("127.0.0.1", port), timeout=12) as client:
            lines = client.makefile("rb")
            lines.readline()
            client.sendall(command + b"\r\n")
            assert lines.readline().startswith(answer)
            client.sendall(after + b"\r\n")
            assert lines.readline().startswith((b"b OK", b"+OK"))
    with open(path, "wb") as file:
        file.write(good)
    for port in tls_ports(lab):
        wait_for(lambda port=port: certificate_of(lab, *port) is not None)


def test_an_old_session_starts_tls_after_the_certificate_has_changed(new_lab):
    """With the certificate of its time: whoever holds that key stays for it."""
    lab = new_lab(main_cf="file_check_interval = 0\n")
    sessions = []
    seen = []
    for _ in range(3):
        seen.append(certificate_of(lab, lab.SMTP_PORT, "smtp"))
        client = smtplib.SMTP("127.0.0.1", lab.SMTP_PORT, timeout=30)
        client.ehlo()
        sessions.append((client, seen[-1]))
        make_certificate(lab)
        for name in ("cert", "key"):
            put_in_place(lab, name)
        assert waypost(lab, "reload")[0] == 0
        wait_for(lambda: certificate_of(lab, lab.SMTP_PORT, "smtp") not in [None] + seen)
    assert len(set(seen)) == 3
    for client, certificate in sessions:
        client.starttls(context=lab.tls())
        assert client.sock.getpeercert(binary_form=True) == certificate
        client.sendmail("a@client.test", [lab.address("u1")], "Subject: late\r\n\r\nx\r\n")
    wait_for(lambda: retired(lab) == 6)  # an smtpd and a tlsproxy of each generation
    for client, _ in sessions:
        client.quit()
    wait_for(lambda: retired(lab) == 0)
    assert "did not sign" not in lab.log() and "signature was refused" not in lab.log()


@pytest.mark.parametrize("name,spoil,reason", [
    ("key", lambda path: os.rename(path, path + ".away"), "tls/key.pem: .*No such file"),
    ("key", lambda path: open(path, "w", encoding="ascii").close(), "private key from .*tls/key.pem"),
    ("cert", lambda path: os.rename(path, path + ".away"), "tls/cert.pem: .*No such file"),
    ("cert", lambda path: os.truncate(path, 100), "certificates from .*tls/cert.pem"),
], ids=["key is gone", "key is empty", "certificate is gone", "certificate is cut off"])
def test_a_reload_with_broken_tls_files_is_refused(new_lab, name, spoil, reason):
    lab = new_lab(main_cf="file_check_interval = 0\n")
    path = os.path.join(lab.directory, "tls", name + ".pem")
    old = certificates(lab)
    shutil.copy2(path, path + ".good")
    spoil(path)
    assert waypost(lab, "check")[0] == 1
    assert re.search(reason, waypost(lab, "check")[1])
    code, text = waypost(lab, "reload")
    assert code == 1 and re.search(reason, text)
    wait_for(lambda: re.search("reload refused.*" + reason, lab.log()))
    assert certificates(lab) == old
    os.rename(path + ".good", path)
    assert waypost(lab, "check")[0] == 0
    assert waypost(lab, "reload")[0] == 0
    assert certificates(lab) == old
    assert "throttling" not in lab.log()


def test_without_a_certificate_plain_ports_work(new_lab):
    """And who cannot serve TLS is named, with what to set."""
    lab = new_lab(main_cf="smtpd_tls_cert_file =\nsmtpd_tls_key_file =\n")
    code, text = waypost(lab, "check")
    assert code == 0
    def names(*ports):
        return ", ".join(rf"127\.0\.0\.1:{port}" for port in ports)

    line = (rf"no certificate .*set .*smtpd_tls_cert_file .*: {names(lab.SMTP_PORT, lab.IMAP_PORT, lab.POP3_PORT)} "
            rf"\(STARTTLS is not offered\); {names(lab.SUBMISSION_PORT)} \(clients cannot send mail, .*\); "
            rf"{names(lab.SMTPS_PORT, lab.IMAPS_PORT, lab.POP3S_PORT)} \(connections are closed at once\)")
    assert len(re.findall(line, text)) == 1 and text.count("TLS:") == 1
    wait_for(lambda: re.search(line, lab.log()))
    with lab.smtp() as client:
        assert not client.has_extn("starttls")
        client.sendmail("a@client.test", [lab.address("u1")], "Subject: plain\r\n\r\nx\r\n")
    with smtplib.SMTP("127.0.0.1", lab.SUBMISSION_PORT, timeout=30) as client:
        assert client.docmd("STARTTLS")[0] == 454
        assert client.mail("a@client.test")[0] == 530
    for port in (lab.SMTPS_PORT, lab.IMAPS_PORT, lab.POP3S_PORT):
        with pytest.raises(ConnectionError):
            TlsClient(connect(port), lab.tls()).handshake()
    client = connect(lab.IMAP_PORT)
    read_line(client)
    client.sendall(login_line(lab))
    assert b"a OK" in read_line(client)
    assert waypost(lab, "reload")[0] == 0
    assert "throttling" not in lab.log() and "not everything can start" not in lab.log()


# --- hostile peers inside ---


def test_a_session_id_is_good_for_one_time(lab):
    auth = Ipc(lab, "auth", "auth")
    begin = [("service", b"imap"), ("mechanism", b"PLAIN"), ("client", b"192.0.2.1"), ("local", b"192.0.2.2"),
             ("secured", b"yes"), ("initial", b"\0u1@example.test\0pass")]
    _, answer = auth.call("begin", begin)
    assert answer["outcome"] == b"done" and "account" not in answer
    redeem = [("session", answer["session"]), ("service", b"imap")]
    _, first = auth.call("redeem", redeem)
    assert first["outcome"] == b"done" and first["account"] == b"u1"
    assert auth.call("redeem", redeem)[1]["outcome"] == b"failed"
    # An id for another service is gone after the attempt, too.
    _, answer = auth.call("begin", begin)
    assert auth.call("redeem", [("session", answer["session"]), ("service", b"pop3")])[1]["outcome"] == b"failed"
    assert auth.call("redeem", [("session", answer["session"]), ("service", b"imap")])[1]["outcome"] == b"failed"
    for bad in (b"", b"0" * 32, b"x" * 32, b"0" * 5000):
        assert auth.call("redeem", [("session", bad), ("service", b"imap")])[1]["outcome"] == b"failed"


def test_failures_take_the_same_time_for_everybody(lab):
    auth = Ipc(lab, "auth", "auth")
    times = {b"u1": [], b"nobody": []}
    for _ in range(4):
        for user, found in times.items():
            start = time.monotonic()
            auth.call("begin", [("service", b"imap"), ("mechanism", b"PLAIN"), ("client", b"192.0.2.1"),
                                ("local", b""), ("secured", b"yes"),
                                ("initial", b"\0%s@example.test\0wrong" % user)])
            found.append(time.monotonic() - start)
        if abs(min(times[b"u1"]) - min(times[b"nobody"])) < 0.05:
            break
    # The quickest ones: others are slow because this machine is busy.
    assert abs(min(times[b"u1"]) - min(times[b"nobody"])) < 0.05, times


SESSION = [("tag", b"a"), ("unread", b""), ("peer", b"192.0.2.1"), ("local", b""), ("tls", b""), ("secured", b"no")]


@pytest.mark.parametrize("name", ["imap", "pop3"])
def test_a_login_process_that_talks_nonsense(lab, name):
    (imaps_session if name == "imap" else pop3s_session)(lab).sock.close()
    ends = socket.socketpair()
    with_fd = [("client", None)]
    ipc = Ipc(lab, name, "session")
    _, answer = ipc.call("session", with_fd + [("session", b"0" * 32)] + SESSION, [ends[1].fileno()])
    assert answer["ok"] == b"no"
    ends[1].close()
    assert ends[0].recv(100) == b"", "the client's descriptor was kept"
    assert ipc.call("session", [("session", b"0" * 32)] + SESSION)[1]["ok"] == b"no"
    assert ipc.call("nonsense", [])[1]["ok"] == b"no"
    # What is no message costs the connection, and nothing else.
    for packet in (b"", b"\n", b"session 5 0 0\nabc", encode("session", with_fd, 3), os.urandom(3000), b"a" * 100000):
        ipc = Ipc(lab, name, "session")
        if packet:
            ipc.send(packet)
            assert ipc.receive() == b""
    ipc = Ipc(lab, name)
    ipc.send(encode("hello", [("protocol", b"queue"), ("version", b"1")]))
    assert ipc.receive() == b""
    (imaps_session if name == "imap" else pop3s_session)(lab).sock.close()


def test_only_handshakes_are_signed(lab):
    smtp_starttls(lab).handshake()
    der = subprocess.run(["openssl", "pkey", "-in", os.path.join(lab.directory, "tls/key.pem"), "-pubout",
                          "-outform", "DER"], capture_output=True, check=True).stdout
    key = hashlib.sha256(der).digest()
    thirteen = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + bytes(32)
    ipc = Ipc(lab, "tlsproxy", "tls")

    def sign(data, fingerprint=key, scheme=b"ecdsa", digest=b"SHA256"):
        return ipc.call("sign", [("key", fingerprint), ("scheme", scheme), ("digest", digest), ("data", data)])[1]

    assert "signature" in sign(thirteen)
    for data in (b"", b"a certificate request", thirteen.replace(b"server", b"client"), thirteen[:-1],
                 thirteen + b"\0", b" " * 64, bytes(68), bytes(69), thirteen[1:]):
        assert "signature" not in sign(data), data
    assert "signature" not in sign(thirteen, fingerprint=bytes(32))
    assert "signature" not in sign(thirteen, scheme=b"rsa-pss")
    for digest in (b"", b"nonsense", b"x" * 200, b"MD5"):
        assert "signature" not in sign(thirteen, digest=digest), digest


@pytest.mark.skipif(not IS_ROOT, reason="without root all programs are one user")
@pytest.mark.parametrize("user,sockets", [
    ("waypost-smtpd", "local store smtp relay bounce imap pop3 imap-login pop3-login auth-ids"),
    ("waypost-login", "local store smtp bounce qmgr broker imap-login"),
    ("waypost-tls", "local store qmgr auth imap pop3 tlsproxy broker anvil"),
    ("nobody", "qmgr local auth imap tlsproxy")])
def test_services_do_not_answer_strangers(lab, user, sockets):
    code = """
import os, socket, sys
os.setgroups([int(sys.argv[2])]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
for name in sys.argv[3:]:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    try:
        s.connect(name)
        s.send(b'hello 28 0 0\\nprotocol=3:tls\\nversion=1:1\\n')
        answer = s.recv(1000)
    except (PermissionError, ConnectionError):
        answer = b''
    print(name, len(answer))
"""
    entry = pwd.getpwnam(user)
    group = pwd.getpwnam("waypost").pw_gid if user.startswith("waypost") else entry.pw_gid
    out = subprocess.run(["/usr/bin/python3", "-c", code, str(entry.pw_uid), str(group), *sockets.split()],
                         cwd=os.path.join(lab.QUEUE_DIR, "run"), capture_output=True, text=True, check=True,
                         timeout=120).stdout
    assert out.split() == [word for name in sockets.split() for word in (name, "0")]
    if user == "waypost-smtpd":
        lab.wait_for_log("local: process", "has no business here")


# --- the walls ---

# program: (user as root, is chrooted as root)
WALLS = {
    "smtpd": ("waypost-smtpd", True), "imap-login": ("waypost-login", True),
    "pop3-login": ("waypost-login", True), "tlsproxy": ("waypost-tls", True),
    "auth": ("waypost-auth", True), "anvil": ("waypost-smtpd", True), "smtp": ("waypost-smtp", True),
    "bounce": ("waypost-queue", True), "qmgr": ("waypost-queue", False), "pickup": ("waypost-queue", False),
    "imapd": ("waypost-store", False), "pop3d": ("waypost-store", False), "store": ("waypost-store", False),
    "broker": ("waypost-broker", False), "postlogd": ("waypost-log", False),
}


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        return dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)


def regular_files(pid, lab):
    """Paths of what a process has open in the file system."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            path = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if path.startswith("/") and not path.startswith("/dev/null"):
            found.add(path)
    return {path for path in found if not path.endswith("/pid/stderr")}


def test_every_service_is_behind_its_walls(lab):
    with lab.submission() as client:
        client.sendmail("u1@example.test", ["u2@example.test", "postmaster@mx.example.test"],
                        "Subject: walls\r\n\r\nx\r\n")
    imaps_session(lab).sock.close()
    pop3s_session(lab).sock.close()
    lab.wait_for_messages(1, "u2")
    run = os.path.join(lab.QUEUE_DIR, "run")
    seen = set()
    for pid, (program, _) in processes(lab).items():
        if program not in WALLS:
            continue
        seen.add(program)
        user, is_chrooted = WALLS[program]
        status, where = status_of(pid), f"{program}[{pid}]"
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", where
        for mask in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(status[mask], 16) == 0, (where, mask)
        wanted = pwd.getpwnam(user).pw_uid if IS_ROOT else os.getuid()
        assert set(status["Uid"].split()) == {str(wanted)}, where
        if IS_ROOT:  # nobody else may look: the programs are not dumpable
            assert os.readlink(f"/proc/{pid}/cwd") == run, where
            assert status["Groups"].split() == [str(pwd.getpwnam("waypost").pw_gid)], where
            assert os.readlink(f"/proc/{pid}/root") == (run if is_chrooted else "/"), where
            if is_chrooted and program != "auth":  # auth holds the directory of its users
                assert not regular_files(pid, lab), where
    assert {"smtpd", "imap-login", "tlsproxy", "auth", "qmgr", "imapd", "pop3d", "store", "postlogd"} <= seen


def test_directories_are_closed(lab):
    def mode(*parts):
        return os.stat(os.path.join(*parts)).st_mode & 0o7777

    assert mode(lab.QUEUE_DIR, "run") == 0o711
    assert mode(lab.QUEUE_DIR, "queue") & 0o077 == 0
    assert mode(lab.QUEUE_DIR, "queue", "journal") & 0o077 == 0
    assert mode(lab.QUEUE_DIR, "pid") & 0o022 == 0
    assert mode(lab.STORE_DIR) & 0o077 == 0
    public = {"pickup", "postlog", "showq", "qmgr"}
    for name in os.listdir(os.path.join(lab.QUEUE_DIR, "run")):
        if name not in public:
            assert mode(lab.QUEUE_DIR, "run", name) & 0o007 == 0, name
    for folder, _, files in os.walk(lab.STORE_DIR):
        for name in files:
            if folder != lab.STORE_DIR:  # the boot number there is no secret
                assert mode(folder, name) & 0o077 == 0, name


# --- what an idle client costs ---


def kernel_kib():
    """Memory of the kernel's sockets and slabs (whole machine)."""
    with open("/proc/meminfo", encoding="ascii") as text:
        values = {line.split(":")[0]: int(line.split()[1]) for line in text}
    return values["Slab"] + values.get("KernelStack", 0) + values["PageTables"]


@pytest.mark.parametrize("service,program,reader", [("imap", "imapd", "imap"), ("pop3", "pop3d", "pop3")])
def test_a_full_process_is_not_the_end(new_lab, service, program, reader):
    """A process that has its client_limit refuses nobody: the next one takes the client."""
    lab = new_lab(main_cf=f"{service}_client_limit = 2\n")
    clients = [getattr(lab, reader)(f"u{i}") for i in range(1, 8)]
    assert len(pids(lab, program)) >= 4
    for client in clients:
        client.noop()
    assert "Maximum number of connections" not in lab.log()


def test_many_full_processes(new_lab):
    """With a process for each client there is no other limit than the service's."""
    lab = new_lab(main_cf="imap_client_limit = 1\nmail_max_userip_connections = 0\n")
    count = 70
    clients = [lab.imap(f"u{i % 20 + 1}") for i in range(count)]
    assert len(pids(lab, "imapd")) >= count
    for client in clients:
        client.noop()


def test_sessions_of_a_user_are_counted_over_all_processes(new_lab):
    lab = new_lab(main_cf="imap_client_limit = 2\nmail_max_userip_connections = 5\n")
    clients = [lab.imap("u1") for _ in range(5)]
    assert len(pids(lab, "imapd")) >= 3
    with pytest.raises(imaplib.IMAP4.error, match="LIMIT.*mail_max_userip_connections"):
        lab.imap("u1")
    lab.imap("u2")
    clients.pop().logout()
    wait_for(lambda: can_log_in(lab, "u1"))


def can_log_in(lab, user):
    try:
        return lab.imap(user)
    except imaplib.IMAP4.error:
        return None


@looks_inside
@pytest.mark.parametrize("kind,limit_kib", [("imap", 8), ("imaps", 32), ("smtp", 8)])
def test_memory_of_idle_clients(lab, kind, limit_kib):
    count = 500
    port = {"imap": lab.IMAP_PORT, "imaps": lab.IMAPS_PORT, "smtp": lab.SMTP_PORT}[kind]
    programs = {"imap": ("imap-login",), "imaps": ("imap-login", "tlsproxy"), "smtp": ("smtpd", "anvil")}[kind]

    def used():
        return sum(memory_kib(pid) for program in programs for pid in pids(lab, program))

    def client():
        sock = connect(port)
        if kind == "imaps":
            tls = TlsClient(sock, context).handshake()
            tls.read_until(b"ready.\r\n")
            return tls
        read_line(sock)
        return sock

    context = lab.tls()
    warm = [client() for _ in range(10)]
    time.sleep(3)
    before, kernel_before = used(), kernel_kib()
    clients = [client() for _ in range(count)]
    time.sleep(4)
    each, kernel = (used() - before) / count, (kernel_kib() - kernel_before) / count
    print(f"\n{kind}: {each:.1f} KiB a client in {', '.join(programs)}; "
          f"about {kernel:.1f} KiB in the kernel (both ends)")
    for one in warm + clients:
        reset(one.sock if kind == "imaps" else one)
    assert each < limit_kib


@looks_inside
def test_memory_of_idle_sessions(new_lab):
    """Logged in and in IDLE, after what the logins used has gone back to the kernel."""
    count = 600
    lab = new_lab(main_cf="mail_max_userip_connections = 0\n")

    def used():
        return sum(memory_kib(pid) for pid in pids(lab, "imapd"))

    def client(i):
        sock = connect(lab.IMAP_PORT)
        read_line(sock)
        sock.sendall(b"a LOGIN u%d@example.test pass\r\nb SELECT INBOX\r\nc IDLE\r\n" % (i % 20 + 1))
        while not read_line(sock).startswith(b"+ "):
            pass
        return sock

    warm = [client(i) for i in range(20)]
    time.sleep(3)
    before = used()
    clients = [client(i) for i in range(count)]
    time.sleep(8)
    each = (used() - before) / count
    print(f"\n{each:.1f} KiB a session in imapd")
    for sock in warm + clients:
        reset(sock)
    assert each < 12
