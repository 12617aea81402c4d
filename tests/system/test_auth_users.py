"""waypost user: editing auth_passwd_file, without a running instance."""
import concurrent.futures
import os
import pty
import select
import signal
import stat
import subprocess
import time

import pytest

from suite import ROOT

BUILD = os.environ.get("LAB_BUILD", os.path.join(ROOT, "build"))
WAYPOST = os.path.join(BUILD, "bin/waypost")


class Users:
    """A configuration directory with nothing but a passwd-file."""

    def __init__(self, directory, text=None, settings=""):
        self.directory, self.file = str(directory), os.path.join(str(directory), "users")
        with open(os.path.join(self.directory, "main.cf"), "w", encoding="utf-8") as out:
            out.write(f"compatibility_level = 3.6\nauth_passwd_file = {self.file}\n{settings}")
        open(os.path.join(self.directory, "master.cf"), "w", encoding="utf-8").close()
        if text is not None:
            with open(self.file, "w", encoding="utf-8") as out:
                out.write(text)

    def run(self, *arguments, password=None):
        done = subprocess.run([WAYPOST, "-c", self.directory, "user", *arguments], text=True,
                              input="" if password is None else password + "\n", timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              start_new_session=True)
        return done.returncode, done.stdout

    def text(self):
        with open(self.file, encoding="utf-8") as lines:
            return lines.read()

    def password_of(self, user):
        return next(line.split(":")[1] for line in self.text().splitlines() if line.startswith(user + ":"))


@pytest.fixture
def users(tmp_path):
    return lambda *args, **named: Users(tmp_path, *args, **named)


def test_add_passwd_list_del(users):
    u = users()
    status, out = u.run("add", "-p", "-", "u1@example.test", password="secret")
    assert status == 0, out
    assert u.password_of("u1@example.test").startswith("{SHA512-CRYPT}$6$")
    assert u.text().endswith(":userdb_account=u1_at_example.test\n")
    # Readable for nobody, or, as root, for auth's group.
    assert stat.S_IMODE(os.stat(u.file).st_mode) in ((0o600, 0o640) if os.getuid() == 0 else (0o600,))
    assert u.run("add", "-s", "SCRAM-SHA-256", "-a", "second", "-p", "-", "u2", password="x")[0] == 0
    before = u.password_of("u1@example.test")
    assert u.run("passwd", "-p", "-", "u1@example.test", password="other")[0] == 0
    assert u.password_of("u1@example.test") not in ("", before)
    assert u.run("list") == (0, "u1@example.test                  u1_at_example.test       SHA512-CRYPT\n"
                                "u2                               second                   SCRAM-SHA-256\n")
    assert u.run("del", "u1@example.test")[0] == 0
    assert [line.split(":")[0] for line in u.text().splitlines()] == ["u2"]


@pytest.mark.parametrize("scheme", ["SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "SCRAM-SHA-256",
                                    "ARGON2ID", "PLAIN", "plain"])
def test_schemes(users, scheme):
    u = users()
    assert u.run("add", "-s", scheme, "-p", "-", "u1", password="p w")[0] == 0
    assert u.password_of("u1").startswith("{" + scheme.upper() + "}")


def test_refusals_change_nothing(users):
    text = "# by hand\nu1:{PLAIN}pass::::::userdb_account=u1\nu2:{PLAIN}pass\nnonsense\n"
    u = users(text)
    for arguments, password, words in [
            (["add", "-p", "-", "U1"], "x", "is there already"),
            (["add", "-p", "-", "-a", "u1", "u3"], "x", "account u1 is that of user u1"),
            (["add", "-p", "-", "-a", "u2", "u3"], "x", "account u2 is that of user u2"),
            (["add", "-p", "-", "-a", "../u3", "u3"], "x", "not an account"),
            (["add", "-p", "-", "u 3"], "x", "not a name"),
            (["add", "-p", "-", "u:3"], "x", "not a name"),
            (["add", "-p", "-", "#u3"], "x", "not a name"),
            (["add", "-p", "-", "@example.test"], "x", "not a name"),
            (["add", "-p", "-", "u3"], "", "empty password"),
            (["add", "-s", "PLAIN", "-p", "-", "u3"], "a:b", "choose another scheme"),
            (["add", "-s", "MD5", "-p", "-", "u3"], "x", "no such password scheme"),
            (["add", "-s", "MD5-CRYPT", "-p", "-", "u3"], "x", "cannot store"),
            (["add", "-p", "secret", "u3"], "x", "everybody can see"),
            (["add", "u3"], "x", "-p -"),
            (["passwd", "-p", "-", "u3"], "x", "no such user"),
            (["del", "u3"], None, "no such user"),
            (["del"], None, "usage"),
            (["add", "-p", "-", "u3", "u4"], "x", "usage"),
            (["rename", "u1"], None, "usage")]:
        status, out = u.run(*arguments, password=password)
        assert status != 0 and words in out, (arguments, out)
    assert u.text() == text


