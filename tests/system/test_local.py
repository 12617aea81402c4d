"""local: aliases, and delivery to Unix users. As root mail is delivered to the user "games", whom
every Debian has, otherwise to whoever runs the tests."""
import fcntl
import mailbox
import os
import pwd
import shutil
import stat
import subprocess
import tempfile

import pytest

from conftest import make_lab
from sink import Sink
from suite import message, wait_for

USER = pwd.getpwnam("games") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
HERE = "mx.example.test"
BODY = "First.\r\nFrom here on\r\n>From there\r\n.dot\r\n"
ALIASES = """to-store: u3@example.test
two: u4@example.test, "u5@example.test"
me: {user}
nested: two, to-store
turn: round
round: turn, u6@example.test
self: \\{user}, u6@example.test
list: u6@example.test
owner-list: u7@example.test
broken: nobody@example.test
owner-broken: u7@example.test
command: |/bin/false
file: /tmp/never
included: u3@example.test, :include:/etc/passwd
virtually: boss@example.test
away: boss@example.test, u4@example.test, far@remote.test
again: back@aliased.test
capitals: {upper}
once: {user}
ours: {user}
owner-ours: u7@example.test
twice: once, self
nested-list: list, u12@example.test, u6@example.test
crowd: """ + ", ".join(f"no-such-member-{n}@example.test" for n in range(1500)) + "\n"
VIRTUAL = """boss@example.test u9@example.test
back@aliased.test again@mx.example.test
"""


@pytest.fixture(scope="module")
def lab(request):
    folder = tempfile.mkdtemp(prefix="waypost-local.")
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.chmod(folder, 0o755)
    os.mkdir(os.path.join(folder, "spool"))
    with open(os.path.join(folder, "aliases"), "w", encoding="utf-8") as out:
        out.write(ALIASES.format(user=USER.pw_name, upper=USER.pw_name.upper()))
    with open(os.path.join(folder, "virtual"), "w", encoding="utf-8") as out:
        out.write(VIRTUAL)
    request.addfinalizer(lambda: sink.close())
    sink = Sink()
    instance = make_lab(request, main_cf=f"alias_maps = hash:{folder}/aliases\nalias_database = $alias_maps\n"
                                         "myorigin = $myhostname\n"
                                         f"mail_spool_directory = {folder}/spool\nmailbox_size_limit = 6000000000\n"
                                         f"virtual_alias_domains = aliased.test\nvirtual_alias_maps = texthash:{folder}/virtual\n"
                                         f"relayhost = [{sink.address}]:{sink.port}\n"
                                         "recipient_delimiter = +\nmailbox_delivery_lock = fcntl, dotlock\n")
    instance.mbox = os.path.join(folder, "spool", USER.pw_name)
    instance.sink = sink
    return instance


@pytest.fixture(scope="module", autouse=True)
def tables(lab):
    """Made by newaliases, as an administrator does; smtpd and local read them anew."""
    status, out = lab.tool("postalias", "hash:" + os.path.join(os.path.dirname(os.path.dirname(lab.mbox)), "aliases"))
    assert status == 0, out
    assert lab.tool("waypost", "reload")[0] == 0


def send(lab, to, subject, sender="u1@example.test", body=BODY, header=""):
    """Queue id of the message."""
    text = header.encode() + message(subject, body, sender, to)
    with lab.smtp() as client:
        client.ehlo()
        client.mail(sender)
        code, reply = client.rcpt(to if "@" in to else f"{to}@{HERE}")
        assert code == 250, reply
        code, reply = client.data(text)
        assert code == 250, reply
    return reply.split()[-1].decode()


def subjects(messages):
    return [next(line.split(b" ", 1)[1] for line in m.split(b"\r\n") if line.startswith(b"Subject: ")).decode()
            for m in messages]


def wait_in_store(lab, user, subject):
    def arrived():
        return [m for m in lab.wait_for_messages(1, user) if f"Subject: {subject}\r\n".encode() in m]
    return wait_for(arrived, explain=lambda: f"no {subject} for {user}\n{lab.log()[-3000:]}")


def wait_in_mbox(lab, subject):
    def arrived():
        if not os.path.exists(lab.mbox):
            return None
        return [m for m in mailbox.mbox(lab.mbox, create=False) if m["Subject"] == subject]
    return wait_for(arrived, explain=lambda: f"no {subject}\n{lab.log()[-3000:]}")


def test_alias_to_one_user(lab):
    send(lab, "to-store", "one")
    got = wait_in_store(lab, "u3", "one")
    assert len(got) == 1 and got[0].endswith(BODY.encode())


