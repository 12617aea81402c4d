"""Preparing a machine: what make install makes and leaves alone, and the users."""
import glob
import os
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest

import suite

CONFIG = {}
with open(os.path.join(suite.ROOT, "config.mk"), encoding="utf-8") as lines:
    for line in lines:
        name, _, value = line.partition("=")
        CONFIG[name.strip()] = value.strip()
PREFIX = CONFIG["PREFIX"]
SBINDIR = CONFIG.get("SBINDIR", PREFIX + "/sbin")
LIBEXECDIR = CONFIG.get("LIBEXECDIR", PREFIX + "/libexec/waypost")
BUILD = os.environ.get("LAB_BUILD", os.path.join(suite.ROOT, "build"))


SCRIPT = """
set -e
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
sed -i '/^waypost/d' /etc/passwd /etc/shadow /etc/group /etc/gshadow
pids=
for i in $(seq 12); do "$2/tools/install-users" & pids="$pids $!"; done
for pid in $pids; do wait "$pid"; done
awk '$1 == "u" { print $2 }' "$2/conf/waypost.sysusers" | xargs getent passwd | wc -l
"""


def install(root):
    # "-o all": what is built is what is tested, also with other flags than the environment's.
    done = subprocess.run(["make", "-s", "-C", suite.ROOT, "-o", "all", "install", f"DESTDIR={root}", f"BUILD={BUILD}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("root"))
    install(path)
    return path


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as text:
        return text.read()


def conf_file(root, name):
    return os.path.join(root, CONFIG["SYSCONFDIR"].lstrip("/"), "postfix", name)


def find(root, name):
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) if name in names]


