"""Committed offsets of consumer groups, in LMDB beside the catalogue.

    offsets   group NUL topic NUL partition (4 bytes)   tag, leader epoch, offset, commit time (ms),
                                                        topic id (16 bytes), metadata (UTF-8)

An offset that a transaction has committed has another tag, and between topic id and metadata the
place of the journal's record that committed it. So a start that reads the record again does not
undo later commits. When such offsets are deleted, the highest place of their records is stored in
``meta``, so that a start does not restore deleted ones. The catalogue follows the order of the
journal, so offsets committed by earlier records are here, or were deleted, too.

Any process may commit, because LMDB serialises writers; who may commit for a group is decided above
(``groups.py``). An offset is valid for the topic whose id it contains: a new topic of the same name
begins without offsets. Schema 1 wrote only offset, commit time and metadata; such rows are still
read, and belong to the topic of that name, because a deleted topic's rows were deleted with it.
"""

import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from struct import Struct
from typing import Final, TypeVar

from logstore.errors import CorruptStore, InvalidName
from logstore.kept.groups import KeptOffset, Offsets, ToCommit
from logstore.log import TopicPartition
from logstore.names import PARTITION_BYTES, QUEUE_PREFIX, check_topic
from logstore.storage.environment import Change, Environment, Transaction
from logstore.storage.names import CATALOG

_T = TypeVar("_T")

OFFSETS: Final = b"offsets"
TOPICS: Final = b"topics"
QUEUES: Final = b"queues"
META: Final = b"meta"
_DELETED: Final = b"offsets_deleted"
_NUMBER_AT: Final = 8  # of a queue, in the id of its topic (``queue_topics.py``)
PARTITION_MAX: Final = 2**31 - 1
_PARTITION = Struct(">I")

assert _PARTITION.size == PARTITION_BYTES

_OLD_VALUE = Struct(">qq")
_VALUE = Struct(">Biqq16s")
_RECORD = Struct(">q")
_TAG_WITH_RECORD: Final = 0x83
_TAG: Final = 0x82  # the first byte of an offset, as schema 1 wrote it, is below 0x80

TopicId = Callable[[bytes], str | None]  # of a topic's value in the catalogue; None: damaged


class CommittedOffsets:
    """The offsets of every group."""

    def __init__(self, environment: Environment, topic_id: TopicId) -> None:
        self._environment = environment
        self._topic_id = topic_id

    def fetch(
        self, group: str, places: Iterable[TopicPartition] | None = None
    ) -> dict[TopicPartition, KeptOffset]:
        """The group's committed offsets in existing topics: all, or those of these places."""
        prefix = _prefix(group)
        rows = (
            self._environment.items(OFFSETS, prefix)
            if places is None
            else list(self._rows(group, places))
        )
        ids = self._ids(
            {_place(key[len(prefix) :])[0] for key, _ in rows},
            lambda topic: self._environment.get(TOPICS, topic),
        )
        get = self._environment.get
        return _counting(prefix, rows, ids, lambda number: get(QUEUES, number) is not None)

    def _rows(self, group: str, places: Iterable[TopicPartition]) -> Iterator[tuple[bytes, bytes]]:
        for topic, number in places:
            if 0 <= number <= PARTITION_MAX and _may_be_a_topic(topic):
                key = _key(group, (topic, number))
                value = self._environment.get(OFFSETS, key)
                if value is not None:
                    yield key, value

    def fetch_within(self, transaction: Transaction, group: str) -> Offsets:
        """The same as the transaction sees it."""
        prefix = _prefix(group)
        rows = transaction.items(OFFSETS, prefix)
        ids = self._ids(
            {_place(key[len(prefix) :])[0] for key, _ in rows},
            lambda topic: transaction.get(TOPICS, topic),
        )
        get = transaction.get
        return _counting(prefix, rows, ids, lambda number: get(QUEUES, number) is not None)

    def commit_within(
        self,
        transaction: Transaction,
        group: str,
        offsets: ToCommit,
        now_ms: int,
    ) -> set[TopicPartition]:
        """Write offsets; those of deleted or replaced topics are omitted and returned.

        Deleted offsets are also omitted and returned.
        """
        ids = self._ids(
            {topic for topic, _ in offsets}, lambda topic: transaction.get(TOPICS, topic)
        )
        refused = set()
        deleted = _deleted(transaction)
        for place, it in offsets.items():
            assert it.offset >= 0
            assert 0 <= place[1] <= PARTITION_MAX
            topic_id = ids.get(place[0])
            if place[0] not in ids and place[0].startswith(QUEUE_PREFIX):
                topic_id = it.topic_id  # whoever commits has looked for the queue
            if topic_id is None or it.topic_id not in (None, topic_id):
                refused.add(place)
                continue
            key = _key(group, place)
            known = transaction.get(OFFSETS, key)
            record = _record_of(known, uuid.UUID(topic_id).bytes)
            if 0 <= it.record <= record:
                continue
            if known is None and it.record <= deleted and deleted >= 0:
                if it.replayed:
                    refused.add(place)
                    continue
                record = deleted if it.record < 0 else -1  # it is newer than what was deleted
            record = max(it.record, record)
            tag = _TAG if record < 0 else _TAG_WITH_RECORD
            value = _VALUE.pack(tag, it.leader_epoch, it.offset, now_ms, uuid.UUID(topic_id).bytes)
            if record >= 0:
                value += _RECORD.pack(record)
            transaction.change(OFFSETS, key, value + it.metadata.encode())
        return refused

    def delete_within(
        self, transaction: Transaction, group: str, places: Iterable[TopicPartition] | None = None
    ) -> None:
        """Delete these offsets, or all of the group's."""
        rows: list[tuple[bytes, bytes | None]] = (
            list(transaction.items(OFFSETS, _prefix(group)))
            if places is None
            else [
                (key, transaction.get(OFFSETS, key)) for key in (_key(group, it) for it in places)
            ]
        )
        record = -1
        for key, value in rows:
            record = max(record, _record_of(value))
            transaction.change(OFFSETS, key, None)
        if record > _deleted(transaction):
            transaction.change(META, _DELETED, _RECORD.pack(record))

    def without_topic(self, topic: str) -> list[Change]:
        """The changes that delete all groups' offsets in a topic."""
        infix = b"\0%b\0" % topic.encode()
        return [
            (OFFSETS, key, None)
            for key, _ in self._environment.items(OFFSETS)
            if key[: -_PARTITION.size].endswith(infix)
        ]

    def _ids(
        self, topics: Iterable[str], value_of: Callable[[bytes], bytes | None]
    ) -> dict[str, str | None]:
        """The ids of existing topics; None for an unreadable one."""
        values = ((topic, value_of(topic.encode())) for topic in topics)
        return {topic: self._topic_id(value) for topic, value in values if value is not None}