def test_alias_to_two_users(lab):
    send(lab, "two", "both")
    assert len(wait_in_store(lab, "u4", "both")) == len(wait_in_store(lab, "u5", "both")) == 1


def test_nested_aliases_deliver_once(lab):
    queue_id = send(lab, "nested", "nested")
    for user in ("u3", "u4", "u5"):
        assert len(wait_in_store(lab, user, "nested")) == 1
    lab.wait_for_log(queue_id, "removed")


def test_aliases_that_turn_in_a_circle(lab):
    send(lab, "round", "circle")
    assert len(wait_in_store(lab, "u6", "circle")) == 1


def test_mbox(lab):
    queue_id = send(lab, "me", "mbox")
    got = wait_in_mbox(lab, "mbox")[0]
    lab.wait_for_log(queue_id, "status=sent", "delivered to mailbox")
    status = os.stat(lab.mbox)
    assert status.st_uid == USER.pw_uid and stat.S_IMODE(status.st_mode) == 0o600
    assert got["Return-Path"] == "<u1@example.test>"
    assert got["Delivered-To"] == f"{USER.pw_name}@{HERE}" and got["X-Original-To"] == f"me@{HERE}"
    with open(lab.mbox, "rb") as text:
        whole = text.read()
    assert whole.startswith(b"From u1@example.test  ") and b"\r" not in whole
    assert b"\n>From here on\n" in whole and whole.endswith(b"\n\n")
    assert not os.path.exists(lab.mbox + ".lock")


def test_a_sender_that_must_be_quoted(lab):
    send(lab, USER.pw_name, "quoted", sender='"a b"@example.test')
    assert wait_in_mbox(lab, "quoted")[0]["Return-Path"] == '<"a b"@example.test>'


def test_mbox_while_somebody_holds_the_lock(lab):
    send(lab, USER.pw_name, "before-lock")
    wait_in_mbox(lab, "before-lock")
    # The delivery before shows in the file a moment sooner than it gives up its lock.
    wait_for(lambda: not os.path.exists(lab.mbox + ".lock"))
    with open(lab.mbox + ".lock", "x", encoding="ascii"):
        queue_id = send(lab, USER.pw_name, "behind-lock")
        with pytest.raises(AssertionError):
            lab.wait_for_log(queue_id, "status=sent", seconds=2)
        os.unlink(lab.mbox + ".lock")
    wait_in_mbox(lab, "behind-lock")


def test_a_locked_mailbox_delays_nobody_else(new_lab):
    folder = tempfile.mkdtemp(prefix="waypost-locked.")
    try:
        os.chmod(folder, 0o755)
        with open(f"{folder}/aliases", "w", encoding="utf-8") as out:
            out.write("far far@remote.test\n")
        with Sink() as sink:
            lab = new_lab(main_cf=f"mail_spool_directory = {folder}\nalias_maps = texthash:{folder}/aliases\n"
                                  f"relayhost = [{sink.address}]:{sink.port}\nsync_thread_count = 2\n")
            lab.mbox = f"{folder}/{USER.pw_name}"
            send(lab, USER.pw_name, "before")
            wait_in_mbox(lab, "before")
            with open(lab.mbox, "r+b") as held:
                fcntl.lockf(held, fcntl.LOCK_EX)
                for i in range(4):
                    send(lab, USER.pw_name, f"locked{i}")
                send(lab, "far", "not-locked")
                wait_for(lambda: sink.messages, 10)
            for i in range(4):
                wait_in_mbox(lab, f"locked{i}")
    finally:
        shutil.rmtree(folder)


def test_backslash_means_the_mailbox(lab):
    send(lab, "self", "backslash")
    wait_in_store(lab, "u6", "backslash")
    wait_in_mbox(lab, "backslash")


def test_extension(lab):
    send(lab, f"{USER.pw_name}+box", "extension")
    got = wait_in_mbox(lab, "extension")[0]
    assert got["Delivered-To"] == got["X-Original-To"] == f"{USER.pw_name}+box@{HERE}"


def test_capitals_are_no_other_user(lab):
    upper = f"{USER.pw_name.upper()}@{HERE}"
    send(lab, upper, "capitals")
    got = wait_in_mbox(lab, "capitals")[0]
    assert got["Delivered-To"] == got["X-Original-To"] == upper
    for number, name in enumerate([f"{USER.pw_name.upper()}+Box", "Me", "ME+x", "capitals"]):
        send(lab, name, f"capitals-{number}")
        assert wait_in_mbox(lab, f"capitals-{number}")[0]["X-Original-To"] == f"{name}@{HERE}"


