"""A consumer: reads partitions from its group's offsets, and tracks the records it has returned."""

import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, islice
from operator import length_hint
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from logstore.broker.chores import OWN_THREADS, Awake, Chore, Chores
from logstore.broker.reading import Chunk, OnDamage, chunks, skip_of
from logstore.broker.start import OnOutOfRange, check_offset, moved_to, narrowed
from logstore.errors import (
    Closed,
    Damaged,
    Failed,
    Fenced,
    Forked,
    LogstoreError,
    OffsetOutOfRange,
    UnknownPartition,
)
from logstore.log import Log, TopicPartition
from logstore.records.record import Record

UNSETTLED_S: Final = 0.05  # how often to check if others have revoked


class Membership(Protocol):
    """What a consumer needs of its group."""

    def commit(self, offsets: Mapping[TopicPartition, int], metadata: str) -> None:
        """Commit offsets; durable on return. Raises Fenced if others have the partitions by now."""

    def owning(
        self, places: Collection[TopicPartition]
    ) -> AbstractContextManager[Mapping[TopicPartition, str]]:
        """Return a context in which none of these partitions moves to other members.

        It gives the topics' ids. Raises Fenced.
        """

    def decided(self, kept: Callable[[], None]) -> None:
        """Note that a transaction has committed offsets.

        ``kept`` returns once they are stored with the group's.
        """

    @property
    def late(self) -> bool:
        """Whether ``check`` must ask other processes."""

    def check(self) -> None:
        """Check, before records are returned, that the partitions are still the consumer's own."""

    def settled(self) -> bool:
        """Whether no further partitions are on their way to this consumer."""

    def poke(self) -> None:
        """Note that the records of a partition that must be given up are done."""

    def leave(self) -> None:
        """Leave the group, so that others get the partitions."""


class _Chunk:
    """Records read from one partition, while they are handed out."""

    __slots__ = ("_records", "_unread", "begin", "end", "left", "place")

    def __init__(self, place: TopicPartition, records: list[Record], begin: int, end: int) -> None:
        self.place = place
        self.begin, self.end = begin, end  # offsets; control records may lie between
        self._records = records
        self.left = iter(records)  # the records not returned yet
        self._unread = 0  # what never will be

    @property
    def handed(self) -> int:
        return len(self._records) - length_hint(self.left) - self._unread

    def after(self, count: int) -> int:
        """The offset at which to continue when ``count`` records are done."""
        if count == len(self._records):
            return self.end
        return self._records[count - 1].offset + 1 if count > 0 else self.begin

    def drop(self) -> None:
        """Discard the remaining records, also for code that already iterates over ``left``."""
        # One call in C: no other thread takes a record between the look and the counting.
        self._unread += len(list(self.left))


class _Reading(NamedTuple):
    """The undecoded rest of one read of a partition."""

    place: TopicPartition
    at: int  # the next record begins here
    chunks: Iterator[Chunk]