def _counting(
    prefix: bytes,
    rows: Iterable[tuple[bytes, bytes]],
    ids: Mapping[str, str | None],
    is_queue: Callable[[bytes], bool],
) -> dict[TopicPartition, KeptOffset]:
    """The valid offsets in these topics; for a topic with an unreadable id, all rows with its name.

    ``is_queue``: whether a queue with this number exists; the id of a queue's topic ends with the
    number.
    """
    found = {}
    for key, value in rows:
        place, committed = _place(key[len(prefix) :]), parse_committed(value)
        if place[0] not in ids and place[0].startswith(QUEUE_PREFIX):
            if committed.topic_id is not None:
                number = uuid.UUID(committed.topic_id).bytes[_NUMBER_AT:]
                if is_queue(number):
                    found[place] = committed
            continue
        if place[0] in ids and (
            committed.topic_id is None or ids[place[0]] in (None, committed.topic_id)
        ):
            found[place] = committed
    return found


def _may_be_a_topic(name: str) -> bool:
    """Whether the text can be a topic's name: some requests contain overlong ones."""
    try:
        check_topic(name)
    except InvalidName:
        return False
    return True


def _prefix(group: str) -> bytes:
    return group.encode() + b"\0"


def _key(group: str, place: TopicPartition) -> bytes:
    return b"%b%b\0%b" % (_prefix(group), place[0].encode(), _PARTITION.pack(place[1]))


def intact(what: str, parse: Callable[[bytes], _T], data: bytes) -> _T:
    """The decoded data. Raises CorruptStore if they are damaged."""
    try:
        return parse(data)
    except (ValueError, IndexError, struct.error):
        raise CorruptStore(f"{CATALOG}: {what} is damaged: {data[:80]!r}") from None


def _place(key: bytes) -> TopicPartition:
    return intact("a group's committed partition", _parse_place, key)


def _parse_place(key: bytes) -> TopicPartition:
    topic, partition = key[:-5], key[-4:]
    return topic.decode(), _PARTITION.unpack(partition)[0]


def parse_committed(value: bytes) -> KeptOffset:
    """A row's value, of either schema. Raises CorruptStore."""
    return intact("a group's committed offset", _parse_committed, value)


def _deleted(transaction: Transaction) -> int:
    """The highest record in deleted rows; -1: none."""
    value = transaction.get(META, _DELETED)
    if value is None:
        return -1
    record: int = intact("the record of deleted offsets", _RECORD.unpack, value)[0]
    return record


def _record_of(value: bytes | None, topic_id: bytes | None = None) -> int:
    """The journal's record in a row of this topic, or of any; -1 without."""
    if value is None or value[0] != _TAG_WITH_RECORD or len(value) < _VALUE.size + _RECORD.size:
        return -1
    if topic_id is not None and value[_VALUE.size - len(topic_id) : _VALUE.size] != topic_id:
        return -1
    record: int = _RECORD.unpack_from(value, _VALUE.size)[0]
    return record


def _parse_committed(value: bytes) -> KeptOffset:
    if value[0] not in (_TAG, _TAG_WITH_RECORD):
        offset, commit_ms = _OLD_VALUE.unpack_from(value)
        return KeptOffset(offset, commit_ms, value[_OLD_VALUE.size :].decode())
    _, leader_epoch, offset, commit_ms, topic_id = _VALUE.unpack_from(value)
    if offset < 0:
        raise ValueError(offset)
    at, record = _VALUE.size, -1
    if value[0] == _TAG_WITH_RECORD:
        record = _RECORD.unpack_from(value, at)[0]
        at += _RECORD.size
    metadata, its_id = value[at:].decode(), str(uuid.UUID(bytes=topic_id))
    return KeptOffset(offset, commit_ms, metadata, leader_epoch, its_id, record)
