import errno
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from clock import NOW_MS
from storage_kit import (
    DEADLINE_S,
    NamedDisk,
    a_batch,
    add,
    commit,
    fill,
    numbers,
    run_all,
)

from logstore.errors import (
    CorruptStore,
    Failed,
    InvalidName,
    TopicExists,
    UnknownPartition,
    UnknownTopic,
)
from logstore.storage.catalog import LogState
from logstore.storage.disk import Disk
from logstore.storage.kinds import TOPIC
from logstore.storage.names import cleaned_stem
from logstore.storage.whole_segment import write_segment


class Counted:
    """Notes that count the batches and records of a log."""

    def __init__(self):
        self.batches = self.records = 0
        self.upto = 0

    def load(self, note):
        if note:
            self.batches, self.records, self.upto = json.loads(note)

    def appended(self, batch, base_offset):
        if base_offset >= self.upto:
            self.batches += 1
            self.records += batch.record_count
            self.upto = base_offset + batch.last_offset_delta + 1

    def freeze(self):
        now = [self.batches, self.records, self.upto]
        return lambda: json.dumps(now).encode()


COUNTED = {"topic": replace(TOPIC, notes=Counted)}


def test_notes_are_told_of_every_batch_and_again_after_a_crash(store):
    log = store.log_of(store.writer(kinds=COUNTED))
    add(log, b"a", b"b")
    store.close()
    log = store.log_of(store.writer(kinds=COUNTED))
    assert (log.notes.batches, log.notes.records) == (1, 2)
    fill(log, 5)
    add(log, b"c", producer_id=7, producer_epoch=0, base_sequence=0)
    store.crash()
    log = store.log_of(store.writer(kinds=COUNTED))
    assert (log.notes.batches, log.notes.records) == (7, 8) == (7, log.end)


class TestTopics:
    def test_made_changed_deleted(self, store):
        directory = store.writer()
        entry = directory.create_topic("t", 2, {"segment.bytes": "100"})
        assert directory.settings(entry).segment_bytes == 100
        log = directory.log("t", entry, 1)
        changed = directory.change_topic("t", partitions=3, settings={"segment.bytes": "200"})
        assert log.settings.segment_bytes == 200
        assert directory.log("t", changed, 2).end == 0
        with pytest.raises(UnknownPartition, match="has no partition 3, only 0 to 2"):
            directory.log("t", changed, 3)
        directory.create_topic("other", 1, {})
        commit(directory, "g", {("t", 0): 1, ("other", 0): 2})
        directory.delete_topic("t")
        assert list(directory.topics()) == ["other"]
        assert not [name for name in os.listdir(store.path) if name.startswith("t-")]
        assert list(directory.groups.offsets.fetch("g")) == [("other", 0)]

    def test_refused(self, store):
        directory = store.writer()
        directory.create_topic("t", 1, {})
        with pytest.raises(TopicExists):
            directory.create_topic("t", 1, {})
        with pytest.raises(InvalidName):
            directory.create_topic("a/b", 1, {})
        for use in (directory.topic, directory.delete_topic):
            with pytest.raises(UnknownTopic):
                use("u")
        with pytest.raises(UnknownTopic):
            directory.change_topic("u", partitions=3)

    def test_segments_that_nobody_knows_are_not_taken_over(self, store):
        directory = store.writer()
        (store.path / "t-0").mkdir()
        (store.path / "t-0" / f"{0:020d}.log").write_bytes(b"somebody's")
        with pytest.raises(CorruptStore, match="move the directory away"):
            directory.create_topic("t", 1, {})
        assert (store.path / "t-0" / f"{0:020d}.log").read_bytes() == b"somebody's"
        assert directory.topics() == {}

    def test_a_deletion_that_was_interrupted_is_finished_at_the_next_start(self, store):
        class Fails(Disk):
            def remove_tree(self, path):
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)

        directory = store.writer(Fails())
        fill(store.log_of(directory), 2)
        directory.delete_topic("t")
        assert directory.topics() == {}
        assert "Input/output error" in str(directory.leftovers()[0])
        store.close()
        assert (store.path / "t-0").exists()
        store.writer()
        assert not (store.path / "t-0").exists()

    def test_a_topic_made_after_an_interrupted_deletion_outlives_the_next_start(self, store):
        class Fails(Disk):
            fail = False

            def sync_directory(self, path):
                if self.fail:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), path)
                super().sync_directory(path)

        disk = Fails()
        directory = store.writer(disk)
        fill(store.log_of(directory), 2)
        disk.fail = True
        directory.delete_topic("t")
        disk.fail = False
        fill(store.log_of(directory), 3)
        store.close()
        assert numbers(store.log()) == [0, 1, 2]

    def test_an_entry_from_before_a_deletion_opens_nothing(self, store):
        directory = store.writer()
        old = directory.create_topic("t", 1, {})
        directory.delete_topic("t")
        directory.create_topic("t", 1, {})
        with pytest.raises(UnknownPartition, match="its topic was deleted"):
            directory.log("t", old, 0)


