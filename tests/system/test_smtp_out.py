"""smtp(8) as servers meet it: exchangers in their order, refusals, TLS, connections kept."""
import re
import ssl

import pytest

from sink import Sink, free_port
from suite import message, wait_for

ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
PORT = free_port(*ADDRESSES)
MAIN_CF = f"""
smtp_tcp_port = {PORT}
smtp_tls_loglevel = 1
minimal_backoff_time = 2s
queue_run_delay = 1s
"""
ZONE = """
one.test MX 10 a.test
two.test MX 10 a.test
two.test MX 20 b.test
addressed.test A 127.0.0.1
null.test MX 0 .
broken.test FAIL servfail
alias.test CNAME one.test
homeless.test MX 10 nowhere.test
both.test MX 10 both-host.test
both-host.test A 127.0.0.2
both-host.test A 127.0.0.3
a.test A 127.0.0.1
b.test A 127.0.0.2
"""


@pytest.fixture(scope="module", autouse=True)
def zone(lab):
    with open(lab.ZONE, "a", encoding="utf-8") as out:
        out.write(ZONE)


def send(lab, *recipients, body="A line.\r\n", sender="u1@example.test"):
    """Submit; the queue id."""
    with lab.smtp() as client:
        client.ehlo()
        assert client.mail(sender)[0] == 250
        for recipient in recipients:
            assert client.rcpt(recipient)[0] == 250
        code, text = client.data(message(subject="out", body=body, sender=sender))
        assert code == 250
    return re.search(r"queued as (\S+)", text.decode()).group(1)


def result(lab, queue_id, recipient, status):
    return lab.wait_for_log("postfix/smtp[", f"{queue_id}: to=<{recipient}>", f"status={status}")


def test_a_message_arrives_as_it_was_sent(lab):
    body = "first\r\n.\r\n..two\r\n" + "w" * 900 + "\r\nend\r\n"
    with Sink(port=PORT) as sink:
        queue_id = send(lab, "x@one.test", body=body)
        line = result(lab, queue_id, "x@one.test", "sent")
    assert f"relay=a.test[127.0.0.1]:{PORT}, delay=" in line
    assert line.endswith("dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as S0)")
    sender, recipients, octets = sink.messages[0]
    assert sender.startswith("MAIL FROM:<u1@example.test>") and recipients == ["RCPT TO:<x@one.test>"]
    assert octets.endswith(body.encode()) and octets.startswith(b"Received: ")


def test_long_lines_are_folded_and_8_bit_is_declared(lab):
    with Sink(port=PORT) as sink:
        queue_id = send(lab, "x@one.test", body="y" * 1500 + "\r\nk\u00f6ln\r\n")
        result(lab, queue_id, "x@one.test", "sent")
    assert sink.messages[0][0].endswith(" BODY=8BITMIME")
    assert b"\r\n" + b"y" * 998 + b"\r\n " + b"y" * 502 + b"\r\nk\xc3\xb6ln\r\n" in sink.messages[0][2]


def test_the_better_exchanger_comes_first(lab):
    with Sink("127.0.0.1", PORT) as best, Sink("127.0.0.2", PORT) as other:
        queue_id = send(lab, "x@two.test")
        result(lab, queue_id, "x@two.test", "sent")
    assert (len(best.messages), other.sessions) == (1, 0)


def test_the_next_exchanger_when_the_first_refuses_connections(lab):
    with Sink("127.0.0.2", PORT) as other:
        queue_id = send(lab, "x@two.test")
        line = result(lab, queue_id, "x@two.test", "sent")
    assert "relay=b.test[127.0.0.2]" in line and len(other.messages) == 1
    lab.wait_for_log(f"connect to a.test[127.0.0.1]:{PORT}: Connection refused")


@pytest.mark.parametrize("replies", [{"connect": "421 4.3.2 busy"}, {"EHLO": None},
                                     {"MAIL": "451 4.3.0 no"}, {"RCPT": "450 4.2.0 no"},
                                     {".": "451 4.3.0 no"}, {".": None}])
def test_the_next_exchanger_when_the_first_is_in_trouble(lab, replies):
    with Sink("127.0.0.1", PORT, replies) as best, Sink("127.0.0.2", PORT) as other:
        queue_id = send(lab, "x@two.test")
        result(lab, queue_id, "x@two.test", "sent")
    assert best.sessions == 1 and len(other.messages) == 1


