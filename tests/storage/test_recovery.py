import errno
import os
import shutil

import pytest
from storage_kit import NamedDisk, a_batch, add, fill, numbered, numbers

from logstore.errors import CorruptBatch, CorruptStore, Failed, OffsetBelowStart
from logstore.records.batch import HEADER_BYTES

# A byte of each header field that the framing depends on; the others are for the reader's CRC.
FRAMING = {"base offset": 7, "length": 11, "magic": 16, "last offset delta": 26}
COVERED = {
    "CRC": 17, "attributes": 22, "base timestamp": 34, "max timestamp": 42, "producer id": 50,
    "producer epoch": 52, "base sequence": 56, "record count": 60, "records": HEADER_BYTES + 3,
}  # fmt: skip


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(data)


def positions(log):
    """Where each batch of the first segment begins."""
    segment = log.chain.segment(log.chain.bases[0])
    return [position for position, _ in segment.walk()]


def readable(log):
    """The numbers of the records that can be read and pass their CRC, from the start on."""
    found = []
    at = log.start
    try:
        while at < log.end:
            for batch in log.read(at, 1):
                batch.check()
                found.append(batch.base_offset)
                at = batch.next_offset
    except CorruptBatch:
        pass
    return found


class TestTornTail:
    @pytest.mark.parametrize("torn", ["half a batch", "zeros", "garbage", "flipped"])
    def test_it_is_cut_and_what_was_acknowledged_is_there(self, store, torn):
        log = store.log()
        fill(log, 5)
        path = store.segment()
        whole = path.read_bytes()
        store.crash()
        extra = b"".join(a_batch(numbered(5)).stamped(5))
        tail = {
            "half a batch": extra[: len(extra) // 2],
            "zeros": bytes(1000),
            "garbage": b"\xfe" * 300,
            "flipped": extra[:-3] + b"\xff" + extra[-2:],
        }[torn]
        path.write_bytes(whole + tail)
        log = store.log()
        assert numbers(log) == [0, 1, 2, 3, 4]
        assert path.stat().st_size == len(whole)
        fill(log, 2, first=5)
        store.close()
        assert numbers(store.log()) == [0, 1, 2, 3, 4, 5, 6]

    def test_a_whole_batch_that_nobody_waited_for_is_kept(self, store):
        log = store.log()
        fill(log, 2)
        log.append(a_batch(numbered(2)))
        store.crash()
        assert numbers(store.log()) == [0, 1, 2]

    def test_a_batch_with_another_offset_ends_the_log(self, store):
        log = store.log()
        fill(log, 2)
        store.crash()
        with store.segment().open("ab") as file:
            file.write(b"".join(a_batch(numbered(9)).stamped(9)))
        assert numbers(store.log()) == [0, 1]

    def test_an_empty_segment_that_a_roll_left(self, store):
        log = store.log()
        fill(log, 3)
        log.roll()
        store.crash()
        log = store.log()
        assert log.chain.bases == [0, 3]
        fill(log, 1, first=3)
        assert numbers(log) == [0, 1, 2, 3]

    def test_a_segment_that_does_not_follow_is_removed(self, store):
        log = store.log()
        fill(log, 3)
        store.crash()
        store.segment(7).write_bytes(b"")
        log = store.log()
        assert log.chain.bases == [0]
        assert numbers(log) == [0, 1, 2]

    def test_zeros_written_ahead_are_cut(self, store):
        log = store.log(preallocate="true", segment_bytes=100_000)
        fill(log, 3)
        assert store.segment().stat().st_size > 90_000
        store.crash()
        log = store.log()
        assert numbers(log) == [0, 1, 2]
        assert store.segment().stat().st_size < 1000

    def test_without_its_index_files(self, store):
        log = store.log(index_interval_bytes=10, segment_bytes=1000)
        fill(log, 30)
        store.crash()
        for path in (store.path / "t-0").glob("*index"):
            path.unlink()
        assert numbers(store.log()) == list(range(30))


class TestCleanClose:
    def test_the_index_goes_on_where_it_was(self, store):
        fill(store.log(index_interval_bytes=100), 50)
        store.close()
        log = store.log()
        fill(log, 50, first=50)
        segment = log.chain.segment(0)
        assert segment.index.positions[-1] > log.bytes() - 300

    def test_after_recovery_the_index_covers_what_was_recovered(self, store):
        fill(store.log(index_interval_bytes=100), 50)
        store.close()
        log = store.log()
        fill(log, 50, first=50)
        store.crash()
        log = store.log()
        assert log.chain.segment(0).index.positions[-1] > log.bytes() - 300
        assert store.segment(ending=".index").stat().st_size >= 8 * 90 // 2


class TestDamageAboveTheRecoveryPoint:
    """Published as synced: a flip there is no torn tail."""

    @pytest.mark.parametrize(("field", "at"), [*FRAMING.items(), *COVERED.items()])
    def test_a_flipped_bit_is_refused_and_named_at_every_start(self, store, field, at):
        log = store.log()
        fill(log, 5)
        begins = positions(log)
        store.crash()
        flip(store.segment(), begins[2] + at)
        damaged = store.segment().read_bytes()
        for _ in range(3):
            log = store.log()
            assert "offsets 2 to 4 were acknowledged" in str(log.damage)
            assert str(store.segment()) in str(log.damage)
            assert f"position {begins[2]}" in str(log.damage)
            assert readable(log) == [0, 1]
            with pytest.raises(CorruptBatch, match="the log accepts no appends"):
                log.append(a_batch(b"v"))
            with pytest.raises(CorruptBatch):
                log.read(2, 1)
            store.close()
            assert store.segment().read_bytes() == damaged

    def test_a_truncated_file(self, store):
        log = store.log()
        fill(log, 5)
        begins = positions(log)
        store.crash()
        store.segment().write_bytes(store.segment().read_bytes()[: begins[3] + 5])
        for _ in range(3):
            log = store.log()
            assert "offsets 3 to 4 were acknowledged" in str(log.damage)
            assert readable(log) == [0, 1, 2]
            store.close()
        assert store.segment().stat().st_size == begins[3] + 5

    def test_trimming_a_damaged_log_does_not_make_it_forget_the_damage(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 6)
        store.crash()
        last = max((store.path / "t-0").glob("*.log"))
        last.write_bytes(b"")
        log = store.log()
        assert log.damage is not None
        log.trim(1)
        store.close()
        log = store.log()
        assert log.damage is not None
        assert log.start == 1

    def test_restoring_the_file_heals_the_log(self, store):
        log = store.log()
        fill(log, 5)
        store.crash()
        whole = store.segment().read_bytes()
        flip(store.segment(), 70)
        assert store.log().damage is not None
        store.close()
        store.segment().write_bytes(whole)
        log = store.log()
        assert numbers(log) == [0, 1, 2, 3, 4]
        fill(log, 1, first=5)


class TestDamageBelowTheRecoveryPoint:
    @pytest.mark.parametrize(("field", "at"), FRAMING.items())
    def test_a_flipped_bit_in_the_framing(self, store, field, at):
        log = store.log()
        fill(log, 5)
        begins = positions(log)
        store.close()
        flip(store.segment(), begins[2] + at)
        damaged = store.segment().read_bytes()
        for _ in range(3):
            log = store.log()
            assert "offsets 2 to 4 were acknowledged" in str(log.damage)
            assert readable(log) == [0, 1]
            with pytest.raises(CorruptBatch, match="accepts no appends"):
                log.append(a_batch(b"v"))
            store.close()
            assert store.segment().read_bytes() == damaged

    @pytest.mark.parametrize(("field", "at"), COVERED.items())
    def test_a_flipped_bit_that_the_crc_covers_is_found_by_who_reads(self, store, field, at):
        log = store.log()
        fill(log, 5)
        begins = positions(log)
        store.close()
        flip(store.segment(), begins[2] + at)
        log = store.log()
        assert readable(log) == [0, 1]
        assert [batch.base_offset for batch in log.read(3, 1 << 20)] == [3, 4]

    def test_in_the_first_header_of_the_active_segment(self, store):
        fill(store.log(index_interval_bytes=100), 50)
        store.close()
        flip(store.segment(), 16)
        log = store.log()
        with pytest.raises(CorruptBatch, match=r"0\.log at position 0: .*magic"):
            log.read(0, 1)

    @pytest.mark.parametrize("crashed", [False, True])
    def test_a_foreign_file_of_any_length_is_not_cut(self, store, crashed):
        fill(store.log(), 5)
        store.close()
        foreign = b"this is no log, but somebody's text. " * 100
        if crashed:
            store.log()
            store.crash()
        store.segment().write_bytes(foreign)
        for _ in range(3):
            log = store.log()
            assert str(store.segment()) in str(log.damage)
            with pytest.raises(CorruptBatch):
                log.read(0, 1)
            store.close()
            assert store.segment().read_bytes() == foreign

    def test_the_file_of_another_log(self, store):
        directory = store.writer()
        fill(store.log_of(directory, "t"), 5)
        fill(store.log_of(directory, "u"), 9, size=33)
        store.close()
        other = store.segment(topic="u").read_bytes()
        store.segment(topic="t").write_bytes(other)
        assert store.log().damage is not None
        assert store.segment(topic="t").read_bytes() == other

    def test_a_truncated_file(self, store):
        log = store.log()
        fill(log, 5)
        begins = positions(log)
        store.close()
        store.segment().write_bytes(store.segment().read_bytes()[: begins[3] + 5])
        for _ in range(3):
            log = store.log()
            assert "were synced; offsets 3 to 4 were acknowledged" in str(log.damage)
            assert readable(log) == [0, 1, 2]
            with pytest.raises(CorruptBatch):
                log.append(a_batch(b"v"))
            store.close()

    def test_the_active_segment_is_missing(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 6)
        last = log.chain.bases[-1]
        store.close()
        store.segment(last).unlink()
        log = store.log()
        assert f"{store.segment(last)}: the file is missing" in str(log.damage)
        assert readable(log) == list(range(last))

    def test_every_segment_is_missing(self, store):
        fill(store.log(), 3)
        store.close()
        for path in (store.path / "t-0").iterdir():
            path.unlink()
        for _ in range(2):
            directory = store.writer()
            log = store.log_of(directory)
            assert "every segment is missing" in str(log.damage)
            with pytest.raises(CorruptBatch, match="every segment is missing"):
                log.read(0, 1)
            with pytest.raises(CorruptBatch):
                log.append(a_batch(b"v"))
            assert log.find(0) == log.safe
            assert directory.size("t", directory.topic("t"), 0).segments == 0
            store.close()
        assert store.files() == []

    def test_a_sealed_segment_is_missing(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        first, second, third = log.chain.bases[:3]
        store.close()
        store.segment(second).unlink()
        log = store.log()
        with pytest.raises(CorruptBatch, match=f"offsets {second} to {third - 1} are missing"):
            log.read(second, 1)
        assert [batch.base_offset for batch in log.read(first, 1 << 20)] == list(range(second))
        assert log.read(third, 1)

    def test_the_first_segment_is_missing(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        first, second = log.chain.bases[:2]
        store.close()
        store.segment(first).unlink()
        log = store.log()
        with pytest.raises(CorruptBatch, match=f"offsets {first} to {second - 1} are missing"):
            log.read(first, 1)
        assert log.read(second, 1)

    def test_a_sealed_segment_goes_missing_while_it_is_open(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        store.close()
        log = store.log()
        second = log.chain.bases[1]
        store.segment(second).unlink()
        with pytest.raises(CorruptBatch, match=rf"{second:020d}\.log: the file is missing"):
            log.read(second, 1)
        with pytest.raises(CorruptBatch, match=rf"{second:020d}\.log: the file is missing"):
            log.find(2**60)

    def test_a_sealed_segment_is_truncated(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        second, third = log.chain.bases[1:3]
        store.close()
        path = store.segment(second)
        path.write_bytes(path.read_bytes()[:-5])
        log = store.log()
        with pytest.raises(CorruptBatch, match=str(path)):
            log.read(third - 1, 1)
        assert log.read(third, 1)

    def test_a_missing_directory_is_named_and_the_rest_of_the_store_goes_on(self, store):
        directory = store.writer()
        fill(store.log_of(directory, "t"), 1)
        fill(store.log_of(directory, "u"), 1)
        store.crash()
        for path in (store.path / "t-0").iterdir():
            path.unlink()
        (store.path / "t-0").rmdir()
        directory = store.writer()
        assert numbers(store.log_of(directory, "u")) == [0]
        with pytest.raises(CorruptStore, match=r"t-0: the catalogue knows this partition"):
            store.log_of(directory, "t")


def test_a_log_that_the_disk_does_not_give_leaves_the_others_alone(store):
    class Broken(NamedDisk):
        broken = True

        def read(self, fd, size, position):
            if self.broken and "/t-0/" in self.paths[fd]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(fd, size, position)

    directory = store.writer()
    fill(store.log_of(directory, "t"), 3)
    fill(store.log_of(directory, "u"), 3)
    store.crash()
    disk = Broken()
    directory = store.writer(disk)
    assert numbers(store.log_of(directory, "u")) == [0, 1, 2]
    with pytest.raises(Failed, match="open t-0: Input/output error"):
        store.log_of(directory, "t")
    store.close()
    directory = store.writer(disk)
    assert not directory.recovered, "a log that could not be recovered still has to be"
    disk.broken = False
    assert numbers(store.log_of(directory, "t")) == [0, 1, 2]
    store.close()
    assert store.writer().recovered


class TestStart:
    def test_it_is_kept_over_a_reopening(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        log.trim(5)
        store.close()
        log = store.log()
        assert log.start == 5
        assert numbers(log) == [5, 6, 7]
        with pytest.raises(OffsetBelowStart):
            log.read(4, 1)

    def test_it_is_kept_over_a_crash(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        log.trim(5)
        store.crash()
        assert numbers(store.log()) == [5, 6, 7]

    def test_segments_that_a_crash_kept_from_being_removed(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        kept = {path: path.read_bytes() for path in (store.path / "t-0").iterdir()}
        log.trim(8)
        store.crash()
        for path, data in kept.items():
            path.write_bytes(data)
        log = store.log()
        assert (log.start, log.end) == (8, 8)
        assert numbers(log) == []
        fill(log, 4, first=8)
        log.trim(9)
        assert numbers(log) == [9, 10, 11]

    def test_some_trimmed_segments_that_a_crash_brought_back(self, store):
        """The removal of the second was kept, that of the first was not."""
        log = store.log(segment_bytes=200)
        fill(log, 8)
        first, second, third = log.bases()[:3]
        content = store.segment(first).read_bytes()
        log.trim(third)
        store.crash()
        store.segment(first).write_bytes(content)
        log = store.log()
        assert log.damage is None
        assert log.bases()[0] == third
        assert second not in log.bases()
        assert numbers(log) == list(range(third, 8))
        assert add(log, numbered(8)) == 8

    def test_trimmed_segments_brought_back_that_were_to_be_merged(self, store, tmp_path):
        """The mark of the merge was kept, its rename never came."""
        log = store.log(segment_bytes=250)
        fill(log, 14)
        bases = log.bases()
        ends = [(batch.base_offset, at) for at, batch in log.chain.segment(bases[3]).walk()]
        log.mark(
            recovery_offset=ends[-1][0], recovery_base=bases[3], recovery_position=ends[-1][1],
            merged_base=bases[0], merged_below=bases[3],
        )  # fmt: skip
        partition = store.path / "t-0"
        shutil.copytree(partition, tmp_path / "before")
        log.trim(bases[-1])
        store.crash()
        shutil.rmtree(partition)
        shutil.copytree(tmp_path / "before", partition)  # no removal was kept
        log = store.log()
        assert (log.damage, log.start, log.bases()) == (None, bases[-1], [bases[-1]])
        assert numbers(log) == list(range(bases[-1], 14))

    def test_trimmed_as_a_whole_and_then_closed(self, store):
        log = store.log()
        fill(log, 3)
        log.roll()
        log.trim(3)
        store.close()
        log = store.log()
        assert (log.start, log.end) == (3, 3)
        assert add(log, numbered(3)) == 3

    def test_offsets_below_it_are_never_given_again(self, store):
        """The tail is gone, with nobody knowing of it but the start."""
        log = store.log()
        fill(log, 8)
        log.trim(6)
        store.crash()
        (store.path / "watermarks").unlink()
        store.segment().write_bytes(b"")
        log = store.log()
        assert log.damage is not None
        assert log.start == 6


class TestCrashedRecovery:
    def test_recovering_twice_is_recovering_once(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        store.crash()
        with max((store.path / "t-0").glob("*.log")).open("ab") as file:
            file.write(b"torn")
        store.log()
        store.crash()
        assert numbers(store.log()) == list(range(8))
