import pytest
from clock import NOW_MS
from storage_kit import a_batch, add

from logstore.errors import CorruptBatch
from logstore.storage.disk import Disk
from logstore.storage.files import OpenFiles
from logstore.storage.segment import EVERYTHING, Indexes, Segment


@pytest.fixture
def segment(tmp_path):
    files = OpenFiles(Disk(), 16, write=True)
    it = Segment(str(tmp_path), 10, files, Indexes(), 50)
    it.create()
    yield it
    files.close()


def write(segment, *batches, tail=b""):
    data = b"".join(b"".join(batch.stamped(base)) for base, batch in batches)
    segment._files.write(segment.path, [data + tail], 0)
    return data


THREE = [(10, a_batch(b"a", b"b")), (12, a_batch(b"c")), (13, a_batch(b"d"))]


class TestWalk:
    def test_ends_with_the_file(self, segment):
        write(segment, *THREE)
        assert [batch.base_offset for _, batch in segment.walk()] == [10, 12, 13]
        assert [batch.base_offset for _, batch in segment.walk(below=13)] == [10, 12]

    @pytest.mark.parametrize("zeros", [1, 11, 12, 61, 5000])
    def test_ends_at_zeros_written_ahead(self, segment, zeros):
        write(segment, *THREE, tail=bytes(zeros))
        assert len(list(segment.walk())) == 3
        assert len(segment.read(13, 1, EVERYTHING)) == 1

    @pytest.mark.parametrize(
        "tail", [b"\x01", b"\x00" * 10 + b"\x01", b"\xff" * 200, b"\x00\x01" * 40]
    )
    def test_whole_batches_come_before_what_is_wrong(self, segment, tail):
        data = write(segment, *THREE, tail=tail)
        with pytest.raises(CorruptBatch, match=f"{segment.path} at position {len(data)}"):
            list(segment.walk())
        walk = segment.walk()
        assert [next(walk)[1].base_offset for _ in range(3)] == [10, 12, 13]
        assert segment.read(12, 1 << 20, EVERYTHING)[0].base_offset == 12

    def test_offsets_that_go_back_across_two_reads(self, segment):
        big = a_batch(bytes(20_000))
        write(segment, (10, big), (11, big), (10, big))
        walk = segment.walk(chunk_bytes=16 << 10)
        assert [next(walk)[1].base_offset for _ in range(2)] == [10, 11]
        with pytest.raises(CorruptBatch, match="batch has base offset 10, expected at least 12"):
            next(walk)

    def test_a_batch_larger_than_a_read(self, segment):
        write(segment, (10, a_batch(bytes(100_000))), (11, a_batch(b"v")))
        assert [batch.size > 100_000 for batch in segment.read(10, 1, EVERYTHING)] == [True]
        assert [b.base_offset for b in segment.read(10, 1 << 20, EVERYTHING)] == [10, 11]

    def test_a_length_that_claims_more_than_there_is(self, segment):
        data = bytearray(write(segment, *THREE))
        data[8:12] = (2**31 - 1).to_bytes(4, "big")
        segment._files.write(segment.path, [bytes(data)], 0)
        with pytest.raises(CorruptBatch, match=r"batch has length 2147483647, but \d+ bytes"):
            list(segment.walk())


class TestIndexes:
    def test_only_so_many_bytes_are_kept_and_a_pinned_one_stays(self, tmp_path):
        files, indexes = OpenFiles(Disk(), 16, write=True), Indexes(bytes_max=1500)
        segments = [Segment(str(tmp_path), base, files, indexes, 50) for base in range(10)]
        segments[0].pinned = True
        for segment in segments:
            segment.create()
            assert segment.index is not None
        kept = [segment for segment in segments if segment._index is not None]
        indexes.forget(segments[-1])
        assert segments[0] in kept
        files.close()

    def test_removing_a_segment_removes_its_files(self, segment, tmp_path):
        segment.remove()
        assert list(tmp_path.iterdir()) == []
        segment.remove()


class TestTimestamps:
    def test_the_largest_is_not_always_the_last(self, store):
        log = store.log(index_interval_bytes=1000)
        for at_ms in (5, 9, 3):
            add(log, b"v", at_ms=NOW_MS + at_ms)
        assert log.chain.segment(0).max_timestamp(3) == NOW_MS + 9
        assert log.chain.segment(0).max_timestamp(1) == NOW_MS + 5
        assert log.find(NOW_MS + 6) == 1
        assert log.find(NOW_MS + 1) == 0

    def test_within_a_batch(self, store):
        log = store.log()
        add(log, b"a", b"b", b"c", at_ms=NOW_MS)
        assert log.find(NOW_MS + 1) == 1
        log.trim(2)
        assert log.find(NOW_MS) == 2
