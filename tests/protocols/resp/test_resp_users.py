"""Users at the Redis door: logging in, what is held before, rules that change, ACL."""

import hashlib
import logging

import pytest
from heard_audit import Heard
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_parts import request
from resp_kit import FakeDoor, boss, user
from work_counted import lines_run

from logstore.access.refusals import Refusals
from logstore.access.resources import CHANNEL, READ, WRITE
from logstore.kept.users import KeptQuota, KeptRule
from logstore.patterns import PATTERN_BYTES_MAX
from logstore.protocols.resp import tracking
from logstore.protocols.resp.acl_log import ENTRIES_MAX, OBJECT_BYTES_MAX
from logstore.protocols.resp.client import LOGIN_S
from logstore.protocols.resp.login import SHOWN_BYTES_MAX
from logstore.protocols.resp.permits import NAME_BYTES_MAX
from logstore.protocols.resp.requests import ARGUMENTS_BEFORE_LOGIN, BULK_BYTES_BEFORE_LOGIN
from logstore.protocols.resp.session import OUT_BYTES_MAX

OK = b"+OK\r\n"
NOAUTH = b"-NOAUTH Authentication required.\r\n"
WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
NO_CHANNEL = b"-NOPERM No permissions to access a channel\r\n"
HASH = hashlib.sha256(b"weak").hexdigest()


def no_command(name, command):
    return f"-NOPERM User {name} has no permissions to run the '{command}' command\r\n".encode()


@pytest.fixture
def door():
    news = user("al", "pw", redis="on resetchannels &news.* -@all +@pubsub +@connection")
    return FakeDoor(users=[boss(), news])


# Logging in


def test_nothing_but_a_login_is_heard_before_it(door):
    peer = door.connect()
    assert peer.ask("PING") == NOAUTH
    assert peer.ask("NOPE").startswith(b"-ERR unknown command")
    assert peer.ask("PUBLISH") == b"-ERR wrong number of arguments for 'publish' command\r\n"
    assert peer.ask("AUTH", "al", "pw") == OK
    assert peer.ask("PING") == b"+PONG\r\n"
    assert peer.ask("ACL", "WHOAMI") == no_command("al", "acl|whoami")
    assert b"user=al " in peer.ask("CLIENT", "INFO")


@pytest.mark.parametrize(
    "words",
    [
        ["AUTH", "al", "no"], ["AUTH", "al", ""], ["AUTH", "", "pw"], ["AUTH", "nobody", "pw"],
        ["AUTH", "pw"], ["AUTH", b"\xff", "pw"], ["AUTH", "al\0", "pw"], ["AUTH", "AL", "pw"],
        ["HELLO", "3", "AUTH", "al", "no"], ["HELLO", "2", "AUTH", "nobody", "pw", "SETNAME", "x"],
    ],
)  # fmt: skip
def test_who_it_is_not_is_told_no_more(door, words):
    peer = door.connect()
    assert peer.ask(*words) == WRONGPASS
    assert peer.ask("PING") == NOAUTH


def test_a_hello_says_who_it_is_and_which_version(door):
    peer = door.connect()
    assert peer.ask("HELLO").startswith(b"-NOAUTH HELLO must be called with the client already")
    assert peer.ask("HELLO", "3").startswith(b"-NOAUTH HELLO must be called")
    assert peer.ask("HELLO", "3", "AUTH", "al").startswith(b"-ERR Syntax error in HELLO option")
    assert peer.ask("HELLO", "3", "SETNAME", "me", "AUTH", "al", "pw").startswith(b"%7\r\n")
    assert b"name=me " in peer.ask("CLIENT", "INFO")


def test_a_refused_hello_changes_nothing(door):
    peer = door.log_in()
    assert peer.ask("HELLO", "3", "SETNAME", "me", "AUTH", "al", "no") == WRONGPASS
    assert peer.ask("HELLO", "3", "SETNAME", "me", "NOPE").startswith(b"-ERR Syntax error")
    info = peer.ask("CLIENT", "INFO")
    assert b"name= " in info
    assert b"resp=2 " in info
    assert b"user=boss " in info  # a failed login does not end what was before


def test_requests_behind_a_login_wait_for_it(door):
    door.later = []
    peer = door.connect()
    data = request("AUTH", "al", "pw") + request("PUBLISH", "news.a", "x") * 5 + request("PING")
    assert peer.send(data) == b""
    assert peer.session.busy
    door.do_jobs()
    assert peer.send(b"") == OK + b":0\r\n" * 5 + b"+PONG\r\n"


def test_who_is_gone_while_the_password_is_checked_is_not_logged_in(door):
    door.later = []
    peer = door.connect()
    peer.send(request("AUTH", "al", "pw"))
    door.access.change(forget=[door.access.users["al"]])
    door.do_jobs()
    assert peer.send(b"") == WRONGPASS
    assert peer.ask("PING") == NOAUTH


def test_a_reset_forgets_who_it_was(door):
    peer = door.log_in("al", "pw")
    assert peer.send(request("RESET") + request("PUBLISH", "news.a", "x") * 5) == (
        b"+RESET\r\n" + NOAUTH * 5
    )
    assert peer.session.deadline == door.now + LOGIN_S
    assert peer.ask("AUTH", "al", "pw") == OK
    assert peer.session.deadline is None


def test_a_user_who_is_off_does_not_come_in_by_any_password():
    text = "off nopass ~* &* +@all"
    door = FakeDoor(users=[boss(), user("al", "pw", redis=text, weak=[HASH])])
    peer = door.connect()
    assert peer.ask("AUTH", "al", "pw") == WRONGPASS
    assert peer.ask("AUTH", "al", "weak") == WRONGPASS


def test_a_hash_of_redis_is_enough_and_each_is_tried():
    other = hashlib.sha256(b"other").hexdigest()
    door = FakeDoor(users=[boss(), user("al", redis="on +@all", weak=[other, HASH])])
    assert door.log_in("al", "weak").ask("PING") == b"+PONG\r\n"
    assert door.log_in("al", "other").ask("PING") == b"+PONG\r\n"
    assert door.connect().ask("AUTH", "al", HASH) == WRONGPASS


