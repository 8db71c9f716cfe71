"""A store as a side of a mirror: its batches keep their bytes."""

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from logstore.broker.admission import kept
from logstore.broker.committed import CommittedLog
from logstore.broker.reading import OnDamage, located, skip_of
from logstore.broker.rules import BATCH_BYTES, COMPRESSION_BY_NAME, RECORD_BYTES_EXTRA, Rules
from logstore.broker.topic import Topic
from logstore.config import check_topic_settings
from logstore.errors import CorruptBatch, Damaged, InvalidRecord, OffsetBelowStart, RecordTooLarge
from logstore.kept.groups import OffsetToCommit
from logstore.log import Log, TopicPartition
from logstore.records.batch import Batch, anonymous
from logstore.records.check import look
from logstore.records.encode import Columns, by_column
from logstore.records.record import Record

from .piece import Piece, from_batches, runs_of
from .sides import Ready

if TYPE_CHECKING:
    from logstore.store import Store

READ_BYTES: Final = 1 << 20  # of one partition
ROUND_BYTES: Final = 16 << 20  # of all together, until it is written


class StoreSource:
    """A store, read beside whoever writes it."""

    def __init__(self, store: "Store", on_damage: OnDamage = "stop") -> None:
        """``on_damage``: for damaged batches, as in ``Store.consumer``."""
        self.site = store
        self.damages: dict[TopicPartition, Damaged] = {}
        self._skip = skip_of(on_damage)
        self.id = store.internals().directory.store_id or _bare_id(store.path)
        self._logs: dict[TopicPartition, Log] = {}
        self._next: dict[TopicPartition, int] = {}
        self._awake = threading.Event()
        self.ended = False

    def _log(self, place: TopicPartition) -> Log:
        return self.site.topic(place[0]).partition(place[1])

    def start(self, place: TopicPartition) -> int:
        """As Source.start."""
        return self._log(place).start

    def add(self, place: TopicPartition, at: int) -> None:
        """As Source.add."""
        self._logs[place], self._next[place] = CommittedLog(self._log(place)), at
        self._logs[place].watch(self._awake.set)

    def read(self, timeout_s: float) -> list[Piece]:
        """As Source.read."""
        self._awake.clear()
        pieces = self._read()
        nexts = self._next
        self.ended = all(nexts[place] >= log.safe for place, log in self._logs.items())
        if not pieces and self._awake.wait(timeout_s):
            pieces = self._read()
        return pieces

    def _read(self) -> list[Piece]:
        pieces: list[Piece] = []
        bytes_left = ROUND_BYTES
        for place, log in self._logs.items():
            at = self._next[place]
            try:
                piece, size = self._piece(log, place, at, min(READ_BYTES, bytes_left))
            except OffsetBelowStart as error:
                raise OffsetBelowStart(f"{error}, before they were copied; start again") from None
            except Damaged as error:
                self.damages[place] = error
                continue
            if piece is None:
                continue
            pieces.append(piece)
            self._next[place] = piece.next_offset
            bytes_left -= size
            if bytes_left <= 0:
                break
        for place in self.damages:
            self._logs.pop(place, None)
        for piece in pieces:  # the others first, next time
            self._logs[piece.place] = self._logs.pop(piece.place)
        return pieces

    def _piece(
        self, log: Log, place: TopicPartition, at: int, bytes_max: int
    ) -> tuple[Piece | None, int]:
        """The readable data from there on, up to damage, and its size; None at the end.

        If damage is skipped, only the offset at which to continue. Raises CorruptBatch.
        """
        try:
            batches = log.read(at, bytes_max)
        except CorruptBatch as error:
            following = log.following(at)
            if self._skip is None or following is None:
                raise
            self._skip(CorruptBatch(f"{error}; offsets {at} to {following - 1} are skipped"))
            return Piece(place, following), 0
        if not batches:
            return None, 0
        whole: list[Batch] = []
        size = opened = 0
        for batch in batches:
            try:
                batch.check()
                opened += look(batch, dense=False).size
            except CorruptBatch as error:
                if whole:
                    break  # it is met again
                damage = located(log, batch, error)
                if self._skip is None:
                    raise damage from None
                self._skip(damage)
                return Piece(place, batch.next_offset), 0
            whole.append(batch)
            size += batch.size
            if opened >= ROUND_BYTES:
                break
        return from_batches(log, place, whole, at), size


