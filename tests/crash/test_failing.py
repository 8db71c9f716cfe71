"""Every call that may fail, fails: once, or from there on.

Nothing is acknowledged that is not durable; every error is one line; the store goes on where it
may; and when it is opened anew it has what it promised.
"""

import errno
import random

import pytest
from faults import COMMIT, KINDS
from lossy_disk import some
from lossy_store import FaultyStoreDisk, Machine, check, values_of

from logstore.errors import LogFailed, LogstoreError, NoneOfThatName, StorageFull

pytestmark = pytest.mark.long

SEED = 20130101
NUMBERS = 5  # of each kind, in the default run
LARGE = 900  # records of one batch that moves the recovery point


def workload(machine):
    machine.open()
    if machine.store is None:
        return
    machine.create("a", 2)
    machine.append("a", 0, 2)
    machine.create("b")
    machine.append("b", 0, 3)
    machine.append("a", 1, 2)
    machine.append("b", 0, 3)  # rolls
    machine.append("b", 0, LARGE)  # over recovery.bytes
    machine.append("b", 0, 1)
    machine.consume("b", "g", 2)
    machine.grow("a", 3)
    machine.append("a", 2)
    machine.alter("b")
    machine.consume("b", "g", 6)
    machine.trim("b", 5)
    machine.consume("b", "g", 8)
    machine.delete("a")
    machine.create("a")
    machine.append("a", 0, 2)
    machine.retain("b")


class Failing(Machine):
    """Errors are noted, and the workload goes on."""

    SETTINGS = Machine.SETTINGS | {"segment.bytes": "400"}

    def __init__(self, base):
        self.disk = FaultyStoreDisk(base).mount()
        self.start()
        self.errors, self.store = [], None
        self.disk.changed = self.picture

    def open(self):
        try:
            super().open()
        except LogstoreError as error:
            self.errors.append(error)

    def retain(self, name):
        """All that is sealed may go."""
        end = self.end_of(name, 0)

        def change(known):
            for part in known.parts(name)[:1]:
                part.start = end

        def work():
            self.store.alter_topic(name, {"retention.bytes": "0"})
            for retained in self.store.retention(name):
                if retained.broke is not None:
                    raise retained.broke.error()

        self.do(change, work, only_may=True)


def calls_of(base):
    machine = Failing(base)
    workload(machine)
    assert machine.errors == []
    machine.close()
    return machine.disk.faults.calls


def check_readers(machine):
    """They go on while the disk fails: what was acknowledged can be read."""
    for name, (generation, parts) in machine.before.topics.items():
        for number, part in enumerate(parts) if machine.after.of(name, generation) else ():
            if part.count:
                log = machine.store.topic(name).partition(number)
                assert [n for n, _ in values_of(log)] == list(range(log.start, log.safe))
                assert log.safe >= part.count


def check_errors(machine, kind, code):
    """Each is one line of a kind that says whose fault it is."""
    assert machine.errors or not machine.disk.faults.failed or kind in QUIET
    for error in machine.errors:
        assert "\n" not in str(error)
        assert len(str(error)) > 20 or isinstance(error, NoneOfThatName)
        if code == errno.ENOSPC and not isinstance(error, LogFailed):
            assert isinstance(error, StorageFull) or not _is_first(machine, error)


def _is_first(machine, error):
    return error is machine.errors[0]


# Some of these fail without anybody being told: what they are for is tried again, or not needed.
QUIET = {"sync", "sync directory", "create", "write", "truncate", "remove", COMMIT}


def run(base, kind, at, *, forever, half, code, closes):
    machine = Failing(base)
    machine.disk.faults.begin({kind}, at, forever=forever, half=half, code=code)
    workload(machine)
    check_readers(machine)
    machine.disk.faults.end()  # the disk is well again
    check_errors(machine, kind, code)
    if machine.store is None:  # it could not even be opened
        machine.open()
    check(machine.store, machine.before, machine.after)
    failed = machine.errors
    machine.errors = None
    machine.create("z")  # what has not failed goes on
    machine.append("z", 0, 3)
    if closes:
        machine.errors = failed
        try:
            machine.store.close()
        except LogstoreError as error:
            machine.errors.append(error)
        assert all("\n" not in str(error) for error in machine.errors)
    else:
        machine.crash()
    return machine


