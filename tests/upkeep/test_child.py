"""The process that does the heavy part: what it tells, and how it ends."""

import io
import os
import signal
import subprocess
import sys
import threading

import msgspec
import pytest

from logstore.errors import Closed, CorruptBatch, Failed, StorageFull
from logstore.storage.disk import Disk
from logstore.upkeep.child import Child, _say, steps
from logstore.upkeep.pace import Pace
from logstore.upkeep.work import Broke, Cleaned, Compacting, LogFiles, SegmentPart


def work_on(store):
    log = store.topic("t").partition(0)
    parts = tuple(
        SegmentPart(it.base_offset, it.end_offset, it.bytes) for it in log.segments()[:-1]
    )
    place = LogFiles(log.chain.directory, log.chain.interval, -1)
    return Compacting(place, parts, 1 << 20, 0, False)


def files(store):
    return sorted(os.listdir(os.path.join(store.path, "t-0")))


def values(store):
    with store.consumer("t") as consumer:
        return [(it.offset, it.value) for it in consumer]


def test_it_waits_with_each_segment_until_it_is_swapped_in(store):
    child, before = Child(Disk()), files(store)
    steps = child.steps(work_on(store))
    cleaned = next(it for it in steps if isinstance(it, Cleaned))
    assert os.path.exists(cleaned.stem + ".log")
    assert files(store) != before
    log = store.topic("t").partition(0)
    log.secure()
    log.mark(gaps_below=log.end)
    assert log.swap(cleaned.bases, cleaned.stem)
    assert not os.path.exists(cleaned.stem + ".log")
    steps.close()
    child.close()
    log.sweep()
    assert files(store) == before
    assert not [it for report in store.verify() for it in report.findings]


def test_one_that_is_killed_is_told_and_the_next_run_does_it(store):
    child, before = Child(Disk()), values(store)
    steps = child.steps(work_on(store))
    next(it for it in steps if isinstance(it, Cleaned))
    os.kill(child._process.pid, signal.SIGKILL)
    with pytest.raises(Failed, match="the upkeep process"):
        list(steps)
    child.close()
    store.topic("t").partition(0).sweep()
    assert values(store) == before
    [done] = store.compaction()
    assert done.records_removed
    assert not [name for name in files(store) if "cleaned" in name]


def test_work_that_lay_in_the_pipe_when_the_owner_died_is_not_begun(store):
    before = files(store)
    someone_else = os.getpid() + 1  # who started it is not who is its parent now
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from logstore.upkeep.child import main; main({someone_else}, {{}})",
        ],
        input=msgspec.json.encode(work_on(store)) + b"\n",
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert files(store) == before


def test_what_was_written_for_an_owner_that_cannot_hear_of_it_is_removed(store):
    before = files(store)
    [told] = [it for it in steps(work_on(store), Disk(), Pace(-1)) if isinstance(it, Cleaned)][:1]
    assert os.path.exists(told.stem + ".log")
    with pytest.raises(BrokenPipeError):
        _say(told, Disk(), io.BytesIO(), owner=os.getppid() + 1)
    left = [name for name in files(store) if os.path.basename(told.stem) in name]
    assert not left
    store.topic("t").partition(0).sweep()
    assert files(store) == before


def test_what_is_damaged_is_raised_here(store):
    work = work_on(store)
    path = os.path.join(store.path, "t-0", f"{0:020d}.log")
    with open(path, "r+b") as file:
        file.seek(70)
        file.write(b"\xff")
    child = Child(Disk())
    with pytest.raises(CorruptBatch):
        list(child.steps(work))
    assert list(child.steps(work_on_nothing(work)))  # it is there still
    child.close()


def work_on_nothing(work):
    """Of a segment that was trimmed meanwhile."""
    return Compacting(work.place, (SegmentPart(10**6, 10**6 + 1, 10),), 1, 0, False)


def test_stopped_from_another_thread_it_gives_up(store):
    child = Child(Disk())
    steps = child.steps(work_on(store))
    next(it for it in steps if isinstance(it, Cleaned))
    stopper = threading.Thread(target=child.stop)
    stopper.start()
    stopper.join()
    with pytest.raises(Closed):
        list(steps)
    child.close()
    with pytest.raises(Closed):
        next(child.steps(work_on(store)))


def test_an_error_keeps_its_kind_on_its_way():
    error = Broke.by(StorageFull("f: no room")).error()
    assert (type(error), str(error)) == (StorageFull, "f: no room")
    assert type(Broke("os", "x").error()) is Failed
    assert type(Broke("Nonsense", "x").error()) is Failed
