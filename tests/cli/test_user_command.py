"""``logstore user``, ``acl`` and ``permission``: on a directory, and through its server."""

import json
import os
import signal
import subprocess
from itertools import count

import pytest
from cli_process import COMMAND
from logstore_cli.passwords import prepared
from serving import Serving
from terminal import at_a_terminal

import logstore as library

NUMBERS = count()
ROOT = ("user", "add", "root", "--tag", "administrator")


@pytest.fixture(scope="module")
def served_data(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("users") / "data", resp_port=-1)
    yield running.data
    code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors
    assert "secret" not in errors


@pytest.fixture(params=[pytest.param(it, marks=pytest.mark.long) for it in ("here", "served")])
def either(request, monkeypatch, data, logstore):
    """``logstore``, whose directory is open here, or in a server that all these tests share.

    It has one user, root, when a test begins, and no rules.
    """
    if request.param == "served":
        monkeypatch.setenv("LOGSTORE_DATA", str(request.getfixturevalue("served_data")))
    if request.param == "here" or not json.loads(logstore("user", "list", "--json").out):
        logstore(*ROOT, stdin=b"secret of root\n")
    return logstore


@pytest.fixture
def user(either):
    """A user whom no other test has."""
    name = f"user-{next(NUMBERS)}"
    either("user", "add", name, stdin=b"secret\n")
    return name


def users(run):
    return {it["user"]: it for it in json.loads(run("user", "list", "--json").out)}


BOTH = ["SCRAM-SHA-256", "SCRAM-SHA-512"]


def test_a_user_from_the_beginning_to_the_end(either):
    made = either("user", "add", "al ice", "--tag", "management", stdin=b"secret\n")
    assert (made.out, made.err) == ("added user al ice\n", "")
    assert users(either)["al ice"] == {
        "user": "al ice", "tags": ["management"], "mechanisms": BOTH, "redis": None,
        "weak_sha256": 0,
    }  # fmt: skip
    assert "al ice  management" in either("user", "list").out
    changed = either("user", "passwd", "al ice", "--password-file", "-", stdin=b"secret 2")
    assert changed.out == "changed the password of user al ice\n"
    assert either("user", "tags", "al ice").out == "user al ice has no tags\n"
    told = either("user", "tags", "al ice", "monitoring", "management").out
    assert told == "user al ice has the tags monitoring, management\n"
    asked = either("user", "delete", "al ice", code=2).err
    assert "use --yes to delete user al ice and the rules that name it" in asked
    assert either("user", "delete", "al ice", "--yes").out == "deleted user al ice\n"
    assert "al ice" not in users(either)
    assert "no user 'al ice'" in either("user", "delete", "al ice", code=1).err


@pytest.mark.long
def test_the_first_user_ends_that_anyone_may_come_in(logstore):
    assert logstore("user", "list", code=1).err.count("\n") == 1  # there is no directory
    first = logstore(*ROOT, stdin=b"secret")
    assert first.err == "logstore: every client must log in from now on\n"
    assert logstore("user", "add", "b", stdin=b"secret").err == ""


@pytest.mark.long
def test_the_last_user_who_goes_leaves_nobody_to_log_in(logstore):
    logstore("user", "add", "a", "--no-password")
    logstore("user", "add", "b", "--no-password")
    assert logstore("user", "delete", "a", "--yes").err == ""
    assert "that was the last user" in logstore("user", "delete", "b", "--yes").err


@pytest.mark.parametrize(
    ("stdin", "error"),
    [
        (
            b"",
            "standard input: no password; write it there as one line, or use --password-file FILE",
        ),
        (
            b"\n",
            "standard input: no password; write it there as one line, or use --password-file FILE",
        ),
        (b"a\nb\n", "standard input: a password is one line, of at most 4096 bytes"),
        (b"a" * 5000, "standard input: a password is one line, of at most 4096 bytes"),
        (b"\xff\n", "standard input: the password is not UTF-8"),
        (b"a\0b\n", "the password has a NUL character, which no client can send"),
        (b"a" * 1025, "the password has 1025 bytes; at most 1024 are allowed"),
    ],
)
def test_what_is_no_password(either, stdin, error):
    assert either("user", "add", "no", code=1, stdin=stdin).err == f"logstore: {error}\n"
    assert either("user", "passwd", "root", code=1, stdin=stdin).err == f"logstore: {error}\n"
    assert "no" not in users(either)