def test_a_user_gets_it_once(lab):
    """By name, and as the mailbox."""
    queue_id = send(lab, "twice", "once")
    lab.wait_for_log(queue_id, "removed")
    assert len(wait_in_mbox(lab, "once")) == 1
    assert len(wait_in_store(lab, "u6", "once")) == 1


def test_many_at_once_do_not_mix(lab):
    for i in range(20):
        send(lab, USER.pw_name, f"many{i}", body=f"text {i}\r\n" * 200)
    for i in range(20):
        got = wait_in_mbox(lab, f"many{i}")
        assert len(got) == 1
        assert got[0].get_payload() == f"text {i}\n" * 200


def test_owner_becomes_the_sender(lab):
    send(lab, "list", "to-list")
    assert b"Return-Path: <owner-list@mx.example.test>" in wait_in_store(lab, "u6", "to-list")[0]


def test_owner_of_a_nested_list(lab):
    send(lab, "nested-list", "to-nested")
    got = wait_in_store(lab, "u6", "to-nested")
    assert len(got) == 1 and f"Return-Path: <owner-list@{HERE}>".encode() in got[0]
    assert b"Return-Path: <u1@example.test>" in wait_in_store(lab, "u12", "to-nested")[0]


def test_owner_of_a_list_with_an_extension(lab):
    send(lab, "list+x", "to-tagged")
    assert f"Return-Path: <owner-list@{HERE}>".encode() in wait_in_store(lab, "u6", "to-tagged")[0]


def test_a_list_has_recipients_of_its_own(lab):
    send(lab, "ours", "to-ours")
    got = wait_in_mbox(lab, "to-ours")
    assert len(got) == 1 and got[0]["Return-Path"] == f"<owner-ours@{HERE}>"
    assert got[0].get_all("Delivered-To") == [f"{USER.pw_name}@{HERE}", f"ours@{HERE}"]
    assert got[0]["X-Original-To"] == f"{USER.pw_name}@{HERE}"


def test_names_without_a_domain_are_of_myorigin(new_lab):
    folder = tempfile.mkdtemp(prefix="waypost-origin.")
    try:
        os.chmod(folder, 0o755)
        with open(f"{folder}/aliases", "w", encoding="utf-8") as out:
            out.write("root u3\nlist u4\nowner-list u5\nto-root root\n"
                      f"comes-back home\nhome {USER.pw_name}\n")
        with open(f"{folder}/virtual", "w", encoding="utf-8") as out:
            out.write(f"home@example.test home@{HERE}\n{USER.pw_name}@example.test {USER.pw_name}@{HERE}\n"
                      f"root@example.test root@{HERE}\n")
        lab = new_lab(main_cf=f"mail_spool_directory = {folder}\nmyorigin = $mydomain\n"
                              f"alias_maps = texthash:{folder}/aliases\n"
                              f"virtual_alias_maps = texthash:{folder}/virtual\n")
        lab.mbox = f"{folder}/{USER.pw_name}"
        send(lab, "root", "root")
        assert len(wait_in_store(lab, "u3", "root")) == 1
        send(lab, "list", "list")
        assert b"Return-Path: <owner-list@example.test>" in wait_in_store(lab, "u4", "list")[0]
        # Elsewhere first, then a local user after all.
        send(lab, "to-root", "to-root")
        assert len(wait_in_store(lab, "u3", "to-root")) == 1
        send(lab, "comes-back", "comes-back")
        assert len(wait_in_mbox(lab, "comes-back")) == 1
    finally:
        shutil.rmtree(folder)


def test_failures_go_to_the_owner(lab):
    send(lab, "broken", "to-broken", sender="u8@example.test")
    got = wait_for(lambda: [m for m in lab.wait_for_messages(1, "u7") if b"to-broken" in m])
    assert b"nobody@example.test" in got[0] and b"report-type=delivery-status" in got[0]
    client = lab.imap("u8")
    assert client.select()[1] == [b"0"]
    client.logout()


def test_members_pass_the_virtual_aliases(lab):
    queue_id = send(lab, "virtually", "virtually")
    got = wait_in_store(lab, "u9", "virtually")
    assert len(got) == 1 and f"Delivered-To: virtually@{HERE}\r\n".encode() in got[0]
    assert b"Return-Path: <u1@example.test>" in got[0]
    lab.wait_for_log(queue_id, "status=sent", "forwarded as")


