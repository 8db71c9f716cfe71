"""The codec of Fetch, versions 4 to 18, written by hand: records are passed through.

Both directions: a server reads requests and writes responses, a client the other way round.

What the versions add: 5 log start offset; 7 sessions (KIP-227); 9 leader epoch; 11 rack and
preferred replica; 12 flexible; 13 topic ids instead of names; 15 the replica's state is tagged; 16
other nodes' addresses (never sent: there are none; skipped when read).
"""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final, TypeVar

from logstore.kafka import wire

FLEXIBLE: Final = 12
WITH_LOG_START: Final = 5
WITH_SESSIONS: Final = 7
WITH_EPOCH: Final = 9
WITH_RACK: Final = 11
WITH_TOPIC_IDS: Final = 13
WITHOUT_REPLICA_ID: Final = 15

READ_COMMITTED: Final = 1
NO_SESSION: Final = 0
FINAL_EPOCH: Final = -1  # of a session: it ends, or there is none

Topic = str | bytes  # its name, or from version 13 on its id


@dataclass(slots=True)
class Asked:
    """One partition that a client wants to read."""

    topic: Topic
    partition: int
    offset: int
    bytes_max: int
    leader_epoch: int = -1


@dataclass(slots=True)
class FetchRequest:
    """What to read, and how long to wait for how much of it."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    session_id: int
    session_epoch: int
    asked: Sequence[Asked]
    forgotten: Sequence[tuple[Topic, int]]
    by_id: bool  # topics are named by their ids
    rack: str = ""  # where the client is


@dataclass(slots=True)
class Given:
    """The reply for one partition."""

    topic: Topic
    partition: int
    error_code: int = 0
    high_watermark: int = -1
    last_stable: int = -1
    log_start: int = -1
    aborted: Sequence[tuple[int, int]] = ()  # transactions: the producer's id, the first offset
    records: Sequence[Sized] = ()  # buffers, or whatever else the sender of the answer can send


@dataclass(slots=True)
class Got:
    """A server's reply for one partition, decoded; the records are views of the received bytes."""

    topic: Topic
    partition: int
    error_code: int
    high_watermark: int
    last_stable: int  # records below are committed, or aborted
    log_start: int
    aborted: Sequence[tuple[int, int]]  # transactions: the producer's id, the first offset
    records: memoryview
    preferred: int = -1  # a replica that is to be read from instead; -1: none


@dataclass(slots=True)
class FetchResponse:
    """``error_code`` is the session's; each partition has its own."""

    error_code: int
    session_id: int
    got: Sequence[Got]
    throttle_time_ms: int  # nothing more is to be sent for so long


Placed = TypeVar("Placed", Asked, Given)

_HEAD = Struct(">iii b")  # max wait, min bytes, max bytes, isolation level
_SESSION = Struct(">ii")
# From the partition's number to its bytes; by what the version has of epochs and log start.
_ASKED_4, _ASKED_5, _ASKED_9, _ASKED_12 = map(Struct, (">iqi", ">iqqi", ">iiqqi", ">iiqiqi"))

_names = {flexible: wire.string(flexible, nullable=False)[0] for flexible in (False, True)}
_write_names = {flexible: wire.string(flexible, nullable=False)[1] for flexible in (False, True)}


def read_request(version: int, data: memoryview, at: int) -> FetchRequest:
    """Raises BrokenProtocol."""
    flexible = version >= FLEXIBLE
    try:
        if version < WITHOUT_REPLICA_ID:
            _, at = wire.read_int32(data, at)
        wait_ms, min_bytes, max_bytes, isolation = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        session_id, session_epoch = NO_SESSION, FINAL_EPOCH
        if version >= WITH_SESSIONS:
            session_id, session_epoch = _SESSION.unpack_from(data, at)
            at += _SESSION.size
        asked, at = _read_topics(version, data, at, flexible)
        forgotten: list[tuple[Topic, int]] = []
        if version >= WITH_SESSIONS:
            forgotten, at = _read_forgotten(version, data, at, flexible)
        rack: str | None = ""
        if version >= WITH_RACK:
            rack, at = _names[flexible](data, at)
        if flexible:
            wire.skip_tags(data, at)
    except StructError:
        raise wire.cut_off() from None
    return FetchRequest(
        wait_ms, min_bytes, max_bytes, isolation, session_id, session_epoch, asked, forgotten,
        version >= WITH_TOPIC_IDS, rack or "",
    )  # fmt: skip