def test_the_rest_of_the_file_stays(users):
    text = "# by hand\r\nu1:{PLAIN}pass:1000:1000:Name:/home/u1:/bin/sh:userdb_quota=1 userdb_account=a\r\nbroken\n"
    u = users(text)
    os.chmod(u.file, 0o640)
    assert u.run("passwd", "-s", "PLAIN", "-p", "-", "u1", password="new")[0] == 0
    assert u.text() == text.replace("{PLAIN}pass", "{PLAIN}new").replace("\r\n", "\n")
    assert stat.S_IMODE(os.stat(u.file).st_mode) == 0o640
    assert os.listdir(u.directory).count("users") == len([n for n in os.listdir(u.directory) if "users" in n])


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_owner_and_group_stay(users):
    u = users("u1:x\n")
    os.chown(u.file, 65534, 65534)
    assert u.run("del", "u1")[0] == 0
    assert (os.stat(u.file).st_uid, os.stat(u.file).st_gid) == (65534, 65534)


def test_a_link_stays_a_link(users, tmp_path):
    u = users()
    os.mkdir(tmp_path / "real")
    with open(tmp_path / "real/users", "w", encoding="utf-8") as out:
        out.write("u1:{PLAIN}x\n")
    os.symlink("real/users", u.file)
    assert u.run("del", "u1")[0] == 0
    assert os.path.islink(u.file) and u.text() == ""


def test_editors_at_once(users):
    u = users("")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda i: u.run("add", "-s", "PLAIN", "-p", "-", f"u{i}", password="x"), range(40)))
    assert all(status == 0 for status, _ in ends), ends
    assert sorted(line.split(":")[0] for line in u.text().splitlines()) == sorted(f"u{i}" for i in range(40))


def test_default_realm_completes_the_name(users):
    u = users(settings="auth_default_realm = example.test\n")
    assert u.run("add", "-s", "PLAIN", "-p", "-", "u1", password="x")[0] == 0
    assert u.text().startswith("u1@example.test:")


def test_no_passwd_file_is_named(users):
    u = users(settings="auth_passwd_file =\n")
    status, out = u.run("list")
    assert status == 1 and "auth_passwd_file is not set" in out


def ask(u, *answers):
    """Run "add u1" on a terminal; returns the exit status and what the terminal showed."""
    child, terminal = pty.fork()
    if child == 0:
        os.execl(WAYPOST, "waypost", "-c", u.directory, "user", "add", "-s", "PLAIN", "u1")
    shown, end = b"", time.monotonic() + 20
    answers = list(zip((b"New password: ", b"Once more: "), answers))
    try:
        while True:
            if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
                os.kill(child, signal.SIGKILL)
                break
            shown += os.read(terminal, 1000)
            if answers and shown.endswith(answers[0][0]):
                os.write(terminal, answers.pop(0)[1])
    except OSError:
        pass  # the other end is closed
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown


def test_password_from_the_terminal(users):
    u = users()
    status, shown = ask(u, b"hidden\n", b"hidden\n")
    assert status == 0 and b"hidden" not in shown
    assert u.password_of("u1") == "{PLAIN}hidden"


def test_two_different_passwords(users):
    u = users("")
    status, shown = ask(u, b"one\n", b"two\n")
    assert status == 1 and b"differ" in shown and u.text() == ""


def test_interrupted_at_the_prompt(users):
    u = users("")
    status, _ = ask(u, b"\x03")
    assert status == 1 and u.text() == ""
