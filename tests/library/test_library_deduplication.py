"""Topics that keep repeats out, by the library: what stands in the log, and after a restart."""

import pytest
from clock import NOW_MS, Clock
from hypothesis import given
from hypothesis import strategies as st

import logstore
from logstore import Message
from logstore.config import Config
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.encode import encode

QUIET = {"upkeep.interval.ms": ("-1", "test")}
WINDOW_MS = 1000
SETTINGS = {"deduplication.header": "id", "deduplication.window.ms": str(WINDOW_MS)}

pytestmark = pytest.mark.long


class Place:
    """A store in a directory, opened again and again."""

    def __init__(self, path):
        self.path, self.clock = path, Clock()
        self.config = dict(QUIET)
        self.store = None

    def open(self):
        self.store = logstore.open(
            str(self.path), config=Config(dict(self.config)), clock=self.clock
        )
        return self.store

    def again(self):
        self.store.close()
        return self.open()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "data")
    place.open()
    yield place
    place.store.close()


def message(n, it=None, **facts):
    return Message(b"%d" % n, headers=(("id", it),) if it is not None else (), **facts)


def put(store, n, it=None, topic="t", **facts):
    return store.topic(topic).append(b"%d" % n, headers={"id": it} if it else None, **facts).offset


def values(store, topic="t"):
    with store.consumer(topic, start="earliest") as consumer:
        found = []
        while some := consumer.poll(1000):
            found += [int(it.value) for it in some]
        return found


def test_a_record_whose_id_came_before_is_not_stored(place):
    store = place.store
    store.create_topic("t", settings=SETTINGS)
    assert [put(store, n, it) for n, it in enumerate([b"a", b"b", b"a", None, None])] == [*range(5)]
    assert values(store) == [0, 1, 3, 4]
    assert store.topic("t").partition(0).end == 5


def test_a_batch_loses_its_repeats_and_keeps_its_offsets(place):
    store = place.store
    store.create_topic("t", settings=SETTINGS)
    put(store, 0, b"a")
    ids = [b"b", b"a", None, b"b", b"c"]
    placed = store.topic("t").append_many([message(n, it) for n, it in enumerate(ids, 1)])
    assert [it.offset for it in placed] == [1, 2, 3, 4, 5]
    assert values(store) == [0, 1, 3, 5]
    [_, batch] = store.topic("t").partition(0).read(0, 10_000)
    assert (batch.base_offset, batch.last_offset, batch.record_count) == (1, 5, 3)
    assert [it.offset for it in decode(batch)] == [1, 3, 5]


def test_of_a_batch_of_repeats_its_offsets_stay(place):
    store = place.store
    store.create_topic("t", settings=SETTINGS)
    store.topic("t").append_many([message(0, b"a"), message(1, b"b")])
    store.topic("t").append_many([message(2, b"b"), message(3, b"a"), message(4, b"a")])
    put(store, 5, b"c")
    assert values(store) == [0, 1, 5]
    [_, empty, _] = store.topic("t").partition(0).read(0, 10_000)
    assert (empty.base_offset, empty.last_offset, empty.record_count) == (2, 4, 0)
    assert empty.size == 61


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_compressed_batch_stays_compressed(place, codec):
    store = place.store
    store.create_topic("t", settings=SETTINGS | {"compression.type": codec})
    store.topic("t").append_many([message(n, b"%d" % (n % 3)) for n in range(9)])
    assert values(store) == [0, 1, 2]
    [batch] = store.topic("t").partition(0).read(0, 10_000)
    assert batch.compression.name.lower() == codec


def test_an_id_comes_again_after_its_time(place):
    store, clock = place.store, place.clock
    store.create_topic("t", settings=SETTINGS)
    put(store, 0, b"a")
    clock.ms += WINDOW_MS - 1
    put(store, 1, b"a")
    clock.ms += 1
    put(store, 2, b"a")
    put(store, 3, b"a")
    assert values(store) == [0, 2]


def test_time_is_that_of_the_records(place):
    """A history is filled in as it happened, however fast that goes."""
    store, long_ago = place.store, NOW_MS - 10**9
    store.create_topic("t", settings=SETTINGS)
    for n, later in enumerate([0, WINDOW_MS - 1, WINDOW_MS, WINDOW_MS + 1]):
        put(store, n, b"a", timestamp_ms=long_ago + later)
    assert values(store) == [0, 2]


def test_a_timestamp_ahead_of_the_clock_ends_no_time(place):
    store = place.store
    store.create_topic("t", settings=SETTINGS)
    put(store, 0, b"a")
    put(store, 1, b"b", timestamp_ms=NOW_MS + 3_600_000)
    put(store, 2, b"a")
    assert values(store) == [0, 1]


