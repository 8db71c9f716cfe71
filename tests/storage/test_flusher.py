import errno
import threading
from functools import partial

import pytest
from storage_kit import (
    DEADLINE_S,
    BlockingDisk,
    CountingDisk,
    InterruptedDisk,
    SyncFailsDisk,
    a_batch,
    add,
    fill,
    in_background,
    numbered,
    numbers,
    run_all,
)

from logstore.errors import LogFailed, UnknownPartition
from logstore.storage.disk import Disk

HOUR_MS = 3_600_000


class TestGroupCommit:
    def test_no_append_returns_before_a_sync_that_covers_it(self, store):
        disk = CountingDisk()
        log = store.log(disk)
        path = str(store.segment())
        broken = []

        def append(first):
            for n in range(first, first + 25):
                batch = a_batch(numbered(n))
                offset = log.append(batch)
                log.wait(offset + 1)
                # Batches of other threads may come first, so the bytes of `offset + 1` of them.
                if log.safe <= offset or disk.synced_bytes.get(path, 0) < (offset + 1) * 60:
                    broken.append(offset)

        run_all(*[lambda first=first: append(first) for first in range(0, 200, 25)])
        assert not broken
        assert sorted(numbers(log)) == list(range(200))

    def test_those_who_come_during_a_sync_share_the_next(self, store):
        class Both(BlockingDisk, CountingDisk):
            pass

        disk = Both()
        log = store.log(disk)
        disk.go.clear()
        disk.entered.clear()
        disk.syncs = 0
        first = in_background(lambda: add(log, b"first"))
        assert disk.entered.wait(DEADLINE_S)
        offsets = [log.append(a_batch(numbered(n))) for n in range(8)]
        waiting = [in_background(lambda upto=at + 1: log.wait(upto)) for at in offsets]
        assert log.safe == 0
        assert log.read(0, 1 << 20) == []  # not synced: not shown
        disk.go.set()
        first()
        for finish in waiting:
            finish()
        assert log.safe == 9
        assert disk.syncs <= 3  # the first, one for those who were in time, one for the late

    def test_a_wait_does_not_return_while_its_sync_is_under_way(self, store):
        disk = BlockingDisk()
        log = store.log(disk)
        disk.go.clear()
        disk.entered.clear()
        finish = in_background(lambda: add(log, b"v"))
        assert disk.entered.wait(DEADLINE_S)
        assert (log.safe, log.end) == (0, 1)
        disk.go.set()
        assert finish() == 0
        assert log.safe == 1

    def test_many_logs_are_synced_by_one_syncfs(self, store):
        disk = CountingDisk()
        directory = store.writer(disk)
        logs = [store.log_of(directory, "t", partition, 4) for partition in range(4)]
        for log in logs:
            log.append(a_batch(b"v"))
        disk.syncs = 0
        logs[0].wait(1)
        assert [log.safe for log in logs] == [1, 1, 1, 1]
        assert (disk.syncs, disk.sync_alls) == (0, 1)


class TestWatch:
    def test_sync_soon_wakes_the_watcher_after_safe_has_moved(self, store):
        log = store.log()
        seen, awake = [], threading.Event()

        def wake():
            seen.append(log.safe)
            awake.set()

        stop = log.watch(wake)
        log.append(a_batch(b"v"))
        log.sync_soon()
        assert awake.wait(DEADLINE_S)
        assert seen[-1] == 1
        stop()
        add(log, b"w")
        assert seen[-1] == 1

    def test_who_has_appended_is_told_before_those_who_read(self, store):
        log = store.log()
        told = []
        for name in ("reader", "first to append", "last to append"):
            log.watch(partial(told.append, name))
        log.append(a_batch(b"v"))
        log.wait(1)
        assert told == ["last to append", "first to append", "reader"]

    def test_what_is_appended_while_its_log_is_synced_is_synced_next(self, store):
        disk = BlockingDisk()
        directory = store.writer(disk)
        logs = [store.log_of(directory, "t", partition, 2) for partition in range(2)]
        disk.go.clear()
        disk.entered.clear()
        for log in logs:
            log.append(a_batch(b"v"))
            log.sync_soon()
        assert disk.entered.wait(DEADLINE_S)
        safe = threading.Semaphore(0)
        for log in logs:
            log.watch(safe.release)
            log.append(a_batch(b"w"))
            log.sync_soon()
        disk.go.set()
        while [log.safe for log in logs] != [2, 2]:  # nobody waits for them but the thread
            assert safe.acquire(timeout=DEADLINE_S)

    def test_a_failed_sync_wakes_the_watcher(self, store):
        disk = SyncFailsDisk("/t-0/")
        log = store.log(disk)
        awake = threading.Event()
        log.watch(awake.set)
        disk.failures = 1
        log.append(a_batch(b"v"))
        log.sync_soon()
        assert awake.wait(DEADLINE_S)
        with pytest.raises(LogFailed):
            log.wait(1)


