"""All share partitions of a process, created when a member first needs them; and the sessions.

Where a group begins in a partition is decided once, and written to the journal before any record is
delivered. The journal's state of groups is read once; afterwards the state here is ahead of it.

Deleting or resetting a group may concern very many partitions, so it is done for some of them in
each turn. Meanwhile requests for these partitions wait (``_Pause``).
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final, NamedTuple, Protocol

from logstore.broker.queues.bits import size
from logstore.broker.queues.settled import Settled, reopened
from logstore.broker.queues.settlement import Settlement
from logstore.broker.queues.share_groups import (
    LANE,
    Place,
    begun,
    begun_state,
    decode_state,
    gone,
    share_key,
)
from logstore.broker.shared.by_place import ByPlace
from logstore.broker.shared.dead_letters import Around, DeadLetters
from logstore.broker.shared.rules import Rules, beginning
from logstore.broker.shared.shared_partition import Done, SharedPartition
from logstore.broker.shares.sessions import PARTITIONS_MAX as SESSION_PARTITIONS_MAX
from logstore.broker.shares.sessions import Sessions, ShareSession
from logstore.broker.topic import Topic
from logstore.broker.topics import Change
from logstore.errors import LogstoreError, TooManyPartitions, UnknownPartition, UnknownTopic
from logstore.log import Log
from logstore.names import check_group
from logstore.slices import GoOn, Slices, Steps, Wait

PARTITIONS_MAX: Final = 50_000  # of all groups; one that is read takes 2 KiB
# Partitions whose records are released or overdue, before other work has its turn.
ENDED_AT_ONCE: Final = 50  # partitions
LOCKS_AT_ONCE: Final = 1000  # locked runs of records
# Of those that are forgotten, in units of ``Slices``.
LEAVE_UNITS: Final = 2  # one whose readers are told
ANEW_UNITS: Final = 5  # one that is asked for again

log: Final = logging.getLogger("logstore.shares")

Then = Callable[[SharedPartition | LogstoreError], None]


class Surroundings(Around, Protocol):
    """What the process provides."""

    def now_ms(self) -> int:
        """Return the time in ms, by a clock that only goes forward."""

    def wall_ms(self) -> int:
        """Return the time in ms since 1970."""

    def soon(self, call: Callable[[], object]) -> None:
        """Schedule a call in this thread. From any thread."""

    def alarm(self, at_ms: int) -> None:
        """Schedule a call of ``look_at_times`` at that time or earlier."""


class _Found(NamedTuple):
    """A partition's log, and its settled records; or where the group begins."""

    log: Log
    settlement: Settlement | None
    start: int
    lost: Settled  # what the log does not have any more


@dataclass(slots=True, eq=False)
class _Pause:
    """A pause for partitions that are reset or deleted, until the journal has that and all is done.

    Further requests to pause some of the same partitions are heirs: at the end, the first heir
    takes over the pause, and all others wait for it.
    """

    whole: Place
    heirs: deque[GoOn]
    waiting: list[tuple[Place, Then]] = field(default_factory=list)  # ``find`` calls that wait


