"""The keys and values of the journal's records about transactions.

The key is a letter and the subject of the record; the value is the state from then on::

    T name    pid i64 | epoch i16 | last epoch i16 | previous pid i64 | timeout i32 (ms) |
              version u8 | time i64 (ms)                   a producer; nothing: the id is expired
    P pid     epoch | time (ms) | (group) | offsets        committed in the open transaction
    O group   offsets                                      committed outside, while some are pending
    F group   (topic id, 16 bytes | partition + 1, 0: all of them)*
                                                           what is pending is dropped; nothing: all;
                                                           and, where it is replayed, what was
                                                           committed before and is not known as done
    D pid     epoch i16 | outcome u8 | version u8 | next pid i64 | next epoch i16 | time i64 (ms) |
              (topic id, 16 bytes | partition | first offset)*
                                                           decided; where its data begins

    offsets   (topic id, 16 bytes | partition | offset | leader epoch + 1 | (metadata))*

Without a group, F is about all groups. Numbers without a type are as in ``broker/packed.py``, names
in brackets have their length before them, the rest is big-endian. The epoch of a decision is that
of its markers: with version 2 (``transaction.version``) it is one above the producer's. Offsets and
parts stand as they were given, each partition once. Pure.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from logstore.broker.packed import Packed, packed
from logstore.broker.transactions.state import Outcome
from logstore.broker.transactions.transactional_id import (
    EPOCH_MAX,
    EXHAUSTED,
    NO_EPOCH,
    NO_PID,
    NO_VERSION,
    TV1,
    TV2,
    TransactionalId,
)
from logstore.errors import SchemaTooNew

KNOWN: Final = b"T"
STAGED: Final = b"P"
OVERTAKEN: Final = b"O"
DROPPED: Final = b"F"
DECIDED: Final = b"D"
LETTERS: Final = frozenset({KNOWN, STAGED, OVERTAKEN, DROPPED, DECIDED})

TOPIC_ID_BYTES: Final = 16
PARTITION_MAX: Final = 2**31 - 1
LEADER_EPOCH_MAX: Final = 2**31 - 1
NO_LEADER_EPOCH: Final = -1

_OUTCOMES: Final = tuple(Outcome)
_PRODUCER: Final = Struct(">qhhqiBq")
_DECISION: Final = Struct(">hBBqhq")


class Offset(NamedTuple):
    """One partition's offset, as committed by a group."""

    topic_id: bytes  # 16 bytes
    partition: int
    offset: int
    leader_epoch: int = NO_LEADER_EPOCH
    metadata: str = ""


class Offsets(NamedTuple):
    """Offsets committed in a producer's open transaction: pending until the transaction ends."""

    epoch: int
    at_ms: int
    group: str
    offsets: tuple[Offset, ...]


class Part(NamedTuple):
    """A partition that a transaction has written to: its data begins at the offset ``first``."""

    topic_id: bytes
    partition: int
    first: int


class Place(NamedTuple):
    """The subject of dropped offsets; ``partition`` None: the whole topic."""

    topic_id: bytes
    partition: int | None = None


class Decision(NamedTuple):
    """The final outcome of a transaction."""

    pid: int
    epoch: int  # of its markers
    outcome: Outcome
    version: int  # TV2: the end has raised the epoch
    next_pid: int  # the producer that its id has from then on
    next_epoch: int
    at_ms: int
    parts: tuple[Part, ...] = ()

    @property
    def producer_epoch(self) -> int:
        """The epoch of records and staged offsets of the transaction."""
        return self.epoch - 1 if self.version == TV2 else self.epoch


def decision_of(it: TransactionalId, parts: Sequence[Part] = ()) -> Decision:
    """Return the decision of an id that is about to commit or abort."""
    rotates = it.next_pid != NO_PID
    return Decision(
        it.pid,
        it.epoch,
        it.outcome,
        it.version,
        it.next_pid if rotates else it.pid,
        0 if rotates else it.epoch,
        it.since_ms,
        tuple(parts),
    )


def abandoned(pid: int, epoch: int, at_ms: int, parts: Sequence[Part]) -> Decision:
    """Return the abort of a transaction that is open in some logs, and no longer known.

    Its producer was fenced, or its id has expired; neither is changed by this.
    """
    return Decision(pid, epoch, Outcome.ABORT, TV1, pid, epoch, at_ms, tuple(parts))


