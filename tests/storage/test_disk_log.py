import errno
import os
import threading

import pytest
from clock import NOW_MS
from mostly_long import mostly_long
from storage_kit import (
    FullDisk,
    NamedDisk,
    a_batch,
    add,
    fill,
    numbered,
    numbers,
    run_all,
)

from logstore.errors import (
    LogFailed,
    OffsetAboveEnd,
    OffsetBelowStart,
    ReadOnly,
    StorageFull,
    UnknownPartition,
)
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.storage import flusher
from logstore.storage.active import SEGMENT_OFFSETS_MAX
from logstore.storage.catalog import LogState
from logstore.storage.disk import Disk


class TestLayout:
    def test_a_stored_batch_is_the_one_given_but_for_its_stamp(self, store):
        log = store.log()
        fill(log, 2)
        batch = a_batch(b"v", compression=Compression.ZSTD, leader_epoch=9)
        log.append(batch)
        log.wait(3)
        stored = log.read(2, 1)[0]
        assert bytes(stored.data[16:]) == bytes(batch.data[16:])
        assert (stored.base_offset, stored.leader_epoch) == (2, 0)

    def test_file_names_are_kafkas(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 3)
        assert store.files() == [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000002.index",
            "00000000000000000002.log",
            "00000000000000000002.timeindex",
        ]


class TestRolling:
    def test_by_size_no_segment_is_larger(self, store):
        log = store.log(segment_bytes=500)
        fill(log, 20)
        sizes = [store.segment(base).stat().st_size for base in log.chain.bases]
        assert len(sizes) > 3
        assert max(sizes) <= 500
        assert numbers(log) == list(range(20))

    def test_a_batch_larger_than_a_segment_gets_one_of_its_own(self, store):
        log = store.log(segment_bytes=100)
        add(log, bytes(500))
        add(log, bytes(500))
        assert log.chain.bases == [0, 1]

    def test_by_age_of_the_batches_not_of_the_clock(self, store):
        log = store.log(segment_ms=1000)
        for at_ms in (0, 1000, 1001, 500, 2001, 2002):
            add(log, b"v", at_ms=NOW_MS + at_ms)
        assert log.chain.bases == [0, 2, 5]

    def test_by_age_after_a_reopening(self, store):
        add(store.log(segment_ms=1000), b"v")
        store.close()
        log = store.log()
        add(log, b"v", at_ms=NOW_MS + 1001)
        assert log.chain.bases == [0, 1]

    def test_by_a_full_index(self, store):
        log = store.log(index_interval_bytes=1, segment_index_bytes=48)
        fill(log, 20)
        assert len(log.chain.bases) > 2
        for base in log.chain.bases[:-1]:
            assert store.segment(base, ".index").stat().st_size <= 48
            assert store.segment(base, ".timeindex").stat().st_size <= 48

    def test_when_an_offset_would_be_too_far_for_the_index(self, store):
        log = store.log()
        delta = 2**30 - 1
        data = bytearray(a_batch(b"v").data)
        data[23:27] = delta.to_bytes(4, "big")  # as after compaction
        gapped = Batch(bytes(data))
        for _ in range(4):
            log.append(gapped)
        assert log.chain.bases == [0, 2**31]
        assert log.end - 1 - log.chain.bases[-1] <= SEGMENT_OFFSETS_MAX

    def test_an_empty_segment_is_not_rolled(self, store):
        log = store.log()
        log.roll()
        fill(log, 1)
        log.roll()
        log.roll()
        assert log.chain.bases == [0, 1]


class TestReading:
    def test_outside_of_what_is_held(self, store):
        log = store.log()
        fill(log, 3)
        log.trim(1)
        with pytest.raises(OffsetBelowStart, match="t-0: offset 0 is below the start, 1"):
            log.read(0, 1)
        with pytest.raises(OffsetAboveEnd, match="t-0: offset 4 is above the end, 3"):
            log.read(4, 1)
        assert log.read(3, 1) == []

    def test_a_batch_larger_than_asked_for_comes_whole(self, store):
        log = store.log()
        add(log, bytes(100_000))
        fill(log, 3, first=1)
        assert [batch.size > 100_000 for batch in log.read(0, 1)] == [True]
        assert [batch.base_offset for batch in log.read(1, 1)] == [1]

    def test_what_is_not_synced_is_not_read(self, store):
        log = store.log()
        fill(log, 2)
        log.append(a_batch(numbered(2)))
        assert numbers(log) == [0, 1]
        assert log.read(2, 1) == []


