"""Compaction: the plan alone, runs over a real store, and a model of random histories."""

import contextlib
import hashlib
import os
import sys
import threading

import pytest
from clock import NOW_MS, Clock
from hypothesis import given, settings
from hypothesis import strategies as st

import logstore
from logstore import Message
from logstore.broker.producer_ids import OWN
from logstore.config import Config
from logstore.errors import CorruptBatch, ReadOnly
from logstore.names import KEYS_EXPIRE
from logstore.records.batch import HEADER_BYTES
from logstore.records.compression import Compression, compress, decompress
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.records.keyed import keyed, thinned
from logstore.storage.disk import Disk
from logstore.upkeep import compaction, trial
from logstore.upkeep.child import Here
from logstore.upkeep.job import Job, untold
from logstore.upkeep.rewrite import Rewrite

pytestmark = pytest.mark.long

DAY_MS = 86_400_000
SETTINGS = {
    "cleanup.policy": "compact", "segment.bytes": 400, "index.interval.bytes": 100,
    "min.cleanable.dirty.ratio": 0,
}  # fmt: skip


class ThisProcess(Disk):
    """Has the heavy part done without a child process, which takes a tenth of a second to start."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def store(path, clock):
    config = Config({"upkeep.interval.ms": ("-1", "test")})
    with logstore.open(path, clock=clock, config=config, disk=ThisProcess()) as store:
        yield store


def put(topic, *pairs, batch=1):
    """(key, value) texts, so many a batch."""
    messages = [
        Message(None if value is None else value.encode(), key.encode()) for key, value in pairs
    ]
    for at in range(0, len(messages), batch):
        topic.append_many(messages[at : at + batch], partition=0)


def rows(store, name="t", **options):
    with store.consumer(name, **options) as consumer:
        return [
            (it.offset, it.key and it.key.decode(), it.value and it.value.decode().rstrip("."))
            for it in consumer
        ]


def run(store, topic="t"):
    [done] = store.compaction(topic)
    assert done.broke is None, done.broke
    return done


def compact(log, log_settings, now_ms, memory_bytes):
    worker = Here(ThisProcess())
    rewrite = Rewrite(log, "t", 0, log_settings, memory_bytes, worker, untold, -1, now_ms)
    return rewrite.run(Job("compact"))


def sealed(store, name="t"):
    """Make the active segment one that can be compacted."""
    store.topic(name).partition(0).roll()


def latest(written):
    """What must be left of (offset, key, value) rows that were all compacted."""
    last = {key: offset for offset, key, _ in written}
    return [row for row in written if last[row[1]] == row[0]]


def pad(n):
    return f"{n}".ljust(40, ".")


@pytest.mark.parametrize("codec", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("batch", [1, 7])
def test_the_latest_of_each_key_stays_at_its_offset(store, codec, batch):
    topic = store.create_topic("t", settings=SETTINGS | {"compression.type": codec})
    put(topic, *((f"k{n % 11}", pad(n)) for n in range(200)), batch=batch)
    sealed(store)
    before = rows(store)
    done = run(store)
    assert rows(store) == latest(before)
    assert done.records_removed == 189
    assert done.bytes_after < done.bytes_before
    assert run(store).why == "everything is compacted"
    assert not [it for report in store.verify() for it in report.findings]


@pytest.mark.parametrize(
    ("codec", "given", "level"),
    [("gzip", 1, 1), ("gzip", 9, 9), ("lz4", 12, 12), ("zstd", -7, -7), ("zstd", 19, 19)],
)
def test_what_stays_is_compressed_at_the_level_of_its_topic(store, codec, given, level):
    chosen = {"compression.type": codec, f"compression.{codec}.level": given}
    topic = store.create_topic("t", settings=SETTINGS | chosen | {"segment.bytes": 100_000})
    words = [hashlib.sha256(bytes([n % 40])).hexdigest()[:9] for n in range(4000)]
    put(topic, *((f"k{n % 900}", word * (n % 7)) for n, word in enumerate(words)), batch=2000)
    sealed(store)
    run(store)
    kept = [it for it in topic.partition(0).read(0, 1 << 20) if it.record_count < 2000]
    assert kept
    for batch in kept:
        records = memoryview(batch.data)[HEADER_BYTES:]
        opened = decompress(batch.compression, records)
        assert records == compress(batch.compression, opened, level)
        assert records != compress(batch.compression, opened)


def test_what_is_active_is_not_touched(store):
    topic = store.create_topic("t", settings=SETTINGS)
    put(topic, *((f"k{n % 3}", pad(n)) for n in range(40)))
    before, active = rows(store), topic.partition(0).bases()[-1]
    run(store)
    after = rows(store)
    assert [row for row in after if row[0] >= active] == [row for row in before if row[0] >= active]
    assert latest([row for row in before if row[0] < active]) == [
        row for row in after if row[0] < active
    ]
    put(topic, ("k0", "more"))
    assert rows(store)[-1] == (40, "k0", "more")


def test_it_survives_a_reopening_and_another_run(store, path, clock):
    topic = store.create_topic("t", settings=SETTINGS)
    put(topic, *((f"k{n % 5}", pad(n)) for n in range(60)))
    sealed(store)
    run(store)
    wanted = rows(store)
    store.close()
    with logstore.open(path, "read") as reader:
        assert rows(reader) == wanted
        assert not [it for report in reader.verify() for it in report.findings]
    with logstore.open(path, clock=clock) as again:
        assert rows(again) == wanted
        put(again.topic("t"), *((f"k{n % 5}", pad(n)) for n in range(60, 90)))
        sealed(again)
        before = rows(again)
        run(again)
        assert rows(again) == latest(before)


def test_reading_from_any_offset_gives_what_is_there_from_it_on(store):
    topic = store.create_topic("t", settings=SETTINGS)
    put(topic, *((f"k{n * n % 23}", pad(n)) for n in range(120)))
    sealed(store)
    run(store)
    left = rows(store)
    for at in range(121):
        assert rows(store, start=at) == [row for row in left if row[0] >= at]


def test_records_without_a_key_stay(store):
    topic = store.create_topic("t", settings=SETTINGS | {"cleanup.policy": "delete"})
    for n in range(30):
        topic.append(pad(n).encode(), key=None if n % 3 else b"k")
    store.alter_topic("t", {"cleanup.policy": "compact"})
    sealed(store)
    run(store)
    assert [row[0] for row in rows(store)] == [n for n in range(30) if n % 3 or n == 27]


class TestTombstones:
    def test_they_go_a_while_after_a_whole_compaction(self, store, clock):
        topic = store.create_topic("t", settings=SETTINGS | {"delete.retention.ms": DAY_MS})
        put(topic, *((f"k{n}", pad(n)) for n in range(20)), ("k3", None), ("k5", pad("new")))
        sealed(store)
        run(store)
        assert (20, "k3", None) in rows(store)
        assert "k3" not in {row[1] for row in rows(store) if row[0] < 20}
        clock.ms += DAY_MS - 1
        assert run(store).why == "everything is compacted"
        clock.ms += 1
        assert run(store).why == "tombstones or markers are due"
        assert {row[1] for row in rows(store)} == {f"k{n}" for n in range(20)} - {"k3"}

    def test_one_that_came_later_waits_its_own_time(self, store, clock):
        topic = store.create_topic("t", settings=SETTINGS | {"delete.retention.ms": DAY_MS})
        put(topic, ("a", pad(0)), ("b", pad(1)), ("a", None))
        sealed(store)
        run(store)
        clock.ms += DAY_MS
        put(topic, ("b", None), ("c", pad(4)))
        sealed(store)
        run(store)
        assert rows(store) == [(3, "b", None), (4, "c", "4")]
        clock.ms += DAY_MS
        run(store)
        assert rows(store) == [(4, "c", "4")]

    def test_none_goes_while_an_older_record_of_its_key_is_left(self, store, clock):
        """A pass that breaks off has removed no tombstone of which it had not seen the rest."""
        topic = store.create_topic("t", settings=SETTINGS | {"delete.retention.ms": 0})
        put(topic, ("a", pad(0)), *((f"k{n}", pad(n)) for n in range(20)), ("a", None))
        put(topic, ("z", pad("the end of the log")))
        sealed(store)
        first = topic.partition(0).segment(topic.partition(0).bases()[0]).path
        with open(first, "r+b") as file:
            file.seek(70)
            byte = file.read(1)
            file.seek(70)
            file.write(bytes([byte[0] ^ 1]))
        [failed] = store.compaction("t")
        assert isinstance(failed.broke.error(), CorruptBatch)
        with open(first, "r+b") as file:
            file.seek(70)
            file.write(byte)
        assert (21, "a", None) in rows(store)
        run(store)
        assert (21, "a", None) in rows(store)
        clock.ms += 1
        run(store)
        assert "a" not in {row[1] for row in rows(store)}


class TestKeys:
    """Records of Redis's keys whose time is over count as tombstones."""

    @staticmethod
    def there(topic):
        [log] = topic.partitions
        found, at = [], log.start
        while batches := log.read(at, 1 << 20):
            found += [(it.key, it.value) for batch in batches for it in decode(batch)]
            at = batches[-1].next_offset
        return found

    @staticmethod
    def put(topic, key, value, until_ms=None):
        headers = () if until_ms is None else ((KEYS_EXPIRE, b"%d" % until_ms),)
        topic.append(value, key, headers)

    def topic(self, store, name="__keys.0"):
        wanted = SETTINGS | {"segment.bytes": "200", "delete.retention.ms": "1000"}
        return store.create_topic(name, 1, wanted)

    def test_they_go_a_while_after_a_whole_compaction(self, store, clock):
        topic = self.topic(store)
        self.put(topic, b"a", b"older")
        self.put(topic, b"a", b"x" * 100, clock() + 500)
        self.put(topic, b"b", b"y" * 100, clock() + 50_000)
        self.put(topic, b"c", b"z" * 100)
        list(store.compaction("__keys.0", seal=True))
        assert [key for key, _ in self.there(topic)] == [b"a", b"b", b"c"]
        clock.ms += 501
        self.put(topic, b"d", b"")
        list(store.compaction("__keys.0", seal=True))
        assert [key for key, _ in self.there(topic)] == [b"a", b"b", b"c", b"d"]
        clock.ms += 1001
        list(store.compaction("__keys.0", seal=True))
        assert [key for key, _ in self.there(topic)] == [b"b", b"c", b"d"]

    def test_one_that_is_over_hides_an_older_one_until_that_is_gone(self, store, clock):
        topic = self.topic(store)
        self.put(topic, b"a", b"for ever" * 30)
        self.put(topic, b"a", b"a moment" * 30, clock() + 1)
        clock.ms += 2
        list(store.compaction("__keys.0", seal=True))
        assert [value for _, value in self.there(topic)] == [b"a moment" * 30]

    def test_other_topics_may_have_such_a_header(self, store, clock):
        topic = self.topic(store, "mine")
        self.put(topic, b"a", b"x", 1)
        for _ in range(3):
            list(store.compaction("mine", seal=True))
            clock.ms += 2000
        assert [key for key, _ in self.there(topic)] == [b"a"]


