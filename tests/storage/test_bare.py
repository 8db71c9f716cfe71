import pytest
from storage_kit import a_batch, fill, numbers

from logstore.config import Config
from logstore.errors import CorruptBatch, ReadOnly, UnknownPartition, UnknownTopic
from logstore.storage.bare import BareDirectory
from logstore.storage.disk import Disk


@pytest.fixture
def bare(store, tmp_path):
    """The partition directories of a store, without its catalogue."""
    log = store.log(segment_bytes=500, index_interval_bytes=100)
    fill(log, 20)
    store.close()
    for name in ("catalog.mdb", "catalog.mdb-lock", "lock", "watermarks"):
        (store.path / name).unlink(missing_ok=True)
    opened = []

    def open_it():
        directory = BareDirectory(str(store.path), Config(), Disk())
        opened.append(directory)
        return directory

    yield open_it
    for directory in opened:
        directory.close()


def log_of(directory, topic="t"):
    return directory.log(topic, directory.topic(topic), 0)


def last_log(store):
    return max((store.path / "t-0").glob("*.log"))


def test_everything_is_read(bare):
    directory = bare()
    assert list(directory.topics()) == ["t"]
    log = log_of(directory)
    assert (log.start, log.safe) == (0, 20)
    assert numbers(log) == list(range(20))
    assert directory.size("t", directory.topic("t"), 0).end == 20


@pytest.mark.parametrize(
    "content", [None, b"", b"\x00" * 16, bytes(range(200)), b"\0\0\0\2\0\0\0\7"]
)
def test_whatever_the_last_index_says(bare, store, content):
    path = max((store.path / "t-0").glob("*.index"))
    path.unlink() if content is None else path.write_bytes(content)
    assert numbers(log_of(bare())) == list(range(20))


def test_a_torn_tail_is_left_out(bare, store):
    with last_log(store).open("ab") as file:
        file.write(b"\x7f" * 100)
    log = log_of(bare())
    assert log.safe == 20
    assert numbers(log) == list(range(20))


def test_a_last_offset_out_of_this_world(bare, store):
    """One flipped bit in the header of the last batch."""
    with last_log(store).open("ab") as file:
        file.write(b"".join(a_batch(b"x" * 200).stamped(2**60)))
    log = log_of(bare())
    assert log.safe == 2**60 + 1
    assert [it.base_offset for it in log.read(20, 1)] == [2**60]
    assert log.find(2**62) == log.safe


def test_a_gap_is_none_for_a_compacted_partition_has_them(bare, store):
    sorted((store.path / "t-0").glob("*.log"))[1].unlink()
    found = numbers(log_of(bare()))
    assert 10 < len(found) < 20
    assert (found[0], found[-1]) == (0, 19)


def test_damage_in_the_middle_is_named_when_it_is_read(bare, store):
    path = sorted((store.path / "t-0").glob("*.log"))[1]
    base = int(path.stem)
    data = bytearray(path.read_bytes())
    data[16] = 9
    path.write_bytes(data)
    log = log_of(bare())
    with pytest.raises(CorruptBatch, match=r"position 0: .*magic 9"):
        log.read(base, 1)
    assert log.read(base - 1, 1)
    assert log.read(19, 1)


def test_refused(bare):
    directory = bare()
    with pytest.raises(UnknownTopic, match="it has no directory u-0"):
        directory.topic("u")
    with pytest.raises(UnknownPartition):
        directory.log("t", directory.topic("t"), 1)
    for change in (
        directory.writable,
        lambda: log_of(directory).append(a_batch(b"v")),
    ):
        with pytest.raises(ReadOnly):
            change()
