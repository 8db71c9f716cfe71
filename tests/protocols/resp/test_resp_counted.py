"""What the Redis door and channels count of messages."""

import pytest
from redis_parts import request
from resp_kit import FakeDoor


@pytest.fixture
def door():
    return FakeDoor()


def test_messages_are_counted_in_and_once_out_for_each_that_gets_them(door):
    one, two = door.connect(), door.connect()
    one.ask("SUBSCRIBE", "c")
    two.ask("PSUBSCRIBE", "c*")
    sender = door.connect()
    sender.send(request("PUBLISH", "c", "1") * 10)
    sender.ask("PUBLISH", "d", "nobody hears it")
    assert door.door.totals.messages_in == 11
    assert door.channels.given_out == 20


@pytest.mark.parametrize("how", ["MULTI", "one by one", "sharded"])
def test_however_it_is_published(door, how):
    listener = door.connect()
    listener.ask("SSUBSCRIBE" if how == "sharded" else "SUBSCRIBE", "c")
    sender = door.connect()
    if how == "MULTI":
        sender.ask("MULTI")
        sender.ask("PUBLISH", "c", "1")
        assert door.door.totals.messages_in == 0
        sender.ask("EXEC")
    else:
        sender.ask("SPUBLISH" if how == "sharded" else "PUBLISH", "c", "1")
    assert door.door.totals.messages_in == 1
    assert door.channels.given_out == 1


def test_each_channel_is_counted_however_others_come_and_go(door):
    listener = door.connect()
    listener.ask("SUBSCRIBE", "c", "d")
    sender = door.connect()
    sender.send(request("PUBLISH", "c", "1") * 3 + request("PUBLISH", "d", "1"))
    other = door.connect()
    other.ask("SUBSCRIBE", "c")
    sender.send(request("PUBLISH", "c", "1") * 2)
    found = {name: it.messages for name, it in door.channels.tallies.items()}
    assert found == {b"c": 5, b"d": 1}


def test_channels_that_nobody_listens_to_are_not_remembered(door):
    sender = door.connect()
    for n in range(100):
        sender.ask("PUBLISH", f"c{n}", "1")
    assert door.channels.tallies == {}


def test_only_so_many_channels_are_remembered(door, monkeypatch):
    monkeypatch.setattr("logstore.broker.channel.TALLIES_MAX", 3)
    door.connect().ask("PSUBSCRIBE", "*")
    sender = door.connect()
    for n in range(10):
        sender.ask("PUBLISH", f"c{n}", "1")
        assert len(door.channels.tallies) <= 3


def test_setting_the_statistics_back_takes_nothing_from_what_is_counted(door):
    sender = door.connect()
    sender.ask("PUBLISH", "c", "1")
    sender.ask("CONFIG", "RESETSTAT")
    assert door.door.totals.messages_in == 1


def test_a_connection_says_who_its_client_is(door):
    peer = door.connect()
    peer.ask("CLIENT", "SETNAME", "me")
    peer.ask("CLIENT", "SETINFO", "LIB-NAME", "redis-py")
    peer.ask("CLIENT", "SETINFO", "LIB-VER", "8")
    about = peer.session.about()
    assert (about.client, about.software, about.state) == ("me", "redis-py 8", "normal")
    assert about.unread_max == 0
    peer.ask("SUBSCRIBE", "c")
    about = peer.session.about()
    assert (about.state, about.unread_max) == ("pubsub", 32 << 20)
    assert about.facts["channels"] == 1
