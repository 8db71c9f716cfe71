"""The queues of a store that this process has to itself, as commands need them."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from logstore.amqp.fields import text
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
    Peek,
    QueueAbout,
    QueueRow,
    Table,
)

if TYPE_CHECKING:
    from logstore.records.record import Message


class LocalQueues:
    """A ``QueueSite``; what it is asked for is durable on return."""

    def __init__(self, desk: Owner) -> None:
        self._desk = desk

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
        return QueueAbout(
            it.durable, it.auto_delete, table_of(it.arguments), self._row(name),
            [BindingFacts(*binding) for binding in queue.bindings()],
        )  # fmt: skip

    def ready(self, queue: str) -> int:
        """As QueueSite.ready."""
        return Queue(queue, self._desk).counts().ready

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
        exchange.facts()  # to delete what is not there is no error to it
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
        """All is synced already."""

    def flush(self) -> None:
        """All is synced already."""
