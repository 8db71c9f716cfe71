"""The data directory of an open store is removed, moved or replaced: nothing is acknowledged."""

import os
import shutil
import threading

import pytest

import logstore
import logstore.storage.writer
from logstore.config import Config
from logstore.errors import LogFailed, LogstoreError

pytestmark = pytest.mark.long

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
DEADLINE_S = 30


def removed(path):
    shutil.rmtree(path)


def moved(path):
    os.rename(path, f"{path}.moved")


def replaced(path):
    os.rename(path, f"{path}.moved")
    with logstore.open(path, config=OFF) as stranger:
        stranger.create_topic("t").append(b"a stranger's")


def replaced_by_another(path):
    os.rename(path, f"{path}.moved")
    shutil.copytree(f"{path}.moved", path)


def without_lock(path):
    os.unlink(os.path.join(path, "lock"))


def with_another_lock(path):
    without_lock(path)
    with open(os.path.join(path, "lock"), "wb"):
        pass


def without_catalogue(path):
    os.unlink(os.path.join(path, "catalog.mdb"))


def with_another_catalogue(path):
    file = os.path.join(path, "catalog.mdb")
    shutil.copy(file, f"{file}.copy")
    os.rename(f"{file}.copy", file)


def without_the_table_of_readers(path):
    os.unlink(os.path.join(path, "catalog.mdb-lock"))


def without_watermarks(path):
    os.unlink(os.path.join(path, "watermarks"))


@pytest.fixture(
    params=[
        removed,
        moved,
        replaced,
        without_lock,
        with_another_lock,
        without_catalogue,
        with_another_catalogue,
        without_the_table_of_readers,
        without_watermarks,
    ]
)
def lost(request, tmp_path):
    path = str(tmp_path / "data")
    store = logstore.open(path, config=OFF)
    topic = store.create_topic("t", settings={"segment.bytes": "1000"})
    unsynced = store.create_topic("unsynced", settings={"flush.messages": "1000000"})
    topic.append(b"before")
    unsynced.append(b"before")
    in_place = store._directory._in_place
    noticed, tell = threading.Event(), in_place._lost
    in_place._lost = lambda error: (tell(error), noticed.set())
    request.param(path)
    store.noticed = noticed
    yield store
    with pytest.raises(LogstoreError, match="removed, moved or replaced"):
        store.close()


def test_it_is_noticed_by_itself_and_every_write_is_refused(lost, caplog):
    assert lost.noticed.wait(DEADLINE_S)  # nobody has asked for anything
    told = [*caplog.get_records("setup"), *caplog.get_records("call")]  # whenever it was
    assert sum("removed, moved or replaced" in it.getMessage() for it in told) == 1
    for write in (
        lambda: lost.topic("t").append(b"after"),
        lambda: lost.topic("unsynced").append(b"after"),
        lambda: lost.create_topic("u"),
        lambda: lost.delete_topic("t"),
        lambda: lost.alter_topic("t", {"retention.ms": "1"}),
        lambda: lost.alter_topic("t", partitions=3),
        lambda: lost.trim("t", 1),
        lambda: lost.topic("t").partition(0).roll(),
    ):
        with pytest.raises(LogstoreError) as raised:
            write()
        assert "\n" not in str(raised.value)


def test_nothing_is_made_in_a_stranger(tmp_path):
    """A store of the same name stands there by now."""
    path = str(tmp_path / "data")
    store = logstore.open(path, config=OFF)
    topic = store.create_topic("t", settings={"segment.bytes": "1000"})
    store.create_topic("old")
    topic.append(b"1")
    replaced(path)
    there = sorted(os.walk(path))
    # At once, before anybody has looked.
    for change in (
        lambda: store.create_topic("u"),
        lambda: store.delete_topic("old"),
        lambda: topic.partition(0).roll(),
        lambda: store.trim("t", 1),
    ):
        with pytest.raises(LogFailed, match="removed, moved or replaced"):
            change()
    with pytest.raises(LogFailed):
        store.close()
    assert sorted(os.walk(path)) == there


