"""Databases that are served by one process of several at a time: taken over, lost, written anew."""

from functools import partial
from random import Random

import pytest
from keys_kit import ApartDoor, BeatingLog
from redis_parts import request

from logstore.broker.keys import rewriting
from logstore.broker.keys.journal import Bounds

OK = b"+OK\r\n"
NIL = b"$-1\r\n"
LOST = b"-MISCONF database 0 is served by node b\r\n"
ELSEWHERE = b"-NOTOWNED database 0 is served by node b\r\n"


@pytest.fixture
def door():
    return ApartDoor(Bounds(5000, row_bytes=10))


@pytest.fixture
def log(door):
    return door.own(0)


@pytest.fixture
def small(monkeypatch):
    """Rounds begin soon, and take many turns."""
    monkeypatch.setattr(rewriting, "LEAST_BYTES", 2000)
    monkeypatch.setattr(rewriting, "TIMES", 0)
    monkeypatch.setattr(rewriting, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(rewriting, "MANY", 5)


def of(door):
    """All that is in database 0."""
    space = door.keys.databases[0]
    return {
        key: (value if type(value) is bytes else dict(value.elements()), space.deadlines.get(key))
        for key, value in space.values.items()
    }


def read_by_another(log):
    """What another process makes of what is safe, having taken it over."""
    other = ApartDoor()
    other.own(0, log)
    return of(other)


def test_a_database_is_served_once_it_was_read(door):
    peer = door.connect()
    assert peer.ask("GET", "a") == b"-NOTOWNED database 0 is not served yet\r\n"
    assert peer.ask("PING") == b"+PONG\r\n"
    jobs = []
    door.around.worker = lambda job, done: jobs.append((job, done))
    door.own(0)
    assert b"is being read" in peer.ask("GET", "a")
    for job, done in jobs:
        done(job())
    assert peer.ask("GET", "a") == NIL
    peer.ask("SELECT", 1)
    assert b"database 1 is not served yet" in peer.ask("SET", "a", "1")


def test_what_was_answered_is_there_for_the_next_owner(door, log):
    peer = door.connect()
    assert peer.ask("SET", "a", "1") == b""
    door.sync(log)
    assert peer.new() == OK
    door.lose(0)
    assert peer.ask("GET", "a") == ELSEWHERE
    other = ApartDoor()
    other.own(0, log)
    assert other.connect().ask("GET", "a") == b"$1\r\n1\r\n"


def test_whoever_waits_for_what_is_lost_is_told(door, log):
    one, two, three, four = (door.connect() for _ in range(4))
    assert one.ask("SET", "a", "1") == b""
    assert two.ask("GET", "a") == b""
    assert three.ask("BLPOP", "list", 0) == b""
    assert four.ask("WATCH", "b") + four.ask("MULTI") == OK + OK
    door.lose(0)
    assert (one.new(), two.new()) == (LOST, LOST)
    assert three.new() == ELSEWHERE
    door.own(0, BeatingLog("again"))
    assert four.ask("EXEC") == b"*-1\r\n"
    assert one.ask("GET", "a") == NIL
    assert not three.session.busy


def test_what_was_changed_in_the_turn_of_the_loss_is_told(door, log):
    peer = door.connect()
    peer.session.receive(memoryview(bytearray(request("SET", "a", "1"))), door.now)
    log.failed = True
    door.lose(0)
    assert peer.new() == b"-MISCONF another node has claimed it\r\n"
    assert log.batches == []


def test_what_a_fenced_owner_appends_is_answered_with_an_error(door, log):
    log.failed = True
    peer = door.connect()
    assert peer.ask("SET", "a", "1") == b"-MISCONF another node has claimed it\r\n"
    assert peer.ask("GET", "a") == NIL


def test_what_was_half_done_at_the_loss_is_not_written_while_it_is_read_again(door, log):
    """It would replace what the next owner has written of the same key."""
    peer = door.connect()
    peer.ask("RPUSH", "list", *range(9))
    door.sync(log)
    peer.new()
    client = peer.session._client
    door.keys.take(client)
    door.lose(0)
    door.keys.databases[0].put(b"list", b"half")
    jobs = []
    door.around.worker = lambda job, done: jobs.append((job, done))
    door.own(0, log)
    door.keys.let_go(client)
    door.around.end_turn()
    for job, done in reversed(jobs):  # the log is opened at once, and reading it takes long
        done(job())
        door.around.end_turn()
    assert len(log.batches) == 1
    assert door.connect().ask("LLEN", "list") == b":9\r\n"


def test_a_database_that_is_to_go_answers_what_was_asked_before(door, log):
    peer = door.connect()
    peer.session.receive(memoryview(bytearray(request("SET", "a", "1"))), door.now)
    door.keys.finish(0, "database 0 is served by node b")
    assert len(log.batches) == 1
    door.sync(log)
    assert peer.new() == OK
    assert peer.ask("GET", "a") == ELSEWHERE
    door.lose(0)
    assert peer.new() == b""


def test_one_who_is_at_something_alone_can_not_finish_it_elsewhere(door, log):
    peer = door.connect()
    peer.ask("RPUSH", "list", *range(90))
    door.sync(log)
    peer.new()
    client = peer.session._client
    door.keys.take(client)
    door.keys.databases[0].put(b"half", b"1")
    door.lose(0)
    door.own(0, log)
    assert "is being read" in door.keys.elsewhere[0]
    door.keys.let_go(client)
    door.around.end_turn()
    other = door.connect()
    assert other.ask("GET", "half") == NIL
    assert other.ask("LLEN", "list") == b":90\r\n"
    assert len(log.batches) == 1


@pytest.mark.parametrize(
    "commands",
    [
        [("MOVE", "a", 1)],
        [("SWAPDB", 0, 1)],
        [("MULTI",), ("SET", "b", 1), ("SELECT", 1), ("SET", "c", 1), ("EXEC",)],
    ],
    ids=["move", "swap", "transaction"],
)
def test_nothing_changes_several_databases_as_one(door, log, commands):
    second = door.own(1)
    peer = door.connect()
    peer.ask("SET", "a", 1)
    door.sync(log)
    peer.new()
    for words in commands:
        got = peer.ask(*words)
    door.sync(log)
    door.sync(second)
    assert b"each database is kept by itself" in got + peer.new()
    assert len(log.batches) == 1
    assert second.batches == []
    other = door.connect()
    assert other.ask("GET", "a") == b"$1\r\n1\r\n"
    assert other.ask("EXISTS", "b", "c") == b":0\r\n"


def test_a_value_that_is_more_than_a_batch_is_refused(door, log):
    peer = door.connect()
    assert b"MISCONF" in peer.ask("SET", "a", "v" * 5000)
    assert log.batches == []
    for n in range(5):
        peer.ask("SET", n, "v" * 2000)
        door.sync(log)
        assert peer.new() == OK


def test_a_turn_of_which_half_was_appended_is_given_up(door, log):
    peers = [door.connect() for _ in range(5)]
    for n, peer in enumerate(peers):
        peer.session.receive(memoryview(bytearray(request("SET", n, "v" * 2000))), door.now)
    log.append = partial(first_only, log, log.append)
    door.around.end_turn()
    assert len(log.batches) == 1
    assert log.given_up == 1


def first_only(log, append, batch):
    log.full = bool(log.batches)
    return append(batch)


def test_who_may_have_been_taken_over_answers_nothing_about_keys(door, log):
    one, two, three = door.connect(), door.connect(), door.connect()
    two.ask("MULTI")
    two.ask("GET", "a")
    three.ask("MULTI")
    three.ask("PING")
    door.standing.sure = False
    assert one.ask("GET", "a") == b""
    assert two.ask("EXEC") == b""
    assert three.ask("EXEC") == b"*1\r\n+PONG\r\n"
    assert door.connect().ask("PING") == b"+PONG\r\n"
    assert len(door.standing.waiting) == 1
    door.standing.become_sure()
    for it in (one, two):
        assert it.session._client.link.woken
    assert one.wait(0) == NIL
    assert two.wait(0) == b"*1\r\n" + NIL


def test_clients_that_go_before_that_is_known_are_forgotten(door, log):
    """They come again and again, while the cluster does not answer."""
    door.standing.sure = False
    for _ in range(3):
        peer = door.connect()
        assert peer.ask("GET", "a") == b""
        peer.session.close()
    assert not any(door.keys._doubting.values())


def test_who_was_taken_over_meanwhile_says_so(door, log):
    peer = door.connect()
    door.standing.sure = False
    assert peer.ask("GET", "a") == b""
    door.lose(0)
    assert peer.wait(0) == ELSEWHERE


# Written anew


def act(peer, chance):
    key = f"k{chance.randrange(12)}"
    kind = chance.choice(("s", "l", "h", "e", "z"))
    name, n = f"{kind}{key}", chance.randrange(30)
    commands = {
        "s": [("SET", name, n), ("APPEND", name, n), ("SET", name, n, "EX", 1000)],
        "l": [("RPUSH", name, *range(n % 9 + 1)), ("LPOP", name), ("LSET", name, 0, n)],
        "h": [("HSET", name, n, n), ("HDEL", name, n)],
        "e": [("SADD", name, *range(n % 9 + 1)), ("SREM", name, n)],
        "z": [("ZADD", name, n, n), ("ZREM", name, n)],
    }
    peer.ask(*chance.choice([*commands[kind], ("DEL", name), ("RENAME", name, name + "x")]))


@pytest.mark.parametrize("seed", range(3))
def test_a_database_that_is_written_anew_reads_the_same(small, seed):
    print("seed", seed)
    chance, door = Random(seed), ApartDoor(Bounds(100_000))
    log = door.own(0)
    peers = [door.connect() for _ in range(3)]
    trimmed = set()
    for number in range(1200):
        act(chance.choice(peers), chance)
        if chance.random() < 0.5:
            door.sync(log)
        trimmed.add(log.start)
        if number % 100 == 99:
            door.sync(log)
            assert read_by_another(log) == of(door)
    assert len(trimmed) > 3
    assert trimmed - {0} <= set(log.beats)


def test_what_is_written_anew_takes_no_more_room_than_what_is_there(small, door, log):
    peer = door.connect()
    for n in range(2000):
        peer.ask("SET", "a", f"{n:0100}")
        if not n % 10:
            door.sync(log)
    for _ in range(5):
        door.sync(log)
    stands = sum(it.size for it in log.batches if it.base_offset >= log.start)
    assert stands < 4 * rewriting.LEAST_BYTES


def test_a_round_that_could_not_be_appended_deletes_nothing(small, door, log):
    peer = door.connect()
    for n in range(30):
        peer.ask("SET", n, "v" * 100)
        door.sync(log)
        if log.beats:
            break
    log.full = True
    door.sync(log)
    for _ in range(20):
        door.sync(log)
    assert log.start == 0
    log.full = False
    for n in range(30, 60):
        peer.ask("SET", n, "v" * 100)
        door.sync(log)
    assert log.start in log.beats


def test_a_large_collection_stands_still_while_it_is_written_anew(small, door, log):
    one, two = door.connect(), door.connect()
    one.ask("RPUSH", "list", *range(100))
    for n in range(40):
        one.ask("SET", n, "v" * 100)
        door.sync(log)
        if log.beats:
            break
    assert log.beats
    for _ in range(100):
        log.sync()
        door.around.step()
        if door.keys.taken:
            break
    assert two.ask("LPOP", "list") == b""
    for _ in range(80):
        door.sync(log)
    two.send(b"")
    door.sync(log)
    assert two.new() == b"$1\r\n0\r\n"
    assert log.start in log.beats
    assert read_by_another(log) == of(door)
    assert len(door.keys.databases[0].values[b"list"]) == 99


def test_a_transaction_stands_or_falls_beside_long_elements_that_go():
    door = ApartDoor(Bounds(50_000))
    log, peer = door.own(0), door.connect()
    for first in range(0, 1000, 250):
        peer.ask("SADD", "s", *(f"{it:090}" for it in range(first, first + 250)))
        door.sync(log)
    door.keys.databases[0].remove(b"s")
    door.keys.end_turn()  # the elements go with what is written next
    commands = request("MULTI") + request("MSET", *(f"{it:04}" for it in range(3000)))
    peer.send(commands + request("EXEC"))
    for _ in range(10):
        door.sync(log)
    assert len(of(door)) == 1500
    assert read_by_another(log) == of(door)