def test_the_end_of_a_log_can_be_read_up_to(store):
    """Also when the last record is an older one of a key, and nothing follows it yet."""
    topic = store.create_topic("t", settings=SETTINGS)
    put(topic, ("a", pad(0)), ("b", pad(1)), ("a", pad(2)), batch=3)
    sealed(store)
    run(store)
    assert rows(store)[-1][0] == 2
    with store.consumer("t", group="g") as consumer:
        list(consumer)
    assert [lag.lag for lag in store.group("g").describe()] == [0]


@pytest.mark.parametrize("memory_bytes", [1, 500, 3000])
def test_more_keys_than_memory_take_more_passes(store, clock, memory_bytes):
    topic = store.create_topic("t", settings=SETTINGS)
    put(topic, *((f"k{n * 7 % 60}", pad(n)) for n in range(300)), batch=3)
    sealed(store)
    before = rows(store)
    done = compact(topic.partition(0), topic.settings, clock(), memory_bytes)
    assert done.passes > 1
    assert rows(store) == latest(before)


class TestPlan:
    def why(self, store, **given):
        store.alter_topic("t", {name.replace("_", "."): value for name, value in given.items()})
        [found] = store.compaction("t", dry_run=True)
        return found.due, found.why

    def test_each_reason(self, store, clock):
        topic = store.create_topic("t", settings=SETTINGS)
        assert self.why(store) == (False, "everything is compacted")
        put(topic, *((f"k{n % 5}", pad(n)) for n in range(60)))
        sealed(store)
        assert self.why(store) == (True, "100% of it is not compacted")
        assert self.why(store, min_compaction_lag_ms=1000) == (
            False,
            "everything else is compacted",
        )
        clock.ms += 1000
        assert self.why(store)[0]
        run(store)
        put(topic, ("k0", pad("x")))
        sealed(store)
        clock.ms += 1000
        due, why = self.why(store, min_cleanable_dirty_ratio=0.9)
        assert (due, why.endswith("is not compacted: min.cleanable.dirty.ratio")) == (False, True)
        assert self.why(store, max_compaction_lag_ms=999)[0]
        assert list(store.compaction("t", dry_run=True)) == list(
            store.compaction("t", dry_run=True)
        )

    def test_topics_of_other_policies_are_not_looked_at(self, store):
        store.create_topic("u")
        assert list(store.compaction()) == []


