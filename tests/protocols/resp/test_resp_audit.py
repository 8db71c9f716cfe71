"""What the audit log is told of Redis's clients."""

import pytest
from resp_kit import FakeDoor, boss, user

from logstore.access.audit import ACCESS, DONE, LOGIN, REFUSED, SETTINGS, USER
from logstore.access.identity import Identity

AL = Identity("al", "127.0.0.1", "AUTH", "resp")
BOSS = Identity("boss", "127.0.0.1", "AUTH", "resp")


@pytest.fixture
def door():
    return FakeDoor(users=[boss(), user("al", "pw", redis="on resetchannels &news.* +@all")])


@pytest.mark.parametrize("words", [("AUTH",), ("HELLO", "3", "AUTH")])
@pytest.mark.parametrize(("password", "outcome"), [("pw", DONE), ("no", REFUSED)])
def test_who_logs_in_is_told_and_who_is_refused(door, words, password, outcome):
    door.connect().ask(*words, "al", password)
    assert door.heard == [(LOGIN, AL, "", outcome)]


def test_channels_that_are_refused_are_told(door):
    peer = door.log_in("al", "pw")
    door.heard.clear()
    peer.ask("PUBLISH", "other", "x")
    peer.ask("PUBLISH", "news.a", "x")
    peer.ask("SUBSCRIBE", "other")
    assert door.heard == [
        (ACCESS, AL, "write channel other", REFUSED),
        (ACCESS, AL, "read channel other", REFUSED),
    ]


def test_users_that_are_changed_are_told_without_their_passwords(door):
    peer = door.log_in()
    door.heard.clear()
    peer.ask("ACL", "SETUSER", "new", "on", ">s3cret", "&a")
    peer.ask("ACL", "SETUSER", "al", "&b")
    peer.ask("ACL", "SETUSER", "al", ">s3cret", "#" + "ab" * 32)
    peer.ask("ACL", "DELUSER", "new", "nobody")
    assert door.heard == [
        (USER, BOSS, "made new, tags none", DONE),
        (USER, BOSS, "changed al: Redis rules", DONE),
        (USER, BOSS, "changed al: password", DONE),
        (USER, BOSS, "deleted new", DONE),
    ]


def test_settings_that_are_changed_are_told(door):
    peer = door.log_in()
    door.heard.clear()
    peer.ask("CONFIG", "SET", "MAXCLIENTS", "50")
    peer.ask("CONFIG", "SET", "maxclients", "0")
    assert door.heard == [(SETTINGS, BOSS, "of Redis clients: maxclients=50", DONE)]
