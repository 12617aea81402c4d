"""A private instance of Debian's Postfix: its own configuration, queue and loopback ports."""
import base64
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time

MASTER = """
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


def can_run():
    """Only root can start a master, and give it a resolver of its own."""
    return (os.getuid() == 0 and shutil.which("postfix") is not None and
            subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0)


def free_ports(count):
    """Ports below those of tests/lab, and below the range the kernel hands out to clients."""
    found, held, port = [], [], 3000 + os.getpid() * 37 % 7000
    while len(found) < count:
        port += 1
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            sock.close()
            continue
        held.append(sock)
        found.append(port)
    for sock in held:
        sock.close()
    return found


class AuthServer(threading.Thread):
    """Dovecot's auth-client protocol, as far as Postfix asks: PLAIN and LOGIN, one password."""

    def __init__(self, password):
        super().__init__(daemon=True)
        self.password = password
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        stream = client.makefile("rw", newline="\n")
        stream.write("VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\n"
                     "CUID\t1\nCOOKIE\t0123456789abcdef0123456789abcdef\nDONE\n")
        stream.flush()
        logins = {}
        for line in stream:
            words = line.rstrip("\n").split("\t")
            if words[0] == "AUTH":
                first = next((word[5:] for word in words if word.startswith("resp=")), None)
                logins[words[1]] = [words[2], []]
                answer = self.step(logins, words[1], first)
            elif words[0] == "CONT":
                answer = self.step(logins, words[1], words[2] if len(words) > 2 else "")
            else:
                continue
            stream.write(answer)
            stream.flush()

    def step(self, logins, number, response):
        mechanism, said = logins[number]
        prompts = {"PLAIN": [""], "LOGIN": ["Username:", "Password:"]}[mechanism]
        if response is not None:
            try:
                said.append(base64.b64decode(response, validate=True).decode())
            except ValueError:
                return f"FAIL\t{number}\treason=Invalid base64 data in continued response\n"
        if len(said) < len(prompts):
            return f"CONT\t{number}\t{base64.b64encode(prompts[len(said)].encode()).decode()}\n"
        words = said[0].split("\0")[1:] if mechanism == "PLAIN" else said
        if len(words) == 2 and words[1] == self.password:
            return f"OK\t{number}\tuser={words[0]}\n"
        return f"FAIL\t{number}\tuser={words[0]}\n"


class Postfix:
    def __init__(self, main_cf, services, zone, dnsd, password):
        """services: lines for master.cf; zone: file of the test DNS server."""
        self.base = tempfile.mkdtemp(prefix="peer-postfix.")
        os.chmod(self.base, 0o755)
        self.config = os.path.join(self.base, "etc")
        for name in ("etc", "spool", "data"):
            os.mkdir(os.path.join(self.base, name))
        shutil.chown(os.path.join(self.base, "data"), "postfix")
        self.auth = AuthServer(password)
        number = os.getpid()
        self.dns_address = f"127.7.{number >> 8 & 255}.{max(number & 255, 1)}"
        self.write("etc/main.cf", f"""\
queue_directory = {self.base}/spool
data_directory = {self.base}/data
maillog_file = {self.base}/log
maillog_file_prefixes = {self.base}
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{self.auth.port}
""" + main_cf)
        self.write("etc/master.cf", MASTER + services)
        self.write("resolv.conf", f"nameserver {self.dns_address}\n")
        for name in ("postfix-files", "dynamicmaps.cf"):
            shutil.copy(os.path.join("/etc/postfix", name), self.config)
        for name in ("postfix-files.d", "dynamicmaps.cf.d"):
            os.mkdir(os.path.join(self.config, name))
        self.dns = subprocess.Popen([dnsd, self.dns_address, "53", zone], stdin=subprocess.DEVNULL)

    def write(self, name, text):
        with open(os.path.join(self.base, name), "w", encoding="utf-8") as out:
            out.write(text)

    def command(self, verb, check=True):
        with open(os.path.join(self.base, "start.log"), "ab") as log:
            subprocess.run(["unshare", "-m", "sh", "-c",
                            'mount --bind "$0" /etc/resolv.conf && exec postfix -c "$1" "$2"',
                            os.path.join(self.base, "resolv.conf"), self.config, verb],
                           stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=check, timeout=60)

    def start(self, port):
        self.command("start")
        end = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as sock:
                    sock.settimeout(10)
                    if sock.recv(1):
                        return
            except OSError:
                pass
            if time.monotonic() > end:
                raise RuntimeError(self.log())
            time.sleep(0.05)

    def tool(self, *command):
        return subprocess.run([command[0], "-c", self.config, *command[1:]], stdout=subprocess.PIPE, text=True,
                              check=True, timeout=60).stdout

    def log(self):
        out = ""
        for name in ("start.log", "log"):
            if os.path.exists(os.path.join(self.base, name)):
                with open(os.path.join(self.base, name), encoding="utf-8", errors="replace") as text:
                    out += text.read()
        return out

    def stop(self):
        self.command("stop", check=False)
        self.auth.listener.close()
        self.dns.terminate()
        self.dns.wait()
        if not os.environ.get("KEEP_LABS"):
            shutil.rmtree(self.base, ignore_errors=True)
