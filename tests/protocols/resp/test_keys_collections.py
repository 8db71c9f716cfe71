"""Hashes, lists, sets and sorted sets on disk: read again they are what they were, and what could
not be written is taken back."""

import random

import pytest
from collection_commands import KEYS, any_command
from resp_kit import FakeDoor

from logstore.broker.keys.elements import ELEMENT
from logstore.broker.keys.keys import Keys
from logstore.broker.reading import chunks
from logstore.errors import StorageFull


def content(keys):
    """All that the first database holds."""
    space = keys.databases[0]
    shown = {}
    for key in list(space.values):
        value = space.find(key)
        if value is None:
            continue
        if type(value) is not bytes:
            listed = getattr(value, "items", None) or sorted(value.elements())
            value = value.kind, list(listed)
        shown[key] = value, space.deadline(key)
    return shown


def log_of(door):
    return door.keys._logs.logs[0]


def read_again(door):
    return Keys(door.keys._logs, lambda: door.wall_ms, door.around)


def compacted(door):
    """What compaction would leave of the log."""
    log = log_of(door)
    found = [
        record
        for chunk in chunks(log, (log.name, 0), log.start, None, bytes_max=1 << 30)
        for record in chunk.records
    ]
    return {record.key: record.value for record in found}


@pytest.mark.parametrize("seed", range(5))
def test_after_any_commands_what_is_read_again_is_what_there_was(seed):
    chance, door = random.Random(seed), FakeDoor()
    peer = door.connect()
    for _ in range(150):
        together = [any_command(chance) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.1:
            together.append([b"PEXPIRE", chance.choice(KEYS), b"%d" % chance.randint(-1, 500)])
        if chance.random() < 0.02:
            together.append([b"FLUSHDB"])
        for words in together:
            peer.ask(*words)
        door.wall_ms += chance.randint(0, 30)
        if chance.random() < 0.2:
            again = read_again(door)
            assert content(again) == content(door.keys)
            assert again.databases[0].contents.bytes == door.keys.databases[0].contents.bytes
    again = read_again(door)
    door.around.end_turn()
    values = again.databases[0].values.values()
    live = {value.version for value in values if type(value) is not bytes}
    kept = [key for key, value in compacted(door).items() if value is not None]
    # Of what is gone nothing is left for compaction to keep.
    assert {int.from_bytes(it[2:10], "big") for it in kept if it.startswith(ELEMENT)} <= live


@pytest.mark.parametrize("seed", range(5))
def test_what_can_not_be_written_is_as_it_was(seed, monkeypatch):
    chance, door = random.Random(seed), FakeDoor()
    peer = door.connect()
    peer.ask(b"SET", b"first", b"x")
    for _ in range(100):
        before, size = content(door.keys), door.keys.databases[0].contents.bytes
        turn = [any_command(chance) for _ in range(chance.randint(1, 5))]
        if chance.random() < 0.3:
            with monkeypatch.context() as patch:
                patch.setattr(log_of(door), "append", _full)
                peer.send(b"".join(map(_request, turn)))
                door.around.end_turn()
            assert content(door.keys) == before
            assert door.keys.databases[0].contents.bytes == size
        else:
            peer.send(b"".join(map(_request, turn)))
        assert content(read_again(door)) == content(door.keys)


def _request(words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(it), it) for it in words)


def _full(_):
    raise StorageFull("no space left")


def test_one_field_of_a_large_hash_is_two_records():
    door = FakeDoor()
    peer = door.connect()
    peer.ask("HSET", "h", *[word for it in range(2000) for word in (str(it), "x" * 50)])
    before = log_of(door).end
    peer.ask("HSET", "h", "7", "new")
    assert log_of(door).end == before + 2  # the hash's own, which tells who reads, and the field's


def test_deleting_a_large_hash_writes_one_record_and_the_rest_by_and_by():
    door = FakeDoor()
    peer = door.connect()
    peer.ask("HSET", "h", *[word for it in range(5000) for word in (str(it), "")])
    log, before = log_of(door), log_of(door).end
    ends, plain = [], type(log).append
    log.append = lambda batch: (ends.append(log.end), plain(log, batch))[1]
    peer.new()
    assert peer.ask("DEL", "h") == b":1\r\n"
    assert ends[0] == before
    assert ends[1] == before + 1
    assert len(ends) == 6  # a thousand elements a turn
    assert not [key for key, value in compacted(door).items() if value is not None]
    assert read_again(door).databases[0].values == {}


