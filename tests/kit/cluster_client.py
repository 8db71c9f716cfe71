"""What a node has around a cluster, over sockets, in a loop of its own thread.

A test is in another thread: what it calls of a log goes through ``call``, and what it waits for
through ``told`` and ``until``, whose conditions are looked at in the loop, when there is news.
"""

import asyncio
import random
import threading
from types import SimpleNamespace

import uvloop
from loop_thread import DEADLINE_S, LoopThread

from logstore.clock import now_ms
from logstore.cluster.client import Client
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.offsets import EARLIEST, LATEST
from logstore.cluster.sockets import Sockets
from logstore.errors import LogstoreError
from logstore.records.decode import decode
from logstore.records.encode import encode


class ClusterClient:
    """Of one cluster."""

    def __init__(self, addresses, seed=1, rack=""):
        self._soon, self._soon_lock = {}, threading.Lock()
        self._thread = LoopThread(f"client {seed}", uvloop.new_event_loop)
        self.loop, self.call = self._thread.loop, self._thread.call
        self.call(lambda: self._begin(addresses, random.Random(seed), rack))

    def _begin(self, addresses, rng, rack):
        sockets = Sockets(self.loop)
        self.around = SimpleNamespace(
            now=self.loop.time, call_at=self.loop.call_at, connect=sockets.connect,
            soon=self.soon, work=self._work,
        )  # fmt: skip
        self.client = client = Client(addresses, self.around, rng, rack=rack)
        self.brokers, self.identities = client.brokers, client.identities
        self.writer, self.fetcher, self.offsets = client.writer, client.fetcher, client.offsets

    def _work(self, job, done):
        self.loop.run_in_executor(None, job).add_done_callback(lambda it: done(it.result()))

    def soon(self, call):
        """Run the call once, at the end of the loop's turn; callable from any thread."""
        with self._soon_lock:
            first = not self._soon
            self._soon[call] = None
        if first:
            self.loop.call_soon_threadsafe(self._end_turn)

    def _end_turn(self):
        with self._soon_lock:
            calls, self._soon = self._soon, {}
        for call in calls:
            call()

    # From the test's thread

    def told(self, begin):
        """As WaitFor."""

        async def heard():
            future = self.loop.create_future()
            begin(lambda found: future.done() or future.set_result(found))
            return await asyncio.wait_for(future, DEADLINE_S)

        found = self._thread.run(heard())
        if isinstance(found, LogstoreError):
            raise found
        return found

    def until(self, watched, met):
        """Wait until ``met()``, checked at each news of a log or of the brokers' view."""

        async def waits():
            news = asyncio.Event()
            stop = watched.watch(news.set)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    while not met():
                        await news.wait()
                        news.clear()
            finally:
                stop()

        self._thread.run(waits())

    def bounds(self, place):
        """(start, safe) from the partition's leader."""
        return [
            self.told(lambda then, it=it: self.offsets.at_time(place, it, then))[0]
            for it in (EARLIEST, LATEST)
        ]

    def log(self, topic, partition=0, identify=None):
        place = topic, partition
        start, safe = self.bounds(place)
        return self.call(
            lambda: ClusterLog(
                place, self.writer, self.fetcher, self.offsets,
                identify or self.identities.anybody, self.told, start, safe,
            )
        )  # fmt: skip

    def append(self, log, *values, **facts):
        """Append a batch of the present time, since brokers forget old producers; returns
        the mark.
        """
        given = encode([(it, None, (), now_ms()) for it in values], **facts)
        return self.call(log.append, given)

    def read_all(self, log, at=None, view=lambda log: log):
        """The values up to ``safe``, read through a view by a reader that news wake."""
        found, at, seen = [], log.start if at is None else at, view(log)
        while at < log.safe:
            batches = []

            def came(at=at, batches=batches):
                batches[:] = seen.read(at, 1 << 20)
                return batches

            self.until(log, came)
            found += [
                it.value for one in batches if not one.is_control for it in decode(one)
                if it.offset >= at
            ]  # fmt: skip
            at = batches[-1].next_offset
        return found

    def close(self):
        """Close; fails if an error was raised in the loop."""
        self.call(self.client.close)
        self.call(lambda: None)  # connections end in a turn
        self._thread.close()
        assert not self._thread.wrong, self._thread.wrong
