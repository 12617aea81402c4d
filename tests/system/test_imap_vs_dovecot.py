"""IMAP command sequences answered as Debian's Dovecot answers them (imap-differences.md)."""
import re
import shutil

import pytest

import imap_compare

MAIN_CF = "mail_max_userip_connections = 0\nstore_default_mailboxes =\n"
SEQUENCES = imap_compare.load_sequences()


@pytest.fixture(scope="module")
def dovecot():
    if not shutil.which("dovecot"):
        pytest.skip("dovecot-imapd is not installed")
    server = imap_compare.Dovecot()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def instance(request):
    import conftest
    return conftest.make_lab(request, main_cf=MAIN_CF, users=len(SEQUENCES))


@pytest.fixture(scope="module")
def reasons():
    text = (imap_compare.HERE / "imap-differences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| (\d+) \|", text, re.M)
    unknown = {name for name, _ in rows} - set(SEQUENCES)
    assert not unknown, f"imap-differences.md names sequences that do not exist: {unknown}"
    return {(name, int(step)) for name, step in rows}


def test_there_are_enough():
    assert len(SEQUENCES) >= 200


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequence(name, dovecot, instance, reasons):
    steps = SEQUENCES[name]
    user = f"u{list(SEQUENCES).index(name) + 1}@example.test"
    theirs = imap_compare.play(dovecot.port, user, steps)
    ours = imap_compare.play(instance.IMAP_PORT, user, steps)
    wrong = []
    for number, (step, a, b) in enumerate(zip(steps, theirs, ours), 1):
        is_same = imap_compare.normal(a) == imap_compare.normal(b)
        if is_same == ((name, number) in reasons):
            what = "listed, but the same now" if is_same else "differs"
            wrong.append(f"step {number} {' '.join(step)}: {what}\n  Dovecot {a}\n  Waypost {b}")
    assert not wrong, "\n".join(wrong)
