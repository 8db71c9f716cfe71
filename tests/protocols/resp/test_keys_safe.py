"""Keys and the disk: who waits for what, what is written, what becomes of it where it can't be."""

import pytest
from keys_kit import KeysDoor, SlowLog, rows
from memory_log import MemoryLog
from redis_parts import request
from resp_kit import FakeDoor

from logstore.broker.keys.key_topics import load
from logstore.broker.keys.keyspace import DEADLINE_BYTES, KEY_BYTES
from logstore.broker.keys.levels import Levels
from logstore.protocols.resp.keys import rows as command_rows
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.settings import KeysRule

OK = b"+OK\r\n"
NIL = b"$-1\r\n"
FULL = b"-MISCONF no space left on device\r\n"


@pytest.fixture
def door():
    return KeysDoor()


@pytest.fixture
def log(door):
    return door.log


def test_a_change_is_answered_when_it_is_synced(door, log):
    one = door.connect()
    assert one.ask("SET", "a", "1") == b""
    assert one.session.busy
    assert log.hurried == [True]
    door.sync()
    assert one.new() == OK
    assert not one.session.busy


def test_a_turn_s_changes_are_one_batch_and_a_key_s_one_record(door, log):
    peers = [door.connect() for _ in range(3)]
    for number, peer in enumerate(peers):
        data = request("SET", f"k{number}", "x") + request("INCR", "n") * 2
        peer.session.receive(memoryview(bytearray(data)), door.now)
    door.sync()
    assert [it.record_count for it in log.batches] == [4]
    assert rows(log)[1] == (b"n", b"6", {})
    replies = [OK + b":%d\r\n:%d\r\n" % (n, n + 1) for n in (1, 3, 5)]
    assert [peer.new() for peer in peers] == replies


def test_what_is_not_safe_is_shown_to_nobody(door):
    one, two, three = door.connect(), door.connect(), door.connect()
    one.ask("SET", "a", "1")
    assert two.ask("GET", "a") == b""  # it could be lost, and was read
    assert three.ask("GET", "b") == NIL
    door.sync()
    assert two.new() == b"$1\r\n1\r\n"
    one.ask("DEL", "a")
    assert two.ask("EXISTS", "a") == b""  # that it is gone, too
    assert three.ask("DBSIZE") == b""
    door.sync()
    assert (two.new(), three.new()) == (b":0\r\n", b":0\r\n")


def test_what_is_read_while_the_disk_is_at_it_waits_for_that_alone(door, log):
    one, two, three = door.connect(), door.connect(), door.connect()
    one.ask("SET", "a", "1")
    two.ask("SET", "b", "2")
    assert len(log.batches) == 2
    assert three.ask("MGET", "a", "b") == b""
    door.sync()
    assert three.new() == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"
    assert three.ask("MGET", "a", "b") == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"


@pytest.mark.parametrize("pipelined", [False, True], ids=["one", "many"])
def test_a_full_disk_is_told_and_changes_nothing(door, log, pipelined):
    one, two = door.connect(), door.connect()
    one.send(request("MSET", "a", "1", "b", "2") + request("SET", "c", "3", "EX", "100"))
    door.sync()
    one.new()
    held = door.keys.databases[0].contents.bytes
    log.full = True
    lost = [["SET", "a", "9"], ["DEL", "b"], ["PERSIST", "c"], ["SET", "new", "x"], ["INCR", "a"]]
    if pipelined:
        got = one.send(b"".join(request(*it) for it in lost))
    else:
        got = b"".join(one.ask(*it) for it in lost)
    assert got == FULL * len(lost)
    assert two.ask("MGET", "a", "b", "new") == b"*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n"
    assert two.ask("TTL", "c") == b":100\r\n"
    assert b"aof_last_write_status:err" in two.ask("INFO", "persistence")
    assert door.keys.databases[0].contents.bytes == held
    assert two.ask("FLUSHALL") == FULL
    assert two.ask("DBSIZE") == b":3\r\n"
    assert held == 3 * (KEY_BYTES + 2) + DEADLINE_BYTES
    log.full = False
    one.ask("SET", "a", "9")
    door.sync()
    assert one.new() == OK
    assert b"aof_last_write_status:ok" in two.ask("INFO", "persistence")


