"""Requests with 100,000s of parts: others have their turn between, and all is as if at once."""

import pytest
from redis_parts import request
from resp_kit import FakeDoor, boss, user
from turns_by_hand import Turns

from logstore.broker.roster import SUBSCRIPTION_HELD_BYTES
from logstore.protocols.resp import requests, session
from logstore.protocols.resp.client import QUEUED_AT_ONCE
from logstore.protocols.resp.command import FEW_MAX
from logstore.protocols.resp.pubsub import NAME_UNITS
from logstore.slices import AT_ONCE, UNITS, Slices

pytestmark = pytest.mark.long

MANY = 30_000


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    return Turns()


@pytest.fixture
def door(turns):
    door = FakeDoor()
    door.door.slices = Slices(turns.soon)
    return door


def names(count=MANY):
    return [b"c%d" % number for number in range(count)]


def rest(peer, turns):
    """What comes until nothing is left to be done, and the units of the longest slice."""
    found = peer.new()
    while turns.left:
        turns.over()
        found += peer.send(b"")
    return found


def confirmed(word, listed, count):
    return b"".join(
        b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n:%d\r\n" % (len(word), word, len(it), it, count(number))
        for number, it in enumerate(listed)
    )


@pytest.mark.parametrize("word", [b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"])
def test_what_is_subscribed_to_in_many_turns_is_counted_as_held(door, turns, word):
    """What the first turn did was: of 50,000 channels some thousand were in the budget."""
    peer = door.connect()
    peer.ask(word, *names())
    assert peer.session.held_bytes < MANY * SUBSCRIPTION_HELD_BYTES // 2
    rest(peer, turns)
    assert peer.session.held_bytes >= MANY * SUBSCRIPTION_HELD_BYTES
    peer.ask(word.replace(b"SUB", b"UNSUB"))
    rest(peer, turns)
    assert peer.session.held_bytes < SUBSCRIPTION_HELD_BYTES


@pytest.mark.parametrize("word", [b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"])
def test_a_right_that_is_taken_away_meanwhile_ends_a_long_command(turns, word):
    every = b" ".join(b"&" + it for it in names(MANY // 100)).decode()
    door = FakeDoor(users=[boss(), user("al", "pw", redis=f"on {every} +@all")])
    door.door.slices = Slices(turns.soon)
    one, other = door.log_in("al", "pw"), door.log_in("al", "pw")
    one.ask(word, *names(MANY // 100))
    other.ask(word, *names(MANY // 100))
    door.access.change([user("al", "pw", redis="on &c0 +@all")])
    rest(one, turns)
    assert one.link.cut_for is not None
    begun = door.log_in("al", "pw")
    door.access.change([user("al", "pw", redis=f"on {every} +@all")])
    assert begun.ask(word, b"c0", b"c0").count(b"subscribe") == 2
    begun.send(request(word, *[b"c0"] * 200, b"c1"))
    door.access.change([user("al", "pw", redis="on &c0 +@all")])
    assert rest(begun, turns).endswith(b"-NOPERM No permissions to access a channel\r\n")
    assert begun.link.cut_for is None


def test_subscribing_to_very_many_channels_lets_others_have_their_turn(door, turns):
    peer, other = door.connect(), door.connect()
    first = peer.ask(b"SUBSCRIBE", *names())
    assert len(door.channels.names) == AT_ONCE // NAME_UNITS
    assert other.ask(b"PING") == b"+PONG\r\n"
    assert other.ask(b"PUBLISH", b"c7", b"between") == b":1\r\n"
    found = first + rest(peer, turns)
    message = b"*3\r\n$7\r\nmessage\r\n$2\r\nc7\r\n$7\r\nbetween\r\n"
    assert found.count(message) == 1
    assert found.replace(message, b"") == confirmed(b"subscribe", names(), lambda n: n + 1)
    assert door.door.slices.longest <= UNITS + 1


def test_what_follows_a_long_request_waits_for_it(door, turns):
    peer = door.connect()
    found = peer.send(request(b"PUBSUB", b"NUMSUB", *names()) + request(b"PING"))
    assert found == b""
    found = rest(peer, turns)
    assert found.startswith(b"*%d\r\n$2\r\nc0\r\n:0\r\n" % (2 * MANY))
    assert found.endswith(b"$6\r\nc29999\r\n:0\r\n+PONG\r\n")


def test_unsubscribing_and_going_away_are_done_in_parts_too(door, turns):
    peer, other = door.connect(), door.connect()
    peer.ask(b"SUBSCRIBE", *names())
    rest(peer, turns)
    peer.ask(b"UNSUBSCRIBE")
    assert len(door.channels.names) == MANY - AT_ONCE // NAME_UNITS
    found = rest(peer, turns)
    assert found.endswith(b"$6\r\nc29999\r\n:0\r\n")
    assert len(door.channels.names) == 0
    peer.ask(b"SUBSCRIBE", *names())
    rest(peer, turns)
    peer.session.close()
    assert other.ask(b"PUBLISH", b"c29999", b"x") == b":1\r\n"  # it is going
    while turns.left:
        turns.over()
    assert len(door.channels.names) == 0
    assert peer.new() == b""


def test_a_client_that_is_cut_off_in_the_middle_subscribes_to_nothing_more(door, turns):
    peer = door.connect()
    peer.ask(b"SUBSCRIBE", *names())
    peer.session.close()
    while turns.left:
        turns.over()
    assert len(door.channels.names) == 0


def test_replies_of_a_long_transaction_stand_together(door, turns):
    peer, other = door.connect(), door.connect()
    peer.send(request(b"HELLO", b"3"))
    peer.ask(b"SUBSCRIBE", b"news")
    peer.send(request(b"MULTI") + request(b"PING") * MANY)
    peer.new()
    got = peer.ask(b"EXEC")
    while turns.left:
        other.ask(b"PUBLISH", b"news", b"x")
        turns.over()
        got += peer.send(b"")
    replies = b"*%d\r\n" % MANY + b"+PONG\r\n" * MANY
    assert replies in got
    assert got.replace(replies, b"") == b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n" * (
        got.count(b"message")
    )


def test_a_request_of_a_million_arguments_is_read_a_part_a_turn(door, turns):
    count = 999_990
    peer = door.connect()
    data = b"*%d\r\n$3\r\nDEL\r\n" % count + b"$1\r\nx\r\n" * (count - 2)
    assert peer.session.receive(memoryview(data), 1.0) == 0
    begun, reads = peer.session._begun, 1
    while begun.paused:
        before, woken = len(begun.arguments), peer.link.woken
        assert peer.session.receive(memoryview(data), 1.0) == 0
        assert 0 < len(begun.arguments) - before <= requests.ARGUMENTS_AT_ONCE
        assert peer.link.woken == woken + begun.paused
        reads += 1
    assert reads == -(-(count - 1) // requests.ARGUMENTS_AT_ONCE)
    peer.left = data
    peer.send(b"$1\r\nx\r\n")
    assert rest(peer, turns) == b":0\r\n"


def test_each_argument_of_an_unfinished_request_copies_a_line_not_64_kib(monkeypatch):
    copied = []

    def copying(data):
        copied.append(len(data))
        return bytes(data)

    monkeypatch.setattr(requests, "bytes", copying, raising=False)
    count = 5000
    data = b"*%d\r\n" % (count + 1) + b"$1\r\nx\r\n" * count
    begun = requests.Begun()
    assert requests.read(memoryview(data), begun, 1 << 20) is None
    assert begun.left == 1
    assert sum(copied) <= count * 2 * requests.SHORT_BYTES


def test_a_crowd_of_small_requests_is_carried_out_a_part_a_turn(door):
    peer = door.connect()
    data = memoryview(b"PING\r\n" * 10 * session.COMMANDS_AT_ONCE)
    taken = peer.session.receive(data, 1.0)
    assert taken == 6 * session.COMMANDS_AT_ONCE
    assert peer.link.woken == 1
    found = b"".join(peer.session.outgoing(1 << 20)) + peer.send(bytes(data[taken:]))
    assert found == b"+PONG\r\n" * 10 * session.COMMANDS_AT_ONCE


def test_options_without_end_are_refused(door, turns):
    peer = door.connect()
    for words in ([b"SCAN", b"0"], [b"CONFIG", b"GET"], [b"COMMAND", b"DOCS"]):
        found = peer.ask(*words, *[b"x"] * FEW_MAX)
        assert found.startswith(b"-ERR wrong number of arguments for '")
    peer.ask(b"DEL", *[b"x"] * 200_000)
    assert rest(peer, turns) == b":0\r\n"


def test_publishing_waits_while_a_message_is_on_its_way_to_many(turns, door):
    door.channels.attach(turns.soon)
    subscribers = [door.connect() for _ in range(3000)]
    for it in subscribers:
        it.ask("SUBSCRIBE", "c")
        it.new()
    publisher, other = door.connect(), door.connect()
    assert publisher.ask("PUBLISH", "c", "1") == b":3000\r\n"
    turns.over()
    assert door.channels.under_way
    assert publisher.ask("PUBLISH", "c", "2") == b""
    assert publisher.ask("PING") == b""  # its order stays
    assert other.ask("PING") == b"+PONG\r\n"
    while turns.left:
        turns.over()
    assert publisher.link.woken
    publisher.session.wake(door.now)
    assert publisher.send(b"") == b":3000\r\n+PONG\r\n"
    while turns.left:
        turns.over()
    both = message(b"c", b"1") + message(b"c", b"2")
    assert {it.new() for it in subscribers} == {both}


def test_a_reply_comes_behind_the_message_that_is_on_its_way(turns, door):
    door.channels.attach(turns.soon)
    subscribers = [door.connect() for _ in range(3000)]
    for it in subscribers:
        it.ask("SUBSCRIBE", "c")
        it.new()
    door.connect().ask("PUBLISH", "c", "1")
    turns.over()
    last = subscribers[-1]
    assert last.new() == b""
    assert last.ask("UNSUBSCRIBE", "c") == message(b"c", b"1") + confirmed(
        b"unsubscribe", [b"c"], lambda _: 0
    )
    while turns.left:
        turns.over()
    assert last.new() == b""


def test_what_a_long_transaction_publishes_does_not_wait_for_the_next_request(turns, door):
    door.channels.attach(turns.soon)
    subscriber, publisher = door.connect(), door.connect()
    subscriber.ask("SUBSCRIBE", "c")
    count = 3 * QUEUED_AT_ONCE
    publisher.ask("MULTI")
    publisher.send(request("PUBLISH", "c", "1") * count)
    subscriber.new()
    publisher.ask("EXEC")
    while turns.left:
        turns.over()
    assert subscriber.new() == message(b"c", b"1") * count


def message(name, payload):
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(name), name, len(payload), payload,
    )  # fmt: skip


def test_publishing_over_many_patterns_lets_others_have_their_turn(turns, door):
    """Each message is of another name, so who gets it has to be found out for each."""
    door.channels.attach(turns.soon)
    listener, publisher, other = door.connect(), door.connect(), door.connect()
    listener.ask("PSUBSCRIBE", *[b"*%x" % number for number in range(10_000)])
    rest(listener, turns)
    while turns.left:
        turns.over()
    listener.new()
    door.door.slices.longest = 0
    found = publisher.send(b"".join(request("PUBLISH", b"zz%d" % it, b"x") for it in range(20)))
    assert found == b""
    assert other.ask("PING") == b"+PONG\r\n"
    for _ in range(1000):
        turns.over()
        found += publisher.send(b"")
        if not turns.left and found.count(b"\r\n") == 20:
            break
    counts = [int(it[1:]) for it in found.split()]
    assert counts == [sum((b"zz%d" % it).endswith(b"%x" % n) for n in range(10_000))
                      for it in range(20)]  # fmt: skip
    assert listener.new().count(b"pmessage") == sum(counts)
    assert door.door.slices.longest <= UNITS + 50


def watch(door, turns, peer, keys):
    """With none of them there."""
    assert peer.ask(b"WATCH", *keys) + rest(peer, turns) == b"+OK\r\n"
    onlookers = door.door.onlookers
    assert len(onlookers._watched) == len(keys)
    return onlookers


@pytest.mark.parametrize("how", ["UNWATCH", "DISCARD", "RESET", "the end"])
def test_what_was_watched_is_struck_out_in_several_turns(door, turns, how):
    peer, other = door.connect(), door.connect()
    onlookers = watch(door, turns, peer, names())
    if how == "DISCARD":
        peer.ask(b"MULTI")
    if how == "the end":
        peer.session.close()
    else:
        assert peer.ask(how.encode())[:1] == b"+"
    assert MANY // 2 < len(onlookers._watched) < MANY
    if how != "the end":  # what has changed of those that are struck out later counts for nothing
        peer.ask(b"WATCH", names()[-1])
        other.ask(b"SET", names()[-2], b"v")
        peer.ask(b"MULTI")
        assert peer.ask(b"EXEC") == b"*0\r\n"
    rest(peer, turns)
    assert not onlookers._watched
    assert onlookers._keys.databases[0].told is None


@pytest.mark.parametrize("changed", [False, True])
def test_many_watched_keys_are_looked_at_in_several_turns(door, turns, changed):
    peer, other = door.connect(), door.connect()
    other.ask(b"SET", names()[-1], b"v", b"PX", b"1000")
    watch(door, turns, peer, names())
    peer.ask(b"MULTI")
    peer.ask(b"SET", b"k", b"v")
    if changed:
        door.wall_ms += 2000  # the time of the last one is over
    assert peer.ask(b"EXEC") == b""
    assert other.ask(b"GET", b"k") == b""  # it waits until that is done
    assert rest(peer, turns) == (b"*-1\r\n" if changed else b"*1\r\n+OK\r\n")
    assert other.wait(0) + rest(other, turns) == (b"$-1\r\n" if changed else b"$1\r\nv\r\n")


@pytest.mark.parametrize("gone", [False, True])
def test_one_that_is_being_served_cannot_run_out_of_time(door, turns, gone):
    """What it takes is half taken then: it was told of none of it."""
    peer, other = door.connect(), door.connect()
    assert peer.ask(b"BLMPOP", b"5", b"1", b"l", b"LEFT", b"COUNT", b"1000000") == b""
    other.ask(b"RPUSH", b"l", *names())
    while peer.session._client.blocked is not None:  # till others have their turn between
        turns.over()
        other.send(b"")
    assert turns.left
    if gone:
        peer.session.close()
    else:
        assert peer.wait(60) == b""
    rest(other, turns)
    assert gone or b"\r\n" + names()[-1] + b"\r\n" in peer.send(b"")
    assert other.ask(b"LLEN", b"l") + rest(other, turns) == b":0\r\n"
