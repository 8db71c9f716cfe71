"""All share partitions of a process, made when a member asks for them first; and the sessions.

Where a group begins in a partition is decided once, and the journal has it before any record is
given. What it has of groups is read once; from then on what is known here is ahead of it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, NamedTuple, Protocol

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

PARTITIONS_MAX: Final = 50_000  # of all groups; one that is read takes 2 KiB
# Where somebody's records are released, or are overdue, before others have their turn.
ENDED_AT_ONCE: Final = 50  # partitions
LOCKS_AT_ONCE: Final = 1000  # runs of records that somebody has

log: Final = logging.getLogger("logstore.shares")

Then = Callable[[SharedPartition | LogstoreError], None]


class Surroundings(Around, Protocol):
    """What the process gives."""

    def now_ms(self) -> int:
        """By a clock that only goes forward."""

    def wall_ms(self) -> int:
        """Since 1970."""

    def soon(self, call: Callable[[], object]) -> None:
        """Have it called in this thread, from any."""

    def alarm(self, at_ms: int) -> None:
        """Have ``look_at_times`` called then, or earlier."""


class _Found(NamedTuple):
    """A partition's log, and what is settled of it; or where the group begins."""

    log: Log
    settlement: Settlement | None
    start: int
    lost: Settled  # what the log does not have any more


