"""postconf and postmap beside Postfix's own, on what real files contain.

Where we differ on purpose, DIFFERENCES says why.
"""
import os
import re
import subprocess

import pytest

import suite

BIN = os.path.join(os.path.abspath(os.environ.get("LAB_BUILD", os.path.join(suite.ROOT, "build"))), "bin")
PEER = "/usr/sbin"

MAIN_CF = r"""# Comment
compatibility_level = 3.6

  # an indented comment
myhostname=mx.example.test
mydomain	=	example.test   
myorigin          = $mydomain
mydestination =
    $myhostname,
# a comment inside a value

	localhost.$mydomain
    # another
    localhost
relay_domains = one.test two.test,three.test
mynetworks = 127.0.0.0/8 [::1]/128
relayhost = [mail.isp.test]:587 # part of the value
smtpd_client_restrictions = $mua_client, permit
mua_client = permit_sasl_authenticated
smtpd_timeout = ${stress?{10}:{300}}s
smtp_destination_rate_delay = 1s
mailbox_command = procmail -a "$EXTENSION"
unused_name = 1
virtual_alias_maps = inline:{ {a@b = c@d}, e@f=g@h }
content_filter =
header_checks =
smtpd_relay_restrictions = permit_mynetworks,
   reject_unauth_destination
inet_interfaces = loopback-only
relay_recipient_maps = hash:/x
relay_recipient_maps = texthash:/y
smtpd_banner = $myhostname ${mail_name?{ESMTP}:{SMTP}} ${undefined_name:ready} $$
smtp_tls_security_level = may
"""

MASTER_CF = """# services
smtp      inet  n       -       y       -       -       smtpd -v
  -o syslog_name=postfix/in
#  -o disabled=1
  -o { smtpd_banner = two words }
  -o smtpd_client_restrictions=$mua_client,reject
  -o content_filter=
127.0.0.1:10025 inet n  -       n       -       40      smtpd
pickup    unix  n       -       y       60      1       pickup
qmgr      unix  n       -       n       300?    1       qmgr
smtp      unix  -       -       y       -       -       smtp
local     unix  -       n       n       -       -       local
cleanup   unix  n       -       y       -       0       cleanup
postlog   unix-dgram n  -       n       -       1       postlogd
scalemail-backend unix - n      n       -       2       pipe
  flags=R user=scalemail argv=/usr/lib/scalemail/bin/scalemail-store ${nexthop} ${user} ${extension}
"""

# Lines that may differ, as patterns of "name = ", with the reason.
DIFFERENCES = [
    (r"(command|daemon|html|meta|readme|sample|manpage|shlib)_directory$", "where we are installed"),
    (r"(mailq|newaliases|sendmail)_path$", "where we are installed"),
    (r"process_id$", "another process"),
    (r"mail_owner$|setgid_group$", "our own users and groups"),
    (r"smtpd_forbid_bare_newline$", "normalize: messages end at CRLF.CRLF only"),
    (r"smtpd_forbid_bare_newline_exclusions$", "nobody is excluded from that"),
    (r"enable_long_queue_ids$", "our queue ids are always long"),
    (r"compatibility_level$", "our defaults are those of level 3.6"),
    (r"config_directory$", "-d: where we are installed"),
]
# With -dx, defaults that depend on the compatibility level: 0 there, 3.6 here.
LEVEL = re.compile(r".*_fingerprint_digest$|mynetworks(_style)?$|fast_flush_domains$|relay_domains$|"
                   r"append_dot_mydomain$|smtputf8_enable$|respectful_logging$|proxy_read_maps$|"
                   r"smtpd_relay_(restrictions|before_recipient_restrictions)$|"
                   r"smtpd_client_event_limit_exceptions$|"
                   r"smtpd_authorized_.*|postscreen_access_list$")


def run(program, *arguments, text=None, check=True):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          input=text, timeout=30, check=False)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module", name="config")
def fixture_config(tmp_path_factory):
    directory = tmp_path_factory.mktemp("postconf")
    (directory / "main.cf").write_text(MAIN_CF)
    (directory / "master.cf").write_text(MASTER_CF)
    return str(directory)


def ours(*arguments, **options):
    return run(os.path.join(BIN, "postconf"), *arguments, **options)


