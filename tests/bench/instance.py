"""One Waypost under load, without a peer beside it: set up by waypost.sh, in its own
control group, on the bench's disk. The workloads without a peer (crowd, million_queue,
...) start it, load it and print one line of JSON, as the harness' workloads do.
"""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
BENCH = os.environ.get("BENCH", os.path.join(os.path.dirname(TREE), "shared/bench"))
BUILD = os.environ.get("WAYPOST_BUILD", os.path.join(TREE, "build"))


class Instance:
    """with Instance("relay", "main.cf lines") as waypost: an instance that accepts
    connections; ports as attributes (waypost.smtp_port, ...), env of the harness.
    """

    def __init__(self, role, extra="", **variables):
        self.environment = {**os.environ, "BENCH": BENCH, "ROLE": role,
                            **{name.upper(): str(value) for name, value in variables.items()}}
        disk = self.environment.get("BENCHDISK", "")
        self.folder = tempfile.mkdtemp(prefix="mbench.waypost.", dir=disk if os.path.ismount(disk) else None)
        os.chmod(self.folder, 0o711)
        self.verb("setup")
        with open(os.path.join(self.etc, "main.cf"), "a", encoding="ascii") as main_cf:
            main_cf.write(extra)

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit leaves nothing behind
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def etc(self):
        return os.path.join(self.folder, "etc")

    def verb(self, name):
        done = subprocess.run([os.path.join(HERE, "waypost.sh"), name, self.folder], env=self.environment,
                              stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def start(self):
        self.verb("start")
        for word in self.verb("env").split():
            name, value = word.split("=", 1)
            setattr(self, name.lower(), int(value) if value.isdigit() else value)

    def stop(self):
        self.verb("stop")

    def kill(self):
        """Every process of the instance at once, as a power cut would end them."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.verb("stop")

    def command(self, *words):
        """A command of the suite beside the instance: its standard output."""
        done = subprocess.run([os.path.join(BUILD, "bin", words[0]), "-c", self.etc, *words[1:]],
                              stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def fill(self, user, count, octets):
        """Messages straight into a user's INBOX, beside the running suite."""
        subprocess.run([os.path.join(BUILD, "bin/test-store_fill"), os.path.join(self.folder, "mail"), user,
                        str(count), str(octets)], check=True)

    def tool(self, name, *words, start_only=False):
        """A load generator of the harness: its line of JSON, or the process itself."""
        folder = self.environment.get("BENCHBIN", os.path.join(BENCH, "bin"))
        process = subprocess.Popen([os.path.join(folder, name), *map(str, words)], stdout=subprocess.PIPE, text=True)
        if start_only:
            return process
        return json.loads(process.communicate()[0].strip().splitlines()[-1])

    def group_files(self, name):
        return glob.glob(f"/sys/fs/cgroup/**/{self.cg}/{name}", recursive=True)

    def processes(self):
        return [int(pid) for pid in open(self.group_files("cgroup.procs")[0], encoding="ascii").read().split()]

    def cpu_s(self):
        for path in self.group_files("cpuacct.usage"):
            return int(open(path, encoding="ascii").read()) / 1e9
        text = open(self.group_files("cpu.stat")[0], encoding="ascii").read()
        return int(text.split("usage_usec")[1].split()[0]) / 1e6

    def pss_kb(self):
        return self.tool("pssum", self.group_files("cgroup.procs")[0])["pss_kb"]