class Shares:
    """The share partitions and sessions of one process. Used in one thread."""

    def __init__(
        self,
        kept: ByPlace[SharedPartition | bytes],
        around: Surroundings,
        sessions: Sessions | None = None,
    ) -> None:
        """``kept``: the state from the journal (``JournaledShares.partitions``), owned by this
        object now.
        """
        self.sessions = sessions or Sessions()
        self._around = around
        self._slices = Slices(around.soon)
        self._known = kept  # as bytes: of partitions not opened yet
        self._opening: ByPlace[list[Then]] = ByPlace()
        self._pauses: ByPlace[_Pause] = ByPlace()  # of which none is a part of another
        self._used: dict[str, set[SharedPartition]] = {}  # where an owner may have records
        self._due: list[tuple[int, int, SharedPartition]] = []
        self._numbers = count()
        self._ended: deque[tuple[str, set[SharedPartition]]] = deque()
        self._letters = DeadLetters(around, self._dead_again)
        self.dying = self._letters.add
        self.counts = self._letters.counts

    def forget_topics(self) -> None:
        """Forget topics that were deleted while no process was running."""
        self._slices.begin(self._without_those_gone(), _nobody)

    def _without_those_gone(self) -> Steps:
        for topic_id in self._known.topic_ids():
            if self._around.by_id(topic_id) is None:
                yield from self._without(topic_id)
            yield 1

    # Partitions

    def at_hand(self, place: Place) -> SharedPartition | None:
        """Return the partition if it is open, else None."""
        known = self._known.get(place)
        return known if isinstance(known, SharedPartition) and not known.gone else None

    def find(self, place: Place, then: Then) -> None:
        """Open the partition; ``then`` gets it, or the error, now or in a later turn."""
        pause = self._pause_of(place) if len(self._pauses) else None
        known = self._known.get(place)
        if pause is not None:
            pause.waiting.append((place, then))
        elif isinstance(known, SharedPartition):
            then(known)
        elif (opening := self._opening.get(place)) is not None:
            opening.append(then)
        else:
            try:
                topic = self._check(place)
            except LogstoreError as error:
                then(error)
                return
            opening = [then]
            self._opening.put(place, opening)
            rules = self._around.rules(place.group)
            job = partial(_open, topic, place, known, rules, self._around.wall_ms())
            self._around.work(partial(_or_error, job), partial(self._opened, place, opening))

    def _check(self, place: Place) -> Topic:
        """Return the topic. Raises InvalidName, UnknownTopic, UnknownPartition,
        TooManyPartitions.
        """
        check_group(place.group)
        topic_id, number = _of(place)
        topic = self._around.by_id(topic_id)
        if topic is None or topic.read_only:
            raise UnknownTopic(f"topic {topic_id.hex()}: there is none that can be shared")
        if not 0 <= number < len(topic.partitions):
            raise UnknownPartition(f"topic {topic.name!r} has no partition {number}")
        is_new = self._known.get(place) is None
        if is_new and len(self._known) + len(self._opening) >= PARTITIONS_MAX:
            raise TooManyPartitions(
                f"share groups use {PARTITIONS_MAX} partitions, which is the maximum: delete"
                " groups, or their offsets in topics"
            )
        return topic

    def _opened(self, place: Place, opening: list[Then], found: _Found | LogstoreError) -> None:
        if self._opening.get(place) is not opening:  # deleted meanwhile, or begun again
            return
        if isinstance(found, LogstoreError):
            self._answer(place, found)
        elif found.settlement is None:
            made = partial(self._made, place, opening, found.log, Settlement(found.start))
            self._around.tell(share_key(place), begun(found.start), made)
        else:
            if found.lost:
                self._around.tell(share_key(place), found.lost.encode(), _nobody)
            self._made(place, opening, found.log, found.settlement, 0)

    def _made(
        self,
        place: Place,
        opening: list[Then],
        its: Log,
        settlement: Settlement,
        told: int | LogstoreError,
    ) -> None:
        if self._opening.get(place) is not opening:
            return
        if isinstance(told, LogstoreError):
            self._answer(place, told)
            return
        live = SharedPartition(place, its, settlement, self)
        self._known.put(place, live)
        live.begin()
        self._answer(place, live)

    def _answer(self, place: Place, answer: SharedPartition | LogstoreError) -> None:
        for then in self._opening.pop(place) or ():
            then(answer)

    # State of groups

    def has(self, group: str) -> bool:
        """Return whether the group has begun to read any partition."""
        return self._known.has(Place(group))

    def topics(self, group: str) -> Sequence[bytes]:
        """Return the ids of the topics that the group has begun to read, ascending."""
        return self._known.topics(group)

    def partitions(self, group: str, topic_id: bytes) -> Sequence[int]:
        """Return the partitions of a topic that the group has begun to read, ascending."""
        return self._known.partitions(group, topic_id)

    def standing(self, place: Place, end: int | None) -> tuple[int, int] | None:
        """Return the first unsettled offset, and the lag if the log ends at ``end``.

        None: the group has not begun there. A lag of -1: the end of the log is unknown. Raises
        CorruptStore, SchemaTooNew.
        """
        known = self._known.get(place)
        if known is None:
            return None
        if isinstance(known, SharedPartition):
            return known.start(), known.lag()
        state = decode_state(known, place)
        if end is None:
            return state.floor, -1
        return state.floor, max(0, end - state.cursor) + size(state.held)

    # Sessions

    def use(self, session: ShareSession, partition: SharedPartition) -> None:
        """Note that the session's owner may hold records of the partition."""
        its = self._used.setdefault(session.owner, set())
        if partition not in its:
            its.add(partition)
            if not len(its) % SESSION_PARTITIONS_MAX:  # topics come and go, and sessions stay
                its -= {it for it in its if it.gone}

    def end(self, session: ShareSession) -> None:
        """End the session; all records of its member become available again."""
        if self.sessions.end(session):
            self._ended.append((session.owner, self._used.pop(session.owner, set())))
            if len(self._ended) == 1:
                self._release()

    def _release(self) -> None:
        """Release some records of ended sessions in each turn."""
        locks = partitions = 0
        while self._ended and locks < LOCKS_AT_ONCE and partitions < ENDED_AT_ONCE:
            owner, those = self._ended[0]
            if those:
                locks, partitions = locks + those.pop().release(owner), partitions + 1
            if not those:
                self._ended.popleft()
        if self._ended:
            self._around.soon(self._release)

    def left(self, connection: object) -> None:
        """End the sessions of a closed connection."""
        for it in self.sessions.of(connection):
            self.end(it)

    # Times

    def look_at_times(self) -> None:
        """Release some of the records that members have held too long."""
        now_ms = self._around.now_ms()
        locks = partitions = 0
        while self._due and self._due[0][0] <= now_ms:
            if locks >= LOCKS_AT_ONCE or partitions >= ENDED_AT_ONCE:
                break
            at_ms, _, partition = heappop(self._due)
            if partition.due_ms == at_ms:
                partition.due_ms = None
                locks, partitions = locks + partition.expire(), partitions + 1
        if self._due:
            self._around.alarm(self._due[0][0])

    # Around, of the partitions

    def rules(self, group: str) -> Rules:
        """As Around.rules."""
        return self._around.rules(group)

    def now_ms(self) -> int:
        """As Around.now_ms."""
        return self._around.now_ms()

    def lives(self, owner: str) -> bool:
        """As Around.lives."""
        return self.sessions.lives(owner)

    def due(self, partition: SharedPartition, at_ms: int) -> None:
        """As Around.due."""
        if partition.due_ms is None or at_ms < partition.due_ms:
            partition.due_ms = at_ms
            heappush(self._due, (at_ms, next(self._numbers), partition))
            if self._due[0][2] is partition:
                self._around.alarm(at_ms)

    def _dead_again(self, partition: SharedPartition, after_ms: int) -> None:
        self.due(partition, self._around.now_ms() + after_ms)

    def tell(self, key: bytes, value: bytes, done: Done) -> None:
        """As Around.tell."""
        self._around.tell(
            key, value, lambda told: done(told if isinstance(told, LogstoreError) else None)
        )

    def soon(self, call: Callable[[], object]) -> None:
        """As Around.soon."""
        self._around.soon(call)

    # Deletions and new beginnings

    def topics_changed(self, change: Change) -> None:
        """Handle a change that ``Topics.tell`` reports, from any thread."""
        if change.event == "deleted":
            self._around.soon(partial(self.topic_gone, change.topic.uuid))

    def topic_gone(self, topic_id: bytes) -> None:
        """Forget a deleted topic; a new topic of the same name has another id."""
        self._slices.begin(self._without(topic_id), _nobody)

    def _without(self, topic_id: bytes) -> Steps:
        """Forget the topic in steps; no one can ask for it any more."""
        opened = self._opening.groups_of(topic_id)
        for group in opened:
            for place in self._opening.within(Place(group, topic_id)):
                self._answer(place, UnknownTopic(f"topic {topic_id.hex()} was deleted"))
                yield 1
        for group in dict.fromkeys((*opened, *self._known.groups_of(topic_id))):
            whole = Place(group, topic_id)
            for place in self._known.within(whole):
                known = self._known.pop(place)
                if isinstance(known, SharedPartition):
                    known.leave()
                    yield partial(_once_still, known)
                yield LEAVE_UNITS
            self._around.tell(share_key(whole), gone(), _nobody)
            yield 1

    def group_gone(self, group: str, done: Done) -> None:
        """Forget a deleted group."""
        self._begin_anew(Place(group), None, done)

    def forget(self, group: str, topic_id: bytes, done: Done) -> None:
        """Let the group begin again in a topic, as if it had never read it."""
        self._begin_anew(Place(group, topic_id), None, done)

    def begin_at(self, place: Place, start: int, done: Done) -> None:
        """Let the group begin at this offset of a partition, whatever it has settled there."""
        self._begin_anew(place, start, done)

    def _begin_anew(self, whole: Place, start: int | None, done: Done) -> None:
        self._slices.begin(self._anew(whole, start), done)

    def _anew(self, whole: Place, start: int | None) -> Steps:
        """Forget these partitions once that is journaled; ``start``: keep only this offset.

        If the journal refuses the entry, nothing changes, and the error is returned.
        """
        heirs, waiting = deque[GoOn](), list[tuple[Place, Then]]()
        while (busy := self._busy(whole)) is not None:
            before: _Pause = yield _after(busy, heirs)
            self._pauses.pop(before.whole)
            heirs, waiting = before.heirs, waiting + before.waiting
        pause = _Pause(whole, heirs)
        self._pauses.put(whole, pause)
        try:
            yield from self._found(waiting)
            error = yield from self._forgotten(whole, start, pause)
        finally:
            if pause.heirs:
                pause.heirs.popleft()(pause)
            else:
                self._pauses.pop(whole)
        waiting, pause.waiting = pause.waiting, []
        yield from self._found(waiting)
        return error

    def _found(self, waiting: Sequence[tuple[Place, Then]]) -> Steps:
        """Repeat these ``find`` calls; a partition that is paused again waits on."""
        for place, then in waiting:
            self.find(place, then)
            yield ANEW_UNITS

    def _forgotten(self, whole: Place, start: int | None, pause: _Pause) -> Steps:
        for place in self._opening.within(whole):
            pause.waiting += [(place, then) for then in self._opening.pop(place) or ()]
            yield 1
        if start is None and not (pause.waiting or self._known.has(whole)):
            return None
        for place in self._known.within(whole):
            known = self._known.get(place)
            if isinstance(known, SharedPartition):
                known.leave()
                yield partial(_once_still, known)
            yield LEAVE_UNITS
        try:
            if start is not None:
                self._check(whole)
            yield partial(self._told_anew, whole, start)
        except LogstoreError as error:
            yield from self._restored(whole)
            return error
        for place in self._known.within(whole):
            self._known.pop(place)
            yield 1
        if start is not None and self._around.by_id(_of(whole)[0]) is not None:
            self._known.put(whole, begun_state(start))
        return None

    def _told_anew(self, whole: Place, start: int | None, go_on: GoOn) -> None:
        """Journal the new beginning, and go on after that. This is a ``Wait``."""
        key = share_key(whole)
        if start is None:
            self.tell(key, gone(), go_on)
        else:
            self.tell(key, gone(), _nobody)
            self.tell(key, begun(start), go_on)  # of the same batch

    def _restored(self, whole: Place) -> Steps:
        for place in self._known.within(whole):
            known = self._known.get(place)
            if isinstance(known, SharedPartition):
                known.back()
            yield LEAVE_UNITS

    def _pause_of(self, place: Place) -> _Pause | None:
        """Return the pause of this place or of one that contains it, or None."""
        for it in (place, place._replace(partition=None), Place(place.group)):
            if (found := self._pauses.get(it)) is not None:
                return found
        return None

    def _busy(self, whole: Place) -> _Pause | None:
        """Return a pause that overlaps this place, or None."""
        within = next(self._pauses.within(whole), None)
        return self._pause_of(whole) if within is None else self._pauses.get(within)