class Shares:
    """Used in one thread."""

    def __init__(
        self,
        kept: Iterable[tuple[Place, bytes]],
        around: Surroundings,
        sessions: Sessions | None = None,
    ) -> None:
        """``kept``: what the journal has (``JournaledShares.partitions``)."""
        self.sessions = sessions or Sessions()
        self._around = around
        self._kept = dict(kept)  # of partitions that nobody has asked for yet
        self._live: dict[Place, SharedPartition] = {}
        self._opening: dict[Place, list[Then]] = {}
        self._suspended: set[Place] = set()  # of those: that begin again, or never
        self._topics: dict[bytes, set[Place]] = {}  # all that are kept or live
        self._groups: dict[str, set[Place]] = {}
        for place in self._kept:
            self._enter(place)
        self._used: dict[str, set[SharedPartition]] = {}  # where an owner may have records
        self._due: list[tuple[int, int, SharedPartition]] = []
        self._numbers = count()
        self._ended: deque[tuple[str, set[SharedPartition]]] = deque()
        self._letters = DeadLetters(around, self._dead_again)
        self.dying = self._letters.add
        self.counts = self._letters.counts

    def forget_topics(self) -> None:
        """Of topics that were deleted, while nobody was there to tell, nothing is kept."""
        for topic_id in list(self._topics):
            if self._around.by_id(topic_id) is None:
                self.topic_gone(topic_id)

    # Partitions

    def at_hand(self, place: Place) -> SharedPartition | None:
        """The partition, if somebody has asked for it already."""
        return self._live.get(place)

    def find(self, place: Place, then: Then) -> None:
        """``then`` gets it, or why there is none: now, or in a later turn."""
        known = self._live.get(place)
        if known is not None:
            then(known)
        elif (opening := self._opening.get(place)) is not None:
            opening.append(then)
        else:
            try:
                topic = self._check(place)
            except LogstoreError as error:
                then(error)
                return
            opening = self._opening[place] = [then]
            rules, kept = self._around.rules(place.group), self._kept.get(place)
            job = partial(_open, topic, place, kept, rules, self._around.wall_ms())
            self._around.work(partial(_or_error, job), partial(self._opened, place, opening))

    def _check(self, place: Place) -> Topic:
        """Raises InvalidName, UnknownTopic, UnknownPartition, TooManyPartitions."""
        check_group(place.group)
        topic_id, number = _of(place)
        topic = self._around.by_id(topic_id)
        if topic is None or topic.read_only:
            raise UnknownTopic(f"topic {topic_id.hex()}: there is none that can be shared")
        if not 0 <= number < len(topic.partitions):
            raise UnknownPartition(f"topic {topic.name!r} has no partition {number}")
        known = place in self._kept or place in self._live
        if not known and self._count() >= PARTITIONS_MAX:
            raise TooManyPartitions(
                f"share groups have begun with {PARTITIONS_MAX} partitions, and there may be no "
                f"more: delete groups, or their offsets in topics"
            )
        return topic

    def _count(self) -> int:
        return len(self._kept) + len(self._live) + len(self._opening)

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
        self._kept.pop(place, None)
        self._enter(place)
        live = self._live[place] = SharedPartition(place, its, settlement, self)
        self._answer(place, live)

    def _answer(self, place: Place, answer: SharedPartition | LogstoreError) -> None:
        for then in self._opening.pop(place, ()):
            then(answer)

    def _enter(self, place: Place) -> None:
        self._topics.setdefault(_of(place)[0], set()).add(place)
        self._groups.setdefault(place.group, set()).add(place)

    def _leave(self, place: Place) -> None:
        _discard(self._topics, _of(place)[0], place)
        _discard(self._groups, place.group, place)

    # What is known of them

    def places(self, group: str) -> Sequence[Place]:
        """The partitions that the group has begun with, ascending."""
        return sorted(self._groups.get(group, ()))

    def groups(self) -> Sequence[str]:
        """Those that have begun with any."""
        return sorted(self._groups)

    def standing(self, place: Place, end: int | None) -> tuple[int, int] | None:
        """The first offset that is not done with, and how many are not, of a log that ends here.

        None: the group has not begun there. A lag of -1: nobody knows where the log ends. Raises
        CorruptStore, SchemaTooNew.
        """
        live = self._live.get(place)
        if live is not None:
            return live.start(), live.lag()
        kept = self._kept.get(place)
        if kept is None:
            return None
        state = decode_state(kept, place)
        if end is None:
            return state.floor, -1
        return state.floor, max(0, end - state.cursor) + size(state.held)

    # Sessions

    def use(self, session: ShareSession, partition: SharedPartition) -> None:
        """The session's owner may have records of it."""
        its = self._used.setdefault(session.owner, set())
        its.add(partition)
        if len(its) > SESSION_PARTITIONS_MAX:  # topics come and go, and sessions stay
            its -= {it for it in its if it.gone}

    def end(self, session: ShareSession) -> None:
        """It is over, and all that its member has is available again."""
        if self.sessions.end(session):
            self._ended.append((session.owner, self._used.pop(session.owner, set())))
            if len(self._ended) == 1:
                self._release()

    def _release(self) -> None:
        """Some of what was left, each turn."""
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
        """A connection is gone: so are the sessions that came by it."""
        for it in self.sessions.of(connection):
            self.end(it)

    # Times

    def look_at_times(self) -> None:
        """Take back what members have had for too long, some of it."""
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

    # What is deleted, or begins again

    def topics_changed(self, change: Change) -> None:
        """As Topics.tell has it called: from any thread."""
        if change.event == "deleted":
            self._around.soon(partial(self.topic_gone, change.topic.uuid))

    def topic_gone(self, topic_id: bytes) -> None:
        """A topic was deleted; one that is made anew under its name has another id."""
        opening = {it for it in self._opening if it.topic_id == topic_id}
        places = self._topics.get(topic_id, set()) | opening
        lives: list[SharedPartition] = []
        for place in places:
            self._kept.pop(place, None)
            live = self._live.pop(place, None)
            if live is not None:
                live.leave()
                lives.append(live)
            self._leave(place)
            self._suspended.discard(place)
            self._answer(place, UnknownTopic(f"topic {topic_id.hex()} was deleted"))
        groups = sorted({it.group for it in places})

        def tell() -> None:
            for group in groups:
                self._around.tell(share_key(Place(group, topic_id)), gone(), _nobody)

        _once_still(lives, tell)

    def group_gone(self, group: str, done: Done) -> None:
        """A group was deleted."""
        opening = {it for it in self._opening if it.group == group}
        places = self._groups.get(group, set()) | opening
        self._anew(Place(group), places, None, done, partial(self.group_gone, group, done))

    def forget(self, group: str, topic_id: bytes, done: Done) -> None:
        """The group is to begin anew in a topic, as if it had never read it."""
        whole = Place(group, topic_id)
        opening = {it for it in self._opening if it[:2] == whole[:2]}
        places = {it for it in self._groups.get(group, ()) if it.topic_id == topic_id} | opening
        self._anew(whole, places, None, done, partial(self.forget, group, topic_id, done))

    def begin_at(self, place: Place, start: int, done: Done) -> None:
        """The group is to begin there in a partition, whatever is settled of it."""
        try:
            self._check(place)
        except LogstoreError as error:
            done(error)
            return
        self._anew(place, {place}, start, done, partial(self.begin_at, place, start, done))

    def _anew(
        self,
        whole: Place,
        places: Set[Place],
        start: int | None,
        done: Done,
        again: Callable[[], None],
    ) -> None:
        """Nothing is known of these any more, once the journal has it; ``start``: but that.

        Whoever asks for one meanwhile waits. Where the journal does not take it, all is as before.
        """
        if not places:
            done(None)
            return
        busy = next(iter(places & self._suspended), None)
        if busy is not None:
            self._opening[busy].append(lambda _: again())
            return
        self._suspended |= places
        before: dict[Place, tuple[bytes | None, SharedPartition | None]] = {}
        waiting: dict[Place, list[Then]] = {}
        for place in places:
            before[place] = self._kept.pop(place, None), self._live.pop(place, None)
            if (live := before[place][1]) is not None:
                live.leave()
            waiting[place] = self._opening[place] = [*self._opening.get(place, ())]

        def told(error: LogstoreError | None) -> None:
            self._suspended.difference_update(places)
            for place, (kept, live) in before.items():
                if self._opening.get(place) is not waiting[place]:  # its topic is gone, too
                    continue
                del self._opening[place]
                if error is None:
                    kept, live = None if start is None else begun_state(start), None
                self._put(place, kept, live)
                for then in waiting[place]:
                    self.find(place, then)
            done(error)

        def tell() -> None:
            last = told if start is None else lambda _: None
            self.tell(share_key(whole), gone(), last)
            if start is not None:  # of the same batch
                self.tell(share_key(whole), begun(start), told)

        _once_still([live for _, live in before.values() if live is not None], tell)

    def _put(self, place: Place, kept: bytes | None, live: SharedPartition | None) -> None:
        if live is not None:
            self._live[place] = live
            live.back()
        elif kept is not None:
            self._kept[place] = kept
        if live is None and kept is None:
            self._leave(place)
        else:
            self._enter(place)


def _of(place: Place) -> tuple[bytes, int]:
    assert place.topic_id is not None
    assert place.partition is not None
    return place.topic_id, place.partition


def _once_still(lives: Sequence[SharedPartition], then: Callable[[], None]) -> None:
    """Once the journal is told nothing more of these: it would come behind their end."""
    left = 1

    def one() -> None:
        nonlocal left
        left -= 1
        if not left:
            then()

    for it in lives:
        left += 1
        it.when_still(one)
    one()


def _discard(index: dict[Any, set[Place]], key: object, place: Place) -> None:
    its = index.get(key, set())
    its.discard(place)
    if not its:
        index.pop(key, None)


def _open(topic: Topic, place: Place, kept: bytes | None, rules: Rules, wall_ms: int) -> _Found:
    """May take long. Raises LogstoreError."""
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


def _nobody(_: int | LogstoreError) -> None:
    """Waits for it."""