def test_the_default_user_without_a_password_needs_no_login():
    text = "on nopass resetchannels &open -@all +publish"
    door = FakeDoor(users=[boss(), user("default", redis=text)])
    peer = door.connect()
    assert peer.ask("PUBLISH", "open", "x") == b":0\r\n"
    assert peer.ask("PUBLISH", "other", "x") == NO_CHANNEL
    assert peer.ask("AUTH", "x").startswith(b"-ERR AUTH <password> called without any password")
    assert peer.ask("AUTH", "default", "anything") == OK
    assert peer.ask("AUTH", "boss", "secret") == OK
    assert peer.ask("PUBLISH", "other", "x") == b":0\r\n"
    peer.ask("RESET")
    assert peer.ask("PUBLISH", "other", "x") == NO_CHANNEL


def test_one_password_is_the_default_user_s():
    door = FakeDoor(users=[boss(), user("default", "pw", redis="on &* +@all")])
    peer = door.connect()
    assert peer.ask("PING") == NOAUTH
    assert peer.ask("AUTH", "no") == WRONGPASS
    assert peer.ask("AUTH", "pw") == OK
    assert peer.ask("ACL", "WHOAMI") == b"$7\r\ndefault\r\n"


def test_while_there_are_no_users_it_is_as_it_was():
    peer = FakeDoor().connect()
    assert peer.ask("AUTH", "x").startswith(b"-ERR AUTH <password> called without any password")
    assert peer.ask("AUTH", "default", "x") == OK
    assert peer.ask("AUTH", "al", "x") == WRONGPASS
    assert peer.ask("ACL", "WHOAMI") == b"$7\r\ndefault\r\n"
    assert peer.ask("ACL", "LIST") == b"*1\r\n$51\r\n" + (
        b"user default on nopass sanitize-payload ~* &* +@all\r\n"
    )


# What is held before a login


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (b"*%d\r\n" % (ARGUMENTS_BEFORE_LOGIN + 1), b"multibulk"),
        (b"*1000000\r\n", b"multibulk"),
        (b"*2\r\n$4\r\nAUTH\r\n$%d\r\n" % (BULK_BYTES_BEFORE_LOGIN + 1), b"bulk"),
        (request("PUBLISH", "a", "x" * (BULK_BYTES_BEFORE_LOGIN + 1)), b"bulk"),
        (request(*["x"] * (ARGUMENTS_BEFORE_LOGIN + 1)), b"multibulk"),
    ],
)
def test_no_more_is_taken_before_a_login_than_it_needs(door, sent, what):
    peer = door.connect()
    assert peer.send(sent) == b"-ERR Protocol error: unauthenticated %b length\r\n" % what
    assert peer.session.closed is not None
    other = door.log_in()
    assert b"unauthenticated" not in other.send(sent)


def test_the_largest_request_before_a_login_is_taken(door):
    peer = door.connect()
    words = ["x" * BULK_BYTES_BEFORE_LOGIN] * (ARGUMENTS_BEFORE_LOGIN - 1)
    assert peer.ask("AUTH", *words) == b"-ERR syntax error\r\n"
    assert peer.session.held_bytes < 1 << 20


@pytest.mark.long
def test_replies_that_are_not_fetched_do_not_grow_before_a_login(door):
    peer = door.connect()
    data = memoryview(bytearray(request("PING") * 40_000))
    at, taken = 0, 1
    while taken:
        taken = peer.session.receive(data[at:], door.now)
        at += taken
    held = peer.session.held_bytes
    assert at < len(data)
    assert held <= OUT_BYTES_MAX + (1 << 16)
    assert peer.session.receive(data[at:], door.now) == 0
    assert peer.session.held_bytes == held


def test_who_does_not_log_in_in_time_is_cut_off(door):
    peer = door.connect()
    assert peer.link.woken == 1  # so that the time is known from which it is counted
    peer.session.wake(door.now)
    assert peer.session.deadline == door.now + LOGIN_S
    peer.wait(LOGIN_S / 2)
    assert peer.ask("PING") == NOAUTH
    assert peer.link.cut_for is None
    peer.wait(LOGIN_S / 2)
    assert peer.link.cut_for == "it has not logged in within 10 s"


def test_who_has_logged_in_may_be_silent(door):
    peer = door.connect()
    peer.session.wake(door.now)
    assert peer.ask("AUTH", "al", "pw") == OK
    assert peer.session.deadline is None
    peer.wait(LOGIN_S * 2)
    assert peer.ask("PING") == b"+PONG\r\n"


def test_a_refusal_is_held_back_longer_each_time():
    door = FakeDoor(users=[boss()], delay_s=0.5)
    peer = door.connect()
    for delay_s in (0.5, 1.0, 2.0):
        woken = peer.link.woken
        assert peer.send(request("AUTH", "boss", "no") + request("PING")) == b""
        assert peer.link.woken > woken  # so that the time is known from which it is counted
        assert peer.wait(0) == b""
        assert peer.session.deadline == door.now + delay_s
        assert peer.wait(delay_s - 0.1) == b""
        assert peer.wait(0.2) == WRONGPASS + NOAUTH
    assert peer.ask("AUTH", "boss", "secret") == OK


def test_who_is_cut_off_while_a_refusal_is_held_back_is_gone():
    door = FakeDoor(users=[boss()], delay_s=6.0)
    peer = door.connect()
    peer.session.wake(door.now)
    assert peer.send(request("AUTH", "boss", "no")) == b""
    peer.wait(0)
    peer.wait(4.0)
    peer.send(request("AUTH", "boss", "no"))
    peer.wait(6.1)
    assert peer.link.cut_for is not None
    assert not door.everyone


# Protected mode


def test_from_another_machine_nobody_comes_in_without_a_password():
    door = FakeDoor(protected=True)
    assert door.connect("127.0.0.9").ask("PING") == b"+PONG\r\n"
    assert door.connect("::1").ask("PING") == b"+PONG\r\n"
    peer = door.connect("10.0.0.1")
    assert peer.link.woken
    peer.session.wake(door.now)
    peer.link.sent += b"".join(peer.session.outgoing(1 << 20))
    assert peer.new().startswith(b"-DENIED Redis is running in protected mode because ")
    assert peer.session.closed is not None
    assert peer.session.receive(memoryview(request("PING")), door.now) == len(request("PING"))
    assert peer.session.outgoing(1 << 20) == ()


def test_protected_mode_asks_for_the_default_user_s_password_alone():
    text = "on nopass ~* &* +@all"
    door = FakeDoor(users=[boss(), user("default", redis=text)], protected=True)
    assert door.connect().ask("PING") == b"+PONG\r\n"
    assert door.connect("10.0.0.1").session.closed is not None
    guarded = FakeDoor(users=[boss()], protected=True)
    peer = guarded.connect("10.0.0.1")
    assert peer.ask("PING") == NOAUTH
    assert peer.ask("AUTH", "boss", "secret") == OK
    assert FakeDoor().connect("10.0.0.1").ask("PING") == b"+PONG\r\n"


