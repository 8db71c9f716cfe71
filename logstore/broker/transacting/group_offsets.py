"""Committed offsets of groups, if transactions and groups both commit them: which of them applies.

The order in the journal decides. An offset staged by a transaction is newer than everything
committed before it was staged, and older than everything committed later, whenever the transaction
ends. So while an offset is pending, commits of the group outside of transactions are written to the
journal, too; and so are deletions of offsets, because otherwise a replay of the journal would
restore them. An offset is stored for a group (``kept/groups.py``) only after the journal has it,
with its place in the journal, and in that order.

A partition is *unstable* while an offset is pending. When the transaction ends, its committed
offsets become visible; until they are stored for the group, they are *due*.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol
from uuid import UUID

from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.coordinator.undecided import Due, Partition, being_read
from logstore.broker.topic import Topic
from logstore.broker.transacting.telling import Telling
from logstore.broker.transactions.operations import (
    NO_LEADER_EPOCH,
    Offset,
    Place,
    dropped_key,
    encode_dropped,
    encode_offsets,
    overtaken_key,
)
from logstore.broker.transactions.staged import Committed, Staged
from logstore.broker.transactions.transactional_id import NEVER
from logstore.errors import Closed, LogstoreError
from logstore.kept.groups import KeptOffset, OffsetToCommit, ToCommit
from logstore.kept.keeping import Keeping
from logstore.log import TopicPartition

log: Final = logging.getLogger("logstore.transactions")

Done = Callable[[LogstoreError | None], None]


class TopicsByName(Protocol):
    """The existing topics by name."""

    def get(self, name: str) -> Topic | None: ...
    def by_uuid(self, uuid: bytes) -> Topic | None: ...


@dataclass(slots=True, eq=False)
class _Due:
    """Offsets that the journal has and the group may not have yet."""

    group: str
    offsets: dict[Partition, KeptOffset]
    place: int
    tried: Callable[[Keeping | None], None]  # told of each attempt; None: there was nothing to do
    ended: Done
    replayed: bool = False  # it was read at the start
    # That, and not tried yet: it may have been stored, and deleted since.
    unsure: bool = False


class GroupOffsets:
    """An ``Undecided``, and the transaction coordinator's way to commit. Used in one thread."""

    def __init__(
        self,
        groups: Coordinator,
        staged: Staged,
        telling: Telling,
        topics: TopicsByName,
        finished: Callable[[int], None],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        """``finished``: as in Around. ``later``: schedules a call in about one second."""
        self._groups = groups
        self._staged = staged
        self._telling = telling
        self._topics = topics
        self._finished = finished
        self._later = later
        self._replayable = False  # whether the journal has offsets that a start may read again
        self._begun_upto = -1  # the last place that ``begin`` was given
        self._when_begun: list[Done] | None = []  # None: that is durable, or never will be
        self._begin_error: LogstoreError | None = None
        self._due: dict[str, list[_Due]] = {}  # by group
        self._owed: list[_Due] = []  # of those: what is to be tried again

    # What groups ask

    def unstable(self, group: str) -> Collection[Partition]:
        """As Undecided.unstable."""
        return self._staged.partitions(group)

    def due(self, group: str) -> Due:
        """As Undecided.due."""
        found: dict[Partition, KeptOffset] = {}
        for due in sorted(self._due.get(group, ()), key=lambda it: it.place):
            if due.unsure:
                raise being_read(group)
            found |= due.offsets
        return found

    def has_pending(self, group: str) -> bool:
        """As Undecided.has_pending. From any thread."""
        return self._staged.has(group) or group in self._due

    def overtakes(self, group: str, places: Iterable[TopicPartition]) -> bool:
        """As Undecided.overtakes."""
        due = self._due.get(group, ())
        if not due and not self._staged.has(group):
            return False
        partitions = [partition for _, partition in self._by_id(places)]
        return self._staged.overtakes(group, partitions) or any(
            partition in it.offsets for it in due for partition in partitions
        )

    def _by_id(self, places: Iterable[TopicPartition]) -> list[tuple[TopicPartition, Partition]]:
        """Return the partitions by topic id, without those of missing topics."""
        found = []
        for place in places:
            topic = self._topics.get(place[0])
            if topic is not None:
                found.append((place, (topic.uuid, place[1])))
        return found

    def overtake(self, group: str, offsets: ToCommit) -> Keeping:
        """As Undecided.overtake."""
        result = Keeping()
        found: dict[TopicPartition, Offset] = {}
        for place, (topic_id, number) in self._by_id(offsets):
            it = offsets[place]
            if it.topic_id in (None, str(UUID(bytes=topic_id))):
                epoch = max(it.leader_epoch, NO_LEADER_EPOCH)
                found[place] = Offset(topic_id, number, it.offset, epoch, it.metadata)
        gone = offsets.keys() - found.keys()
        if not found:
            result.finish(None, gone)
            return result

        def told(place: int | LogstoreError) -> None:
            if isinstance(place, LogstoreError):
                result.finish(place)
                return
            there = [(it.topic_id, it.partition) for it in found.values()]
            self._staged.overtake(group, there, place)
            self._keep(group, [*found.values()], place, kept, partial(self._end, place))

        def kept(keeping: Keeping | None) -> None:
            if not result.done:  # no one waits for later attempts
                if keeping is None:
                    result.finish(None, offsets.keys())
                else:
                    result.finish(keeping.error, gone.union(keeping.refused))

        self._telling.tell(overtaken_key(group), encode_offsets([*found.values()]), told)
        return result

    def overtaken(self, group: str, offsets: ToCommit) -> None:
        """Note offsets that were committed in another way, each at its place in the journal."""
        self._replayable = True
        for (_, number), it in offsets.items():
            if it.topic_id is not None:
                partition = UUID(it.topic_id).bytes, number
                self._staged.overtake(group, [partition], it.record)

    def _end(self, place: int, error: LogstoreError | None) -> None:
        if error is None:
            self._finished(place)

    def drop(
        self,
        group: str,
        places: Collection[TopicPartition] | None,
        then: Done,
    ) -> None:
        """As ``Undecided.drop``. Also journals it if the journal could bring the offsets back."""
        partitions = [it for _, it in self._by_id(places or ())]
        found = [Place(*it) for it in partitions]
        nothing = places is not None and not found
        if nothing or not (self._replayable or self._staged.drops(group, found)):
            then(None)
            return

        def told(place: int | LogstoreError) -> None:
            if isinstance(place, LogstoreError):
                then(place)
                return
            self._staged.drop(group, found, place)
            self._owe_no_more(group, partitions)
            then(None)

        self._telling.tell(dropped_key(group), encode_dropped(found), told)

    def _owe_no_more(self, group: str, partitions: Collection[Partition]) -> None:
        """Forget due offsets of these partitions; without partitions, all of the group."""
        for due in self._due.get(group, ()):
            for it in partitions if partitions else list(due.offsets):
                due.offsets.pop(it, None)

    def topic_deleted(self, topic_id: bytes) -> None:
        """Drop the pending and due offsets of a deleted topic."""
        for due in [it for those in self._due.values() for it in those]:
            for it in [it for it in due.offsets if it[0] == topic_id]:
                del due.offsets[it]
        places = [Place(topic_id)]
        if not self._staged.drops("", places):
            return

        def told(place: int | LogstoreError) -> None:
            if isinstance(place, LogstoreError):
                log.warning("offsets of a deleted topic stay in their transactions: %s", place)
            else:
                self._staged.drop("", places, place)

        self._telling.tell(dropped_key(), encode_dropped(places), told)

    # What transactions commit

    def begin(self, newest: Sequence[tuple[int, Committed]]) -> None:
        """Commit the journal's offsets of an earlier process (``Journaled.newest``), before all
        else.

        A later commit at one of these places, or before it, is answered after that.
        """
        self._begun_upto = max((place for place, _ in newest), default=-1)
        left = len(newest)

        def ended(error: LogstoreError | None) -> None:
            nonlocal left
            left -= 1
            self._begin_error = self._begin_error or error
            if not left:
                self._begun()

        for place, (group, offsets) in newest:
            self._keep(group, offsets, place, lambda _: None, ended, replayed=True)
        if not newest:
            self._begun()

    def _begun(self) -> None:
        waiting, self._when_begun = self._when_begun or [], None
        for done in waiting:
            done(self._begin_error)

    def commit(self, committed: Sequence[Committed], place: int, done: Done) -> None:
        """As ``Around.commit``. If the disk is full it is retried, without calling ``done``."""
        if place > self._begun_upto:
            self._commit(committed, place, done)
        elif self._when_begun is None:
            done(self._begin_error)
        else:
            self._when_begun.append(done)

    def _commit(self, committed: Sequence[Committed], place: int, done: Done) -> None:
        left = len(committed)
        failed: LogstoreError | None = None

        def ended(error: LogstoreError | None) -> None:
            nonlocal left, failed
            left, failed = left - 1, failed or error
            if not left:
                done(failed)

        for group, offsets in committed:
            self._keep(group, offsets, place, lambda _: None, ended)

    def _keep(
        self,
        group: str,
        offsets: Sequence[Offset],
        place: int,
        tried: Callable[[Keeping | None], None],
        ended: Done,
        *,
        replayed: bool = False,
    ) -> None:
        found = {(it.topic_id, it.partition): _kept(it, place) for it in offsets}
        due = _Due(group, found, place, tried, ended, replayed, unsure=replayed)
        self._due.setdefault(group, []).append(due)
        self._replayable = True
        self._try(due)

    def _try(self, due: _Due) -> None:
        named: dict[TopicPartition, OffsetToCommit] = {}
        for (topic_id, number), it in due.offsets.items():
            topic = self._topics.by_uuid(topic_id)
            if topic is not None:  # one that has its name since begins without
                named[topic.name, number] = OffsetToCommit(
                    it.offset, it.metadata, it.leader_epoch, it.topic_id, it.record, due.replayed
                )
        if not named:
            self._kept(due, None)
            return
        try:
            self._groups.decided(due.group, named, partial(self._kept, due))
        except Closed as error:
            self._end_due(due, error)

    def _kept(self, due: _Due, keeping: Keeping | None) -> None:
        due.tried(keeping)
        due.unsure = False
        error = None if keeping is None else keeping.error
        if error is None or isinstance(error, Closed):
            self._end_due(due, error)
            return
        log.warning("offsets of group %r are tried to be kept again: %s", due.group, error)
        self._owed.append(due)
        if len(self._owed) == 1:
            self._later(self._try_again)

    def _try_again(self) -> None:
        owed, self._owed = self._owed, []
        for due in sorted(owed, key=lambda it: it.place):
            self._try(due)

    def _end_due(self, due: _Due, error: LogstoreError | None) -> None:
        its = self._due[due.group]
        its.remove(due)
        if not its:
            del self._due[due.group]
        due.ended(error)


def _kept(it: Offset, place: int) -> KeptOffset:
    """Return the offset in its stored form."""
    topic_id = str(UUID(bytes=it.topic_id))
    return KeptOffset(it.offset, NEVER, it.metadata, it.leader_epoch, topic_id, place)