def test_a_reader_compacts_nothing(store, path):
    put(store.create_topic("t", settings=SETTINGS), ("a", pad(0)), ("a", pad(1)))
    sealed(store)
    with logstore.open(path, "read") as reader:
        [dry] = reader.compaction(dry_run=True)
        assert (dry.due, dry.records_removed, dry.tried) == (True, 1, "all")
        with pytest.raises(ReadOnly):
            list(reader.compaction())


class TestTrial:
    """A dry run counts what a run would remove, and leave."""

    @pytest.fixture(autouse=True)
    def much(self, store):
        topic = store.create_topic("t", settings=SETTINGS)
        put(topic, *((f"k{n * 7 % 40}", pad(n)) for n in range(200)), batch=3)
        sealed(store)

    def tried(self, path, name="compaction"):
        with logstore.open(path, "read") as reader:
            [dry] = getattr(reader, name)(dry_run=True)
        return dry

    def test_it_is_what_a_run_does(self, store, path):
        dry, before = self.tried(path), rows(store)
        done = run(store)
        assert dry.records_removed == done.records_removed > 100
        assert (dry.bytes_before, dry.bytes_after) == (done.bytes_before, done.bytes_after)
        assert rows(store) == latest(before)

    def test_more_than_is_looked_at(self, store, path, monkeypatch):
        whole = self.tried(path)
        monkeypatch.setattr(trial, "LOOKED_BYTES_MAX", whole.bytes_before // 2)
        dry = self.tried(path)
        assert dry.tried == "some"
        assert 0 < dry.records_removed < whole.records_removed
        assert whole.bytes_after < dry.bytes_after < whole.bytes_before

    def test_more_keys_than_memory_are_not_counted_twice(self, store, path, monkeypatch):
        whole = self.tried(path)
        monkeypatch.setenv("LOGSTORE_COMPACTION_MEMORY_BYTES", "1MiB")
        monkeypatch.setattr(compaction, "KEY_BYTES", 1 << 16)
        dry = self.tried(path)
        assert dry.tried == "some"
        assert dry.records_removed <= whole.records_removed

    def test_recompression_is_extrapolated(self, store, path, monkeypatch):
        store.alter_topic("t", {"compression.sealed": "zstd"})
        whole = self.tried(path, "recompression")
        assert whole.bytes_after < whole.bytes_before
        monkeypatch.setattr(trial, "RECOMPRESSED_BYTES_MAX", whole.bytes_before // 2)
        dry = self.tried(path, "recompression")
        assert dry.tried == "some"
        assert dry.bytes_after == pytest.approx(whole.bytes_after, rel=0.2)

    def test_what_is_damaged_is_told(self, store, path):
        damaged = min((path / "t-0").glob("*.log"))
        data = bytearray(damaged.read_bytes())
        data[70] ^= 1
        damaged.write_bytes(data)
        assert "CRC" in self.tried(path).broke.text


def test_the_age_of_a_segment_is_kept(store):
    topic = store.create_topic("t", settings=SETTINGS)
    put(topic, *((f"k{n % 5}", pad(n)) for n in range(60)))
    sealed(store)
    log = topic.partition(0)
    paths = [log.segment(base).path for base in log.bases()[:-1]]
    for age, path in enumerate(paths):
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    run(store)
    assert len(log.bases()) < len(paths)
    ages = [os.stat(log.segment(base).path).st_mtime for base in log.bases()[:-1]]
    assert all(1_000_000 - len(paths) < age <= 1_000_000 for age in ages)
    assert ages == sorted(ages, reverse=True)


def test_of_each_producer_the_last_batch_stays_if_only_an_empty_one(store):
    log = store.create_topic("t", settings=SETTINGS).partition(0)
    for n in range(12):
        batch = encode(
            [(pad(n).encode(), b"k", (), NOW_MS)], producer_id=n % 2, producer_epoch=1,
            base_sequence=n,
        )  # fmt: skip
        log.wait(log.append(batch) + 1)
    log.append(encode([(b"v", b"other", (), NOW_MS)]))
    log.sync()
    log.roll()
    run(store)
    left, at = [], 0
    while batches := log.read(at, 1 << 20):
        left += batches
        at = batches[-1].next_offset
    assert [(it.base_offset, it.record_count, it.producer_id, it.base_sequence) for it in left] == [
        (10, 0, 0, 10), (11, 1, 1, 11), (12, 1, -1, -1),
    ]  # fmt: skip
    assert [row[0] for row in rows(store)] == [11, 12]


@pytest.mark.parametrize("memory_bytes", [1, 1 << 20])
@pytest.mark.parametrize("producer", sorted(OWN))
def test_the_last_batch_that_the_server_has_brought_stays_however_old_it_is(
    store, clock, producer, memory_bytes
):
    topic = store.create_topic("t", settings=SETTINGS)
    log = topic.partition(0)
    for n in range(3):
        log.append(
            encode([(pad(n).encode(), b"k%d" % n, (), NOW_MS)], producer_id=producer,
                   producer_epoch=0, base_sequence=n)
        )  # fmt: skip
    for n in range(6):
        log.append(encode([(pad(n).encode(), b"k%d" % (n % 3), (), NOW_MS)]))
    log.sync()
    log.roll()
    clock.ms += 100 * DAY_MS
    for _ in range(2):
        compact(log, topic.settings, clock(), memory_bytes)
        put(topic, ("end", "x"))
        log.roll()
    left, at = [], 0
    while batches := log.read(at, 1 << 20):
        left += [(it.base_offset, it.record_count) for it in batches if it.producer_id == producer]
        at = batches[-1].next_offset
    assert left == [(2, 0)]


def test_control_batches_stay(store):
    log = store.create_topic("t", settings=SETTINGS).partition(0)
    for n in range(8):
        log.append(encode([(pad(n).encode(), b"k", (), NOW_MS)]))
        log.append(encode([(b"\0" * 6, b"\0" * 4, (), NOW_MS)], control=True, transactional=True))
    log.sync()
    log.roll()
    run(store)
    left, at = [], 0
    while batches := log.read(at, 1 << 20):
        left += batches
        at = batches[-1].next_offset
    assert [it.base_offset for it in left if it.is_control] == list(range(1, 16, 2))
    assert [it.base_offset for it in left if not it.is_control] == [14]


@pytest.mark.parametrize("codec", Compression)
def test_a_batch_of_some_of_its_records(codec):
    messages = [
        (b"v%d" % n * 40, b"k%d" % n, (("h", b"%d" % n),), NOW_MS + 70 * n) for n in range(90)
    ]
    batch = encode(messages, compression=codec, base_offset=500, producer_id=4, base_sequence=9)
    places = [0, 7, 63, 64, 88]
    less = thinned(batch, keyed(batch).spans(places))
    less.check()
    assert decode(less) == [decode(batch)[place] for place in places]
    kept = ("base_offset", "last_offset", "attributes", "producer_id", "base_sequence",
            "base_timestamp_ms", "max_timestamp_ms", "next_offset")  # fmt: skip
    assert [getattr(less, it) for it in kept] == [getattr(batch, it) for it in kept]
    empty = thinned(batch, keyed(batch).spans([]))
    empty.check()
    assert decode(empty) == []
    assert empty.next_offset == batch.next_offset


def test_readers_and_the_appender_go_on_meanwhile(store, path):
    """Whoever reads from the start sees rising offsets, and each key with one of its values."""
    topic = store.create_topic("t", settings=SETTINGS)
    put(topic, *((f"k{n % 9}", pad(n)) for n in range(60)))
    over, failures = threading.Event(), []
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # or each of the many syncs waits for both readers

    def reading(mode):
        try:
            with contextlib.ExitStack() as stack:
                other = (
                    stack.enter_context(logstore.open(path, "read")) if mode == "other" else store
                )
                while not over.is_set():
                    acknowledged = topic.partition(0).safe
                    found = rows(other)
                    offsets = [row[0] for row in found]
                    assert offsets == sorted(set(offsets))
                    assert offsets[-1] + 1 >= acknowledged
                    state = {key: value for _, key, value in found}
                    assert set(state) == {f"k{n}" for n in range(9)}
                    assert all(f"k{int(value) % 9}" == key for key, value in state.items())
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=reading, args=(mode,)) for mode in ("other", "same")]
    for thread in threads:
        thread.start()
    try:
        for n in range(60, 340, 20):
            put(topic, *((f"k{m % 9}", pad(m)) for m in range(n, n + 20)), batch=3)
            run(store)
    finally:
        over.set()
        sys.setswitchinterval(switch_s)
        for thread in threads:
            thread.join()
    assert failures == []
    sealed(store)
    run(store)
    assert len(rows(store)) == 9


