"""Exchanges and queues for asyncio; a consumer waits without a thread.

A message is delivered only once: if a task is cancelled before it has its message, the message
returns to its own place, without counting as failed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from logstore.aio.breath import Breath
from logstore.aio.faces import Face, Opened, awaited, streamed
from logstore.aio.ground import Ground
from logstore.aio.model import Answer
from logstore.aio.rounds import Alarm
from logstore.amqp import fields
from logstore.amqp.properties import Properties
from logstore.broker.queues.given import Table, number
from logstore.broker.queues.handles import (
    PREFETCH,
    Owner,
    Routed,
    begin,
    routed,
)
from logstore.broker.queues.handles import Exchange as BehindExchange
from logstore.broker.queues.handles import Queue as BehindQueue
from logstore.broker.queues.message import Message
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.publishing import Published
from logstore.broker.queues.queue import Queue as Model
from logstore.broker.queues.received import (
    MANY,
    Group,
    done,
    failed,
    rejected,
    settle_now,
    untouched,
)
from logstore.broker.queues.received import QueueConsumer as BehindConsumer
from logstore.broker.queues.received import QueueMessage as Behind
from logstore.broker.queues.subscription import Got
from logstore.broker.queues.vhost import Vhost
from logstore.errors import Closed, UnknownPartition

SMALL_BYTES: Final = 32 << 10  # larger or more messages are published by a worker
FEW: Final = 100


class QueueMessage:
    """``logstore.QueueMessage`` for asyncio."""

    __slots__ = ("_ground", "_message")

    def __init__(self, message: Behind, ground: Ground) -> None:
        self._message = message
        self._ground = ground

    def __repr__(self) -> str:
        return f"<aio {self._message!r}>"

    @property
    def behind(self) -> Behind:
        """The library's synchronous message."""
        return self._message

    @property
    def queue(self) -> str:
        return self._message.queue

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def exchange(self) -> str:
        """The exchange to which the message was published; empty for the default exchange."""
        return self._message.exchange

    @property
    def key(self) -> str:
        """The routing key."""
        return self._message.key

    @property
    def redelivered(self) -> bool:
        """Whether the message may have been delivered before."""
        return self._message.redelivered

    @property
    def properties(self) -> Properties:
        """All properties; missing ones are None."""
        return self._message.properties

    @property
    def headers(self) -> dict[str, Any]:
        """As QueueMessage.headers."""
        return self._message.headers

    @property
    def delivery_count(self) -> int:
        """How often the message was returned after a failed delivery."""
        return self._message.delivery_count

    async def ack(self) -> None:
        """As QueueMessage.ack: not yet synced when this returns; when the store is closed it is."""
        await _settle(self._ground, [self], done)

    async def nack(self, *, requeue: bool = True) -> None:
        """As QueueMessage.nack."""
        await _settle(self._ground, [self], failed if requeue else rejected)

    async def reject(self) -> None:
        """As QueueMessage.reject."""
        await _settle(self._ground, [self], rejected)


async def _settle(
    ground: Ground, messages: Iterable[QueueMessage], call: Callable[[Group], None]
) -> None:
    behind = [it._message for it in messages]
    if len(behind) > FEW:
        await ground.model.run_elsewhere(lambda: settle_now(behind, call))
    elif behind:
        await ground.model.run(lambda: settle_now(behind, call))


