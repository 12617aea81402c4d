"""Preparing a machine."""
import os
import re
import subprocess

import pytest

import suite

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