def test_a_password_is_the_line_of_a_file(either, tmp_path):
    file = tmp_path / "it"
    for text in (b"secret", b"secret\n", b"secret\r\n\n", b" s \n"):
        file.write_bytes(text)
        file.chmod(0o600)
        assert either("user", "passwd", "root", "--password-file", file).err == ""
    file.chmod(0o640)
    warned = either("user", "passwd", "root", "--password-file", file).err
    assert warned.endswith(f"it: other users can read this password: chmod 600 {file}\n")
    missing = either("user", "passwd", "root", "--password-file", tmp_path / "no", code=1).err
    assert missing == f"logstore: {tmp_path}/no: No such file or directory\n"


@pytest.mark.long
def test_a_password_is_never_an_argument(logstore):
    for words in (("add", "a", "secret"), ("passwd", "a", "secret"), ("add", "a", "--password=x")):
        logstore("user", *words, code=2)


def test_a_user_without_a_password_logs_in_by_a_certificate(either):
    either("user", "add", "CN=al,O=Acme", "--no-password")
    assert users(either)["CN=al,O=Acme"]["mechanisms"] == []
    assert ["CN=al,O=Acme", "certificate"] in [it.split() for it in either("user", "list").lines]
    either("user", "delete", "CN=al,O=Acme", "--yes")
    either("user", "add", "b", "--no-password", "--password-file", "x", code=2)


def test_what_cannot_be_done_is_one_line(either):
    for words, error in (
        (("user", "add", "root"), "user 'root' already exists: change the password with `logstore"),
        (("user", "passwd", "rot"), "no user 'rot' (did you mean root?)"),
        (("user", "tags", "rot", "a"), "no user 'rot' (did you mean root?)"),
        (("user", "tags", "root", "a b"), "tag 'a b' is not allowed"),
        (("user", "tags", "root"), "the last user with the tag administrator must remain"),
        (
            ("user", "delete", "root", "--yes"),
            "the last user with the tag administrator must remain",
        ),
        (("user", "add", "*"), "user name '*' is not allowed"),
        (("user", "add", "x" * 256), "is not allowed: use 1 to 255"),
        (("user", "add", "a\nb"), "user name 'a\\nb' is not allowed"),
        (("user", "add", "n", "--iterations", 4095), "4095 iterations: must be 4096 to 16384"),
        (("permission", "set", "rot"), "no user 'rot' (did you mean root?)"),
        (("permission", "set", "root", "--vhost", "no"), "no virtual host 'no'"),
        (("permission", "set", "root", "--read", "("), "'(' is not a regular expression of RE2"),
        (("permission", "clear", "root"), "user 'root' has no permission in virtual host '/'"),
        (("permission", "clear", "root", "--exchange", "x"), "has no permission at exchange 'x'"),
        (("acl", "remove", "root", "read", "topic:t"), "no rule for root about read on topic:t"),
    ):
        *warnings, line = either(*words, code=1, stdin=b"secret").err.splitlines()
        assert error in line, words
        assert all("has no effect" in it for it in warnings)
    assert list(users(either)) == ["root"] or len(users(either)) > 1


def test_a_tag_that_means_nothing_is_warned_of(either, user):
    warned = either("user", "tags", user, "adminstrator", "management").err
    assert warned.count("\n") == 1
    assert "tag 'adminstrator' has no effect (did you mean administrator?)" in warned


# Rules


def test_rules_from_their_beginning_to_their_end(either, user):
    told = either("acl", "allow", user, "read,write", "topic:a").out
    assert told == f"allowed: {user} read topic:a\nallowed: {user} write topic:a\n"
    told = either("acl", "deny", user, "delete", "queue:v:a", "--prefix", "--from-host", "::1").out
    assert told == f"denied: {user} delete queue:v:a (prefix) from ::1\n"
    either("acl", "allow", user, "describe", "cluster")
    assert [line.split() for line in either("acl", "list", user).lines] == [
        ["USER", "RULE", "WHAT", "ON", "PATTERN", "FROM"],
        [user, "allow", "describe", "cluster", "literal", "*"],
        [user, "deny", "delete", "queue:v:a", "prefix", "::1"],
        [user, "allow", "read,write", "topic:a", "literal", "*"],
    ]
    rows = json.loads(either("acl", "list", user, "--json").out)
    assert rows[-1] == {
        "user": user, "allow": True, "operation": "write", "kind": "topic", "name": "a",
        "pattern": "literal", "host": "*",
    }  # fmt: skip
    either("acl", "remove", user, "read,describe", "topic:a", code=1)  # all of them or none
    assert either("acl", "remove", user, "write,read", "topic:a").out.count("removed: ") == 2
    either("acl", "remove", user, "delete", "queue:v:a", code=1)
    either("acl", "remove", user, "delete", "queue:v:a", "--prefix", "--from-host", "::1")
    assert len(json.loads(either("acl", "list", user, "--json").out)) == 1