def _read_topics(
    version: int, data: memoryview, at: int, flexible: bool
) -> tuple[list[Asked], int]:
    layout = _asked_layout(version)
    found: list[Asked] = []
    topics, at = wire.read_count(data, at, flexible)
    for _ in range(topics):
        topic, at = _read_topic(version, data, at, flexible)
        count, at = wire.read_count(data, at, flexible)
        for _ in range(count):
            fields = layout.unpack_from(data, at)
            at += layout.size
            if flexible:
                at = wire.skip_tags(data, at)
            found.append(_asked(topic, fields))
        if flexible:
            at = wire.skip_tags(data, at)
    return found, at


def _asked_layout(version: int) -> Struct:
    if version < WITH_LOG_START:
        return _ASKED_4
    if version < WITH_EPOCH:
        return _ASKED_5
    return _ASKED_9 if version < FLEXIBLE else _ASKED_12


def _asked(topic: Topic, fields: tuple[int, ...]) -> Asked:
    if len(fields) >= 5:
        return Asked(topic, fields[0], fields[2], fields[-1], fields[1])
    return Asked(topic, fields[0], fields[1], fields[-1])


def _read_topic(version: int, data: memoryview, at: int, flexible: bool) -> tuple[Topic, int]:
    if version >= WITH_TOPIC_IDS:
        return wire.read_uuid(data, at)
    name, at = _names[flexible](data, at)
    assert name is not None
    return name, at


def _read_forgotten(
    version: int, data: memoryview, at: int, flexible: bool
) -> tuple[list[tuple[Topic, int]], int]:
    found = []
    topics, at = wire.read_count(data, at, flexible)
    for _ in range(topics):
        topic, at = _read_topic(version, data, at, flexible)
        count, at = wire.read_count(data, at, flexible)
        for _ in range(count):
            partition, at = wire.read_int32(data, at)
            found.append((topic, partition))
        if flexible:
            at = wire.skip_tags(data, at)
    return found, at


def write_request(version: int, request: FetchRequest) -> bytearray:
    """The body of a client's request; topics are named, or from version 13 on by their ids."""
    flexible = version >= FLEXIBLE
    out = bytearray()
    if version < WITHOUT_REPLICA_ID:
        out += _NOBODY
    out += _HEAD.pack(
        request.max_wait_ms, request.min_bytes, request.max_bytes, request.isolation_level
    )
    if version >= WITH_SESSIONS:
        out += _SESSION.pack(request.session_id, request.session_epoch)
    _write_topics(out, version, request.asked, _write_asked)
    if version >= WITH_SESSIONS:
        _write_topics(out, version, [Asked(*it, 0, 0) for it in request.forgotten], None)
    if version >= WITH_RACK:
        _write_names[flexible](out, request.rack)
    if flexible:
        out.append(0)
    return out


def _write_topics(
    out: bytearray,
    version: int,
    asked: Sequence[Asked],
    write: Callable[[bytearray, int, Asked], None] | None,
) -> None:
    """Partitions by topic; ``write``: how each is written, None: its number alone."""
    flexible = version >= FLEXIBLE
    topics = _by_topic(asked)
    wire.write_count(out, len(topics), flexible)
    for topic, parts in topics:
        _write_topic(out, version, topic)
        wire.write_count(out, len(parts), flexible)
        for part in parts:
            if write is None:
                out += _INT32.pack(part.partition)
            else:
                write(out, version, part)
        if flexible:
            out.append(0)


def _write_asked(out: bytearray, version: int, it: Asked) -> None:
    layout, unknown = _asked_layout(version), -1  # log start: a replica's; the epoch fetched last
    if version < WITH_LOG_START:
        out += layout.pack(it.partition, it.offset, it.bytes_max)
    elif version < WITH_EPOCH:
        out += layout.pack(it.partition, it.offset, unknown, it.bytes_max)
    elif version < FLEXIBLE:
        out += layout.pack(it.partition, it.leader_epoch, it.offset, unknown, it.bytes_max)
    else:
        out += layout.pack(it.partition, it.leader_epoch, it.offset, unknown, unknown, it.bytes_max)
        out.append(0)


def _write_topic(out: bytearray, version: int, topic: Topic) -> None:
    if version >= WITH_TOPIC_IDS:
        assert isinstance(topic, bytes)
        out += topic
    else:
        _write_names[version >= FLEXIBLE](out, topic)


# The response

_TOP_4, _TOP_7 = Struct(">i"), Struct(">ihi")  # throttle time, error code, session id
# partition, error code, high watermark, last stable offset, log start
_GIVEN_4, _GIVEN_5 = Struct(">ihqq"), Struct(">ihqqq")
_INT32 = Struct(">i")
_NOBODY = _INT32.pack(-1)  # no replica, but a client
_ABORTED = Struct(">qq")  # producer id, first offset


