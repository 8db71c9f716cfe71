"""A producer for asyncio: workers write batches, and senders wait if the disk is slower."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from logstore.aio.faces import Face, awaited
from logstore.aio.topic import size_of
from logstore.broker.producer import Producer as Behind
from logstore.broker.rules import RECORD_BYTES_EXTRA
from logstore.broker.topic import HeadersGiven, as_headers
from logstore.errors import LogstoreError
from logstore.records.record import Message

FEW: Final = 100  # messages that are looked at in the loop
# Unsynced batches (of a megabyte, as a rule) beyond which senders wait.
BATCHES_MAX: Final = 16


class Producer(Face[Behind]):
    """``logstore.Producer`` for asyncio. ``send`` waits if the disk cannot keep up."""

    @property
    def sent(self) -> int:
        """The number of records accepted."""
        return self._behind.sent

    @property
    def acknowledged(self) -> int:
        """How many of the records sent are synced."""
        return self._behind.acknowledged

    async def send(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """As Producer.send. Cancelled while it waits, the record may have been taken."""
        await self.send_many([Message(value, key, as_headers(headers), timestamp_ms)], partition)

    async def send_many(self, messages: Sequence[Message], partition: int | None = None) -> None:
        """As Producer.send_many. Cancelled while it waits, all may have been taken, or none."""
        producer = self.behind
        if len(messages) > FEW or not producer.take(messages, partition, _bytes(messages)):
            await self._noted(lambda: producer.send_many(messages, partition))
            await self._keep_up()

    async def _noted(self, call: Callable[[], None]) -> None:
        try:
            await self.workers.run(call)
        except asyncio.CancelledError as error:
            error.add_note("what was sent to a producer: perhaps taken; ``sent`` counts it if so")
            raise

    async def _keep_up(self) -> None:
        """Back-pressure: wait until all but a few written batches are synced."""
        while True:
            mark = await self.workers.run(lambda: self._behind.behind(BATCHES_MAX))
            if mark is None:
                return
            try:
                await self._ground.safety.safe(*mark)
            except LogstoreError:
                return  # flush reports the error

    push = awaited(Behind.push)

    async def flush(self) -> None:
        """As Producer.flush."""
        _, marks = await self.workers.run(self.behind.pushed)
        await self._ground.safe(marks.items(), "what was sent to a producer")

    async def close(self) -> None:
        """As Producer.close; continues if the waiting task is cancelled."""
        await self._ground.finish(self._behind.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _bytes(messages: Sequence[Message]) -> int:
    """The approximate size of messages in a batch, uncompressed."""
    return sum(map(size_of, messages)) + RECORD_BYTES_EXTRA * len(messages)