def _once_still(partition: SharedPartition, go_on: GoOn) -> None:
    """Wait until no move of the partition is in progress, so that no entry follows its end.

    This is a ``Wait``.
    """
    partition.when_still(partial(go_on, None))


def _after(busy: _Pause, heirs: deque[GoOn]) -> Wait:
    """Return a ``Wait`` for the end of the pause ``busy``, ahead of these heirs."""
    return lambda go_on: busy.heirs.extend((go_on, *heirs))


def _of(place: Place) -> tuple[bytes, int]:
    assert place.topic_id is not None
    assert place.partition is not None
    return place.topic_id, place.partition


def _open(topic: Topic, place: Place, kept: bytes | None, rules: Rules, wall_ms: int) -> _Found:
    """Open the partition's log. May take long. Raises LogstoreError."""
    its = topic.partition(_of(place)[1])
    if kept is None:
        return _Found(its, None, beginning(its, rules, wall_ms), Settled())
    lost = Settled()
    state = decode_state(kept, place)
    settlement = reopened(LANE, state, its.start, its.end, 0, lost)
    return _Found(its, settlement, 0, lost)


def _or_error(job: Callable[[], _Found]) -> _Found | LogstoreError:
    try:
        return job()
    except LogstoreError as error:
        return error


def _nobody(_: object) -> None:
    """Do nothing: no caller waits for the result."""
