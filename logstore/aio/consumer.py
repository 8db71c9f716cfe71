"""A consumer for asyncio: it waits without a thread, and a worker reads."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from operator import length_hint
from types import TracebackType
from typing import Final, Self

from logstore.aio.faces import Opened
from logstore.aio.ground import Ground
from logstore.aio.outlasting import Outlasting
from logstore.aio.rounds import Alarm, Rounds
from logstore.broker.chores import Awake
from logstore.broker.consumer import Consumer as Behind
from logstore.broker.consuming import Wish
from logstore.errors import Closed
from logstore.log import TopicPartition
from logstore.records.record import Record

# Records returned without waiting before other tasks have the loop again.
IN_A_ROW: Final = 500
_NONE: Final[tuple[Record, ...]] = ()


class Consumer(Opened["Consumer"]):
    """``logstore.Consumer`` for asyncio; opened when it is awaited, entered or first read.

    Cancelling a task that waits for a record loses no record: the next call returns it. One task at
    a time reads.
    """

    def __init__(self, wish: Wish, ground: Ground) -> None:
        self._wish = wish
        self._ground = ground
        self._chores = _Chores(ground.rounds)
        self._consumer: Behind | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._chunk: Iterator[Record] = iter(_NONE)
        self._left: Iterator[Record] = iter(_NONE)  # of the chunk, to be handed out in a row
        self._step: Outlasting[Iterator[Record] | float | None] = Outlasting(ground.workers)

    @property
    def behind(self) -> Behind | None:
        """The library's synchronous consumer; None before it is opened."""
        return self._consumer

    # Opened

    async def _opened(self) -> "Consumer":
        await self._open()
        return self

    async def _open(self) -> Behind:
        if self._consumer is not None:
            return self._consumer
        async with self._opening:
            if self._closed:
                raise Closed("the consumer is closed")
            if self._consumer is None:
                make = self._ground.checked().internals().consumer
                self._consumer = await self._ground.workers.run(
                    lambda: make(self._wish, self._chores), lambda it: it.close(last_done=False)
                )
        return self._consumer

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close(last_done=kind is None)

    # Reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        for record in self._left:
            return record
        while True:
            if length_hint(self._chunk):
                await asyncio.sleep(0)  # the others' turn
            else:
                chunk = await self._following(None, one_by_one=True)
                if chunk is None:
                    raise StopAsyncIteration
                self._chunk = chunk
            self._left = islice(self._chunk, IN_A_ROW)
            for record in self._left:
                return record

    async def poll(self, records_max: int = 10_000, timeout_s: float | None = None) -> list[Record]:
        """As Consumer.poll."""
        chunk = await self._following(timeout_s, one_by_one=False)
        return [] if chunk is None else list(islice(chunk, records_max))

    async def _following(
        self, timeout_s: float | None, *, one_by_one: bool
    ) -> Iterator[Record] | None:
        """The next records to return; None at the end of the log or of the time."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        consumer = await self._open()
        look = partial(consumer.look, one_by_one=one_by_one)
        while True:
            if consumer.quick and not self._step.busy:
                self._ground.checked()
                found = look()
            else:
                found = await self._step.anew(look)
            if found is None or not isinstance(found, int | float):
                return found
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            if left_s == 0:
                return None
            await self._chores.alarm.rung(found if left_s is None else min(left_s, found))

    @property
    async def ended(self) -> bool:
        """As Consumer.ended."""
        consumer = await self._open()
        return await self._ground.workers.run(lambda: consumer.ended)

    @property
    def places(self) -> set[TopicPartition]:
        """As Consumer.places; none before it is opened."""
        return set() if self._consumer is None else self._consumer.places

    async def position(self, topic: str, partition: int) -> int:
        """As Consumer.position."""
        return (await self._open()).position(topic, partition)

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """As Consumer.seek."""
        consumer = await self._open()
        await self._step.idle()
        consumer.seek(topic, partition, offset)

    # Committing, and the end

    async def commit(self, metadata: str = "") -> None:
        """As Consumer.commit. Cancelled, it may be committed, now or soon."""
        consumer = await self._open()
        await self._ground.workers.run(lambda: consumer.commit(metadata))

    async def close(self, *, last_done: bool = True) -> None:
        """As Consumer.close; continues if the waiting task is cancelled."""
        self._closed = True
        async with self._opening:
            consumer = self._consumer
        if consumer is not None:
            await self._ground.finish(lambda: consumer.close(last_done=last_done))


class _Chores:
    """The ``Chores`` of one consumer: the common ones, and its own signal."""

    def __init__(self, rounds: Rounds) -> None:
        self.alarm: Alarm = rounds.alarm()
        self.begin = rounds.begin

    def awake(self) -> Awake:
        return self.alarm