def test_a_deleted_user_leaves_no_rule_to_another_of_that_name(either, user):
    either("acl", "allow", user, "all", "topic:*")
    either("permission", "set", user, "--read", ".*")
    either("user", "delete", user, "--yes")
    either("user", "add", user, stdin=b"secret")
    assert either("acl", "list", user, "--json").out == "[]\n"
    assert user not in either("permission", "list").out


def test_a_check_says_which_rule_decides_and_ends_with_1_where_it_refuses(either, user):
    refused = either("acl", "check", user, "read", "topic:a", code=1)
    assert refused.out == "refused: no rule allows it\n"
    assert refused.err == f"logstore: user '{user}' may not read topic:a\n"
    either("acl", "allow", user, "read", "topic:a")
    both = either("acl", "check", user, "describe,read", "topic:a").lines
    assert both == [f"allowed: allow user {user} read topic:a (literal) from *"] * 2
    either("acl", "deny", user, "all", "topic:a", "--from-host", "10.0.0.1")
    either("acl", "check", user, "read", "topic:a")
    denied = either("acl", "check", user, "read", "topic:a", "--from-host", "10.0.0.1", code=1)
    assert denied.out.startswith(f"refused: deny user {user} all topic:a")
    by_tag = either("acl", "check", "root", "alter", "cluster").out
    assert by_tag == "allowed: the user has the tag administrator\n"
    assert "there is no such user" in either("acl", "check", "no", "read", "topic:a", code=1).out
    some = either("acl", "check", user, "all", "topic:a", code=1).out
    assert some == "refused: write: no rule allows it\n"
    assert "has the tag" in either("acl", "check", "root", "all", "topic:a").out
    either("acl", "allow", user, "all", "topic:b")
    every = either("acl", "check", user, "all", "topic:b").out
    assert every == f"allowed: allow user {user} all topic:b (literal) from *\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("reed", "topic:a"), "no operation 'reed' (did you mean read?)"),
        (("", "topic:a"), "no operation ''"),
        (("read", "topics:a"), "no kind of object 'topics' (did you mean topic?)"),
        (("read", "a"), "'a' is not KIND:NAME, such as topic:orders"),
        (("read", "topic:"), "topic name '' is not allowed"),
        (("alter", "cluster:a"), "must name it kafka-cluster"),
        (
            ("cluster-action", "topic:a"),
            "operation 'cluster-action' does not apply to a topic: use one of read",
        ),
        (("read", "topic:a", "--from-host", "localhost"), "'localhost' is not an address"),
        (("read", "topic:a", "--from-host", "10.0.0.0/8"), "'10.0.0.0/8' is not an address"),
    ],
)
def test_a_rule_that_cannot_be_is_a_usage_error(logstore, data, words, error):
    for command in ("allow", "deny", "remove", "check"):
        line = logstore("acl", command, "al", *words, code=2).err
        assert error in line
        assert line.endswith(f"see `logstore acl {command} --help`\n")
    assert not data.exists()


def test_a_pattern_is_one_of_two_kinds(logstore):
    assert "use --prefix or --glob, not both" in logstore(
        "acl", "allow", "a", "read", "topic:a", "--prefix", "--glob", code=2
    ).err  # fmt: skip


def test_what_a_rule_does_not_do_is_warned_of(either, user):
    warned = either("acl", "allow", user, "read", "channel:news.*").err
    assert (
        warned
        == "logstore: warning: 'news.*' is taken as a plain name: use --glob if it is a pattern\n"
    )
    assert either("acl", "allow", user, "read", "channel:news.*", "--glob").err == ""
    assert either("acl", "allow", "*", "read", "channel:*").err == ""
    assert either("acl", "allow", "nobody", "read", "channel:*").err == (
        "logstore: warning: there is no user 'nobody' yet\n"
    )
    assert either("acl", "deny", "root", "read", "topic:t").err == (
        "logstore: warning: the rule does not restrict 'root', who has the tag administrator\n"
    )
    either("acl", "remove", "root", "read", "topic:t")
    assert "none is ANONYMOUS" in (either("acl", "allow", "ANONYMOUS", "read", "channel:*").err)
    for name, words in (("nobody", ()), ("*", ()), ("ANONYMOUS", ())):
        either("acl", "remove", name, "read", "channel:*", *words)


