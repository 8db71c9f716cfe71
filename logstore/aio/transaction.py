"""A transaction of the library for asyncio: operations are held at once, the end is awaited."""

from types import TracebackType
from typing import Self

from logstore.aio.consumer import Consumer
from logstore.aio.faces import Face, awaited
from logstore.aio.ground import Ground
from logstore.aio.queues import QueueMessage
from logstore.broker.queues.given import Table
from logstore.broker.topic import HeadersGiven
from logstore.errors import Refused
from logstore.kept.queues import DEFAULT_VHOST
from logstore.records.record import Record
from logstore.store_transaction import Transaction as Behind


class Transaction(Face[Behind]):
    """``logstore.Transaction`` for asyncio: ``async with store.transaction() as tx``.

    If the task is cancelled while the block ends, the transaction happens completely or not at all.
    """

    def __init__(self, transaction: Behind, ground: Ground) -> None:
        super().__init__(transaction, ground)

    async def __aenter__(self) -> Self:
        self.behind.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._behind.end()
        if kind is None:
            await self._ground.finish(self._behind.commit)

    def append(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """As Transaction.append."""
        self.behind.append(topic, value, key, headers, timestamp_ms, partition)

    def publish(
        self,
        exchange: str,
        body: bytes,
        key: str = "",
        *,
        headers: Table | None = None,
        vhost: str = DEFAULT_VHOST,
        **properties: object,
    ) -> None:
        """As Transaction.publish."""
        self.behind.publish(exchange, body, key, headers=headers, vhost=vhost, **properties)

    def ack(self, message: QueueMessage) -> None:
        """As Transaction.ack."""
        self.behind.ack(message.behind)

    def reject(self, message: QueueMessage) -> None:
        """As Transaction.reject."""
        self.behind.reject(message.behind)

    def commit_offset(self, consumer: Consumer, record: Record) -> None:
        """As Transaction.commit_offset."""
        behind = consumer.behind
        if behind is None:
            raise Refused("commit_offset: the consumer has read nothing yet")
        self.behind.commit_offset(behind, record)

    positions = awaited(Behind.positions)