# Rules that change while one is connected


def test_a_deleted_user_s_connections_end(door):
    one, other = door.log_in("al", "pw"), door.log_in()
    one.ask("SUBSCRIBE", "news.a")
    assert other.ask("ACL", "DELUSER", "al", "nobody", "al") == b":1\r\n"
    assert one.link.cut_for == "user 'al' was deleted"
    assert other.ask("PUBLISH", "news.a", "x") == b":0\r\n"
    assert other.ask("AUTH", "al", "pw") == WRONGPASS


def test_who_deletes_himself_is_told_first(door):
    door.access.change([user("second", "pw", tags=["administrator"])])
    peer = door.log_in()
    assert peer.send(request("ACL", "DELUSER", "boss") + request("PING")) == b":1\r\n"
    assert peer.session.closed == "user 'boss' was deleted"


def test_a_channel_that_is_taken_away_ends_who_hears_it(door):
    by_name, by_pattern, apart, quiet, others = [door.log_in("al", "pw") for _ in range(5)]
    by_name.ask("SUBSCRIBE", "news.a")
    by_pattern.ask("PSUBSCRIBE", "news.*")
    apart.ask("SSUBSCRIBE", "news.a")
    others.ask("SUBSCRIBE", "news.b")
    root = door.log_in()
    assert root.ask("ACL", "SETUSER", "al", "resetchannels", "&news.b") == OK
    gone = [it.link.cut_for for it in (by_name, by_pattern, apart)]
    assert gone == [
        f"user 'al' may no longer listen to {it!r}" for it in (b"news.a", b"news.*", b"news.a")
    ]
    assert quiet.link.cut_for is others.link.cut_for is None
    assert root.ask("PUBLISH", "news.b", "x") == b":1\r\n"
    assert quiet.ask("PUBLISH", "news.a", "x") == NO_CHANNEL


def test_a_rule_of_the_other_languages_ends_it_too(door):
    rule = KeptRule("al", READ, CHANNEL, "sport")
    door.access.change([rule])
    one, two = door.log_in("al", "pw"), door.log_in("al", "pw")
    assert one.ask("SUBSCRIBE", "sport").startswith(b"*3\r\n$9\r\nsubscribe")
    assert two.ask("SUBSCRIBE", "news.a").startswith(b"*3\r\n$9\r\nsubscribe")
    door.access.change([KeptRule("*", READ, CHANNEL, "news.a", allow=False)])
    assert one.link.cut_for is None
    assert two.link.cut_for == "user 'al' may no longer listen to b'news.a'"
    door.access.change(forget=[rule])
    assert one.link.cut_for == "user 'al' may no longer listen to b'sport'"


def test_what_may_be_published_is_seen_anew_after_each_change(door):
    peer = door.log_in("al", "pw")
    run = request("PUBLISH", "news.a", "x") * 5
    assert peer.send(run) == b":0\r\n" * 5
    deny = KeptRule("*", WRITE, CHANNEL, "news.a", allow=False)
    door.access.change([deny])
    assert peer.send(run) == NO_CHANNEL * 5
    door.access.change(forget=[deny])
    assert peer.send(run) == b":0\r\n" * 5


def test_the_first_user_ends_who_has_come_in_without_one():
    door = FakeDoor()
    one, other = door.connect(), door.connect()
    one.ask("SUBSCRIBE", "a")
    assert other.ask("PING") == b"+PONG\r\n"
    door.access.change([boss()])
    assert (
        one.link.cut_for
        == other.link.cut_for
        == ("it has not logged in, although there are users now")
    )
    assert door.connect().ask("PING") == NOAUTH


def test_a_password_for_the_default_user_makes_it_the_first():
    door = FakeDoor()
    one, other = door.connect(), door.connect()
    assert one.ask("ACL", "SETUSER", "default", ">first") == OK
    assert one.ask("ACL", "WHOAMI") == b"$7\r\ndefault\r\n"
    assert other.link.cut_for is not None
    assert door.access.users["default"].tags == ("administrator",)
    peer = door.connect()
    assert peer.ask("PING") == NOAUTH
    assert peer.ask("AUTH", "first") == OK
    assert peer.ask("ACL", "LIST") == (
        b"*1\r\n$44\r\nuser default on sanitize-payload ~* &* +@all\r\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["al", "on", ">pw"], ["default", "off"], ["default", ">pw", "-@all"], ["default", "reset"],
        ["default", ">pw", "nopass", "off"], ["default", "#" + HASH], ["default", "resetpass"],
        ["default", ">pw", "resetpass"], ["default", ">pw", "<pw"],
    ],
)  # fmt: skip
def test_the_first_user_must_be_able_to_go_on(words):
    door = FakeDoor()
    peer = door.connect()
    assert peer.ask("ACL", "SETUSER", *words).startswith(b"-ERR the first user must be an admin")
    assert not door.access.required
    assert peer.ask("ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all") == OK
    assert not door.access.required


# Transactions


def test_what_is_not_allowed_ends_the_transaction_when_it_is_queued():
    text = "on &a +@all -ping"
    door = FakeDoor(users=[boss(), user("al", "pw", redis=text)])
    peer = door.log_in("al", "pw")
    peer.ask("MULTI")
    assert peer.ask("PUBLISH", "a", "x") == b"+QUEUED\r\n"
    assert peer.ask("PUBLISH", "b", "x") == NO_CHANNEL
    assert peer.ask("PING") == no_command("al", "ping")
    assert peer.ask("EXEC") == (b"-EXECABORT Transaction discarded because of previous errors.\r\n")


