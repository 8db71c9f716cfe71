"""Search terms for records: a key, a text, a header; bytes are compared before records are decoded.

Pure: knows batches and records, no log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from logstore.errors import CorruptBatch
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.compression import decompressed
from logstore.records.record import Record

# Of a batch that is looked through as bytes first; of a larger one the records are, some at a time.
OPENED_BYTES_MAX: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class HeaderLookedFor:
    """A header of this name, and of this value if one is given."""

    name: str
    value: bytes | None = None  # None: any


@dataclass(frozen=True, slots=True)
class LookedFor:
    """All given terms must match a record; None matches anything."""

    key: bytes | None = None  # this very key
    text: bytes | None = None  # in the value, the key, or the value of a header
    header: HeaderLookedFor | None = None

    @property
    def everything(self) -> bool:
        """Whether every record matches."""
        return self.key is None and self.text is None and self.header is None

    def matches(self, record: Record) -> bool:
        """Whether the record matches."""
        if self.key is not None and record.key != self.key:
            return False
        if self.header is not None and not _has(record, self.header):
            return False
        return self.text is None or _says(record, self.text)

    def may_match(self, batch: Batch) -> bool:
        """Whether a record of the batch may match; False if the searched bytes do not occur in it.

        True for a damaged batch: the caller that decodes it reports the damage.
        """
        needles = self._needles()
        if not needles:
            return True
        try:
            batch.check()
            data = _opened(batch)
        except CorruptBatch:
            return True
        return data is None or all(needle in data for needle in needles)

    def _needles(self) -> Sequence[bytes]:
        """Return byte strings that occur in every batch with a matching record."""
        header = self.header
        named = () if header is None else (_name_bytes(header.name), header.value)
        return [it for it in (self.key, self.text, *named) if it]


def _opened(batch: Batch) -> bytes | None:
    """Return the bytes of the batch's records; None: they are too large. Raises CorruptBatch."""
    if not batch.compression:
        return bytes(batch.data)
    found, size = [], 0
    for chunk in decompressed(batch.compression, memoryview(batch.data)[HEADER_BYTES:]):
        size += len(chunk)
        if size > OPENED_BYTES_MAX:
            return None
        found.append(chunk)
    return b"".join(found)


def _has(record: Record, header: HeaderLookedFor) -> bool:
    return bool(record.headers) and any(
        name == header.name and (header.value is None or value == header.value)
        for name, value in record.headers
    )


def _says(record: Record, text: bytes) -> bool:
    return (
        text in (record.value or b"")
        or text in (record.key or b"")
        or any(text in (value or b"") for _, value in record.headers)
    )


def _name_bytes(name: str) -> bytes:
    """Return the header's name as the bytes in a record."""
    return name.encode("utf-8", "surrogateescape")
