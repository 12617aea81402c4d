"""What system tests share: an instance driven through tests/lab, and mail to and from it."""
import imaplib
import os
import poplib
import smtplib
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.path.join(ROOT, "tests/lab")
PASSWORD = "pass"
PATIENCE = 20  # seconds for anything that should happen at once


class Lab:
    """A running instance; attributes such as SMTP_PORT come from tests/lab env."""

    def __init__(self, directory, main_cf="", master_cf="", domain="example.test", users=20):
        self.directory, self.domain = directory, domain
        self.environ = dict(os.environ, LAB_DOMAIN=domain, LAB_USERS=str(users))
        self.values = {}
        for name, text in (("LAB_CONF", main_cf), ("LAB_MASTER", master_cf)):
            if text:
                os.makedirs(directory, exist_ok=True)
                self.environ[name] = os.path.join(directory, name)
                with open(self.environ[name], "w", encoding="utf-8") as out:
                    out.write(text)

    def start(self):
        self._lab("start")
        env = self._lab("env")
        self.values = dict(line.split("=", 1) for line in env.splitlines())

    def stop(self):
        if os.path.exists(os.path.join(self.directory, "env")):
            self._lab("stop")

    def _lab(self, verb):
        # Not through a pipe: the instance would hold it open.
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen([LAB, verb, self.directory], stdout=out, stderr=out,
                                       stdin=subprocess.DEVNULL, env=self.environ)
            try:
                code = process.wait(90)
            except BaseException:
                # Killed, it would leave behind what it has begun.
                process.terminate()
                process.wait(60)
                raise
            out.seek(0)
            text = out.read()
        assert code == 0, text
        return text

    def __getattr__(self, name):
        if name.isupper() and name in self.values:
            value = self.values[name]
            return int(value) if name.endswith("_PORT") else value
        raise AttributeError(name)

    # --- clients ---

    def tls(self):
        return ssl.create_default_context(cafile=self.CA)

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.SMTP_PORT, local_hostname="client.test", timeout=PATIENCE)

    def submission(self, user="u1"):
        client = smtplib.SMTP("127.0.0.1", self.SUBMISSION_PORT, local_hostname="client.test",
                              timeout=PATIENCE)
        client.starttls(context=self.tls())
        client.login(self.address(user), PASSWORD)
        return client

    def imap(self, user="u1"):
        client = imaplib.IMAP4_SSL("127.0.0.1", self.IMAPS_PORT, ssl_context=self.tls(), timeout=PATIENCE)
        client.login(self.address(user), PASSWORD)
        return client

    def pop3(self, user="u1"):
        client = poplib.POP3_SSL("127.0.0.1", self.POP3S_PORT, context=self.tls(), timeout=PATIENCE)
        client.user(self.address(user))
        client.pass_(PASSWORD)
        return client

    def address(self, user):
        return user if "@" in user else f"{user}@{self.domain}"

    # --- what happened ---

    def log(self):
        with open(self.LOG, encoding="utf-8", errors="replace") as text:
            return text.read()

    def wait_for_log(self, *words, seconds=PATIENCE):
        """The first log line that has all the words; fails when there is none in time."""
        return wait_for(lambda: next((line for line in self.log().splitlines()
                                      if all(word in line for word in words)), None),
                        seconds, lambda: f"no log line with {words}\n{self.log()[-3000:]}")

    def wait_for_messages(self, count, user="u1", mailbox="INBOX", seconds=PATIENCE):
        """All messages (octets) of a mailbox once it has at least count of them."""
        def fetch():
            client = self.imap(user)
            try:
                ok, data = client.select(mailbox, readonly=True)
                if ok != "OK" or int(data[0]) < count:
                    return None
                ok, data = client.fetch("1:*", "(BODY.PEEK[])")
                return [item[1] for item in data if isinstance(item, tuple)]
            finally:
                client.logout()
        return wait_for(fetch, seconds, lambda: f"no {count} messages\n{self.log()[-3000:]}")

    def tool(self, name, *arguments, **options):
        """Run one of the suite's own tools on this instance; returns its output."""
        command = [os.path.join(self.BUILD_DIR, "bin", name), "-c", self.CONFIG_DIR, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=60, **options)
        return done.returncode, done.stdout


def wait_for(what, seconds=PATIENCE, explain=lambda: "did not happen"):
    """Call what() until it returns something true, and return that."""
    end = time.monotonic() + seconds
    while True:
        result = what()
        if result:
            return result
        assert time.monotonic() < end, explain()
        time.sleep(0.05)


def strip_added_headers(message, original):
    """The message without the header lines the suite put on top of the original."""
    assert message.endswith(original), "the original does not end what arrived"
    return message[:len(message) - len(original)], original


def message(subject="hello", body="A line.\r\n", sender="u1@example.test", to="u2@example.test"):
    return (f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n"
            f"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject}.{time.monotonic_ns()}@client.test>\r\n"
            f"\r\n{body}").encode()
