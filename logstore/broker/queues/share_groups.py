"""The journal's state of share groups after one of its records, built from its records alone.

A record concerns one partition of a topic as one group reads it. Its key is a letter, the group's
name after its length, the topic's id and the partition. Its value is a sequence of operations as
for a queue (``settled.py``), of lane 0: settled offsets, numbers of failures, or ``X`` to delete
the state. A key without a partition, or also without a topic, means the whole topic, or the whole
group, and its value is ``X``. If a partition is known at all, its group has begun with it; offsets
below its beginning count as settled.

A replay may begin too early. A partition may have been reset, also to an earlier offset, and
earlier records would then be wrong. So records that are already known are skipped.

As bytes: a format (a byte), the place after the last record that is known, and then, ascending::

    (group) | topics | (topic id | partitions | (partition | size | state)*)*

A state is as in ``state.py``; numbers are as in ``broker/packed.py``. Pure, and not locked.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from logstore.broker.packed import Packed, packed
from logstore.broker.queues.settled import GONE, Settled, apply
from logstore.broker.queues.state import LaneState, QueueState
from logstore.errors import CorruptStore, SchemaTooNew

FORMAT: Final = 1
SHARE: Final = b"G"
LANE: Final = 0  # a partition is one log
TOPIC_ID_BYTES: Final = 16
PARTITION_MAX: Final = 2**31 - 1
_WHAT: Final = "what is kept of share groups beside the journal"


class Place(NamedTuple):
    """A partition as a group reads it; or a whole topic, or the whole group."""

    group: str
    topic_id: bytes | None = None  # 16 bytes
    partition: int | None = None


def share_key(place: Place) -> bytes:
    """Return the key of the records about this place."""
    name = place.group.encode()
    key = SHARE + packed(len(name)) + name
    if place.topic_id is not None:
        assert len(place.topic_id) == TOPIC_ID_BYTES
        key += place.topic_id
        if place.partition is not None:
            key += packed(place.partition)
    return key


def place_of(key: bytes) -> Place:
    """Return the place in a key made by ``share_key``. Raises CorruptStore."""
    data = Packed(key[1:], f"the key {key[:16]!r} of the journal")
    group = _group(data)
    if not data:
        return Place(group)
    topic_id = data.bytes(TOPIC_ID_BYTES)
    if not data:
        return Place(group, topic_id)
    place = Place(group, topic_id, _partition(data))
    if data:
        raise data.damaged("is too long")
    return place


def _group(data: Packed) -> str:
    raw = data.bytes(data.number())
    try:
        group = raw.decode()
    except UnicodeDecodeError:
        raise data.damaged(f"has {raw[:16]!r}, which is not text") from None
    if not group:
        raise data.damaged("has no group")
    return group


def _partition(data: Packed) -> int:
    number = data.number()
    if number > PARTITION_MAX:
        raise data.damaged(f"has the partition {number}")
    return number


def begun(start: int) -> bytes:
    """Return the value of the record by which a group begins a partition at this offset."""
    settled = Settled()
    settled.given_out(LANE, 0)
    settled.settle_run(LANE, 0, start)
    return settled.encode()


def begun_state(start: int) -> bytes:
    """Return the state that the record of ``begun`` produces."""
    state = QueueState()
    apply(begun(start), state)
    return state.encode()


def clipped(end: int) -> bytes:
    """Return the value of the record that the log ends here, below settled offsets."""
    settled = Settled()
    settled.clip(LANE, end)
    return settled.encode()


def gone() -> bytes:
    """Return the value of the record that removes all state."""
    return GONE


def decode_state(kept: bytes, place: Place) -> LaneState:
    """Decode a partition's state from ``JournaledShares.partitions``.

    Raises CorruptStore, SchemaTooNew.
    """
    return _decoded(kept, place).lane(LANE)


class JournaledShares:
    """The state of one journal."""

    def __init__(self) -> None:
        self._next = 0  # the place after the last record that is known
        self._kept: dict[str, dict[bytes, dict[int, bytes]]] = {}
        self._open: dict[Place, QueueState] = {}  # those of _kept that are told of at present

    def __bool__(self) -> bool:
        """Whether any record was applied."""
        return self._next > 0

    def apply(self, key: bytes, value: bytes, at: int) -> None:
        """Apply the record at this place of the journal.

        Raises CorruptStore, SchemaTooNew; the state must not be used after that.
        """
        place = place_of(key)
        if at < self._next:
            return
        self._next = at + 1
        if value == GONE:
            self._drop(place)
            return
        if place.topic_id is None or place.partition is None:
            raise CorruptStore(
                f"the journal settles something of all of {_named(place)}: restore the store from "
                f"a backup"
            )
        state = self._open.get(place)
        if state is None:
            kept = self._kept.get(place.group, {}).get(place.topic_id, {}).get(place.partition)
            state = QueueState() if kept is None else _decoded(kept, place)
            self._open[place] = state
        if not value or not apply(value, state, _named(place)) or state.lanes.keys() != {LANE}:
            raise CorruptStore(
                f"a record of the journal says nothing that can be of {_named(place)}: restore the "
                f"store from a backup"
            )

    def _drop(self, place: Place) -> None:
        group, topic_id, partition = place
        if partition is not None:
            self._open.pop(place, None)
        else:
            for it in [it for it in self._open if _within(it, place)]:
                del self._open[it]
        if topic_id is None:
            self._kept.pop(group, None)
            return
        topics = self._kept.get(group, {})
        if partition is None:
            topics.pop(topic_id, None)
        else:
            partitions = topics.get(topic_id, {})
            partitions.pop(partition, None)
            if not partitions:
                topics.pop(topic_id, None)
        if not topics:
            self._kept.pop(group, None)

    def _close(self) -> None:
        for place, state in self._open.items():
            assert place.topic_id is not None
            assert place.partition is not None
            topics = self._kept.setdefault(place.group, {})
            topics.setdefault(place.topic_id, {})[place.partition] = state.encode()
        self._open.clear()

    def partitions(self) -> Iterator[tuple[Place, bytes]]:
        """Yield all known places with their encoded states."""
        self._close()
        for group, topics in sorted(self._kept.items()):
            for topic_id, partitions in sorted(topics.items()):
                for number, kept in sorted(partitions.items()):
                    yield Place(group, topic_id, number), kept

    # As bytes

    def encode(self) -> bytes:
        """As bytes."""
        self._close()
        parts = [bytes((FORMAT,)), packed(self._next)]
        for group, topics in sorted(self._kept.items()):
            name = group.encode()
            parts += (packed(len(name)), name, packed(len(topics)))
            for topic_id, partitions in sorted(topics.items()):
                parts += (topic_id, packed(len(partitions)))
                for number, kept in sorted(partitions.items()):
                    parts += (packed(number), packed(len(kept)), kept)
        return b"".join(parts)

    @classmethod
    def decode(cls, kept: bytes) -> "JournaledShares":
        """Decode what ``encode`` returned. Raises CorruptStore, SchemaTooNew."""
        data = Packed(kept, _WHAT)
        found = data.byte()
        if found != FORMAT:
            raise SchemaTooNew(
                f"{_WHAT} has format {found}, known is {FORMAT}: open the store with the logstore "
                f"that wrote it"
            )
        new, last = cls(), ""
        new._next = data.number()
        while data:
            group = _group(data)
            if group <= last:
                raise data.damaged(f"has the group {group[:60]!r} out of order")
            new._kept[group] = _topics(data)
            last = group
        return new


def _topics(data: Packed) -> dict[bytes, dict[int, bytes]]:
    topics: dict[bytes, dict[int, bytes]] = {}
    last_id = b""
    for _ in range(_some(data)):
        topic_id = data.bytes(TOPIC_ID_BYTES)
        if topic_id <= last_id:
            raise data.damaged(f"has the topic {topic_id.hex()} out of order")
        last_id, last, partitions = topic_id, -1, topics.setdefault(topic_id, {})
        for _ in range(_some(data)):
            number = _partition(data)
            if number <= last:
                raise data.damaged(f"has the partition {number} out of order")
            last, partitions[number] = number, data.bytes(data.number())
    return topics


def _some(data: Packed) -> int:
    count = data.number()
    if not count:
        raise data.damaged("has a name of nothing")
    return count


def _decoded(kept: bytes, place: Place) -> QueueState:
    state = QueueState.decode(kept, _named(place))
    if state.lanes.keys() != {LANE}:
        raise CorruptStore(f"{_named(place)} has no lane 0: restore the store from a backup")
    return state


def _within(it: Place, whole: Place) -> bool:
    return it.group == whole.group and whole.topic_id in (None, it.topic_id)


def _named(place: Place) -> str:
    name = f"share group {place.group[:60]!r}"
    if place.topic_id is not None:
        name += f", topic {place.topic_id.hex()}"
    if place.partition is not None:
        name += f", partition {place.partition}"
    return f"{name} in the journal"
