"""Consumers of share groups for asyncio; they wait without a thread.

A task that is cancelled before it has its records loses none: the next call returns them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from logstore.aio.faces import Opened
from logstore.aio.ground import Ground
from logstore.broker.shared.share_consumer import ShareConsumer as Behind
from logstore.broker.shared.share_consumer import ShareRecord
from logstore.errors import Closed


class ShareConsumer(Opened["ShareConsumer"]):
    """``logstore.ShareConsumer`` for asyncio; it is a member once it is awaited, entered or read.

    Several tasks may use it at once only if it is ``explicit``.
    """

    def __init__(self, make: Callable[[], Behind], ground: Ground) -> None:
        self._make = make
        self._ground = ground
        self._alarm = ground.rounds.alarm()
        self._mutex = asyncio.Lock()  # held while it is opened
        self._consumer: Behind | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<aio {self._consumer!r}>"

    async def _opened(self) -> "ShareConsumer":
        await self._behind()
        return self

    async def _behind(self) -> Behind:
        async with self._mutex:
            if self._closed:
                raise Closed("the consumer of a share group is closed")
            if self._consumer is None:
                self._ground.checked()
                self._consumer = await self._ground.workers.run(self._begin, Behind.close)
            return self._consumer

    def _begin(self) -> Behind:
        consumer = self._make()
        consumer.home.run(lambda: consumer.listen(self._alarm.set))
        return consumer

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

    async def __anext__(self) -> ShareRecord:
        try:
            record = await self.get()
        except Closed:
            raise StopAsyncIteration from None
        assert record is not None, "it waits for one"
        return record

    async def get(self, timeout_s: float | None = None) -> ShareRecord | None:
        """As ShareConsumer.get."""
        found = await self.get_many(1, timeout_s)
        return found[0] if found else None

    async def get_many(self, most: int, timeout_s: float | None = None) -> list[ShareRecord]:
        """As ShareConsumer.get_many."""
        if most < 1:
            raise ValueError(f"{most} records: must be 1 or more")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        consumer = await self._behind()
        lost = partial(_lost, consumer)
        while True:
            self._alarm.clear()
            found: list[ShareRecord] = await self._ground.workers.run(
                partial(consumer.home.run, partial(consumer.take, most)), lost
            )
            if found:
                return found
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            if left_s == 0:
                return []
            await self._alarm.rung(left_s)

    async def accept(self, *records: ShareRecord) -> None:
        """As ShareConsumer.accept."""
        await self._said(Behind.accept, records)

    async def release(self, *records: ShareRecord) -> None:
        """As ShareConsumer.release."""
        await self._said(Behind.release, records)

    async def reject(self, *records: ShareRecord) -> None:
        """As ShareConsumer.reject."""
        await self._said(Behind.reject, records)

    async def renew(self, *records: ShareRecord) -> None:
        """As ShareConsumer.renew."""
        await self._said(Behind.renew, records)

    async def _said(self, say: Callable[..., None], records: Sequence[ShareRecord]) -> None:
        consumer = await self._behind()
        await self._ground.workers.run(lambda: say(consumer, *records))

    async def flush(self) -> None:
        """As ShareConsumer.flush."""
        consumer = await self._behind()
        await self._ground.workers.run(consumer.flush)

    async def close(self) -> None:
        """As ShareConsumer.close."""
        async with self._mutex:
            self._closed = True
            if self._consumer is not None:
                await self._ground.finish(self._consumer.close)


def _lost(consumer: Behind, found: list[ShareRecord]) -> None:
    """Return records whose waiting task was cancelled; called in a worker."""
    consumer.home.run(lambda: consumer.put_back(found))