def test_rights_are_asked_again_when_a_transaction_is_carried_out(door):
    door.access.change([user("al", "pw", redis="on &a &b +@all")])
    peer, root = door.log_in("al", "pw"), door.log_in()
    peer.ask("MULTI")
    for words in (["PUBLISH", "a", "x"], ["PUBLISH", "b", "x"], ["PING"], ["EXISTS", "k"]):
        assert peer.ask(*words) == (b"+QUEUED\r\n" if words[0] != "EXISTS" else (
            b"-NOPERM No permissions to access a key\r\n"
        ))  # fmt: skip
    peer.ask("DISCARD")
    peer.ask("MULTI")
    for words in (["PUBLISH", "a", "x"], ["PUBLISH", "b", "x"], ["PING"]):
        assert peer.ask(*words) == b"+QUEUED\r\n"
    assert root.ask("ACL", "SETUSER", "al", "resetchannels", "&b", "-ping") == OK
    changed = (
        b"-NOPERM ACLs rules changed between the moment the transaction was accumulated and the "
        b"EXEC call. This command is no longer allowed for the following reason: no permission to "
    )
    assert peer.ask("EXEC") == (
        b"*3\r\n" + changed + b"access one of the channels used as arguments\r\n:0\r\n"
        + changed + b"execute the command or subcommand\r\n"
    )  # fmt: skip


def test_a_login_in_a_transaction_counts_for_what_follows_it(door):
    peer = door.log_in()
    peer.ask("MULTI")
    peer.ask("AUTH", "al", "pw")
    peer.ask("PUBLISH", "other", "x")
    peer.ask("PUBLISH", "news.a", "x")
    reply = peer.ask("EXEC")
    assert reply.startswith(b"*3\r\n+OK\r\n-NOPERM ACLs rules changed")
    assert reply.endswith(b":0\r\n")


# What it costs


def test_a_run_of_messages_asks_once_whether_it_may_be_published():
    """Publishing is what most requests do: it must cost the same with users as without."""
    al = user("al", "pw", redis="on &news.* -@all +publish")
    with_users = FakeDoor(users=[boss(), al]).log_in("al", "pw")
    without = FakeDoor().connect()
    lines = []
    for peer in (without, with_users):
        data = memoryview(bytearray(request("PUBLISH", "news.a", "x") * 1000))
        peer.session.receive(data, 100.0)  # by now it is known that it may
        peer.session.outgoing(1 << 20)
        lines.append(lines_run("logstore", lambda p=peer, d=data: p.session.receive(d, 100.0)))
    assert lines[1] - lines[0] <= 10
    mixed = b"".join(request("PUBLISH", f"news.{number}", "x") for number in range(100))
    view = memoryview(bytearray(mixed))
    counts = []
    for peer in (without, with_users):
        peer.session.receive(view, 100.0)
        counts.append(lines_run("logstore", lambda p=peer: p.session.receive(view, 100.0)))
    assert counts[1] - counts[0] <= 100 * 5  # a look-up for each channel


# Any bytes before a login


WORDS = st.sampled_from(
    [b"AUTH", b"HELLO", b"QUIT", b"RESET", b"PING", b"MULTI", b"EXEC", b"PUBLISH", b"SUBSCRIBE",
     b"3", b"al", b"no", b"default", b"", b"\x00", b"\xff", b"x" * 16_385, b"SETNAME", b"ACL"]
)  # fmt: skip
PIECES = st.one_of(
    st.binary(max_size=20),
    st.lists(WORDS, min_size=1, max_size=12).map(lambda words: request(*words)),
    st.sampled_from(
        [b"*3\r\n", b"*11\r\n", b"$4\r\nAUTH\r\n", b"$-1\r\n", b"*-1\r\n", b"PING\r\n"]
    ),
)


@pytest.mark.long
@settings(max_examples=500)
@given(st.lists(PIECES, max_size=8), st.integers(1, 100))
def test_any_bytes_before_a_login_are_refused_and_change_nothing(pieces, step):
    door = FakeDoor(users=[boss(), user("al", "pw", redis="on &* +@all")])
    peer, data, got = door.connect(), b"".join(pieces), b""
    for at in range(0, len(data), step):
        got += peer.send(data[at : at + step])
    assert not peer.session.busy
    assert not peer.session._client.known
    assert len(door.channels.names) == 0
    assert b"+PONG" not in got
    assert peer.session.held_bytes < 1 << 20
    assert set(door.access.users) == {"boss", "al"}
    assert door.log_in("al", "pw").ask("PING") == b"+PONG\r\n"


def test_one_pattern_must_allow_all_that_is_done_with_a_key():
    text = "on %R~x* %W~x1 %RW~y +@all"
    door = FakeDoor(users=[boss(), user("al", "pw", redis=text)])
    peer = door.log_in("al", "pw")
    no = b"-NOPERM No permissions to access a key\r\n"
    assert peer.ask("MOVE", "x1", "1") == no
    assert peer.ask("MOVE", "y", "1") == b":0\r\n"
    assert peer.ask("TTL", "x1") == b":-2\r\n"
    assert peer.ask("DEL", "x1") == b":0\r\n"
    assert peer.ask("DEL", "x2") == no


def test_what_selectors_allow_together_is_not_allowed():
    text = "on &a -@all +publish (&b +publish) (&c +subscribe)"
    rule = KeptRule("al", WRITE, CHANNEL, "c")
    door = FakeDoor(users=[boss(), user("al", "pw", redis=text)], rules=[rule])
    peer = door.log_in("al", "pw")
    for name in ("a", "b", "c"):  # the last by a rule of ours
        assert peer.send(request("PUBLISH", name, "x") * 5) == b":0\r\n" * 5
    assert peer.ask("PUBLISH", "d", "x") == NO_CHANNEL
    assert peer.ask("SUBSCRIBE", "a") == NO_CHANNEL
    door.access.change([user("al", "pw", redis="on &a -@all +subscribe (&b +subscribe)")])
    peer = door.log_in("al", "pw")
    assert peer.ask("SUBSCRIBE", "a", "b") == NO_CHANNEL
    assert peer.ask("SUBSCRIBE", "a").startswith(b"*3\r\n$9\r\nsubscribe")
    assert peer.ask("SUBSCRIBE", "b").startswith(b"*3\r\n$9\r\nsubscribe")


# Many names


def test_many_names_are_asked_about_before_any_counts(door):
    peer = door.log_in("al", "pw")
    names = [f"news.{number}" for number in range(5000)]
    assert peer.ask("SUBSCRIBE", *names, "other") == NO_CHANNEL
    assert len(door.channels.names) == 0
    assert peer.ask("SUBSCRIBE", *names).count(b"subscribe") == 5000
    peer = door.log_in()
    peer.ask("MULTI")
    assert peer.ask("SUBSCRIBE", *names) == b"+QUEUED\r\n"


