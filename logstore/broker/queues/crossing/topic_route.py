"""One topic route: publishes the records of a topic to an exchange as messages.

It reads as fast as the queues accept messages, a run of a few hundred records in a turn. A run and
the position after it are one held transaction; the position is stored as a group's offset. So each
record arrives exactly once, and those of a partition in order. If a run fails, the route states the
reason and tries again; the position does not advance until then.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from logstore.amqp import fields
from logstore.broker.committed import CommittedLog
from logstore.broker.mapping.messages import SHORT_BYTES_MAX, Messaging
from logstore.broker.queues.crossing.feed import Feed
from logstore.broker.queues.crossing.key_template import KeyTemplate
from logstore.broker.queues.decided_offsets import DecidedOffsets
from logstore.broker.queues.limits import REJECT_PUBLISH_DLX
from logstore.broker.queues.message import Framed
from logstore.broker.queues.opening import Work
from logstore.broker.queues.pending import Pending, Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.station import Route
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.vhost import Vhost
from logstore.broker.routing.refusals import NoExchange
from logstore.broker.topic import Topic
from logstore.broker.topics import Topics
from logstore.broker.transactions.operations import Offset
from logstore.errors import LogstoreError
from logstore.kept.groups import GroupKeeper, OffsetToCommit
from logstore.kept.keeping import Keeping
from logstore.kept.queues import KeptTopicRoute
from logstore.log import Log, TopicPartition
from logstore.names import ROUTE_GROUPS
from logstore.records.record import Record

RUN_MAX: Final = 500  # records in a turn, of some 5 us each
RUN_MAPPED_MAX: Final = 150  # of 30 us each, where they become records again
RUN_BYTES: Final = 1 << 20  # of their values, beside the last
COMMIT_MS: Final = 200  # between commits while records flow: each is a transaction of the catalogue
RETRY_MS: Final = 1000  # after which what does not go on is tried again
RETRY_MS_MAX: Final = 30_000  # of what was sent and did not arrive: some queues may have it
BACK_MS: Final = 1000  # from when its exchange is back: so long may making the bindings take
FULL_MS: Final = 100  # after which a queue that is full is looked at again

log: Final = logging.getLogger("logstore.queues")


class _Run(NamedTuple):
    """Messages in columns: the n-th entry of each belongs to the n-th message."""

    routes: list[Route]
    keys: list[bytes]
    bodies: list[bytes]
    framed: list[Framed]

    def first(self, count: int) -> "_Run":
        return _Run(
            self.routes[:count], self.keys[:count], self.bodies[:count], self.framed[:count]
        )


@dataclass(frozen=True, slots=True)
class Around:
    """What routes need from the process."""

    topics: Topics
    positions: GroupKeeper
    # A position that is to be kept with what a transaction brings.
    offsets: Callable[[str, Mapping[TopicPartition, OffsetToCommit]], DecidedOffsets]
    # Of a group: what the journal has, and it may not have, each with its record's place.
    journaled: Callable[[str], Sequence[tuple[int, Offset]]]
    work: Work
    soon: Callable[[Callable[[], object]], object]
    alarm: Callable[[Any, int], None]
    crowded: Callable[[], bool]


class PartitionPosition(NamedTuple):
    """The offsets of a route in one partition."""

    partition: int
    position: int  # all below has arrived
    end: int
    skipped: int  # records that retention removed before they were read


def _room_in(queue: Queue, run: _Run) -> int:
    """Return the number of the first message for which the queue has no room."""
    numbers = [n for n, route in enumerate(run.routes) if queue in route]
    accepted = queue.accepts([len(run.bodies[n]) for n in numbers])
    return len(run.keys) if accepted is None else numbers[accepted.index(False)]


def group_of(number: int, topic: str) -> str:
    """Return the group whose offsets are the positions of the route with this number."""
    return f"{ROUTE_GROUPS}{number}.{topic}"


class TopicRoute:
    """One route, a ``Guest`` of its virtual host. Used in the sessions' thread."""

    def __init__(
        self,
        fact: KeptTopicRoute,
        vhost: Vhost,
        around: Around,
        circular: Callable[["TopicRoute"], LogstoreError | None],
        *,
        hold: bool = False,
    ) -> None:
        """``circular``: why its messages would come back into its topic. ``hold``: wait for
        ``begin``.

        Raises Refused if the template is illegal.
        """
        self.fact, self.vhost = fact, vhost
        self.topic = fact.topic
        self.exchange = fields.data(fact.exchange)
        self.template = KeyTemplate(fact.key, fact.arguments.get("fallback"))
        self.group = group_of(fact.id, fact.topic)
        self.sent = 0  # messages
        self.unrouted = 0  # of these, those without a queue
        self.stuck: str | None = None  # why it does not go on
        self.looked = False  # whether it goes on is known, since there is this process
        self.gone = False
        self._begun = not hold
        self._halted = False
        self._around = around
        self._circular = circular
        self._messaging = Messaging()
        self._topic: Topic | None = None
        self._feeds: list[Feed] = []
        self._opening = False
        self._turn = 0  # which partition is next
        self._again_ms = 0  # when what does not go on is tried again
        self._tries = 0
        self._lacking = False  # its exchange, or, until this time, its bindings:
        self._back_ms: int | None = None
        self._damaged = False
        self._run_max = RUN_MAPPED_MAX  # where they go is not known yet
        self._committing = False
        self._commit_ms = 0  # when the last one began
        self._not_before_ms = 0  # when the next one may
        vhost.guests[self] = None
        self.wake()

    @property
    def begun(self) -> bool:
        """Whether the route is stored."""
        return self._begun

    def begin(self) -> None:
        """Start: the route is stored."""
        self._begun = True
        self.wake()

    # What it is woken by

    def wake(self) -> None:
        """Schedule ``step``. From any thread."""
        self._around.soon(self.step)

    def vhost_gone(self) -> None:
        """As Guest.vhost_gone."""
        self.drop()

    def poke(self) -> None:
        """Note that something has changed that the route may wait for."""
        if not self.vhost.topology.has_exchange(self.exchange):
            self._lacking = True
        self._again_ms = 0 if self._back_ms is None else self._back_ms
        self.wake()

    # One step

    def step(self) -> None:
        """Do the work of a turn, at its end."""
        if self.gone or not self._begun:
            return
        now_ms = self.vhost.clock()
        self._settle(now_ms)
        if self._halted:
            return  # its position is kept with the end
        if now_ms >= self._again_ms and self._is_ready() and not self._around.crowded():
            if not self._lacking or self._is_back(now_ms):
                self._send_some(now_ms)
        elif self._around.crowded():
            self._around.alarm(self, now_ms + FULL_MS)
        self._commit(now_ms)

    def _settle(self, now_ms: int) -> None:
        for feed in self._feeds:
            error = feed.settle()
            if error is not None:
                self._failed(str(error), now_ms)

    def _is_ready(self) -> bool:
        """Return whether the topic exists and all partitions are open; opens them if not."""
        topic = self._around.topics.get(self.topic)
        if topic is not self._topic:
            self._leave()
            self._topic = topic
        if self._damaged and self._is_kept():
            self._damaged = False
            self._leave()  # and see whether its position was moved
        if topic is None:
            self._stay(f"no topic {self.topic!r}")
            return False
        if len(self._feeds) < len(topic.partitions):
            self._open(topic)
            return False
        return True

    def _is_back(self, now_ms: int) -> bool:
        """Return whether the exchange exists, and has existed long enough to get its bindings.

        Directly after its declaration it has none, and messages would be dropped.
        """
        if not self.vhost.topology.has_exchange(self.exchange):
            self._back_ms = None
            self._stay(str(NoExchange(self.exchange)))
            return False
        if self._back_ms is None:
            self._back_ms = now_ms + BACK_MS
        if now_ms < self._back_ms:
            name = self.fact.exchange
            self._stay(f"exchange {name!r} was made again just now", self._back_ms)
            return False
        self._lacking, self._back_ms = False, None
        return True

    def _is_kept(self) -> bool:
        """Whether the committed positions are the present ones."""
        return not self._committing and all(not it.flights and it.is_kept for it in self._feeds)

    def _leave(self) -> None:
        """Close the feeds of a topic that was deleted, and perhaps created again."""
        for feed in self._feeds:
            feed.close()
        self._feeds = []

    # Opening

    def _open(self, topic: Topic) -> None:
        """Open the logs and look up the committed positions, in a worker."""
        if self._opening:
            return
        self._opening = True
        first, group, positions = len(self._feeds), self.group, self._around.positions
        journaled = self._around.journaled

        def work() -> tuple[Sequence[Log], dict[int, int]] | LogstoreError:
            try:
                numbers = range(first, len(topic.partitions))
                logs = [CommittedLog(topic.partition(n)) for n in numbers]
                known = positions.fetch(group)
                kept = {place[1]: it.offset for place, it in known.items()}
                for place, it in journaled(group):
                    row = known.get((topic.name, it.partition))
                    if it.topic_id == topic.uuid and (row is None or row.record < place):
                        kept[it.partition] = it.offset
            except LogstoreError as error:
                return error
            return logs, kept

        def opened(found: tuple[Sequence[Log], dict[int, int]] | LogstoreError) -> None:
            self._opening = False
            if self.gone or topic is not self._topic:
                self.wake()
            elif isinstance(found, LogstoreError):
                self._stay(str(found))
            else:
                logs, kept = found
                for number, it in enumerate(logs, first):
                    at = min(max(kept.get(number, 0), 0), it.end)
                    self._feeds.append(Feed(self.topic, number, it, at, self.wake))
                self.wake()

        self._around.work(work, opened)

    # Sending

    def _send_some(self, now_ms: int) -> None:
        """Send a run of one partition; the others follow in the next turns."""
        self.looked = True
        count = len(self._feeds)
        for n in range(count):
            feed = self._feeds[(self._turn + n) % count]
            if not feed.has_more:
                continue
            self._turn = (self._turn + n) % count
            if not self._send(feed, now_ms):
                return
            if not feed.has_read:  # otherwise finish this partition first
                self._turn = (self._turn + 1) % count
            self.wake()
            return
        self.stuck = None

    def _send(self, feed: Feed, now_ms: int) -> bool:
        """Send a run; return whether to continue at once."""
        try:
            records, upto = feed.records(self._run_max)
        except LogstoreError as error:  # damaged: it is unknown what is lost
            self._damaged = True
            self._stay(f"{error}; move the position of group {self.group} past it to go on")
            return False
        if not records:
            if upto == feed.next:  # else it is not here yet: the log tells when it is
                return feed.has_read
            feed.went(0, upto, None)
            return True
        try:
            run = self._run(records)
        except LogstoreError as error:
            self._lacking = isinstance(error, NoExchange)
            self._stay(str(error))
            return False
        room = self._room(run, now_ms)
        if room == 0:
            return False
        if room < len(records):
            run, upto = run.first(room), records[room].offset
        circular = self._circular(self)
        if circular is not None:
            self._stay(str(circular))
            return False
        held = Transaction()
        published = self.vhost.publish_columns(*run, held=held)
        if published.error is not None:
            held.forget()
            self._failed(str(published.error), now_ms)
            return False
        self.sent += len(run.keys)
        self.unrouted += len(published.unrouted)
        waiting, alone = self._sent(feed, held, upto)
        feed.went(len(run.keys), upto, waiting, alone=alone)
        self.stuck, self._tries = None, 0
        return True

    def _sent(self, feed: Feed, held: Transaction, upto: int) -> tuple[Waiting, bool]:
        """Send a run with its position; return what to wait for, and whether the run goes alone."""
        assert self._topic is not None
        place = self.topic, feed.number
        position = OffsetToCommit(upto, topic_id=self._topic.id)
        offsets = self._around.offsets(self.group, {place: position})
        held.commits.append(offsets)
        feed.keeping += 1
        offsets.kept.then(lambda it: self._kept(feed, upto, it))
        waiting = Waiting()
        waiting.park()
        waiting.watch(self.wake)
        in_line = self.vhost.commit(held, lambda error: waiting.unparked(None, 0, error))
        return waiting, not in_line

    def _kept(self, feed: Feed, upto: int, kept: Pending) -> None:
        feed.keeping -= 1
        if kept.error is None:
            feed.committed = upto
        if not self.gone:
            self.wake()

    def _run(self, records: Sequence[Record]) -> _Run:
        """Return the records that make up one run. Raises as ``Vhost.route_of``."""
        run = _Run([], [], [], [])
        exchange, key_of, shaped = self.exchange, self.template.key, self._messaging.shaped
        route, frame = self.vhost.route_of, self.vhost.framing.looked_up
        start = f"{self.topic}-{records[0].partition}-"
        if len(start) + len(str(records[-1].offset)) > SHORT_BYTES_MAX:
            start = ""  # the topic's name is too long for ids
        size = 0
        for record in records:
            _, _, offset, timestamp_ms, own, value, headers = record
            key = key_of(record)
            name = f"{start}{offset}".encode() if start else b""
            shape, data = shaped(own, value, headers, timestamp_ms, key, name)
            framed = frame(exchange, data, shape.read)
            body = value or b""
            run.routes.append(route(key, framed))
            run.keys.append(key)
            run.bodies.append(body)
            run.framed.append(framed)
            size += len(body)
            if size >= RUN_BYTES:
                break
        return run

    def _room(self, run: _Run, now_ms: int) -> int:
        """Return for how many messages all target queues have room.

        More are not sent, so that no message must be repeated because of one full queue.
        """
        distinct = set(run.routes)
        opening = self.vhost.uncounted(distinct)
        if opening is not None:
            opening.when_open(self.wake)
            return 0
        room = len(run.keys)
        targets = {it for route in distinct for it in route}
        plain = all(isinstance(it, Queue) for it in targets)
        self._run_max = RUN_MAX if plain else RUN_MAPPED_MAX
        for target in targets:
            if not isinstance(target, Queue):
                missing = getattr(target, "missing", None)
                error = None if missing is None else missing()
                if error is not None:
                    self._stay(str(error))
                    return 0
            elif target.limits.rejects and target.limits.overflow != REJECT_PUBLISH_DLX:
                # What another refuses goes to its dead letter exchange.
                room = min(room, _room_in(target, run))
                if room == 0:
                    name = fields.text(target.facts.name)
                    self._stay(f"queue {name!r} is full", now_ms + FULL_MS)
                    return 0
        return room

    # Staying

    def _stay(self, why: str, again_ms: int | None = None) -> None:
        """Pause: nothing was sent."""
        now_ms = self.vhost.clock()
        if why != self.stuck and again_ms is None:
            log.warning(
                "topic %s feeds exchange %s no more for now: %s",
                self.topic, self.fact.exchange, why,
            )  # fmt: skip
        self.stuck, self.looked = why, True
        self._again_ms = now_ms + RETRY_MS if again_ms is None else again_ms
        self._around.alarm(self, self._again_ms)

    def _failed(self, why: str, now_ms: int) -> None:
        """Schedule a retry of messages that did not arrive everywhere; some will arrive twice."""
        wait_ms = min(RETRY_MS << min(self._tries, 10), RETRY_MS_MAX)
        if not self._tries:
            log.warning(
                "topic %s feeds exchange %s again from where all has arrived: %s",
                self.topic, self.fact.exchange, why,
            )  # fmt: skip
        self._tries += 1
        self._stay(why, now_ms + wait_ms)

    # Its position

    def _commit(self, now_ms: int) -> None:
        if self._committing or self._topic is None or now_ms < self._not_before_ms:
            return
        moved = [it for it in self._feeds if it.safe != it.committed and not it.keeping]
        if not moved:
            return
        flows = any(it.flights or it.has_more for it in self._feeds)
        if flows and now_ms < self._commit_ms + COMMIT_MS:
            self._around.alarm(self, self._commit_ms + COMMIT_MS)
            return
        self._commit_ms = now_ms
        self._committing = True
        self._keep(moved).then(lambda it: self._committed(moved, it))

    def _keep(self, feeds: Collection[Feed]) -> Keeping:
        assert self._topic is not None
        offsets = {
            (self.topic, it.number): OffsetToCommit(it.safe, topic_id=self._topic.id)
            for it in feeds
        }
        for it in feeds:
            it.committed = it.safe
        return self._around.positions.commit(self.group, offsets)

    def _committed(self, feeds: Collection[Feed], keeping: Keeping) -> None:
        self._committing = False
        if keeping.error is not None:
            for it in feeds:
                it.committed = -1  # whatever it is: it is kept with the next
            if not self.gone:
                self._not_before_ms = self.vhost.clock() + RETRY_MS
                self._around.alarm(self, self._not_before_ms)
        elif not self.gone:
            self.wake()

    # Looked at

    def positions(self) -> list[PartitionPosition]:
        """Return the positions in the open partitions."""
        return [
            PartitionPosition(it.number, it.safe, it.log.safe, it.skipped) for it in self._feeds
        ]

    @property
    def moving(self) -> bool:
        """Whether the route has messages to send now, or on their way."""
        return self.stuck is None and any(it.flights or it.has_more for it in self._feeds)

    @property
    def on_the_way(self) -> bool:
        """Whether some sent messages have not arrived."""
        return any(it.flights for it in self._feeds)

    # The end

    def halt(self) -> None:
        """Send no more, and let sent messages arrive: the process is about to end."""
        self._halted = True

    def close(self) -> None:
        """Commit the positions below which all is safe, at the end of the process."""
        if self.gone:
            return
        for feed in self._feeds:
            feed.settle()
        moved = [it for it in self._feeds if it.safe != it.committed and not it.keeping]
        if moved and self._topic is not None:
            self._keep(moved)
        self._end()

    def drop(self) -> None:
        """End the route, which was removed."""
        if not self.gone:
            self._end()
            self._around.positions.delete_group(self.group)

    def _end(self) -> None:
        self.gone = True
        self.vhost.guests.pop(self, None)
        self._leave()