# Keys


def known_key(name: str) -> bytes:
    """Return the key of the records of a transactional id."""
    return KNOWN + name.encode()


def staged_key(pid: int) -> bytes:
    """Return the key of the staged offsets of a producer."""
    return STAGED + packed(pid)


def overtaken_key(group: str) -> bytes:
    """Return the key of offsets that a group has committed outside of transactions."""
    return OVERTAKEN + group.encode()


def dropped_key(group: str = "") -> bytes:
    """Return the key of offsets that a group will not get; an empty group: all groups."""
    return DROPPED + group.encode()


def decided_key(pid: int) -> bytes:
    """Return the key of the decisions of a producer's transactions."""
    return DECIDED + packed(pid)


def name_of(key: bytes) -> str:
    """Return the transactional id, or group, of a key. Raises CorruptStore."""
    data = Packed(key[1:], _key(key))
    name = _text(data, data.rest())
    if not name and key[:1] != DROPPED:
        raise data.damaged("has no name")
    return name


def pid_of(key: bytes) -> int:
    """Return the producer id of a key. Raises CorruptStore."""
    data = Packed(key[1:], _key(key))
    pid = data.number()
    _end(data)
    return pid


def _key(key: bytes) -> str:
    return f"the key {key[:16]!r} of the journal"


# Values: ``what`` they are is said where they are damaged


def encode_known(it: TransactionalId) -> bytes:
    """Encode an id with its producer."""
    return _PRODUCER.pack(
        it.pid,
        it.epoch,
        it.last_epoch,
        it.previous_pid,
        it.timeout_ms,
        it.version,
        it.since_ms,
    )


def decode_known(value: bytes, name: str, what: str) -> TransactionalId | None:
    """Decode what ``encode_known`` returned; None: the id has expired. Raises CorruptStore."""
    if not value:
        return None
    data = Packed(value, what)
    it = read_known(data, name)
    _end(data)
    return it


def read_known(data: Packed, name: str) -> TransactionalId:
    """Decode an id from bytes that are followed by others."""
    pid, epoch, last_epoch, previous_pid, timeout_ms, version, at_ms = _PRODUCER.unpack(
        data.bytes(_PRODUCER.size)
    )
    if not (
        pid >= 0
        and 0 <= epoch <= EXHAUSTED
        and NO_EPOCH <= last_epoch <= EXHAUSTED
        and previous_pid >= NO_PID
        and timeout_ms > 0
        and version in (NO_VERSION, TV1, TV2)
    ):
        raise data.damaged(f"has no producer: {pid} with epoch {epoch}, version {version}")
    return TransactionalId(
        name, pid, epoch, timeout_ms, at_ms, last_epoch, previous_pid, version=version
    )


def encode_staged(staged: Offsets) -> bytes:
    """Encode pending offsets."""
    group = staged.group.encode()
    head = (packed(staged.epoch), packed(staged.at_ms), packed(len(group)), group)
    return b"".join(head) + encode_offsets(staged.offsets)


def decode_staged(value: bytes, what: str) -> Offsets:
    """Decode what ``encode_staged`` returned. Raises CorruptStore."""
    data = Packed(value, what)
    epoch, at_ms = data.number(), data.number()
    if epoch > EXHAUSTED:
        raise data.damaged(f"has the epoch {epoch}")
    group = read_text(data)
    if not group:
        raise data.damaged("has no group")
    return Offsets(epoch, at_ms, group, _offsets(data))


def encode_offsets(offsets: Sequence[Offset]) -> bytes:
    """Encode offsets, as in O, and in P behind the group."""
    parts: list[bytes] = []
    for it in offsets:
        parts += encode_offset(it)
    return b"".join(parts)


def encode_offset(it: Offset) -> tuple[bytes, ...]:
    """Encode an offset, in parts."""
    assert len(it.topic_id) == TOPIC_ID_BYTES
    metadata = it.metadata.encode()
    return (
        it.topic_id,
        packed(it.partition),
        packed(it.offset),
        packed(it.leader_epoch + 1),
        packed(len(metadata)),
        metadata,
    )


def decode_offsets(value: bytes, what: str) -> tuple[Offset, ...]:
    """Decode what ``encode_offsets`` returned. Raises CorruptStore."""
    return _offsets(Packed(value, what))


