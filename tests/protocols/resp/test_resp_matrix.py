"""Every command of the Redis door, asked for by nobody, with a wrong password, by users without the
right and with it: generated from the table of commands."""

import re
from dataclasses import replace

import pytest
from redis_parts import request
from resp_commands import EVERY, words_of
from resp_kit import FakeDoor, boss, user

from logstore.access.redis_grants import PATTERN_READING, READING, WRITING, compiled
from logstore.access.resources import (
    ALTER,
    CHANNEL,
    CLUSTER,
    CLUSTER_NAME,
    DESCRIBE,
    KEY,
    READ,
    WRITE,
)
from logstore.kept.users import KeptRule
from logstore.protocols.resp.command import found
from logstore.protocols.resp.commands import COMMANDS
from logstore.protocols.resp.permits import (
    FREE,
    NO_AUTH,
    SERVER,
    USERS,
    called,
    declared,
    names,
)

NOT_ALLOWED = re.compile(rb"-(NOAUTH|NOPERM|WRONGPASS|EXECABORT [^\r]*(NOAUTH|NOPERM))")


def refused(reply):
    found = NOT_ALLOWED.match(reply)
    return None if found is None else found[1].decode().split()[0]


def answer(command, users, name=None, password="pw", rules=()):
    door = FakeDoor(users=[boss(), *users], rules=rules)
    peer = door.connect()
    if name is not None:
        assert peer.ask("AUTH", name, password) == b"+OK\r\n"
    if command.name == "exec" and name is not None:
        peer.ask("MULTI")
    return peer.ask(*words_of(command))


def rules_for(command):
    """In our own words, what it needs and no more."""
    operation = {**SERVER, **USERS}.get(command.name)
    if operation is not None:
        return [KeptRule("al", operation, CLUSTER, CLUSTER_NAME)]
    named = names(command, [it.encode() for it in words_of(command)])
    rules = []
    for it in named:
        uses = (READ,) * it.read + (WRITE,) * it.write or (DESCRIBE,)
        pattern = "glob" if it.pattern else "literal"
        rules += [KeptRule("al", use, it.kind, it.name.decode(), pattern) for use in uses]
    return rules


def told(ask):
    """How each command is refused."""
    return {command.name: ask(command) for command in EVERY}


def test_it_is_said_what_each_command_asks():
    for command in EVERY:
        tables = [
            any(names(command, [b"3"] * 10)), command.name in FREE, command.name in SERVER,
            command.name in USERS,
        ]  # fmt: skip
        assert tables.count(True) == 1, command.name
        assert declared(command)


def test_nothing_is_done_for_who_has_not_logged_in():
    expected = told(lambda it: None if NO_AUTH in it.flags else "NOAUTH")
    expected |= {"auth": "WRONGPASS", "hello": "NOAUTH", "exec": "EXECABORT"}
    assert told(lambda it: refused(answer(it, []))) == expected


def test_a_wrong_password_is_none():
    door = FakeDoor(users=[boss(), user("al", "pw", redis="on ~* &* +@all")])
    for command in EVERY:
        peer = door.connect()
        assert refused(peer.ask("AUTH", "al", "other")) == "WRONGPASS"
        assert NO_AUTH in command.flags or refused(peer.ask(*words_of(command))), command.name


def test_without_rules_only_that_is_allowed_which_concerns_nobody_else():
    expected = told(lambda it: None if it.name in FREE else "NOPERM") | {"auth": "WRONGPASS"}
    assert told(lambda it: refused(answer(it, [user("al", "pw")], "al"))) == expected


def test_our_own_rules_are_enough():
    expected = told(lambda it: None) | {"auth": "WRONGPASS"}
    al = user("al", "pw")
    assert told(lambda it: refused(answer(it, [al], "al", rules=rules_for(it)))) == expected


def test_redis_s_rules_without_the_command_refuse_it():
    rules = [
        KeptRule("al", operation, kind, name)
        for operation in (READ, WRITE, DESCRIBE, ALTER)
        for kind, name in ((CHANNEL, "*"), (KEY, "*"), (CLUSTER, CLUSTER_NAME))
    ]

    def ask(command):
        text = f"on ~* &* +@all -{command.name}"
        return refused(answer(command, [user("al", "pw", redis=text)], "al", rules=rules))

    expected = told(lambda it: None if NO_AUTH in it.flags else "NOPERM")
    assert told(ask) == expected | {"auth": "WRONGPASS", "exec": "EXECABORT"}


def test_redis_s_rules_with_the_command_are_enough_but_for_users():
    def ask(command, rules=()):
        text = f"on ~x &x &x* -@all +multi +{command.name}"
        return refused(answer(command, [user("al", "pw", redis=text)], "al", rules=rules))

    expected = told(lambda it: "NOPERM" if it.name in USERS else None) | {"auth": "WRONGPASS"}
    assert told(ask) == expected
    for command in EVERY:
        if command.name in USERS:
            rule = KeptRule("al", USERS[command.name], CLUSTER, CLUSTER_NAME)
            assert ask(command, [rule]) is None, command.name


