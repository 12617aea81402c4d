"""The same SMTP dialogues with Debian's Postfix and with smtpd, under the same main.cf parameters.

smtp_dialogues/*.txt are the dialogues, profiles.cf the parameters, talk.py says how they are
written. What differs must stand in smtp-differences.md, and what stands there must differ.
Where Postfix cannot run, its recorded answers (smtp_dialogues/recorded/) take its place;
RECORD=1 writes them anew.
"""
import difflib
import os
import pathlib
import re
import shutil
import tempfile

import pytest

import suite
from smtp_dialogues import peer, talk

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "smtp_dialogues"
RECORDED = FOLDER / "recorded"
ZONE = """\
client.test A 192.0.2.10
nullmx.test NULLMX
fail.test FAIL servfail
relay.test A 192.0.2.11
other.test A 192.0.2.12
"""


def load_dialogues():
    found = {}
    for path in sorted(FOLDER.glob("[0-9]*.txt")):
        for dialogue in talk.read_dialogues(path.read_text()):
            assert dialogue.name not in found, dialogue.name
            found[dialogue.name] = (path.stem, dialogue)
    return found


def load_profiles(**values):
    """Common lines, and profile name -> its lines."""
    common, profiles, current = [], {}, None
    for line in (FOLDER / "profiles.cf").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            current = profiles.setdefault(line[1:-1], [])
        else:
            (common if current is None else current).append(line % values)
    return common, profiles


def load_differences():
    """Names of dialogues, from the list items "- `NAME`, `NAME`: why" of the page. "header: NAME" is
    a field of test_smtp_out_vs_postfix.py."""
    page = (HERE / "smtp-differences.md").read_text()
    items = re.findall(r"^- ((?:`[^`]+`(?:,\s+)?)+):\s", page, re.M)
    assert len(items) == len(re.findall(r"^- ", page, re.M))
    names = {name for item in items for name in re.findall(r"`([^`]+)`", item)}
    return {name for name in names if not name.startswith("header: ")}


def load_recorded():
    found = {}
    for path in sorted(RECORDED.glob("*.txt")):
        for part in path.read_text().split("\n== ")[1:]:
            name, _, text = part.partition("\n")
            found[name] = text.rstrip("\n").split("\n")
    return found


def write_recorded(transcripts):
    RECORDED.mkdir(exist_ok=True)
    for stem in sorted({stem for stem, _ in DIALOGUES.values()}):
        out = ["# What Postfix 3.7.11 answers; written by RECORD=1 pytest test_smtp_vs_postfix.py.\n"]
        for name, (where, _) in DIALOGUES.items():
            if where == stem:
                out.append(f"\n== {name}\n" + "\n".join(transcripts[name]) + "\n")
        (RECORDED / f"{stem}.txt").write_text("".join(out))


DIALOGUES = load_dialogues()
DIFFERENCES = load_differences()
assert DIFFERENCES <= set(DIALOGUES), f"not dialogues: {DIFFERENCES - set(DIALOGUES)}"


def make_tables(directory):
    table = None
    for line in (FOLDER / "tables.txt").read_text().splitlines():
        if line.startswith("== "):
            table = os.path.join(directory, line[3:])
        else:
            with open(table, "a", encoding="utf-8") as out:
                out.write(line + "\n")


def master_lines(profiles, ports):
    out = []
    for name, lines in profiles.items():
        out.append(f"127.0.0.1:{ports[name]} inet n - n - - smtpd\n")
        out += [f"  -o {{{line}}}\n" for line in lines]
    return "".join(out)


class Sides:
    """Ports of both, by profile."""

    def __init__(self, directory):
        self.base = os.path.join(directory, "lab")
        tables = os.path.join(directory, "tables")
        os.chmod(directory, 0o755)
        os.mkdir(tables)
        make_tables(tables)
        self.common, self.profiles = load_profiles(dir=tables, tls=os.path.join(self.base, "tls"))
        free = peer.free_ports(2 * len(self.profiles))
        self.ours = dict(zip(self.profiles, free))
        self.theirs = dict(zip(self.profiles, free[len(self.profiles):]))
        self.postfix = None
        self.lab = suite.Lab(self.base, main_cf="\n".join(self.common + [
            "defer_transports = smtp, relay, local, store, virtual, lmtp"]),
                             master_cf=master_lines(self.profiles, self.ours))

    def start(self):
        self.lab.start()
        with open(self.lab.ZONE, "a", encoding="utf-8") as zone:
            zone.write(ZONE)
        if peer.can_run():
            discard = [f"{name}_transport = discard:" for name in ("local", "virtual", "relay", "default")]
            self.postfix = peer.Postfix(
                "\n".join(self.common + discard) + "\n", master_lines(self.profiles, self.theirs),
                self.lab.ZONE, os.path.join(suite.ROOT, "tests/dnsd"), suite.PASSWORD)
            self.postfix.start(self.theirs["plain"])

    def stop(self):
        if self.postfix:
            self.postfix.stop()
        self.lab.stop()


@pytest.fixture(scope="module")
def sides():
    directory = tempfile.mkdtemp(prefix="waypost-dialogues.")
    both = Sides(directory)
    try:
        both.start()
        yield both
    finally:
        both.stop()
        if not os.environ.get("KEEP_LABS"):
            shutil.rmtree(directory, ignore_errors=True)


RECORDED_ANSWERS = load_recorded()
FRESH = {}


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(sides, name):
    dialogue = DIALOGUES[name][1]
    if sides.postfix:
        theirs = FRESH[name] = talk.hold(dialogue, sides.theirs[dialogue.profile])
        if not os.environ.get("RECORD"):
            assert theirs == RECORDED_ANSWERS.get(name), "the record is not what Postfix says"
    else:
        theirs = RECORDED_ANSWERS[name]
    ours = talk.hold(dialogue, sides.ours[dialogue.profile])
    difference = "\n".join(difflib.unified_diff(theirs, ours, "Postfix", "Waypost", n=2, lineterm=""))
    if name in DIFFERENCES:
        assert difference, f"{name}: no difference any more; take it out of smtp-differences.md"
    else:
        assert not difference, f"{name} [{dialogue.profile}]\n{difference}"


def test_recorded_is_complete():
    """Runs last: the answers for hosts without Postfix cover every dialogue."""
    if os.environ.get("RECORD") and FRESH:
        write_recorded(FRESH)
    else:
        assert set(RECORDED_ANSWERS) == set(DIALOGUES)
