"""Every call that may fail, fails, once or from there on, while queues are in use.

Every error is one of ours, in one line; and when the queues are opened anew, by the next process or
after a power cut, they have what was promised of their messages.
"""

import errno
import random

import pytest
from faults import COMMIT, KINDS
from lossy_disk import some
from lossy_queues import Machine, Moment, check
from lossy_store import FaultyStoreDisk
from queue_histories import HISTORIES

from logstore.errors import LogstoreError

pytestmark = pytest.mark.long

SEED = 20130101
NUMBERS = 3  # of each kind and history, in the default run


class Failing(Machine):
    """Errors are noted, and the history goes on; where nothing can be opened, on a disk that is
    well again.
    """

    def open(self):
        if self.errors is None:
            self.errors = []
        self.directory = None
        try:
            super().open()
        except LogstoreError as error:
            self._failed(error)
            self.disk.faults.end()
            if self.directory is not None:
                self._tried(self.directory.close)
            super().open()

    def _tried(self, work):
        try:
            work()
        except LogstoreError as error:
            self._failed(error)

    def close(self):
        self.channel.end()
        self.out = {}
        self.run()
        for work in (self.queues.close, self.committer.close, self.directory.close):
            self._tried(work)
        self.picture()


def machine_of(base, history, *faults, **how):
    """The history is over, and the disk well again."""
    machine = Failing(FaultyStoreDisk(base), random.Random(SEED))
    machine.disk.faults.begin(*faults, **how)
    history(machine)
    assert machine.disk.faults.failed
    machine.disk.faults.end()
    return machine


def calls_of(base, history):
    """Of each kind, after the first opening."""
    machine = Failing(FaultyStoreDisk(base), random.Random(SEED))
    begun = machine.disk.faults.calls.copy()
    history(machine)
    assert machine.errors == []
    machine.crash()
    return machine.disk.faults.calls - begun


def check_errors(machine):
    for error in machine.errors:
        assert isinstance(error, LogstoreError)
        assert "\n" not in str(error)
        assert len(str(error)) > 10


def check_afterwards(machine, choose):
    """By the process that follows; and had the power gone then, or before it."""
    last = Moment(machine.disk.freeze(), machine.known.copy(), machine.crashes)
    machine.crash()
    for disk in (last.disk.killed(), last.disk.disk(frozenset())):
        again = Machine(disk, choose, known=last.known, crashes=last.crashes + 1)
        again.adopt(check(again, last))
        for name in sorted(again.live):
            again.publish(name, 2)
            again.get(name, 1)
        again.run()
        moment = Moment(again.disk.freeze(), again.known.copy(), again.crashes)
        again.crash()
        third = Machine(
            moment.disk.disk(frozenset()), choose, known=moment.known, crashes=moment.crashes + 1
        )
        check(third, moment)
        third.crash()


CASES = [(kind, False, errno.EIO) for kind in KINDS if kind not in ("rename", "link", "truncate")]
CASES += [("write", True, errno.ENOSPC), (COMMIT, True, errno.EIO), (COMMIT, False, errno.ENOSPC)]
CASES += [("create", False, errno.ENOSPC)]


@pytest.mark.parametrize(("kind", "half", "code"), CASES)
@pytest.mark.parametrize("history", HISTORIES)
def test_what_fails_at_any_place_breaks_no_promise_of_queues(base, history, kind, half, code):
    calls = calls_of(base, history)
    choose, states = random.Random(SEED), 0
    if not calls[kind]:
        pytest.skip(f"{history.__name__}: no {kind}")
    for at in some(range(calls[kind]), choose, NUMBERS):
        for forever in (False, True):
            how = f"{kind} {at} of {calls[kind]}, forever={forever}"
            try:
                machine = machine_of(
                    base, history, {kind}, at, forever=forever, half=half, code=code
                )
                check_errors(machine)
                check_afterwards(machine, choose)
            except (AssertionError, LogstoreError, OSError) as error:
                raise AssertionError(how) from error
            states += 1
    print(f"seed {SEED}: {states} states")
