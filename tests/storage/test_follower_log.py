import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from clock import NOW_MS
from storage_kit import (
    DEADLINE_S,
    BlockingDisk,
    a_batch,
    fill,
    in_background,
    numbered,
    numbers,
    run_all,
)

from logstore.errors import (
    CorruptBatch,
    OffsetAboveEnd,
    OffsetBelowStart,
    ReadOnly,
    UnknownPartition,
    UnknownTopic,
)
from logstore.storage.disk import Disk

KIT = Path(__file__).parents[1] / "kit"


@pytest.fixture
def follower(store):
    """Starts a process that follows topic t; its lines as an iterator."""
    started = []

    def start(*command):
        paths = [str(KIT), str(KIT.parents[1]), os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            [sys.executable, str(KIT / "follower_process.py"), str(store.path), "t", *command],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def rest(process):
    lines = process.stdout.read().split()
    assert process.wait(DEADLINE_S) == 0
    return lines


def take(process, count):
    return [process.stdout.readline().strip() for _ in range(count)]


def beside(store, topic="t"):
    directory = store.reader()
    return directory.log(topic, directory.topic(topic), 0)


class TestAnotherProcess:
    def test_sees_what_is_synced_over_rolls_and_a_restart_of_the_writer(self, store, follower):
        log = store.log(segment_bytes=300)
        fill(log, 3)
        process = follower("follow", "40")
        assert take(process, 3) == ["0", "1", "2"]
        fill(log, 10, first=3)
        assert take(process, 10) == [str(n) for n in range(3, 13)]
        store.close()
        log = store.log()
        fill(log, 20, first=13)
        assert take(process, 20) == [str(n) for n in range(13, 33)]
        store.crash()
        fill(store.log(), 7, first=33)
        assert take(process, 7) == [str(n) for n in range(33, 40)]
        assert process.wait(DEADLINE_S) == 0

    def test_does_not_see_what_is_not_synced(self, store, follower):
        disk = BlockingDisk()
        log = store.log(disk)
        fill(log, 2)
        disk.go.clear()
        disk.entered.clear()
        finish = in_background(lambda: fill(log, 1, first=2))
        assert disk.entered.wait(DEADLINE_S)
        process = follower("once")
        assert rest(process) == ["0", "1"]
        disk.go.set()
        finish()
        assert rest(follower("once")) == ["0", "1", "2"]

    def test_opened_after_a_kill_without_a_writer_it_recovers_first(self, store, follower):
        log = store.log()
        fill(log, 3)
        log.append(a_batch(numbered(3)))  # written, never synced
        store.crash()
        with store.segment().open("ab") as file:
            file.write(b"torn")
        assert rest(follower("once")) == ["0", "1", "2", "3"]
        assert b"torn" not in store.segment().read_bytes()


class TestBesideTheWriter:
    def test_follows_rolls(self, store):
        log = store.log(segment_bytes=200)
        other = beside(store)
        for n in range(9):
            fill(log, 1, first=n)
            assert (other.start, other.safe, other.end) == (0, n + 1, n + 1)
            assert numbers(other, n) == [n]
        assert numbers(other) == list(range(9))
        assert other.find(NOW_MS + 4) == 4

    def test_follows_trims(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 9)
        other = beside(store)
        assert numbers(other) == list(range(9))
        log.trim(5)
        assert numbers(other) == [5, 6, 7, 8]
        with pytest.raises(OffsetBelowStart):
            other.read(4, 1)
        assert other.find(0) == 5

    def test_rolled_and_trimmed_since_the_last_look(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 2)
        other = beside(store)
        fill(log, 9, first=2)
        log.trim(8)
        assert [batch.base_offset for batch in other.read(9, 1)] == [9]
        assert numbers(other) == [8, 9, 10]

    def test_the_same_for_find(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 2)
        other = beside(store)
        fill(log, 9, first=2)
        log.trim(8)
        assert other.find(NOW_MS + 9) == 9

    def test_bounds(self, store):
        fill(store.log(), 2)
        other = beside(store)
        with pytest.raises(OffsetAboveEnd):
            other.read(3, 1)
        assert other.read(2, 1) == []
        for write in (
            lambda: other.append(a_batch(b"v")),
            lambda: other.trim(1),
            lambda: other.wait(3),
        ):
            with pytest.raises(ReadOnly, match="t-0: the store is open for reading"):
                write()
        other.wait(2)
        other.sync_soon()

    def test_a_deleted_topic(self, store):
        directory = store.writer()
        fill(store.log_of(directory), 3)
        other = beside(store)
        assert numbers(other) == [0, 1, 2]
        directory.delete_topic("t")
        for look in (lambda: other.read(0, 1), lambda: other.find(0), lambda: other.safe):
            with pytest.raises(UnknownPartition, match="t-0: its topic was deleted"):
                look()

    def test_a_topic_of_the_same_name_made_anew(self, store):
        writer = store.writer()
        fill(store.log_of(writer), 3)
        reader = store.reader()
        old = reader.log("t", reader.topic("t"), 0)
        assert numbers(old) == [0, 1, 2]
        writer.delete_topic("t")
        with pytest.raises(UnknownTopic):
            reader.topic("t")
        fill(store.log_of(writer), 2, first=7)
        new = reader.log("t", reader.topic("t"), 0)
        assert numbers(new) == [7, 8]
        with pytest.raises(UnknownPartition):
            old.read(0, 1)

    def test_a_missing_segment_is_named(self, store):
        log = store.log(segment_bytes=200)
        fill(log, 8)
        second = log.chain.bases[1]
        other = beside(store)
        other.chain.refresh()
        store.segment(second).unlink()
        with pytest.raises(CorruptBatch, match=f"offsets {second} to .* are missing"):
            other.read(second, 1)

    def test_a_look_at_the_directory_that_misses_a_segment(self, store):
        """A listing is no snapshot: what is made meanwhile may be in it or not."""

        class Misses(Disk):
            miss = ""

            def list(self, path):
                names = super().list(path)
                missed, self.miss = self.miss, ""
                return [name for name in names if not missed or missed not in name]

        log = store.log(segment_bytes=200)
        fill(log, 2)
        disk = Misses()
        reader = store.reader(disk)
        other = reader.log("t", reader.topic("t"), 0)
        fill(log, 6, first=2)
        disk.miss = f"{log.chain.bases[1]:020d}.log"
        assert numbers(other, 2) == [2, 3, 4, 5, 6, 7]

    def test_watch(self, store):
        log = store.log()
        other = beside(store)
        awake = threading.Event()
        stop = other.watch(awake.set)
        fill(log, 1)
        assert awake.wait(DEADLINE_S)
        assert other.safe == 1
        stop()

    @pytest.mark.long
    def test_threads_share_one(self, store):
        log = store.log(segment_bytes=400)
        other = beside(store)

        def write():
            for n in range(200):
                fill(log, 1, first=n)

        def read():
            at = 0
            while at < 200:
                for batch in other.read(at, 1000):
                    assert batch.base_offset == at
                    at = batch.next_offset

        run_all(write, read, read, read)


class TestWithoutAWriter:
    def test_after_a_clean_close(self, store):
        fill(store.log(segment_bytes=200), 5)
        store.close()
        other = beside(store)
        assert numbers(other) == [0, 1, 2, 3, 4]

    def test_without_watermarks_it_goes_by_the_catalogue(self, store):
        fill(store.log(), 5)
        store.close()
        (store.path / "watermarks").unlink()
        assert numbers(beside(store)) == [0, 1, 2, 3, 4]

    def test_watermarks_that_a_later_writer_makes_are_found(self, store):
        fill(store.log(), 1)
        store.close()
        (store.path / "watermarks").unlink()
        other = beside(store)
        assert other.safe == 1
        log = store.log()
        fill(log, 3, first=1)
        assert numbers(other) == [0, 1, 2, 3]


class TellingSlot:
    """A log's slot that notes what was shown in the log's own process when it is published."""

    def __init__(self, log):
        self._log, self._slot = log, log._slot
        self.shown = []

    def __getattr__(self, name):
        return getattr(self._slot, name)

    def publish_safe(self, safe):
        self.shown.append((self._log.safe, safe))
        self._slot.publish_safe(safe)


@pytest.mark.parametrize("flush_messages", ["1", "100"])
def test_what_is_acknowledged_can_be_read_in_other_processes_at_once(store, flush_messages):
    log = store.log(flush_messages=flush_messages)
    log._slot = slot = TellingSlot(log)
    fill(log, 3)
    assert slot.shown[-1][1] == 3
    assert all(shown < published for shown, published in slot.shown)


def test_the_size_that_a_reader_sees_is_of_data_and_not_of_zeros_written_ahead(store):
    """Of a log that is being written, where 1 MiB of zeros stand behind the last batch."""
    log = store.log()
    for n in range(100):
        fill(log, 1, first=n)
    assert store.segment().stat().st_size > log.bytes() + 500_000
    followed = beside(store)
    assert followed.bytes() == log.bytes() > 0
    assert followed.segments()[-1].bytes == log.segments()[-1].bytes


def test_the_size_of_a_log_whose_end_is_damaged_is_that_of_its_file(store):
    fill(store.log(), 3)
    store.close()
    data = bytearray(store.segment().read_bytes())
    data[-20] ^= 1  # in the last batch, so that its checksum is wrong
    data[8] = 0xFF  # and the length of the first
    store.segment().write_bytes(data)
    assert beside(store).bytes() == len(data)