@pytest.mark.parametrize("prompted", [True, False])
def test_who_waits_for_what_can_t_be_written_is_woken(door, log, prompted):
    one, two = door.connect(), door.connect()
    for it in (one, two):
        it.ask("PING")
        it.prompted = prompted
    log.full = True
    take(one, request("SET", "a", "1"))
    take(two, request("GET", "a"))
    before = one.link.woken, two.link.woken
    door.end_turn()
    assert one.link.woken > before[0]
    assert two.link.woken > before[1]
    assert (one.send(b""), two.send(b"")) == (FULL, FULL)


def take(peer, data):
    """It is not answered in its turn."""
    if peer.prompted:
        assert peer.session.prompt(data, 1.0) == b""
    else:
        assert peer.session.receive(memoryview(data), 1.0) == len(data)


def test_what_is_written_as_one_is_told_as_one_where_it_is_not(door, log):
    """It is written before its replies are complete: a transaction, or many keys at once."""
    one = door.connect()
    log.full = True
    one.send(request("MULTI") + request("SET", "a", "1") + request("GET", "a"))
    assert one.ask("EXEC") == FULL
    many = [word for n in range(command_rows.AT_ONCE) for word in (f"k{n}", "x")]
    assert one.ask("MSET", *many) == FULL
    assert one.ask("DBSIZE") == b":0\r\n"
    log.full = False
    assert one.send(request("MULTI") + request("SET", "a", "2")) == OK + b"+QUEUED\r\n"
    one.ask("EXEC")
    door.sync()
    assert one.new() == b"*1\r\n+OK\r\n"
    assert [row[:2] for row in rows(log)] == [(b"a", b"2")]


def test_who_only_read_what_could_not_be_written_is_told_too(door, log):
    one, two = door.connect(), door.connect()
    log.full = True
    one.session.receive(memoryview(bytearray(request("SET", "a", "1"))), door.now)
    two.session.receive(memoryview(bytearray(request("GET", "a") + request("PING"))), door.now)
    door.end_turn()
    assert b"".join(one.session.outgoing(1 << 20)) == FULL
    assert b"".join(two.session.outgoing(1 << 20)) == FULL + b"+PONG\r\n"


def test_a_log_that_has_failed_ends_those_who_wait(door, log):
    one, two = door.connect(), door.connect()
    one.ask("SET", "a", "1")
    log.failed = True
    door.log.sync_soon = lambda **_: None
    for wake in list(log._watchers.values()):
        wake()
    door.end_turn()
    with pytest.raises(Exception, match="the disk is gone"):
        one.session.outgoing(1 << 20)
    assert two.ask("SET", "b", "1").startswith(b"-MISCONF")


def test_a_database_s_log_is_made_when_it_is_written_to_first():
    door = KeysDoor(opened=False)
    one = door.connect()
    assert one.ask("GET", "a") == NIL
    assert one.ask("FLUSHALL") == OK
    assert not door.keys._logs.logs
    one.ask("SELECT", "7")
    assert one.ask("SET", "a", "1") == OK
    assert list(door.keys._logs.logs) == [7]


def test_who_wants_no_replies_is_not_told_that_the_disk_is_full(door, log):
    one = door.connect()
    log.full = True
    assert one.send(request("CLIENT", "REPLY", "OFF") + request("SET", "a", "1")) == b""
    assert one.ask("CLIENT", "REPLY", "ON") == OK
    assert one.ask("GET", "a") == NIL


def test_what_was_answered_before_its_log_was_made_is_written_at_the_end():
    door = KeysDoor(opened=False, keys_rules=[KeysRule("*", "everysec")])
    works = []
    door.around.work = lambda job, done: works.append((job, done))
    for journal in door.keys.journals:
        journal._work = door.around.work
    assert door.connect().ask("SET", "a", "1") == OK
    assert len(works) == 1  # it is still to be made
    door.keys.close()
    log = door.keys._logs.logs[0]
    assert [it.key for batch in log._batches for it in decode(batch)] == [b"a"]