def test_a_refusal_for_good_is_not_taken_elsewhere(lab):
    with Sink("127.0.0.1", PORT, {"RCPT": lambda line: "550 5.1.1 no such user" if "bad@" in line
                                  else "250 2.1.5 Ok"}) as best, Sink("127.0.0.2", PORT) as other:
        queue_id = send(lab, "bad@two.test", "good@two.test")
        line = result(lab, queue_id, "bad@two.test", "bounced")
        result(lab, queue_id, "good@two.test", "sent")
        assert any(b"550 5.1.1 no such user" in text for text in lab.wait_for_messages(1))
    assert other.sessions == 0 and best.messages[0][1] == ["RCPT TO:<good@two.test>"]
    assert "dsn=5.1.1, status=bounced (host a.test[127.0.0.1] said: 550 5.1.1 no such user " \
           "(in reply to RCPT TO command))" in line


def test_both_addresses_of_a_host(lab):
    with Sink("127.0.0.3", PORT) as sink:
        for _ in range(4):
            queue_id = send(lab, "x@both.test")
            result(lab, queue_id, "x@both.test", "sent")
    assert len(sink.messages) == 4


def test_the_address_when_there_is_no_exchanger(lab):
    with Sink("127.0.0.1", PORT):
        queue_id = send(lab, "x@addressed.test", "x@alias.test")
        assert "relay=addressed.test[127.0.0.1]" in result(lab, queue_id, "x@addressed.test", "sent")
        assert "relay=a.test[127.0.0.1]" in result(lab, queue_id, "x@alias.test", "sent")


@pytest.mark.parametrize("domain,status,text", [
    ("null.test", "bounced", "dsn=5.1.10, status=bounced (Domain null.test does not accept mail "
                             "(nullMX))"),
    ("nowhere.test", "bounced", "dsn=5.4.4, status=bounced (Host or domain name not found. Name service "
                                "error for name=nowhere.test type=MX: Host not found)"),
    ("homeless.test", "bounced", "Name service error for name=nowhere.test type=A: Host not found)"),
    ("broken.test", "deferred", "dsn=4.4.3, status=deferred (Host or domain name not found. Name "
                                "service error for name=broken.test type=MX: Host not found, try again)"),
])
def test_names_that_lead_nowhere(lab, domain, status, text):
    queue_id = send(lab, f"x@{domain}", sender="")
    line = result(lab, queue_id, f"x@{domain}", status)
    assert "relay=none" in line and text in line


def test_a_deferred_message_is_tried_again(lab):
    replies = {"RCPT": "450 4.2.0 later"}
    with Sink("127.0.0.1", PORT, replies) as sink:
        queue_id = send(lab, "x@one.test")
        result(lab, queue_id, "x@one.test", "deferred")
        replies.clear()
        lab.tool("postqueue", "-i", queue_id)
        result(lab, queue_id, "x@one.test", "sent")
    assert len(sink.messages) == 1


def test_connections_are_used_again(lab):
    with Sink(port=PORT) as sink:
        ids = [send(lab, "x@one.test") for _ in range(10)]
        for queue_id in ids:
            result(lab, queue_id, "x@one.test", "sent")
        assert len(sink.messages) == 10 and sink.sessions < 10
        lab.wait_for_log("conn_use=2")
        wait_for(lambda: sink.lines[-1] == "QUIT", 5)


def test_many_recipients_and_a_large_message(lab):
    body = ("z" * 70 + "\r\n") * 20000
    recipients = [f"r{i}@one.test" for i in range(120)]
    with Sink(port=PORT) as sink:
        queue_id = send(lab, *recipients, body=body)
        for recipient in recipients:
            result(lab, queue_id, recipient, "sent")
    assert sorted(line for _, lines, _ in sink.messages for line in lines) == \
        sorted(f"RCPT TO:<{recipient}>" for recipient in recipients)
    assert all(octets.endswith(body.encode()) for _, _, octets in sink.messages)


def server_context(lab):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    directory = lab.CA.rsplit("/", 1)[0]
    context.load_cert_chain(f"{directory}/cert.pem", f"{directory}/key.pem")
    return context


def test_tls_where_it_is_offered(lab):
    with Sink(port=PORT, tls=server_context(lab)) as sink:
        queue_id = send(lab, "x@one.test")
        result(lab, queue_id, "x@one.test", "sent")
        lab.wait_for_log(f"Trusted TLS connection established to a.test[127.0.0.1]:{PORT}: TLSv1.3 "
                         "with cipher ")
    assert sink.lines[1] == "STARTTLS" and sink.lines[2].startswith("EHLO ")


def test_a_failed_handshake_defers_at_first(lab):
    context = server_context(lab)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    with Sink(port=PORT, tls=context) as sink:
        queue_id = send(lab, "x@one.test")
        line = result(lab, queue_id, "x@one.test", "deferred")
        assert "dsn=4.7.5, status=deferred (Cannot start TLS: handshake failure)" in line
        # A message that has waited for minimal_backoff_time goes without.
        wait_for(lambda: lab.tool("postqueue", "-f") and sink.messages, 15)
        result(lab, queue_id, "x@one.test", "sent")