def _offsets(data: Packed) -> tuple[Offset, ...]:
    found: dict[tuple[bytes, int], Offset] = {}
    while data:
        it = read_offset(data)
        if (it.topic_id, it.partition) in found:
            raise data.damaged(f"has partition {it.partition} of a topic twice")
        found[it.topic_id, it.partition] = it
    if not found:
        raise data.damaged("has no offset")
    return tuple(found.values())


def read_offset(data: Packed) -> Offset:
    """Decode an offset from bytes that are followed by others."""
    topic_id, partition = data.bytes(TOPIC_ID_BYTES), _partition(data)
    offset, leader_epoch = data.number(), data.number() - 1
    if leader_epoch > LEADER_EPOCH_MAX:
        raise data.damaged(f"has the leader epoch {leader_epoch}")
    return Offset(topic_id, partition, offset, leader_epoch, read_text(data))


def encode_dropped(places: Sequence[Place]) -> bytes:
    """Encode partitions or topics whose pending offsets are dropped; empty: all."""
    parts: list[bytes] = []
    for topic_id, partition in places:
        assert len(topic_id) == TOPIC_ID_BYTES
        parts += (topic_id, packed(0 if partition is None else partition + 1))
    return b"".join(parts)


def decode_dropped(value: bytes, what: str) -> tuple[Place, ...]:
    """Decode what ``encode_dropped`` returned. Raises CorruptStore."""
    data = Packed(value, what)
    found: list[Place] = []
    while data:
        topic_id, partition = data.bytes(TOPIC_ID_BYTES), data.number() - 1
        if partition > PARTITION_MAX:
            raise data.damaged(f"has the partition {partition}")
        found.append(Place(topic_id, None if partition < 0 else partition))
    return tuple(found)


def encode_decision(it: Decision, more: Sequence[bytes] = ()) -> bytes:
    """Encode the end of a transaction. ``more``: further parts, from ``encode_parts``."""
    head = _DECISION.pack(
        it.epoch, it.outcome, it.version, it.next_pid, it.next_epoch, it.at_ms
    )  # fmt: skip
    return b"".join((head, encode_parts(it.parts), *more))


def encode_parts(parts: Sequence[Part]) -> bytes:
    """Encode partitions to which a transaction has written."""
    found: list[bytes] = []
    for topic_id, partition, first in parts:
        assert len(topic_id) == TOPIC_ID_BYTES
        found += (topic_id, packed(partition), packed(first))
    return b"".join(found)


def decode_decision(value: bytes, pid: int, what: str) -> Decision:
    """Decode what ``encode_decision`` returned. Raises CorruptStore, SchemaTooNew."""
    data = Packed(value, what)
    epoch, outcome, version, next_pid, next_epoch, at_ms = _DECISION.unpack(
        data.bytes(_DECISION.size)
    )
    if not 0 <= epoch <= EPOCH_MAX or outcome not in _OUTCOMES or version not in (TV1, TV2):
        raise data.damaged(
            f"is not a decision: epoch {epoch}, outcome {outcome}, version {version}"
        )
    if (next_pid, next_epoch) != (pid, epoch) and not (
        version == TV2 and epoch == EPOCH_MAX and next_pid >= 0 and next_epoch == 0
    ):
        raise data.damaged(f"has the producer {next_pid} with epoch {next_epoch} after it")
    parts: list[Part] = []
    while data:
        parts.append(Part(data.bytes(TOPIC_ID_BYTES), _partition(data), data.number()))
    return Decision(
        pid, epoch, Outcome(outcome), version, next_pid, next_epoch, at_ms, tuple(parts)
    )


def _partition(data: Packed) -> int:
    partition = data.number()
    if partition > PARTITION_MAX:
        raise data.damaged(f"has the partition {partition}")
    return partition


def read_text(data: Packed) -> str:
    """Decode text with its length before it. Raises CorruptStore."""
    return _text(data, data.bytes(data.number()))


def _text(data: Packed, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise data.damaged(f"has {raw[:16]!r}, which is not text") from None


def _end(data: Packed) -> None:
    if data:
        raise data.damaged("is too long")


def unknown(key: bytes) -> SchemaTooNew:
    """Return the error for a key with an unknown letter."""
    return SchemaTooNew(
        f"the journal has a record with the key {key[:16]!r}, which this logstore does not know: "
        f"open the store with the one that wrote it"
    )
