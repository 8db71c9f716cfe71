"""Offsets that groups have committed within open transactions (TxnOffsetCommit).

They are pending: no one sees them until their transaction ends. A commit makes those visible that
were not *overtaken*: the time when an offset was staged counts, not the end of its transaction, so
an offset that was committed later, in a transaction or outside, stays. An abort makes none visible.
Until the end, overtaken or not, the partition is unstable, and its group is not deleted.

Each step has an increasing place: that of its record in the journal. So a replayed step that is
already known does not affect later ones. Pure.
"""

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, NamedTuple

from logstore.broker.packed import Packed, packed
from logstore.broker.transactions.operations import (
    Decision,
    Offset,
    Offsets,
    Place,
    encode_offset,
    read_offset,
    read_text,
)
from logstore.broker.transactions.state import Outcome
from logstore.broker.transactions.transactional_id import EXHAUSTED
from logstore.slices import parts

BYTES_MAX: Final = 32 << 20  # 80,000 that say nothing more: 8 for each transaction that can be open
LOOKED_AT_ONCE: Final = 100  # offsets searched for their groups
_OFFSET_BYTES: Final = 400  # beside its metadata
_KEY_BYTES: Final = 150  # of a key, in its transaction

_Partition = tuple[bytes, int]  # topic id, partition


class Committed(NamedTuple):
    """The offsets that a group has committed when the transaction is committed."""

    group: str
    offsets: tuple[Offset, ...]


class _Pending(NamedTuple):
    offset: Offset
    place: int
    overtaken: bool = False


class _OfTopic:
    """The pending offsets of one group and topic, by partition and producer."""

    __slots__ = ("bytes", "count", "last", "partitions")

    def __init__(self) -> None:
        self.partitions: dict[int, dict[int, _Pending]] = {}
        self.count = self.bytes = 0
        self.last = -1  # the highest place that any has, or had

    def put(self, pid: int, it: _Pending) -> _Pending | None:
        """Stage an offset; return the producer's earlier one, or None."""
        of_partition = self.partitions.setdefault(it.offset.partition, {})
        before = of_partition.get(pid)
        of_partition[pid] = it
        self.count += before is None
        self.bytes += _size(it.offset) - (0 if before is None else _size(before.offset))
        self.last = max(self.last, it.place)
        return before

    def take(self, pid: int, partition: int) -> _Pending:
        """Remove and return a staged offset."""
        of_partition = self.partitions[partition]
        it = of_partition.pop(pid)
        if not of_partition:
            del self.partitions[partition]
        self.count -= 1
        self.bytes -= _size(it.offset)
        return it

    def copy(self) -> "_OfTopic":
        new = _OfTopic()
        new.partitions = {number: those.copy() for number, those in self.partitions.items()}
        new.count, new.bytes, new.last = self.count, self.bytes, self.last
        return new


_Group = dict[bytes, _OfTopic]  # by topic id


class _Partitions(Collection[_Partition]):
    """The unstable partitions of one group at present."""

    def __init__(self, group: _Group) -> None:
        self._group = group

    def __contains__(self, partition: object) -> bool:
        assert isinstance(partition, tuple)
        topic = self._group.get(partition[0])
        return topic is not None and partition[1] in topic.partitions

    def __iter__(self) -> Iterator[_Partition]:
        return ((uuid, it) for uuid, topic in self._group.items() for it in topic.partitions)

    def __len__(self) -> int:
        return sum(len(it.partitions) for it in self._group.values())


@dataclass(slots=True)
class _Transaction:
    """The staged offsets of one producer."""

    epoch: int
    since_ms: int
    place: int  # of its last step
    # The staged offsets; some may have been dropped since, all of a topic at once.
    keys: set[tuple[str, _Partition]] = field(default_factory=set)


