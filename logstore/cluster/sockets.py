"""Sockets of links: output is sent once a turn, input is read as it arrives.

If a peer does not read, nothing more is written; the output stays with the link.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from logstore.cluster.brokers import Address
from logstore.cluster.frames import SHARED_BYTES, Frames
from logstore.cluster.spoken import Spoken
from logstore.errors import BrokenProtocol, ClusterUnreachable

CONNECT_S: Final = 10.0


class Sockets:
    """Makes connections in one loop; their links share one buffer."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        """``server_name``: the name in brokers' certificates; "": the host of each."""
        self._loop = loop
        self._tls = tls
        self._server_name = server_name
        self._shared = memoryview(bytearray(SHARED_BYTES))
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, address: Address, link: Spoken) -> Callable[[], None]:
        """As brokers.Around.connect."""
        line = _Line(self._loop, link, Frames(self._shared, lambda: link.frame_bytes_max))
        task = self._loop.create_task(self._connect(address, link, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return line.wake

    async def _connect(self, address: Address, link: Spoken, line: "_Line") -> None:
        host, port = address
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._loop.create_connection(
                    lambda: line, host, port, ssl=self._tls,
                    server_hostname=(self._server_name or host) if self._tls is not None else None,
                )  # fmt: skip
        except (OSError, TimeoutError, ssl.SSLError) as error:
            why = str(error) or f"no answer in {CONNECT_S:g} s"
            link.lose(ClusterUnreachable(f"{link.peer}: {why}"))


class _Line(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: Spoken, frames: Frames) -> None:
        self._loop = loop
        self._link = link
        self._frames = frames
        self._transport: asyncio.Transport | None = None
        self._waking = False
        self._paused = False  # the peer does not read

    def wake(self) -> None:
        """The link has output, or was lost."""
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._waking = False
        transport = self._transport
        if transport is None:
            return
        lost = self._link.failure is not None
        out = self._link.outgoing() if lost or not self._paused else ()
        if out:
            transport.writelines(out)
        if lost:
            self._transport = None
            transport.abort()

    # As asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As Protocol.connection_made."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base
        self._flush()

    def pause_writing(self) -> None:
        """As BaseProtocol.pause_writing."""
        self._paused = True

    def resume_writing(self) -> None:
        """As BaseProtocol.resume_writing."""
        self._paused = False
        self.wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        """As BufferedProtocol.get_buffer."""
        return self._frames.room()

    def buffer_updated(self, nbytes: int) -> None:
        """As BufferedProtocol.buffer_updated."""
        self._link.came()
        try:
            for frame in self._frames.taken(nbytes):
                self._link.received(frame)
        except BrokenProtocol as error:
            self._link.lose(BrokenProtocol(f"{self._link.peer}: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """As Protocol.connection_lost."""
        self._transport = None
        why = str(exc) if exc is not None else "it has closed the connection"
        self._link.lose(ClusterUnreachable(f"{self._link.peer}: {why}"))
