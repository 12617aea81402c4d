"""The queue end to end: fairness, retries, notifications, and tools that answer as Postfix's."""
import email
import email.policy
import json
import os
import re
import shutil
import signal
import smtplib
import subprocess
import threading
import time

import pytest

import suite
from sink import Sink
from smtp_dialogues import peer
from test_crash_kill import kill_everything, processes

SHORT_TIMES = """
minimal_backoff_time = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
smtp_tls_security_level = none
"""


def transports(**ports):
    return "transport_maps = inline:{" + ", ".join(
        f"{name}.test=smtp:[127.0.0.1]:{port}" for name, port in ports.items()) + "}\n"


def closed_port():
    return peer.free_ports(1)[0]


def reports(lab, user):
    """The delivery reports in a mailbox, parsed."""
    client = lab.imap(user)
    count = int(client.select("INBOX", readonly=True)[1][0])
    data = client.fetch("1:*", "(BODY.PEEK[])")[1] if count else []
    client.logout()
    found = [email.message_from_bytes(item[1], policy=email.policy.default)
             for item in data if isinstance(item, tuple)]
    return [message for message in found if message.get_content_type() == "multipart/report"]


def wait_for_report(lab, user):
    return suite.wait_for(lambda: reports(lab, user), 40, lambda: lab.log()[-4000:])[0]


# --- space ---


def test_a_nearly_full_disk_stops_clients_only(new_lab):
    """queue_minfree: smtpd takes nothing; what the suite sends itself, and sendmail, go on."""
    lab = new_lab(main_cf=SHORT_TIMES + "alias_maps = inline:{list=u2@example.test}\n"
                  "transport_maps = inline:{{no.test=error:5.1.1 no such place}}\n", users=2)

    def send(recipient):
        subprocess.run([os.path.join(lab.BUILD_DIR, "bin/sendmail"), "-C", lab.CONFIG_DIR, "-f", "u1@example.test",
                        recipient], input=b"Subject: local\n\nx\n", timeout=30, check=True)

    def is_refused():
        with lab.smtp() as client:
            return client.docmd("MAIL FROM:<a@b.test>")[0] == 452

    with lab.smtp() as client:
        assert client.docmd("MAIL FROM:<a@b.test>")[0] == 250
        code, text = lab.tool("postconf", "-e", f"queue_minfree={1 << 60}")
        assert code == 0, text
        assert lab.tool("waypost", "reload")[0] == 0
    suite.wait_for(is_refused)
    lab.wait_for_log("warning: not enough free space in mail queue: ")
    lab.wait_for_log("NOQUEUE: reject: MAIL from localhost[127.0.0.1]: 452 4.3.1 Insufficient system storage; "
                     "from=<a@b.test>")
    send("x@no.test")
    wait_for_report(lab, "u1")
    send("list@mx.example.test")
    lab.wait_for_messages(1, "u2")


# --- fairness ---

FLOOD = int(os.environ.get("FLOOD", "2000"))


def flood(lab, sender, count):
    with lab.smtp() as client:
        for number in range(count):
            client.sendmail(sender, [f"n{number}@slow.test"], b"Subject: slow\r\n\r\nx\r\n")