class TestThreads:
    def test_a_log_is_opened_once_however_many_ask(self, store):
        """Two over the same files would write to the same offsets."""
        fill(store.log(), 3)
        store.close()

        class Slow(Disk):
            meeting = threading.Barrier(2, timeout=0.2)

            def list(self, path):
                if path.endswith("t-0"):
                    with suppress(threading.BrokenBarrierError):
                        self.meeting.wait()  # let another thread come as far, if it can
                return super().list(path)

        directory = store.writer(Slow())
        entry = directory.topic("t")
        logs = []
        run_all(*[lambda: logs.append(directory.log("t", entry, 0))] * 4)
        assert len(set(map(id, logs))) == 1

    def test_a_topic_is_made_once(self, store):
        directory = store.writer()
        made = []

        def make():
            try:
                made.append(directory.create_topic("t", 1, {}))
            except TopicExists:
                made.append(None)

        run_all(*[make] * 6)
        assert sum(entry is not None for entry in made) == 1


class TestEnd:
    def test_the_recovery_point_is_at_the_end_after_a_close(self, store):
        directory = store.writer()
        log = store.log_of(directory)
        fill(log, 5)
        store.close()
        state = log.state
        assert (state.recovery_offset, state.recovery_position) == (5, log.bytes())

    def test_it_moves_with_the_bytes_synced(self, store):
        directory = store.writer(recovery_bytes=1 << 16)
        log = store.log_of(directory)
        for n in range(5):
            add(log, bytes(30_000), at_ms=NOW_MS + n)
        assert 0 < log.state.recovery_offset <= 5
        store.crash()
        log = store.log()
        assert log.end == 5

    def test_a_close_that_fails_lets_go_of_the_lock(self, store):
        class Fails(NamedDisk):
            fail = False

            def sync(self, fd):
                if self.fail:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                super().sync(fd)

        disk = Fails()
        log = store.log(disk)
        fill(log, 1)
        log.append(a_batch(b"1|"))
        disk.fail = True
        with pytest.raises(Failed):
            store.close()
        log = store.log()
        assert numbers(log) == [0, 1]

    def test_no_descriptor_is_left(self, store):
        before = len(os.listdir("/proc/self/fd"))
        fill(store.log(segment_bytes=200), 10)
        store.close()
        assert len(os.listdir("/proc/self/fd")) == before


BOUNDS = """
import json, os, sys
import logstore

def peak_kib():
    # ru_maxrss would count what the parent held when it forked.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

with logstore.open(sys.argv[1]) as store:
    topic = store.topic("t")
    seen = 0
    for log in topic.partitions:
        at = log.start
        while batches := log.read(at, 1 << 20):
            at = batches[-1].next_offset
        assert log.find(2**60) == log.safe == at
        seen += at
    print(json.dumps({
        "records": seen,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "rss_mb": peak_kib() / 1024,
    }))
"""


