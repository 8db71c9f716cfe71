"""Group commit: one sync at a time, each for all waiting threads.

If a thread waits while no sync is in progress, it does the next sync itself, for every log written
so far; threads that come meanwhile are served by the sync after that. So a lone writer pays no
hand-over between threads, and many writers share one sync. A separate thread runs the same cycle
for callers that do not wait (``soon``); it starts at the first such call.
"""

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from logstore.counts.syncs import Syncs
from logstore.descriptors import NONE_LEFT
from logstore.errors import LogFailed, LogstoreError
from logstore.storage.chain import Fresh
from logstore.storage.files import OpenFiles
from logstore.storage.in_place import InPlace, moved

# One syncfs beats this many fdatasync, as long as little else is dirty on the file system.
SYNC_ALL_FILES_MIN = 3
SYNC_ALL_BYTES_MAX = 8 << 20
SHORT_S = 0.05  # until a sync that found no file descriptor left is tried again


@dataclass(frozen=True, slots=True)
class Unsynced:
    """What one log has written and not synced: its files, and the log's end at that moment."""

    paths: tuple[str, ...]
    directory: str | None  # when files were added to it
    device: int  # the file system: a partition may be a link to another one
    bytes: int
    upto: int  # the log's end; safe may move here
    base_offset: int  # of the segment that this end lies in
    position: int  # of this end in that segment
    sealed: int  # how many of the segments have been rolled over
    aborted: Fresh | None  # what was noted of transactions; None: there was no room for it


class Flushable(Protocol):
    """What the flusher needs of a log."""

    @property
    def synced(self) -> int:
        """The offset below which everything is synced."""

    @property
    def end(self) -> int: ...
    def needs(self, path: str) -> bool:
        """Whether the file must exist."""

    def check_failure(self) -> None:
        """Raises LogFailed if a sync has failed."""

    def begin_sync(self) -> Unsynced: ...
    def end_sync(self, synced: Unsynced, error: OSError | None) -> None: ...


class _Turn:
    """A caller that waits until a log is synced up to an offset."""

    __slots__ = ("come", "leads", "log", "upto")

    def __init__(self, log: Flushable, upto: int) -> None:
        self.log, self.upto = log, upto
        self.leads = False  # does the next cycle
        self.come = threading.Lock()
        self.come.acquire()

    @property
    def is_over(self) -> bool:
        """Whether the log is synced up to the offset, or has failed."""
        if self.log.synced >= self.upto:
            return True
        try:
            self.log.check_failure()
        except LogstoreError:
            return True
        return False