class TestNobodyWaits:
    """A log that is to be synced within some time, beside one that somebody waits for."""

    def test_it_is_not_synced_with_another_log_before_its_time(self, store):
        disk = CountingDisk()
        directory = store.writer(disk)
        patient, urgent = (
            store.log_of(directory, "t", number, 2, flush_ms=HOUR_MS) for number in range(2)
        )
        patient.append(a_batch(b"v"))
        patient.sync_soon(hurry=False)
        urgent.append(a_batch(b"w"))
        disk.syncs = 0
        urgent.wait(1)
        assert (disk.syncs, urgent.safe, patient.safe) == (1, 1, 0)
        patient.wait(1)
        assert (disk.syncs, patient.safe) == (2, 1)

    def test_it_is_synced_when_its_time_is_over(self, store):
        log = store.log(flush_ms=0)
        safe = threading.Event()
        log.watch(safe.set)
        log.append(a_batch(b"v"))
        log.sync_soon(hurry=False)
        assert safe.wait(DEADLINE_S)
        assert log.safe == 1

    def test_it_is_synced_at_once_when_somebody_asks_for_that(self, store):
        log = store.log(flush_ms=HOUR_MS)
        safe = threading.Event()
        log.watch(safe.set)
        log.append(a_batch(b"v"))
        log.sync_soon(hurry=False)
        log.sync_soon()
        assert safe.wait(DEADLINE_S)
        assert log.safe == 1

    def test_one_sync_of_everything_takes_it_along(self, store):
        disk = CountingDisk()
        directory = store.writer(disk)
        logs = [store.log_of(directory, "t", number, 3, flush_ms=HOUR_MS) for number in range(3)]
        for log in logs:
            log.append(a_batch(b"v"))
        logs[0].sync_soon(hurry=False)
        disk.syncs = disk.sync_alls = 0
        logs[1].wait(1)
        assert [log.safe for log in logs] == [1, 1, 1]
        assert (disk.syncs, disk.sync_alls) == (0, 1)

    def test_closing_syncs_it(self, store):
        log = store.log(flush_ms=HOUR_MS)
        log.append(a_batch(b"v"))
        log.sync_soon(hurry=False)
        store.close()
        assert log.safe == 1


class TestWhatIsDurableElsewhere:
    """It is to be shown soon, and nobody waits for its sync but who reads."""

    @pytest.fixture
    def log(self, store, monkeypatch):
        monkeypatch.setattr("logstore.storage.disk_log.SHOWN_WITHIN_MS", HOUR_MS)
        return store.log()

    def test_it_is_left_out_of_others_syncs_where_nobody_watches(self, store, monkeypatch):
        monkeypatch.setattr("logstore.storage.disk_log.SHOWN_WITHIN_MS", HOUR_MS)
        disk = CountingDisk()
        directory = store.writer(disk)
        log, other = (store.log_of(directory, "t", number, 2) for number in range(2))
        disk.syncs = 0
        for _ in range(3):
            log.append(a_batch(b"v"))
            log.show_soon()
            other.wait(other.append(a_batch(b"w")) + 1)
        assert (disk.syncs, other.safe, log.safe) == (3, 3, 0)
        log.wait(3)
        assert disk.syncs == 4

    def test_it_is_synced_at_once_where_somebody_watches(self, log):
        safe = threading.Event()
        log.watch(safe.set)
        log.append(a_batch(b"v"))
        log.show_soon()
        assert safe.wait(DEADLINE_S)
        assert log.safe == 1

    def test_it_is_synced_as_soon_as_somebody_watches(self, log):
        safe = threading.Event()
        log.append(a_batch(b"v"))
        log.show_soon()
        log.watch(safe.set)
        assert safe.wait(DEADLINE_S)
        assert log.safe == 1


class TestPolicies:
    def test_flush_messages_acknowledges_at_once_and_syncs_when_there_are_enough(self, store):
        disk = CountingDisk()
        log = store.log(disk, flush_messages=3)
        disk.syncs = 0
        add(log, b"a")
        add(log, b"b")
        assert (log.safe, log.synced, disk.syncs) == (2, 0, 0)
        awake = threading.Event()
        log.watch(lambda: awake.set() if log.synced == 3 else None)
        add(log, b"c")
        assert awake.wait(DEADLINE_S)

    def test_flush_ms_syncs_what_is_too_few(self, store):
        log = store.log(flush_messages=1000, flush_ms=1)
        awake = threading.Event()
        log.watch(lambda: awake.set() if log.synced == 1 else None)
        add(log, b"a")
        assert awake.wait(DEADLINE_S)

    def test_close_syncs_what_the_policy_left(self, store):
        disk = CountingDisk()
        add(store.log(disk, flush_messages=1000), b"a")
        disk.syncs = 0
        store.close()
        assert disk.syncs > 0
        assert numbers_or_values(store.log()) == [b"a"]


