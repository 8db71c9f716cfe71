"""Exchanges and queues for users of the library: by name, without a protocol.

A handle looks its object up by name at each call, so it works as long as an object of this name
exists. Names and keys are texts; names that are not UTF-8 have surrogate escapes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from logstore.amqp import fields
from logstore.broker.queues import peeking
from logstore.broker.queues.given import (
    Table,
    argument_table,
    message_of,
    name_of,
    number,
    table,
    value,
)
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.named import Named
from logstore.broker.queues.peeking import Peek, Spot
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.publishing import Published
from logstore.broker.queues.queue import Queue as Model
from logstore.broker.queues.received import MANY, Desk, Hands, QueueConsumer, QueueMessage
from logstore.broker.queues.subscription import Got
from logstore.broker.queues.tables import arguments_of, table_of
from logstore.broker.queues.vhost import Vhost
from logstore.broker.reading import OnDamage
from logstore.broker.routing.binding import Binding, Kind
from logstore.broker.routing.exchange import ALTERNATE_EXCHANGE, TARGET, ExchangeFacts
from logstore.broker.routing.targets import PREFIXES
from logstore.errors import Refused

if TYPE_CHECKING:  # imported at the first use
    from logstore.broker.queues.retrospect import PastMessage, Place
    from logstore.broker.queues.waiting import WaitingMessage

PREFETCH: Final = 100
Then = Callable[[Got | None], None]


class Owner(Desk, Protocol):
    """What holds the model: the store's queues."""

    @property
    def hands(self) -> Hands:
        """The object that receives fetched messages."""

    def consumer(self, consumer: QueueConsumer) -> QueueConsumer:
        """Create a consumer, which is closed with the store."""

    def did(self, kind: str, what: str, name: str) -> None:
        """Note that something was removed here, to report it later."""


class Routed(NamedTuple):
    """The messages of a call that reached no queue, by their places; all others are queued."""

    unrouted: tuple[int, ...]  # no queue takes them
    rejected: tuple[int, ...]  # some queue was full, and says reject-publish


class QueueCounts(NamedTuple):
    ready: int
    unacked: int  # given out, and not settled
    consumers: int


class QueueBinding(NamedTuple):
    """A binding: sends an exchange's messages with a matching key to a queue or exchange."""

    source: str
    destination: str
    kind: Kind  # of the destination
    key: str
    arguments: dict[str, Any]


def kept(desk: Desk, change: Callable[[Vhost], Pending | None]) -> None:
    """Make a change, and return when it is durable. Raises its errors, and StorageFull, Failed."""

    def work(vhost: Vhost) -> Pending | None:
        pending = change(vhost)
        if pending is not None:
            pending.then(lambda _: desk.poke())
        return pending

    pending = desk.do(work)
    if pending is not None:
        desk.wait(lambda: pending.done)
        if pending.error is not None:
            raise pending.error


def begin(vhost: Vhost, messages: list[Message], poke: Callable[[], None]) -> Published | Model:
    """Publish messages; returns what must become safe, or a queue that must be opened first.

    ``poke`` is called when something that the caller waits for has changed. Raises the errors of
    routing; then nothing is published.
    """
    run = [(vhost.route(it), it) for it in messages]
    queues = {it for route, _ in run for it in route if isinstance(it, Model)}
    # Whether it has room is known once it is open.
    unopened = (it for it in queues if it.to_be_opened and not it.stock.open())
    queue = next(unopened, None) or vhost.to_be_counted(run)
    if queue is not None:
        queue.when_open(poke)
        return queue
    published = vhost.publish(run)
    if published.waiting.parked:
        published.waiting.watch(poke)
    return published


def publish(desk: Desk, messages: list[Message]) -> Routed:
    """Publish messages, and return when all are safe. Raises the errors of routing; StorageFull."""
    published = desk.do(lambda vhost: begin(vhost, messages, desk.poke))
    while isinstance(published, Model):
        queue = published
        desk.wait(lambda: queue.gone or queue.stock.open())  # noqa: B023
        published = desk.do(lambda vhost: begin(vhost, messages, desk.poke))
    waiting = published.waiting
    if waiting.parked:
        desk.wait(lambda: not waiting.parked)
    waiting.wait()
    return routed(published)


