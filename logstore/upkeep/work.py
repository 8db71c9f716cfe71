"""The heavy part of upkeep as plain facts: what is to be rewritten, and the steps on the way.

Sealed segments are immutable, so a worker needs only their files: a child process does the work
(``upkeep.child``), or a test in its own process. Each ``Cleaned`` step says that a new segment
waits to be swapped in; the work continues after the swap. All facts are encoded as JSON, one object
a line.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from logstore import errors
from logstore.errors import Failed, LogstoreError
from logstore.log import Aborted


class SegmentPart(msgspec.Struct, frozen=True, array_like=True):
    """A sealed segment."""

    base_offset: int
    end_offset: int  # the next one's base offset
    bytes: int
    merged: bool = False  # batches that stand in the file beyond are the next one's


class LogFiles(msgspec.Struct, frozen=True):
    """The directory of a log's segments, and how to read and write them."""

    directory: str
    interval_bytes: int  # between two index entries
    bytes_per_second: int  # to read and write at the most; -1: any


class Compacting(msgspec.Struct, frozen=True, tag=True):
    """Keep only the latest record of each key. ``parts``: oldest first."""

    place: LogFiles
    parts: tuple[SegmentPart, ...]
    memory_bytes: int  # for keys
    tombstones_below: int  # tombstones below this offset go
    keeps_end: bool  # the last record stays: readers need one to get to the log's end
    levels: dict[int, int | None] = {}  # of the codecs, by their numbers; else their own defaults
    # A header with the time (ms since 1970) after which a record counts as a tombstone; and the
    # time that it is now.
    expires: str = ""
    now_ms: int = 0
    aborted: tuple[Aborted, ...] = ()  # transactions with something in the parts
    # Of producers that are active: an offset in the last batch that each has written, if only one
    # of its epoch counts; else that epoch, which its last marker has.
    last_written: dict[int, int] = {}
    epochs: dict[int, int] = {}
    own: tuple[int, ...] = ()  # producers of the server, whose last batch stays at any rate
    markers_until_ms: int = 0  # until when markers stay whose transactions are gone just now


class Thinning(msgspec.Struct, frozen=True, tag=True):
    """Keep only unsettled messages in each of these segments."""

    place: LogFiles
    parts: tuple[SegmentPart, ...]
    held: tuple[bytes, ...]  # of each part: the offsets that are not settled (``queues/bits.py``)
    levels: dict[int, int | None] = {}  # as Compacting


class Recompressing(msgspec.Struct, frozen=True, tag=True):
    """Compress each of these segments again, in larger batches."""

    place: LogFiles
    parts: tuple[SegmentPart, ...]
    batch_bytes: int  # of records, before compression
    level: int  # of zstd


class Merging(msgspec.Struct, frozen=True, tag=True):
    """Merge each of these runs of adjacent segments into one segment."""

    place: LogFiles
    runs: tuple[tuple[SegmentPart, ...], ...]


class Trying(msgspec.Struct, frozen=True, tag=True):
    """Compute the result of a work without writing anything."""

    work: Compacting | Recompressing

    @property
    def place(self) -> LogFiles:
        return self.work.place


Work = Compacting | Thinning | Recompressing | Merging | Trying


class Cleaned(msgspec.Struct, frozen=True, tag=True):
    """A segment was written that replaces these; the work waits until it is swapped in."""

    bases: tuple[int, ...]
    stem: str  # its path without endings
    records_removed: int = 0
    aborts_gone: tuple[int, ...] = ()  # markers of aborted transactions that it lacks: offsets


class Went(msgspec.Struct, frozen=True, tag=True):
    """The bytes of segments that were processed since the last step."""

    bytes: int


class Passed(msgspec.Struct, frozen=True, tag=True):
    """One pass over the keys has ended."""

    tombstones: int = 0  # that are left of what was gone over, by all passes so far


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """All markers were examined."""

    markers: int  # that only wait for their time


class Tried(msgspec.Struct, frozen=True, tag=True):
    """The result of a work that was only tried."""

    bytes_before: int  # of what would be rewritten
    bytes_after: int
    records_removed: int
    whole: bool  # else only some was looked at


class Broke(msgspec.Struct, frozen=True, tag=True):
    """The work or job failed, with the error to raise in the other process."""

    kind: str
    text: str

    @classmethod
    def by(cls, error: LogstoreError) -> "Broke":
        return cls(type(error).__name__, str(error))

    def error(self) -> LogstoreError:
        kind = getattr(errors, self.kind, Failed)
        known = isinstance(kind, type) and issubclass(kind, LogstoreError)
        return kind(self.text) if known else Failed(self.text)


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The work is complete."""


Step = Cleaned | Went | Passed | Waiting | Tried


class Worker(Protocol):
    """Does the work."""

    def steps(self, work: Work) -> Iterator[Step]:
        """Each ``Cleaned`` must be swapped in, or dropped, before the next step is requested.

        Raises Damaged, Failed.
        """

    def stop(self) -> None:
        """Make ``steps`` stop the present work, from another thread."""

    def close(self) -> None:
        """No more work follows."""
