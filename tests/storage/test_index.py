import struct

import pytest
from clock import NOW_MS
from mostly_long import mostly_long
from storage_kit import a_batch, fill, numbers

from logstore.storage.disk import Disk
from logstore.storage.files import OpenFiles
from logstore.storage.index import NO_TIMESTAMP, Index


@pytest.fixture
def files():
    opened = OpenFiles(Disk(), 16, write=True)
    yield opened
    opened.close()


def noted(*batches, base_offset=100, interval=50):
    """An index over batches given as (size, last offset, timestamp)."""
    index, position = Index(base_offset, interval), 0
    for size, last_offset, timestamp_ms in batches:
        index.note(position, size, last_offset, timestamp_ms)
        position += size
    return index


FOUR = ((60, 102, 5), (60, 104, 9), (60, 106, 7), (60, 109, 11))


class TestBytes:
    def test_entries_are_kafkas(self, store):
        """Offsets and times relative and big-endian: what Kafka's own dump tool reads."""
        log = store.log(index_interval_bytes=100)
        fill(log, 4)
        store.close()
        size = store.segment().stat().st_size // 4
        index = store.segment(ending=".index").read_bytes()
        assert index == struct.pack(">2I", 2, 2 * size)
        times = list(struct.iter_unpack(">qI", store.segment(ending=".timeindex").read_bytes()))
        assert times == [(NOW_MS + 2, 2), (NOW_MS + 3, 3)]

    def test_saved_and_loaded(self, files, tmp_path):
        index = noted(*FOUR)
        stem = str(tmp_path / "00000000000000000100")
        (tmp_path / "00000000000000000100.log").write_bytes(bytes(240))
        index.save(files, stem)
        assert (tmp_path / "00000000000000000100.index").read_bytes() == struct.pack(
            ">6I", 4, 60, 6, 120, 9, 180
        )
        assert (tmp_path / "00000000000000000100.timeindex").read_bytes() == struct.pack(
            ">qIqI", 9, 4, 11, 9
        )
        loaded = Index.load(files, stem, 100, 50)
        assert (loaded.offsets, loaded.positions) == (index.offsets, index.positions)
        assert (loaded.times, loaded.time_offsets) == (index.times, index.time_offsets)
        assert loaded.covered == 180


class TestFloor:
    def test_by_offset(self):
        index = noted(*FOUR)
        found = {offset: index.floor(offset) for offset in (100, 103, 104, 105, 108, 109, 999)}
        assert found == {
            100: None, 103: None, 104: (104, 60), 105: (104, 60), 108: (106, 120), 109: (109, 180),
            999: (109, 180),
        }  # fmt: skip

    def test_by_time(self):
        index = noted(*FOUR)
        assert index.floor_time(9, 999) is None
        assert index.floor_time(10, 999) == (9, 104)
        assert index.floor_time(99, 999) == (11, 109)
        assert index.floor_time(99, 109) == (9, 104)  # the last is above what may be seen
        assert index.floor_time(99, 103) is None

    def test_an_offset_that_no_entry_can_hold_is_left_out(self):
        index = noted((60, 102, 5), (60, 2**60, 9), (60, 2**61, 10))
        assert list(index.offsets) == []
        assert index.floor(2**60) is None


class TestCut:
    def test_what_follows_is_forgotten_and_noted_again(self):
        index = noted(*FOUR)
        index.cut(120)
        assert list(index.positions) == [60]
        assert list(index.times) == [9]
        index.note(60, 60, 104, 9)
        index.note(120, 60, 107, 8)
        index.note(180, 60, 110, 12)
        assert list(index.offsets) == [4, 7, 10]
        assert list(index.times) == [9, 12]

    def test_everything(self):
        index = noted(*FOUR)
        index.cut(0)
        assert (len(index.offsets), len(index.times), index.covered) == (0, 0, 0)


