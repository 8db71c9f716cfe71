"""Produce requests and responses, versions 3 to 13, by hand: their records are passed through.

What the versions add: 5 log start offset; 8 errors of single records and a message (KIP-467);
9 flexible; 10 the current leader (never sent: there is one node); 13 topic ids instead of names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final

from logstore.errors import BrokenProtocol
from logstore.kafka import wire

FLEXIBLE: Final = 9
WITH_LOG_START: Final = 5
WITH_MESSAGES: Final = 8
WITH_TOPIC_IDS: Final = 13

_ACKS = Struct(">hi")  # acks, timeout (ms)
_RESULT = Struct(">ihqq")  # partition, error code, base offset, log append time (ms)
_INT32, _INT64 = Struct(">i"), Struct(">q")


@dataclass(slots=True)
class Part:
    """The records for one partition, and what became of them."""

    partition: int
    records: memoryview | None
    error_code: int = 0
    message: str | None = None
    base_offset: int = -1
    append_time_ms: int = -1
    log_start: int = -1


@dataclass(slots=True)
class ProduceRequest:
    """``topics``: the name, or from version 13 on the id, with its parts."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    topics: Sequence[tuple[str | bytes, Sequence[Part]]]


_strings = {flexible: wire.string(flexible, nullable=True)[0] for flexible in (False, True)}
_names = {flexible: wire.string(flexible, nullable=False)[0] for flexible in (False, True)}
_write_names = {flexible: wire.string(flexible, nullable=True)[1] for flexible in (False, True)}


def read_request(version: int, data: memoryview, at: int) -> ProduceRequest:
    """The records stay views of ``data``. Raises BrokenProtocol."""
    flexible = version >= FLEXIBLE
    transactional_id, at = _strings[flexible](data, at)
    try:
        acks, timeout_ms = _ACKS.unpack_from(data, at)
    except StructError:
        raise wire.cut_off() from None
    count, at = wire.read_count(data, at + _ACKS.size, flexible)
    topics: list[tuple[str | bytes, Sequence[Part]]] = []
    total = 0
    for _ in range(count):
        topic: str | bytes
        if version >= WITH_TOPIC_IDS:
            topic, at = wire.read_uuid(data, at)
        else:
            topic, at = _names[flexible](data, at)
        parts, at = _read_parts(data, at, flexible)
        topics.append((topic, parts))
        total += 1 + len(parts)
        if total > wire.ELEMENTS_MAX:
            raise BrokenProtocol(f"records for more than {wire.ELEMENTS_MAX} partitions at once")
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


def _read_parts(data: memoryview, at: int, flexible: bool) -> tuple[list[Part], int]:
    count, at = wire.read_count(data, at, flexible)
    parts = []
    for _ in range(count):
        partition, at = wire.read_int32(data, at)
        size, at = wire.read_size(data, at, flexible)
        if size < 0:
            parts.append(Part(partition, None))
        else:
            parts.append(Part(partition, data[at : at + size]))
            at += size
        if flexible:
            at = wire.skip_tags(data, at)
    return parts, wire.skip_tags(data, at) if flexible else at


def write_response(version: int, topics: Sequence[tuple[str | bytes, Sequence[Part]]]) -> bytearray:
    """The answer for these topics, in the version of the request."""
    flexible = version >= FLEXIBLE
    out = bytearray()
    wire.write_count(out, len(topics), flexible)
    for topic, parts in topics:
        if version >= WITH_TOPIC_IDS:
            assert isinstance(topic, bytes)
            out += topic
        else:
            _write_names[flexible](out, topic)
        wire.write_count(out, len(parts), flexible)
        for part in parts:
            _write_part(out, version, part)
        if flexible:
            out.append(0)
    out += _INT32.pack(0)  # throttle time
    if flexible:
        out.append(0)
    return out


def _write_part(out: bytearray, version: int, part: Part) -> None:
    flexible = version >= FLEXIBLE
    out += _RESULT.pack(part.partition, part.error_code, part.base_offset, part.append_time_ms)
    if version >= WITH_LOG_START:
        out += _INT64.pack(part.log_start)
    if version >= WITH_MESSAGES:
        wire.write_count(out, 0, flexible)  # errors of single records: a batch is taken whole
        _write_names[flexible](out, part.message)
    if flexible:
        out.append(0)