class TestFindBesideUnsyncedAppends:
    def test_it_does_not_throw_the_index_away(self, store):
        log = store.log(index_interval_bytes=50)
        fill(log, 20)
        for n in range(20, 40):
            log.append(a_batch(numbered(n), at_ms=NOW_MS + n))
        entries = len(log.chain.segment(0).index.positions)
        assert entries > 30
        for n in (0, 5, 19, 20, 39, 1000):
            assert log.find(NOW_MS + n) == min(n, 20)
        assert len(log.chain.segment(0).index.positions) == entries


class TestTrim:
    def test_whole_segments_go_and_the_rest_is_hidden(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 7)
        log.trim(5)
        assert log.chain.bases == [4, 6]
        assert store.files()[0].startswith("00000000000000000004.")
        assert numbers(log) == [5, 6]
        log.trim(2)  # nothing: it is below
        assert log.start == 5

    def test_not_above_what_is_safe(self, store):
        log = store.log()
        fill(log, 2)
        log.append(a_batch(b"v"))
        with pytest.raises(OffsetAboveEnd, match="can't trim to 3, above 2"):
            log.trim(3)

    def test_everything(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 7)
        log.trim(7)
        assert numbers(log) == []
        add(log, numbered(7))
        assert numbers(log) == [7]

    def test_with_flush_messages_it_syncs_first(self, store):
        log = store.log(flush_messages=1000)
        fill(log, 3)
        assert log.synced == 0
        log.trim(2)
        assert log.synced == 3

    def test_a_segment_that_the_recovery_point_lies_in(self, store):
        log = store.log()
        fill(log, 3)
        log.roll()
        log.trim(3)
        assert log.recovery_point() == LogState(3, 3, 3, 0)


class TestCtrlC:
    def test_in_a_write_leaves_nothing_behind(self, store):
        """What was written of it is not in the way of what comes after, shorter or not."""

        class Interrupted(NamedDisk):
            interrupts = 0

            def write(self, fd, buffers, position):
                written = super().write(fd, buffers, position)
                if self.interrupts:
                    self.interrupts -= 1
                    raise KeyboardInterrupt
                return written

        disk = Interrupted()
        log = store.log(disk, segment_bytes=400)
        fill(log, 1)
        for n in range(1, 12):
            disk.interrupts = 1
            with pytest.raises(KeyboardInterrupt):
                log.append(a_batch(numbered(1000, 120)))
            fill(log, 1, first=n)
        assert len(log.chain.bases) > 2
        assert numbers(log) == list(range(12))
        store.close()
        assert numbers(store.log()) == list(range(12))

    def test_as_a_segment_is_begun(self, store):
        class Interrupted(NamedDisk):
            interrupts = 0

            def open(self, path, *, write=False, create=False):
                fd = super().open(path, write=write, create=create)
                if create and self.interrupts and path.endswith(".index"):
                    self.interrupts -= 1
                    raise KeyboardInterrupt
                return fd

        disk = Interrupted()
        log = store.log(disk, segment_bytes=100)
        fill(log, 1)
        disk.interrupts = 1
        with pytest.raises(KeyboardInterrupt):
            log.append(a_batch(numbered(1)))
        assert store.files() == [f"{0:020d}.{it}" for it in ("index", "log", "timeindex")]
        fill(log, 3, first=1)
        store.crash()
        assert numbers(store.log()) == list(range(4))