def check_afterwards(machine):
    """The process is gone, and then the power; the store is opened anew."""
    again = Machine(machine.disk.freeze().disk(frozenset()))
    check(again.store, machine.before, machine.after)
    for name in again.store.topics():
        again.store.topic(name).append(b"more", partition=0)
    again.store.close()


CASES = [(kind, False, errno.EIO) for kind in KINDS if kind not in ("rename", "link")]
CASES += [(COMMIT, True, errno.EIO), ("write", True, errno.ENOSPC), (COMMIT, False, errno.ENOSPC)]
CASES += [("create", False, errno.ENOSPC)]


@pytest.mark.parametrize("least", [1, 1000], ids=["all at once", "one by one"])
@pytest.mark.parametrize(("kind", "half", "code"), CASES)
def test_what_fails_at_any_place_breaks_no_promise(base, monkeypatch, kind, half, code, least):
    monkeypatch.setattr("logstore.storage.flusher.SYNC_ALL_FILES_MIN", least)
    count, choose = calls_of(base)[kind], random.Random(SEED)
    assert count
    states = 0
    for at in some(range(count), choose, NUMBERS):
        for forever in (False, True):
            closes = choose.random() < 0.5
            how = f"{kind} {at} of {count}, forever={forever}, closes={closes}"
            try:
                machine = run(base, kind, at, forever=forever, half=half, code=code, closes=closes)
                check_afterwards(machine)
            except (AssertionError, LogstoreError, OSError) as error:
                raise AssertionError(how) from error
            states += 1
    print(f"seed {SEED}: {states} states")


def failing_once(base, kind, at, steps):
    """Do the steps; from the second on the ``at``-th call of the kind fails. Then the power cut."""
    machine = Failing(base)
    machine.open()
    steps[0](machine)
    machine.disk.faults.begin({kind}, at)
    for step in steps[1:]:
        step(machine)
    assert machine.disk.faults.failed
    machine.crash()
    check_afterwards(machine)
    return machine


def test_a_topic_made_anew_after_a_deletion_that_broke_off_keeps_its_records(base):
    """They went into the file that was removed, which was still open under that name."""
    machine = failing_once(base, "remove", 1, [
        lambda it: (it.create("a"), it.append("a", 0, 2)),
        lambda it: it.delete("a"),
        lambda it: check(it.store, it.before, it.after),  # what still has to go is no stranger
        lambda it: (it.create("a"), it.append("a", 0, 3)),
    ])  # fmt: skip
    assert machine.before.topics["a"][1][0].count == 3
    assert machine.errors == []  # what has to go still is nobody else's concern


def test_a_log_whose_first_directory_sync_failed_is_there_after_a_power_cut(base):
    machine = failing_once(base, "sync directory", 1, [
        lambda it: None,
        lambda it: it.create("a"),
        lambda it: it.append("a", 0, 2),
        lambda it: it.append("a", 0, 2),
    ])  # fmt: skip
    assert machine.before.topics["a"][1][0].count == 4


def test_a_store_whose_first_directory_sync_failed_is_there_after_a_power_cut(base):
    machine = Failing(base)
    machine.disk.faults.begin({"sync directory"})
    machine.open()
    assert machine.store is None
    machine.open()
    machine.create("a")
    machine.crash()
    check_afterwards(machine)
    assert "a" in machine.before.topics


def test_a_deletion_that_lmdb_committed_but_told_of_as_failed(base):
    """The next topic of the name is another log than the one that was still open."""
    machine = Failing(base)
    machine.open()
    machine.create("a")
    machine.append("a", 0, 2)
    machine.disk.faults.begin({COMMIT}, half=True)
    machine.delete("a")
    assert len(machine.errors) == 1
    machine.create("a")
    machine.append("a", 0, 3)
    assert len(machine.errors) == 1
    machine.crash()
    check_afterwards(machine)
    assert machine.before.topics["a"][1][0].count == 3