@pytest.mark.parametrize(
    "name", ["a b", "ä", "a:b", "\x1b[31m", "a\nb", "'\"", "*a?", "--x", "%2F"]
)
def test_a_rule_for_a_name_with_odd_characters(either, user, name):
    either("acl", "allow", user, "read", f"queue:{name}")
    [row] = json.loads(either("acl", "list", user, "--json").out)
    assert row["name"] == name
    for words in (("list", user), ("check", user, "read", f"queue:{name}")):
        shown = either("acl", *words).out
        assert "\x1b" not in shown
        assert len(shown.splitlines()) == 1 + (words[0] == "list")
    either("acl", "check", user, "read", f"queue:{name}x", code=1)
    either("acl", "remove", user, "read", f"queue:{name}")


# Permissions


def test_permissions_from_their_beginning_to_their_end(either, user):
    told = either("permission", "set", user, "--configure", "^a", "--read", ".*").out
    assert told == f"set the permissions of user {user} in virtual host /\n"
    told = either("permission", "set", user, "--exchange", "x", "--write", "^a[.]").out
    assert told == f"set the permissions of user {user} at exchange x in virtual host /\n"
    rows = [it for it in json.loads(either("permission", "list", "--json").out)
            if it["user"] == user]  # fmt: skip
    assert rows == [
        {"vhost": "/", "user": user, "exchange": None, "configure": "^a", "write": "",
         "read": ".*"},
        {"vhost": "/", "user": user, "exchange": "x", "configure": None, "write": "^a[.]",
         "read": ""},
    ]  # fmt: skip
    either("permission", "set", user, "--configure", "b")  # in the place of all three
    assert f"{user}            b" in either("permission", "list").out
    either("permission", "clear", user)
    either("permission", "clear", user, "--exchange", "x")
    assert user not in either("permission", "list").out
    either("permission", "set", user, "--exchange", "x", "--configure", "a", code=2)


def test_permissions_go_with_their_virtual_host(either, user):
    either("vhost", "add", "shop")
    either("permission", "set", user, "--read", ".*", "--vhost", "shop")
    either("permission", "set", user, "--exchange", "x", "--read", ".*", "--vhost", "shop")
    either("vhost", "delete", "shop", "--yes")
    assert user not in either("permission", "list").out


# Where the store is


def test_what_is_kept_outlives_the_process(data, logstore):
    logstore(*ROOT, stdin=b"secret")
    logstore("acl", "allow", "al", "read", "topic:t")
    with library.open(data) as store:
        assert store.users() == {"root": ("administrator",)}
    assert "al    allow  read" in logstore("acl", "list").out


@pytest.mark.long
def test_another_program_that_has_the_store_is_named_and_lists_are_shown_all_the_same(
    data, logstore
):
    logstore(*ROOT, stdin=b"secret")
    with library.open(data, "write"):
        pid = os.getpid()
        assert f"pid {pid}" in logstore("user", "add", "b", code=1, stdin=b"secret").err
        assert f"pid {pid}" in logstore("acl", "allow", "b", "read", "topic:t", code=1).err
        assert "root" in logstore("user", "list").out
        logstore("acl", "check", "root", "read", "topic:t")


@pytest.mark.long
@pytest.mark.parametrize("words", [("user", "list"), ("acl", "list"), ("permission", "list")])
def test_what_is_no_directory_is_no_store(logstore, tmp_path, words):
    file = tmp_path / "file"
    file.touch()
    assert f"{file}: not a store: " in logstore(*words, "--data", file, code=1).err


def test_a_check_of_a_topic_asks_what_it_is(data, logstore):
    logstore(*ROOT, stdin=b"secret")
    logstore("user", "add", "ana", "--no-password")
    logstore("acl", "allow", "ana", "read", "channel:news.a")
    (data / "logstore.toml").write_text('[[channel]]\npattern = "news.*"\nhistory = "1h"\n')
    told = logstore("acl", "check", "ana", "read", "topic:news.a").out
    assert told.startswith("allowed: it is channel:news.a: ")


@pytest.mark.long
def test_to_look_at_users_changes_no_backup(tmp_path, logstore):
    logstore(*ROOT, stdin=b"secret")
    backup = tmp_path / "backup"
    logstore("backup", backup)
    for words in (("user", "list"), ("acl", "list"), ("permission", "list"),
                  ("acl", "check", "root", "read", "topic:t")):  # fmt: skip
        logstore(*words, "--data", backup)
    logstore("restore", backup, "--data", tmp_path / "again")
    assert "root" in logstore("user", "list", "--data", tmp_path / "again").out


