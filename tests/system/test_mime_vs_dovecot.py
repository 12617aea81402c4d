"""Our views of real and broken messages against Dovecot's: see compare_mime.py."""
import os
import pathlib
import shutil
import subprocess

import pytest

import compare_mime

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
VECTORS = ROOT.parent / "shared" / "vectors" / "mime"


@pytest.mark.parametrize("folder", [ROOT / "tests" / "samples", VECTORS], ids=["samples", "vectors"])
def test_views_equal_dovecots(folder):
    if shutil.which("dovecot") is None or os.geteuid() != 0:
        pytest.skip("needs root and Debian's dovecot-imapd (tools/install-deps peers)")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    subprocess.run(["make", "-s", f"BUILD={BUILD}", f"{BUILD}/lib/libmail.a", f"{BUILD}/lib/libbase.a"],
                   cwd=ROOT, check=True)
    differences = []

    def report(path, item, theirs, ours, is_known):
        if not is_known:
            differences.append(f"{path.name}: {item}: dovecot {theirs!r:.300}, ours {ours!r:.300}")

    count, unknown = compare_mime.compare([folder], BUILD, report)
    assert count > 0
    assert unknown == 0, "\n".join(differences)
