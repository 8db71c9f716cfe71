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
        """Whether any record will do."""
        return self.key is None and self.text is None and self.header is None

    def matches(self, record: Record) -> bool:
        """Whether this is one."""
        if self.key is not None and record.key != self.key:
            return False
        if self.header is not None and not _has(record, self.header):
            return False
        return self.text is None or _says(record, self.text)

    def may_match(self, batch: Batch) -> bool:
        """Whether one of its records may be one: not where the bytes looked for are nowhere in it.

        Of a batch that is damaged one may: whoever decodes it says what is wrong.
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
        """Bytes that stand in a row in a batch that holds such a record."""
        header = self.header
        named = () if header is None else (_name_bytes(header.name), header.value)
        return [it for it in (self.key, self.text, *named) if it]


def _opened(batch: Batch) -> bytes | None:
    """Its records' bytes; None: they are too many to be had at once. Raises CorruptBatch."""
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
    """As it stands in the record."""
    return name.encode("utf-8", "surrogateescape")