def numbers_or_values(log):
    from storage_kit import values

    return values(log)


class TestFailedSync:
    def test_every_waiter_is_told_and_nothing_is_acknowledged_later(self, store):
        class Both(BlockingDisk, SyncFailsDisk):
            def __init__(self):
                BlockingDisk.__init__(self)
                self.failing, self.code, self.failures = "/t-0/", errno.EIO, 0

        disk = Both()
        log = store.log(disk)
        add(log, numbered(0))
        disk.go.clear()
        disk.entered.clear()
        disk.failures = 1
        log.append(a_batch(numbered(1)))
        waiters = [in_background(lambda: log.wait(2)) for _ in range(4)]
        assert disk.entered.wait(DEADLINE_S)
        disk.go.set()
        for finish in waiters:
            with pytest.raises(LogFailed, match=r"t-0: sync failed: .*offsets 1 and above"):
                finish()
        with pytest.raises(LogFailed):
            log.append(a_batch(numbered(2)))
        with pytest.raises(LogFailed):
            log.wait(2)
        assert log.safe == 1
        assert numbers(log) == [0]

    @pytest.mark.parametrize("partitions", [2, 4])
    def test_on_the_path_of_few_files_and_of_many(self, store, partitions):
        disk = SyncFailsDisk("/t-1/")
        directory = store.writer(disk)
        logs = [store.log_of(directory, "t", number, partitions) for number in range(partitions)]
        for log in logs:
            log.append(a_batch(numbered(0)))
        disk.failures = 1
        with pytest.raises(LogFailed):
            logs[1].wait(1)
        assert logs[1].safe == 0
        if partitions == 2:
            assert add(logs[0], numbered(1)) == 1  # the other log goes on
            assert numbers(logs[0]) == [0, 1]

    def test_other_logs_of_the_store_go_on_after_a_failed_syncfs(self, store):
        disk = SyncFailsDisk("/t-")
        directory = store.writer(disk)
        logs = [store.log_of(directory, "t", number, 3, flush_ms=HOUR_MS) for number in range(3)]
        other = store.log_of(directory, "other")
        for log in logs:
            log.append(a_batch(numbered(0)))
        disk.failures = 1
        for log in logs:
            with pytest.raises(LogFailed):
                log.wait(1)
        assert add(other, numbered(0)) == 0

    def test_close_says_so_and_reopening_recovers(self, store):
        disk = SyncFailsDisk("/t-0/")
        log = store.log(disk)
        fill(log, 2)
        disk.failures = 1
        log.append(a_batch(numbered(2)))
        with pytest.raises(LogFailed):
            log.wait(3)
        with pytest.raises(LogFailed):
            store.close()
        log = store.log()
        assert numbers(log)[:2] == [0, 1]
        add(log, numbered(7))
        assert numbers(log)[-1] == 7

    def test_a_failure_in_the_background_is_told_by_close(self, store):
        disk = SyncFailsDisk("/t-0/")
        log = store.log(disk, flush_messages=2)
        awake = threading.Event()
        log.watch(lambda: awake.set() if log._failure else None)
        disk.failures = 1
        fill(log, 2)
        assert awake.wait(DEADLINE_S)
        with pytest.raises(LogFailed):
            store.close()


class TestInterrupted:
    def test_ctrl_c_in_a_sync_leaves_no_one_waiting_for_ever(self, store):
        disk = InterruptedDisk()
        log = store.log(disk)
        entered, follower_waits = threading.Event(), threading.Event()

        def before():
            entered.set()
            assert follower_waits.wait(DEADLINE_S)

        disk.before = before
        disk.interrupts = 1
        leader = in_background(lambda: add(log, numbered(0)))
        assert entered.wait(DEADLINE_S)
        log.append(a_batch(numbered(1)))
        follower = in_background(lambda: log.wait(2))
        follower_waits.set()
        with pytest.raises(KeyboardInterrupt):
            leader()
        follower()
        assert log.safe == 2
        assert numbers(log) == [0, 1]

    def test_ctrl_c_in_a_sync_and_then_close(self, store):
        disk = InterruptedDisk()
        log = store.log(disk)
        disk.interrupts = 1
        with pytest.raises(KeyboardInterrupt):
            add(log, numbered(0))
        in_background(store.close)()
        assert numbers(store.log()) == [0]

    def test_a_rolled_segment_is_still_synced_after_ctrl_c(self, store):
        class Both(InterruptedDisk, CountingDisk):
            def __init__(self):
                CountingDisk.__init__(self)
                self.interrupts, self.before = 0, lambda: None

            def sync_all(self, fd):
                if self.interrupts > 0:
                    self.interrupts -= 1
                    raise KeyboardInterrupt
                super().sync_all(fd)

        disk = Both()
        log = store.log(disk, segment_bytes=150)
        for n in range(3):
            log.append(a_batch(numbered(n)))
        disk.interrupts = 1
        with pytest.raises(KeyboardInterrupt):
            log.wait(3)
        disk.synced_bytes.clear()
        log.wait(3)
        assert disk.synced_bytes[str(store.segment(0))] == store.segment(0).stat().st_size

    def test_ctrl_c_in_an_append_before_the_flusher_knows(self, store, monkeypatch):
        log = store.log()

        def interrupted(log):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(log._flusher, "written", interrupted)
            with pytest.raises(KeyboardInterrupt):
                log.append(a_batch(numbered(0)))
        in_background(log.sync)()
        assert numbers(log) == [0]


