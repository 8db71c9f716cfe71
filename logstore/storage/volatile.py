"""Logs that end with the process: never synced, in no catalogue, removed at start and at close.

They are in a folder of their own, so that a queue that is not durable may be larger than memory. An
appended record is safe at once, since such a log promises nothing after the process has ended.
"""

import logging
import os
from contextlib import suppress
from dataclasses import replace

from logstore.errors import LogstoreError
from logstore.settings import FOREVER, TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.chain import Chain
from logstore.storage.disk import refusal
from logstore.storage.disk_log import DiskLog
from logstore.storage.files import OpenFiles
from logstore.storage.flusher import Flushable, Flusher
from logstore.storage.in_place import InPlace
from logstore.storage.names import VOLATILE
from logstore.storage.segment import Indexes
from logstore.storage.watermarks import Watermark

_log = logging.getLogger("logstore.storage")


class _NoSlot(Watermark):
    """A watermark slot that no other process sees."""

    def __init__(self) -> None:
        pass

    def publish(self, start: int, safe: int, undecided: int | None = None) -> None:
        """As Watermark.publish."""

    def publish_start(self, start: int) -> None:
        """As Watermark.publish_start."""

    def publish_safe(self, safe: int) -> None:
        """As Watermark.publish_safe."""

    def publish_synced(self, synced: int) -> None:
        """As Watermark.publish_synced."""

    def publish_undecided(self, undecided: int | None) -> None:
        """As Watermark.publish_undecided."""

    def release(self) -> None:
        """As Watermark.release."""


class _NoFlusher(Flusher):
    """A flusher that syncs nothing."""

    def written(self, log: Flushable) -> None:
        """As Flusher.written."""

    def soon(self, log: Flushable, within_ms: int = 0) -> None:
        """As Flusher.soon."""

    def wait(self, log: Flushable, upto: int) -> None:
        """As Flusher.wait: it counts as synced, so that it can be trimmed."""
        log.end_sync(log.begin_sync(), None)


class VolatileLogs:
    """The volatile logs of one process that writes a data directory."""

    def __init__(
        self, path: str, files: OpenFiles, in_place: InPlace, settings: TopicSettings
    ) -> None:
        """``path``: of the data directory. Removes what another process has left there."""
        self._disk = files.disk
        self._folder = os.path.join(path, VOLATILE)
        self._files = files
        files.unsynced_below = self._folder + "/"
        self._flusher = _NoFlusher(files, in_place=in_place)
        self._indexes = Indexes()
        self._settings = replace(
            settings, flush_messages=FOREVER, flush_ms=FOREVER, preallocate=False, retention_ms=0
        )
        self._logs: dict[str, DiskLog] = {}
        self._stuck = False
        try:
            self._wipe()
        except LogstoreError as error:  # it must keep nobody from opening the store
            self._stuck = True  # and is tried again by whoever needs the room
            _log.warning("%s: remove it, or make it removable", error)

    def _wipe(self) -> None:
        """Raises Failed."""
        try:
            with suppress(FileNotFoundError):
                self._disk.remove_tree(self._folder)
        except OSError as error:
            raise refusal(
                error, "remove what was volatile", error.filename or self._folder
            ) from None

    def make(self, name: str) -> DiskLog:
        """A new, empty log. Raises StorageFull, Failed."""
        assert name not in self._logs
        if self._stuck:
            self._wipe()
            self._stuck = False
        path = os.path.join(self._folder, name)
        try:
            if not self._disk.exists(self._folder):
                self._disk.make_directory(self._folder)
            self._disk.make_directory(path)
        except OSError as error:
            raise refusal(error, "begin a volatile log", error.filename or path) from None
        chain = Chain(
            path, self._files, self._indexes, self._settings.index_interval_bytes,
            gaps_below=lambda: 0,
        )  # fmt: skip
        chain.add(0)
        log = DiskLog(
            os.path.join(VOLATILE, name), chain, self._files, self._flusher, _NoSlot(),
            self._settings, LogState(), 0, 0, save=lambda log, state: None,
        )  # fmt: skip
        self._logs[name] = log
        return log

    def drop(self, name: str) -> None:
        """Delete the log, if it was created. From any thread. Raises Failed."""
        log = self._logs.pop(name, None)
        if log is None:
            return
        log.discard()
        path = os.path.join(self._folder, name)
        try:
            with suppress(FileNotFoundError):
                self._disk.remove_tree(path)
        except OSError as error:
            raise refusal(error, "remove a volatile log", error.filename or path) from None
        finally:
            self._files.forget_below(path)

    def close(self) -> None:
        """Drop them all."""
        for log in list(self._logs.values()):
            log.discard()
        self._logs.clear()
        with suppress(LogstoreError):  # the next who opens the directory does it
            self._wipe()
