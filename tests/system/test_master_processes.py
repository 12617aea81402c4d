"""master: processes, limits, reload, crashes, its own death. With a private
instance whose one service is tests/programs/echo_main.c."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LAB_BUILD", os.path.join(ROOT, "build"))
PROGRAMS = ("master", "postlogd", "broker", "auth", "tlsproxy", "waypost", "test-echo")
NOBODY = 65534
# Sanitizers make starts slow.
PATIENCE = 30

pytestmark = pytest.mark.skipif(
    not all(os.path.exists(os.path.join(BUILD, "bin", p)) for p in PROGRAMS),
    reason=f"not built in {BUILD}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds=PATIENCE, what="condition"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Client:
    """One connection to the echo service."""

    def __init__(self, address, source=None, timeout=10):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.sock.settimeout(timeout)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(
                address, timeout, source_address=(source, 0) if source else None)

    def greeting(self):
        return self.sock.recv(100).decode()

    def ask(self, text):
        self.sock.sendall(text.encode() + b"\n")
        return self.sock.recv(2000).decode().strip()

    def value(self, word):
        return self.ask(word).split()[1]

    def pid(self):
        return int(self.value("pid"))

    def close(self):
        self.sock.close()


class Instance:
    def __init__(self, unprivileged=False, main="", echo="-", options="", extra=""):
        self.dir = tempfile.mkdtemp(prefix="waypost-master.")
        os.chmod(self.dir, 0o755)
        self.user = NOBODY if unprivileged and os.getuid() == 0 else None
        self.bin = os.path.join(self.dir, "bin")
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.log_path = os.path.join(self.dir, "log", "mail.log")
        self.main = main
        os.mkdir(self.bin)
        for program in PROGRAMS:
            shutil.copy2(os.path.join(BUILD, "bin", program), os.path.join(self.bin, program))
        for name in ("etc", "log", "spool", "data", "mail"):
            os.mkdir(os.path.join(self.dir, name))
            if self.user:
                os.chown(os.path.join(self.dir, name), self.user, self.user)
        self.write_main("one")
        self.write_master(f"127.0.0.1:{self.port} inet n - y - {echo} test-echo {options}\n"
                          f"echo unix n - y - {echo} test-echo {options}\n{extra}")

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write_main(self, word, more=""):
        owner = ""
        if self.user or os.getuid() != 0:
            import pwd
            owner = f"mail_owner = {pwd.getpwuid(self.user or os.getuid()).pw_name}\n"
        with open(self.path("etc/main.cf"), "w", encoding="ascii") as out:
            out.write(f"""compatibility_level = 3.6