def test_acknowledgements_end_within_one_look(tmp_path, monkeypatch):
    path = str(tmp_path / "data")
    store = logstore.open(path, config=OFF)
    topic = store.create_topic("t")
    topic.append(b"1")
    removed(path)
    store._directory._in_place._due_s = 0.0  # the time is over
    with pytest.raises(LogFailed, match="removed, moved or replaced"):
        topic.append(b"2")
    assert topic.partition(0).safe == 1
    with pytest.raises(LogFailed):
        topic.append(b"3")
    with pytest.raises(LogFailed):
        store.close()


@pytest.mark.parametrize("logs", [1, 4])
def test_one_partitions_files_are_removed_and_the_others_go_on(tmp_path, logs):
    path = str(tmp_path / "data")
    store = logstore.open(path, config=OFF)
    topics = [store.create_topic(f"t{n}") for n in range(4)]
    for topic in topics:
        topic.append(b"1")
    shutil.rmtree(f"{path}/t0-0")
    store._directory._in_place._due_of.clear()  # the time is over
    batch = topics[1].partition(0).read(0, 1)[0]
    for topic in topics[:logs]:
        topic.partition(0).append(batch)
    with pytest.raises(LogFailed, match="removed or moved"):
        topics[0].partition(0).wait(2)
    assert topics[0].partition(0).safe == 1
    for topic in topics[1:logs]:
        topic.partition(0).wait(2)
    assert topics[1].append(b"3").offset == min(logs, 2)
    with pytest.raises(LogstoreError):
        store.close()


@pytest.mark.parametrize("how", [removed, moved, replaced_by_another])
def test_an_idle_partition_that_is_lost_is_noticed_though_nobody_writes(tmp_path, caplog, how):
    path = str(tmp_path / "data")
    store = logstore.open(path, config=OFF)
    idle, other = store.create_topic("idle"), store.create_topic("other")
    idle.append(b"1")
    other.append(b"1")
    woken = []
    idle.partition(0).watch(lambda: woken.append(1))
    how(f"{path}/idle-0")
    store._directory.look()
    with pytest.raises(LogFailed, match=r"idle-0.*was removed or moved"):
        idle.partition(0).append(other.partition(0).read(0, 1)[0])
    assert woken
    store._directory.look()
    assert caplog.text.count("was removed or moved") == 1
    assert other.append(b"2").offset == 1
    with pytest.raises(LogstoreError):
        store.close()


def test_logs_that_roll_trim_and_close_their_files_are_not_taken_for_lost(tmp_path):
    few = Config({"upkeep.interval.ms": ("-1", "test"), "files.open.max": ("16", "test")})
    with logstore.open(tmp_path / "data", config=few) as store:
        topics = [store.create_topic(f"t{n}", settings={"segment.bytes": "1000"}) for n in range(9)]
        for n in range(20):
            for topic in topics:
                topic.append(bytes(200))
            store.trim("t0", n)
            store._directory.look()
        store.delete_topic("t1")
        store._directory.look()
        assert topics[0].append(b"1").offset == 20


def test_all_logs_are_looked_at_in_turn_however_many_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(logstore.storage.writer, "LOOKS_MAX", 2)
    path = str(tmp_path / "data")
    store = logstore.open(path, config=OFF)
    topics = [store.create_topic(f"t{n}") for n in range(5)]
    for topic in topics:
        topic.append(b"1")
    directory = store._directory
    while directory._to_look_at:  # the thread of upkeep may have begun a round
        directory.look()
    removed(f"{path}/t4-0")
    for _ in range(6):  # two, two, one; and a round that the thread of upkeep had begun
        directory.look()
    with pytest.raises(LogFailed, match="was removed or moved"):
        topics[4].append(b"2")
    with pytest.raises(LogstoreError):
        store.close()


def test_a_reader_commits_nothing_into_a_lost_catalogue(tmp_path):
    path = str(tmp_path / "data")
    with logstore.open(path, config=OFF) as store:
        store.create_topic("t").append(b"1")
    reader = logstore.open(path, "read", config=OFF)
    consumer = reader.consumer("t", group="g")
    assert consumer.poll(1)
    moved(path)
    reader._directory._catalog.environment._look_at_s = 0.0
    with pytest.raises(LogstoreError, match="removed, moved or replaced"):
        consumer.commit()
    with pytest.raises(LogstoreError):
        reader.close()
