import json
import os
import shutil
import threading

import pytest
from clock import NOW_MS

import logstore
from logstore.broker.ledger import producers_of
from logstore.errors import CorruptStore, NotAStore, Refused
from logstore.records.control import ABORT, marker
from logstore.records.encode import encode
from logstore.storage.disk import Disk
from logstore.upkeep.backup import MANIFEST, restore

SETTINGS = {"segment.bytes": 500, "index.interval.bytes": 50, "retention.ms": -1}


@pytest.fixture
def places(tmp_path):
    return tmp_path / "data", tmp_path / "backup", tmp_path / "restored"


@pytest.fixture
def store(places):
    with logstore.open(places[0], clock=lambda: NOW_MS) as store:
        topic = store.create_topic("t", partitions=2, settings=SETTINGS)
        produce(topic, 0, 40)
        with store.consumer("t", group="g") as consumer:
            consumer.poll(7)
        yield store


def produce(topic, first, count):
    for n in range(first, first + count):
        topic.append(b"%d" % n, headers={"n": b"%d" % n}, partition=n % 2, timestamp_ms=NOW_MS + n)


def contents(path):
    """All that can be read of a store."""
    with logstore.open(path, "read") as store:
        assert not [it for report in store.verify() for it in report.findings]
        topics = {
            name: sorted((it.partition, it.offset, it.timestamp_ms, it.key, it.value, it.headers)
                         for it in store.consumer(name))
            for name in store.topics()
        }  # fmt: skip
        settings = {name: store.describe_topic(name) for name in topics}
        groups = {name: store.group(name).describe() for name in store.groups()}
        starts = {name: [log.start for log in store.topic(name).partitions] for name in topics}
        return topics, settings, groups, starts


def restored(places):
    files = list(restore(str(places[1]), str(places[2]), Disk()))
    assert files
    return places[2]


def test_a_backup_is_a_store_and_so_is_what_is_restored(store, places):
    files = list(store.backup(places[1]))
    wanted = contents(places[0])
    assert contents(places[1]) == wanted
    assert contents(restored(places)) == wanted
    linked = {it.path for it in files if it.linked}
    assert linked
    assert all(it.endswith(".log") for it in linked)
    assert sum(it.path.endswith(".log") for it in files) == len(linked) + 2  # the active ones


def test_the_copy_goes_on_by_itself(store, places):
    list(store.backup(places[1]))
    before = contents(places[0])
    committed = {lag.partition: lag.committed for lag in store.group("g").describe()}
    with logstore.open(restored(places)) as copy:
        produce(copy.topic("t"), 40, 30)
        assert copy.topic("t").partition(0).end == 35
        with copy.consumer("t", group="g") as consumer:
            record = next(iter(consumer))
            assert record.offset == (committed[record.partition] or 0)
    produce(store.topic("t"), 40, 2)
    assert contents(places[1]) == before


@pytest.mark.parametrize("mode", ["write", "read"])
@pytest.mark.parametrize("secured", [0, 2])
def test_the_copy_knows_what_its_producers_have_sent_last(store, places, mode, secured):
    """It knew the batches up to the last roll or close: others were taken again, or for a gap."""
    log = store.topic("t").partition(0)
    first = log.end
    for sequence in range(4):
        log.append(encode([(b"v", None, (), NOW_MS)], producer_id=9, producer_epoch=0,
                          base_sequence=sequence))  # fmt: skip
        if sequence < secured:
            log.secure()
    log.sync()
    if mode == "write":
        list(store.backup(places[1]))
    else:
        with logstore.open(places[0], "read", clock=lambda: NOW_MS) as reader:
            list(reader.backup(places[1]))
    with logstore.open(restored(places), clock=lambda: NOW_MS) as copy:
        known = producers_of(copy.topic("t").partition(0))
        for sequence in range(5):
            batch = encode([(b"v", None, (), NOW_MS)], producer_id=9, producer_epoch=0,
                           base_sequence=sequence)  # fmt: skip
            assert known.check(batch) == (first + sequence if sequence < 4 else None)


def test_by_another_process_than_the_writer(store, places):
    with logstore.open(places[0], "read") as reader:
        list(reader.backup(places[1]))
    assert contents(restored(places)) == contents(places[0])


def test_while_all_goes_on(store, places):
    """Whatever is acknowledged before it begins is there; what is there is a prefix."""
    store.create_topic("short", settings=SETTINGS)
    topic, over = store.topic("t"), threading.Event()

    def busy():
        n = 40
        while not over.is_set():
            produce(topic, n, 10)
            n += 10
            store.trim("t", topic.partition(0).start + 2, [0])
            with store.consumer("t", group="g", partitions=[1]) as consumer:
                consumer.poll(3)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for n in range(5):
            acknowledged = [log.safe for log in topic.partitions]
            list(store.backup(places[1] / str(n)))
            if n == 2:
                store.delete_topic("short")
            topics, _, groups, starts = contents(places[1] / str(n))
            assert set(topics) - {"short"} == {"t"}
            for partition in (0, 1):
                offsets = [it[1] for it in topics["t"] if it[0] == partition]
                assert offsets == list(range(starts["t"][partition], offsets[-1] + 1))
                assert offsets[-1] + 1 >= acknowledged[partition]
                assert all(lag.committed <= lag.end for lag in groups["g"] if lag.committed)
    finally:
        over.set()
        thread.join()