class TestFullDisk:
    @pytest.mark.parametrize("short", [False, True])
    @pytest.mark.parametrize(
        "settings",
        mostly_long(
            [{}, {"segment_bytes": 200}, {"preallocate": "true"}], [{"segment_bytes": 200}]
        ),
    )
    def test_full_at_every_write_of_a_run(self, store, settings, short):
        """Nothing of a refused append is seen, and it works again when there is space."""
        for writes in range(14):
            topic = f"t{writes}"
            disk = FullDisk(short=short)
            log = store.log(disk, topic, **settings)
            kept = []
            disk.writes = writes
            for n in range(8):
                try:
                    add(log, numbered(n))
                    kept.append(n)
                except StorageFull as error:
                    assert "nothing of it was kept" in str(error)  # noqa: PT017
                assert numbers(log) == kept
            assert disk.refused or len(kept) == 8
            disk.writes = None
            add(log, numbered(100))
            assert numbers(log) == [*kept, 100]
            store.close()
            assert numbers(store.log(topic=topic)) == [*kept, 100]
            store.close()

    def test_a_crash_while_it_is_full(self, store):
        disk = FullDisk(short=True)
        log = store.log(disk, segment_bytes=300)
        fill(log, 3)
        disk.writes = 0
        with pytest.raises(StorageFull):
            log.append(a_batch(numbered(3)))
        store.crash()
        assert numbers(store.log()) == [0, 1, 2]

    def test_closing_when_no_index_can_be_written(self, store):
        disk = FullDisk()
        log = store.log(disk, index_interval_bytes=10)
        fill(log, 5)
        disk.writes = 0
        with pytest.raises(StorageFull):
            store.close()
        assert numbers(store.log()) == [0, 1, 2, 3, 4]

    def test_what_cant_be_undone_ends_the_log(self, store):
        class Worse(FullDisk):
            def truncate(self, fd, size):
                if self.writes is not None:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                super().truncate(fd, size)

        disk = Worse(short=True)
        log = store.log(disk)
        fill(log, 2)
        disk.writes = 0
        with pytest.raises(StorageFull):
            log.append(a_batch(numbered(2)))
        disk.writes = None
        with pytest.raises(LogFailed, match="can't cut off a failed append"):
            log.append(a_batch(numbered(2)))
        assert numbers(log) == [0, 1]

    @pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
    def test_not_writable_any_more(self, store, code):
        class Remounted(NamedDisk):
            refuse = False

            def write(self, fd, buffers, position):
                if self.refuse:
                    raise OSError(code, os.strerror(code))
                return super().write(fd, buffers, position)

        disk = Remounted()
        log = store.log(disk)
        fill(log, 2)
        disk.refuse = True
        with pytest.raises(ReadOnly, match="append to t-0 at offset 2"):
            log.append(a_batch(numbered(2)))
        assert numbers(log) == [0, 1]

    def test_a_directory_that_cant_be_synced_ends_the_log(self, store, monkeypatch):
        class Fails(Disk):
            fail = False

            def sync_directory(self, path):
                if self.fail:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                super().sync_directory(path)

        monkeypatch.setattr(flusher, "SYNC_ALL_FILES_MIN", 1000)  # else it is synced with all
        disk = Fails()
        log = store.log(disk, segment_bytes=200)
        fill(log, 2)
        disk.fail = True
        log.append(a_batch(numbered(2)))
        with pytest.raises(LogFailed, match="sync failed"):
            log.wait(3)
        assert numbers(log) == [0, 1]
        disk.fail = False
        with pytest.raises(LogFailed):
            store.close()
        log = store.log()
        fill(log, 1, first=3)  # 2 was written and is whole, though nobody was told so
        assert numbers(log) == [0, 1, 2, 3]