class Flusher:
    """Syncs logs in groups."""

    def __init__(
        self,
        files: OpenFiles,
        after: Callable[[Iterable[Flushable]], None] = lambda logs: None,
        in_place: InPlace | None = None,
    ) -> None:
        """``after(logs synced)`` runs after the threads that waited for a sync were woken.

        ``in_place``: the check of the directory; syncs of a moved directory are not acknowledged.
        """
        self.syncs = Syncs()
        self._files = files
        self._in_place = in_place
        self._after = after
        self._mutex = threading.Lock()
        # Since when they are to be synced, of a clock that only goes forward; 0: not asked for yet.
        self._dirty: dict[Flushable, float] = {}
        self._leading = False
        self._short = False  # the last sync found no file descriptor left
        self._followers: list[_Turn] = []
        self._thread: threading.Thread | None = None
        self._due: dict[Flushable, float] = {}  # for the thread: log -> monotonic time
        self._wake = threading.Condition(self._mutex)
        self._closed = False

    def check_in_place(self) -> None:
        """Raises LogFailed if the directory is no longer the one that was opened."""
        if self._in_place is not None:
            self._in_place.check_now()

    def _moved(self, log: Flushable, job: Unsynced) -> OSError | None:
        """Why a log's synced data is in a place where no one will find it."""
        if self._in_place is None or not job.paths or not self._in_place.is_due(job.paths[-1]):
            return None
        path = job.paths[-1]
        try:
            there = self._files.in_place(path)
        except FileNotFoundError:
            there = False
        except OSError as error:
            return error
        return None if there or not log.needs(path) else moved(path)

    def written(self, log: Flushable) -> None:
        """The log has unsynced bytes."""
        with self._mutex:
            self._dirty.setdefault(log, 0)

    def wait(self, log: Flushable, upto: int) -> None:
        """Return once ``log.synced >= upto``. Raises LogFailed."""
        while log.synced < upto:
            log.check_failure()
            self._take_turn(_Turn(log, upto))
            if log.synced < upto and self._short:  # others may close some of theirs
                time.sleep(SHORT_S)

    def _take_turn(self, turn: _Turn) -> None:
        """Do the next cycle, or wait until a cycle has synced what the turn needs."""
        try:
            with self._mutex:
                # Ctrl-C may have ended an append, or a cycle, before its log was or stayed here.
                if not self._dirty.get(turn.log):
                    self._dirty[turn.log] = time.monotonic()
                if self._leading:
                    self._followers.append(turn)
                else:
                    self._leading = turn.leads = True
            if not turn.leads:
                turn.come.acquire()
            if not turn.leads:
                return
            logs = self._cycle(turn.log)
        finally:
            try:
                self._hand_over(turn)
            except BaseException:  # Ctrl-C, in here: those who wait must not wait for ever
                self._hand_over(turn)
                raise
        self._after(logs)

    def _hand_over(self, turn: _Turn) -> None:
        """Wake the threads whose turn is over, and make one of the others the leader.

        Each is woken only once, because waking a thread that must wait again costs more than its
        append.
        """
        with self._mutex:
            if not turn.leads:
                if turn in self._followers:  # interrupted
                    self._followers.remove(turn)
                return
            leader = next((it for it in self._followers if not it.is_over), None)
            if leader is not None:
                leader.leads = True
            waiting = []
            for other in self._followers:
                if other is leader or other.is_over:
                    with contextlib.suppress(RuntimeError):  # released before Ctrl-C came
                        other.come.release()
                else:
                    waiting.append(other)
            self._followers = waiting
            self._leading = leader is not None
            turn.leads = False

    def _taken(self, own: Flushable) -> dict[Flushable, float]:
        """The logs of the next cycle, at least ``own``, and since when each sync was requested.

        If each log needs a sync of its own, logs that no one waits for are left until they are due.
        """
        with self._mutex:
            logs, self._dirty = self._dirty, {}
            if len(logs) == 1 or (len(logs) >= SYNC_ALL_FILES_MIN and self._files.disk.syncs_all):
                return logs
            now, urgent = time.monotonic(), {own, *(it.log for it in self._followers)}
            for log in [it for it in logs if it not in urgent and self._due.get(it, now) > now]:
                self._dirty[log] = logs.pop(log)
            return logs

    def _cycle(self, own: Flushable) -> Iterable[Flushable]:
        logs = self._taken(own)
        began = time.monotonic()
        jobs = [(log, log.begin_sync()) for log in logs]
        if self._in_place is not None:
            try:
                self._in_place.check()
            except LogFailed as error:  # the logs are told; what is under way ends here
                for log, job in jobs:
                    log.end_sync(job, OSError(errno.ESTALE, str(error)))
                return logs
        paths = [path for _, job in jobs for path in job.paths]
        if (
            self._files.disk.syncs_all
            and len(paths) >= SYNC_ALL_FILES_MIN
            and sum(job.bytes for _, job in jobs) <= SYNC_ALL_BYTES_MAX
        ):
            for device in {job.device for _, job in jobs}:
                self._sync_all([it for it in jobs if it[1].device == device])
        else:
            for log, job in jobs:
                self._end(log, job, self._sync_each(log, job))
        self._measure(logs, began)
        return logs

    def _measure(self, logs: dict[Flushable, float], began: float) -> None:
        ended, syncs = time.monotonic(), self.syncs
        syncs.lengths_ms.add((ended - began) * 1000)
        for since in logs.values():
            if since:
                syncs.safe_ms.add((ended - since) * 1000)

    def _end(self, log: Flushable, job: Unsynced, error: OSError | None) -> None:
        self._short = error is not None and error.errno in NONE_LEFT
        self.syncs.failed += error is not None
        log.end_sync(job, error)

    def _sync_all(self, jobs: Iterable[tuple[Flushable, Unsynced]]) -> None:
        """Sync a file system, including directories, through the first file that can be opened.

        Only a log with a file that cannot be opened gets the error.
        """
        opened, fd = contextlib.ExitStack(), None
        good, failed = [], []
        with opened:
            for log, job in jobs:
                try:
                    fd = self._first(log, job, opened) if fd is None else fd
                    if (its_own := self._moved(log, job)) is not None:
                        raise its_own
                    for path in job.paths:
                        self._files.syncing(path)
                except OSError as error:
                    failed.append((log, job, error))
                else:
                    good.append((log, job))
            outcome = None
            if fd is not None:
                try:
                    self._files.disk.sync_all(fd)
                except OSError as error:
                    outcome = error
        self.syncs.failed += len(good) * (outcome is not None)
        for log, job in good:
            log.end_sync(job, outcome)
        for log, job, its_own in failed:
            self._end(log, job, its_own)

    def _first(self, log: Flushable, job: Unsynced, opened: contextlib.ExitStack) -> int | None:
        """The first existing file of the log; None if all may be trimmed or deleted."""
        for path in job.paths:
            try:
                return opened.enter_context(self._files.use(path))
            except FileNotFoundError:
                if log.needs(path):
                    raise
        return None

    def _sync_each(self, log: Flushable, job: Unsynced) -> OSError | None:
        if job.directory is not None:
            try:
                self._files.disk.sync_directory(job.directory)
            except OSError as error:
                return error
        for path in job.paths:
            try:
                self._files.sync(path)
            except FileNotFoundError as error:
                if log.needs(path):  # else trimmed or deleted meanwhile, or derived
                    return error
            except OSError as error:
                return error
        return self._moved(log, job)

    def soon(self, log: Flushable, within_ms: int = 0) -> None:
        """Sync the log in the flusher's own thread, within ``within_ms``."""
        due = time.monotonic() + min(within_ms, 1_000_000_000) / 1000
        if self._due.get(log, float("inf")) <= due:
            return  # whoever takes it from there looks at the log's end after that
        with self._wake:
            if due < self._due.get(log, float("inf")):
                self._due[log] = due
                if not within_ms and not self._dirty.get(log, 1):
                    self._dirty[log] = due
                self._wake.notify()
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (logs := self._take_due()) is not None:
            # As they stand now: what is appended from here on is asked for anew, and all that is
            # asked for together takes one cycle.
            for log, upto in [(log, log.end) for log in logs]:
                with contextlib.suppress(LogstoreError):  # the log keeps it: who waits is told
                    self.wait(log, upto)

    def _take_due(self) -> list[Flushable] | None:
        """The logs that are due, at least one; None when the flusher is closed."""
        with self._wake:
            while not self._closed:
                now = time.monotonic()
                logs = [log for log, at in self._due.items() if at <= now]
                if logs:
                    for log in logs:
                        del self._due[log]
                    return logs
                first = min(self._due.values(), default=None)
                self._wake.wait(None if first is None else first - now)
            return None

    def close(self) -> None:
        """End the thread. Logs are synced by their own ``close``."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