class Consumer:
    """Iterates over records; stops at the end of the partitions, or follows them.

    A record is done when the next one is asked for, and at a clean end. In a group, the offsets of
    finished records are committed every ``commit_s`` seconds and at the end, each time after the
    store's producers were flushed: records made from them are safe before they count as read. With
    ``auto_commit=False``, only ``commit`` commits. After an exception in the ``with`` block, the
    record returned last is not done and is delivered again. One thread at a time may read; any
    thread may commit or close.
    """

    def __init__(
        self,
        logs: Mapping[TopicPartition, Log],
        positions: Mapping[TopicPartition, int],
        *,
        committed: Mapping[TopicPartition, int] | None = None,
        membership: Membership | None = None,
        follow: bool = False,
        commit_s: float = 5.0,
        on_damage: OnDamage = "stop",
        on_out_of_range: OnOutOfRange = "stop",
        group: str | None = None,
        auto_commit: bool = True,
        flush: Callable[[], None] = lambda: None,
        chores: Chores = OWN_THREADS,
    ) -> None:
        """``committed``: the offsets that the group has committed. The first commit also stores the
        start of all other partitions, so that a group that began at the end later finds what came
        after it. ``on_damage``: what happens to a damaged batch, as ``reading.skip_of`` takes it.
        ``on_out_of_range``: where to continue if records were deleted before they were read; errors
        then name ``group``. ``flush()``: syncs everything sent to the producers of the same store.
        ``chores``: wakes the consumer, and commits for it periodically.
        """
        self._skip = skip_of(on_damage)
        self._on_out_of_range: OnOutOfRange = on_out_of_range
        self._group = group
        self._reading: _Reading | None = None
        self._logs = dict(logs)
        self._next = dict(positions)  # what to read next
        self._done = dict(positions)  # all below is done
        self._committed = dict(committed or {})
        self._in_transactions: set[TopicPartition] = set()  # these are not committed by itself
        self._chunk: _Chunk | None = None
        self._one_by_one = True  # iterated, not polled
        self._membership = membership
        self._auto_commit = auto_commit
        self._flush = flush
        self._lost: Failed | None = None  # lost output of records that are done
        self._follow = follow
        self._fetching = False  # something was asked for that is not here yet
        self._lock = threading.Lock()
        self._committing = threading.Lock()  # an older commit must not overtake a newer one
        self._awake: Awake = chores.awake()
        self._watches: dict[TopicPartition, Callable[[], None]] = {}
        # At the latest when the consumer is garbage-collected: the logs live longer.
        self._stop_watching = weakref.finalize(self, _call_all, self._watches)
        self._watch(logs)
        self._leaving: set[TopicPartition] = set()  # to be revoked when returned records are done
        self._closed = False
        self._failure: LogstoreError | None = None
        self._committer: Chore | None = None
        if membership is not None and auto_commit:
            self._committer = chores.begin(commit_s, self._commit_in_time, "committer")

    def forked(self, error: Forked) -> None:
        """As ``Forkable.forked``: the place in the group and the returned records belong to the
        parent.
        """
        self._lock, self._committing = threading.Lock(), threading.Lock()
        self._awake = threading.Event()
        self._stop_watching.detach()
        self._closed, self._failure = True, error
        if self._chunk is not None:
            self._chunk.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(last_done=kind is None)

    # Reading

    def __iter__(self) -> Iterator[Record]:
        # The records of a chunk flow through C: handing one out runs no Python code of ours.
        return chain.from_iterable(self._chunks())

    def _chunks(self) -> Iterator[Iterator[Record]]:
        self._one_by_one = True
        while (chunk := self._following(None)) is not None:
            yield chunk.left

    def poll(self, records_max: int = 10_000, timeout_s: float | None = None) -> list[Record]:
        """Return the next records of one partition, in order: at least one, at most
        ``records_max``.

        This call marks the records of the last ``poll`` as done. Without ``follow``, an empty list
        is the end of the partitions; with ``follow`` (or while records are fetched from elsewhere),
        the call waits up to ``timeout_s`` seconds for a record, forever if None, and then returns
        an empty list. Raises Closed; CorruptBatch, which names the offset; OffsetOutOfRange if
        records were deleted before they were read; and the error of the last automatic commit, if
        it failed.
        """
        self._one_by_one = False
        chunk = self._following(timeout_s)
        return [] if chunk is None else list(islice(chunk.left, records_max))

    def _following(self, timeout_s: float | None) -> _Chunk | None:
        """A chunk with records to return: the present one, or the next that can be read."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            found = self._look()
            if found is None or isinstance(found, _Chunk):
                return found
            left = _left(deadline)
            if not self._awake.wait(found if left is None else min(left, found)) and left == 0:
                return None

    def look(self, *, one_by_one: bool = True) -> Iterator[Record] | float | None:
        """Do what iterating, or ``poll``, does, but without waiting; for callers without a thread
        to block.

        Returns the next records, which marks earlier ones as done; or None at the end of the
        partitions; or the maximum number of seconds to wait before the next call, unless woken.
        """
        self._one_by_one = one_by_one
        found = self._look()
        return found.left if isinstance(found, _Chunk) else found

    def _look(self) -> _Chunk | float | None:
        while True:
            self._awake.clear()  # before the look at what there is, or a wake-up could be missed
            self._check_open()
            if self._membership is not None:
                self._membership.check()
            if (chunk := self._present()) is not None:
                return chunk
            if self._read():
                continue
            if self._follow or self._fetching:
                return threading.TIMEOUT_MAX
            if self._membership is not None and not self._membership.settled():
                return UNSETTLED_S
            if not self._awake.is_set():  # else partitions have come since they were looked for
                return None

    def _present(self) -> _Chunk | None:
        """The chunk that is being returned; its returned records are marked as done."""
        with self._lock:
            chunk = self._chunk
            if chunk is None:
                return None
            if chunk.place in self._done:
                self._done[chunk.place] = chunk.after(chunk.handed)
            if length_hint(chunk.left):
                return chunk
            self._chunk = None
        if self._leaving and self._membership is not None:
            self._membership.poke()
        return None

    def _read(self) -> bool:
        """Read from the first partition that has records; False if none has.

        Raises Damaged for a partition that cannot be read, once the others have no more records.
        """
        with self._lock:
            places = [it for it in self._next if it not in self._leaving]
        damage: Damaged | None = None
        self._fetching = False
        for place in places:
            log, at = self._logs.get(place), self._next.get(place)
            if log is None or at is None:  # given up since
                continue
            try:
                found = self._read_on(log, place, at)
            except Damaged as error:
                damage = damage or error
                continue
            except OffsetOutOfRange as error:
                if self._on_out_of_range == "stop":
                    raise narrowed(error, self._group) from None
                self._move(place, moved_to(log, error, self._on_out_of_range))
                return True  # to be looked at anew
            if found is not None and self._take_up(place, found):
                return True
            if found is None and at < log.safe:
                self._await(place, log)
        if damage is not None:
            raise damage
        return False

    def _await(self, place: TopicPartition, log: Log) -> None:
        """Watch for requested bytes that are on their way: this is not the end."""
        self._fetching = True
        with self._lock:
            if place not in self._watches and place in self._logs:
                self._watches[place] = log.watch(self._awake.set)
                self._awake.set()  # it may have come before it was watched: look again

    def _read_on(self, log: Log, place: TopicPartition, at: int) -> Chunk | None:
        """The next chunk of a partition, from an earlier read or a new one."""
        reading = self._reading
        if reading is None or (reading.place, reading.at) != (place, at):
            reading = _Reading(place, at, chunks(log, place, at, self._skip))
        self._reading = None
        found = next(reading.chunks, None)
        if found is not None and found.end > (safe := log.safe):  # its last batch is not all read
            found = Chunk(
                [it for it in found.records if it.offset < safe], found.begin, safe, False
            )
        if found is not None and found.more:
            self._reading = _Reading(place, found.end, reading.chunks)
        return found

    def _move(self, place: TopicPartition, at: int) -> None:
        """Continue at this offset in a partition that cannot be read further at its position."""
        with self._lock:
            if place in self._next and place not in self._leaving:
                self._next[place] = self._done[place] = at

    def _take_up(self, place: TopicPartition, found: Chunk) -> bool:
        """Return these records next; False if the partition was given up meanwhile."""
        with self._lock:
            if place not in self._next or place in self._leaving:
                return False
            self._chunk = _Chunk(place, found.records, found.begin, found.end)
            if not found.more:  # the partition read last becomes the last in turn
                del self._next[place]
            self._next[place] = found.end
        return True

    @property
    def quick(self) -> bool:
        """Whether the next ``look`` neither reads nor asks other processes, so that it takes no
        time.
        """
        with self._lock:
            chunk, nexts, logs = self._chunk, dict(self._next), dict(self._logs)
        if self._membership is not None and self._membership.late:
            return False
        if chunk is not None and length_hint(chunk.left):
            return True
        return self._follow and all(nexts.get(at, 0) >= log.safe for at, log in logs.items())

    @property
    def ended(self) -> bool:
        """Whether all existing records were returned, and no partition is about to be assigned."""
        with self._lock:
            chunk, nexts, logs = self._chunk, dict(self._next), dict(self._logs)
        handed_out = chunk is None or not length_hint(chunk.left)
        return (
            handed_out
            and all(nexts[at] >= log.safe for at, log in logs.items())
            and (self._membership is None or self._membership.settled())
        )

    def position(self, topic: str, partition: int) -> int:
        """The offset after the last record returned from this partition."""
        return self._positions(last_done=True)[self._place(topic, partition)]

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue at this offset of this partition, before or after the current one.

        Other partitions are not affected. The next commit commits ``offset``: records below it
        count as done, records at or above it do not. Records of the partition that were read ahead
        are dropped. The next record may come from any partition. Raises OffsetBelowStart,
        OffsetAboveEnd (the end itself is allowed), UnknownPartition if this consumer does not have
        the partition (in a group: not assigned, or no longer), Closed.
        """
        self._check_open()
        place = self._place(topic, partition)
        check_offset(self._logs[place], offset)
        with self._lock:
            if self._chunk is not None and self._chunk.place == place:
                self._chunk.drop()
                self._chunk = None
            self._next[place] = self._done[place] = offset

    def _place(self, topic: str, partition: int) -> TopicPartition:
        if (topic, partition) not in self._logs:
            raise UnknownPartition(f"{topic}-{partition} is not consumed here")
        return topic, partition

    # Partitions that come and go, as the membership says

    @property
    def places(self) -> set[TopicPartition]:
        """The partitions of this consumer, including those to be given up."""
        with self._lock:
            return set(self._logs)

    def take(
        self,
        logs: Mapping[TopicPartition, Log],
        positions: Mapping[TopicPartition, int],
        committed: Mapping[TopicPartition, int],
    ) -> None:
        """Add these partitions."""
        with self._lock:
            self._logs |= logs
            self._next |= positions
            self._done |= positions
            self._committed |= committed
        self._watch(logs)
        self._awake.set()

    def give_up(self, places: Iterable[TopicPartition]) -> None:
        """Stop returning records of these partitions; returned ones are done at the next call."""
        with self._lock:
            self._leaving.update(self._logs.keys() & set(places))
            if self._chunk is not None and self._chunk.place in self._leaving:
                self._chunk.drop()
        self._awake.set()

    def release(self) -> bool:
        """Commit and release partitions that are done and must be given up; whether there were any.

        Without automatic commits, only explicit commits count: other records are delivered again to
        the next owner of the partition.
        """
        with self._lock:
            chunk = self._chunk
            working = chunk.place if chunk is not None and chunk.handed else None
            ready = {place for place in self._leaving if place != working}
        if ready:
            try:
                self._commit_what_is_done(last_done=False)
            finally:
                self.lose(ready)
        return bool(ready)

    def lose(self, places: Iterable[TopicPartition] | None = None) -> None:
        """Remove these partitions (or all) without a commit."""
        with self._lock:
            gone = set(self._logs if places is None else places)
            if self._chunk is not None and self._chunk.place in gone:
                self._chunk.drop()
                self._chunk = None
            for place in gone:
                for facts in (self._logs, self._next, self._done, self._committed):
                    facts.pop(place, None)
            self._leaving -= gone
            if self._reading is not None and self._reading.place in gone:
                self._reading = None
            watches = [self._watches.pop(place) for place in gone if place in self._watches]
        for stop in watches:
            stop()
        self._awake.set()

    def fail(self, error: LogstoreError) -> None:
        """Raise this error at the next read."""
        self._failure = error
        self._awake.set()

    def _watch(self, logs: Mapping[TopicPartition, Log]) -> None:
        if self._follow:
            self._watches |= {place: log.watch(self._awake.set) for place, log in logs.items()}

    # Committing

    def commit(self, metadata: str = "") -> None:
        """Commit everything returned so far, including the last record or ``poll``, as done.

        Flushes the store's producers first; durable on return. For each partition, the offset of
        the next record to read is committed. ``metadata`` (at most ``offset.metadata.max.bytes``,
        4096) is stored with each offset until the next commit. Does nothing without a group. Raises
        Refused for longer metadata; Fenced if the partitions were assigned to others; StorageFull,
        LogFailed if the producers can't be flushed, in which case nothing is committed.
        """
        self._check_open()
        with self._lock:
            if self._chunk is not None and self._chunk.place in self._done:
                self._done[self._chunk.place] = self._chunk.after(self._chunk.handed)
        self._lost = None  # on demand: the caller knows of it
        self._commit(last_done=True, metadata=metadata)

    @property
    def group(self) -> str | None:
        """The name of its group, or None."""
        return self._group

    @contextmanager
    def committing(
        self, offsets: Mapping[TopicPartition, int]
    ) -> Iterator[Mapping[TopicPartition, str]]:
        """Return a context for a transaction that commits these offsets; it gives the topics' ids.

        Meanwhile, no one else commits for the consumer, or gets its partitions. Raises Fenced,
        Closed.
        """
        self._check_open()
        assert self._membership is not None, "who has no group is refused before"
        with self._membership.owning(offsets.keys()) as ids, self._committing:
            yield ids

    def committed(self, offsets: Mapping[TopicPartition, int], kept: Callable[[], None]) -> None:
        """Note that a transaction has committed within ``committing``.

        ``kept``: as in ``Membership.decided``. From now on the consumer does not commit in these
        partitions by itself.
        """
        assert self._membership is not None
        self._membership.decided(kept)
        with self._lock:
            self._in_transactions |= offsets.keys()
            self._committed.update(offsets)

    def _positions(self, *, last_done: bool) -> dict[TopicPartition, int]:
        """The offset up to which each partition is done; with ``last_done``, including the records
        returned last.
        """
        with self._lock:
            positions, chunk = dict(self._done), self._chunk
            if chunk is not None and chunk.place in positions:
                handed = chunk.handed
                if last_done:
                    positions[chunk.place] = chunk.after(handed)
                elif self._one_by_one:
                    done = chunk.after(max(handed - 1, 0))
                    positions[chunk.place] = max(positions[chunk.place], done)
            return positions

    def _commit(self, *, last_done: bool, metadata: str = "", all_: bool = True) -> None:
        """Commit what is done. ``all_``: also in partitions that transactions commit."""
        if self._membership is None:
            return
        with self._committing:
            positions = self._positions(last_done=last_done)
            moved = {
                place: offset
                for place, offset in positions.items()
                if (metadata or offset != self._committed.get(place))
                and (all_ or place not in self._in_transactions)
            }
            if not moved:
                return
            # After looking at what is done: output made from it was sent before that.
            self._flush()
            if self._lost is not None:
                raise self._lost
            self._membership.commit(moved, metadata)
            with self._lock:
                kept = moved.keys() & self._logs.keys()
                self._committed.update({place: moved[place] for place in kept})

    def _commit_what_is_done(self, *, last_done: bool) -> None:
        if self._auto_commit:
            self._commit(last_done=last_done, all_=False)

    def lose_output(self, topic: str, error: BaseException) -> None:
        """Stop committing automatically: a producer was closed with unwritten records.

        Lost output may have been made from finished records, so these must be delivered again.
        """
        self._lost = Failed(
            f"group {self._group!r}: not all records sent to topic {topic!r} were written"
            f" ({error}), so the offsets of the records read are not committed: open a new"
            " consumer to read them again"
        )

    def _commit_in_time(self) -> bool:
        """Commit if it is time; returns whether more will follow."""
        try:
            self._commit_what_is_done(last_done=False)
        except Fenced:
            pass  # the membership notices too, and joins again
        except LogstoreError as error:
            self.fail(error)
            return False
        return True

    # The end

    def _check_open(self) -> None:
        if isinstance(self._failure, Forked):
            raise self._failure
        if self._closed:
            raise Closed("the consumer is closed")
        if self._failure is not None:
            raise self._failure

    def close(self, *, last_done: bool = True) -> None:
        """Commit finished records and leave the group; ``last_done``: the last record is done, too.

        With ``auto_commit=False``, nothing is committed. A thread that waits for records gets
        Closed. Raises as ``commit``; the group is left nevertheless.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._stop_watching()
            self._awake.set()
            if self._committer is not None:
                self._committer.join()
            self._commit_what_is_done(last_done=last_done)
        finally:
            self._drop_chunk()
            if self._membership is not None:
                self._membership.leave()

    def _drop_chunk(self) -> None:
        with self._lock:
            chunk, self._chunk, self._reading = self._chunk, None, None
            if chunk is not None:
                chunk.drop()
                self._next[chunk.place] = self._done[chunk.place] = chunk.after(chunk.handed)


def _call_all(functions: Mapping[TopicPartition, Callable[[], None]]) -> None:
    for function in list(functions.values()):
        function()


def _left(deadline: float | None) -> float | None:
    """The seconds until then; None: forever."""
    return None if deadline is None else max(deadline - time.monotonic(), 0)
