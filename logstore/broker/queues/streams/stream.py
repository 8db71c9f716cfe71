"""One stream: a topic of one partition under a queue's name.

Published messages are appended as records; records of any client are delivered to all consumers,
each from its own position. Nothing is settled: an acknowledged or returned message only makes room
for more. Used in the sessions' thread.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from logstore.amqp.fields import text
from logstore.broker.committed import whole
from logstore.broker.policies import Policy
from logstore.broker.queues.held import Place
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import NO_DEFINITION, Limits, QueueFacts, limits_of
from logstore.broker.queues.message import Delivery
from logstore.broker.queues.pending import Pending, Waiting
from logstore.broker.queues.queue import Queue, Then
from logstore.broker.queues.refusals import NotOfStreams
from logstore.broker.queues.station import Intake, Parcel
from logstore.broker.queues.streams.asked import Asked, asked
from logstore.broker.queues.streams.pages import Cursor
from logstore.broker.queues.streams.places import offset_of
from logstore.broker.queues.streams.streams import Opened, Streams
from logstore.broker.queues.streams.topic_of import changed
from logstore.broker.queues.subscription import Channel, Subscription
from logstore.broker.queues.unacked import Delivered
from logstore.broker.topic import Topic
from logstore.counts.queues import QueueCounts, gave
from logstore.errors import (
    ClusterBehind,
    ClusterUnreachable,
    CorruptBatch,
    InvalidRecord,
    LogFailed,
    LogstoreError,
    UnknownPartition,
    UnknownTopic,
)
from logstore.log import Log, Wake
from logstore.records.batch import Batch
from logstore.records.record import Message, Record

LANE: Final = 0  # of deliveries: there is one log
LOOK_MAX: Final = 1000  # messages that a look gives out, to all consumers: some ms
TAKEN_BYTES: Final = 1 << 20  # of bodies that one consumer is given at once, beside the first
MESSAGE_BYTES: Final = 256  # of one that waits until the topic is open, beside what it holds

# Why a topic can't be opened just now. A cluster may be unreachable, or a broker not know it yet.
FOR_NOW: Final = (ClusterBehind, ClusterUnreachable, LogFailed, UnknownTopic)

log: Final = logging.getLogger("logstore.queues")

Group = Delivered[Any, Any]


class Home(Protocol):
    """What a stream needs from its virtual host."""

    @property
    def name(self) -> bytes: ...
    def policy_of(self, facts: QueueFacts) -> Policy | None: ...
    def goes(self, it: "Stream") -> None:
        """Delete the stream: its topic is deleted."""


class _Parked(NamedTuple):
    """Messages to append once the topic is open."""

    messages: Sequence[Message]
    waiting: Waiting
    size: int


class _Reader:
    """One consumer and its position."""

    __slots__ = ("asked", "cursor", "of")

    def __init__(self, of: Subscription, asked: Asked) -> None:
        self.of = of
        self.asked = asked
        self.cursor: Cursor | None = None  # its place is not known yet

    def room(self) -> int:
        """Return how many more messages the consumer may get now."""
        of = self.of
        room = min(of.can_take(), of.prefetch - of.channel.unacked.of(of), of.channel.room())
        return max(room, 0)


def _is_replaced(topic: Topic | None, its: Log) -> bool:
    """Whether the topic has not this log any more, since it has failed."""
    try:
        return topic is not None and topic.at_hand(0) is not whole(its)
    except UnknownPartition:  # its topic was deleted just now
        return False


def _limits(facts: QueueFacts, policy: Policy | None) -> Limits:
    return limits_of(facts, NO_DEFINITION if policy is None else policy.definition)


class Stream:
    """A ``Named``, and also a ``Station``: it receives messages instead of a queue."""

    out = 0  # nothing is kept from others
    dropped = dying = 0
    lanes: Sequence[Lane] = ()
    owner = None
    active: Subscription | None = None
    not_in_transactions: LogstoreError | None = None

    def __init__(
        self, number: int, facts: QueueFacts, home: Home, streams: Streams, topic: str
    ) -> None:
        """``topic``: the name of its topic. Raises InvalidQueueArgument, NotOfType."""
        self.id = number
        self.facts = facts
        self.policy = home.policy_of(facts)
        self.limits = _limits(facts, self.policy)
        self.topic_name = topic
        self.kept: Pending | None = None  # until it is durable
        self.gone = False
        self.failed: LogstoreError | None = None
        self.counts = QueueCounts()
        self._home = home
        self._streams = streams
        self._topic: Topic | None = None
        self._topic_is_gone = False  # and perhaps another one has its name
        self._topic_is_new = False  # it was made for this one, by this process
        self._log: Log | None = None
        self._opening = False
        self._when_open: list[Callable[[], None]] = []
        self._parked: list[_Parked] = []
        self._readers: dict[Subscription, _Reader] = {}
        self._stop: Wake | None = None  # while there are readers
        self._awake = False
        self._told: LogstoreError | None = None  # why it could not be read last
        streams.take(topic, self.topic_gone)

    def __repr__(self) -> str:
        return f"<Stream {self.facts.name!r} {self.id}>"

    def plain(self, act: str) -> Queue:
        """As Named.plain. Raises NotOfStreams."""
        raise NotOfStreams(self.facts.name, act)

    # Its topic

    def make(self, opening: Pending, new: Mapping[str, str], there: Mapping[str, str]) -> None:
        """Create the topic with the settings ``new``; an existing one gets ``there``.

        ``opening`` finishes when that is done.
        """

        def done(found: Opened | LogstoreError) -> None:
            self._topic_is_new = isinstance(found, Opened) and found.new
            self._opened(found)
            opening.finish(found if isinstance(found, LogstoreError) else None)

        self._opening = True
        self._streams.make(self.topic_name, new, there, done)

    @property
    def not_known(self) -> LogstoreError | None:
        """As Named.not_known."""
        return self.failed

    @property
    def opened(self) -> bool:
        """As Named.opened."""
        return self._log is not None or self.failed is not None

    def is_open(self) -> bool:
        """As Named.is_open."""
        self._let_go_failed()
        if not self.opened and not self._opening and not self.gone:
            self._opening = True
            self._streams.open(self.topic_name, self._opened)
        return self.opened

    def when_open(self, call: Callable[[], None]) -> None:
        """As Named.when_open."""
        self._when_open.append(call)
        if self.gone or self.is_open():
            self._tell_open()

    def _tell_open(self) -> None:
        calls, self._when_open = self._when_open, []
        for call in calls:
            call()

    def when_known(self, call: Callable[[], None]) -> None:
        """As Named.when_known."""
        self.when_open(call)

    def _opened(self, found: Opened | LogstoreError) -> None:
        self._opening = False
        if isinstance(found, LogstoreError):
            self.failed = found
        else:
            self._topic, self._log = found.topic, found.log
        self._unpark()
        self._tell_open()
        if isinstance(self.failed, FOR_NOW):
            self.failed = None

    def _let_go_failed(self) -> None:
        """Let go of a log that has failed, if its topic opens another one at the next use.

        A cluster may have refused a record, for example. Consumers continue where they are.
        """
        its = self._log
        if its is None or self.gone or not _is_replaced(self._topic, its):
            return
        self._unwatch()
        self._streams.pages.forget(its)
        self._log = None
        if self._readers:
            self.when_open(self._go_on)

    def _go_on(self) -> None:
        """Serve the consumers whose log has failed."""
        if self._log is not None:
            self._watch(self._log)
            self.wake()
            return
        readers, self._readers = self._readers, {}
        for subscription in readers:
            subscription.cancelled()

    def topic_gone(self) -> None:
        """Delete the stream too: its topic was deleted."""
        self._topic_is_gone = True
        if not self.gone:
            log.warning("stream %s is deleted, since its topic is", text(self.facts.name))
            self._home.goes(self)

    def delete_topic(self, *, undone: bool) -> Pending:
        """Delete the topic of the deleted stream.

        ``undone``: the stream could not be created; then a topic that existed before stays.
        """
        pending = Pending()
        if self._topic_is_gone or (undone and not self._topic_is_new):
            pending.finish(None)
        else:
            topic_id = None if self._topic is None else self._topic.id
            self._streams.delete(self.topic_name, topic_id, pending.finish)
        return pending

    # Its policy

    def govern(self, policy: Policy | None) -> None:
        """As ``Named.govern``: the topic's retention changes too."""
        self.policy = policy
        before, self.limits = self.limits, _limits(self.facts, policy)
        found = changed(before, self.limits)
        if found is not None and not self.gone:
            self._streams.alter(self.topic_name, *found)

    def lifetimes(self) -> tuple[int, ...]:
        """As ``Named.lifetimes``: messages of a stream do not expire by a TTL."""
        return ()

    # What there is

    @property
    def ready(self) -> int:
        """The number of messages, as far as offsets tell."""
        return 0 if self._log is None else self._log.safe - self._log.start

    def heads(self) -> Sequence[tuple[Log, int]]:
        """As Named.heads."""
        return [(it, it.start) for it in self.logs() if it.start < it.safe]

    def logs(self) -> Sequence[Log]:
        """As Named.logs."""
        return () if self._log is None else (whole(self._log),)

    def used(self) -> None:
        """As ``Named.used``: a stream never expires for lack of use."""

    # What comes

    def take(self, parcel: Parcel, intake: Intake) -> None:
        """As Station.take."""
        total = len(parcel.keys)
        if self.failed is not None:
            intake.refuse(range(total), self.failed)
            return
        self._let_go_failed()
        record, now_ms = self._streams.recording.record, intake.now_ms
        messages = [
            record(framed.exchange, key, framed.properties, bytes(body), now_ms)
            for key, body, framed in zip(parcel.keys, parcel.bodies, parcel.framed, strict=True)
        ]
        if intake.held is not None:
            self._hold(messages, intake)
            return
        self._count(total)
        if self.kept is not None:
            intake.waiting.pending(self.kept)
        if self._log is None:
            self._park(messages, intake.waiting)
            return
        batches, refused = self._encoded(messages)
        for number, error in refused.items():
            intake.refuse((number,), error)
        try:
            self._append(batches, intake.waiting)
        except LogstoreError as error:
            intake.refuse(range(total), error)

    def _count(self, total: int) -> None:
        self.counts.published += total
        self._streams.totals.published += total

    def _hold(self, messages: Sequence[Message], intake: Intake) -> None:
        """Publish as a part of a transaction; ahead of it, at its begin, if the topic is not open
        yet.
        """
        assert intake.held is not None
        refused: dict[int, LogstoreError] = {}
        if self._topic is not None:
            batches, refused = self._encoded(messages)
            for number, error in refused.items():
                intake.refuse((number,), error)
            for batch in batches:
                intake.held.append(Place(self._topic.uuid, 0), batch)
            intake.held.ahead.append(partial(self._begun, len(messages) - len(refused)))
        else:
            intake.held.ahead.append(partial(self._ahead, messages))
        intake.lasting.update(set(range(len(messages))) - set(refused))

    def _begun(self, total: int, waiting: Waiting) -> None:
        """Count messages of a transaction that has begun, and wait for the declaration."""
        self._count(total)
        if self.kept is not None:
            waiting.pending(self.kept)

    def _ahead(self, messages: Sequence[Message], waiting: Waiting) -> None:
        if self.gone:
            return
        self._begun(len(messages), waiting)
        if self._log is None:
            self._park(messages, waiting)
        else:
            waiting.park()
            self._put(messages, waiting)

    def _park(self, messages: Sequence[Message], waiting: Waiting) -> None:
        waiting.park()
        if self.failed is not None:
            waiting.unparked(None, 0, self.failed)
            return
        size = sum(len(it.value or b"") + MESSAGE_BYTES for it in messages)
        self._parked.append(_Parked(messages, waiting, size))
        self._streams.parked(size)
        self.is_open()

    def _unpark(self) -> None:
        parked, self._parked = self._parked, []
        for messages, waiting, size in parked:
            self._streams.parked(-size)
            if self._log is not None:
                self._put(messages, waiting)
            else:  # no one waits for a deleted stream
                waiting.unparked(None, 0, self.failed)

    def _put(self, messages: Sequence[Message], waiting: Waiting) -> None:
        """Append the messages that are parked in ``waiting``."""
        batches, refused = self._encoded(messages)
        error: LogstoreError | None = next(iter(refused.values()), None)
        try:
            self._append(batches, waiting)
        except LogstoreError as failed:
            error = failed
        waiting.unparked(None, 0, error)

    def _encoded(
        self, messages: Sequence[Message]
    ) -> tuple[Sequence[Batch], dict[int, LogstoreError]]:
        """Return the batches, and the errors of refused messages by their numbers."""
        assert self._topic is not None
        rules, refused = self._topic.rules, dict[int, LogstoreError]()
        try:
            return rules.encode(rules.columns(messages)), refused
        except InvalidRecord:
            pass  # which one is, is found out below
        good = []
        for number, message in enumerate(messages):
            try:
                rules.encode(rules.columns([message]))
            except InvalidRecord as error:
                refused[number] = error
            else:
                good.append(message)
        return rules.encode(rules.columns(good)) if good else (), refused

    def _append(self, batches: Sequence[Batch], waiting: Waiting) -> None:
        """Append the batches. Raises StorageFull, LogFailed, UnknownPartition."""
        assert self._log is not None
        for batch in batches:
            mark = self._log.append(batch)
            waiting.appended(self._log, mark + batch.record_count)
        if batches:
            self._log.sync_soon()

    # Its consumers

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """The consumers in the order of arrival."""
        return list(self._readers)

    def subscribe(self, subscription: Subscription) -> None:
        """Add a consumer.

        Raises NotOfType, InvalidConsumerArgument, Unlimited, NotOfStreams; the error ``failed``.
        """
        if self.failed is not None:
            raise self.failed
        facts = asked(self.facts.name, subscription, self._streams.clock())
        reader = self._readers[subscription] = _Reader(subscription, facts)
        self.when_open(lambda: self._place(reader))

    def _place(self, reader: _Reader) -> None:
        """Find out where the consumer begins."""
        if self._readers.get(reader.of) is not reader:
            return
        if self._log is None:  # it can't be opened
            self._readers.pop(reader.of)
            reader.of.cancelled()
            return
        self._watch(self._log)
        begin, its = reader.asked.begin, self._log
        upto = its.safe

        def found(offset: int | LogstoreError) -> None:
            if isinstance(offset, LogstoreError):
                self._tell(offset)
                offset = its.start
            reader.cursor = Cursor(offset)
            self.wake()

        if begin.searches:
            self._streams.elsewhere(lambda: offset_of(its, begin, upto), found)
        else:
            found(offset_of(its, begin, upto))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a consumer. Its unacknowledged messages stay with its channel."""
        reader = self._readers.pop(subscription, None)
        if reader is None:
            return
        if reader.cursor is not None:
            self._streams.pages.let_go(reader.cursor)
        if not self._readers:
            self._unwatch()

    def _watch(self, its: Log) -> None:
        if self._stop is None:
            self._stop = its.watch(self._wake_from_afar)

    def _unwatch(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    def wake(self) -> None:
        """As Named.wake."""
        if not self._awake and not self.gone:
            self._awake = True
            self._streams.soon(self.look)

    def _wake_from_afar(self) -> None:
        """Schedule ``look``. Called from any thread."""
        self._streams.soon(self.look)

    def look(self) -> None:
        """Deliver messages to consumers with room, within bounds; at the end of a turn."""
        self._awake = False
        self._let_go_failed()
        if self.gone or self._log is None or not self._readers:
            return
        left, more = LOOK_MAX, False
        for reader in list(self._readers.values()):
            if reader.cursor is None or reader.of not in self._readers:
                continue
            room = min(reader.room(), left)
            if room > 0:
                left -= self._serve(reader, reader.cursor, room)
                more = more or reader.cursor.stopped
            else:
                self._streams.pages.let_go(reader.cursor)
            if left <= 0:
                self._begin_behind(reader)
                more = True
                break
        if more:
            self.wake()

    def _begin_behind(self, reader: _Reader) -> None:
        """Serve the consumers behind this one before it, next time."""
        readers = list(self._readers.items())
        at = next(n for n, (_, it) in enumerate(readers) if it is reader) + 1
        self._readers = dict(readers[at:] + readers[:at])

    def _serve(self, reader: _Reader, cursor: Cursor, room: int) -> int:
        """Deliver some messages to the consumer; return how many were looked at or decoded."""
        assert self._log is not None
        pages = self._streams.pages
        decoded = pages.decoded
        try:
            records = cursor.take(self._log, pages, room, TAKEN_BYTES, self._skipped)
        except LogstoreError as error:
            self._tell(error)
            return 0
        looked_at = len(records)
        wanted = reader.asked.filter
        if wanted is not None:
            records = [it for it in records if wanted.wants(it)]
            cursor.stopped = cursor.stopped or len(records) < looked_at
        if records:
            self._give(reader.of, records)
        return max(looked_at, pages.decoded - decoded)

    def _give(self, to: Subscription, records: Sequence[Record]) -> None:
        unacked = to.channel.unacked
        first = unacked.next_tag
        begin, after = 0, records[0].offset
        for number, record in enumerate(records):
            if record.offset != after:
                unacked.add(self, LANE, records[begin].offset, number - begin, to)
                begin = number
            after = record.offset + 1
        unacked.add(self, LANE, records[begin].offset, len(records) - begin, to)
        for counts in (self.counts, self._streams.totals):
            gave(counts, len(records), fetched=False, no_ack=False)
        to.push(first, [self._delivery(it) for it in records])

    def _delivery(self, record: Record) -> Delivery:
        content = self._streams.messaging.content(
            record.key, record.value, record.headers, record.timestamp_ms
        )
        data = self._streams.offsets.put(content.properties, record.offset)
        return Delivery(content.exchange, content.key, data, content.body, False)

    def _skipped(self, damage: CorruptBatch) -> None:
        log.error("stream %s: left out of what is delivered: %s", text(self.facts.name), damage)

    def _tell(self, error: LogstoreError) -> None:
        if isinstance(error, UnknownPartition):
            return  # its topic was deleted just now: so is the stream, and that is told
        if self._told is None or str(self._told) != str(error):
            self._told = error
            log.error("stream %s can't be read: %s", text(self.facts.name), error)

    # What comes back

    def settle(self, delivered: Group) -> None:
        """Count the acknowledgement: there is room for more messages."""
        self.count_acked(delivered)
        self.wake()

    def count_acked(self, delivered: Group) -> None:
        """As Named.count_acked."""
        for counts in (self.counts, self._streams.totals):
            counts.acked += delivered.size

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """As ``settle``: the message is not delivered again; a consumer can read it again by
        offset.
        """
        for counts in (self.counts, self._streams.totals):
            counts.returned += delivered.size
        self.wake()

    def reject(self, delivered: Group) -> None:
        """As ``release``: the message stays in the stream."""
        self.release(delivered)

    # What only queues do

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """Refuse. Raises NotOfStreams."""
        raise NotOfStreams(self.facts.name, "basic.get")

    def purge(self, then: Callable[[int], None]) -> None:
        """Refuse. Raises NotOfStreams."""
        raise NotOfStreams(self.facts.name, "queue.purge")

    # Its end

    def drop(self) -> None:
        """As Named.drop."""
        self.gone = True
        self._streams.let_go(self.topic_name)
        self._unwatch()
        if self._log is not None:
            self._streams.pages.forget(self._log)
        readers, self._readers = self._readers, {}
        for subscription in readers:
            subscription.cancelled()
        parked, self._parked = self._parked, []
        for _, waiting, size in parked:
            self._streams.parked(-size)
            waiting.unparked(None, 0)
        self._tell_open()