def test_what_others_listen_to_is_shown_as_far_as_it_may_be_seen(door):
    root, peer = door.log_in(), door.log_in("al", "pw")
    root.ask("SUBSCRIBE", "news.a", "secret")
    assert peer.ask("PUBSUB", "CHANNELS") == b"*1\r\n$6\r\nnews.a\r\n"
    assert peer.ask("PUBSUB", "CHANNELS", "s*") == b"*0\r\n"
    assert peer.ask("PUBSUB", "NUMSUB", "news.a", "secret") == (
        b"*4\r\n$6\r\nnews.a\r\n:1\r\n$6\r\nsecret\r\n:0\r\n"
    )


# ACL


def test_a_user_is_made_changed_and_shown(door):
    root = door.log_in()
    assert root.ask("ACL", "GETUSER", "bo") == b"$-1\r\n"
    assert root.ask("ACL", "SETUSER", "bo") == OK
    shown = b"user bo off sanitize-payload resetchannels -@all"
    assert shown in root.ask("ACL", "LIST")
    assert root.ask("ACL", "SETUSER", "bo", "on", ">pw", "#" + HASH, "~k*", "&a", "+ping",
                    "(%R~r", "+exists)") == OK  # fmt: skip
    shown = (
        f"user bo on sanitize-payload #{HASH} ~k* resetchannels &a -@all +ping "
        f"(%R~r resetchannels -@all +exists)"
    )
    assert shown.encode() in root.ask("ACL", "LIST")
    assert door.log_in("bo", "pw").ask("PING") == door.log_in("bo", "weak").ask("PING")
    assert set(door.access.users["bo"].scram) == {"SCRAM-SHA-256", "SCRAM-SHA-512"}
    root.ask("HELLO", "3")
    assert root.ask("ACL", "GETUSER", "bo") == (
        b"%%6\r\n$5\r\nflags\r\n~2\r\n$2\r\non\r\n$16\r\nsanitize-payload\r\n"
        b"$9\r\npasswords\r\n*1\r\n$64\r\n%b\r\n$8\r\ncommands\r\n$11\r\n-@all +ping\r\n"
        b"$4\r\nkeys\r\n$3\r\n~k*\r\n$8\r\nchannels\r\n$2\r\n&a\r\n$9\r\nselectors\r\n*1\r\n"
        b"%%3\r\n$8\r\ncommands\r\n$13\r\n-@all +exists\r\n$4\r\nkeys\r\n$4\r\n%%R~r\r\n"
        b"$8\r\nchannels\r\n$0\r\n\r\n" % HASH.encode()
    )
    assert root.ask("ACL", "SETUSER", "bo", "<pw", "!" + HASH) == OK
    assert door.connect().ask("AUTH", "bo", "pw") == WRONGPASS


def test_all_of_a_setuser_counts_or_nothing(door):
    root = door.log_in()
    for words, wrong in [
        (["&b", "+nope"], b"modifier '+nope': Unknown command or category name in ACL"),
        (["&b", "<other"], b"modifier '<': The password you are trying to remove"),
        (["&b", "!" + HASH], b"The password you are trying to remove from the user does not exist"),
        (["&b", "<pw", "<pw"], b"modifier '<': The password you are trying to remove"),
        (["&b", ">"], b"modifier '>': the password is empty"),
        (["&b", *[">x"] * 65], b"65 passwords at once: at most 64"),
        (["&b", *[f"#{number:064x}" for number in range(64)], "#" + HASH], b"at once"),
        (["&b", ">a\0b"], b"modifier '>': the password has a NUL"),
        (["&b", b">\xff"], b"modifier '>': the password is not UTF-8"),
        (["&b", "(~a"], b"Unmatched parenthesis in acl selector starting at '(~a'."),
    ]:
        before = dict(door.access.users)
        assert wrong in root.ask("ACL", "SETUSER", "al", *words), words
        assert door.access.users == before
    assert door.log_in("al", "pw")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("a b", b"-ERR Usernames can't contain spaces or null characters\r\n"),
        ("a\0", b"-ERR Usernames can't contain spaces or null characters\r\n"),
        ("", b"-ERR Usernames can't contain spaces or null characters\r\n"),
        ("*", b"-ERR user name '*' is not allowed"),
        (b"\xff", b"-ERR a user's name must be UTF-8\r\n"),
        ("x" * 256, b"-ERR user name "),
        ("ANONYMOUS", b"-ERR no user can be called 'ANONYMOUS'"),
    ],
)
def test_a_name_that_nobody_may_have_is_refused(door, name, error):
    before = dict(door.access.users)
    assert door.log_in().ask("ACL", "SETUSER", name, "on").startswith(error)
    assert door.access.users == before


def test_a_user_without_redis_s_rules_keeps_his_commands_when_he_is_given_a_channel(door):
    door.access.change([user("bo", "pw")])
    root, peer = door.log_in(), door.log_in("bo", "pw")
    assert peer.ask("PUBLISH", "a", "x") == NO_CHANNEL
    assert root.ask("ACL", "SETUSER", "bo", "on") == OK
    assert door.access.users["bo"].redis is None
    assert root.ask("ACL", "SETUSER", "bo", "&a") == OK
    assert peer.ask("PUBLISH", "a", "x") == b":0\r\n"
    assert peer.ask("PING") == b"+PONG\r\n"


def test_no_rule_of_redis_limits_or_locks_out_an_administrator(door):
    root = door.log_in()
    for words, why in [
        (["-@all"], b"no rules limit one"), (["reset", ">x"], b"no rules limit one"),
        (["resetchannels"], b"no rules limit one"), (["(+get)"], b"no rules limit one"),
        (["nopass"], b"must have a password"), (["off"], b"is the last administrator"),
    ]:  # fmt: skip
        assert why in root.ask("ACL", "SETUSER", "boss", *words), words
    assert b"must remain" in root.ask("ACL", "DELUSER", "boss")
    assert root.ask("ACL", "SETUSER", "boss", ">new", "+@all", "~*") == OK
    assert door.log_in("boss", "new")
    assert root.ask("PING") == b"+PONG\r\n"
    door.access.change([user("second", "pw", tags=["administrator"])])
    assert root.ask("ACL", "SETUSER", "boss", "off") == OK
    assert root.ask("PING") == b"+PONG\r\n"  # as Redis: who is in stays in
    assert door.connect().ask("AUTH", "boss", "new") == WRONGPASS
    assert b"is the last administrator" in root.ask("ACL", "SETUSER", "second", "off")