def routed(published: Published) -> Routed:
    """The result for messages, all of them safe by now. Raises StorageFull."""
    if published.error is not None:
        raise published.error
    return Routed(tuple(published.unrouted), tuple(published.rejected))


def peek(desk: Desk, name: str, begin: Spot | None, most: int) -> Peek:
    """Return up to ``most`` messages of a queue from this position on, without taking them. Raises
    NoQueue; Damaged, StorageFull if it cannot be opened.
    """
    found: list[tuple[Model, peeking.Places]] = []

    def look(vhost: Vhost) -> None:
        queue = vhost.queue(name_of(name), desk).plain("messages of its own")

        def known() -> None:
            found.append((queue, peeking.places(queue, begin, most)))
            desk.poke()

        queue.when_open(known)

    desk.do(look)
    desk.wait(lambda: found)
    queue, places = found[0]
    if queue.failed is not None:
        raise queue.failed
    return peeking.read(places, queue.limits.ttl_ms)


class Exchange:
    """One exchange by its name."""

    def __init__(self, name: str, desk: Owner) -> None:
        self.name = name
        self._name = name_of(name)
        self._desk = desk

    def __repr__(self) -> str:
        return f"<Exchange {self.name!r}>"

    def facts(self) -> ExchangeFacts:
        """The exchange's declaration. Raises NoExchange."""
        return self._desk.do(lambda vhost: vhost.topology.exchange(self._name))

    @property
    def type(self) -> str:
        """The type of the exchange. Raises NoExchange."""
        return self.facts().type_name

    def publish(
        self, body: bytes, key: str = "", *, headers: Table | None = None, **properties: object
    ) -> bool:
        """Publish one message, synced on return; returns whether any queue received it.

        ``properties``: AMQP's, such as ``priority=5``, ``expiration=60_000`` (ms),
        ``content_type``, ``correlation_id``, ``reply_to``, ``message_id``, ``timestamp``. Raises
        NoExchange, InternalExchange, InvalidExpiration; Refused if a queue is full and has overflow
        reject-publish (other queues may have received it); StorageFull, LogFailed.
        """
        message = self.message(body, key, headers, properties)
        return self.taken(publish(self._desk, [message]), key)

    def message(self, body: bytes, key: str, headers: Table | None, properties: Table) -> Message:
        """The message that ``publish`` publishes. Raises TypeError, ValueError, InvalidName,
        Refused.
        """
        return message_of(self._name, body, key, headers, properties)

    def taken(self, routed: Routed, key: str) -> bool:
        """The result of ``publish`` for one message."""
        if routed.rejected:
            raise Refused(
                f"exchange {self.name!r}: a queue is full and accepts no message with key"
                f" {key!r}; consume from it first, or publish again later"
            )
        return not routed.unrouted

    def publish_many(
        self,
        messages: Iterable[bytes | tuple[bytes, str]],
        key: str = "",
        *,
        headers: Table | None = None,
        **properties: object,
    ) -> Routed:
        """Publish bodies, or pairs of a body and its key, in order; synced together.

        Raises as ``publish``, except that rejected messages are returned.
        """
        return publish(self._desk, self.run(messages, key, headers, properties))

    def run(
        self,
        messages: Iterable[bytes | tuple[bytes, str]],
        key: str,
        headers: Table | None,
        properties: Table,
    ) -> list[Message]:
        """The messages that ``publish_many`` publishes. Raises as ``message``."""
        pairs = (it if isinstance(it, tuple) else (it, key) for it in messages)
        return [self.message(*_pair(it), headers, properties) for it in pairs]

    def bind(
        self, source: "str | Exchange", key: str = "", arguments: Table | None = None
    ) -> "Exchange":
        """Bind this exchange to ``source``: it receives messages with a matching key.

        Durable on return. Raises NoExchange, NotPermitted, InvalidArgument.
        """
        binding = _binding(source, self._name, key, arguments, "exchange")
        kept(self._desk, lambda vhost: vhost.bind(binding, self._desk))
        return self

    def lead(self, target: str, key: str = "", arguments: Table | None = None) -> "Exchange":
        """Send messages of this exchange with a matching key to a topic or a channel.

        ``target``: ``topic:audit`` or ``channel:news``. An exchange of that name, which passes its
        messages to the target, is declared, bound to this exchange and returned. Durable on return.
        Raises NoExchange, Circular; Refused for another kind of target.
        """
        leading = declare_leading(self._desk, target)
        return leading.bind(self.name, key, arguments)

    def unbind(
        self, source: "str | Exchange", key: str = "", arguments: Table | None = None
    ) -> None:
        """Remove a binding; no effect if it does not exist."""
        binding = _binding(source, self._name, key, arguments, "exchange")
        kept(self._desk, lambda vhost: vhost.unbind(binding, self._desk))

    def bindings(self) -> list[QueueBinding]:
        """The bindings from this exchange, in the order of their creation. Raises NoExchange."""
        return self._desk.do(
            lambda vhost: list(map(_shown, vhost.topology.bindings_from(self._name)))
        )

    def scheduled(
        self, *, after: tuple[int, int] | None = None, most: int = 100
    ) -> "Sequence[WaitingMessage]":
        """The delayed messages of an x-delayed-message exchange, in the order in which they are
        due.

        At most ``most`` of them; ``after``: the due time (ms) and offset after which to start.
        Raises NoExchange; NotWaiting for an exchange of another type.
        """
        from logstore.broker.queues.waiting import scheduled

        return scheduled(self._desk, self._name, after, most)

    def cancel(self, offset: int) -> None:
        """Cancel the delayed message at this offset; durable on return.

        Raises NotWaiting if it was delivered or cancelled; NoExchange.
        """
        from logstore.broker.queues.waiting import cancelled

        cancelled(self._desk, self._name, offset)
        self._desk.did("exchange", f"cancelled message {offset} of", self.name)

    def delete(self, *, if_unused: bool = False) -> None:
        """Delete the exchange and its bindings; durable on return. Raises InUse, NotPermitted."""
        there = False

        def delete(vhost: Vhost) -> Pending | None:
            nonlocal there
            there = any(it.name == self._name for it in vhost.topology.exchanges())
            return vhost.delete_exchange(self._name, if_unused=if_unused)

        kept(self._desk, delete)
        if there:
            self._desk.did("exchange", "deleted", self.name)