def test_everysec_is_answered_at_once_and_none_is_not_written():
    rules = [KeysRule("cache:*", "everysec"), KeysRule("tmp:*", "none")]
    door = KeysDoor(keys_rules=rules)
    one, two = door.connect(), door.connect()
    assert one.ask("SET", "cache:a", "1") == OK
    assert door.log.hurried == [False]
    assert two.ask("GET", "cache:a") == b"$1\r\n1\r\n"
    assert one.ask("SET", "tmp:a", "1", "EX", "1") == OK
    assert rows(door.log) == [(b"cache:a", b"1", {})]
    assert one.ask("SET", "a", "1") == b""
    assert two.ask("GET", "cache:a") == b"$1\r\n1\r\n"
    door.sync()
    door.wall_ms += 1300
    door.keys.tick()
    assert door.around.alarms
    assert two.ask("EXISTS", "tmp:a") == b":0\r\n"
    assert len(door.keys.databases[0]) == 2


def test_appendfsync_is_what_no_rule_says_otherwise(door):
    one = door.connect()
    assert (
        one.ask("CONFIG", "GET", "appendfsync") == b"*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n"
    )
    assert one.ask("CONFIG", "SET", "appendfsync", "EVERYSEC") == OK
    assert one.ask("SET", "a", "1") == OK
    assert one.ask("CONFIG", "SET", "appendfsync", "sometimes").startswith(
        b"-ERR CONFIG SET failed"
    )
    assert one.ask("SAVE") == b""  # what nobody has waited for is synced
    door.sync()
    assert one.new() == OK


def test_what_was_written_is_there_again():
    door = FakeDoor()
    one = door.connect()
    for words in (
        ["MSET", "a", "1", "", "empty", "\x00F", "like a flush", "\x00\x00x", "y", "gone", "x"],
        ["DEL", "gone"], ["SET", "dated", "v", "PX", "5000"], ["SET", "over", "v", "PX", "10"],
        ["SET", "kept", "v", "EX", "9"], ["PERSIST", "kept"], ["RENAME", "a", "b"],
    ):  # fmt: skip
        one.ask(*words)
    log = door.keys._logs.logs[0]
    again = FakeDoor(logs={0: log})
    again.wall_ms += 11
    again = FakeDoor(logs={0: log})
    again.keys.databases[0].clock = door.keys.clock
    found = again.keys.databases[0]
    assert found.values.keys() - {b"over"} == {b"b", b"", b"\0F", b"\0\0x", b"dated", b"kept"}
    assert found.deadlines[b"dated"] == 10_000
    assert b"kept" not in found.deadlines
    assert found.contents.bytes == door.keys.databases[0].contents.bytes


def test_what_has_expired_is_not_read_again():
    door = FakeDoor()
    door.connect().ask("SET", "a", "1", "PX", "10")
    later = FakeDoor(logs=door.keys._logs.logs)
    assert later.keys.databases[0].values
    later.keys.databases[0].contents.deadlines[b"a"] = 4999
    assert later.connect().ask("GET", "a") == NIL


def test_a_flush_hides_all_before_it_and_lets_go_of_it_on_disk():
    door = FakeDoor()
    one = door.connect()
    one.send(request("SET", "a", "1") + request("FLUSHDB") + request("SET", "b", "2"))
    log = door.keys._logs.logs[0]
    one.ask("FLUSHDB")
    one.ask("SET", "c", "3")
    assert log.start == 2  # the flush itself stands there
    again = FakeDoor(logs={0: log})
    assert list(again.keys.databases[0].values) == [b"c"]
    assert one.ask("FLUSHALL") == OK
    assert log.start == 4
    assert FakeDoor(logs={0: log}).connect().ask("DBSIZE") == b":0\r\n"


def test_a_flush_of_many_is_let_go_of_by_and_by(door):
    one = door.connect()
    for number in range(20_000):
        door.keys.databases[0].put(b"%d" % number, b"x", 10_000_000)
    got = one.ask("FLUSHALL")
    door.sync()
    assert got + one.new() == OK
    assert door.around.alarms
    space, ticks = door.keys.databases[0], 0
    while space.graves:
        door.keys.tick()
        ticks += 1
    assert 8 < ticks < 200


def test_nothing_about_keys_is_answered_while_they_are_read():
    logs = {0: MemoryLog("__keys.0-0")}
    door = FakeDoor(logs=logs)
    door.keys._loading = 1
    one = door.connect()
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    assert one.send(request("GET", "a") + request("SET", "a", "1")) == loading * 2
    assert one.ask("SELECT", "1") == OK
    assert b"loading:1" in one.ask("INFO", "persistence")
    assert one.ask("PUBLISH", "a", "x") == b":0\r\n"
    one.ask("MULTI")
    assert one.ask("GET", "a") == loading
    assert one.ask("EXEC").startswith(b"-EXECABORT")


