"""The aborted transactions of one segment, in Kafka's layout (TransactionIndex). Derived.

    .txnindex  >hqqqq  version 0, producer id, first offset, last offset, last stable offset

An entry is in the segment that has its transaction's marker. The marker's offset is the last
offset, so last offsets rise; first offsets need not. The file is created with the first entry.
Entries are written as they come, and synced with their markers, before readers use the markers.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from struct import Struct
from typing import Final

from logstore.errors import CorruptBatch
from logstore.log import Aborted
from logstore.storage.files import OpenFiles
from logstore.storage.names import TXNINDEX

ABORTED_ENTRY: Final = Struct(">hqqqq")
assert ABORTED_ENTRY.size == 34, "as Kafka's"
_VERSION: Final = 0
_NUMBERS: Final = 4  # of an entry, in memory


class AbortedIndex:
    """The aborted transactions of one segment."""

    __slots__ = ("_entries", "_file", "_files", "_lasts", "_saved", "path")

    def __init__(self, files: OpenFiles, stem: str, *, load: bool = True) -> None:
        """As the file has it; without one, empty. Not ``load``: as after ``cut`` of all.

        Raises OSError, CorruptBatch.
        """
        self.path = stem + TXNINDEX
        self._files = files
        self._lasts = array("q")
        self._entries = array("q")
        self._saved = 0  # entries that are in the file
        self._file: tuple[int, int] | None = None  # which one it was when it was read
        if load:
            with suppress(FileNotFoundError):
                self.refresh()

    def __len__(self) -> int:
        return len(self._lasts)

    def refresh(self) -> bool:
        """Read what another process has added to the file. Raises OSError, CorruptBatch.

        Returns False if that process has replaced or cut the file; then load it again.
        """
        disk = self._files.disk
        file, size = disk.identity(self.path), disk.size(self.path)
        at = self._saved * ABORTED_ENTRY.size
        if self._file not in (None, file) or size < at:
            return False
        self._file = file
        data = self._files.read(self.path, size // ABORTED_ENTRY.size * ABORTED_ENTRY.size - at, at)
        for version, *numbers in ABORTED_ENTRY.iter_unpack(data):
            entry = Aborted(*numbers)
            if version != _VERSION or not entry.first < entry.last or not self._follows(entry):
                raise CorruptBatch(
                    f"{self.path}: entry {len(self)} is not an aborted transaction: remove the "
                    f"file; the next start of a writer creates it again"
                )
            self._add(entry)
        self._saved = len(self)
        return True

    def _follows(self, entry: Aborted) -> bool:
        return not self._lasts or entry.last > self._lasts[-1]

    def _add(self, entry: Aborted) -> None:
        self._entries.extend(entry)
        self._lasts.append(entry.last)  # behind: who searches meanwhile goes by these

    def note(self, entry: Aborted) -> None:
        """Add an entry, unless it is known. Raises OSError: it is known, but not in the file."""
        if self._follows(entry):
            self._add(entry)
            self.save()

    def put(self, entries: Iterable[Aborted]) -> None:
        """Write only these entries, to a file of their own. Raises OSError."""
        for entry in entries:
            if self._follows(entry):
                self._add(entry)
        self.save()

    def save(self) -> None:
        """Write the entries that the file lacks. Raises OSError."""
        if self._saved < len(self):
            data = b"".join(
                [
                    ABORTED_ENTRY.pack(_VERSION, *self._entry(it))
                    for it in range(self._saved, len(self))
                ]
            )
            self._files.write(self.path, [data], self._saved * ABORTED_ENTRY.size)
            self._saved = len(self)

    def cut(self, offset: int) -> None:
        """Forget entries whose marker is at or above this offset; the file keeps them until
        ``end``.

        So an entry that readers may use is never missing from the file while it is noted again.
        """
        keep = bisect_left(self._lasts, offset)
        self._saved = min(self._saved, keep)
        del self._lasts[keep:], self._entries[_NUMBERS * keep :]

    def end(self) -> bool:
        """Cut the file to the known entries; returns whether it had others. Raises OSError."""
        size = len(self) * ABORTED_ENTRY.size
        try:
            if self._files.disk.size(self.path) <= size:
                return False
            self._files.truncate(self.path, size)
        except FileNotFoundError:  # there was no room for it
            return False
        return True

    def count(self, below: int) -> int:
        """The number of entries whose marker is below this offset."""
        return bisect_left(self._lasts, below)

    def _entry(self, number: int) -> Aborted:
        return Aborted(*self._entries[_NUMBERS * number : _NUMBERS * (number + 1)])

    def since(self, at: int, below: int) -> Iterator[Aborted]:
        """The entries whose marker is at or above one offset and below another, in order."""
        for number in range(bisect_left(self._lasts, at), bisect_left(self._lasts, below)):
            yield self._entry(number)