def test_members_here_and_away(lab):
    send(lab, "away", "here-and-away")
    assert len(wait_in_store(lab, "u9", "here-and-away")) == len(wait_in_store(lab, "u4", "here-and-away")) == 1
    wait_for(lambda: lab.sink.messages)
    sender, recipients, body = lab.sink.messages[-1]
    assert sender.startswith("MAIL FROM:<u1@example.test>") and recipients == ["RCPT TO:<far@remote.test>"]
    assert f"Delivered-To: away@{HERE}\r\n".encode() in body
    # It comes back from there: nobody gets it once more.
    queue_id = send(lab, "away", "came-back", header=body.decode().split("\r\nReceived")[0] + "\r\n")
    line = lab.wait_for_log(queue_id, f"to=<away@{HERE}>", "status=bounced")
    assert "dsn=5.4.6" in line and "mail forwarding loop" in line
    assert len(lab.sink.messages) == 1


def test_an_alias_with_very_many_members(lab):
    queue_id = send(lab, "crowd", "crowd", sender="u10@example.test")
    lab.wait_for_log(queue_id, "removed")
    def all_told():
        reports = b"".join(lab.wait_for_messages(1, "u10"))
        return all(f"Final-Recipient: rfc822; no-such-member-{n}@".encode() in reports for n in range(1500))
    wait_for(all_told, 60)


def test_an_alias_over_the_limit_is_deferred(new_lab):
    folder = tempfile.mkdtemp(prefix="waypost-crowd.")
    try:
        os.chmod(folder, 0o755)
        with open(f"{folder}/aliases", "w", encoding="utf-8") as out:
            out.write("crowd " + ", ".join(f"m{n}@remote.test" for n in range(12000)) + f"\nover crowd@{HERE}, u3@example.test\n")
        with Sink() as sink:
            lab = new_lab(main_cf=f"alias_maps = texthash:{folder}/aliases\nalias_expansion_limit = 12000\n"
                                  f"relayhost = [{sink.address}]:{sink.port}\n")
            queue_id = send(lab, "over", "over")
            line = lab.wait_for_log(queue_id, f"to=<over@{HERE}>", "status=deferred")
            assert "dsn=4.6.0" in line and "too many members (alias_expansion_limit is 12000)" in line
            queue_id = send(lab, "crowd", "crowd")
            lab.wait_for_log(queue_id, f"to=<crowd@{HERE}>", "status=sent", "forwarded as")
            wait_for(lambda: sum(len(recipients) for _, recipients, _ in sink.messages) == 12000, 60)
    finally:
        shutil.rmtree(folder)


def test_aliases_of_both_kinds_that_turn_in_a_circle(lab):
    queue_id = send(lab, "again", "both-circle")
    forwarded = lab.wait_for_log(queue_id, "forwarded as").split("forwarded as ")[1].rstrip(")")
    assert "dsn=5.4.6" in lab.wait_for_log(forwarded, f"to=<again@{HERE}>", "status=bounced")


@pytest.mark.parametrize("name, item", [("command", "|/bin/false"), ("file", "/tmp/never"),
                                        ("included", ":include:/etc/passwd")])
def test_what_is_not_delivered_to_is_deferred_and_named(lab, name, item):
    queue_id = send(lab, name, f"refused-{name}")
    line = lab.wait_for_log(queue_id, "status=deferred")
    assert "dsn=4.3.5" in line and item in line and f"alias {name}" in line
    assert not os.path.exists("/tmp/never")
    lab.tool("postsuper", "-d", queue_id)


def test_unknown_users_are_refused_at_rcpt(lab):
    with lab.smtp() as client:
        client.ehlo()
        client.mail("u1@example.test")
        code, reply = client.rcpt(f"no-such-user@{HERE}")
        assert code == 550 and b"5.1.1" in reply
        code, reply = client.rcpt(f"../etc@{HERE}")
        assert code == 550


def test_loop(lab):
    queue_id = send(lab, USER.pw_name, "loop", header=f"Delivered-To: {USER.pw_name}@{HERE}\r\n")
    line = lab.wait_for_log(queue_id, "status=bounced")
    assert "dsn=5.4.6" in line and "loop" in line


def relative_to_home(path):
    """home_mailbox is taken below the home directory; this leads out of it again."""
    return os.path.relpath(path, os.path.realpath(USER.pw_dir))