def flags_of(command):
    """What it does with the keys that it names, all of which are ``x``: of "R" and "W"."""
    keys = [it for it in names(command, [w.encode() for w in words_of(command)]) if it.kind == KEY]
    reads, writes = any(it.read for it in keys), any(it.write for it in keys)
    return "R" * reads + "W" * writes if keys else None


@pytest.mark.long
def test_a_key_s_rule_says_whether_it_may_be_read_or_written():
    """By %R~, %W~ and %RW~: what does neither, as EXISTS, needs any."""
    of_keys = [it for it in EVERY if flags_of(it) is not None]
    assert {flags_of(it) for it in of_keys} == {"", "R", "W", "RW"}
    for command in of_keys:
        for given in ("R", "W", "RW"):
            text = f"on %{given}~x resetchannels &x &x* -@all +multi +{command.name}"
            found = refused(answer(command, [user("al", "pw", redis=text)], "al"))
            enough = set(flags_of(command)) <= set(given)
            assert found == (None if enough else "NOPERM"), (command.name, given)


@pytest.mark.long
def test_each_category_gives_and_takes_its_commands():
    every = {it for command in EVERY for it in called(command, [b"", b""]).categories}
    assert {"@keyspace", "@read", "@write", "@string", "@hash", "@list", "@set"} <= every
    for command in EVERY:
        if command.name in USERS or NO_AUTH in command.flags or command.name == "exec":
            continue  # which ask for something else, or for nothing
        own = called(command, [it.encode() for it in words_of(command)]).categories
        for category in every:
            given = f"on ~* &* -@all +{category}"
            taken = f"on ~* &* +@all -{category}"
            for text, allowed in ((given, category in own), (taken, category not in own)):
                found = compiled(text).denied(called(command, [b"x"] * 4)) is None
                assert found == allowed, (command.name, text)
        text = f"on ~* &* -@all +{min(own)}"
        assert refused(answer(command, [user("al", "pw", redis=text)], "al")) is None, command.name


def test_names_are_asked_for_each():
    for command in EVERY:
        if not any(names(command, [b"3"] * 10)):
            continue
        text = f"on ~x &x &x* -@all +{command.name}"
        peer = FakeDoor(users=[boss(), user("al", "pw", redis=text)]).log_in("al", "pw")
        for at in _places(command):
            words = words_of(command)
            words[at] = "y"
            assert refused(peer.ask(*words)) == "NOPERM", (command.name, at)
        assert refused(peer.ask(*words_of(command))) is None, command.name


def _places(command):
    """Where its names stand."""
    words = [b"%d" % at for at in range(len(words_of(command)))]
    if command.numkeys:
        words[command.numkeys] = b"%d" % (len(words) - command.numkeys - 1)
    return {int(it.name) for it in names(command, words)}


def test_who_may_do_everything_is_refused_nothing():
    nothing = told(lambda _: None)
    by_boss = told(lambda it: refused(answer(it, [], "boss", "secret")))
    assert by_boss == nothing | {"auth": "WRONGPASS"}
    assert told(lambda it: refused(FakeDoor().connect().ask(*words_of(it)))) == nothing


def test_a_new_command_of_which_nothing_is_said_is_refused(monkeypatch):
    new = replace(COMMANDS[b"echo"], name="new")
    assert not declared(new)
    monkeypatch.setitem(COMMANDS, b"new", new)
    door = FakeDoor(users=[boss(), user("al", "pw", redis="on ~* &* +@all")])
    assert door.log_in("al", "pw").ask("NEW", "x").startswith(b"-NOPERM")
    assert door.log_in().ask("NEW", "x") == b"$1\r\nx\r\n"


def test_categories_are_those_of_the_table():
    """Rules in other languages know what some commands are by heart."""
    for known in (*READING, PATTERN_READING, *WRITING):
        command = found([known.name.encode()])
        assert command is not None
        assert called(command, [b""]).categories == known.categories
    for each in COMMANDS.values():
        for sub in each.subcommands.values():
            assert {*each.categories, *sub.categories} == called(sub, [b"", b""]).categories


def test_every_table_names_commands_there_are():
    named = {*FREE, *SERVER, *USERS}
    assert named <= {it.name for it in EVERY}


def test_requests_in_one_read_are_refused_one_by_one():
    door = FakeDoor(users=[boss(), user("al", "pw", redis="on &a -@all +publish")])
    peer, hears = door.log_in("al", "pw"), door.log_in()
    hears.ask("SUBSCRIBE", "a", "b")
    one, other = request("PUBLISH", "a", "1"), request("PUBLISH", "b", "2")
    no = b"-NOPERM No permissions to access a channel\r\n"
    assert peer.send(one * 5 + other + one) == b":1\r\n" * 5 + no + b":1\r\n"
    assert peer.send(other * 5) == no * 5
    assert peer.send(one * 5) == b":1\r\n" * 5
    assert hears.new().count(b"$7\r\nmessage\r\n$1\r\na\r\n") == 11
    assert b"$1\r\nb\r\n$1\r\n2" not in hears.link.sent
