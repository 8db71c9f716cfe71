"""Proxies between clients and servers, that cut, hold back, slow down, and bring bytes late.

What a proxy holds back it does not lose: as on a network, it comes when the way is free again, and
in its order. Each is in a loop of one thread; what is asked of them has happened when it returns.
"""

import asyncio
import random

from loop_thread import LoopThread

CHUNK_BYTES = 1 << 16
UP, DOWN = "up", "down"  # from clients to the server, and back
BOTH = (UP, DOWN)


class _Way:
    """One direction of a proxy."""

    def __init__(self):
        self.open = asyncio.Event()
        self.free()

    def free(self):
        self.open.set()
        self.bytes_per_s = None
        self.late_share = 0.0
        self.late_s = 0.0


class Proxy:
    """In front of one server."""

    def __init__(self, thread, server, rng):
        self.port = None
        self.refuses = False
        self._server = server
        self._thread = thread
        self._random = rng
        self._ways = {it: _Way() for it in BOTH}
        self._writers = set()
        self._tasks = set()

    async def listen(self):
        self._listening = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _accepted(self, reader, writer):
        self._writers.add(writer)
        try:
            if self.refuses:
                return
            try:
                up_reader, up_writer = await asyncio.open_connection(*self._server)
            except OSError:
                return
            self._writers.add(up_writer)
            ways = [
                asyncio.ensure_future(self._carry(reader, up_writer, self._ways[UP])),
                asyncio.ensure_future(self._carry(up_reader, writer, self._ways[DOWN])),
            ]
            self._tasks.update(ways)
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for it in ways:
                it.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._tasks.difference_update(ways)
            _abort(up_writer)
            self._writers.discard(up_writer)
        finally:
            _abort(writer)
            self._writers.discard(writer)

    async def _carry(self, reader, writer, way):
        while True:
            try:
                data = await reader.read(CHUNK_BYTES)
                if not data:
                    return
                for late, piece in self._pieces(data, way):
                    if late:
                        await asyncio.sleep(way.late_s)
                    await way.open.wait()
                    writer.write(piece)
                    await writer.drain()
                    if way.bytes_per_s is not None:
                        await asyncio.sleep(len(piece) / way.bytes_per_s)
            except OSError:
                return

    def _pieces(self, data, way):
        """(whether it is late, bytes): the late share of all bytes is as the way says."""
        at = 0
        while way.late_share and at < len(data):
            on = at + int(self._random.expovariate(way.late_share))
            if on >= len(data):
                break
            if on > at:
                yield False, data[at:on]
            yield True, data[on : on + 1]
            at = on + 1
        if at < len(data):
            yield False, data[at:]

    # Asked of it, from other threads

    def cut(self):
        """End all connections, and refuse new ones."""
        self._thread.call(self._cut)

    def drop(self):
        """End all connections; new ones are accepted."""
        self._thread.call(self._drop)

    def hold(self, *ways):
        """Pass no more bytes in these directions, while connections stay open."""
        self._thread.call(lambda: [self._ways[it].open.clear() for it in ways])

    def slow(self, bytes_per_s, *ways):

        def do():
            for it in ways:
                self._ways[it].bytes_per_s = bytes_per_s

        self._thread.call(do)

    def late(self, share, seconds, *ways):
        """Delay this share of all bytes, and the bytes behind them."""

        def do():
            for it in ways:
                self._ways[it].late_share, self._ways[it].late_s = share, seconds

        self._thread.call(do)

    def heal(self):
        self._thread.call(self._heal)

    def _heal(self):
        self.refuses = False
        for it in self._ways.values():
            it.free()

    def _cut(self):
        self.refuses = True
        self._drop()

    def _drop(self):
        for it in self._writers:
            _abort(it)

    async def close(self):
        self._listening.close()
        self._heal()
        self._drop()
        for it in list(self._tasks):
            it.cancel()


def _abort(writer):
    writer.transport.abort()


class Proxies:
    """One in front of each of these servers."""

    def __init__(self, servers, seed=1):
        self._thread = LoopThread("proxies")
        self._all = [
            Proxy(self._thread, it, random.Random(seed + n)) for n, it in enumerate(servers)
        ]
        for it in self._all:
            self._thread.run(it.listen())

    def __getitem__(self, number):
        return self._all[number]

    def __iter__(self):
        return iter(self._all)

    def heal(self):
        for it in self._all:
            it.heal()

    def close(self):
        for it in self._all:
            self._thread.run(it.close())
        self._thread.close()