class QueueConsumer(Opened["QueueConsumer"]):
    """``logstore.QueueConsumer`` for asyncio; it consumes once it is awaited, entered or read."""

    def __init__(
        self,
        queue: BehindQueue,
        vhost: bytes,
        ground: Ground,
        prefetch: int,
        priority: int,
        *,
        exclusive: bool,
    ) -> None:
        self._vhost = vhost
        self._ground = ground
        self._breath = Breath()
        self._alarm = ground.rounds.alarm()
        self._queue = queue
        self._owner = queue.owner
        desk = _Desk(queue.owner, self._alarm.set)
        self._make = partial(
            BehindConsumer, queue.name, desk, prefetch, priority, exclusive=exclusive
        )
        self._consumer = self._make()
        self._begun = self._closed = False

    def __repr__(self) -> str:
        return f"<aio {self._consumer!r}>"

    async def _opened(self) -> "QueueConsumer":
        if self._begun or self._closed:
            return self
        self._begun = True  # first: another task may come while this one waits
        consumer = self._consumer

        def give_up(_: object = None) -> None:
            self._owner.run(consumer.end)

        try:
            await self._ground.model.do(
                self._vhost, lambda vhost: consumer.begin(self._queue.found(vhost)), give_up
            )
        except BaseException:
            self._begun = False
            if not self._closed:
                self._consumer = self._make()
            self._alarm.set()  # another task that waits is to try it itself
            raise
        self._owner.consumer(consumer)
        return self

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> QueueMessage:
        try:
            message = await self.get()
        except Closed:
            raise StopAsyncIteration from None
        assert message is not None, "it waits for one"
        return message

    async def get(self, timeout_s: float | None = None) -> QueueMessage | None:
        """As QueueConsumer.get."""
        found = await self.get_many(1, timeout_s)
        return found[0] if found else None

    async def get_many(self, most: int, timeout_s: float | None = None) -> list[QueueMessage]:
        """As QueueConsumer.get_many."""
        if most < 1:
            raise ValueError(f"{most} messages: must be 1 or more")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        model = self._ground.model
        run = model.run if most <= FEW else model.run_elsewhere
        await self._breath.taken()
        while True:
            await self._opened()
            self._alarm.clear()
            found = await run(lambda: self._consumer.take(most), self._lost)
            if found is not None:
                return [QueueMessage(it, self._ground) for it in found]
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            if left_s == 0:
                return []
            await self._alarm.rung(left_s)

    def _lost(self, found: list[Behind] | None) -> None:
        """Return messages whose waiting task was cancelled; called in a worker."""
        if found:
            self._owner.run(lambda: settle_now(found, untouched))

    async def ack(self, messages: Iterable[QueueMessage]) -> None:
        """As QueueConsumer.ack."""
        await _settle(self._ground, messages, done)

    async def close(self) -> None:
        """As QueueConsumer.close."""
        if not self._closed:
            self._closed = True
            await self._ground.finish(self._consumer.close)


class _Desk:
    """A ``Desk`` for one consumer, which alone is notified of its messages."""

    def __init__(self, owner: Owner, poke: Callable[[], None]) -> None:
        self.do, self.run, self.wait, self.home = owner.do, owner.run, owner.wait, owner.home
        self.poke = poke


class Exchange(Face[BehindExchange]):
    """``logstore.Exchange`` for asyncio."""

    def __init__(self, exchange: BehindExchange, vhost: str, ground: Ground) -> None:
        super().__init__(exchange, ground)
        self._vhost = fields.data(vhost)

    @property
    def name(self) -> str:
        return self._behind.name

    @property
    async def type(self) -> str:
        """As Exchange.type."""
        return (await self.facts()).type_name

    facts = awaited(BehindExchange.facts)
    bindings = awaited(BehindExchange.bindings)
    scheduled = awaited(BehindExchange.scheduled)
    cancel = awaited(BehindExchange.cancel)
    delete = awaited(BehindExchange.delete)

    async def bind(
        self, source: "str | Exchange", key: str = "", arguments: Table | None = None
    ) -> "Exchange":
        """As Exchange.bind."""
        name = source.name if isinstance(source, Exchange) else source
        bind = self.behind.bind
        await self.workers.run(lambda: bind(name, key, arguments))
        return self

    async def lead(self, target: str, key: str = "", arguments: Table | None = None) -> "Exchange":
        """As Exchange.lead."""
        lead, vhost = self.behind.lead, fields.text(self._vhost)
        leading = await self.workers.run(lambda: lead(target, key, arguments))
        return Exchange(leading, vhost, self._ground)

    async def unbind(
        self, source: "str | Exchange", key: str = "", arguments: Table | None = None
    ) -> None:
        """As Exchange.unbind."""
        name = source.name if isinstance(source, Exchange) else source
        unbind = self.behind.unbind
        await self.workers.run(lambda: unbind(name, key, arguments))

    async def publish(
        self, body: bytes, key: str = "", *, headers: Table | None = None, **properties: object
    ) -> bool:
        """As Exchange.publish. Cancelled, it was published or not."""
        message = self.behind.message(body, key, headers, properties)
        found = await publish(self._ground, self._vhost, [message])
        return self._behind.taken(found, key)

    async def publish_many(
        self,
        messages: Iterable[bytes | tuple[bytes, str]],
        key: str = "",
        *,
        headers: Table | None = None,
        **properties: object,
    ) -> Routed:
        """As Exchange.publish_many."""
        run, listed = self.behind.run, list(messages)
        if len(listed) <= FEW:
            return await publish(self._ground, self._vhost, run(listed, key, headers, properties))
        made = await self.workers.run(lambda: run(listed, key, headers, properties))
        return await publish(self._ground, self._vhost, made)


