"""All queues of a process: its virtual hosts, the journal, and their timers.

Used in the sessions' thread, except for what ``work`` runs in another thread: opening and deleting
lanes.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from logstore.amqp import fields
from logstore.broker.policies import STREAM, check
from logstore.broker.queues.decided_offsets import DecidedOffsets
from logstore.broker.queues.handovers import HandOvers
from logstore.broker.queues.journaling import IN_USE, RETRY_MS, Journaling, Touched
from logstore.broker.queues.keeping import Rows, exchange_facts, policy_of, queue_facts
from logstore.broker.queues.lane import Windows
from logstore.broker.queues.lane_logs import LaneLogs
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Framing, Showing
from logstore.broker.queues.named import Named
from logstore.broker.queues.newest import Hosted, newest
from logstore.broker.queues.opening import Work
from logstore.broker.queues.partitions import Partitions
from logstore.broker.queues.pending import NO_TIME, Pending
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.refusals import InvalidQueueArgument
from logstore.broker.queues.resuming import resume
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.station import Station
from logstore.broker.queues.station_home import StationHome, Surroundings
from logstore.broker.queues.stations import KEEPING, MAKERS
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Holder, Transaction
from logstore.broker.queues.trimming import Trimming
from logstore.broker.queues.vhost import Crossings, Neighbourhood, Vhost
from logstore.broker.queues.vhosts import Vhosts
from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts, is_predefined
from logstore.broker.routing.refusals import UnknownType
from logstore.broker.routing.topology import Topology
from logstore.broker.transactions.operations import Offset
from logstore.counts.queues import QueueTotals
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import LogstoreError, Refused, UnknownPartition
from logstore.kept.groups import GroupKeeper, OffsetToCommit
from logstore.kept.keeping import Keeping, ReadOn
from logstore.kept.queues import (
    DEFAULT_VHOST,
    KeptQueue,
    KeptRouting,
    KeptVhost,
    Lane,
    QueueLogs,
)
from logstore.kept.schedules import ScheduleKeeper, exchange_of, of_exchange
from logstore.log import Log, TopicPartition

if TYPE_CHECKING:  # most have none
    from logstore.broker.queues.crossing.topic_routes import TopicRoutes
    from logstore.broker.queues.roaming.roamers import Roamers
    from logstore.broker.queues.streams.stream import Stream
    from logstore.broker.queues.streams.streams import Streams

_T = TypeVar("_T")

FORGOTTEN_AT_ONCE: Final = 4096  # entries of the index, of exchanges that are gone
OPENING_MAX: Final = 2  # queues that are opened at once in the background, after a start
CLOCK_MS: Final = 1000  # between looks at the clock while messages wait for it
CLOCK_BACK_MS: Final = 1000  # a step back that is worth a line
NO_LANES: Final[dict[int, Sequence[int]]] = {}
NO_SURROUNDINGS: Final = Surroundings()
NO_CROSSINGS: Final = Crossings()

log: Final = logging.getLogger("logstore.queues")


class Alarmed(Protocol):
    """Something with a deadline."""

    def wake(self) -> object: ...


def _nobody(at_ms: int | None) -> None:
    pass


class Waiting(Protocol):
    """An exchange with delayed messages."""

    @property
    def waiting(self) -> int: ...


class Queues:
    """The queues of one data directory, in the process that writes it."""

    def __init__(
        self,
        logs: QueueLogs,
        clock: Callable[[], int],
        soon: Callable[[Callable[[], object]], object],
        work: Work,
        alarmed: Callable[[int | None], None] = _nobody,
        totals: QueueTotals | None = None,
        surroundings: Surroundings = NO_SURROUNDINGS,
    ) -> None:
        """``soon``: schedules a call in this thread at the end of its turn, once for equal ones.

        ``work``: runs the first in another thread, then the second with its result in this one.
        ``alarmed`` is called with the time for ``tick``; without it, ask ``deadline_ms``. Raises
        SchemaTooNew, CorruptStore, StorageFull.
        """
        self.clock = clock
        self._surroundings = surroundings
        self.deduplication = surroundings.deduplication
        self.totals = QueueTotals() if totals is None else totals
        self.windows, self.showing, self.framing = Windows(), Showing(), Framing()
        self._hosts = Vhosts(self, logs.keeper)
        self._logs = logs
        self._soon = soon
        self._work = work
        self._alarmed = alarmed
        self._alarms: dict[Alarmed, int] = {}
        self._times: list[tuple[int, int, Alarmed]] = []
        self.scheduled = ScheduleCounts()
        self._numbers = count()
        self._last_ms = 0  # at the last tick
        self._trimming = Trimming()
        self._trims_fail = False
        self._short: list[Callable[[], object]] = []  # callers that wait for room on the disk
        self._closed = False
        self._journaling = Journaling(logs.journal(), self)
        self._notes = self._journaling.notes
        self._holding = self._journaling.holding
        roamers = surroundings.roamers
        self.commit = self._holding.begin if roamers is None else self._commit
        self.touched, self.used = self._journaling.touched, self._journaling.used
        self._keeping = 0  # offsets of groups, of earlier processes
        self._routes: TopicRoutes | None = None
        kept = logs.keeper.load()
        for error in kept.damaged:
            log.error("%s", error)
        self._next_id = self._unused(kept)
        self.logs = LaneLogs(logs, self._journaling, clock, soon, work)
        if surroundings.topics is not None:
            self._holding.partitions = Partitions(
                surroundings.topics, work, clock, self.logs.parked, self.alarm, self._holding.seen
            )
        self._leaving: set[Queue] = set()  # deleted, and not all that died in them is sent
        self.told_deleted: list[Callable[[Queue], object]] = []  # called when a queue is deleted
        self.told_declared: list[Callable[[Queue], object]] = []  # or that one is made that lasts
        self._unopened: set[Queue] = set()  # that have lanes, and were not opened since the start
        # Those of them that may refuse messages: whether there is room is known once they are open.
        self.uncounted: set[Queue] = set()
        self._streams: Streams | None = None  # once there is one
        self._restore(kept)
        self._resume(kept)
        self._drop_streams()

    # Restored at a start

    def _unused(self, kept: KeptRouting) -> int:
        """Return a number above all that are known.

        A queue whose declaration never became durable may have left lanes and settlements; an
        exchange that was not to last, entries of waiting messages.
        """
        scheduled = [it for key in self._scheduled() if (it := exchange_of(key)) is not None]
        traces = [
            *self._notes.queues(), *self._notes.sessions(), *self._logs.lanes(), *scheduled, IN_USE,
        ]  # fmt: skip
        return max(kept.next_id, max(traces) + 1)

    def _restore(self, kept: KeptRouting) -> None:
        lanes = dict(self._logs.lanes())
        current, left = newest(kept)
        for hosted in current:
            self._restore_vhost(hosted, lanes)
        if fields.data(DEFAULT_VHOST) not in self.vhosts:
            fact = KeptVhost(self.next_id(), DEFAULT_VHOST)
            rows = self._hosts.rows(fact, new=True)
            vhost = Vhost(fields.data(DEFAULT_VHOST), self, rows)
            self._add_vhost(vhost, vhost.topology)
        if left and not kept.damaged:
            self._logs.keeper.change((), left)
        if not kept.damaged:  # otherwise it may belong to a damaged row, and stays
            self._remove_left(lanes)
        waiting = deque(self._unopened)
        for _ in range(OPENING_MAX):
            self._open_next(waiting)

    def _remove_left(self, lanes: Mapping[int, Sequence[int]]) -> None:
        """Remove the lanes of deleted queues that an earlier process has left."""
        left = [Lane(queue, it) for queue, those in lanes.items() for it in those]
        if left:
            self.logs.delete(left)
        known = {number for vhost in self.vhosts.values() for number in vhost.numbers()}
        self._journaling.forget(
            it for it in self._notes.queues() if it not in known and it != IN_USE
        )
        for scheduled in self._scheduled():
            if (number := exchange_of(scheduled)) is not None and number not in known:
                self._forget_schedule(scheduled)
        self._journaling.forget_seen(it for it in self._notes.exchanges() if it not in known)

    def _resume(self, kept: KeptRouting) -> None:
        """Finish the transactions of earlier processes, before anything else is appended to the
        lanes.
        """
        unfinished = self._notes.unfinished()
        if unfinished:
            queues: dict[int, Holder] = {}
            for vhost in self.vhosts.values():
                queues |= {it.id: it for it in vhost.with_lanes()} | vhost.holders
            resume(
                self._journaling.log, unfinished, queues.get, self._holding,
                all_known=not kept.damaged, topics_known=not self._logs.topics_damaged,
            )  # fmt: skip

    def _drop_streams(self) -> None:
        """Remove streams whose topics were deleted by an earlier process.

        Of a cluster's topics, some that others have just created may be unknown here.
        """
        if self._streams is None or self._surroundings.roamers is not None:
            return
        for vhost in self.vhosts.values():
            for it in list(vhost.queues()):
                if it.topic_name is None:
                    continue
                stream = cast("Stream", it)
                if self._streams.missing(stream.topic_name):
                    stream.topic_gone()

    def _restore_vhost(self, kept: Hosted, lanes: dict[int, Sequence[int]]) -> None:
        rows = self._hosts.rows(kept.fact)
        vhost = Vhost(fields.data(kept.fact.name), self, rows)
        self._restore_policies(kept, vhost, rows)
        names = {it.id: fields.data(it.name) for it in kept.exchanges.values()}
        for row in kept.queues.values():
            queue = self.restored(row, vhost, lanes)
            rows.queues[queue.id] = queue
            if isinstance(queue, Queue) and queue.resume_lifetimes(row.ttls):
                rows.keep(queue)
            names[queue.id] = queue.facts.name
        for it in kept.bindings:
            binding = Binding(
                names[it.source], names[it.destination], fields.data(it.key),
                arguments_of(it.arguments),
                "queue" if it.destination in rows.queues else "exchange",
            )  # fmt: skip
            rows.bindings[binding] = it
        rows.exchanges = {fields.data(it.name): it for it in kept.exchanges.values()}
        rows.lanes = {
            name: lanes.pop(it.id) for name, it in rows.exchanges.items()
            if it.id in lanes and it.type in MAKERS
        }  # fmt: skip
        topology, lost = Topology.restore(
            [exchange_facts(it) for name, it in rows.exchanges.items() if not is_predefined(name)],
            [(queue.facts.name, queue) for queue in rows.queues.values()],
            list(rows.bindings),
            station_of=vhost.station_of,
            policy_of=vhost.policies.of_exchange,
        )
        rows.change(lost)
        self._add_vhost(vhost, topology)
        self._restore_routes(kept, vhost, rows)

    def _restore_routes(self, kept: Hosted, vhost: Vhost, rows: Rows) -> None:
        for row in kept.routes:
            rows.routes[row.topic, row.exchange] = row
            try:
                self.topic_routes().restore(vhost, row)
            except LogstoreError as error:
                log.error("topic %s feeds exchange %r no more: %s", row.topic, row.exchange, error)  # noqa: TRY400

    def _restore_policies(self, kept: Hosted, vhost: Vhost, rows: Rows) -> None:
        """Restore the policies first, since all that is restored later looks up its policy."""
        found = []
        for row in kept.policies.values():
            rows.policies[row.name] = row
            try:
                found.append(check(policy_of(row)))
            except LogstoreError as error:  # a setting that another logstore took
                log.error("it does not count until it is set again: %s", error)  # noqa: TRY400
        vhost.policies.put(*found)

    def restored(
        self, row: KeptQueue, vhost: Vhost, lanes: dict[int, Sequence[int]] = NO_LANES
    ) -> Named:
        """Return the queue of this row; ``lanes``: those that already exist."""
        facts = queue_facts(row)
        if facts.type_name == STREAM:
            return self._restored_stream(row, facts, vhost)
        if self._surroundings.roamers is not None:
            return self._restored_roaming(row, facts, vhost, self._surroundings.roamers)
        there = lanes.pop(row.id, []) if lanes else []
        try:
            queue = Queue(row.id, facts, vhost, lanes=there, policy=vhost.policy_of(facts))
        except LogstoreError as error:  # an argument that another logstore took
            log.error("queue %r has none of its arguments: %s", row.name, error)  # noqa: TRY400
            bare = QueueFacts(facts.name, True, False, facts.auto_delete, Arguments())
            queue = Queue(row.id, bare, vhost, lanes=there, policy=vhost.policy_of(bare))
        if there:
            self._unopened.add(queue)
            if queue.to_be_opened:
                self.uncounted.add(queue)
        queue.used()
        return queue

    @staticmethod
    def _restored_roaming(
        row: KeptQueue, facts: QueueFacts, vhost: Vhost, roamers: "Roamers"
    ) -> Named:
        try:
            return roamers.make(row.id, facts, vhost, vhost.policy_of(facts))
        except LogstoreError as error:  # as of any queue
            log.error("queue %r has none of its arguments: %s", row.name, error)  # noqa: TRY400
            return roamers.make(row.id, facts._replace(arguments=Arguments()), vhost, None)

    def _restored_stream(self, row: KeptQueue, facts: QueueFacts, vhost: Vhost) -> Named:
        from logstore.broker.queues.streams.made import restored

        try:
            return restored(self.streams(), row.id, facts, vhost)
        except InvalidQueueArgument as error:  # as of a queue
            log.error("stream %r has none of its arguments: %s", row.name, error)  # noqa: TRY400
            kind = facts.arguments.get(b"x-queue-type")
            assert kind is not None
            bare = Arguments.of({b"x-queue-type": kind})
            return restored(self.streams(), row.id, facts._replace(arguments=bare), vhost)

    def _add_vhost(self, vhost: Vhost, topology: Topology[Named, Station]) -> None:
        vhost.topology = topology
        vhost.named()
        self._hosts.put(vhost)

    # Virtual hosts

    @property
    def vhosts(self) -> Mapping[bytes, Vhost]:
        """The virtual hosts by name."""
        return self._hosts.by_name

    def vhost(self, name: bytes) -> Vhost:
        """Return an existing virtual host. Raises NoVhost."""
        return self._hosts.named(name)

    def add_vhost(self, name: bytes) -> Pending | None:
        """As Vhosts.add."""
        return self._hosts.add(name)

    def follow_vhost(self, fact: KeptVhost) -> Vhost:
        """Add a virtual host that another node has made."""
        return self._hosts.make(fact)

    def vhost_left(self, vhost: Vhost) -> None:
        """Remove a virtual host that another node has deleted."""
        if self.vhosts.get(vhost.name) is vhost:
            self._hosts.leave(vhost.name)
            if self._routes is not None:
                self._routes.vhost_gone()

    def delete_vhost(self, name: bytes) -> Pending:
        """As Vhosts.delete."""
        pending = self._hosts.delete(name)
        if self._routes is not None:
            self._routes.vhost_gone()
        return pending

    def _open_next(self, waiting: deque[Queue]) -> None:
        """Open the queues, some at a time, so that messages expire even without consumers."""
        while waiting and not self._closed:
            queue = waiting.popleft()
            if not queue.gone and not queue.is_open():

                def opened(queue: Queue = queue) -> None:
                    self._is_known(queue)
                    self._may_trim([] if queue.gone else [queue])
                    self._open_next(waiting)

                queue.when_open(opened)
                return
            self._is_known(queue)

    def _is_known(self, queue: Queue) -> None:
        """Note that the queue's messages are counted, or that it is gone."""
        self._unopened.discard(queue)
        self.uncounted.discard(queue)

    # What doors and virtual hosts ask

    @property
    def crowded(self) -> bool:
        """Whether too much waits for lanes or the journal, so that no more publishes are to be
        read.
        """
        roamers = self._surroundings.roamers
        crowded = roamers is not None and roamers.crowded
        return crowded or self.logs.crowded or self._holding.crowded

    def soon(self, call: Callable[[], object]) -> None:
        """Schedule a call at the end of the turn. From any thread."""
        self._soon(call)

    def check_type(self, exchange_type: str) -> None:
        """As ``Host.check_type``: exchanges of several nodes cannot store messages or ids."""
        if self._surroundings.roamers is not None and exchange_type in KEEPING:
            raise UnknownType(exchange_type)

    def check_numbers(self) -> None:
        """As Host.check_numbers."""
        numbers = self._logs.keeper.numbers
        if numbers is not None:
            numbers.check()

    def next_id(self) -> int:
        """Return a number that was never used before."""
        if self._surroundings.next_id is not None:
            return self._surroundings.next_id()
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    def _commit(
        self, transaction: Transaction, then: Callable[[LogstoreError | None], None]
    ) -> bool:
        """As ``Host.commit``, by the journal that has all queues whose messages are settled."""
        assert self._surroundings.roamers is not None
        holding = self._surroundings.roamers.holding_of(transaction) or self._holding
        return holding.begin(transaction, then)

    def station_of(
        self, vhost: Vhost, facts: ExchangeFacts, number: Callable[[], int], lanes: Sequence[int]
    ) -> Station | None:
        """As Host.station_of."""
        make = MAKERS.get(facts.type_name)
        if make is None:
            return None
        return make(StationHome(vhost, facts, self._surroundings, number, lanes))

    @property
    def routes(self) -> Crossings:
        """As Host.routes."""
        return NO_CROSSINGS if self._routes is None else self._routes

    def topic_routes(self) -> "TopicRoutes":
        """The routes from topics to exchanges. Raises Failed in a process without topics."""
        if self._routes is None:
            from logstore.broker.queues.crossing.topic_routes import routes_of  # few have any

            self._routes = routes_of(
                self._surroundings, self.offsets, self.journaled, self._work, self._soon,
                self.alarm, lambda: self.crowded,
            )  # fmt: skip
        return self._routes

    def seen(self, exchange: int) -> Sequence[tuple[bytes, int]]:
        """As Host.seen."""
        return self._notes.seen(exchange)

    def forget_seen(self, exchange: int) -> None:
        """As Host.forget_seen."""
        self._journaling.forget_seen((exchange,))

    def handovers(self, session: int) -> HandOvers:
        """Return the journal's hand-over state of a session."""
        return self._notes.handovers(session)

    def handing_over(self) -> Sequence[int]:
        """Return the numbers of the sessions of which the journal has entries."""
        return self._notes.sessions()

    # Offsets of groups

    def offsets(
        self, group: str, offsets: Mapping[TopicPartition, OffsetToCommit]
    ) -> DecidedOffsets:
        """Return offsets as a part of a held transaction."""
        keeper = self._surroundings.positions
        assert keeper is not None, "who has groups keeps their offsets"
        return DecidedOffsets(group, offsets, keeper, self._notes.ended)

    def journaled(self, group: str) -> list[tuple[int, Offset]]:
        """Return a group's offsets that the journal has and that may not be stored yet, in order.

        Each comes with the place of its record. From any thread. Raises SchemaTooNew, CorruptStore.
        """
        committed = self._notes.committed()
        return [(place, it) for place, (name, those) in committed if name == group for it in those]

    def keep_offsets(self) -> None:
        """Store offsets that an earlier process has committed and that may not be stored yet.

        For the start of a process without transactions of topics. Offsets of deleted topics are
        forgotten.
        """
        keeper, topics = self._surroundings.positions, self._surroundings.topics
        if keeper is None or topics is None:
            return
        by_place: dict[int, dict[str, dict[TopicPartition, OffsetToCommit]]] = {}
        known = self._notes.transactions()
        # Their markers are a server's to write: for it the journal must know of them still.
        decisions = frozenset(known.unfinished())
        for place, (group, offsets) in known.committed():
            those = by_place.setdefault(place, {}).setdefault(group, {})
            for it in offsets:
                topic = topics.by_uuid(it.topic_id)
                if topic is not None:
                    those[topic.name, it.partition] = OffsetToCommit(
                        it.offset, it.metadata, it.leader_epoch, topic.id, place, replayed=True
                    )
        for place, groups in by_place.items():
            self._keep_again(keeper, place, groups, ends=place not in decisions)

    def _keep_again(
        self,
        keeper: GroupKeeper,
        place: int,
        groups: Mapping[str, Mapping[TopicPartition, OffsetToCommit]],
        *,
        ends: bool,
    ) -> None:
        left = len(groups)
        self._keeping += left

        def kept(keeping: Keeping) -> None:
            nonlocal left
            self._keeping -= 1
            if keeping.error is not None:
                log.error("offsets that were committed are not kept yet: %s", keeping.error)
                return
            left -= 1
            if not left and ends:
                self._notes.ended(place)

        for group, offsets in groups.items():
            keeper.decided(group, offsets).then(kept)

    @property
    def resuming(self) -> bool:
        """Whether transactions of earlier processes are still on their way to topics and groups.

        False if something prevents that in this process.
        """
        partitions = self._holding.partitions
        return bool(self._keeping or (partitions is not None and partitions.opening))

    @property
    def brought_again(self) -> Collection[Log]:
        """The partitions to which records of earlier processes were appended."""
        partitions = self._holding.partitions
        return () if partitions is None else partitions.again

    def keeps_history(self, name: str) -> bool:
        """As Host.keeps_history."""
        channels = self._surroundings.channels
        return channels is not None and channels.keeps_history(name)

    def streams(self) -> "Streams":
        """As Host.streams. Raises Refused in a process that has no topics."""
        if self._streams is None:
            from logstore.broker.queues.streams.streams import Streams

            topics = self._surroundings.topics
            if topics is None:
                raise Refused("there are no topics here, so there can be no streams")
            alarm = None if self._surroundings.roamers is None else self.alarm
            self._streams = Streams(
                topics, self._work, self._soon, self.clock, self.totals, self.logs.parked, alarm
            )
        return self._streams

    def new_queue(
        self, vhost: Vhost, number: int, facts: QueueFacts, owner: object | None
    ) -> Queue | RoamingQueue:
        """As Host.new_queue."""
        policy, roamers = vhost.policy_of(facts), self._surroundings.roamers
        if facts.lasts and roamers is not None:
            return roamers.make(number, facts, vhost, policy)
        return Queue(number, facts, vhost, owner, policy=policy)

    @property
    def read_on(self) -> ReadOn | None:
        """As Host.read_on."""
        return self._surroundings.read_on

    @property
    def neighbourhood(self) -> Neighbourhood | None:
        """As Host.neighbourhood."""
        return self._surroundings.neighbourhood

    def declared(self, queue: Queue) -> None:
        """Report a new lasting queue."""
        for tell in self.told_declared:
            tell(queue)

    def deleted(self, queue: Queue, forgotten: Pending | None) -> None:
        """Handle the deletion of a queue; its logs are deleted once its row is."""
        self.totals.deleted += 1
        for tell in self.told_deleted:
            tell(queue)
        self._journaling.leave_out(queue)
        self._is_known(queue)
        self._trimming.gone(queue)
        self._leaving.add(queue)
        queue.when_left(lambda: self._left(queue, forgotten))

    def _left(self, queue: Queue, forgotten: Pending | None) -> None:
        """Delete the queue's logs: its dead letters have arrived."""
        self._leaving.discard(queue)
        self._journaling.leave_out(queue)
        self._alarms.pop(queue, None)
        self._trimming.gone(queue)
        lanes = [Lane(queue.id, it) for it in queue.stock.names()]
        if not queue.facts.lasts:
            self.logs.drop_volatile(lanes)
        elif forgotten is not None and lanes:
            forgotten.then(lambda it: self._forget(queue, lanes, it))

    def station_gone(self, holder: Holder, forgotten: Pending | None) -> None:
        """Handle the deletion of an exchange with messages, as ``deleted``."""
        self._alarms.pop(holder, None)
        self._trimming.gone(holder)
        lanes = [Lane(holder.id, it) for it in holder.stock.names()]
        if not holder.facts.lasts:
            self.logs.drop_volatile(lanes)
            self._forget_schedule(of_exchange(holder.id))
        elif forgotten is not None:
            forgotten.then(lambda it: self._forget(holder, lanes, it))
            index = of_exchange(holder.id)
            forgotten.then(lambda it: None if it.error else self._forget_schedule(index))

    def _forget_schedule(self, log: bytes) -> None:
        """Remove the index entries, some at a time: there may be a million."""
        if self._closed or log not in self._scheduled():
            return  # the next start does it
        self.schedules.forget(log, FORGOTTEN_AT_ONCE).then(
            lambda it: None if it.error else self._forget_schedule(log)
        )

    def _scheduled(self) -> Sequence[bytes]:
        try:
            return self.schedules.index.logs()
        except LogstoreError as error:
            log.warning("what is scheduled is not known: %s", error)
            return ()

    def delayed(self) -> Iterator[Waiting]:
        """Yield the exchanges where messages wait."""
        for vhost in self.vhosts.values():
            for holder in vhost.holders.values():
                yield cast("Waiting", holder)

    def may_trim(self, holder: Holder) -> None:
        """Note that the journal has new settlements of the holder."""
        self._may_trim([holder])

    def work(self, first: Callable[[], _T], second: Callable[[_T], None]) -> None:
        """Run the first in another thread, then the second with its result in this one."""
        self._work(first, second)

    @property
    def schedules(self) -> ScheduleKeeper:
        """The store of the messages' due times."""
        return self._logs.keeper.schedules

    def _forget(self, queue: Holder, lanes: list[Lane], forgotten: Pending) -> None:
        if forgotten.error is None:  # otherwise it exists again after the next start
            self._journaling.forget((queue.id,))
            queue.stock.when_still(lambda: self.logs.delete(lanes))

    # What the journal asks

    def settled(self, queues: Sequence[Touched]) -> None:
        """As ``Around.settled`` in ``journaling.py``."""
        self._may_trim(cast("Sequence[Holder]", queues))

    def try_again(self) -> None:
        """As ``Around.try_again`` in ``journaling.py``."""
        self._alarmed(self.deadline_ms())

    # Trimming

    def _may_trim(self, queues: Sequence[Holder]) -> None:
        if queues and self._trimming.touched(queues, self.clock()):
            self._alarmed(self.deadline_ms())

    def _trim(self) -> None:
        """Remove settled messages from disk."""
        found, now_ms = self._trimming.look(short=bool(self._short)), self.clock()
        short, self._short = self._short, []

        def trim() -> LogstoreError | None:
            failed = None
            for it in (None, *found):
                try:
                    if it is None:
                        self._logs.trim_journal()
                    else:
                        self._logs.trim(it.lanes, now_ms)
                except UnknownPartition:  # its queue was deleted
                    continue
                except LogstoreError as error:
                    failed = error
            return failed

        def trimmed(error: LogstoreError | None) -> None:
            if error is not None and not self._trims_fail:  # it is tried again and again
                log.warning("what is settled of queues takes room still: %s", error)
            self._trims_fail = error is not None
            if error is not None:
                self._trimming.touched(
                    [it.queue for it in found if not it.queue.gone], self.clock()
                )
            if self._trimming.done(self.clock()) and not self._closed:
                self._alarmed(self.deadline_ms())
            for tell in short:
                tell()
            if self._short and not self._closed:  # asked for meanwhile
                self._trim()

        self._work(trim, trimmed)

    def make_room(self, then: Callable[[], object]) -> None:
        """Remove settled messages of all queues: the disk is short. ``then``: called afterwards.

        How much is retained nevertheless is decided where it is removed (``upkeep/lanes.py``).
        """
        self._short.append(then)
        queues = [it for vhost in self.vhosts.values() for it in vhost.with_lanes()]
        self._trimming.touched(queues, self.clock())
        if not self._trimming.at_work:
            self._trim()

    # Time

    def alarm(self, queue: Alarmed, at_ms: int) -> None:
        """Wake the queue, or another waiting object, at that time or earlier."""
        known = self._alarms.get(queue)
        if known is not None and known <= at_ms:
            return
        self._alarms[queue] = at_ms
        first = not self._times or at_ms < self._times[0][0]
        heappush(self._times, (at_ms, next(self._numbers), queue))
        if first:
            self._alarmed(at_ms)

    def deadline_ms(self) -> int | None:
        """Return when ``tick`` must be called; None: nothing has a deadline."""
        first = self._times[0][0] if self._times else NO_TIME
        if self._times and any(vhost.holders for vhost in self.vhosts.values()):
            first = min(first, self.clock() + CLOCK_MS)  # it may be moved forward
        retry = self.clock() + RETRY_MS if self._journaling.failing else NO_TIME
        first = min(first, retry, self._trimming.due_ms)
        return None if first == NO_TIME else first

    def wait_for_journal(self) -> None:
        """Wait until all that was journaled is safe. From any thread. Raises LogFailed."""
        self._journaling.wait()

    def tick(self, now_ms: int) -> None:
        """Do the work that is due."""
        if now_ms < self._last_ms - CLOCK_BACK_MS:
            log.warning(
                "the clock went back by %d s: what waits for a time waits until it shows it again",
                (self._last_ms - now_ms) // 1000,
            )  # fmt: skip
        self._last_ms = now_ms
        while self._times and self._times[0][0] <= now_ms:
            at_ms, _, queue = heappop(self._times)
            if self._alarms.get(queue) == at_ms:
                del self._alarms[queue]
                queue.wake()
        self._journaling.retry()
        if self._trimming.due_ms <= now_ms and not self._closed:
            self._trim()
        if (deadline := self.deadline_ms()) is not None:
            self._alarmed(deadline)

    # The end

    def halt(self) -> None:
        """Prepare to close: stop routing from topics to exchanges."""
        if self._routes is not None:
            self._routes.halt()

    @property
    def on_the_way(self) -> bool:
        """Whether messages of topics or dead letters of deleted queues are on their way.

        If the queues were closed now, the former would come again and the latter would be lost.
        """
        moving = self._routes is not None and self._routes.on_the_way
        return moving or bool(self._leaving)

    def close(self) -> None:
        """Store the exact state. Consumers must be cancelled, and their messages
        released, before.
        """
        self._closed = True
        if self._routes is not None:
            self._routes.close()
        self.logs.close()
        self._finish_held()
        known = not self._unopened or self._journaling.clean
        queues = [it for vhost in self.vhosts.values() for it in vhost.with_lanes()]
        for queue in queues:
            queue.stock.flush()
            known = queue.stock.tell_cursors() and known
        if self._streams is not None:
            self._streams.close()
        self._journaling.close(queues, known=known)

    def _finish_held(self) -> None:
        """Finish committed transactions as far as possible; the rest is in the journal."""
        self._journaling.end_turn()
        with suppress(LogstoreError):  # its callers get the error
            self._journaling.wait()
        self._holding.look()
        self.logs.finish()
        self._holding.finish()
