"""The journal's state of share groups, and the writing of it; trims the journal as it grows."""

from collections.abc import Callable
from typing import Final

from logstore.broker.queues.journal import settlements_of
from logstore.broker.shared.by_place import ByPlace
from logstore.broker.shared.shared_partition import SharedPartition
from logstore.broker.transacting.telling import Telling, Then
from logstore.log import Log

TRIM_BYTES: Final = 1 << 20  # that the journal was told: a trim is a commit of the catalogue


def kept_of(journal: Log) -> ByPlace[SharedPartition | bytes]:
    """Return the state as ``Shares`` takes it. May take long. Raises CorruptStore, SchemaTooNew."""
    return ByPlace(settlements_of(journal).shares().partitions())


class TrimmedTelling:
    """The writing to one journal. Used in one thread."""

    def __init__(self, telling: Telling, trim: Callable[[], object]) -> None:
        """``trim``: lets a worker remove records below the journal's recovery point."""
        self._telling = telling
        self._trim = trim
        self._told_bytes = 0  # since it was last trimmed

    def tell(self, key: bytes, value: bytes, then: Then) -> None:
        """As Telling.tell."""
        self._telling.tell(key, value, then)
        self._told_bytes += len(key) + len(value)
        if self._told_bytes > TRIM_BYTES:
            self._told_bytes = 0
            self._trim()