class StoreTarget:
    """A store that is open for writing."""

    def __init__(self, store: "Store", compression: str) -> None:
        """``compression``: of records without batches, if the topic does not set it."""
        self.site = store
        self.id = store.internals().directory.store_id
        self._compression = compression

    def accepts(self, topic: str, settings: Mapping[str, str]) -> None:
        """As Target.accepts."""
        check_topic_settings(settings)

    def ends(self, topic: str, partitions: int) -> list[int]:
        """As Target.ends."""
        return [it.end for it in self.site.topic(topic).partitions[:partitions]]

    def start(self, place: TopicPartition) -> int:
        """As Target.start."""
        return self._log(place).start

    def _log(self, place: TopicPartition) -> Log:
        return self.site.topic(place[0]).partition(place[1])

    def ready(self, piece: Piece) -> Ready:
        """As Target.ready."""
        topic = self.site.topic(piece.place[0])
        if piece.records:
            batches = list(self._made(topic, piece))
            return Ready(piece.place, runs_of((it.offset, 1) for it in piece.records), batches)
        copies = [self._admitted(topic, piece.place, it) for it in piece.batches]
        spans = runs_of((it.base_offset, it.last_offset_delta + 1) for it in piece.batches)
        return Ready(piece.place, spans, copies)

    @staticmethod
    def _admitted(topic: Topic, place: TopicPartition, batch: Batch) -> Batch:
        """The batch with as many of its bytes as possible, but without its producer."""
        name = "{}-{}".format(*place)
        try:
            copy = kept(topic.rules, batch)
            copy = anonymous(copy) if copy.producer_id >= 0 else copy
        except (InvalidRecord, Damaged) as error:
            said = f"{name}: the batch at offset {batch.base_offset} of the source: {error}"
            raise type(error)(said) from None
        if copy.size > topic.settings.max_message_bytes:
            raise RecordTooLarge(
                f"{name}: the batch at offset {batch.base_offset} of the source has {copy.size} "
                f"bytes, over max.message.bytes of the copy, {topic.settings.max_message_bytes}"
            )
        return copy

    def _made(self, topic: Topic, piece: Piece) -> Iterator[Batch]:
        """Batches made of records, with the records' timestamps."""
        name = "{}-{}".format(*piece.place)
        kept = replace(topic.settings, message_timestamp_type="CreateTime")
        maker = Rules(topic.name, kept)
        codec = COMPRESSION_BY_NAME[
            self._compression if kept.compression_type == "producer" else kept.compression_type
        ]
        needs_keys = "compact" in kept.cleanup_policy
        for part in _parts(piece.records):
            for record in part:
                if needs_keys and record.key is None:
                    raise InvalidRecord(
                        f"{name}: the record at offset {record.offset} of the source has no key, "
                        f"and the copy is compacted"
                    )
            try:
                yield from maker.encode(_columns(part), codec)
            except RecordTooLarge as error:
                raise RecordTooLarge(
                    f"{name}: among the records at offsets {part[0].offset} to "
                    f"{part[-1].offset} of the source: {error}"
                ) from None

    def write(self, pieces: Sequence[tuple[Ready, int]]) -> None:
        """As Target.write."""
        ends: list[tuple[Log, int]] = []
        for piece, at in pieces:
            log = self._log(piece.place)
            for batch in cast("Sequence[Batch]", piece.payload):
                base_offset = log.append(batch)
                assert base_offset == at, f"{log.name}: {base_offset}, expected {at}"
                at += batch.last_offset_delta + 1
            ends.append((log, at))
            log.sync_soon()
        for log, end in ends:
            log.wait(end)

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """As Target.commit."""
        table = self.site.internals().groups
        assert table is not None, "a store that is written has a catalogue"
        table.change_idle(group, {it: OffsetToCommit(*what) for it, what in offsets.items()})


def _bare_id(path: str) -> str:
    """An id for partitions without a catalogue, made from their path."""
    return f"files-{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}"


def _parts(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Records in parts that each make a batch of the usual size."""
    begin = size = 0
    for at, record in enumerate(records):
        more = len(record.value or b"") + len(record.key or b"") + RECORD_BYTES_EXTRA
        if size + more > BATCH_BYTES and at > begin:
            yield records[begin:at]
            begin, size = at, 0
        size += more
    yield records[begin:]


def _columns(records: Sequence[Record]) -> Columns:
    rows = [(it.value, it.key, it.headers, it.timestamp_ms) for it in records]
    values, keys, headers, timestamps = by_column(rows)
    return Columns(values, keys, headers, [it or 0 for it in timestamps])