@pytest.mark.parametrize("kind", ["home", "spool"])
def test_maildir(new_lab, kind):
    if kind == "home" and not os.path.isdir(USER.pw_dir):
        pytest.skip("this user has no home")
    folder = tempfile.mkdtemp(prefix="waypost-maildir.")
    try:
        os.chmod(folder, 0o1777)
        where = f"{folder}/{USER.pw_name}" if kind == "spool" else f"{folder}/Maildir"
        lab = new_lab(main_cf=f"home_mailbox = {relative_to_home(where)}/\n" if kind == "home"
                      else f"mail_spool_directory = {folder}/\n")
        queue_id = send(lab, USER.pw_name, "maildir")
        lab.wait_for_log(queue_id, "status=sent", "maildir")
        names = os.listdir(f"{where}/new")
        assert len(names) == 1 and os.listdir(f"{where}/tmp") == []
        for part in ("", "/new", "/cur", "/tmp", "/new/" + names[0]):
            assert os.stat(where + part).st_uid == USER.pw_uid
        assert stat.S_IMODE(os.stat(where).st_mode) == 0o700
        with open(f"{where}/new/{names[0]}", "rb") as text:
            whole = text.read()
        assert whole.endswith(BODY.encode().replace(b"\r\n", b"\n"))
        assert whole.startswith(f"Return-Path: <u1@example.test>\nX-Original-To: {USER.pw_name}@{HERE}\nDelivered-To: ".encode())
    finally:
        shutil.rmtree(folder)


def test_mailbox_size_limit(new_lab):
    folder = tempfile.mkdtemp(prefix="waypost-limit.")
    try:
        os.chmod(folder, 0o755)
        lab = new_lab(main_cf=f"mail_spool_directory = {folder}\nmailbox_size_limit = 20000\n"
                              "message_size_limit = 20000\n")
        lab.mbox = f"{folder}/{USER.pw_name}"
        send(lab, USER.pw_name, "small", body="x\r\n" * 5000)
        wait_in_mbox(lab, "small")
        size = os.path.getsize(lab.mbox)
        queue_id = send(lab, USER.pw_name, "too-much", body="y\r\n" * 5500)
        assert "dsn=5.2.2" in lab.wait_for_log(queue_id, "status=bounced")
        assert os.path.getsize(lab.mbox) == size
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be two users")
def test_a_link_in_the_spool_is_not_followed(lab):
    folder = os.path.dirname(lab.mbox)
    target = os.path.join(folder, "target")
    with open(target, "w", encoding="ascii"):
        pass
    os.chown(target, USER.pw_uid, USER.pw_gid)
    os.symlink("target", os.path.join(folder, "news"))
    queue_id = send(lab, "news", "link")
    lab.wait_for_log(queue_id, "status=deferred")
    assert os.path.getsize(target) == 0
    lab.tool("postsuper", "-d", queue_id)


def sendmail(lab, text, *arguments, **environ):
    program = os.path.join(lab.BUILD_DIR, "bin/sendmail")
    kept = {name: value for name, value in os.environ.items() if name != "NAME"}
    done = subprocess.run([program, "-C", lab.CONFIG_DIR, *arguments, f"{USER.pw_name}@{HERE}"],
                          env={**kept, **environ}, input=text, timeout=30, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 64 or b"setgid" in done.stdout:
        pytest.skip("sendmail is not installed set-group-id here")
    assert done.returncode == 0, done.stdout


def test_sendmail_to_a_local_user(lab):
    """The way that cron takes."""
    sendmail(lab, b"From: root (Cron Daemon)\nTo: postmaster\nSubject: from-cron\n\nline\n.\nend\n",
             "-i", "-f", "u1@example.test")
    got = wait_in_mbox(lab, "from-cron")[0]
    assert got.get_payload() == "line\n.\nend\n"
    # Addresses without a domain are of this host.
    assert got["From"] == f"root@{HERE} (Cron Daemon)"
    assert got["To"] == f"postmaster@{HERE}"


def test_sendmail_names_the_sender(lab):
    """-F, else NAME, else the password file: for a From: that is missing."""
    caller = pwd.getpwuid(os.getuid())
    own = caller.pw_gecos.split(",")[0].replace("&", caller.pw_name.capitalize())
    for number, (arguments, environ, name) in enumerate([
            (["-F", "Joe User"], {"NAME": "Else"}, "Joe User"), (["-FJoe Q. User"], {}, '"Joe Q. User"'),
            ([], {"NAME": "Of Environment"}, "Of Environment"), ([], {}, own), ([], {"NAME": ""}, "")]):
        sendmail(lab, f"Subject: name-{number}\n\nx\n".encode(), "-f", f"u1@example.test", *arguments, **environ)
        want = f"{name} <u1@example.test>" if name else f"u1@example.test"
        assert wait_in_mbox(lab, f"name-{number}")[0]["From"] == want
    sendmail(lab, b"Subject: name-given\nFrom: a@b.test\n\nx\n", "-F", "Joe")
    assert wait_in_mbox(lab, "name-given")[0]["From"] == "a@b.test"