def test_keys_that_can_t_be_read_are_said_so_of_and_channels_go_on():
    door = FakeDoor()
    door.connect().ask("SET", "a", "1")
    log = door.keys._logs.logs[0]
    bad = MemoryLog("__keys.0-0")
    data = bytearray(log._batches[0].data)
    data[-1] ^= 1
    bad._batches, bad._ends, bad.end = [type(log._batches[0])(bytes(data))], [1], 1
    again = FakeDoor(logs={0: bad})
    one = again.connect()
    for words in (["GET", "a"], ["SET", "a", "1"], ["DBSIZE"], ["FLUSHALL"]):
        assert one.ask(*words).startswith(b"-ERR the keys of database 0 can't be read: __keys.0-0")
    assert one.ask("PUBLISH", "a", "x") == b":0\r\n"
    assert one.ask("PING") == b"+PONG\r\n"


def test_a_record_that_is_no_key_s_is_said_to_be_from_its_batch_on():
    log = MemoryLog("__keys.0-0")
    for key in (b"a", b"b", None):
        log.append(encode([(b"1", key, (), 0)]))
    assert str(load(log, Levels(), 0)).startswith("__keys.0-0: from offset 2 on: a record without")


def test_many_keys_are_changed_in_parts_that_nobody_else_sees(door, monkeypatch):
    monkeypatch.setattr(command_rows, "AT_ONCE", 10)
    one, two = door.connect(), door.connect()
    waits = []
    door.door.slices._soon = waits.append
    pairs = [word for number in range(2000) for word in (b"k%d" % number, b"x")]
    one.session.receive(memoryview(bytearray(request("MSET", *pairs))), door.now)
    assert waits
    door.end_turn()
    assert not door.log.batches  # half of it is never on disk
    assert two.ask("GET", "k0") == b""
    assert two.ask("PING") == b""
    while waits:
        waits.pop(0)()
    door.end_turn()
    assert [it.record_count for it in door.log.batches] == [2000]
    door.sync()
    assert one.new() == OK
    assert two.send(b"") == b"$1\r\nx\r\n+PONG\r\n"


def test_columns_say_what_commands_say_one_by_one():
    words = [
        ["SET", "a", "1"], ["GET", "a"], ["get", "a"], ["GET", "none"], ["set", "b", "\x00" * 300],
        ["GET", "b"], ["SET", "c", "1", "EX", "100"], ["GET", "c"], ["SET", "c", "2"],
        ["TTL", "c"], ["GET", "c"], ["SET", "a"], ["GET"], ["GET", "a", "b"], ["RPUSH", "l", "x"],
        ["GET", "l"], ["SET", "l", "x"], ["GET", "l"], ["INCR", "a"], ["GET", "a"], ["DEL", "a"],
        ["GET", "a"], ["Set", "a", "2"], ["gEt", "a"],
    ]  # fmt: skip
    one, two = FakeDoor(), FakeDoor()
    by_one = one.connect()
    expected = b"".join(by_one.ask(*it) for it in words)
    assert two.connect().send(b"".join(request(*it) for it in words)) == expected
    sides = [it.keys.databases[0] for it in (one, two)]
    assert sides[0].contents.bytes == sides[1].contents.bytes
    assert [(it.hits, it.misses) for it in sides] == [(sides[0].hits, sides[0].misses)] * 2
    calls = [{k: v for k, v in it.door.counts.calls.items() if v} for it in (one, two)]
    assert calls[0] == calls[1]
    assert rows_of(one) == rows_of(two)


def rows_of(door):
    """What each key's last record says."""
    log = door.keys._logs.logs[0]
    slow = SlowLog("x")
    slow._batches = log._batches
    return {key: (value, headers) for key, value, headers in rows(slow) if key[:1] != b"\0"}


def test_replies_of_many_reads_are_bounded(door):
    one = door.connect()
    one.ask("SET", "big", "x" * 100_000)
    door.sync()
    one.new()
    data = request("GET", "big") * 1000
    taken = one.session.receive(memoryview(bytearray(data)), door.now)
    assert 0 < taken < len(data)
    assert sum(map(len, one.session._client.out)) < 2_500_000
    assert len(one.send(data[taken:])) > 99_000_000