def test_a_clock_that_jumps_back_lets_nothing_in_twice(place):
    store, clock = place.store, place.clock
    store.create_topic("t", settings=SETTINGS)
    put(store, 0, b"a")
    clock.ms -= 3_600_000
    put(store, 1, b"a")
    put(store, 2, b"b")
    store = place.again()
    put(store, 3, b"b")
    assert values(store) == [0, 2]


def test_a_restart_forgets_nothing_and_the_time_goes_on(place):
    store, clock = place.store, place.clock
    store.create_topic("t", settings=SETTINGS)
    put(store, 0, b"a")
    clock.ms += 500
    put(store, 1, b"b")
    store = place.again()
    put(store, 2, b"a")
    clock.ms += 500
    put(store, 3, b"a")
    put(store, 4, b"b")
    store = place.again()
    put(store, 5, b"a")
    assert values(store) == [0, 1, 3]


def test_what_is_trimmed_away_is_still_known(place):
    store = place.store
    store.create_topic("t", settings=SETTINGS | {"segment.bytes": "100"})
    for n in range(5):
        put(store, n, b"%d" % n)
    store.trim("t", 4)
    for n in range(5):
        put(store, n + 5, b"%d" % n)
    assert values(store) == [4]
    store = place.again()
    put(store, 10, b"0")
    assert values(store) == [4]


def test_what_is_compacted_away_is_still_known(place):
    store = place.store
    settings = {
        "cleanup.policy": "compact", "segment.bytes": "100", "min.cleanable.dirty.ratio": "0"
    }  # fmt: skip
    store.create_topic("t", settings=SETTINGS | settings)
    for n in range(5):
        put(store, n, b"%d" % n, key=b"k")
    [ran] = store.compaction("t")
    assert ran.records_removed
    put(store, 5, b"0", key=b"k")
    assert values(store) == [3, 4]  # the last was not sealed
    store = place.again()
    put(store, 6, b"1", key=b"k")
    assert values(store) == [3, 4]


def test_each_partition_knows_its_own(place):
    store = place.store
    store.create_topic("t", 2, settings=SETTINGS)
    for partition in (0, 1, 0, 1):
        put(store, partition, b"a", partition=partition)
    assert sorted(values(store)) == [0, 1]


def test_settings_that_change_count_from_then_on(place):
    store, clock = place.store, place.clock
    store.create_topic("t")
    for n in range(2):
        put(store, n, b"a")
    store.alter_topic("t", SETTINGS)
    for n in range(2, 4):
        put(store, n, b"a")
    store.alter_topic("t", {"deduplication.window.ms": "5000"})
    put(store, 4, b"b")
    clock.ms += 4999
    put(store, 5, b"b")
    store.alter_topic("t", {"deduplication.header": "other"})
    put(store, 6, b"b")
    store.alter_topic("t", reset=["deduplication.header"])
    put(store, 7, b"b")
    assert values(store) == [0, 1, 2, 4, 6, 7]


def test_ids_that_take_too_much_memory_are_forgotten(tmp_path, caplog):
    place = Place(tmp_path / "data")
    place.config["deduplication.memory.bytes"] = "65536", "test"
    store = place.open()
    store.create_topic("t", settings=SETTINGS)
    with store.producer("t") as producer:
        for n in range(3000):
            producer.send(b"%d" % n, headers={"id": b"%d" % n})
    put(store, 1, b"2999")
    put(store, 2, b"0")
    assert store.topic("t").partition(0).notes.repeats.forgotten >= 1000
    assert "deduplication.memory.bytes" in caplog.text
    with store.consumer("t", start="earliest") as consumer:
        assert sum(len(consumer.poll(1000)) for _ in range(4)) == 3001
    store.close()


def test_the_log_append_time_counts_where_the_topic_stamps(place):
    store, clock = place.store, place.clock
    store.create_topic("t", settings=SETTINGS | {"message.timestamp.type": "LogAppendTime"})
    put(store, 0, b"a", timestamp_ms=5)
    clock.ms += WINDOW_MS - 1
    put(store, 1, b"a", timestamp_ms=6)
    clock.ms += 1
    put(store, 2, b"a", timestamp_ms=7)
    assert values(store) == [0, 2]


IDS = st.lists(st.one_of(st.none(), st.sampled_from([b"a", b"b", b"c"])), min_size=1, max_size=5)
BATCHES = st.lists(st.tuples(IDS, st.integers(0, 700)), max_size=8)