daemon_directory = {self.bin}
queue_directory = {self.path("spool")}
data_directory = {self.path("data")}
store_directory = {self.path("mail")}
maillog_file = {self.log_path}
maillog_file_prefixes = {self.dir}
myhostname = mx.example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mail_name = {word}
{owner}{self.main}{more}""")

    def write_master(self, text):
        with open(self.path("etc/master.cf"), "w", encoding="ascii") as out:
            out.write(text + "postlog unix-dgram n - n - 1 postlogd\n")

    def waypost(self, *arguments):
        identity = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        done = subprocess.run([self.path("bin/waypost"), "-c", self.path("etc"), *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=90, check=False, **identity)
        return done.returncode, done.stdout

    def start(self):
        code, text = self.waypost("start")
        assert code == 0, text

    def stop(self):
        self.write_main("end")  # a test may have left a broken one behind
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.waypost("stop")[0] != 0 and os.path.exists(self.path("spool/pid/master.pid")):
                self.waypost("abort")
        shutil.rmtree(self.dir, ignore_errors=True)

    def status(self):
        code, text = self.waypost("status", "--json")
        return json.loads(text) if code == 0 else None

    def processes(self, name):
        status = self.status()
        return [p for s in status["services"] if s["name"] == name for p in s["processes"]]

    def master_pid(self):
        with open(self.path("spool/pid/master.pid"), encoding="ascii") as text:
            return int(text.read().split()[0])

    def log(self):
        with contextlib.suppress(OSError), open(self.log_path, encoding="utf-8") as text:
            return text.read()
        return ""

    def connect(self, **options):
        client = Client(self.address, **options)
        assert client.greeting() == "hello\n"
        return client

    @property
    def unix(self):
        return self.path("spool/run/echo")


def modes():
    return [False, True] if os.getuid() == 0 else [True]


@pytest.fixture(params=modes(), ids=lambda u: "unprivileged" if u else "root")
def make(request):
    made = []

    def build(**options):
        made.append(Instance(unprivileged=request.param, **options))
        made[-1].start()
        return made[-1]

    yield build
    for instance in made:
        instance.stop()


@pytest.fixture
def make_root(request):
    """Behaviour that does not depend on the user: once is enough."""
    made = []

    def build(**options):
        made.append(Instance(unprivileged=os.getuid() != 0, **options))
        made[-1].start()
        return made[-1]

    yield build
    for instance in made:
        instance.stop()


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        return dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)


def is_alive(pid):
    try:
        return status_of(pid)["State"][0] != "Z"
    except OSError:
        return False


# --- start and walls ---


def test_process_starts_when_a_client_comes(make):
    instance = make()
    name = f"127.0.0.1:{instance.port}"
    assert instance.processes(name) == []
    client = instance.connect()
    assert client.ask("anything") == "anything"
    wait_for(lambda: [p["clients"] for p in instance.processes(name)] == [1])


def test_sandbox_is_on(make):
    instance = make()
    client = instance.connect()
    status = status_of(client.pid())
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == 0
    uids = set(status["Uid"].split())
    assert len(uids) == 1
    if os.getuid() == 0 and not instance.user:
        import pwd
        assert uids == {str(pwd.getpwnam("waypost-smtpd").pw_uid)}
        assert os.readlink(f"/proc/{client.pid()}/root") == instance.path("spool/run")
    else:
        assert uids == {str(instance.user or os.getuid())}


@pytest.mark.skipif("asan" in BUILD, reason="the sanitizers' filter is weaker")
def test_sandbox_refuses_files_and_networks(make):
    client = make().connect()
    assert client.ask("open /etc/passwd") == "errno 1"
    assert client.ask("socket") == "errno 97"


@pytest.mark.skipif("asan" in BUILD, reason="the sanitizers' filter is weaker")
def test_exec_is_death(make):
    instance = make()
    client = instance.connect()
    pid = client.pid()
    client.sock.sendall(b"exec\n")
    wait_for(lambda: not is_alive(pid), what="death")
    wait_for(lambda: "killed by signal 31" in instance.log(), what="log line")


def test_two_starts(make_root):
    instance = make_root()
    code, text = instance.waypost("start")
    assert code == 1 and "already running" in text


def test_stop_leaves_nothing(make):
    instance = make()
    client = instance.connect()
    pids = [client.pid(), instance.master_pid()]
    assert instance.waypost("stop")[0] == 0
    wait_for(lambda: not any(is_alive(p) for p in pids), what="end of all")
    assert "terminating on request" in instance.log()
    code, text = instance.waypost("stop")
    assert code == 1 and "not running" in text


# --- limits ---


def test_limit_and_its_log_lines(make):
    instance = make(echo="5")
    clients = [instance.connect() for _ in range(4)]
    wait_for(lambda: "uses 4 of its limit of 5 clients (maxproc in master.cf)" in instance.log())
    clients.append(instance.connect())
    wait_for(lambda: 'has reached its process limit "5"' in instance.log())
    late = Client(instance.address, timeout=1.5)
    with pytest.raises(socket.timeout):
        late.greeting()
    clients[0].close()
    late.sock.settimeout(PATIENCE)
    assert late.greeting() == "hello\n"


def test_client_limit_one_is_process_per_client(make):
    instance = make(main="echo_client_limit = 1\n", echo="4")
    clients = [Client(instance.unix) for _ in range(4)]
    for client in clients:
        client.sock.settimeout(PATIENCE)
        assert client.greeting() == "hello\n"
    assert len({client.pid() for client in clients}) == 4
    fifth = Client(instance.unix, timeout=1.5)
    with pytest.raises(socket.timeout):
        fifth.greeting()


def test_busy_service_gets_a_second_process(make_root):
    if os.cpu_count() < 2:
        pytest.skip("one core")
    # A low share: on a loaded machine no process gets 80 percent of a core.
    instance = make_root(main="process_busy_share = 5\n", echo="20")
    clients = [instance.connect() for _ in range(3)]
    pid = clients[0].pid()
    for client in clients:
        client.sock.sendall(b"burn 5000\n")
    name = f"127.0.0.1:{instance.port}"
    wait_for(lambda: len(instance.processes(name)) == 2, what="a second process")

    def other():
        late = instance.connect()
        return late.pid() != pid

    wait_for(other, what="a client of the second process")
    assert sum(p["limit"] for p in instance.processes(name)) <= 20


def test_idle_process_ends(make_root):
    instance = make_root(main="max_idle = 2s\n")
    client = instance.connect()
    pid = client.pid()
    client.close()
    wait_for(lambda: not is_alive(pid), what="idle end")
    assert instance.connect().pid() != pid


# --- reload ---


def test_reload_refuses_nobody_and_keeps_sessions(make):
    instance = make()
    old = instance.connect()
    assert old.value("word") == "one"
    failures, served, stop = [], [], threading.Event()

    def hammer():
        while not stop.is_set():
            try:
                client = instance.connect()
                served.append(client.value("word"))
                client.close()
            except Exception as error:  # whatever it is, it is a refused client
                failures.append(repr(error))

    thread = threading.Thread(target=hammer)
    thread.start()
    for number in range(5):
        instance.write_main(f"word{number}")
        code, text = instance.waypost("reload")
        assert code == 0, text
    wait_for(lambda: "word4" in served, what="the new configuration")
    stop.set()
    thread.join()
    assert not failures
    assert len(served) > 20
    assert old.value("word") == "one"
    pid = old.pid()
    old.close()
    wait_for(lambda: not is_alive(pid), what="end of the old process")


def test_broken_configuration_keeps_the_old_one(make):
    instance = make()
    old = instance.connect()
    pid = old.pid()
    instance.write_main("two", "smtpd_timeout = tomorrow\n")
    code, text = instance.waypost("reload")
    assert code == 1
    assert "main.cf, line " in text and "smtpd_timeout" in text
    os.kill(instance.master_pid(), signal.SIGHUP)  # past waypost's own check
    wait_for(lambda: "reload refused" in instance.log())
    assert re.search(r"reload refused.*main\.cf, line \d+: smtpd_timeout", instance.log())
    client = instance.connect()
    assert client.pid() == pid and client.value("word") == "one"


def test_new_process_has_the_generation_of_master(make_root):
    """What was edited and not reloaded does not count."""
    instance = make_root()
    instance.write_main("edited")
    assert instance.connect().value("word") == "one"


def test_bad_address_at_reload(make_root):
    instance = make_root()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = taken.getsockname()[1]
        with open(instance.path("etc/master.cf"), "a", encoding="ascii") as out:
            out.write(f"127.0.0.1:{other} inet n - y - - test-echo\n")
        code, text = instance.waypost("reload")
        assert code == 1 and f"127.0.0.1:{other}" in text and "line" in text
    assert instance.connect().value("word") == "one"


def test_changed_table_reloads(make_root):
    """What processes have read once is read by new ones when it changes; a database that is
    written in place is not."""
    instance = make_root(main="file_check_interval = 1s\n")
    for name in ("table", "data.lmdb"):
        with open(instance.path("etc", name), "w", encoding="ascii") as out:
            out.write("a b\n")
    instance.write_main("two", f"transport_maps = texthash:{instance.path('etc/table')}\n"
                               f"virtual_alias_maps = hash:{instance.path('etc/data')}\n")
    assert instance.waypost("reload")[0] == 0
    old = instance.connect()
    pid = old.pid()
    with open(instance.path("etc/data.lmdb"), "a", encoding="ascii") as out:
        out.write("in place\n")
    with open(instance.path("etc/table"), "w", encoding="ascii") as out:
        out.write("a b\n")  # the same text again
    time.sleep(3.5)
    assert instance.connect().pid() == pid
    with open(instance.path("etc/table.new"), "w", encoding="ascii") as out:
        out.write("a c\n")
    os.rename(instance.path("etc/table.new"), instance.path("etc/table"))
    wait_for(lambda: f"{instance.path('etc/table')} has changed: reload" in instance.log())
    wait_for(lambda: instance.connect().pid() != pid, what="a new process")
    assert old.ask("still there") == "still there"
    generation = instance.status()["generation"]
    os.remove(instance.path("etc/table"))  # nothing to read: nothing happens
    time.sleep(3.5)
    assert instance.status()["generation"] == generation
    shutil.copy2(instance.path("etc/data.lmdb"), instance.path("etc/data.new"))
    with open(instance.path("etc/table"), "w", encoding="ascii") as out:
        out.write("a d\n")
    wait_for(lambda: instance.status()["generation"] == generation + 1, what="the table is back")
    os.rename(instance.path("etc/data.new"), instance.path("etc/data.lmdb"))
    wait_for(lambda: instance.status()["generation"] == generation + 2, what="another database")


def test_drain_time_limit(make_root):
    instance = make_root(main="drain_time_limit = 2s\n")
    old = instance.connect()
    pid = old.pid()
    assert instance.waypost("reload")[0] == 0
    wait_for(lambda: not is_alive(pid), what="end after drain_time_limit")


def test_master_listens_to_others_while_one_process_talks(make_root):
    """And no process takes a larger part of the limit than there is."""
    instance = make_root(echo="20")
    noisy = instance.connect()
    noisy.sock.sendall(b"chatter 6000\n")
    name = f"127.0.0.1:{instance.port}"
    time.sleep(1)
    for _ in range(3):
        began = time.monotonic()
        assert [p["limit"] for p in instance.processes(name)] == [20]
        assert time.monotonic() - began < 4
    noisy.sock.settimeout(PATIENCE)
    assert noisy.sock.recv(100) == b"chatter 6000\n"


# --- crashes ---


def crash(instance, source):
    client = instance.connect(source=source)
    pid = client.pid()
    client.sock.sendall(b"crash\n")
    wait_for(lambda: not is_alive(pid), what="crash")


def test_crash_is_contained(make):
    instance = make()
    crash(instance, "127.0.0.2")
    both = instance.connect(), instance.connect()
    assert both[0].pid() == both[1].pid()
    for client in both:
        client.close()
    crash(instance, "127.0.0.2")
    wait_for(lambda: "one client per process for 10 minutes, refusing client 127.0.0.2"
             in instance.log())
    assert "client unknown[127.0.0.2], queue id 4XTest0queue" in instance.log()
    clients = [instance.connect(source="127.0.0.3") for _ in range(3)]
    assert len({client.pid() for client in clients}) == 3
    refused = Client(instance.address, source="127.0.0.2", timeout=PATIENCE)
    assert refused.sock.recv(10) == b""
    wait_for(lambda: "connection from 127.0.0.2 refused" in instance.log())


def test_a_task_that_never_waits_is_ended(make_root):
    """It stops every session of its process; the log names the client, and two are contained."""
    instance = make_root(main="task_hang_limit = 3s\n")
    for _ in range(2):
        client = instance.connect(source="127.0.0.2")
        pid = client.pid()
        client.sock.sendall(b"hang\n")
        wait_for(lambda pid=pid: f"pid {pid} killed by signal 6" in instance.log(), what="its end")
        assert re.search(rf'pid {pid} has been in task "client" for \d+ s, client unknown\[127.0.0.2\], '
                         r'queue id 4XTest0queue: ended', instance.log())
    wait_for(lambda: "refusing client 127.0.0.2" in instance.log())
    other = instance.connect(source="127.0.0.3")
    pid = other.pid()
    time.sleep(5)  # idle is not hung
    assert other.pid() == pid


def test_kill_is_no_crash(make_root):
    """SIGKILL is an operator's or the kernel's: no client is refused for it, and density stays."""
    instance = make_root()
    for _ in range(3):
        client = instance.connect(source="127.0.0.2")
        assert client.ask("note") == "note"
        pid = client.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: f"pid {pid} killed by signal 9" in instance.log())
    clients = [instance.connect(source="127.0.0.2") for _ in range(2)]
    assert clients[0].pid() == clients[1].pid()
    assert "one client per process" not in instance.log()


def test_start_failures_are_throttled(make_root):
    if os.getuid() != 0:
        pytest.skip("needs a wrong user")
    instance = make_root(options="-o waypost_smtpd_user=no-such-user")
    with Client(instance.address).sock:
        wait_for(lambda: "bad command startup -- throttling" in instance.log())
        time.sleep(3)
    assert "user no-such-user does not exist" in instance.log()
    assert instance.log().count("throttling") <= 4


# --- master's own end ---


def test_killed_master_comes_back(make):
    instance = make()
    old = instance.connect()
    before = instance.master_pid()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: instance.master_pid() != before and instance.status(), what="next master")
    client = instance.connect()
    assert client.pid() != old.pid()
    assert old.ask("still there") == "still there"
    pid = old.pid()
    old.close()
    wait_for(lambda: not is_alive(pid), what="end of the old process")


def test_stop_between_two_masters(make_root):
    """The supervisor waits before it starts another master: a stop is for it, too."""
    instance = make_root()
    before = instance.master_pid()
    with open(instance.path("spool/pid/supervisor.pid"), encoding="ascii") as text:
        supervisor = int(text.read())
    master = shutil.move(instance.path("bin/master"), instance.path("bin/master.away"))
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not is_alive(before), what="end of master")
    time.sleep(1)  # by now it has tried in vain
    assert is_alive(supervisor)
    code, text = instance.waypost("start")
    assert code == 1 and ("already running" in text or "master" in text)
    os.rename(master, instance.path("bin/master"))
    code, text = instance.waypost("stop")
    assert code == 0, text
    wait_for(lambda: not is_alive(supervisor), what="end of the supervisor")
    time.sleep(1)
    code, text = instance.waypost("status")
    assert code == 1 and "not running" in text


def test_sessions_of_a_killed_master_end(make_root):
    """Nobody watches over them but their own process."""
    instance = make_root(main="drain_time_limit = 2s\n")
    old = instance.connect()
    pid, before = old.pid(), instance.master_pid()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), what="end after drain_time_limit")
    wait_for(lambda: instance.master_pid() != before and instance.status(), what="next master")
    assert instance.connect().ask("and on") == "and on"


def test_new_binary_takes_over(make):
    instance = make()
    old = instance.connect()
    master = instance.master_pid()
    inode = os.stat(f"/proc/{master}/exe").st_ino
    replacement = instance.path("bin/master.new")
    shutil.copy2(instance.path("bin/master"), replacement)
    os.rename(replacement, instance.path("bin/master"))
    assert instance.waypost("reload")[0] == 0
    wait_for(lambda: os.stat(f"/proc/{master}/exe").st_ino != inode, what="the new binary")
    wait_for(instance.status, what="its answer")
    assert instance.master_pid() == master
    assert instance.connect().pid() != old.pid()
    assert old.ask("still there") == "still there"
    pid = old.pid()
    old.close()
    wait_for(lambda: not is_alive(pid), what="end of the old process")
    assert not glob.glob(f"/proc/{master}/task/*/children") or is_alive(master)


# --- the log ---


def test_log_lines_look_like_postfix(make):
    instance = make(options="-o syslog_name=postfix/test")
    client = instance.connect()
    client.ask("log a line with \x01 and more")
    pattern = (r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d mx postfix/test/test-echo\[%d\]: "
               r"a line with \\001 and more$" % client.pid())
    wait_for(lambda: re.search(pattern, instance.log(), re.M), what="log line")


def test_log_rotation(make_root):
    instance = make_root()
    client = instance.connect()
    client.ask("log before")
    wait_for(lambda: "]: before" in instance.log())
    os.rename(instance.log_path, instance.log_path + ".1")
    logger = instance.processes("postlog")[0]["pid"]
    os.kill(logger, signal.SIGHUP)
    wait_for(lambda: not is_alive(logger), what="end of the old postlogd")
    client.ask("log after")
    wait_for(lambda: "]: after" in instance.log(), what="line in the new file")


def test_log_loses_nothing_when_postlogd_dies(make_root):
    instance = make_root()
    client = instance.connect()
    for number in range(20):
        client.ask(f"log line {number:02d} of 20")
        if number == 10:
            wait_for(lambda: "line 10 of 20" in instance.log())
            os.kill(instance.processes("postlog")[0]["pid"], signal.SIGKILL)
            time.sleep(0.3)
    wait_for(lambda: all(f"line {n:02d} of 20" in instance.log() for n in range(20)),
             what="all lines")


# --- waypost check ---


def test_check_names_what_is_wrong(make_root):
    instance = make_root()
    code, text = instance.waypost("check")
    assert code == 0, text
    instance.write_main("one", "no_such_parameter = 1\n")
    code, text = instance.waypost("check")
    assert code == 0 and "no_such_parameter" in text
    with open(instance.path("etc/master.cf"), "a", encoding="ascii") as out:
        out.write("cleanup unix n - - - 0 cleanup\nmine unix n - - - 0 no-such-program\n")
    code, text = instance.waypost("check")
    assert code == 1 and "no-such-program" in text and "cleanup" in text


def test_check_names_tables_to_be_made(make_root):
    instance = make_root()
    table = instance.path("etc/access")
    with open(table, "w", encoding="ascii") as out:
        out.write("example.com OK\n")
    instance.write_main("one", f"smtpd_sender_restrictions = check_sender_access hash:{table}\n"
                               f"relocated_maps = proxy:hash:{table}\n"
                               f"alias_maps = btree:{instance.path('etc/aliases')}\n")
    code, text = instance.waypost("check")
    assert code == 0
    assert text.count(f"run: postmap hash:{table}") == 1, text
    assert f"run: postalias btree:{instance.path('etc/aliases')}" in text
    subprocess.run([os.path.join(BUILD, "bin/postmap"), "-c", instance.path("etc"), f"hash:{table}"], check=True)
    assert f"hash:{table}" not in instance.waypost("check")[1]