def test_a_key_that_has_expired_is_gone_for_all_and_its_event_is_told(door):
    one = door.connect()
    events = []
    door.keys.databases[0].told = lambda *words: events.append(words)
    for words in (
        ["SET", "a", "1", "PX", "100"], ["APPEND", "a", "2"], ["RENAME", "a", "b"],
        ["COPY", "b", "c"], ["GETEX", "b", "PERSIST"], ["INCR", "c"], ["SETRANGE", "c", "0", "3"],
        ["INCRBYFLOAT", "c", "1"], ["GETDEL", "b"], ["EXPIRE", "c", "-1"],
        ["SET", "d", "1", "PX", "100"],
    ):  # fmt: skip
        one.ask(*words)
        door.sync()
    one.new()
    door.wall_ms += 1000
    assert one.ask("GET", "d") == NIL
    assert [(key, event) for _, key, event in events if event != "new"] == [
        (b"a", "set"), (b"a", "expire"), (b"a", "append"), (b"a", "rename_from"),
        (b"b", "rename_to"), (b"c", "copy_to"), (b"b", "persist"), (b"c", "incrby"),
        (b"c", "setrange"), (b"c", "incrbyfloat"), (b"b", "del"), (b"c", "del"), (b"d", "set"),
        (b"d", "expire"), (b"d", "expired"), (b"d", "keymiss"),
    ]  # fmt: skip


def test_a_transaction_in_two_databases_is_decided_on_in_the_first(door, log):
    one, two = door.connect(), door.connect()
    one.ask("SET", "a", "1")
    door.sync()
    one.new()
    one.send(
        request("MULTI") + request("SET", "a", "2") + request("SELECT", "3")
        + request("SET", "b", "3") + request("SELECT", "0") + request("EXEC")
    )  # fmt: skip
    logs = door.keys._logs.logs
    assert [it.record_count for it in log.batches] == [1, 2]
    assert 3 not in logs  # nothing of it is there before that is safe
    two.ask("SELECT", "3")
    assert two.ask("GET", "b") == b""
    door.sync()
    assert one.new().endswith(b"*4\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n")
    assert two.new().endswith(b"$1\r\n3\r\n")
    assert [it.key for batch in logs[3]._batches for it in decode(batch)] == [b"b"]
    door.end_turn()
    keys = [it.key for batch in log._batches for it in decode(batch)]
    assert keys == [b"a", b"a", b"\0T\3", b"\0T\3"]  # and that it is done


def test_config_rewrite_keeps_what_was_changed_by_the_store_s_names(door):
    one = door.connect()
    assert one.ask("CONFIG", "REWRITE").startswith(b"-ERR Rewriting config file: this process")
    asked = {}

    def keep(wanted):
        asked.update(wanted)
        return ["resp.maxmemory.bytes"]

    door.door.keep_settings = keep
    for name, value in (
        ("maxmemory", "1mb"), ("maxmemory-policy", "allkeys-lfu"), ("appendfsync", "no"),
        ("notify-keyspace-events", "EKA"), ("client-output-buffer-limit", "pubsub 1mb 2 3"),
    ):  # fmt: skip
        assert one.ask("CONFIG", "SET", name, value) == OK
    door.heard.clear()
    assert one.ask("CONFIG", "REWRITE") == OK
    assert asked == {
        "resp.maxmemory.bytes": "1048576",
        "resp.maxmemory.policy": "allkeys-lfu",
        "resp.appendfsync": "everysec",
        "resp.notify.keyspace.events": "AKE",
        "resp.client.output.buffer.limit": "1048576 2 3",
    }
    assert [what for _, _, what, _ in door.heard] == ["for good: resp.maxmemory.bytes=1048576"]


def test_config_rewrite_leaves_alone_what_nobody_has_changed(door):
    one = door.connect()
    asked = []
    door.door.keep_settings = lambda wanted: asked.append(wanted) or []
    assert one.ask("CONFIG", "SET", "maxmemory", "1mb", "maxclients", "0").startswith(b"-ERR")
    assert one.ask("CONFIG", "REWRITE") == OK
    assert one.ask("CONFIG", "SET", "maxclients", "100") == OK
    assert one.ask("CONFIG", "REWRITE") == OK
    assert asked == [{}, {"resp.maxclients": "100"}]