def test_without_hard_links(places):
    class NoLinks(Disk):
        def link(self, path, other):
            raise PermissionError(1, "Operation not permitted", other)

    with logstore.open(places[0], disk=NoLinks()) as store:
        produce(store.create_topic("t", 2, SETTINGS), 0, 40)
        assert not any(it.linked for it in store.backup(places[1]))
    assert contents(restored(places)) == contents(places[0])


def test_empty_topics_and_trimmed_logs(store, places):
    store.create_topic("empty", 3)
    store.trim("t", "latest", [0])
    store.trim("t", 5, [1])
    list(store.backup(places[1]))
    assert contents(restored(places)) == contents(places[0])
    with logstore.open(places[2]) as copy:
        assert copy.topic("t").append(b"x", partition=0).offset == 20
        assert copy.topic("empty").append(b"x", partition=2).offset == 0


class TestRefused:
    def test_a_directory_that_holds_something(self, store, places):
        places[1].mkdir()
        (places[1] / "letter").write_text("dear")
        with pytest.raises(Refused, match="not empty: name a new directory"):
            list(store.backup(places[1]))
        with pytest.raises(Refused, match="not empty"):
            list(restore(str(places[0]), str(places[1]), Disk()))
        assert [it.name for it in places[1].iterdir()] == ["letter"]

    def test_what_is_no_finished_backup(self, store, places):
        list(store.backup(places[1]))
        (places[1] / MANIFEST).unlink()
        with pytest.raises(NotAStore, match="not a finished backup"):
            restored(places)
        assert not places[2].exists()

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "files": {"a": 1}}'])
    def test_a_manifest_that_makes_no_sense(self, store, places, text):
        list(store.backup(places[1]))
        (places[1] / MANIFEST).write_text(text)
        with pytest.raises(CorruptStore, match="not as a backup left it"):
            restored(places)

    def test_a_manifest_that_points_elsewhere(self, store, places):
        list(store.backup(places[1]))
        files = {"../evil": {"bytes": 1, "crc32c": 1}}
        (places[1] / MANIFEST).write_text(
            json.dumps({"format": 1, "files": files, "directories": []})
        )
        with pytest.raises(CorruptStore, match="outside of the backup"):
            restored(places)

    def test_another_format(self, store, places):
        list(store.backup(places[1]))
        (places[1] / MANIFEST).write_text('{"format": 2, "files": {}, "directories": []}')
        with pytest.raises(Refused, match="format 2, but this logstore knows only 1"):
            restored(places)

    @pytest.mark.parametrize("ending", [".log", ".index", ".timeindex", "catalog.mdb"])
    def test_a_file_that_has_changed_or_gone(self, store, places, ending):
        list(store.backup(places[1]))
        path = max(places[1].rglob(f"*{ending}"), key=lambda it: it.stat().st_size)
        if ending == ".log":  # linked: the store's own must not change with it
            shutil.copy(path, f"{path}.own")
            os.replace(f"{path}.own", path)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(CorruptStore, match="nothing was restored"):
            restored(places)
        path.unlink()
        with pytest.raises(CorruptStore, match="the file is missing; nothing was restored"):
            restored(places)
        assert sorted(it.name for it in places[2].parent.iterdir()) == ["backup", "data"]

    def test_bare_partitions(self, store, places, tmp_path):
        shutil.copytree(places[0] / "t-0", tmp_path / "bare" / "t-0")
        with logstore.open(tmp_path / "bare", "read") as bare, pytest.raises(Refused):
            list(bare.backup(places[1]))


@pytest.mark.parametrize("mode", ["write", "read"])
@pytest.mark.parametrize("secured", [True, False])
def test_the_copy_knows_of_transactions(store, places, mode, secured):
    log = store.topic("t").partition(0)
    for producer in (7, 8, 9):
        log.append(encode([(b"v", None, (), NOW_MS)], producer_id=producer, producer_epoch=0,
                          base_sequence=0, transactional=True))  # fmt: skip
        if producer == 7:
            log.append(marker(ABORT, producer, 0, NOW_MS))
    if secured:
        log.secure()
    log.append(marker(ABORT, 8, 0, NOW_MS))
    log.sync()
    seen = log.stable, log.aborted(0, log.safe)
    assert len(seen[1]) == 2
    if mode == "write":
        list(store.backup(places[1]))
    else:
        with logstore.open(places[0], "read", clock=lambda: NOW_MS) as reader:
            list(reader.backup(places[1]))
    for how in ("read", "write", "read"):
        with logstore.open(places[1] if how == "read" else restored(places), how) as copy:
            its = copy.topic("t").partition(0)
            assert (its.stable, its.aborted(0, its.safe)) == seen
