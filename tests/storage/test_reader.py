import pytest
from storage_kit import commit, fill, numbers

from logstore.errors import CorruptStore, ReadOnly, UnknownPartition, UnknownTopic


def test_it_sees_topics_come_and_go(store):
    writer = store.writer()
    reader = store.reader()
    assert reader.topics() == {}
    fill(store.log_of(writer), 2)
    assert list(reader.topics()) == ["t"]
    assert numbers(reader.log("t", reader.topic("t"), 0)) == [0, 1]
    writer.change_topic("t", partitions=2)
    assert reader.log("t", reader.topic("t"), 1).safe == 0
    writer.delete_topic("t")
    with pytest.raises(UnknownTopic):
        reader.topic("t")


def test_refused(store):
    store.log()
    reader = store.reader()
    with pytest.raises(UnknownPartition, match="has no partition 1, only 0 to 0"):
        reader.log("t", reader.topic("t"), 1)
    with pytest.raises(ReadOnly, match="the store is open for reading"):
        reader.writable()


def test_offsets_are_committed_beside_the_writer(store):
    writer = store.writer()
    writer.create_topic("t", 1, {})
    reader = store.reader()
    commit(reader, "g", {("t", 0): 5})
    assert writer.groups.offsets.fetch("g")["t", 0].offset == 5


def test_a_missing_directory_is_named(store):
    store.log()
    store.close()
    for path in (store.path / "t-0").iterdir():
        path.unlink()
    (store.path / "t-0").rmdir()
    reader = store.reader()
    with pytest.raises(CorruptStore, match="t-0: the catalogue knows this partition"):
        reader.log("t", reader.topic("t"), 0)


def test_who_writes(store):
    store.writer()
    reader = store.reader()
    assert reader.writer().pid > 0
    assert not reader.settled


def test_size(store):
    log = store.log(segment_bytes=200)
    fill(log, 5)
    reader = store.reader()
    size = reader.size("t", reader.topic("t"), 0)
    assert (size.start, size.safe, size.segments) == (0, 5, 3)
    assert size.bytes >= log.bytes()


def test_closing_while_someone_watches(store):
    store.log()
    reader = store.reader()
    reader.log("t", reader.topic("t"), 0).watch(lambda: None)
    thread = reader._poller._thread
    store.close()
    thread.join(30)
    assert not thread.is_alive()