class Queue(Face[BehindQueue]):
    """``logstore.Queue`` for asyncio."""

    def __init__(self, queue: BehindQueue, vhost: str, ground: Ground) -> None:
        super().__init__(queue, ground)
        self._vhost = fields.data(vhost)

    @property
    def name(self) -> str:
        return self._behind.name

    @property
    async def arguments(self) -> dict[str, Any]:
        """As Queue.arguments."""
        return await self.workers.run(lambda: self._behind.arguments)

    facts = awaited(BehindQueue.facts)
    counts = awaited(BehindQueue.counts)
    bindings = awaited(BehindQueue.bindings)
    history = streamed(BehindQueue.history)
    purge = awaited(BehindQueue.purge)
    delete = awaited(BehindQueue.delete)

    async def bind(
        self, exchange: str | Exchange, key: str = "", arguments: Table | None = None
    ) -> "Queue":
        """As Queue.bind."""
        name = exchange.name if isinstance(exchange, Exchange) else exchange
        bind = self.behind.bind
        await self.workers.run(lambda: bind(name, key, arguments))
        return self

    async def unbind(
        self, exchange: str | Exchange, key: str = "", arguments: Table | None = None
    ) -> None:
        """As Queue.unbind."""
        name = exchange.name if isinstance(exchange, Exchange) else exchange
        unbind = self.behind.unbind
        await self.workers.run(lambda: unbind(name, key, arguments))

    async def publish(
        self, body: bytes, *, headers: Table | None = None, **properties: object
    ) -> None:
        """As Queue.publish. Cancelled, it was published or not."""
        default = BehindExchange("", self.behind.owner)
        message = default.message(body, self.name, headers, properties)
        await self._ground.model.do(self._vhost, self._behind.found)
        default.taken(await publish(self._ground, self._vhost, [message]), self.name)

    async def get(self) -> QueueMessage | None:
        """As Queue.get. Cancelled, nothing was taken."""
        hands = self.behind.owner.hands

        def start(vhost: Vhost, answer: Answer) -> None:
            self._behind.found(vhost).get(hands, False, answer)

        def lost(found: Got | None) -> None:
            if found is not None and (group := hands.unacked.ack(found.tag)) is not None:
                untouched(group)

        found: Got | None = await self._ground.model.ask(self._vhost, start, lost)
        if found is None:
            return None
        return QueueMessage(self._behind.given(found), self._ground)

    def consume(
        self, prefetch: int = PREFETCH, *, priority: int = 0, exclusive: bool = False
    ) -> QueueConsumer:
        """As Queue.consume, begun at its first use: that raises what the other does.

        It is used as ``async with queue.consume() as messages``, and read by ``async for``.
        """
        number(prefetch, "prefetch", 0, MANY)
        number(priority, "priority", -MANY, MANY)
        return QueueConsumer(
            self.behind, self._vhost, self._ground, prefetch, priority, exclusive=exclusive
        )


async def publish(ground: Ground, vhost: bytes, messages: list[Message]) -> Routed:
    """As ``handles.publish``. Raises what routing raises, for none of them; StorageFull."""
    alarm = ground.rounds.alarm()
    what = "one message" if len(messages) == 1 else f"{len(messages)} messages"
    try:
        published = await _begun(ground, vhost, messages, alarm)
    except asyncio.CancelledError as error:
        error.add_note(f"{what}: perhaps published, and not waited for")
        raise
    try:
        await _settled(ground, published.waiting, alarm)
    except asyncio.CancelledError as error:
        error.add_note(f"{what}: published, and not known to be synced")
        raise
    finally:
        published.waiting.close()
    return routed(published)


async def _begun(ground: Ground, vhost: bytes, messages: list[Message], alarm: Alarm) -> Published:
    """Publish; returns what must become safe, once all the queues are open."""
    large = len(messages) > FEW or sum(len(it.body) for it in messages) > SMALL_BYTES
    do = ground.model.do_elsewhere if large else ground.model.do

    def work(found: Vhost) -> Published | Model:
        return begin(found, messages, alarm.set)

    def lost(found: Published | Model) -> None:
        if isinstance(found, Published):
            found.waiting.close()

    while True:
        alarm.clear()
        found = await do(vhost, work, lost)
        if isinstance(found, Published):
            return found
        queue = found
        while not await ground.model.run(lambda: queue.gone or queue.stock.open()):  # noqa: B023
            await alarm.rung()
            alarm.clear()


async def _settled(ground: Ground, waiting: Waiting, alarm: Alarm) -> None:
    """Return when all published messages are safe. Raises the error if some never will be."""
    while waiting.parked:
        alarm.clear()
        if waiting.parked:
            await alarm.rung()
    for error in await ground.safety.failures(waiting.marks):
        # Messages of a deleted queue count as consumed, as in RabbitMQ.
        if not isinstance(error, UnknownPartition):
            raise error
    if waiting.failed is not None:
        raise waiting.failed