@pytest.mark.long
def test_open_files_and_memory_are_bounded(store):
    """1,000 partitions of 10 segments: the files are made by hand, that they take no time."""
    partitions, segments = 1000, 10
    directory = store.writer()
    entry = directory.create_topic("t", partitions, {})
    contents = [(n, b"".join(a_batch(b"v").stamped(n))) for n in range(segments)]
    for partition in range(partitions):
        place = store.path / f"t-{partition}"
        for base, data in contents:
            (place / f"{base:020d}.log").write_bytes(data)
    synced = LogState(0, segments, segments - 1, len(contents[-1][1]))
    directory._catalog.save_log_states({entry.log_key(n): synced for n in range(partitions)})
    store.close()
    done = subprocess.run(
        [sys.executable, "-c", BOUNDS, str(store.path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        timeout=4 * DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["records"] == partitions * segments
    assert found["descriptors"] < 512
    assert found["rss_mb"] < 150


class TestSavingWhereALogStands:
    """Beside a trim, a mark or a merge that comes while a recovery point is made."""

    @pytest.fixture
    def log(self, store):
        log = store.log_of(store.writer(), segment_bytes=250)
        fill(log, 14)
        return log

    def meanwhile(self, log, work):
        """Have it done when the next recovery point is made, before that is saved."""
        made, log.recovery_point = log.recovery_point, None

        def recovery_point():
            log.recovery_point = made
            state = made()
            work()
            return state

        log.recovery_point = recovery_point

    @pytest.mark.parametrize("saves", ["flusher", "upkeep"])
    def test_a_trim_is_not_undone(self, store, log, saves):
        directory = store._open[-1]
        self.meanwhile(log, lambda: log.trim(7))
        if saves == "flusher":
            directory._save_states([log])
        else:
            log.secure()
        assert (log.start, log.state.start) == (7, 7)
        store.crash()
        log = store.log()
        assert (log.damage, log.start, numbers(log)) == (None, 7, list(range(7, 14)))

    def test_a_mark_is_not_undone(self, store, log):
        directory = store._open[-1]
        self.meanwhile(log, lambda: log.mark(gaps_below=5))
        directory._save_states([log])
        assert (log.state.gaps_below, log.chain.gaps_below()) == (5, 5)

    def test_a_later_recovery_point_is_not_undone(self, store):
        directory = store.writer()
        log = store.log_of(directory, segment_bytes=250)
        fill(log, 5)

        def work():
            fill(log, 9, first=5)
            log.secure()
            assert log.swap(log.bases()[:3], rewritten(directory, log, log.bases()[:3]))

        self.meanwhile(log, work)
        directory._save_states([log])
        store.crash()
        log = store.log()
        assert (log.damage, numbers(log)) == (None, list(range(14)))

    @pytest.mark.parametrize("before", range(1, 8))
    def test_a_trim_beside_a_merge_lets_go_of_nothing_else(self, store, log, before):
        """Between the rename and the removal of what was merged."""
        log.secure()
        directory, run = store._open[-1], log.bases()[:3]
        stem, drop = rewritten(directory, log, run), log._drop_merged

        def trimmed_first(bases):
            log.trim(before)
            drop(bases)

        log._drop_merged = trimmed_first
        assert log.swap(run, stem)
        assert numbers(log) == list(range(before, 14))
        store.crash()
        log = store.log()
        assert (log.damage, numbers(log)) == (None, list(range(before, 14)))


def rewritten(directory, log, bases):
    """The stem of a segment that holds what these do."""
    batches = [batch for base in bases for _, batch in log.chain.segment(base).walk()]
    stem = cleaned_stem(log.chain.directory, bases[0], 1)
    write_segment(directory.disk, stem, bases[0], 4096, batches)
    return stem


def test_topics_whose_names_are_one_to_the_file_system_are_kept_apart(store):
    class Folds(Disk):
        """Upper and lower case count as the same, as on most file systems of macOS."""

        def exists(self, path):
            folder, name = os.path.split(path)
            return os.path.isdir(folder) and name.lower() in map(str.lower, self.list(folder))

    directory = store.writer(Folds())
    directory.create_topic("Orders", 1, {})
    with pytest.raises(InvalidName, match="it is the same as topic 'Orders'"):
        directory.create_topic("orders", 1, {})
    directory.create_topic("orders2", 1, {})