def test_a_slow_next_hop_delays_nobody_else(new_lab):
    def slowly(_):
        time.sleep(1)
        return "250 taken"

    with Sink(replies={".": slowly}) as slow, Sink() as quick:
        lab = new_lab(main_cf=SHORT_TIMES + transports(slow=slow.port, quick=quick.port))
        threads = [threading.Thread(target=flood, args=(lab, f"a{n}@client.test", FLOOD // 4)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(slow.messages) < FLOOD // 2, "the next hop was not slow"
        delays = []
        with lab.smtp() as client:
            for number in range(12):
                before = len(quick.messages)
                start = time.monotonic()
                # The sender of the backlog as well as another one.
                client.sendmail(("a0@client.test", "b@client.test")[number % 2], [f"n{number}@quick.test"],
                                b"Subject: quick\r\n\r\nx\r\n")
                suite.wait_for(lambda: len(quick.messages) > before)
                delays.append(time.monotonic() - start)
        print(f"delays: {min(delays):.3f} to {max(delays):.3f} s beside {FLOOD - len(slow.messages)} waiting")
        # Two of twelve may be this machine's, which has other things to do.
        assert sorted(delays)[-3] < 2 and max(delays) < 10, delays


# --- failures and their notifications ---


def test_a_refused_message_is_reported(new_lab):
    with Sink(replies={"RCPT": "550 5.1.1 no such user"}) as refusing:
        lab = new_lab(main_cf=SHORT_TIMES + transports(no=refusing.port))
        with lab.smtp() as client:
            client.sendmail("u1@example.test", ["nobody@no.test"],
                            b"Subject: lost\r\nMessage-ID: <lost@client.test>\r\n\r\nthe text\r\n")
        report = wait_for_report(lab, "u1")
    assert report["Return-Path"] is None or report["Return-Path"] == "<>"
    assert report["To"] == "u1@example.test"
    assert "MAILER-DAEMON" in report["From"]
    assert report["Subject"] == "Undelivered Mail Returned to Sender"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report.get_param("report-type") == "delivery-status"
    text, status, original = report.iter_parts()
    assert "nobody@no.test" in text.get_content() and "no such user" in text.get_content()
    assert status.get_content_type() == "message/delivery-status"
    per_message, per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mx.example.test"
    assert per_recipient["Final-Recipient"] == "rfc822; nobody@no.test"
    assert (per_recipient["Action"], per_recipient["Status"]) == ("failed", "5.1.1")
    assert per_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert original.get_content_type() == "message/rfc822"
    assert original.get_payload(0)["Message-ID"] == "<lost@client.test>"


def test_many_refusals_with_many_words(new_lab):
    words = "550 5.1.1 " + "This account is not here and has never been. " * 20
    with Sink(replies={"RCPT": words}) as refusing:
        lab = new_lab(main_cf=SHORT_TIMES + transports(no=refusing.port))
        with lab.smtp() as client:
            client.sendmail("u1@example.test", [f"nobody{n}@no.test" for n in range(200)], suite.message("many"))
        def told():
            return {group["Final-Recipient"] for report in reports(lab, "u1")
                    for group in list(report.iter_parts())[1].get_payload()[1:]}
        suite.wait_for(lambda: len(told()) == 200, 40, lambda: lab.log()[-2000:])
        suite.wait_for(lambda: "Mail queue is empty" in lab.tool("postqueue", "-p")[1])


def test_retries_end_with_a_report(new_lab):
    lab = new_lab(main_cf=SHORT_TIMES + "maximal_queue_lifetime = 4s\nbounce_queue_lifetime = 4s\n" +
                  transports(dead=closed_port()))
    with lab.smtp() as client:
        client.sendmail("u1@example.test", ["nobody@dead.test"], suite.message("late"))
    report = wait_for_report(lab, "u1")
    per_recipient = list(report.iter_parts())[1].get_payload()[1]
    assert (per_recipient["Action"], per_recipient["Status"]) == ("failed", "4.4.1")
    assert "Connection refused" in " ".join(per_recipient["Diagnostic-Code"].split())
    tries = [line for line in lab.log().splitlines() if "status=deferred" in line and "nobody@dead.test" in line]
    assert len(tries) >= 2, "was not tried again"
    lab.wait_for_log("from=<u1@example.test>, status=expired, returned to sender")
    suite.wait_for(lambda: "Mail queue is empty" in lab.tool("postqueue", "-p")[1])


def test_nobody_waits_longer_than_the_limit_after_a_start(new_lab):
    """Also a time that was written under a clock that was wrong."""
    replies = {"RCPT": "450 4.2.1 later"}
    with Sink(replies=replies) as sink:
        lab = new_lab(main_cf="minimal_backoff_time = 900s\nmaximal_backoff_time = 900s\n" + transports(to=sink.port))
        with lab.smtp() as client:
            client.sendmail("u1@example.test", ["a@to.test"], suite.message("patient"))
        lab.wait_for_log("status=deferred")
        replies.clear()
        lab.stop()
        with open(lab.environ["LAB_CONF"], "r+", encoding="utf-8") as conf:
            text = conf.read().replace("900s", "2s")
            conf.seek(0)
            conf.write(text)
            conf.truncate()
        lab.start()
        suite.wait_for(lambda: sink.messages, explain=lambda: lab.log()[-3000:])


def test_a_reload_sends_nothing_twice(new_lab):
    """What is being delivered when one qmgr ends and the next begins is left to those who deliver it."""
    put_off = []

    def slowly(body):
        time.sleep(4)
        if b"put off" in body and not put_off:
            put_off.append(time.monotonic())
            return "451 4.3.0 later"
        return "250 2.0.0 Ok"

    with Sink(replies={".": slowly}) as sink:
        lab = new_lab(main_cf=transports(slow=sink.port) + SHORT_TIMES)
        with lab.smtp() as client:
            for name, text in (("a", "once"), ("b", "once"), ("c", "put off")):
                client.sendmail("u1@example.test", [f"{name}@slow.test"], suite.message(text))
        suite.wait_for(lambda: sum(line.upper().startswith("DATA") for line in sink.lines) == 3)
        for _ in range(2):
            assert lab.tool("waypost", "reload")[0] == 0
            time.sleep(1)
        suite.wait_for(lambda: "Mail queue is empty" in lab.tool("postqueue", "-p")[1], 40,
                       lambda: lab.tool("postqueue", "-p")[1] + lab.log()[-3000:])
        to = [re.search(r"<(.*?)@", line)[1] for _, recipients, _ in sink.messages for line in recipients]
        assert sorted(to) == ["a", "b", "c"], lab.log()[-5000:]
        assert len(put_off) == 1


# --- the end of a qmgr, and the next one ---


def waiting(lab):
    return {entry["queue_id"]: entry for entry in map(json.loads, output(lab, "postqueue", "-j").splitlines())}


def snapshot(lab):
    return os.path.join(lab.QUEUE_DIR, "queue/journal/entries")


def qmgr_of(lab):
    return [pid for program, pid in processes(lab)[0] if program == "qmgr"]


def attempts(lab):
    return lab.log().count("(queue active)")


def test_what_waits_is_the_same_after_a_stop_and_after_a_kill(new_lab):
    """Also its next attempts: whose time was lost would be tried at once."""
    lab = new_lab(main_cf="minimal_backoff_time = 900s\n" + transports(dead=closed_port()))
    with lab.smtp() as client:
        for number in range(40):
            client.sendmail("u1@example.test", [f"n{number}@dead.test"], suite.message("patient"))
    suite.wait_for(lambda: lab.log().count("status=deferred") == 40)
    output(lab, "postsuper", "-h", list(waiting(lab))[7])
    before = waiting(lab)
    tried = attempts(lab)

    lab.stop()
    shutil.copy(snapshot(lab), lab.directory)
    lab.start()
    assert waiting(lab) == before
    assert not os.path.exists(snapshot(lab)), "it would count twice"
    with lab.smtp() as client:
        client.sendmail("u1@example.test", ["another@dead.test"], suite.message("another"))
    suite.wait_for(lambda: lab.log().count("status=deferred") == 41)
    before = waiting(lab)
    assert len(before) == 41 and attempts(lab) == tried + 1

    # Killed, it leaves none; and the one of before, from a backup perhaps, must not count.
    for copy in (None, os.path.join(lab.directory, "entries")):
        for pid in qmgr_of(lab):
            os.kill(pid, signal.SIGSTOP)  # or it ends by itself when it sees that master is gone
        assert kill_everything(lab)
        lab.stop()
        assert not os.path.exists(snapshot(lab))
        if copy:
            shutil.copy(copy, snapshot(lab))
            shutil.chown(snapshot(lab), os.stat(os.path.dirname(snapshot(lab))).st_uid)
        lab.start()
        assert waiting(lab) == before
    time.sleep(2)
    assert attempts(lab) == tried + 1
    first = qmgr_of(lab)
    assert lab.tool("waypost", "reload")[0] == 0
    # A tool that asks the qmgr that ends gets no answer.
    suite.wait_for(lambda: qmgr_of(lab) != first and lab.tool("postqueue", "-j")[0] == 0)
    assert waiting(lab) == before
    assert attempts(lab) == tried + 1


def test_a_report_that_cannot_be_delivered_goes_to_the_postmaster(new_lab):
    with Sink(replies={"RCPT": "550 5.1.1 no such user"}) as refusing:
        lab = new_lab(main_cf=SHORT_TIMES + transports(no=refusing.port, away=refusing.port) +
                      "notify_classes = 2bounce\n2bounce_notice_recipient = u2@example.test\n")
        with lab.smtp() as client:
            client.sendmail("gone@away.test", ["nobody@no.test"], suite.message("twice"))
        report = wait_for_report(lab, "u2")
    assert "Postmaster" in report["Subject"] and "Undelivered" in report["Subject"]
    assert list(report.iter_parts())[1].get_payload()[1]["Final-Recipient"] == "rfc822; gone@away.test"
    suite.wait_for(lambda: "Mail queue is empty" in lab.tool("postqueue", "-p")[1])


POSTFIX = """\
compatibility_level = 3.6
myhostname = mx.example.test
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
enable_long_queue_ids = yes
"""
NOTICES = """
delay_warning_time = 3s
queue_run_delay = 1s
notify_classes = bounce, delay, 2bounce
bounce_notice_recipient = copies@client.test
delay_notice_recipient = delays@client.test
2bounce_notice_recipient = doubles@client.test
smtp_destination_concurrency_failed_cohort_limit = 0
"""
MORE_FIELDS = {"last-attempt-date", "original-recipient"}  # optional: RFC 3464 2.3.7, 2.3.1


def notice_shape(recipient, octets):
    """What programs read in a notification, without what differs from one to the next."""
    def plain(name, value):
        value = " ".join(re.sub(r"\d+\[", "[", value).split())
        if name.lower().endswith("date") or name.lower() == "will-retry-until":
            return "DATE"
        return re.sub(r"id [\w.]+; .*", "id", value) if name == "Received" else value
    message = email.message_from_bytes(octets)
    header = [(name, plain(name, value)) for name, value in message.items()
              if name not in ("Message-Id", "Content-Type", "Content-Transfer-Encoding")]
    parts = message.get_payload()
    groups = [[(name, plain(name, value)) for name, value in group.items() if name.lower() not in MORE_FIELDS
               and name != "X-Postfix-Queue-ID"] for group in parts[1].get_payload()]
    described = [(part["Content-Description"], part.get_content_type()) for part in parts]
    returned = parts[2].get_payload()
    returned = returned[0] if isinstance(returned, list) else email.message_from_string(returned)
    words = [line for line in parts[0].get_payload().splitlines() if line.startswith("<")]
    return (recipient, message.get_param("report-type"), header, described, words, groups, list(returned.keys()),
            returned["Return-Path"])


def notices(port, sink):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=suite.PATIENCE) as client:
        client.sendmail("a@client.test", ["gone@no.test", "busy@no.test"], suite.message("to-two"))
        client.sendmail("", ["gone@no.test"], suite.message("from-nobody"))
        client.sendmail("double-bounce@client.test", ["gone@no.test"], suite.message("from-a-neighbour"))
    suite.wait_for(lambda: len(sink.messages) >= 7, 40)
    return sorted((notice_shape(to[0], body) for _, to, body in sink.messages), key=repr)


def test_notifications_have_the_layout_of_postfix(new_lab):
    if not peer.can_run():
        pytest.skip("Postfix cannot run here; the layout is tested by itself")
    def answer(line):
        return "550-5.1.1 No such user\r\n550 5.1.1 here" if "gone@" in line else "450 4.2.1 busy, try later"
    with Sink(replies={"RCPT": answer}) as refusing, Sink() as ours, Sink() as theirs:
        lab = new_lab(main_cf=SHORT_TIMES + NOTICES + transports(no=refusing.port, client=ours.port))
        port = peer.free_ports(1)[0]
        postfix = peer.Postfix(POSTFIX + SHORT_TIMES + NOTICES + transports(no=refusing.port, client=theirs.port),
                               f"127.0.0.1:{port} inet n - n - - smtpd\n", lab.ZONE,
                               os.path.join(suite.ROOT, "tests/dnsd"), suite.PASSWORD)
        postfix.start(port)
        try:
            assert notices(lab.SMTP_PORT, ours) == notices(port, theirs)
        finally:
            postfix.stop()


# --- tools ---

MESSAGE = (b"From: a@client.test\r\nTo: b@dead.test\r\nSubject: listed\r\nMessage-ID: <listed@client.test>\r\n"
           b"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\ntext\r\n")
ID = r"[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}"


def submit_listed(port):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=suite.PATIENCE) as client:
        client.sendmail("a@client.test", ["b@dead.test", "c@dead.test"], MESSAGE)
        client.sendmail("", ["d@dead.test"], MESSAGE)


def listing_shape(text):
    """mailq's output without what differs from time to time; requests in one order."""
    head, _, rest = text.partition("\n")
    rest = re.sub(rf"^{ID}([*! ]) +\d+ \w{{3}} \w{{3}} [ \d]\d [\d:]{{8}} ", lambda match:
                  f"ID{match[1]}, to column {len(match[0])}: ", rest, flags=re.M)
    rest = re.sub(r":\d+: ", ":PORT: ", re.sub(r"-- \d+ Kbytes", "-- N Kbytes", rest))
    return [head, *sorted(rest.split("\n\n"))]


def json_shape(text):
    out = []
    for line in text.splitlines():
        entry = json.loads(line)
        keys = list(entry)
        entry["recipients"].sort(key=lambda recipient: recipient["address"])
        out.append((entry["sender"], entry["queue_name"], keys,
                    [[(key, re.sub(r":\d+: ", ":PORT: ", value)) for key, value in recipient.items()]
                     for recipient in entry["recipients"]],
                    {key: type(value).__name__ for key, value in entry.items()}))
    return sorted(out)


@pytest.fixture
def queue_lab(new_lab):
    lab = new_lab(main_cf="minimal_backoff_time = 300s\nmaximal_backoff_time = 300s\n"
                          "smtp_tls_security_level = none\n" + transports(dead=closed_port()))
    submit_listed(lab.SMTP_PORT)
    suite.wait_for(lambda: lab.tool("postqueue", "-j")[1].count("refused") >= 3, explain=lambda: lab.log()[-3000:])
    return lab


@pytest.fixture
def postfix(queue_lab):
    if not peer.can_run():
        pytest.skip("Postfix cannot run here; the shape is tested by itself")
    port, dead_port = peer.free_ports(2)
    theirs = peer.Postfix(POSTFIX + f"""\
transport_maps = inline:{{dead.test=smtp:[127.0.0.1]:{dead_port}}}
""", f"127.0.0.1:{port} inet n - n - - smtpd\n", queue_lab.ZONE, os.path.join(suite.ROOT, "tests/dnsd"),
                          suite.PASSWORD)
    theirs.start(port)
    try:
        submit_listed(port)
        suite.wait_for(lambda: theirs.tool("postqueue", "-j").count("refused") >= 3, explain=theirs.log)
        yield theirs
    finally:
        theirs.stop()


def output(lab, *command):
    """What a tool says, without warnings of main.cf's lines."""
    text = lab.tool(*command)[1]
    return "".join(line + "\n" for line in text.splitlines() if "overriding earlier entry" not in line)


def test_listings_look_like_postfix(queue_lab, postfix):
    for command, shape in ((("postqueue", "-p"), listing_shape), (("postqueue", "-j"), json_shape)):
        assert shape(output(queue_lab, *command)) == shape(postfix.tool(*command)), command
    ours = output(queue_lab, "postcat", "-q", ids_of(queue_lab)[0])
    theirs = postfix.tool("postcat", "-q", json.loads(postfix.tool("postqueue", "-j").splitlines()[0])["queue_id"])
    for marker in ("*** ENVELOPE RECORDS ", "message_size: ", "message_arrival_time: ", "create_time: ", "sender: ",
                   "recipient: ", "*** MESSAGE CONTENTS ", "Subject: listed\n", "*** HEADER EXTRACTED ",
                   "*** MESSAGE FILE END "):
        assert marker in theirs and marker in ours, (marker, ours)


def ids_of(lab):
    """By sender, so that the first is the null sender's."""
    entries = [json.loads(line) for line in output(lab, "postqueue", "-j").splitlines()]
    return [entry["queue_id"] for entry in sorted(entries, key=lambda entry: entry["sender"])]


def queue_names(lab):
    return {entry["queue_id"]: entry["queue_name"] for entry in
            map(json.loads, output(lab, "postqueue", "-j").splitlines())}


def mailq(lab):
    """It takes no -c: it is sendmail -bp."""
    command = [os.path.join(lab.BUILD_DIR, "bin/mailq")]
    return subprocess.run(command, env=dict(os.environ, MAIL_CONFIG=lab.CONFIG_DIR), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=True, timeout=60).stdout


def check_listing(lab):
    text = mailq(lab)
    assert re.match(r"-+Queue ID-+ -+Size-+ -+Arrival Time-+ -+Sender/Recipient-+\n", text), text
    assert re.search(rf"^{ID}[ *!] +\d+ \w{{3}} \w{{3}} [ \d]\d [\d:]{{8}} a@client\.test$", text, re.M), text
    assert re.search(r"^ +\(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: Connection refused\)$", text, re.M)
    assert re.search(r"^ +b@dead\.test$", text, re.M)
    assert re.search(r"^-- \d+ Kbytes in 2 Requests\.$", text, re.M)


def check_super(lab):
    """postsuper -h, -H, -r and postcat on the queue, whoever owns it just now."""
    first, second = ids_of(lab)
    assert "postsuper: Placed on hold: 1 message\n" in output(lab, "postsuper", "-h", first)
    assert queue_names(lab)[first] == "hold" and queue_names(lab)[second] != "hold"
    assert re.search(rf"^{first}!", mailq(lab), re.M)
    assert "postsuper: Released from hold: 1 message\n" in output(lab, "postsuper", "-H", first)
    assert queue_names(lab)[first] != "hold"
    assert "postsuper: Requeued: 1 message\n" in output(lab, "postsuper", "-r", first)
    text = output(lab, "postcat", "-q", second)
    assert "sender: a@client.test\n" in text and "Subject: listed\n" in text
    assert "Subject: listed" not in output(lab, "postcat", "-bq", second)
    assert "text\n" not in output(lab, "postcat", "-hq", second)
    # An id with the number of a message, and another time, is not that message.
    assert "1 message" not in output(lab, "postsuper", "-d", "4zzzz00000z" + first.rpartition("z")[2])
    assert len(ids_of(lab)) == 2


def test_tools_while_it_runs_and_while_it_is_stopped(queue_lab):
    check_listing(queue_lab)
    check_super(queue_lab)
    tries = queue_lab.log().count("status=deferred")
    assert queue_lab.tool("postqueue", "-i", ids_of(queue_lab)[1])[0] == 0
    suite.wait_for(lambda: queue_lab.log().count("status=deferred") > tries)
    tries = queue_lab.log().count("status=deferred")
    for flush in (("postqueue", "-f"), ("postfix", "flush")):
        assert queue_lab.tool(*flush)[0] == 0
        suite.wait_for(lambda: queue_lab.log().count("status=deferred") >= tries + 3)
        tries = queue_lab.log().count("status=deferred")
    queue_lab.stop()
    suite.wait_for(lambda: len(ids_of(queue_lab)) == 2)
    check_super(queue_lab)
    if os.getuid() == 0:
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                               os.path.join(queue_lab.BUILD_DIR, "bin/mailq"), "-C", queue_lab.CONFIG_DIR],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 69 and done.stdout.count("error:") == 1 and "mail system is down" in done.stdout
    code, text = queue_lab.tool("postqueue", "-f")
    assert code == 69 and "mail system is down" in text
    assert "postsuper: Deleted: 1 message\n" in output(queue_lab, "postsuper", "-d", ids_of(queue_lab)[0])
    queue_lab.start()
    assert len(ids_of(queue_lab)) == 1
    assert "postsuper: Deleted: 1 message\n" in output(queue_lab, "postsuper", "-d", "ALL")
    assert mailq(queue_lab) == "Mail queue is empty\n"
