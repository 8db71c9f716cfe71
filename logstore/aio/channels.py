"""Channels for asyncio: publishing and listening in the loop."""

import asyncio
import time
from types import TracebackType
from typing import Self

from logstore.aio.breath import Breath
from logstore.aio.faces import Opened
from logstore.aio.ground import Ground
from logstore.broker.listening import Channel as BehindChannel
from logstore.broker.listening import Listener as Behind
from logstore.broker.listening import Published
from logstore.errors import Closed
from logstore.internals import Names


class Listener(Opened["Listener"]):
    """``logstore.Listener`` for asyncio: it listens from its creation on.

    If a channel keeps a history that is not open yet, it listens once it is awaited or entered.
    Cancelling a task that waits for a message loses no message.
    """

    def __init__(self, names: Names, patterns: Names, ground: Ground) -> None:
        self._names, self._patterns = list(names), list(patterns)
        self._ground = ground
        self._alarm = ground.rounds.alarm()
        self._breath = Breath()
        self._opening = asyncio.Lock()
        self._listener: Behind | None = None
        self._closed = False
        store = ground.checked()
        if all(store.channel(name).opened for name in self._names):
            self._listener = self._listen()

    def _listen(self) -> Behind:
        return self._ground.store.internals().listener(self._names, self._patterns, self._alarm.set)

    async def _opened(self) -> "Listener":
        await self._open()
        return self

    async def _open(self) -> Behind:
        if self._listener is not None:
            return self._listener
        async with self._opening:
            if self._closed:
                raise Closed("the listener is closed")
            if self._listener is None:
                self._ground.checked()
                self._listener = await self._ground.workers.run(self._listen, lambda it: it.close())
        return self._listener

    async def __aenter__(self) -> Self:
        await self._open()
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

    async def __anext__(self) -> Published:
        if (message := await self.get()) is None:
            raise StopAsyncIteration
        return message

    async def get(self, timeout_s: float | None = None) -> Published | None:
        """As Listener.get."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            listener = await self._open()
        except Closed:
            if self._closed:  # itself, and not only the store
                return None
            raise
        await self._breath.taken()
        while True:
            self._alarm.clear()
            message = listener.get(0)
            if message is not None or listener.closed:
                return message
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
            if left_s == 0:
                return None
            await self._alarm.rung(left_s)

    async def close(self) -> None:
        """As Listener.close."""
        self._closed = True
        if self._listener is None:
            async with self._opening:
                pass
        if self._listener is not None:
            self._listener.close()


class Channel(Opened["Channel"]):
    """``logstore.Channel`` for asyncio. Awaiting it opens its history; otherwise its first use
    does.
    """

    def __init__(self, channel: BehindChannel, ground: Ground) -> None:
        self._channel = channel
        self._ground = ground

    def __repr__(self) -> str:
        return f"<aio {self._channel!r}>"

    @property
    def name(self) -> bytes:
        return self._channel.name

    async def _opened(self) -> "Channel":
        if not self._channel.opened:
            await self._ground.workers.run(self._channel.open)
        return self

    async def publish(self, payload: bytes) -> int:
        """As Channel.publish. If cancelled, the message may have been published; as an append."""
        self._channel.check(payload)
        self._ground.checked()
        await self._opened()
        receivers, unsafe = self._channel.put(payload)
        if unsafe:
            marks = [(log, unsafe.mark(log)) for log in unsafe]
            await self._ground.safe(marks, f"a message of channel {self.name!r}")
        return receivers

    def subscribe(self) -> Listener:
        """As Channel.subscribe; see ``Listener``. Raises Closed."""
        return Listener([self.name], [], self._ground)
