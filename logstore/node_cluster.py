"""What a node over a Kafka cluster has of it: begun before its doors open, closed after them.

Topics, histories, channels and queues are the cluster's; the data directory has what is this node's
alone. Everything is in the sessions' thread.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from random import SystemRandom
from typing import Any, Final

from logstore.broker.fan_out import MESSAGE_BYTES_MAX, FanOut
from logstore.broker.topics import Change
from logstore.clock import now_ms
from logstore.cluster.client import Client
from logstore.cluster.cluster_settings import ClusterSettings
from logstore.cluster.own_rules import PREFIX, OwnTopic
from logstore.cluster.own_topics import OwnTopics
from logstore.cluster.sockets import Sockets
from logstore.cluster.waiters import Waiters
from logstore.cluster_topics import ClusterTopics
from logstore.errors import LogstoreError
from logstore.internals import Internals
from logstore.protocols.house import Work
from logstore.turn import Turn

CHANNELS: Final = OwnTopic(
    f"{PREFIX}channels",
    16,
    {
        "cleanup.policy": "delete",
        "retention.ms": str(5 * 60_000),
        "segment.ms": str(60_000),
        "max.message.bytes": str(MESSAGE_BYTES_MAX + (1 << 20)),
    },
)

log: Final = logging.getLogger("logstore.cluster")

Begin = Callable[[Callable[[Any], None]], None]


class _Around:
    """As client.Around."""

    def __init__(self, turn: Turn, sockets: Sockets, work: Work) -> None:
        self.now, self.call_at, self.soon = turn.now, turn.call_at, turn.soon
        self.connect, self.work = sockets.connect, work


class NodeCluster:
    """Of one node."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        work: Work,
        settings: ClusterSettings,
        store: Internals,
    ) -> None:
        self._loop = loop
        self._turn = turn
        self._work = work
        self._store = store
        sockets = Sockets(loop, settings.tls)
        self._client = Client(
            settings.bootstrap, _Around(turn, sockets, work), SystemRandom(), settings.credentials
        )
        self._waiters = Waiters(turn.soon)
        self.topics = ClusterTopics(self._client, self._waiters, self._waiters.may_wait, now_ms)
        self._own = OwnTopics(self._client, [CHANNELS])
        self._fan_out: FanOut | None = None
        self._heard: set[str] = set()  # topics that another has announced, and are looked for
        self._stop: Callable[[], None] = lambda: None

    async def _told(self, begin: Begin) -> Any:  # noqa: ANN401  what was asked for
        """Raises LogstoreError where that is told."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def tell(found: Any) -> None:  # noqa: ANN401
            if not future.done():
                future.set_result(found)

        begin(tell)
        found = await future
        if isinstance(found, LogstoreError):
            raise found
        return found

    async def start(self) -> None:
        """Reach the cluster, and have what nodes keep there. Raises ClusterUnreachable, Failed."""
        await self._told(self._client.begin_start)
        await self._told(self._own.begin_make)
        await self._channels()

    # Channels

    async def _channels(self) -> None:
        channels, rules = self._store.channels, self._store.directory.config.channels
        if rules:
            channels.keep(rules, self.topics)
        logs = [
            await self._told(partial(self.topics.begin_open, CHANNELS.name, number))
            for number in range(CHANNELS.partitions)
        ]
        node = self._store.directory.store_id.encode()
        self._fan_out = FanOut(logs, channels, node, self._turn.soon, now_ms, self._announced)

        self._stop = self.topics.tell(self._topic_changed)

    def _announced(self, topic: bytes) -> None:
        """Another node has made it."""
        name = topic.decode(errors="replace")
        self._heard.add(name)
        self.topics.begin_find(name, lambda _: self._heard.discard(name))

    def _topic_changed(self, change: Change) -> None:
        """Other nodes are to know of it soon: who listens by a pattern is to hear what comes to a
        channel that was made elsewhere.
        """
        name, channels = change.topic.name, self._store.channels
        if change.event != "created":
            return
        if channels.keeps_history(name):
            if self._fan_out is not None and name not in self._heard:
                self._fan_out.announce(name.encode())
            needed = [(name.encode(), False)]
            self._work(
                lambda: channels.open_histories(needed), lambda _: channels.follow(needed[0][0])
            )

    # Its end

    def refusals(self) -> Mapping[str, str]:
        """Why some doors do not open over a cluster, by their names."""
        return {
            "kafka": "Kafka clients talk to the cluster itself",
            "mqtt": "MQTT is not served over a cluster",
        }

    def close(self) -> None:
        """Nothing is asked of the cluster any more."""
        self._stop()
        if self._fan_out is not None:
            self._fan_out.close()
        self.topics.close()
        self._waiters.close()
        self._client.close()