def test_rules_from_before_he_was_an_administrator_limit_him_no_more():
    text = "on nopass ~k resetchannels &a -@all +publish"
    for name in ("al", "default"):
        door = FakeDoor(users=[boss(), user(name, "pw", redis=text, tags=["administrator"])])
        stranger = door.connect()
        assert stranger.ask("PING") == NOAUTH  # no administrator is without a password
        assert stranger.ask("AUTH", name, "no") == WRONGPASS
        peer = door.log_in(name, "pw")
        assert peer.ask("PUBLISH", "b", "x") == b":0\r\n"
        assert f"user {name} on sanitize-payload ~* &* +@all".encode() in peer.ask("ACL", "LIST")
        assert peer.ask("ACL", "SETUSER", name, ">new") == OK
        assert door.access.users[name].redis == text
        assert peer.ask("ACL", "SETUSER", name, "off") == OK
        assert door.access.users[name].redis == (
            "off nopass sanitize-payload ~k resetchannels &a -@all +publish"
        )
        assert door.connect().ask("AUTH", name, "new") == WRONGPASS


def test_who_may_change_users_does_not_become_an_administrator_by_it(door):
    alter = KeptRule("al", "alter", "cluster", "kafka-cluster")
    door.access.change([alter, user("al", "pw", redis="on ~* &* +@all")])
    peer = door.log_in("al", "pw")
    assert peer.ask("ACL", "SETUSER", "bo", "on", ">x") == OK
    no = b"-NOPERM only an administrator may change the administrator 'boss'\r\n"
    assert peer.ask("ACL", "SETUSER", "boss", ">mine") == no
    assert peer.ask("ACL", "DELUSER", "bo", "boss") == no
    assert "bo" in door.access.users
    assert peer.ask("ACL", "SETUSER", "al", "(~x", "+get)") == OK
    assert door.access.users["al"].tags == ()


def test_the_default_user_is_not_deleted_by_redis(door):
    root = door.log_in()
    no = b"-ERR The 'default' user cannot be removed\r\n"
    assert root.ask("ACL", "DELUSER", "al", "default") == no
    assert "al" in door.access.users
    assert root.ask("ACL", "DELUSER", "nobody") == b":0\r\n"


def test_what_named_a_deleted_user_goes_with_him(door):
    door.access.change([KeptRule("al", READ, CHANNEL, "sport")])
    assert door.log_in().ask("ACL", "DELUSER", "al") == b":1\r\n"
    assert door.access.rules == ()


def test_changes_of_one_user_come_one_by_one(door):
    root, other = door.log_in(), door.log_in()
    door.later = []
    root.send(request("ACL", "SETUSER", "al", ">new", "&a"))
    other.send(request("ACL", "SETUSER", "al", "&b"))
    assert "&b" not in door.access.users["al"].redis  # it waits for the first
    door.do_jobs()
    assert root.send(b"") == OK
    assert other.send(b"") == OK
    assert "&news.* &a &b" in door.access.users["al"].redis


def test_a_user_who_changed_meanwhile_is_looked_at_again(door):
    root = door.log_in()
    door.later = []
    root.send(request("ACL", "SETUSER", "al", ">new", "&a"))
    door.access.change([user("al", "pw", redis="on &z +@all")])
    door.do_jobs()
    assert root.send(b"") == OK
    assert door.access.users["al"].redis == "on sanitize-payload resetchannels &z &a +@all"


def test_a_change_whose_asker_is_gone_lets_others_go_on(door):
    root, other = door.log_in(), door.log_in()
    door.later = []
    root.send(request("ACL", "SETUSER", "al", ">new"))
    other.send(request("ACL", "SETUSER", "bo", "on"))
    root.link.cut("")
    door.do_jobs()
    assert other.send(b"") == OK
    assert "bo" in door.access.users


def test_whether_a_user_may_is_said_without_doing_it(door):
    root = door.log_in()
    root.ask("SUBSCRIBE", "sport")
    ask = door.log_in().ask
    assert ask("ACL", "DRYRUN", "al", "PUBLISH", "news.a", "x") == OK
    assert ask("ACL", "DRYRUN", "al", "PUBLISH", "sport", "x") == (
        b"$56\r\nUser al has no permissions to access the 'sport' channel\r\n"
    )
    assert ask("ACL", "DRYRUN", "al", "config", "get", "*") == (
        b"$58\r\nUser al has no permissions to run the 'config|get' command\r\n"
    )
    assert ask("ACL", "DRYRUN", "nobody", "PING") == b"-ERR User 'nobody' not found\r\n"
    assert ask("ACL", "DRYRUN", "al", "NOPE") == b"-ERR Command 'NOPE' not found\r\n"
    assert ask("ACL", "DRYRUN", "al", "PUBLISH") == (
        b"-ERR wrong number of arguments for 'publish' command\r\n"
    )
    assert ask("ACL", "DRYRUN", "boss", "CONFIG", "SET", "maxclients", "1") == OK
    assert root.new() == b""


def test_a_random_password_has_as_many_bits_as_are_asked_for(door):
    ask = door.log_in().ask
    assert ask("ACL", "GENPASS").startswith(b"$64\r\n")
    assert ask("ACL", "GENPASS") != ask("ACL", "GENPASS")
    assert ask("ACL", "GENPASS", "5").startswith(b"$2\r\n")
    assert ask("ACL", "GENPASS", "4096").startswith(b"$1024\r\n")
    for bits in ("0", "-1", "4097"):
        assert b"must be the number of bits" in ask("ACL", "GENPASS", bits)
    assert ask("ACL", "GENPASS", "x") == b"-ERR value is not an integer or out of range\r\n"


# What is refused is known


def _log(peer, *words):
    return peer.ask("ACL", "LOG", *words)


def test_refusals_are_kept_with_how_often_they_came(door):
    root, peer = door.log_in(), door.log_in("al", "pw")
    for _ in range(3):
        peer.ask("PUBLISH", "sport", "x")
    peer.ask("AUTH", "al", "secret-of-another")
    peer.ask("EXISTS", "k")
    told = _log(root)
    assert told.count(b"$5\r\ncount\r\n") == 3
    assert b"$5\r\ncount\r\n:3\r\n$6\r\nreason\r\n$7\r\nchannel\r\n" in told
    assert (
        b"$4\r\nauth\r\n$7\r\ncontext\r\n$8\r\ntoplevel\r\n$6\r\nobject\r\n$4\r\nAUTH\r\n" in told
    )
    assert b"secret-of-another" not in told
    assert _log(root, "1").startswith(b"*1\r\n")
    assert _log(root, "0") == _log(root, "-5") == b"*0\r\n"
    stats = root.ask("INFO", "stats")
    for field in (b"auth:1", b"cmd:1", b"channel:3", b"key:0"):
        assert b"acl_access_denied_" + field in stats
    assert _log(root, "RESET") == OK
    assert _log(root) == b"*0\r\n"


