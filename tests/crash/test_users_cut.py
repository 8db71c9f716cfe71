"""The crash law of users and rules, at every moment of a history and for each way it may end:

what was confirmed is there, what was refused is not, and changes are there in the order in which
they were asked for, each of them whole. Nobody is let in by half a change.
"""

import errno
import random
from dataclasses import dataclass

import pytest
from lossy_disk import LONG, SURVIVORS_MOST
from lossy_queues import HandCommitter
from lossy_store import CONFIG, FaultyStoreDisk, StoreDisk

import logstore
from logstore.access.access import ADMINISTRATOR, Access
from logstore.kept import user_rows
from logstore.kept.users import (
    SHA_256,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptUser,
    ScramKey,
)
from logstore.storage import users
from logstore.storage.committer import UserCommitter

SEED = 5802
ROOT = KeptUser("root", tags=(ADMINISTRATOR,))


def al(password):
    return KeptUser("al", {SHA_256: ScramKey(password, 4096, password, password)})


READ = KeptRule("al", "read", "topic", "orders")
NOT_WRITE = KeptRule("*", "write", "topic", "orders", allow=False)
PERMISSION = KeptPermission("al", "/", "", "^mail$", ".*")
QUOTA = KeptQuota((("user", "al"),), {"producer_byte_rate": 1000.0})
# What is kept and what is forgotten, change by change; None: the turn ends.
HISTORY = (
    ((ROOT,), ()), None,
    ((al(b"old"), READ, PERMISSION), ()), ((NOT_WRITE,), ()), None,
    ((al(b"new"),), ()), ((KeptUser("boss", tags=(ADMINISTRATOR,)),), (READ,)), ((QUOTA,), ()),
    None,
    ((), (ROOT, NOT_WRITE)), None,
    ((), (al(b""), PERMISSION, QUOTA)), ((READ,), ()), None,
)  # fmt: skip


def identity(fact):
    return user_rows.key_of(fact)


def worlds():
    """All that is kept after so many changes."""
    found = [{}]
    for keep, forget in (it for it in HISTORY if it is not None):
        gone = {identity(it) for it in forget}
        before = {key: it for key, it in found[-1].items() if key not in gone}
        found.append(before | {identity(it): repr(it) for it in keep})
    return found


WORLDS = worlds()


def contents(access):
    facts = (
        *access.users.values(), *access.rules, *access.permissions.values(),
        *access.topic_permissions.values(), *access.quotas.values(),
    )  # fmt: skip
    return {identity(it): repr(it) for it in facts}


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    confirmed: int  # changes
    asked: int


class Machine:
    """Users of a store in use; takes a picture of every moment."""

    def __init__(self, disk, *, served):
        self.moments, self.asked, self.confirmed, self.errors = [], 0, 0, []
        disk.mount()
        self.disk = disk
        self.store = opened(disk)
        disk.changed = self.picture
        internals = self.store.internals()
        self._ends, self._told = [], []
        self._committer = None
        if served:
            environment = internals.groups.environment
            self._committer = HandCommitter(environment, self._told.append, self._ends.append)
            self.access = Access(UserCommitter(self._committer, environment))
        else:
            self.access = internals.access()

    def picture(self):
        self.moments.append(Moment(self.disk.freeze(), self.confirmed, self.asked))

    def run(self):
        for step in HISTORY:
            if step is None:
                self.end_turn()
            else:
                self.asked += 1
                self.picture()
                self.access.change(*step).then(self.done)
            self.picture()

    def done(self, keeping):
        if keeping.error is None:
            self.confirmed += 1
            assert contents(self.access) == WORLDS[self.confirmed]  # shown once it is durable
        else:
            self.errors.append(keeping.error)

    def end_turn(self):
        for call in self._ends:
            call()
        self._ends.clear()
        while self._committer is not None and self._committer.has_more:
            self._committer.write_next()
            self.picture()  # durable, and not told yet
            while self._told:
                self._told.pop(0)()

    def crash(self):
        self.disk.changed = lambda: None
        directory = self.store._directory
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()


def opened(disk):
    return logstore.open(f"{disk.base}/data", disk=disk, config=CONFIG)


def found_after(disk):
    disk.mount()
    with opened(disk) as store:
        access = store.internals().access()
        assert access.damaged == ()
        return contents(access)


def check_law(moment, disk):
    allowed = WORLDS[moment.confirmed : moment.asked + 1]
    assert found_after(disk) in allowed


@pytest.mark.parametrize("served", [True, False], ids=["served", "alone"])
def test_the_law_holds_whatever_a_power_cut_leaves(base, served):
    choose, states = random.Random(SEED), 0
    machine = Machine(StoreDisk(base), served=served)
    machine.run()
    machine.crash()
    assert (machine.confirmed, machine.asked) == (len(WORLDS) - 1,) * 2
    moments = machine.moments if LONG else machine.moments[:: len(machine.moments) // 8]
    for moment in moments:
        for disk in moment.disk.survivors(choose, SURVIVORS_MOST if LONG else 2):
            check_law(moment, disk)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 8


@pytest.mark.parametrize("half", [False, True], ids=["undone", "done but not told"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_change_that_fails_is_told_so_and_nothing_of_it_is_shown(base, code, half):
    """At each commit; what is not told may be there after the next start, whole."""
    for at in range(sum(it is not None for it in HISTORY) if LONG else 2):
        disk = FaultyStoreDisk(base)
        machine = Machine(disk, served=False)
        environment = machine.store.internals().groups.environment
        machine.access = Access(users.DirectKeeper(environment, lambda: None))  # without its audit
        disk.faults.begin(("commit",), at, code=code, half=half)
        shown, keep, forget = {}, (), ()
        for keep, forget in (it for it in HISTORY if it is not None):
            shown = contents(machine.access)
            machine.access.change(keep, forget).then(machine.done)
            if machine.errors:
                break
        assert len(machine.errors) == 1
        assert contents(machine.access) == shown
        machine.crash()
        gone = {identity(it) for it in forget}
        whole = {key: it for key, it in shown.items() if key not in gone}
        whole |= {identity(it): repr(it) for it in keep}
        assert found_after(disk) == (whole if half else shown)