class TestFilesThatGoMeanwhile:
    def test_a_deleted_topic_does_not_fail_the_sync_of_others(self, store):
        directory = store.writer()
        doomed = store.log_of(directory, "doomed")
        others = [store.log_of(directory, "t", number, 3) for number in range(3)]
        doomed.append(a_batch(b"never waited for"))
        for log in others:
            log.append(a_batch(b"v"))
        directory.delete_topic("doomed")
        for log in others:
            log.wait(1)
        assert [log.safe for log in others] == [1, 1, 1]

    def test_whoever_waits_for_a_deleted_topic_is_told(self, store):
        disk = BlockingDisk()
        directory = store.writer(disk)
        log = store.log_of(directory)
        disk.go.clear()
        disk.entered.clear()
        leader = in_background(lambda: add(log, b"v"))
        assert disk.entered.wait(DEADLINE_S)
        log.append(a_batch(b"w"))
        follower = in_background(lambda: log.wait(2))
        directory.delete_topic("t")
        disk.go.set()
        for finish in (leader, follower):
            with pytest.raises(UnknownPartition, match="t-0: its topic was deleted"):
                finish()

    def test_a_trimmed_segment_that_was_not_synced_as_a_whole_yet(self, store):
        log = store.log()
        fill(log, 3)
        log.roll()
        log.trim(3)
        fill(log, 1, first=3)
        assert (log.start, log.safe) == (3, 4)
        assert numbers(log) == [3]

    def test_the_late_sync_of_a_deleted_topic_leaves_its_successor_alone(self, store):
        class OneBlocked(BlockingDisk):
            def sync(self, fd):
                super().sync(fd) if "old" in self.paths[fd] else Disk.sync(self, fd)

        disk = OneBlocked()
        directory = store.writer(disk)
        old = store.log_of(directory, "old")
        disk.go.clear()
        disk.entered.clear()
        for n in range(5):
            old.append(a_batch(numbered(n)))
        waiting = in_background(lambda: old.wait(5))
        assert disk.entered.wait(DEADLINE_S)
        directory.delete_topic("old")
        store.log_of(directory, "new")
        disk.go.set()
        with pytest.raises(UnknownPartition):
            waiting()
        entry = directory.topic("new")
        slot = directory._marks.slot(entry.slots[0], entry.tag(0))
        assert slot.read() == (0, 0)


class TestRecoveryPoints:
    def test_a_recovery_point_that_cant_be_saved_fails_no_append(self, store, monkeypatch):
        from logstore.errors import StorageFull

        directory = store.writer(recovery_bytes=1 << 16)
        log = store.log_of(directory)

        def full(*args, **kwargs):
            raise StorageFull("catalog: no space")

        with monkeypatch.context() as patch:
            patch.setattr(directory._catalog, "save_log_states", full)
            fill(log, 3, size=40_000)
        assert log.safe == 3
        fill(log, 3, size=40_000, first=3)
        assert log.state.recovery_offset > 0


class TestWhatIsCounted:
    def test_each_sync_and_what_has_waited_for_it(self, store):
        log = store.log(CountingDisk())
        syncs = log._flusher.syncs
        before = syncs.lengths_ms.count, syncs.safe_ms.count
        for n in range(3):
            log.append(a_batch(numbered(n)))
            log.wait(log.end)
        assert syncs.lengths_ms.count == before[0] + 3
        assert syncs.safe_ms.count == before[1] + 3
        assert syncs.failed == 0

    def test_a_sync_that_has_failed(self, store):
        disk = SyncFailsDisk("/t-0/")
        log = store.log(disk)
        disk.failures = 1
        log.append(a_batch(numbered(0)))
        with pytest.raises(LogFailed):
            log.wait(log.end)
        assert log._flusher.syncs.failed == 1