def test_what_is_kept_of_refusals_is_bounded(door):
    root, peer = door.log_in(), door.log_in("al", "pw")
    for number in range(ENTRIES_MAX + 10):
        peer.ask("PUBLISH", f"{number}" + "x" * 10_000, "x")
    assert _log(root, "1000").startswith(b"*%d\r\n" % ENTRIES_MAX)
    assert all(len(it.object) <= OBJECT_BYTES_MAX for it in door.door.acl_log.newest(1000))


def test_whoever_runs_the_server_is_told_who_was_refused_what(door, caplog):
    door.door.refusals = Refusals(lambda: 0.0)
    peer = door.log_in("al", "pw")
    with caplog.at_level(logging.WARNING, "logstore.access"):
        for _ in range(3):
            peer.ask("PUBLISH", "sport\r\n\x1b[0m", "x")
        peer.ask("CONFIG", "GET", "*")
    first, second = [it.getMessage() for it in caplog.records]
    assert first.startswith("User:al from 127.0.0.1: write channel ")
    assert "no rule allows it" in first
    assert first.isprintable()
    assert "config|get" in second


def test_the_audit_log_is_told_who_came_in_who_was_refused_and_who_changed_users(door):
    heard = Heard()
    door.door.audit = door.access.audit = heard
    door.door.refusals = Refusals(lambda: 0.0, heard)
    root, peer = door.log_in(), door.connect()
    peer.ask("AUTH", "al", "no")
    peer.ask("HELLO", "3", "AUTH", "al", "pw")
    peer.ask("PUBLISH", "sport", "x")
    root.ask("ACL", "SETUSER", "bo", "on", ">x")
    root.ask("ACL", "DELUSER", "bo")
    root.ask("CONFIG", "SET", "maxclients", "50")
    root.ask("CONFIG", "SET", "maxclients", "nope")
    told = [(event, who.user, who.door, outcome) for event, who, _, outcome in heard]
    assert told == [
        ("login", "boss", "resp", "done"), ("login", "al", "resp", "refused"),
        ("login", "al", "resp", "done"), ("access", "al", "resp", "refused"),
        ("user", "boss", "resp", "done"), ("user", "boss", "resp", "done"),
        ("settings", "boss", "resp", "done"),
    ]  # fmt: skip
    assert heard[-1][2] == "of Redis clients: maxclients=50"
    assert heard[3][2] == "write channel sport"
    assert all(who.host == "127.0.0.1" for _, who, _, _ in heard)


def test_no_password_is_told_to_anyone(door, caplog):
    root, peer = door.log_in(), door.log_in("al", "pw")
    door.door.refusals = Refusals(lambda: 0.0)
    with caplog.at_level(logging.DEBUG):
        told = [
            peer.ask("AUTH", "al", "hunter2"), peer.ask("HELLO", "3", "AUTH", "bo", "hunter2"),
            root.ask("ACL", "SETUSER", "bo", "on", ">hunter2", "+nope"),
            root.ask("ACL", "SETUSER", "bo", "on", "<hunter2"),
            root.ask("ACL", "SETUSER", "bo", "on", ">hunter2"), root.ask("ACL", "LIST"),
            root.ask("ACL", "GETUSER", "bo"), root.ask("ACL", "LOG"), root.ask("INFO"),
            root.ask("CLIENT", "LIST"), peer.ask("ACL", "SETUSER", "x", ">hunter2"),
        ]  # fmt: skip
    assert "bo" in door.access.users
    assert not any(b"hunter2" in it for it in told)
    assert "hunter2" not in caplog.text


def test_clients_are_listed_and_ended_by_their_users(door):
    root, one, two = door.log_in(), door.log_in("al", "pw"), door.log_in("al", "pw")
    listed = root.ask("CLIENT", "LIST").split(b"\n")
    assert sum(b" user=al " in line for line in listed) == 2
    assert root.ask("CLIENT", "KILL", "USER", "nobody") == b"-ERR No such user 'nobody'\r\n"
    assert root.ask("CLIENT", "KILL", "USER", "al") == b":2\r\n"
    assert one.link.cut_for is not None
    assert two.link.cut_for is not None
    assert one.link.cut_for == two.link.cut_for == ""
    assert root.ask("PING") == b"+PONG\r\n"


# How many connections


def limit(door, most, user="al"):
    quota = KeptQuota((("user", user),), {"connections_max": float(most)})
    assert door.access.change([quota]).error is None


FULL = b"-ERR user connection limit (1) is reached\r\n"


def test_a_user_has_no_more_connections_than_he_is_given(door):
    limit(door, 1)
    first, second = door.connect(), door.connect()
    assert first.ask("AUTH", "al", "pw") == OK
    assert first.ask("AUTH", "al", "pw") == OK  # it is no second one
    assert second.ask("AUTH", "al", "pw") == FULL
    assert second.ask("HELLO", "3", "AUTH", "al", "pw") == FULL
    assert second.ask("PING") == NOAUTH
    assert second.ask("AUTH", "boss", "secret") == OK
    first.session.close()
    assert second.ask("AUTH", "al", "pw") == OK


def test_a_connection_that_is_gone_when_its_password_is_checked_does_not_count(door):
    limit(door, 1)
    door.later = []
    first, second = door.connect(), door.connect()
    first.send(request("AUTH", "al", "pw"))
    first.session.close()
    door.do_jobs()
    assert second.ask("AUTH", "al", "pw") == OK


def test_who_logs_out_or_in_as_another_makes_room(door):
    limit(door, 1)
    first, second = door.connect(), door.connect()
    assert first.ask("AUTH", "al", "pw") == OK
    assert first.ask("AUTH", "boss", "secret") == OK
    assert second.ask("AUTH", "al", "pw") == OK
    assert second.ask("RESET") == b"+RESET\r\n"
    assert first.ask("AUTH", "al", "pw") == OK


# Names of megabytes


LONG = b"\xff" * NAME_BYTES_MAX