def test_what_was_let_go_of_half_way_is_let_go_of_after_a_restart():
    door = FakeDoor()
    peer = door.connect()
    peer.ask("SADD", "s", *map(str, range(3000)))
    assert not door.around.calls
    door.keys.databases[0].remove(b"s")
    door.keys.end_turn()  # and the process ends there
    door.around.calls.clear()
    again = read_again(door)
    assert again.databases[0].values == {}
    assert len(again.databases[0].gone[0]) == 3000
    door.around.end_turn()
    assert not [key for key, value in compacted(door).items() if value is not None]


def test_a_renamed_collection_keeps_its_elements_and_a_copy_has_its_own():
    door = FakeDoor()
    peer = door.connect()
    peer.ask("RPUSH", "l", "a", "b")
    peer.ask("RENAME", "l", "m")
    peer.ask("COPY", "m", "n")
    peer.ask("RPUSH", "n", "c")
    peer.ask("LPOP", "m")
    for keys in (door.keys, read_again(door)):
        values = keys.databases[0].values
        assert {key: list(value.items) for key, value in values.items()} == {
            b"m": [b"b"], b"n": [b"a", b"b", b"c"],
        }  # fmt: skip


def test_what_has_come_and_gone_in_one_turn_is_answered():
    door = FakeDoor()
    peer = door.connect()
    peer.ask("SET", "before", "x")
    replies = peer.send(_request([b"SET", b"k", b"v"]) + _request([b"DEL", b"k"]))
    assert replies == b"+OK\r\n:1\r\n"
    assert peer.session.busy is False
    assert peer.link.woken  # else its replies would wait for whatever comes next


def test_a_full_memory_refuses_what_takes_more_and_nothing_else():
    door = FakeDoor()
    peer = door.connect()
    peer.ask("SET", "k", "x" * 1000)
    peer.ask("CONFIG", "SET", "maxmemory", "500")
    oom = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    for words in (["SET", "k", "y"], ["LPUSH", "l", "x"], ["HSET", "h", "f", "v"]):
        assert peer.ask(*words) == oom
    assert peer.ask("GET", "k").startswith(b"$1000\r\n")
    assert peer.ask("MULTI") == b"+OK\r\n"
    assert peer.ask("APPEND", "k", "x") == oom
    assert peer.ask("EXEC").startswith(b"-EXECABORT")
    assert peer.ask("DEL", "k") == b":1\r\n"
    assert peer.ask("SET", "k", "y") == b"+OK\r\n"


def test_a_full_memory_lets_keys_go_by_its_policy():
    door = FakeDoor()
    peer = door.connect()
    wrong = peer.ask("CONFIG", "SET", "maxmemory", "10kb", "maxmemory-policy", "some")
    assert b"argument(s) must be one of the following: volatile-lru" in wrong
    assert b"$1\r\n0\r\n" in peer.ask("CONFIG", "GET", "maxmemory")
    peer.ask("CONFIG", "SET", "maxmemory", "10kb", "maxmemory-policy", "allkeys-lru")
    for number in range(200):
        door.wall_ms += 1000  # so that the last is never the one that was not looked at for longest
        assert peer.ask("SET", str(number), "x" * 100) == b"+OK\r\n"
    assert 10 < len(door.keys.databases[0].values) < 40
    assert b"evicted_keys:1" in peer.ask("INFO", "stats")
    assert b"maxmemory:10240\r\n" in peer.ask("INFO", "memory")
    assert peer.ask("OBJECT", "FREQ", "199").startswith(b"-ERR An LFU maxmemory policy")
    assert peer.ask("OBJECT", "IDLETIME", "199") == b":0\r\n"
    again = read_again(door)
    assert set(again.databases[0].values) == set(door.keys.databases[0].values)


def test_a_long_reply_is_written_in_parts_and_is_what_there_was():
    door = FakeDoor()
    peer, other = door.connect(), door.connect()
    calls = []
    door.door.slices._soon = calls.append
    peer.ask("RPUSH", "l", *map(str, range(9000)))
    while calls:
        calls.pop()()
    assert peer.wait(0) == b":9000\r\n"
    assert peer.ask("LRANGE", "l", "0", "-1") == b""
    assert other.ask("DEL", "l") == b":1\r\n"
    while calls:
        calls.pop()()
    reply = peer.wait(0)
    assert reply.startswith(b"*9000\r\n$1\r\n0\r\n")
    assert reply.count(b"$") == 9000