def test_a_batch_that_is_not_the_next_is_not_noted():
    index = Index(0, 10)
    index.note(500, 60, 9, 1)
    assert (index.covered, len(index.positions)) == (0, 0)


def test_without_timestamps_there_are_no_time_entries():
    index = noted((60, 102, NO_TIMESTAMP), (60, 104, NO_TIMESTAMP), (60, 106, NO_TIMESTAMP))
    index.note_largest()
    assert len(index.times) == 0


BROKEN = {
    "missing": lambda data, other: None,
    "empty": lambda data, other: b"",
    "short by a byte": lambda data, other: data[:-1],
    "short by half": lambda data, other: data[: len(data) // 24 * 12],
    "garbage": lambda data, other: bytes(range(256)) * 3,
    "zeros": lambda data, other: bytes(len(data)),
    "ones": lambda data, other: b"\xff" * len(data),
    "of another log": lambda data, other: other,
    "backwards": lambda data, other: data[::-1],
    "one byte off": lambda data, other: bytes([*data[:-2], data[-2] ^ 1, data[-1]]),
    "positions shifted": lambda data, other: b"".join(
        struct.pack(">II", offset, position + 7)
        for offset, position in struct.iter_unpack(">II", data[: len(data) // 8 * 8])
    ),
}


class TestDistrust:
    @pytest.mark.parametrize("broken", mostly_long(BROKEN, ["missing", "backwards"]))
    @pytest.mark.parametrize("endings", [(".index",), (".timeindex",), (".index", ".timeindex")])
    @pytest.mark.parametrize("follower", [False, True])
    def test_every_answer_is_right_and_the_index_is_right_after(
        self, store, broken, endings, follower
    ):
        directory = store.writer()
        log = store.log_of(directory, index_interval_bytes=100, segment_bytes=3000)
        fill(log, 60, step_ms=2)
        fill(store.log_of(directory, "u", index_interval_bytes=70), 60, size=33, step_ms=3)
        store.close()
        for ending in endings:
            other = store.segment(0, ending, "u").read_bytes()
            for base in log.chain.bases:
                path = store.segment(base, ending)
                data = BROKEN[broken](path.read_bytes(), other)
                path.unlink() if data is None else path.write_bytes(data)
        if follower:
            directory = store.reader()
            log = directory.log("t", directory.topic("t"), 0)
        else:
            log = store.log()
        assert log.start == 0
        assert log.safe == 60
        for at in [59, 0, 31, *range(60)]:
            assert log.read(at, 1)[0].base_offset == at
            assert log.find(NOW_MS + 2 * at) == at
            assert log.find(NOW_MS + 2 * at - 1) == at
        assert log.find(NOW_MS + 1000) == 60
        assert numbers(log) == list(range(60))
        for base in log.chain.bases:
            segment = log.chain.segment(base)
            batches = {batch.last_offset: position for position, batch in segment.walk()}
            index = segment.index
            assert len(index.positions) >= len(batches) // 2 - 1
            for relative, position in zip(index.offsets, index.positions, strict=True):
                assert batches[base + relative] == position

    def test_it_is_mended_on_disk_by_the_next_appends(self, store):
        log = store.log(index_interval_bytes=100)
        fill(log, 20)
        store.close()
        for ending in (".index", ".timeindex"):
            store.segment(ending=ending).unlink()
        fill(store.log(), 20, first=20)
        store.close()
        assert store.segment(ending=".index").stat().st_size >= 8 * 15
        assert numbers(store.log()) == list(range(40))


def test_a_batch_appended_while_a_reader_learns(store):
    log = store.log(index_interval_bytes=50)
    fill(log, 20)
    segment = log.chain.segment(0)
    segment.restart_index()
    log.append(a_batch(b"20|"))
    assert log.read(19, 1)[0].base_offset == 19
    log.wait(21)
    assert numbers(log) == list(range(21))
    assert list(segment.index.positions) == sorted(segment.index.positions)
