"""Disks and catalogues that fail at the Nth call, once or for ever."""

import errno
import os
from collections import Counter
from contextlib import contextmanager

import lmdb

from logstore.storage.disk import Disk
from logstore.storage.environment import Environment

COMMIT = "commit"  # of LMDB
KINDS = (
    "write", "truncate", "sync", "sync directory", "create", "rename", "remove", "link",
    "make directory", COMMIT,
)  # fmt: skip
FULL = ("write", "create", "rename", "link", "make directory", COMMIT)  # refused by a full disk


class Faults:
    """Counts calls by kind; fails the chosen ones."""

    def __init__(self):
        self.calls = Counter()
        self.failed = 0
        self.begin(())

    def begin(self, kinds, at=0, *, forever=False, code=errno.EIO, half=False):
        """Make the ``at``-th call of these kinds fail, and with ``forever`` all later ones.

        ``half``: a failing call has done part of its work.
        """
        self.kinds, self.left, self.forever = frozenset(kinds), at, forever
        self.code, self.half = code, half

    def end(self):
        self.begin(())

    def met(self, kind):
        """Whether this call must fail."""
        self.calls[kind] += 1
        if kind not in self.kinds:
            return False
        self.left -= 1
        if self.left >= 0 or (self.left < -1 and not self.forever):
            return False
        self.failed += 1
        return True

    def error(self, path=None):
        return OSError(self.code, os.strerror(self.code), path)

    def meet(self, kind, path=None):
        if self.met(kind):
            raise self.error(path)


class Faulty:
    """A disk with ``faults``: put before the class of one."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.faults = Faults()

    def open(self, path, *, write=False, create=False):
        if create and not self.exists(path):
            self.faults.meet("create", path)
        return super().open(path, write=write, create=create)

    def write(self, fd, buffers, position):
        if self.faults.met("write"):
            if self.faults.half and (data := b"".join(buffers)[: sum(map(len, buffers)) // 2]):
                return super().write(fd, [data], position)  # the next one tells why
            raise self.faults.error()
        return super().write(fd, buffers, position)

    def truncate(self, fd, size):
        self.faults.meet("truncate")
        super().truncate(fd, size)

    def sync(self, fd):
        if self.faults.met("sync"):
            self.lose(fd)
            raise self.faults.error()
        super().sync(fd)

    def sync_all(self, fd):
        if self.faults.met("sync"):
            self.lose(None)
            raise self.faults.error()
        super().sync_all(fd)

    def lose(self, fd):
        """The effect of a failed sync of this file, or of all, on written data."""

    def sync_directory(self, path):
        self.faults.meet("sync directory", path)
        super().sync_directory(path)

    def rename(self, path, other):
        self.faults.meet("rename", path)
        super().rename(path, other)

    def remove(self, path):
        self.faults.meet("remove", path)
        super().remove(path)

    def link(self, path, other):
        self.faults.meet("link", path)
        super().link(path, other)

    def make_directory(self, path):
        if not self.exists(path):
            self.faults.meet("make directory", path)
        super().make_directory(path)


class FaultyDisk(Faulty, Disk):
    """Real files."""


class _FailingEnvironment:
    """An LMDB environment whose next write transaction ends with this error."""

    def __init__(self, env, error, *, kept):
        self._env, self._error, self._kept = env, error, kept

    def __getattr__(self, name):
        return getattr(self._env, name)

    @contextmanager
    def begin(self, write=False):
        transaction = self._env.begin(write=write)
        try:
            yield transaction
        except BaseException:
            transaction.abort()
            raise
        if not write:
            transaction.abort()
            return
        if self._kept:
            transaction.commit()  # on the disk, but reported as failed
        else:
            transaction.abort()
        raise self._error


@contextmanager
def failing_commit(environment, faults):
    """A context in which LMDB refuses commits with this errno."""
    shared = environment._shared
    error = lmdb.Error(f"mdb_txn_commit: {os.strerror(faults.code)}")
    env, shared.env = shared.env, _FailingEnvironment(shared.env, error, kept=faults.half)
    try:
        yield
    finally:
        shared.env = env


def fail_commits(monkeypatch, faults_of, *, then=lambda environment: None):
    """Make commits fail as ``faults_of()`` says; ``then`` is called after each that may be done."""
    transact = Environment.transact

    def transact_or_fail(self, tables, work):
        faults = faults_of()
        if faults is not None and faults.met(COMMIT):
            with failing_commit(self, faults):
                try:
                    transact(self, tables, work)
                finally:
                    then(self)
        done = transact(self, tables, work)
        then(self)
        return done

    monkeypatch.setattr(Environment, "transact", transact_or_fail)
