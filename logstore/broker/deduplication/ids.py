"""Ids in the form that windows use: 16 bytes, whatever the sender's id is.

Two texts never have the same 16 bytes in practice: with 128-bit BLAKE2b, finding a collision takes
2**64 attempts, and a billion ids collide by chance once in 2**69.
"""

from _blake2 import blake2b  # hashlib looks it up at each call
from collections.abc import Iterable, Sequence
from typing import Final

from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.record import Headers, Record

ID_BYTES: Final = 16


def id_of(data: bytes) -> bytes:
    """Return the id of these bytes."""
    return blake2b(data, digest_size=ID_BYTES).digest()


def header_id(headers: Headers, name: str) -> bytes | None:
    """Return the id in the last header of this name (Kafka: ``lastHeader``); None:
    there is none.
    """
    found = None
    for header, value in headers:
        if header == name:
            found = value
    return None if found is None else id_of(found)


def ids_of(records: Sequence[Record], name: str) -> list[bytes | None]:
    """Return the id of each record, from its header of this name."""
    known: dict[int, bytes | None] = {}  # neighbours may share their headers
    found: list[bytes | None] = []
    for record in records:
        headers = record.headers
        if not headers:
            found.append(None)
            continue
        key = id(headers)
        if key not in known:
            known[key] = header_id(headers, name)
        found.append(known[key])
    return found


def ids_of_batch(batch: Batch, name: str) -> tuple[list[bytes | None], list[int]]:
    """Return the ids and timestamps of a batch's records. Raises CorruptBatch."""
    records = decode(batch, check=False)
    return ids_of(records, name), [it.timestamp_ms for it in records]


def some(ids: Iterable[bytes | None]) -> bool:
    """Whether any of these is an id."""
    return any(it is not None for it in ids)