def test_no_password_is_on_disk(data, logstore):
    logstore(*ROOT, stdin=b"open sesame\n")
    for path in data.rglob("*"):
        if path.is_file():
            assert b"open sesame" not in path.read_bytes(), path


# At a terminal


@pytest.mark.long
def test_a_password_is_typed_twice_and_not_shown(data, logstore):
    said, code = at_a_terminal(data, "user", "add", "al", typed=[b"secret\n", b"secret\n"])
    assert code == 0
    assert "New password of al: " in said
    assert "secret" not in said
    assert users(logstore)["al"]["mechanisms"] == BOTH


@pytest.mark.long
def test_two_passwords_that_differ_are_none(data):
    said, code = at_a_terminal(data, "user", "add", "al", typed=[b"secret\n", b"sekret\n"])
    assert code == 1
    assert "the two passwords differ: nothing was changed" in said
    assert not data.exists()


@pytest.mark.long
def test_ctrl_c_instead_of_a_password_does_nothing(data):
    said, code = at_a_terminal(data, "user", "add", "al", typed=[b"\x03"])
    assert code in (130, -signal.SIGINT)
    assert "Traceback" not in said
    assert not data.exists()


@pytest.mark.long
def test_no_terminal_and_no_standard_input_is_one_line(data):
    done = subprocess.run(
        ["bash", "-c", f"exec {COMMAND} user add al <&-"], capture_output=True, text=True,
        start_new_session=True, env={**os.environ, "LOGSTORE_DATA": str(data)}, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


# SASLprep


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("user", "user"), ("I\u00adX", "IX"), ("\u00aa", "a"), ("\u2168", "IX"),  # RFC 4013, 3
        ("\u0007", None), ("\u06271", None), ("\u0627a\u0627", None),
        ("\u0627\u0628", "\u0627\u0628"),
        ("a\u00a0b", "a b"), ("ä", "ä"), ("\u0221", None),
    ],
)  # fmt: skip
def test_what_a_client_makes_of_a_password(text, sent):
    assert prepared(text) == sent


def test_a_password_that_some_clients_change_is_warned_of(either, user):
    warned = either("user", "passwd", user, stdin="\u2168\n".encode()).err
    assert warned.count("\n") == 1
    assert "the password has characters that clients which apply SASLprep" in warned
    assert either("user", "passwd", user, stdin="passwörd\n".encode()).err == ""


# Damage


def spoil(data, kind):
    """The last bit of each such row."""
    with library.open(data) as store:
        environment = store.internals().groups.environment
        for key, value in environment.items(b"access", kind + b"\0"):
            environment.commit([(b"access", key, value[:-1] + bytes([value[-1] ^ 1]))])


@pytest.fixture(params=["here", "served"])
def damaged(request, data, logstore):
    """``logstore``, whose store has a rule and a user that are damaged."""
    logstore(*ROOT, stdin=b"secret")
    logstore("user", "add", "al", stdin=b"secret")
    logstore("acl", "allow", "root", "read", "topic:t")
    spoil(data, b"rule")
    with library.open(data) as store:
        environment = store.internals().groups.environment
        value = environment.get(b"access", b"user\0al")
        environment.commit([(b"access", b"user\0al", value[:-1])])
    if request.param == "here":
        yield logstore
        return
    server = Serving(data, resp_port=-1)
    yield logstore
    code, errors = server.stop()
    assert code == 0
    assert "user 'al' is damaged" in errors
    assert "Traceback" not in errors


@pytest.mark.long
def test_damaged_rows_are_shown_and_removed(damaged):
    shown = damaged("acl", "repair", code=2)
    assert len(shown.out.splitlines()) == 2
    assert "user 'al' is damaged" in shown.out
    assert "user 'root', name 't') is damaged" in shown.out
    assert "--yes" in shown.err
    assert damaged("acl", "repair", "--yes").out.splitlines()[-1] == "removed 2 damaged rows"
    assert damaged("acl", "repair", "--yes").out == "nothing is damaged\n"
    assert list(users(damaged)) == ["root"]


@pytest.mark.long
def test_a_damaged_user_is_added_anew(damaged):
    damaged("user", "add", "al", stdin=b"secret")
    assert list(users(damaged)) == ["al", "root"]
    assert damaged("acl", "repair", "--yes").out.splitlines()[-1] == "removed 1 damaged row"
    assert list(users(damaged)) == ["al", "root"]
