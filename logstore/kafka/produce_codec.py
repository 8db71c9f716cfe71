"""The codec of Produce, versions 3 to 13, written by hand: records are passed through.

Both directions: a server reads requests and writes responses, a client the other way round.

What the versions add: 5 log start offset; 8 errors of single records and a message (KIP-467); 9
flexible; 10 the current leader (never sent: there is one node; skipped when read); 13 topic ids
instead of names.
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
    """The records for one partition, and their result."""

    partition: int
    records: memoryview | None
    error_code: int = 0
    message: str | None = None
    base_offset: int = -1
    append_time_ms: int = -1
    log_start: int = -1
    faults: Sequence[tuple[int, str | None]] = ()  # records by their place in the batch, and why


@dataclass(slots=True)
class ProduceRequest:
    """``topics``: the name, or from version 13 on the id, with its parts."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    topics: Sequence[tuple[str | bytes, Sequence[Part]]]


Topics = Sequence[tuple[str | bytes, Sequence[Part]]]  # by name, or from version 13 on by id

_strings = {flexible: wire.string(flexible, nullable=True)[0] for flexible in (False, True)}
_names = {flexible: wire.string(flexible, nullable=False)[0] for flexible in (False, True)}
_write_names = {flexible: wire.string(flexible, nullable=True)[1] for flexible in (False, True)}


def read_request(
    version: int, data: memoryview, at: int, most: int = wire.ELEMENTS_MAX
) -> ProduceRequest | None:
    """The records stay views of ``data``; None: more than ``most`` topics and partitions.

    Raises BrokenProtocol, also of more than any request may have.
    """
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
        topic, at = _read_topic(version, data, at)
        total += 1 + max(wire.read_count(data, at, flexible)[0], 0)
        if total > wire.ELEMENTS_MAX:
            raise BrokenProtocol(f"records for more than {wire.ELEMENTS_MAX} partitions at once")
        if total > most:
            return None
        parts, at = _read_parts(data, at, flexible)
        topics.append((topic, parts))
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


def _read_topic(version: int, data: memoryview, at: int) -> tuple[str | bytes, int]:
    if version >= WITH_TOPIC_IDS:
        return wire.read_uuid(data, at)
    name, at = _names[version >= FLEXIBLE](data, at)
    assert name is not None
    return name, at


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


def write_request(version: int, request: ProduceRequest) -> list[wire.Buffer]:
    """Buffers to be sent one after the other; records stay as they are."""
    flexible = version >= FLEXIBLE
    out = bytearray()
    buffers: list[wire.Buffer] = []
    _write_names[flexible](out, request.transactional_id)
    out += _ACKS.pack(request.acks, request.timeout_ms)
    wire.write_count(out, len(request.topics), flexible)
    for topic, parts in request.topics:
        _write_topic(out, version, topic)
        wire.write_count(out, len(parts), flexible)
        for part in parts:
            out += _INT32.pack(part.partition)
            wire.write_count(out, -1 if part.records is None else len(part.records), flexible)
            if part.records:
                buffers += (out, part.records)
                out = bytearray()
            if flexible:
                out.append(0)
        if flexible:
            out.append(0)
    if flexible:
        out.append(0)
    return [*buffers, out] if out else buffers


def _write_topic(out: bytearray, version: int, topic: str | bytes) -> None:
    if version >= WITH_TOPIC_IDS:
        assert isinstance(topic, bytes)
        out += topic
    else:
        _write_names[version >= FLEXIBLE](out, topic)


def write_response(version: int, topics: Topics) -> bytearray:
    """The answer for these topics, in the version of the request."""
    flexible = version >= FLEXIBLE
    out = bytearray()
    wire.write_count(out, len(topics), flexible)
    for topic, parts in topics:
        _write_topic(out, version, topic)
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
        wire.write_count(out, len(part.faults), flexible)
        for place, why in part.faults:
            out += _INT32.pack(place)
            _write_names[flexible](out, why)
            if flexible:
                out.append(0)
        _write_names[flexible](out, part.message)
    if flexible:
        out.append(0)


@dataclass(slots=True)
class ProduceResponse:
    """The results of a request, and the time for which the client must pause."""

    topics: Topics
    throttle_time_ms: int


def read_response(version: int, data: memoryview, at: int) -> ProduceResponse:
    """What became of the records of a request. Raises BrokenProtocol."""
    flexible = version >= FLEXIBLE
    topics: list[tuple[str | bytes, Sequence[Part]]] = []
    count, at = wire.read_count(data, at, flexible)
    for _ in range(count):
        topic, at = _read_topic(version, data, at)
        parts: list[Part] = []
        part_count, at = wire.read_count(data, at, flexible)
        for _ in range(part_count):
            part, at = _read_part(version, data, at)
            parts.append(part)
        if flexible:
            at = wire.skip_tags(data, at)
        topics.append((topic, parts))
    throttle_time_ms, at = wire.read_int32(data, at)
    if flexible:
        wire.skip_tags(data, at)
    return ProduceResponse(topics, throttle_time_ms)


def _read_part(version: int, data: memoryview, at: int) -> tuple[Part, int]:
    flexible = version >= FLEXIBLE
    try:
        partition, error_code, base_offset, append_time_ms = _RESULT.unpack_from(data, at)
        at += _RESULT.size
        part = Part(partition, None, error_code, None, base_offset, append_time_ms)
        if version >= WITH_LOG_START:
            (part.log_start,) = _INT64.unpack_from(data, at)
            at += _INT64.size
    except StructError:
        raise wire.cut_off() from None
    if version >= WITH_MESSAGES:
        part.faults, at = _read_faults(data, at, flexible)
        part.message, at = _strings[flexible](data, at)
    return part, wire.skip_tags(data, at) if flexible else at


def _read_faults(
    data: memoryview, at: int, flexible: bool
) -> tuple[list[tuple[int, str | None]], int]:
    faults: list[tuple[int, str | None]] = []
    count, at = wire.read_count(data, at, flexible)
    for _ in range(count):
        place, at = wire.read_int32(data, at)
        why, at = _strings[flexible](data, at)
        faults.append((place, why))
        if flexible:
            at = wire.skip_tags(data, at)
    return faults, at