class TestDeletedTopic:
    def test_its_log_is_of_no_more_use(self, store):
        directory = store.writer()
        log = store.log_of(directory)
        fill(log, 3)
        directory.delete_topic("t")
        for use in (
            lambda: log.read(0, 1),
            lambda: log.find(0),
            lambda: log.append(a_batch(b"v")),
            lambda: log.trim(1),
        ):
            with pytest.raises(UnknownPartition, match="t-0: its topic was deleted"):
                use()

    def test_its_log_does_not_show_the_records_of_the_next_of_that_name(self, store):
        directory = store.writer()
        old = store.log_of(directory)
        fill(old, 3)
        assert numbers(old) == [0, 1, 2]
        directory.delete_topic("t")
        new = store.log_of(directory)
        fill(new, 2, first=7)
        with pytest.raises(UnknownPartition):
            old.read(0, 1)
        assert numbers(new) == [7, 8]

    def test_a_reader_that_opens_a_file_just_before_its_removal(self, store):
        """The new topic of that name must not go on in the removed file."""

        class ReadsFirst(Disk):
            before = staticmethod(lambda: None)

            def remove_tree(self, path):
                self.before()
                super().remove_tree(path)

        disk = ReadsFirst()
        directory = store.writer(disk)
        old = store.log_of(directory)
        fill(old, 3)
        disk.before = lambda: old._files.read(str(store.segment()), 100, 0)
        directory.delete_topic("t")
        disk.before = lambda: None
        fill(store.log_of(directory), 2)
        assert store.segment().stat().st_size > 0
        store.close()
        assert numbers(store.log()) == [0, 1]


class TestThreads:
    @pytest.mark.long
    def test_readers_beside_appends_rolls_and_trims(self, store):
        log = store.log(segment_bytes=2000, index_interval_bytes=200)
        done = threading.Event()

        def write():
            for n in range(1200):
                log.append(a_batch(numbered(n), at_ms=NOW_MS + n))
                if n % 20 == 19:
                    log.wait(n + 1)
                if n % 150 == 149:
                    log.trim(n - 100)
            log.wait(1200)
            done.set()

        def read():
            at = 0
            while at < 1200:
                try:
                    batches = log.read(at, 500)
                except OffsetBelowStart:
                    at = log.start
                    continue
                for batch in batches:
                    assert batch.base_offset == at
                    batch.check()
                    at = batch.next_offset

        def find():
            while not done.is_set():
                start = log.start
                found = log.find(NOW_MS + start + 10)
                assert found >= start

        run_all(write, read, read, find)

    def test_with_few_open_files_and_indexes(self, store):
        directory = store.writer(files_open_max=16)
        directory._indexes._bytes_max = 2000
        log = store.log_of(directory, segment_bytes=300, index_interval_bytes=50)
        fill(log, 100)
        assert len(log.chain.bases) > 30

        def read(first):
            for at in range(first, 100, 3):
                assert log.read(at, 1)[0].base_offset == at
                assert log.find(NOW_MS + at) == at

        run_all(*[lambda first=first: read(first) for first in range(4)])
        assert len(directory._files._open) <= 16

    def test_a_trim_between_the_index_and_the_file(self, store):
        class Trims(NamedDisk):
            trim = None

            def read(self, fd, size, position):
                if self.trim is not None and self.paths[fd].endswith(".timeindex"):
                    trim, self.trim = self.trim, None
                    trim()
                return super().read(fd, size, position)

        fill(store.log(segment_bytes=200), 6)
        store.close()
        for use in ("read", "find"):
            disk = Trims()
            log = store.log(disk)
            start = log.start
            disk.trim = lambda log=log, start=start: log.trim(start + 2)
            if use == "read":
                with pytest.raises(OffsetBelowStart):
                    log.read(start, 1)
            else:
                assert log.find(0) == start + 2
            assert disk.trim is None
            store.close()

    def test_threads_wait_for_each_others_syncs_on_many_logs(self, store):
        directory = store.writer()
        logs = [store.log_of(directory, "t", number, 4) for number in range(4)]

        def produce(log):
            for n in range(40):
                add(log, numbered(n))

        run_all(*[lambda log=log: produce(log) for log in logs for _ in range(2)])
        for log in logs:
            assert sorted(numbers(log)) == sorted([*range(40), *range(40)])


def test_indexes_that_go_missing_fail_no_sync(store):
    log = store.log(segment_bytes=200)
    fill(log, 8)
    for name in store.files():
        if not name.endswith(".log"):
            (store.path / "t-0" / name).unlink()
    log.roll()
    fill(log, 1, first=8)
    for name in store.files():
        if not name.endswith(".log"):
            (store.path / "t-0" / name).unlink()
    log.roll()
    store.close()
    assert numbers(store.log()) == list(range(9))