def theirs(*arguments, **options):
    if not os.path.exists(f"{PEER}/postconf"):
        pytest.skip("Postfix is not installed")
    return run(f"{PEER}/postconf", *arguments, **options)


def without_differences(output, names, options):
    """The lines of a listing, without those that may differ and our own parameters."""
    lines = []
    for line in output.splitlines():
        name = line.split(" =", 1)[0]
        is_other = any(re.match(pattern, name) for pattern, _ in DIFFERENCES) or (
            "-dx" in options and LEVEL.match(name)) or ("-d" in options and name == "mynetworks")
        if name in names and not is_other:
            lines.append(line)
    return lines


@pytest.mark.parametrize("options", [
    ["-n"], ["-nf"], ["-nx"], ["-h", "mydestination", "relay_domains"], ["-H", "relayhost"],
    ["mydestination", "mua_client"], ["-x", "smtpd_banner", "smtpd_timeout", "smtpd_client_restrictions"],
    ["-o", "relayhost=other", "relayhost"], ["-n", "relayhost", "myorigin"],
    ["-M"], ["-Mf"], ["-M", "smtp/inet"], ["-M", "smtp"], ["-M", "*/unix"],
    ["-F"], ["-Ff"], ["-Fx", "smtp/inet"], ["-Fh", "smtp/inet/command"], ["-FH", "smtp"], ["-F", "*/*/chroot", "no"],
    ["-P"], ["-P", "smtp/inet/smtpd_banner"], ["-Px", "smtp/inet/smtpd_client_restrictions"],
])
def test_prints_as_postfix(config, options):
    assert ours("-c", config, *options).stdout == theirs("-c", config, *options).stdout


@pytest.mark.parametrize("options", [[], ["-d"], ["-x"], ["-dx"]])
def test_knows_every_parameter(config, options):
    # Where Debian's Postfix is built with NIS, its defaults say so.
    peer = theirs("-c", config, *options).stdout.replace(", nis:mail.aliases", "")
    names = {line.split(" =", 1)[0] for line in peer.splitlines()}
    own = ours("-c", config, *options).stdout
    missing = names - {line.split(" =", 1)[0] for line in own.splitlines()}
    assert not missing
    assert without_differences(own, names, options) == without_differences(peer, names, options)


def test_warns_about_what_is_not_honoured(config, tmp_path):
    errors = ours("-c", config, "-n").stderr
    assert re.search(r"main\.cf, line \d+: unused parameter: unused_name=1", errors)
    assert re.search(r"overriding earlier entry: relay_recipient_maps=hash:/x", errors)
    assert "mailbox_command=procmail" in errors
    (tmp_path / "main.cf").write_text("smtpd_milters = inet:localhost:1\nsmtpd_timeout = soon\n")
    errors = ours("-c", str(tmp_path), "-n").stderr
    assert "would let through what it stops" in errors
    assert "main.cf, line 2: smtpd_timeout: bad time value or unit" in errors


def test_knows_the_classes_of_an_entry(config, tmp_path):
    (tmp_path / "main.cf").write_text("")
    (tmp_path / "master.cf").write_text(
        "smtp inet n - y - - smtpd\n -o smtpd_restriction_classes=mine -o mine=permit -o unused=1\n")
    for program in ours, theirs:
        unused = re.findall(r"unused parameter: (?:-o )?(\S+)", program("-c", str(tmp_path), "-P").stderr)
        assert unused == ["unused=1"]


def test_names_what_did_not_match(config):
    for mode in "-M", "-P", "-F":
        for program in ours, theirs:
            assert 'unmatched request: "no/inet"' in program("-c", config, mode, "smtp", "no/inet").stderr


def test_names_who_took_over(config):
    assert "cleanup/unix: taken over by smtpd and pickup" in ours("-c", config, "-M").stderr


def test_refuses_a_line_without_equals(tmp_path):
    (tmp_path / "main.cf").write_text("relayhost = x\n\nnonsense\n")
    done = ours("-c", str(tmp_path), "-n", check=False)
    assert done.returncode == 1 and "main.cf, line 3" in done.stderr


