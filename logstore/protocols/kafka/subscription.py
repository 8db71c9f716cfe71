"""The messages that consumers of the classic protocol exchange: Kafka's ConsumerProtocol.

The broker forwards these messages without decoding them, except to find out which topics a group
reads, and to convert a group to the new protocol.
"""

from collections.abc import Iterable
from typing import Any, Final

from logstore.broker.coordinator.translation import Assignment, Speech, Subscription
from logstore.errors import BrokenProtocol
from logstore.kafka import wire
from logstore.log import TopicPartition

NEWEST: Final = 3  # of both; a newer one is read as far as this one goes, as Kafka does
OWNED_SINCE: Final = 1
GENERATION_SINCE: Final = 2
RACK_SINCE: Final = 3

_read_string, _write_string = wire.string(compact=False, nullable=False)
_read_rack, _ = wire.string(compact=False, nullable=True)
_read_topics, _ = wire.array(_read_string, _write_string, False, False)
_read_data, _write_data = wire.blob(compact=False, nullable=True)
_read_numbers, _write_numbers = wire.array(wire.read_int32, wire.write_int32, False, False)


def _read_partitions(data: wire.Buffer, at: int) -> tuple[tuple[str, list[int]], int]:
    name, at = _read_string(data, at)
    numbers, at = _read_numbers(data, at)
    return (name, numbers), at


def _write_partitions(out: bytearray, value: tuple[str, list[int]]) -> None:
    _write_string(out, value[0])
    _write_numbers(out, value[1])


_read_places, _write_places = wire.array(_read_partitions, _write_partitions, False, False)


def subscription_of(metadata: bytes) -> Subscription | None:
    """Decode a ConsumerProtocolSubscription; None if the member uses a protocol of its own."""
    owned: frozenset[TopicPartition] = frozenset()
    rack_id = None
    try:
        version, at = wire.read_int16(metadata, 0)
        topics, at = _read_topics(metadata, at)
        _, at = _read_data(metadata, at)
        if version >= OWNED_SINCE:
            named, at = _read_places(metadata, at)
            owned = _flat(named)
        if version >= GENERATION_SINCE:
            _, at = wire.read_int32(metadata, at)
        if version >= RACK_SINCE:
            rack_id, at = _read_rack(metadata, at)
    except BrokenProtocol:
        return None
    return Subscription(version, frozenset(topics), owned, rack_id) if version >= 0 else None


def assignment_of(assignment: bytes) -> Assignment | None:
    """Decode a ConsumerProtocolAssignment; None if the bytes are something else."""
    try:
        version, at = wire.read_int16(assignment, 0)
        named, at = _read_places(assignment, at)
        data, _ = _read_data(assignment, at)
    except BrokenProtocol:
        return None
    return Assignment(_flat(named), bool(data)) if version >= 0 else None


def assigned(version: int, places: Iterable[TopicPartition]) -> bytes:
    """Encode a ConsumerProtocolAssignment in the version of its reader."""
    by_topic: dict[str, list[int]] = {}
    for name, number in places:
        by_topic.setdefault(name, []).append(number)
    out = bytearray()
    wire.write_int16(out, min(version, NEWEST))
    _write_places(out, list(by_topic.items()))
    _write_data(out, None)
    return bytes(out)


def _flat(named: Iterable[tuple[str, list[Any]]]) -> frozenset[TopicPartition]:
    return frozenset((name, number) for name, numbers in named for number in numbers)


SPEECH: Final = Speech(subscription_of, assignment_of, assigned)