def test_programs_are_where_their_defaults_say(root):
    shown = subprocess.run([os.path.join(BUILD, "bin/postconf"), "-dh", "-c", os.path.join(suite.ROOT, "conf"),
                            "daemon_directory", "command_directory", "mailq_path", "newaliases_path", "sendmail_path"],
                           stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    assert shown[:2] == [LIBEXECDIR, SBINDIR]
    for path in (shown[0] + "/master", shown[0] + "/smtpd", shown[1] + "/waypost", shown[1] + "/postdrop", *shown[2:]):
        assert os.access(root + path, os.X_OK), path


def test_sendmail_is_below_lib_too(root):
    path = f"{root}{PREFIX}/lib/sendmail"
    assert os.path.realpath(path) == os.path.realpath(f"{root}{SBINDIR}/sendmail")
    assert not os.path.isabs(os.readlink(path))


def test_unit_and_lists_name_what_was_installed(root):
    unit = read(find(root, "waypost.service")[0])
    for path in re.findall(r"^Exec\w+=(\S+)", unit, re.M):
        assert os.access(root + path, os.X_OK), path
    assert "@" not in unit
    lists = [read(path) for path in find(root, "waypost.conf")]
    assert len(lists) == 2
    users = set(re.findall(r"^[ug] (\S+)", "".join(lists), re.M))
    for tmpfiles in lists:
        for path, owner, group in re.findall(r"^[dz] (\S+) \d+ (\S+) (\S+) ", tmpfiles, re.M):
            assert {owner, group} <= users | {"root"}, path
            assert not path.startswith(SBINDIR) or os.path.exists(root + path)


def test_shipped_master_cf_and_master_8_tell_the_truth_about_chroot():
    """The programs decide (.is_chrooted in struct service); what is written about it follows."""
    chrooted, others = set(), set()
    for path in glob.glob(os.path.join(suite.ROOT, "*/*_main.c")):
        name = re.search(r"static const struct service \w+ = {\s+\.name = \"([\w-]+)\"(.*?)};", read(path), re.S)
        if name:
            (chrooted if ".is_chrooted = true" in name[2] else others).add(name[1])
    assert {"smtpd", "auth"} < chrooted and {"qmgr", "local"} < others
    columns = [line.split() for line in read(suite.ROOT, "conf/master.cf").splitlines() if re.match(r"\w", line)]
    assert {words[7] for words in columns if words[4] == "y"} == chrooted
    assert {words[7] for words in columns if words[4] == "n"} == others
    told = read(suite.ROOT, "man/master.8").partition(".Ss Privileges")[2].partition("\nhave\n")
    assert set(re.findall(r"^\.Xr ([\w-]+) 8", told[0], re.M)) == chrooted
    assert others == set(re.findall(r"^\.Xr ([\w-]+) 8", told[2].partition("Started by another user")[0], re.M))


def test_each_installed_program_has_its_page(root):
    for folder in (SBINDIR, LIBEXECDIR, CONFIG.get("BINDIR", PREFIX + "/bin")):
        for program in os.listdir(root + folder):
            assert any(find(root, f"{program}.{section}") for section in (1, 8)), program


def test_configuration_that_is_there_is_left_alone(root, tmp_path):
    mine = "# mine\nmyhostname = mx.mine.test\n"
    path = conf_file(str(tmp_path), "main.cf")
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as out:
        out.write(mine)
    install(str(tmp_path))
    assert read(path) == mine
    assert read(conf_file(str(tmp_path), "master.cf")) == read(suite.ROOT, "conf/master.cf")
    assert read(conf_file(root, "main.cf")) == read(suite.ROOT, "conf/main.cf")


def test_users_are_made_once(tmp_path):
    """Several instances may be the first on a machine at the same time."""
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("needs a mount namespace")
    with open(os.path.join(suite.ROOT, "conf/waypost.sysusers"), encoding="ascii") as text:
        users = len(re.findall(r"^u\s", text.read(), re.M))
    done = subprocess.run(["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(tmp_path), suite.ROOT],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert done.stdout.split()[-1] == str(users)


@pytest.fixture
def fresh_host():
    """The installed programs and their configuration as shipped; what is added says only where files are
    on this host, and that no port is taken."""
    path = tempfile.mkdtemp(prefix="waypost-host.")
    os.chmod(path, 0o755)
    install(path)
    config = os.path.dirname(conf_file(path, "main.cf"))
    os.makedirs(f"{path}/mbox", mode=0o755)
    added = [f"daemon_directory = {path}{LIBEXECDIR}", f"command_directory = {path}{SBINDIR}",
             f"queue_directory = {path}/spool", f"data_directory = {path}/data", f"store_directory = {path}/mail",
             f"maillog_file = {path}/log", f"maillog_file_prefixes = {path}", f"mail_spool_directory = {path}/mbox",
             f"alias_maps = texthash:{path}/aliases", "myhostname = host.fresh.test"]
    if os.getuid() == 0:
        subprocess.run([os.path.join(suite.ROOT, "tools/install-users")], check=True)
    else:
        added.append(f"mail_owner = {pwd.getpwuid(os.getuid()).pw_name}")
    with open(f"{path}/aliases", "w", encoding="ascii") as out:
        out.write("postmaster root\n")
    names = "|".join(line.partition(" ")[0] for line in added)
    main = re.sub(rf"^(?:{names}) =.*\n", "", read(config, "main.cf"), flags=re.M)
    with open(f"{config}/main.cf", "w", encoding="ascii") as out:
        out.write(main + "\n".join(added) + "\n")
    master = re.sub(r"^\S+ +inet .*\n(?: .*\n)*", "", read(config, "master.cf"), flags=re.M)
    with open(f"{config}/master.cf", "w", encoding="ascii") as out:
        out.write(master)
    waypost = [f"{path}{SBINDIR}/waypost", "-c", config]
    # Not through a pipe: the instance would hold it open.
    assert subprocess.run([*waypost, "start"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False, timeout=60).returncode == 0
    yield path, config
    subprocess.run([*waypost, "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60)
    shutil.rmtree(path)


def test_mail_to_root_stays_on_a_host_as_shipped(fresh_host):
    path, config = fresh_host
    user = pwd.getpwuid(os.getuid()).pw_name
    subprocess.run([f"{path}{SBINDIR}/sendmail", "-C", config, user],
                   input=b"Subject: fresh\n\nfrom cron\n", check=True, timeout=60)
    line = suite.wait_for(lambda: next((line for line in read(path, "log").splitlines() if "status=" in line), None)
                          if os.path.exists(f"{path}/log") else None, explain=lambda: read(path, "log"))
    assert f"to=<{user}@host.fresh.test>" in line and "relay=local" in line and "status=sent" in line, line
    assert "from cron" in read(path, "mbox", user)