@pytest.mark.parametrize(
    "redis", ["on +@all allchannels allkeys", "on +@all &a (&* +@all) (~* +@all)"]
)
@pytest.mark.parametrize("words", [
    ["PUBLISH", "name", "x"], ["SPUBLISH", "name", "x"], ["SUBSCRIBE", "a", "name"],
    ["PSUBSCRIBE", "name"], ["SSUBSCRIBE", "name"], ["CHANNEL.READ", "name", "FROM", "0"],
    ["EXISTS", "name"], ["DEL", "a", "name"],
])  # fmt: skip
def test_a_name_that_takes_seconds_to_look_at_is_not_looked_at(redis, words):
    heard = Heard()
    door = FakeDoor(users=[boss(), user("al", "pw", redis=redis)])
    door.door.refusals = Refusals(lambda: door.now, heard)
    peer = door.connect()
    peer.ask("AUTH", "al", "pw")
    longest = LONG[:PATTERN_BYTES_MAX] if words[0] == "PSUBSCRIBE" else LONG
    for name, refused in ((longest, False), (longest + b"x", True)):
        answer = peer.ask(*[name if it == "name" else it for it in words])
        assert answer.startswith(b"-NOPERM No permissions to access a ") is refused, answer[:80]
    if words[0] == "DEL":
        assert peer.ask("PUBSUB", "NUMSUB", LONG + b"x").endswith(b":0\r\n")


@pytest.mark.parametrize("words", [["AUTH"], ["HELLO", "3", "AUTH"]])
def test_of_a_user_that_cannot_be_no_more_is_looked_at_than_of_one_that_can(words):
    door = FakeDoor(users=[boss(), user("al", "pw")])
    peer = door.connect()
    peer.ask("AUTH", "al", "pw")
    assert peer.ask(*words, LONG, "x") == WRONGPASS
    assert [len(who.user) for _, who, *_ in door.heard] == [2, 256 * len("\\xff")]


def test_an_administrator_may_have_names_of_any_length():
    peer = FakeDoor(users=[boss()]).connect()
    peer.ask("AUTH", "boss", "secret")
    assert peer.ask("PUBLISH", LONG + b"x", "x") == b":0\r\n"


# What takes a while, and what is remembered of whoever asks


def may_change_users(*names):
    return [KeptRule(name, "alter", "cluster", "kafka-cluster") for name in names]


@pytest.mark.parametrize("words", [("on", ">x", "+@all"), ("on", "+@all", "&*")])
def test_a_right_lost_while_it_waits_changes_no_user(words):
    door = FakeDoor(users=[boss(), user("al", "pw")], rules=may_change_users("al"))
    one, two = door.log_in("al", "pw"), door.log_in("al", "pw")
    door.later = []
    assert one.ask("ACL", "SETUSER", "other", "on", ">y") == b""  # the password is in a worker
    assert two.ask("ACL", "SETUSER", "eve", *words) == b""  # waits for the first
    door.access.change(forget=list(door.access.rules))
    door.do_jobs()
    assert one.send(b"") == two.send(b"") == no_command("al", "acl|setuser")
    assert door.access.users.keys() == {"boss", "al"}
    assert b"$5\r\ncount\r\n:2\r\n" in door.log_in().ask("ACL", "LOG")


def test_no_deletion_by_whoever_has_lost_the_right_meanwhile():
    door = FakeDoor(users=[boss(), user("al", "pw")], rules=may_change_users("al"))
    one, two = door.log_in("al", "pw"), door.log_in("al", "pw")
    door.later = []
    one.ask("ACL", "SETUSER", "other", ">y")
    assert two.ask("ACL", "DELUSER", "al") == b""
    door.access.change(forget=list(door.access.rules))
    door.do_jobs()
    assert two.send(b"") == no_command("al", "acl|deluser")
    assert "al" in door.access.users


def test_what_a_client_says_of_itself_is_short(door):
    peer = door.log_in()
    long = "x" * (SHOWN_BYTES_MAX + 1)
    assert peer.ask("CLIENT", "SETNAME", long).startswith(b"-ERR Client names cannot")
    assert peer.ask("HELLO", "2", "SETNAME", long).startswith(b"-ERR Client names cannot")
    assert peer.ask("CLIENT", "SETINFO", "LIB-NAME", long).startswith(b"-ERR lib-name cannot")
    assert peer.ask("CLIENT", "SETNAME", long[1:]) == OK


def test_of_a_refused_name_little_is_remembered(door):
    peer = door.log_in("al", "pw")
    for number in range(3):
        assert peer.ask("PUBLISH", f"{number}" + "x" * (1 << 20), "m") == NO_CHANNEL
    assert sum(map(len, (it for told in door.door.refusals._since for it in told))) < 2000


def test_a_password_that_nobody_has_is_not_hashed(monkeypatch):
    door = FakeDoor(users=[boss(), user("al", redis="on +@all", weak=[HASH])])
    peer = door.log_in("al", "weak")
    hashed = []
    monkeypatch.setattr("hashlib.sha256", lambda data: hashed.append(len(data)))
    assert peer.ask("AUTH", "al", "x" * (BULK_BYTES_BEFORE_LOGIN + 1)) == WRONGPASS
    assert not hashed


def test_a_long_name_is_not_told_whole():
    rule = KeptRule("al", READ, CHANNEL, "*")
    door = FakeDoor(users=[boss(), user("al", "pw")], rules=[rule])
    peer = door.log_in("al", "pw")
    peer.ask("SUBSCRIBE", "x" * 60_000)
    door.access.change(forget=[rule])
    assert "may no longer listen to b'xxx" in peer.link.cut_for
    assert len(peer.link.cut_for) < 400


def test_prefixes_of_one_client_are_not_without_end(door, monkeypatch):
    monkeypatch.setattr(tracking, "PREFIXES_MAX", 3)
    peer = door.log_in()
    peer.ask("HELLO", "3")
    on = ("CLIENT", "TRACKING", "ON", "BCAST")
    assert peer.ask(*on, "PREFIX", "b", "PREFIX", "d", "PREFIX", "f") == OK
    assert peer.ask(*on, "PREFIX", "a").startswith(b"-ERR more than 3 prefixes of one client")
    for prefix, held in (("b", "b"), ("bx", "b"), ("dx", "d"), ("fx", "f"), ("", "b")):
        assert f"overlaps with an existing prefix '{held}'".encode() in peer.ask(
            *on, "PREFIX", prefix
        )
    peer.ask("CLIENT", "TRACKING", "OFF")
    peer.ask(*on, "PREFIX", "b")
    assert peer.ask(*on) == OK  # of all keys, too
    assert b"overlaps with an existing prefix ''" in peer.ask(*on, "PREFIX", "z")
