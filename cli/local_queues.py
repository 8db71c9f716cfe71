"""The queues of a store that this process has to itself, as commands need them."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from logstore.amqp.fields import data, text
from logstore.amqp.properties import Properties
from logstore.amqp.properties import read as read_properties
from logstore.broker.queues.handles import (
    Exchange,
    Owner,
    Queue,
    declare_exchange,
    declare_queue,
    peek,
    publish,
)
from logstore.broker.queues.message import Message as Wanted
from logstore.broker.queues.peeking import Peeked as Found
from logstore.broker.queues.peeking import spot_of
from logstore.broker.queues.received import QueueConsumer, QueueMessage
from logstore.broker.queues.tables import table_of

from .publishing import Encoder, full
from .queue_site import (
    BindingFacts,
    ExchangeAbout,
    ExchangeRow,
    Past,
    PastPage,
    Peek,
    QueueAbout,
    QueueRow,
    Replayed,
    Table,
)

if TYPE_CHECKING:
    from logstore import Store
    from logstore.broker.queues.retrospect import Reading
    from logstore.broker.reading import Skip
    from logstore.records.record import Message


class LocalQueues:
    """A ``QueueSite``; what it is asked for is durable on return."""

    def __init__(self, desk: Owner, store: "Store") -> None:
        self._desk = desk
        self._store = store

    def declare_exchange(
        self, name: str, type_name: str, *, durable: bool, auto_delete: bool, internal: bool,
        arguments: Table,
    ) -> None:  # fmt: skip
        """As QueueSite.declare_exchange."""
        declare_exchange(
            self._desk, name, type_name, durable=durable, auto_delete=auto_delete,
            internal=internal, alternate=None, arguments=arguments,
        )  # fmt: skip

    def declare_queue(
        self, name: str, *, durable: bool, auto_delete: bool, arguments: Table
    ) -> str:
        """As QueueSite.declare_queue."""
        queue = declare_queue(
            self._desk, name, durable=durable, exclusive=False, auto_delete=auto_delete,
            arguments=arguments, given={},
        )  # fmt: skip
        return queue.name

    def exchanges(self) -> Sequence[ExchangeRow]:
        """As QueueSite.exchanges, by name."""
        rows = self._desk.do(
            lambda vhost: [
                ExchangeRow(
                    text(it.name), it.type_name, _many(vhost.topology.bindings_from(it.name))
                )
                for it in vhost.topology.exchanges()
            ]
        )
        return sorted(rows)

    def queues(self) -> Sequence[QueueRow]:
        """As QueueSite.queues, by name."""
        names = self._desk.do(lambda vhost: sorted(text(it.facts.name) for it in vhost.queues()))
        return [self._row(name) for name in names]

    def _row(self, name: str) -> QueueRow:
        return QueueRow(name, *Queue(name, self._desk).counts())

    def exchange(self, name: str) -> ExchangeAbout:
        """As QueueSite.exchange."""
        exchange = Exchange(name, self._desk)
        it = exchange.facts()
        return ExchangeAbout(
            it.type_name, it.durable, it.auto_delete, it.internal, table_of(it.arguments),
            [BindingFacts(*binding) for binding in exchange.bindings()],
        )  # fmt: skip

    def queue(self, name: str) -> QueueAbout:
        """As QueueSite.queue."""
        queue = Queue(name, self._desk)
        it = queue.facts()
        topic = self._desk.do(lambda vhost: vhost.queue(data(name), self._desk).topic_name)
        return QueueAbout(
            it.durable, it.auto_delete, table_of(it.arguments), self._row(name),
            [BindingFacts(*binding) for binding in queue.bindings()], self._policy(name), topic,
        )  # fmt: skip

    def _policy(self, name: str) -> str | None:
        """The name of the policy in effect for a queue."""
        policy = self._desk.do(lambda vhost: vhost.queue(data(name), self._desk).policy)
        return None if policy is None else policy.name

    def ready(self, queue: str) -> int:
        """As QueueSite.ready."""
        return Queue(queue, self._desk).counts().ready

    def check_topic(self, name: str) -> None:
        """As QueueSite.check_topic."""
        self._store.topic(name)

    def bind(self, binding: BindingFacts) -> None:
        """As QueueSite.bind."""
        self._end(binding).bind(binding.source, binding.key, binding.arguments)

    def unbind(self, binding: BindingFacts) -> None:
        """As QueueSite.unbind."""
        self._end(binding).unbind(binding.source, binding.key, binding.arguments)

    def _end(self, binding: BindingFacts) -> Queue | Exchange:
        kind = Queue if binding.kind == "queue" else Exchange
        return kind(binding.destination, self._desk)

    def delete_exchange(self, name: str, *, if_unused: bool) -> None:
        """As QueueSite.delete_exchange."""
        exchange = Exchange(name, self._desk)
        exchange.facts()  # deleting a missing exchange is no error otherwise
        exchange.delete(if_unused=if_unused)

    def delete_queue(self, name: str, *, if_unused: bool, if_empty: bool) -> int:
        """As QueueSite.delete_queue."""
        return Queue(name, self._desk).delete(if_unused=if_unused, if_empty=if_empty)

    def purge(self, queue: str) -> int:
        """As QueueSite.purge."""
        return Queue(queue, self._desk).purge()

    def sink(self, exchange: str, properties: dict[str, Any]) -> "LocalSink":
        """As QueueSite.sink."""
        Exchange(exchange, self._desk).facts()
        return LocalSink(self._desk, Encoder(exchange, properties))

    def peek(self, queue: str, begin: str | None, most: int) -> Peek:
        """As QueueSite.peek."""
        found = peek(self._desk, queue, None if begin is None else spot_of(begin), most)
        return Peek(
            [LocalPeeked(queue, it) for it in found.messages],
            [str(it) for it in found.damaged],
            None if found.following is None else str(found.following),
        )

    def past(
        self, queue: str, past: Past, on: str | None, most: int, before_ms: int | None = None
    ) -> PastPage:
        """As QueueSite.past."""
        from logstore.broker.queues.retrospect import PastMessage

        damaged: list[str] = []
        reading = self._reading(queue, past, on, lambda error: damaged.append(str(error)))
        page = reading.page(most, before_ms=before_ms)
        return PastPage(
            [PastMessage(queue, it) for it in page.found], damaged, str(page.track) or None,
            None if page.following is None else str(page.following), page.next_ms,
        )  # fmt: skip

    def _reading(self, queue: str, past: Past, on: str | None, skip: "Skip | None") -> "Reading":
        from logstore.broker.queues.past import STATES, Wanted, track_of
        from logstore.broker.queues.retrospect import Reading

        wanted = Wanted(STATES[past.only], past.from_ms, past.to_ms, past.headers)
        first = past.from_ms if past.first is None else spot_of(past.first)
        upto = None if past.upto is None else spot_of(past.upto)
        return Reading(
            self._desk, queue, first, upto, wanted, skip,
            "time" if past.order == "time" else "position",
            on=None if on is None else track_of(on),
        )  # fmt: skip

    def topic(self, name: str) -> bool:
        """As QueueSite.topic."""
        if name in self._store.topics():
            return False
        self._store.create_topic(name)
        return True

    def replay(
        self,
        queue: str,
        into: str,
        key: str | None,
        past: Past,
        on: str | None,
        before_ms: int | None,
    ) -> Replayed:
        """As QueueSite.replay."""
        from logstore.broker.queues import replaying
        from logstore.broker.queues.retrospect import replayed

        target = replaying.into_of(into, key)
        append = None
        if target.kind == "topic":
            append = self._store.topic(target.name).append_many
        page = self._reading(queue, past, on, None).page(before_ms=before_ms)
        sent = replayed(self._desk, page.found, target, append)
        page.track.back(page.found[sent.sent :])
        if sent.error is not None and not sent.sent:
            raise sent.error
        return Replayed(
            sent.sent, sent.unrouted, str(page.track) or None, page.next_ms,
            None if sent.error is None else str(sent.error),
        )  # fmt: skip

    def get(self, queue: str) -> QueueMessage | None:
        """As QueueSite.get."""
        return Queue(queue, self._desk).get()

    def consume(self, queue: str, prefetch: int) -> QueueConsumer:
        """As QueueSite.consume."""
        return Queue(queue, self._desk).consume(prefetch)


class LocalPeeked:
    """As ``Peeked``."""

    def __init__(self, queue: str, found: Found) -> None:
        self.queue = queue
        self.position, self.state = str(found.place.spot), found.place.state
        self.redelivered = found.place.redelivered
        self.exchange, self.key = text(found.shown.exchange), text(found.record.key or b"")
        self.body = found.record.value or b""
        self.time_ms = found.record.timestamp_ms
        self._properties = found.shown.deliver

    @cached_property
    def properties(self) -> Properties:
        return read_properties(self._properties)

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}


def _many(found: Iterable[object]) -> int:
    return sum(1 for _ in found)


class LocalSink:
    """As ``Sink``: each call returns when its messages are synced."""

    def __init__(self, desk: Owner, encoder: Encoder) -> None:
        self.acknowledged = 0
        self.unrouted = 0
        self._desk = desk
        self._encoder = encoder

    def send_many(self, messages: "Sequence[Message]", partition: int | None = None) -> None:
        """As Sink.send_many. Raises Refused where a queue is full."""
        run: list[Wanted] = self._encoder.encode(messages)
        if not run:
            return
        routed = publish(self._desk, run)
        self.unrouted += len(routed.unrouted)
        self.acknowledged += len(run) - len(routed.rejected)
        if routed.rejected:
            raise full(len(routed.rejected))

    def push(self) -> None:
        """Do nothing: everything is already synced."""

    def flush(self) -> None:
        """Do nothing: everything is already synced."""