def _pair(given: tuple[Any, ...]) -> tuple[bytes, str]:
    if len(given) != 2:
        raise TypeError(f"a message is a body, or a body and its key, not {len(given)} things")
    body, key = given
    return body, key


def leading_of(target: str) -> tuple[str, str]:
    """The type of exchange that leads to this target, and the name of the topic or channel. Raises
    Refused.
    """
    if not isinstance(target, str):
        raise TypeError(f"a target is a str, not {type(target).__name__}")
    kind, colon, name = target.partition(":")
    if not colon or not name or kind not in PREFIXES:
        raise Refused(f"{target!r} is not a target; use topic:NAME or channel:NAME")
    return PREFIXES[kind], name


def declare_leading(desk: Owner, target: str) -> Exchange:
    """The exchange named ``topic:audit``, which leads to that topic. Raises Refused."""
    type_name, name = leading_of(target)
    return declare_exchange(
        desk, target, type_name, durable=True, auto_delete=False, internal=False, alternate=None,
        arguments={TARGET.decode(): name},
    )  # fmt: skip


class Queue:
    """One queue by its name."""

    def __init__(self, name: str, desk: Owner) -> None:
        self.name = name
        self._name = name_of(name)
        self._desk = desk

    @property
    def owner(self) -> Owner:
        """The object that holds the model."""
        return self._desk

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    def found(self, vhost: Vhost) -> Named:
        """The queue, within the model. Raises NoQueue."""
        return vhost.queue(self._name, self._desk)

    def facts(self) -> QueueFacts:
        """The queue's declaration. Raises NoQueue."""
        return self._desk.do(lambda vhost: self.found(vhost).facts)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the queue. Raises NoQueue."""
        return table_of(self.facts().arguments)

    def counts(self) -> QueueCounts:
        """The queue's counts. Raises NoQueue; CorruptBatch, StorageFull if it can't be opened."""
        queue = self._open()
        if queue.failed is not None:
            raise queue.failed
        return self._desk.do(
            lambda _: QueueCounts(queue.ready, queue.out, len(queue.subscriptions))
        )

    def _open(self) -> Named:
        """Open the queue: its counts are known then, unless it has ``failed``. Raises NoQueue."""
        opened: list[Named] = []

        def look(vhost: Vhost) -> None:
            queue = self.found(vhost)

            def known() -> None:
                opened.append(queue)
                self._desk.poke()

            queue.when_open(known)

        self._desk.do(look)
        self._desk.wait(lambda: opened)
        return opened[0]

    def bind(
        self, exchange: str | Exchange, key: str = "", arguments: Table | None = None
    ) -> "Queue":
        """Bind the queue to an exchange: it receives messages with a matching key.

        Durable on return. Raises NoExchange, NoQueue, NotPermitted, InvalidArgument.
        """
        binding = _binding(exchange, self._name, key, arguments, "queue")
        kept(self._desk, lambda vhost: vhost.bind(binding, self._desk))
        return self

    def unbind(
        self, exchange: str | Exchange, key: str = "", arguments: Table | None = None
    ) -> None:
        """Remove a binding; no effect if it does not exist."""
        binding = _binding(exchange, self._name, key, arguments, "queue")
        kept(self._desk, lambda vhost: vhost.unbind(binding, self._desk))

    def bindings(self) -> list[QueueBinding]:
        """The bindings to this queue; the first is its own name at the default exchange. Raises
        NoQueue.
        """
        return self._desk.do(
            lambda vhost: list(map(_shown, vhost.topology.bindings_to(self._name)))
        )

    def publish(self, body: bytes, *, headers: Table | None = None, **properties: object) -> None:
        """Publish to this queue only, by the default exchange. As Exchange.publish, or NoQueue."""
        self.facts()
        Exchange("", self._desk).publish(body, self.name, headers=headers, **properties)

    def get(self) -> QueueMessage | None:
        """The first ready message, which the caller must settle; None if no message is ready.

        A message that is unsettled when the store is closed becomes ready again. Raises NoQueue,
        SingleActive.
        """
        hands = self._desk.hands
        got: list[Got | None] = []
        gone = False

        def then(found: Got | None) -> None:
            got.append(found)
            self._desk.poke()
            if gone and found is not None and (group := hands.unacked.ack(found.tag)) is not None:
                group.queue.release(group, failed=False)

        try:
            self._desk.do(lambda vhost: self.found(vhost).get(hands, False, then))
            self._desk.wait(lambda: got)
        except BaseException:  # Ctrl-C: the caller no longer takes it
            gone = True
            raise
        found = got[0]
        return None if found is None else self.given(found)

    def given(self, found: Got) -> QueueMessage:
        """The result of ``get``."""
        return QueueMessage(self.name, found.delivery, found.tag, self._desk.hands, self._desk)

    def consume(
        self, prefetch: int = PREFETCH, *, priority: int = 0, exclusive: bool = False
    ) -> QueueConsumer:
        """Return a consumer of the queue, which shares messages in turn with other consumers.

        ``prefetch``: the maximum number of unsettled messages; 0: no limit. ``priority``: consumers
        of higher priority are served first. ``exclusive``: no other consumer is allowed. Raises
        NoQueue, ExclusiveUse.
        """
        number(prefetch, "prefetch", 0, MANY)
        number(priority, "priority", -MANY, MANY)
        consumer = QueueConsumer(self.name, self._desk, prefetch, priority, exclusive=exclusive)
        self._desk.do(lambda vhost: consumer.begin(self.found(vhost)))
        return self._desk.consumer(consumer)

    def history(
        self,
        first: "Place" = None,
        upto: "Place" = None,
        *,
        only: str = "all",
        headers: Mapping[str, str] | None = None,
        on_damage: OnDamage = "stop",
    ) -> "Iterator[PastMessage]":
        """The queue's messages on disk, including settled ones; takes none of them.

        In the order of publishing, up to the last message at the time of the call. From ``first``
        to before ``upto``: a datetime, or an offset (``17``, or ``"4:17"`` for priority 4, which
        leaves out messages of other priorities). ``only``: all, settled, unsettled, ready or out.
        ``headers``: only messages that have all of these, with values as texts. ``on_damage``: as
        in ``Store.consumer``. Settled messages are kept for ``x-retention-ms``; purged messages are
        not returned. Raises NoQueue, Refused; CorruptBatch, Damaged.
        """
        from logstore.broker.queues.retrospect import history

        return history(self._desk, self.name, first, upto, only, headers, on_damage)

    def purge(self) -> int:
        """Delete all ready messages; returns their number. Raises NoQueue."""
        counts: list[int] = []

        def purged(count: int) -> None:
            counts.append(count)
            self._desk.poke()

        self._desk.do(lambda vhost: self.found(vhost).purge(purged))
        self._desk.wait(lambda: counts)
        self._desk.did("queue", "purged", self.name)
        return counts[0]

    def delete(self, *, if_unused: bool = False, if_empty: bool = False) -> int:
        """Delete the queue and its messages, durable on return; returns the number of ready
        messages.

        Raises NoQueue, ConsumersThere, NotEmpty.
        """
        self._open()
        total = 0

        def delete(vhost: Vhost) -> Pending | None:
            nonlocal total
            queue = self.found(vhost)
            total, pending = vhost.delete_queue(queue, if_unused=if_unused, if_empty=if_empty)
            return pending

        kept(self._desk, delete)
        self._desk.did("queue", "deleted", self.name)
        return total


def _binding(
    source: str | Exchange, destination: bytes, key: str, arguments: Table | None, kind: Kind
) -> Binding:
    name = source.name if isinstance(source, Exchange) else source
    given = arguments_of(table(arguments, "arguments"))
    return Binding(name_of(name), destination, name_of(key, "routing key"), given, kind)


def _shown(binding: Binding) -> QueueBinding:
    text = fields.text
    return QueueBinding(
        text(binding.source), text(binding.destination), binding.kind, text(binding.key),
        table_of(binding.arguments),
    )  # fmt: skip


def declare_exchange(
    desk: Owner,
    name: str,
    type_name: str | None,
    *,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    alternate: str | None,
    arguments: Table | None,
) -> Exchange:
    """Declare an exchange, durable on return; without a type: an existing one. As
    ``Store.exchange``.
    """
    exchange = Exchange(name, desk)
    if type_name is None:
        exchange.facts()
        return exchange
    if not isinstance(type_name, str):
        raise TypeError(f"a type is a str, not {type(type_name).__name__}")
    given = table(arguments, "arguments")
    if alternate is not None:
        given[fields.text(ALTERNATE_EXCHANGE)] = value(alternate)
    facts = ExchangeFacts(
        name_of(name), type_name, durable, auto_delete, internal, arguments_of(given)
    )
    kept(desk, lambda vhost: vhost.declare_exchange(facts))
    return exchange


def declare_queue(
    desk: Owner,
    name: str,
    *,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    arguments: Table | None,
    given: Table,
) -> Queue:
    """Declare a queue, durable on return. As ``Store.queue``."""
    wanted = name_of(name)
    found_arguments = arguments_of(argument_table(arguments, given))
    plain = durable and not (exclusive or auto_delete or found_arguments.fields)
    facts = QueueFacts(wanted, durable, exclusive, auto_delete, found_arguments)
    found = wanted

    def declare(vhost: Vhost) -> Pending | None:
        nonlocal found
        if plain and wanted and vhost.topology.queue(wanted) is not None:
            return vhost.queue(wanted, desk).kept
        queue, pending = vhost.declare_queue(facts, desk)
        found = queue.facts.name
        return pending

    kept(desk, declare)
    return Queue(fields.text(found), desk)