@given(BATCHES, BATCHES)
def test_as_a_list_says(tmp_path_factory, first, second):
    """Batches with ids, by a clock that goes on; closed and opened between."""
    place = Place(tmp_path_factory.mktemp("model") / "data")
    store = place.open()
    store.create_topic("t", settings=SETTINGS)
    until, expected, end = {}, [], 0
    for batches in (first, second):
        for ids, later in batches:
            place.clock.ms += later
            for n, it in enumerate(ids, end):
                if it is None or until.get(it, 0) <= place.clock.ms:
                    expected.append(n)
                    until[it] = place.clock.ms + WINDOW_MS
            store.topic("t").append_many([message(n, it) for n, it in enumerate(ids, end)])
            end += len(ids)
        store = place.again()
    assert values(store) == expected
    assert store.topic("t").partition(0).end == end
    store.close()


def test_a_batch_of_a_transaction_is_refused():
    from logstore.broker.admission import admit
    from logstore.broker.rules import Rules
    from logstore.errors import InvalidRecord
    from logstore.settings import TopicSettings

    batch = encode(
        [(b"x", None, (), 5)], producer_id=1, producer_epoch=0, base_sequence=0, transactional=True
    )
    rules = Rules("t", TopicSettings(deduplication_header="id"))
    with pytest.raises(InvalidRecord, match=r"^topic 't' has deduplication.header, so it accepts"):
        admit(rules, batch.data)
    assert admit(Rules("t", TopicSettings()), batch.data).is_transactional


def test_what_was_looked_into_before_others_came_is_looked_at_again(place):
    """Between a worker's look and the append the same id may come by another door."""
    store = place.store
    store.create_topic("t", settings=SETTINGS)
    log = store.topic("t").partition(0)
    headers = [(("id", it),) for it in (b"a", b"b", b"b", b"c")]
    batch = encode([(b"%d" % n, None, it, NOW_MS) for n, it in enumerate(headers, 1)])
    prepared = log.notes.repeats.prepared(batch)
    assert prepared.record_count == 3
    put(store, 0, b"a")
    log.append(prepared)
    log.sync()
    assert values(store) == [0, 2, 4]
    again = log.notes.repeats.prepared(Batch(batch.data))
    assert again.record_count == 0
    place.clock.ms += WINDOW_MS  # and now they are known no more, but time is the records'
    put(store, 9)
    log.append(again)
    log.sync()
    assert values(store) == [0, 2, 4, 9, 1, 2, 4]


def test_upkeep_and_verify_know_batches_with_holes(place):
    """They are as compaction leaves them: nothing moves, and nothing is called damaged."""
    store = place.store
    settings = {"segment.bytes": "400", "compression.sealed": "zstd"}
    store.create_topic("t", settings=SETTINGS | settings)
    for n in range(0, 60, 3):
        store.topic("t").append_many([message(m, b"%d" % (m % 20)) for m in range(n, n + 3)])
    assert values(store) == [*range(20)]
    end = store.topic("t").partition(0).end
    assert any(it.bytes_after < it.bytes_before for it in store.recompression("t"))
    assert values(store) == [*range(20)]
    assert [it for report in store.verify() for it in report.findings] == []
    with logstore.open(str(place.path), "read") as reader:
        assert values(reader) == [*range(20)]
        assert reader.topic("t").partition(0).end == end
    store = place.again()
    put(store, 60, b"19")
    assert values(store) == [*range(20)]


def test_a_backup_knows_what_its_store_knew(place, tmp_path):
    store = place.store
    store.create_topic("t", settings=SETTINGS)
    for n in range(3):
        put(store, n, b"%d" % n)
    exchange = store.exchange("x", "x-message-deduplication", arguments={"x-cache-size": 10})
    queue = store.queue("q", arguments={"x-message-deduplication": True, "x-cache-ttl": 10**9})
    store.queue("bound").bind(exchange)

    def send(of, n):
        of.exchange("x", "x-message-deduplication", arguments={"x-cache-size": 10}).publish(
            b"%d" % n, "k", headers={"x-deduplication-header": n}
        )
        of.queue("q").publish(b"%d" % n, headers={"x-deduplication-header": n})

    for n in range(3):
        send(store, n)
    assert queue.counts().ready == 3
    for _ in store.backup(tmp_path / "copy"):
        pass
    copy = Place(tmp_path / "copy")
    again = copy.open()
    for n in range(4):
        put(again, n, b"%d" % n)
        send(again, n)
    assert values(again) == [0, 1, 2, 3]
    for name in ("bound", "q"):
        assert again.queue(name).counts().ready == 4
    again.close()
