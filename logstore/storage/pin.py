"""The pin: while the store is copied, the journal is not trimmed.

A copy has the catalogue as of its beginning, which says where the journal's replay begins; the
journal itself is copied last. So the journal must not be trimmed in between, by any process. A copy
takes a shared lock on one file; a trim takes it exclusively, or is postponed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from logstore import forks
from logstore.errors import Forked
from logstore.storage.disk import Disk, refusal


class Pin:
    """The pin of one data directory. From any thread, each call with a lock of its own."""

    def __init__(self, disk: Disk, path: str) -> None:
        """``path``: of the file, which the process that creates the journal creates."""
        self._disk = disk
        self._path = path
        self._open: set[int] = set()
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: the locks are the parent's, as long as that has them."""
        while self._open:
            self._disk.close(self._open.pop())

    def make(self) -> None:
        """Create the file so that a process that cannot write the directory can share it. Raises
        StorageFull, Failed.
        """
        try:
            self._disk.close(self._disk.open(self._path, write=True, create=True))
        except OSError as error:
            raise refusal(error, "make the file that pins the journal", self._path) from None

    @contextmanager
    def shared(self) -> Iterator[None]:
        """A context in which the journal is not trimmed. Waits for a trim in progress. Raises
        OSError.
        """
        fd = None
        with suppress(FileNotFoundError):  # then there is no journal yet
            fd = self._disk.open(self._path)
        if fd is None:
            yield
            return
        self._open.add(fd)
        try:
            self._disk.share(fd)
            yield
        finally:
            self._close(fd)

    def unless_shared(self, trim: Callable[[], None]) -> bool:
        """Call ``trim`` while copies wait; False if a copy is in progress.

        Raises StorageFull, Failed, and the errors of ``trim``.
        """
        try:
            fd = self._disk.open(self._path, write=True, create=True)
        except OSError as error:
            raise refusal(error, "pin the journal", self._path) from None
        self._open.add(fd)
        try:
            if not self._disk.lock(fd):
                return False
            trim()
            return True
        finally:
            self._close(fd)

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.discard(fd)
            self._disk.close(fd)