def write_response(
    version: int,
    session_id: int,
    error_code: int,
    given: Sequence[Given],
    committed: bool,
    throttle_ms: int = 0,
) -> list[Any]:
    """Buffers to be sent one after the other; records stay as they are.

    ``committed``: the client reads committed records only, and is told which are aborted.
    ``throttle_ms``: how long it is to wait before it asks again.
    """
    flexible = version >= FLEXIBLE
    out = bytearray()
    buffers: list[Any] = []
    if version >= WITH_SESSIONS:
        out += _TOP_7.pack(throttle_ms, error_code, session_id)
    else:
        out += _TOP_4.pack(throttle_ms)
    topics = _by_topic(given)
    wire.write_count(out, len(topics), flexible)
    for topic, parts in topics:
        _write_topic(out, version, topic)
        wire.write_count(out, len(parts), flexible)
        for part in parts:
            _write_given(out, version, part, committed)
            if part.records:
                buffers.append(out)
                buffers += part.records
                out = bytearray()
            if flexible:
                out.append(0)
        if flexible:
            out.append(0)
    if flexible:
        out.append(0)
    if out:
        buffers.append(out)
    return buffers


def _by_topic(parts: Sequence[Placed]) -> list[tuple[Topic, list[Placed]]]:
    """Neighbours of one topic together, in their order."""
    topics: list[tuple[Topic, list[Placed]]] = []
    for part in parts:
        if topics and topics[-1][0] == part.topic:
            topics[-1][1].append(part)
        else:
            topics.append((part.topic, [part]))
    return topics


def _write_given(out: bytearray, version: int, part: Given, committed: bool) -> None:
    """All of the partition's answer before its records, with their size."""
    flexible = version >= FLEXIBLE
    safe, stable = part.high_watermark, part.last_stable
    if version >= WITH_LOG_START:
        out += _GIVEN_5.pack(part.partition, part.error_code, safe, stable, part.log_start)
    else:
        out += _GIVEN_4.pack(part.partition, part.error_code, safe, stable)
    wire.write_count(out, len(part.aborted) if committed else -1, flexible)
    for aborted in part.aborted if committed else ():
        out += _ABORTED.pack(*aborted)
        if flexible:
            out.append(0)
    if version >= WITH_RACK:
        out += _NOBODY
    wire.write_count(out, sum(map(len, part.records)), flexible)


def read_response(version: int, data: memoryview, at: int) -> FetchResponse:
    """The records stay views of ``data``. Raises BrokenProtocol."""
    flexible = version >= FLEXIBLE
    error_code, session_id = 0, NO_SESSION
    try:
        if version >= WITH_SESSIONS:
            throttle_time_ms, error_code, session_id = _TOP_7.unpack_from(data, at)
            at += _TOP_7.size
        else:
            (throttle_time_ms,) = _TOP_4.unpack_from(data, at)
            at += _TOP_4.size
        got: list[Got] = []
        topics, at = wire.read_count(data, at, flexible)
        for _ in range(topics):
            topic, at = _read_topic(version, data, at, flexible)
            count, at = wire.read_count(data, at, flexible)
            for _ in range(count):
                part, at = _read_got(version, data, at, topic)
                got.append(part)
            if flexible:
                at = wire.skip_tags(data, at)
        if flexible:
            wire.skip_tags(data, at)
    except StructError:
        raise wire.cut_off() from None
    return FetchResponse(error_code, session_id, got, throttle_time_ms)


def _read_got(version: int, data: memoryview, at: int, topic: Topic) -> tuple[Got, int]:
    flexible, log_start = version >= FLEXIBLE, -1
    if version >= WITH_LOG_START:
        partition, code, high_watermark, stable, log_start = _GIVEN_5.unpack_from(data, at)
        at += _GIVEN_5.size
    else:
        partition, code, high_watermark, stable = _GIVEN_4.unpack_from(data, at)
        at += _GIVEN_4.size
    aborted: list[tuple[int, int]] = []
    count, at = wire.read_count(data, at, flexible)
    for _ in range(count):
        aborted.append(_ABORTED.unpack_from(data, at))
        at += _ABORTED.size
        if flexible:
            at = wire.skip_tags(data, at)
    preferred = -1
    if version >= WITH_RACK:
        preferred, at = wire.read_int32(data, at)
    size, at = wire.read_size(data, at, flexible)
    records = data[at : at + max(size, 0)]
    at += len(records)
    if flexible:
        at = wire.skip_tags(data, at)
    got = Got(
        topic, partition, code, high_watermark, stable, log_start, aborted, records, preferred
    )
    return got, at
