"""A partition of a cluster over sockets: a server of our own, which is killed and comes back."""

import asyncio
import random
import signal
from types import SimpleNamespace

import pytest
import uvloop
from clock import NOW_MS

from logstore.cluster.brokers import Brokers
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.fetcher import Fetcher
from logstore.cluster.identity import Identities
from logstore.cluster.offsets import EARLIEST, LATEST, Offsets
from logstore.cluster.sockets import Sockets
from logstore.cluster.writer import Writer
from logstore.errors import LogstoreError
from logstore.records.decode import decode
from logstore.records.encode import encode

DEADLINE_S = 60
ROUNDS = 30


class Client:
    """What a process has around a cluster, in one loop."""

    def __init__(self, loop, address):
        self._loop = loop
        self._soon = {}
        sockets, rng = Sockets(loop), random.Random(1)
        around = SimpleNamespace(now=loop.time, call_at=loop.call_at, connect=sockets.connect)
        self.brokers = Brokers([address], around, rng)
        self.identities = Identities(self.brokers)
        self.writer = Writer(self.brokers, loop.time, self.soon, loop.call_at, rng)
        self.fetcher = Fetcher(self.brokers, loop.time, self.soon, loop.call_at, rng)
        self.offsets = Offsets(self.brokers, loop.time, loop.call_at, rng)

    def soon(self, call):
        if not self._soon:
            self._loop.call_soon(self._end_turn)
        self._soon[call] = None

    def _end_turn(self):
        calls, self._soon = self._soon, {}
        for call in calls:
            call()

    async def log(self, topic):
        place = topic, 0
        start, safe = [
            (await self.told(lambda then, it=it: self.offsets.at_time(place, it, then)))[0]
            for it in (EARLIEST, LATEST)
        ]
        return ClusterLog(
            place, self.writer, self.fetcher, self.offsets, self.identities.anybody, None, start,
            safe,
        )  # fmt: skip

    async def told(self, begin):
        future = self._loop.create_future()
        begin(lambda found: future.done() or future.set_result(found))
        found = await asyncio.wait_for(future, DEADLINE_S)
        if isinstance(found, LogstoreError):
            raise found
        return found

    async def until(self, log, met):
        news = asyncio.Event()
        stop = log.watch(news.set)
        async with asyncio.timeout(DEADLINE_S):
            while not met():
                await news.wait()
                news.clear()
        stop()


async def read_all(client, log):
    found, at = [], log.start
    while at < log.safe:
        batches = log.read(at, 1 << 20)
        if not batches:
            await client.until(log, lambda at=at: log.read(at, 1))
            continue
        found += [it.value for one in batches for it in decode(one)]
        at = batches[-1].next_offset
    return found


@pytest.mark.long
def test_every_batch_stands_there_once_over_kills_of_the_server(start):
    server = start()
    host, _, port = server.address.rpartition(":")
    given = [b"%d" % it for it in range(ROUNDS * 20)]

    async def run():
        nonlocal server
        client = Client(asyncio.get_running_loop(), (host, int(port)))
        import librdkafka

        librdkafka.create(server, "t")
        log = await client.log("t")
        for number, value in enumerate(given):
            log.append(encode([(value, None, (), NOW_MS)]))
            await asyncio.sleep(0)
            if number % 200 == 199:
                server.stop(signal.SIGKILL)
                server = start(port=port)
        await client.until(log, lambda: log.done == log.safe == len(given))
        assert [log.offset_of(it) for it in range(len(given))] == list(range(len(given)))
        assert await read_all(client, log) == given
        late = Client(asyncio.get_running_loop(), (host, int(port)))
        assert await read_all(late, await late.log("t")) == given
        client.brokers.close()
        late.brokers.close()
        await asyncio.sleep(0.1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