actions = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "delete", "roll", "compact", "later", "reopen"]),
        st.integers(0, 5), st.integers(1, 4),
    ),
    max_size=40,
)  # fmt: skip


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(actions, st.sampled_from([1, 1 << 20]))
def test_whatever_happens_the_latest_values_are_those_of_a_dict(tmp_path_factory, doing, memory):
    """Offsets rise, no key is lost or comes back, and nothing appears that was never put."""
    path, clock = tmp_path_factory.mktemp("model"), Clock()
    config = Config({"upkeep.interval.ms": ("-1", "test")})
    given_settings = SETTINGS | {"delete.retention.ms": 1000}
    store = logstore.open(path, clock=clock, config=config, disk=ThisProcess())
    try:
        store.create_topic("t", settings=given_settings)
        written, state = [], {}
        for what, key, count in doing:
            topic = store.topic("t")
            if what in ("put", "delete"):
                pairs = [
                    (f"k{(key + n) % 6}", None if what == "delete" else pad(len(written) + n))
                    for n in range(count)
                ]
                put(topic, *pairs, batch=2)
                for name, value in pairs:
                    written.append((len(written), name, value and value.rstrip(".")))
                    state[name] = value and value.rstrip(".")
            elif what == "roll":
                sealed(store)
            elif what == "compact":
                compact(topic.partition(0), topic.settings, clock(), memory)
            elif what == "later":
                clock.ms += 1000
            else:
                store.close()
                store = logstore.open(path, clock=clock, config=config, disk=ThisProcess())
            found = rows(store)
            assert set(found) <= set(written)
            assert [row[0] for row in found] == sorted({row[0] for row in found})
            now = {name: value for _, name, value in found}
            assert {k: v for k, v in now.items() if v} == {k: v for k, v in state.items() if v}
            assert not [it for report in store.verify() for it in report.findings if not it.derived]
    finally:
        store.close()


def test_an_active_segment_with_a_record_that_is_overdue_is_rolled_and_compacted(store, clock):
    """Kafka's max.compaction.lag.ms holds for what nobody appends to any more, too."""
    topic = store.create_topic("t", settings=SETTINGS | {"max.compaction.lag.ms": 1000})
    put(topic, ("a", "1"), ("a", "2"))
    clock.ms += 1000
    assert not run(store).due
    clock.ms += 1
    assert run(store).records_removed == 1
    assert rows(store) == [(1, "a", "2")]