class Staged:
    """All pending offsets."""

    __slots__ = ("_dropped", "_groups", "_transactions", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self._dropped = 0  # keys of transactions of which nothing is pending any more
        self._groups: dict[str, _Group] = {}
        self._transactions: dict[int, _Transaction] = {}  # by producer id

    # What there is

    def has_room(self, size: int) -> bool:
        """Whether ``size`` more bytes may be staged."""
        return self.bytes + self._dropped * _KEY_BYTES + size <= BYTES_MAX

    def has(self, group: str) -> bool:
        """Whether the group has pending offsets."""
        return group in self._groups

    def partitions(self, group: str) -> Collection[_Partition]:
        """Return the group's partitions whose committed offset may be about to change (KIP-447).

        It is a view that holds for now.
        """
        return _Partitions(self._groups.get(group, {}))

    def overtakes(self, group: str, partitions: Collection[_Partition]) -> bool:
        """Whether offsets that the group commits outside of transactions must go to ``overtake``.

        Each partition is its topic's id and its number.
        """
        return group in self._groups and any(
            not it.overtaken
            for partition in partitions
            for it in self._of(group, partition).values()
        )

    def producers(self) -> list[tuple[int, int, int]]:
        """Return the producers with offsets in their transaction: id, epoch, and begin in ms."""
        return [(pid, it.epoch, it.since_ms) for pid, it in self._transactions.items()]

    def count(self, pid: int) -> int:
        """Return how many offsets the producer's transaction has staged, including dropped ones."""
        known = self._transactions.get(pid)
        return 0 if known is None else len(known.keys)

    def groups_of(self, pid: int) -> Generator[int, None, list[str]]:
        """Return the groups with offsets in the producer's transaction, sorted. In steps."""
        known, found = self._transactions.get(pid), set[str]()
        for some in parts([] if known is None else list(known.keys), LOOKED_AT_ONCE):
            found.update(group for group, place in some if pid in self._of(group, place))
            yield len(some)
        return sorted(found)

    def _of(self, group: str, partition: _Partition) -> dict[int, _Pending]:
        """Return the pending offsets of a partition, by producer id."""
        topic = self._groups.get(group, {}).get(partition[0])
        return {} if topic is None else topic.partitions.get(partition[1], {})

    # Steps

    def stage(self, pid: int, staged: Offsets, place: int) -> None:
        """Stage offsets of a producer's transaction; they replace its earlier ones."""
        known = self._transactions.get(pid)
        if known is not None and known.epoch != staged.epoch:  # whose end will never be journaled
            self._forget(pid, known.place + 1)
            known = None
        if known is None:
            known = _Transaction(staged.epoch, staged.at_ms, place)
            self._transactions[pid] = known
        known.place = max(known.place, place)
        for it in staged.offsets:
            self._put(known, pid, staged.group, _Pending(it, place))

    def _put(self, known: _Transaction, pid: int, group: str, it: _Pending) -> None:
        topics = self._groups.setdefault(group, {})
        topic = topics.get(it.offset.topic_id)
        if topic is None:
            topic = topics[it.offset.topic_id] = _OfTopic()
        before = topic.put(pid, it)
        key = group, (it.offset.topic_id, it.offset.partition)
        self.bytes += _size(it.offset)
        if before is not None:
            self.bytes -= _size(before.offset)
        elif key in known.keys:
            self._dropped -= 1
        known.keys.add(key)

    def overtake(self, group: str, partitions: Collection[_Partition], place: int) -> None:
        """Note that the group has committed these partitions outside of transactions."""
        for partition in partitions:
            self._overtake(self._of(group, partition), place)

    def _overtake(self, pending: dict[int, _Pending], place: int) -> None:
        for pid, it in pending.items():
            if it.place < place and not it.overtaken:
                pending[pid] = it._replace(overtaken=True)

    def end(self, decision: Decision, place: int) -> list[Committed]:
        """End a transaction; return the offsets that its groups have committed with it."""
        return self.end_some(decision, place)[0]

    def end_some(
        self, decision: Decision, place: int, most: int | None = None
    ) -> tuple[list[Committed], bool]:
        """End a transaction for ``most`` of its offsets; return the committed ones, and whether
        more remain.

        As long as there are more, nothing else may end, and its producer may stage nothing.
        """
        known = self._transactions.get(decision.pid)
        if known is None or known.epoch != decision.producer_epoch:
            return [], False
        ended = self._forget(decision.pid, place, most)
        more = decision.pid in self._transactions and known.place < place
        if decision.outcome is Outcome.ABORT:
            return [], more
        by_group: dict[str, list[Offset]] = {}
        for group, partition, it in ended:
            if it.overtaken:
                continue
            by_group.setdefault(group, []).append(it.offset)
            self._overtake(self._of(group, partition), it.place)
        found = [Committed(group, tuple(offsets)) for group, offsets in sorted(by_group.items())]
        return found, more

    def _forget(
        self, pid: int, place: int, most: int | None = None
    ) -> list[tuple[str, _Partition, _Pending]]:
        """Remove up to ``most`` offsets that the producer has staged before this place; return
        them.
        """
        known = self._transactions.get(pid)
        if known is None:
            return []
        found = []
        for group, partition in sorted(islice(known.keys, most)):
            it = self._of(group, partition).get(pid)
            if it is None:
                known.keys.discard((group, partition))
                self._dropped -= 1
            elif it.place < place:
                found.append((group, partition, it))
                self._remove(group, partition, pid)
        if known.place < place and not known.keys:
            del self._transactions[pid]
        return found

    def drop(self, group: str, places: Collection[Place], place: int) -> None:
        """Drop pending offsets: their transactions will not commit them.

        Their topic or they themselves were deleted. ``group`` "": of all groups; no ``places``:
        all, since the group is deleted.
        """
        topics = {it.topic_id for it in places if it.partition is None}
        partitions = [(it.topic_id, it.partition) for it in places if it.partition is not None]
        for name in [group] if group else list(self._groups):
            for topic_id in topics if places else list(self._groups.get(name, ())):
                self._drop_topic(name, topic_id, place)
            for partition in partitions:
                self._drop_partition(name, partition, place)

    def _drop_topic(self, group: str, topic_id: bytes, place: int) -> None:
        topics = self._groups.get(group, {})
        topic = topics.get(topic_id)
        if topic is None:
            return
        if topic.last < place:  # as it is, but where what is known is replayed
            self.bytes -= topic.bytes
            self._dropped += topic.count
            del topics[topic_id]
            if not topics:
                del self._groups[group]
            return
        for number in list(topic.partitions):
            self._drop_partition(group, (topic_id, number), place)

    def _drop_partition(self, group: str, partition: _Partition, place: int) -> None:
        for pid, it in list(self._of(group, partition).items()):
            if it.place < place:
                self._remove(group, partition, pid)

    def drops(self, group: str, places: Collection[Place]) -> bool:
        """Whether ``drop`` would have an effect, and must be journaled."""
        for name in [group] if group else self._groups:
            topics = self._groups.get(name, {})
            if topics and not places:
                return True
            for topic_id, partition in places:
                topic = topics.get(topic_id)
                if topic is not None and (partition is None or partition in topic.partitions):
                    return True
        return False

    def _remove(self, group: str, partition: _Partition, pid: int) -> None:
        topics = self._groups[group]
        topic = topics[partition[0]]
        self.bytes -= _size(topic.take(pid, partition[1]).offset)
        self._transactions[pid].keys.discard((group, partition))
        if not topic.count:
            del topics[partition[0]]
            if not topics:
                del self._groups[group]

    def copy(self) -> "Staged":
        """Return an independent copy."""
        new = Staged()
        new.bytes, new._dropped = self.bytes, self._dropped
        new._groups = {
            group: {topic_id: topic.copy() for topic_id, topic in topics.items()}
            for group, topics in self._groups.items()
        }
        new._transactions = {
            pid: replace(it, keys=it.keys.copy()) for pid, it in self._transactions.items()
        }
        return new

    # As bytes

    def encode(self) -> bytes:
        """Producers, ascending, each with what it has staged::

        count | (pid | epoch | time (ms) | place | count
                | ((group) | place | overtaken | offset)*)*
        """
        parts = [packed(len(self._transactions))]
        for pid, it in sorted(self._transactions.items()):
            parts += (packed(pid), packed(it.epoch), packed(it.since_ms), packed(it.place))
            found = [
                (group.encode(), pending)
                for group, partition in sorted(it.keys)
                if (pending := self._of(group, partition).get(pid)) is not None
            ]
            parts.append(packed(len(found)))
            for name, pending in found:
                parts += (packed(len(name)), name, packed(pending.place))
                parts += (bytes((pending.overtaken,)), *encode_offset(pending.offset))
        return b"".join(parts)

    @classmethod
    def read(cls, data: Packed) -> "Staged":
        """Decode what ``encode`` returned. Raises CorruptStore."""
        new, last = cls(), -1
        for _ in range(data.number()):
            pid, epoch, since_ms, place = (
                data.number(), data.number(), data.number(), data.number(),
            )  # fmt: skip
            if pid <= last or epoch > EXHAUSTED:
                raise data.damaged(f"has the producer {pid} with epoch {epoch} out of order")
            last = pid
            it = new._transactions[pid] = _Transaction(epoch, since_ms, place)
            for group, pending in _entries(data, place):
                partition = pending.offset.topic_id, pending.offset.partition
                if (group, partition) in it.keys:
                    raise data.damaged(f"has partition {partition[1]} of a topic twice")
                new._put(it, pid, group, pending)
        return new


def _entries(data: Packed, upto: int) -> Iterator[tuple[str, _Pending]]:
    for _ in range(data.number()):
        group, place, overtaken = read_text(data), data.number(), data.byte()
        if not group or place > upto or overtaken > 1:
            raise data.damaged("has an offset of no group, or out of place")
        yield group, _Pending(read_offset(data), place, bool(overtaken))


def size_of(offsets: Sequence[Offset]) -> int:
    """Return the memory that the offsets take, in bytes."""
    return sum(map(_size, offsets))


def _size(offset: Offset) -> int:
    return _OFFSET_BYTES + len(offset.metadata)
