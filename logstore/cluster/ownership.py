"""The partitions that this node owns: taken over and given up as the group assigns them.

::

               wanted          turn           won
        free ---------> waiting ----> taking -----> owned
         ^ ^               | ^           | |          | |
         | '--- unwanted --' '--- lost --' | unwanted | |
         |                 ^               v          v |
         '----- lost ------|------------ ending <-----' |
                           '------------- lost ---------'

Several partitions are taken over at the same time, not all. A lost partition is claimed again only
after a while, and only if the group has assigned it to this node again: a node that is cut off from
the group keeps what it owns, but takes nothing from a newer owner. A partition that is given up is
released to the group when all appends are done, or have taken too long.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Alarm
from logstore.cluster.claims import Claim
from logstore.cluster.client import Client
from logstore.cluster.identity import Identity, Then
from logstore.cluster.owned_log import OwnedLog
from logstore.cluster.owners import Owners
from logstore.cluster.takeover import Stage, State, Takeover
from logstore.cluster.waiters import WaitFor
from logstore.errors import FencedProducer, LogstoreError

AT_ONE_TIME: Final = 4  # take-overs
FINISH_S: Final = 2.0  # for what was appended to be done, before a partition is given up
BEATS_S: Final = 60.0  # how often beats are looked after, of which there is one an hour
STEADY_S: Final = 60.0  # owned for so long, its loss is the first one
AGAIN_S: Final = 0.05
AGAIN_MAX_S: Final = 5.0


class Place(Enum):
    """The state of a partition."""

    FREE = auto()
    WAITING = auto()
    TAKING = auto()
    OWNED = auto()
    ENDING = auto()


class Event(Enum):
    """What changes the state of a partition."""

    WANTED = auto()
    UNWANTED = auto()
    TURN = auto()
    WON = auto()
    LOST = auto()


_NEXT: Final = {
    (Place.FREE, Event.WANTED): Place.WAITING,
    (Place.WAITING, Event.UNWANTED): Place.FREE,
    (Place.WAITING, Event.TURN): Place.TAKING,
    (Place.TAKING, Event.WON): Place.OWNED,
    (Place.TAKING, Event.LOST): Place.WAITING,
    (Place.TAKING, Event.UNWANTED): Place.ENDING,
    (Place.OWNED, Event.LOST): Place.WAITING,
    (Place.OWNED, Event.UNWANTED): Place.ENDING,
    (Place.ENDING, Event.LOST): Place.FREE,
}
_BEFORE: Final = frozenset({Place.WAITING, Place.TAKING})


class _Partition:
    """One partition, and the surroundings of its takeover (``takeover.Around``)."""

    def __init__(self, its: "Ownership", number: int) -> None:
        self.number = number
        self.place = Place.FREE
        self.takeover: Takeover | None = None
        self.failure: LogstoreError | None = None  # of the last one
        self.not_before = 0.0
        self.heard = 0  # as often it was heard that it is wanted, and it was another's
        self._its = its
        self._client = its.client
        self._log: OwnedLog | None = None
        self._backoff = Backoff(its.client.random, AGAIN_S, AGAIN_MAX_S)
        self._won_at = 0.0
        self._alarm: Alarm | None = None

    def move(self, event: Event) -> bool:
        """Apply an event; returns whether the state has changed."""
        place = _NEXT.get((self.place, event))
        if place is None:
            return False
        before, self.place = self.place, place
        if event is Event.TURN:
            its = self._its
            state = its.new_state(self.number)
            self.takeover = Takeover(self, its.node, its.address, state, its.group.joined_at)
        elif event is Event.WON:
            self._won_at = self.now()
        elif event is Event.LOST:
            self._lost(before)
        elif place is Place.ENDING:
            self._finish()
        return True

    def _finish(self) -> None:
        assert self.takeover is not None
        takeover = self.takeover
        if takeover.stage is Stage.OWNED:
            self._its.ending(self.number)
        self._alarm = self._client.around.call_at(self.now() + FINISH_S, takeover.leave)
        takeover.finish()

    def _lost(self, before: Place) -> None:
        assert self.takeover is not None
        self.failure, self.takeover = self.takeover.failure, None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if before is Place.OWNED and self.now() - self._won_at >= STEADY_S:
            self._backoff.succeeded()
        self.not_before = self.now() + self._backoff.failed()
        if before is not Place.ENDING and isinstance(self.failure, FencedProducer):
            self.heard = self._its.group.heard

    def look(self) -> None:
        """Check the stage of its takeover."""
        stage = None if self.takeover is None else self.takeover.stage
        if stage is Stage.LOST:
            self._its.moved(self, Event.LOST)
        elif stage is Stage.OWNED:
            self._its.moved(self, Event.WON)

    # As takeover.Around

    def named(self, then: Callable[[Identity | LogstoreError], None]) -> None:
        """As Around.named."""
        self._client.identities.named(f"{self._its.topic}-{self.number}", then)

    def last_claim(self, then: Callable[[Claim | LogstoreError | None], None]) -> None:
        """As Around.last_claim."""
        self._its.owners.last_claim(self.number, then)

    def opened(self, identify: Callable[[Then], None]) -> OwnedLog:
        """As Around.opened."""
        if self._log is not None:
            self._log.close()
        self._log = self._its.owners.owned_log(self.number, identify)
        return self._log

    def now(self) -> float:
        """As Around.now."""
        return self._client.around.now()

    def now_ms(self) -> int:
        """As Around.now_ms."""
        return self._its.now_ms()

    def soon(self, call: Callable[[], object]) -> object:
        """As Around.soon."""
        return self._client.around.soon(call)

    def changed(self) -> None:
        """As Around.changed."""
        self._client.around.soon(self.look)


class Group(Protocol):
    """Says which partitions this node should own."""

    @property
    def assigned(self) -> frozenset[int]:
        """The assigned partitions."""

    @property
    def heard(self) -> int:
        """The number of assignments so far."""

    @property
    def heard_at(self) -> float:
        """As standing.Group."""

    @property
    def joined_at(self) -> float:
        """The same."""

    def gave_up(self, number: int) -> None:
        """Report that partitions that are no longer assigned were given up."""

    def hurry(self) -> None:
        """The group is about to change the assignment."""

    def leave(self, then: Callable[[], None]) -> None:
        """Leave the group."""


class Ownership:
    """The partitions of one topic that one node owns. Used in one thread."""

    def __init__(
        self,
        client: Client,
        wait_for: WaitFor,
        topic: str,
        node: str,
        address: str,
        join: Callable[[Callable[[], object]], Group],
        new_state: Callable[[int], State],
        now_ms: Callable[[], int],
        changed: Callable[[int], object],
        ending: Callable[[int], object] = lambda number: None,
    ) -> None:
        """``node``, ``address``: of this node, as others know it; ``join(told)`` joins the group,
        which calls ``told`` whenever it has said what this node should own; ``new_state(number)``
        is told of what stands in a partition that is taken over.

        ``changed(number)``: called when ``owner_of`` or ``served`` changes. ``ending(number)``:
        called before a served partition is given up, for the last appends.
        """
        self.client = client
        self.topic = topic
        self.node = node
        self.address = address
        self.new_state = new_state
        self.now_ms = now_ms
        self._changed = changed
        self.ending = ending
        self._partitions: dict[int, _Partition] = {}
        self._turns: Alarm | None = None
        self._stopping = False
        self._stopped: Callable[[], None] | None = None
        self.owners = Owners(client, wait_for, topic, self._claimed)
        self.group = join(self._assigned)
        self._beats = self._beats_later()

    # What is known

    def owner_of(self, number: int) -> Claim | None:
        """The latest node to claim it, perhaps this one; None: unknown."""
        return self.owners.owner_of(number)

    def served(self, number: int) -> Takeover | None:
        """The takeover of a partition that this node owns."""
        it = self._partitions.get(number)
        return None if it is None or it.place is not Place.OWNED else it.takeover

    def place_of(self, number: int) -> Place:
        """The state of the partition at this node."""
        it = self._partitions.get(number)
        return Place.FREE if it is None else it.place

    def failure_of(self, number: int) -> LogstoreError | None:
        """Why it was lost last, or why its owner is unknown."""
        it = self._partitions.get(number)
        lost = it.failure if it is not None and it.place in _BEFORE else None
        return lost or self.owners.failure_of(number)

    # What moves partitions

    def _assigned(self) -> None:
        """The group has assigned partitions, perhaps the same again."""
        wanted = frozenset() if self._stopping else self.group.assigned
        for number in sorted(wanted | self._partitions.keys()):
            it = self._partitions.get(number)
            if it is None:
                it = self._partitions[number] = _Partition(self, number)
            self.moved(it, Event.WANTED if number in wanted else Event.UNWANTED)
        self.client.around.soon(self._give_turns)

    def moved(self, it: _Partition, event: Event) -> None:
        """Something has happened to a partition."""
        if not it.move(event):
            return
        if it.place is Place.FREE:
            if not self._stopping and it.number in self.group.assigned:
                it.move(Event.WANTED)  # again, meanwhile
            self.group.gave_up(it.number)
            self._look_for_end()
        if event in (Event.WON, Event.LOST) or it.place is Place.ENDING:
            self._changed(it.number)
        if event is Event.WON:
            self._claimed(it.number)
        self.client.around.soon(self._give_turns)

    def _give_turns(self) -> None:
        now, heard = self.client.around.now(), self.group.heard
        waiting = [it for it in self._partitions.values() if it.place is Place.WAITING]
        waiting.sort(key=lambda it: (it.not_before, it.number))
        free = AT_ONE_TIME - sum(it.place is Place.TAKING for it in self._partitions.values())
        later = [it.not_before for it in waiting if it.not_before > now]
        for it in waiting:
            if free and it.not_before <= now and it.heard < heard:
                self.moved(it, Event.TURN)
                free -= 1
        if self._turns is not None:
            self._turns.cancel()
            self._turns = None
        if later:
            self._turns = self.client.around.call_at(min(later), self._give_turns)

    def _claimed(self, number: int) -> None:
        """A node has claimed the partition, or its owner has become unknown."""
        it = self._partitions.get(number)
        claim = self.owners.owner_of(number)
        if it is not None and it.takeover is not None and claim is not None:
            it.takeover.seen(claim)
        self._changed(number)

    # Beats, and what they are for

    def _beats_later(self) -> Alarm:
        around = self.client.around
        return around.call_at(around.now() + BEATS_S, self._beat)

    def _beat(self) -> None:
        for it in self._partitions.values():
            if it.takeover is not None:
                it.takeover.beat()
        self._beats = self._beats_later()

    def trim(self, number: int, before: int, then: Callable[[int | LogstoreError], None]) -> None:
        """Delete records below ``before``, up to a claim or beat of this node.

        ``then`` gets the new start of the partition. To delete everything below a record, append a
        beat directly before that record; to delete everything, append a beat now.
        """
        takeover = self.served(number)
        if takeover is None or takeover.log is None:
            then(FencedProducer(f"{self.topic}-{number}: this node does not own it"))
            return
        log = takeover.log
        if before < log.end:
            words = [it for it in self.owners.words_of(number) if log.start < it <= before]
            self._trim_to(number, max(words, default=log.start), log.start, then)
            return
        try:
            mark = takeover.say_beat()
        except LogstoreError as error:
            then(error)
            return

        def look() -> None:
            try:
                log.check_failure()
            except LogstoreError as error:
                stop()
                then(error)
                return
            if log.done > mark:
                stop()
                self._trim_to(number, log.offset_of(mark), log.start, then)

        stop = log.watch(look)

    def _trim_to(
        self, number: int, word: int, start: int, then: Callable[[int | LogstoreError], None]
    ) -> None:
        if word <= start:
            then(start)
        else:
            self.client.offsets.delete_below((self.topic, number), word, then)

    # Its end

    def stop(self, then: Callable[[], None]) -> None:
        """Give up all partitions and leave the group; ``then`` is called when that is done, or
        takes too long.
        """
        self._stopping, self._stopped = True, then
        self._beats.cancel()
        self._assigned()
        self._look_for_end()

    def _look_for_end(self) -> None:
        then = self._stopped
        if then is None or any(it.place is not Place.FREE for it in self._partitions.values()):
            return
        self._stopped = None
        if self._turns is not None:
            self._turns.cancel()
        self.owners.close()
        self.group.leave(then)