@pytest.mark.parametrize("options", [
    ["-e", "relayhost=new", "smtpd_banner = $myhostname here", "added_name=1"],
    ["mydestination=x"],
    ["-#", "mydestination", "relay_recipient_maps"],
    ["-X", "mydestination", "smtpd_relay_restrictions", "not_there"],
])
def test_edits_as_postfix(tmp_path, options):
    results = []
    for program in (ours, theirs):
        path = tmp_path / "main.cf"
        path.write_text(MAIN_CF)
        path.chmod(0o640)
        (tmp_path / "master.cf").write_text(MASTER_CF)
        program("-c", str(tmp_path), *options)
        assert path.stat().st_mode & 0o777 == 0o640 or program is theirs
        results.append(path.read_text())
    assert results[0] == results[1]


def test_edit_keeps_a_symbolic_link(tmp_path):
    (tmp_path / "real").write_text("relayhost = a\n")
    (tmp_path / "main.cf").symlink_to("real")
    ours("-c", str(tmp_path), "relayhost=b")
    assert (tmp_path / "main.cf").is_symlink()
    assert (tmp_path / "real").read_text() == "relayhost = b\n"


# --- tables ---

TABLE = 'User@Example.test one\nb two,\n  words\n"quoted key" three\nuser@example.test twice\n'


@pytest.fixture(name="table")
def fixture_table(tmp_path):
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    (tmp_path / "table").write_text(TABLE)
    (tmp_path / "aliases").write_text('Root: me\n"a b": x, :include:/y\n')
    return tmp_path


def tool(name, table, *arguments, **options):
    return run(os.path.join(BIN, name), "-c", str(table), *arguments, **options)


def test_postmap_round_trip(table):
    path = str(table / "table")
    assert "duplicate entry" in tool("postmap", table, path).stderr
    assert tool("postmap", table, "-q", "USER@example.TEST", path).stdout == "one\n"
    assert tool("postmap", table, "-q", "nobody", path, check=False).returncode == 1
    assert tool("postmap", table, "-s", path).stdout == \
        '"quoted key"\tthree\nb\ttwo,  words\nuser@example.test\tone\n'
    tool("postmap", table, "-i", "-r", path, text="b new\nc more\n")
    assert tool("postmap", table, "-q", "-", path, text="b\nx\nc\n").stdout == "b\tnew\nc\tmore\n"
    tool("postmap", table, "-d", "b", path)
    assert tool("postmap", table, "-d", "b", path, check=False).returncode == 1


def test_a_failed_postmap_leaves_the_table(table):
    path = str(table / "table")
    tool("postmap", table, "-w", path)
    os.rename(path, path + ".away")
    assert tool("postmap", table, path, check=False).returncode == 1
    assert tool("postmap", table, "-q", "b", path).returncode == 0
    assert not [name for name in os.listdir(table) if ".tmp" in name]


def test_new_tables_take_the_mode_of_their_text(table):
    path = table / "table"
    path.chmod(0o600)
    tool("postmap", table, "-w", str(path))
    assert (table / "table.lmdb").stat().st_mode & 0o777 == 0o600


def test_postalias_and_newaliases(table):
    (table / "main.cf").write_text(f"alias_database = hash:{table}/aliases\n")
    tool("newaliases", table)
    assert tool("postalias", table, "-q", "ROOT", str(table / "aliases")).stdout == "me\n"
    assert tool("postalias", table, "-q", "a b", str(table / "aliases")).stdout == "x, :include:/y\n"


def test_tables_are_postfix_tables(table):
    """Both suites read and write each other's files."""
    if "lmdb" not in theirs("-m").stdout.split():
        pytest.skip("Postfix's lmdb driver is not installed")
    path = str(table / "table")
    tool("postmap", table, "-w", path)
    assert run(f"{PEER}/postmap", "-c", str(table), "-q", "b", "lmdb:" + path).stdout == "two,  words\n"
    dump = run(f"{PEER}/postmap", "-c", str(table), "-s", "lmdb:" + path).stdout
    assert dump == tool("postmap", table, "-s", path).stdout
    run(f"{PEER}/postmap", "-c", str(table), "-i", "-r", "lmdb:" + path, text="b theirs\n")
    assert tool("postmap", table, "-q", "b", "lmdb:" + path).stdout == "theirs\n"
    tool("postmap", table, "-i", "-r", path, text="b ours\n")
    assert run(f"{PEER}/postmap", "-c", str(table), "-q", "b", "lmdb:" + path).stdout == "ours\n"
