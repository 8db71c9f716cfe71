"""A node's parts of a Kafka cluster: started before its doors open, closed after them.

The cluster stores topics, histories, channels, queues and users; the data directory stores only
this node's own state. Everything runs in the sessions' thread.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from random import SystemRandom
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from logstore.access.access import Access
from logstore.broker.fan_out import MESSAGE_BYTES_MAX, FanOut
from logstore.broker.queues.following import Following
from logstore.broker.topics import Change
from logstore.clock import now_ms
from logstore.cluster import facts, scratch
from logstore.cluster.backoff import Backoff
from logstore.cluster.client import Client
from logstore.cluster.cluster_settings import ClusterSettings
from logstore.cluster.facts_follower import FactsFollower
from logstore.cluster.facts_keeper import FactsKeeper
from logstore.cluster.ids import Ids
from logstore.cluster.offsets import LATEST
from logstore.cluster.own_rules import PREFIX, OwnTopic
from logstore.cluster.own_topics import OwnTopics
from logstore.cluster.presence import Presence, is_said
from logstore.cluster.scratch import Scratch
from logstore.cluster.shared_keepers import SharedQueues, SharedUsers
from logstore.cluster.sockets import Sockets
from logstore.cluster.waiters import Waiters
from logstore.cluster_queues import ClusterQueues, queue_of
from logstore.cluster_seen import ClusterSeen
from logstore.cluster_status import ClusterStatus
from logstore.cluster_topics import ClusterTopics
from logstore.errors import ClusterUnreachable, Failed, LogstoreError
from logstore.internals import Internals
from logstore.log import Log
from logstore.node.announced import Announced
from logstore.node.asked_keys import AskedKeys
from logstore.node.histories import NodeHistories, catch_up
from logstore.node.roaming import JOURNAL, NodeRoaming
from logstore.node.shared_keys import KEYS, NodeSharedKeys
from logstore.protocols.house import House, Work
from logstore.protocols.session import Doorway
from logstore.turn import Turn

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues

FACTS: Final = OwnTopic(
    facts.TOPIC, 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
)
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
OWN_TOPICS: Final = (FACTS, JOURNAL, CHANNELS, KEYS)

TOKEN_BYTES: Final = 8
ANNOUNCE_S: Final = 1.0
REOPEN_S: Final = 1.0
LEAVE_S: Final = 6.0  # to give everything up and leave the group: up to 2 s each
LEFT: Final = b"__logstore-left"  # announced by a node that has given everything up

log: Final = logging.getLogger("logstore.cluster")

Begin = Callable[[Callable[[Any], None]], None]


async def heard(loop: asyncio.AbstractEventLoop, begin: Begin) -> Any:  # noqa: ANN401
    """The result of an asynchronous call. Raises LogstoreError if the result is an error."""
    future: asyncio.Future[Any] = loop.create_future()

    def tell(found: Any) -> None:  # noqa: ANN401
        if not future.done():
            future.set_result(found)

    begin(tell)
    found = await future
    if isinstance(found, LogstoreError):
        raise found
    return found


class Around:
    """The surroundings, as in client.Around and peer.Around."""

    def __init__(self, turn: Turn, sockets: Sockets, work: Work) -> None:
        self.now, self.call_at, self.soon = turn.now, turn.call_at, turn.soon
        self.connect, self.work = sockets.connect, work


class NodeCluster:
    """The cluster parts of one node."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        work: Work,
        settings: ClusterSettings,
        store: Internals,
        stop: Callable[[], object],
    ) -> None:
        """``stop`` stops the process."""
        self._loop = loop
        self._turn = turn
        self._work = work
        self._store = store
        sockets = Sockets(loop, settings.tls, settings.server_name)
        self._client = Client(
            settings.bootstrap, Around(turn, sockets, work), SystemRandom(),
            settings.credentials, settings.rack,
        )  # fmt: skip
        self._around_links = Around(turn, Sockets(loop, settings.link.tls), work)
        self._waiters = Waiters(turn.soon)
        self.topics = ClusterTopics(
            self._client, self._waiters, self._waiters.may_wait, now_ms,
            store.directory.config.describe,
        )  # fmt: skip
        self._stop_all = stop
        self._own = OwnTopics(self._client, [*OWN_TOPICS, scratch.TOPIC])
        self.no_queues: LogstoreError | None = None  # why there are none here
        name = store.directory.store_id
        self.keys = NodeSharedKeys(turn, work, self._client, self._waiters, name)
        self._settings = settings
        self._name = name
        self._histories = NodeHistories(store.channels, self.topics, self._after)
        self._fan_out: FanOut | None = None
        self._presence: Presence | None = None  # once this node has queues
        self._announced = Announced(self.topics, self._after)
        self._stop: Callable[[], None] = lambda: None
        self._started = self._closing = False
        self._roaming: NodeRoaming
        self._keeper: FactsKeeper
        self._status: ClusterStatus
        self.queue_keeper: SharedQueues
        self.user_keeper: SharedUsers

    async def _told(self, begin: Begin) -> Any:  # noqa: ANN401
        return await heard(self._loop, begin)

    async def start(self) -> None:
        """Connect to the cluster and create the nodes' topics. Raises ClusterUnreachable,
        Failed.
        """
        await self._told(self._client.begin_start)
        await self._told(self._own.begin_make)
        await self._check_fence()
        await self._facts()
        self._started = True
        await self._channels()

    async def _check_fence(self) -> None:
        """Check that fencing works; without it no queues are served. Raises ClusterUnreachable."""
        its = Scratch(self._client, f"{scratch.TOPIC.name}-{self._name}", now_ms)
        try:
            await self._told(partial(its.check_fence, self._settings.name))
        except ClusterUnreachable:
            raise
        except Failed as error:
            log.error("no queues are served: %s", error)  # noqa: TRY400  it says all
            self.no_queues = error

    # What all nodes know

    async def _facts(self) -> None:
        client, soon = self._client, self._turn.soon
        place = facts.TOPIC, 0
        topic = await self._told(partial(self.topics.begin_open, *place))
        follower = FactsFollower(topic, soon, partial(client.offsets.at_time, place, LATEST))
        follower.failed = self._facts_failed
        ids = Ids(client.identities.anybody, self._after, Backoff(client.random))
        await self._told(ids.begin)
        token = token_bytes(TOKEN_BYTES)
        self._keeper = FactsKeeper(follower, topic, soon, now_ms, token, ids)
        await self._told(self._keeper.begin)
        self.queue_keeper = SharedQueues(self._keeper, ids)
        self.user_keeper = SharedUsers(self._keeper)
        logs = ClusterQueues(client, self.topics, self._waiters, self.queue_keeper)
        self._roaming = NodeRoaming(
            self._turn, self._work, client, self._waiters, logs, self._name,
            self._settings.link.secret_of(client.brokers.view.cluster_id), self._around_links,
            self.read_on,
        )  # fmt: skip
        self._status = ClusterStatus(
            client, self._settings.name, self._name, self._keeper,
            (JOURNAL.partitions, KEYS.partitions), self._roaming, self.keys, self.no_queues,
        )  # fmt: skip

    def seen(self) -> ClusterSeen:
        """The cluster's state as known now."""
        return self._status.seen()

    def unready(self) -> Mapping[str, str]:
        """Reasons why messages cannot be acknowledged: a word and a line each."""
        wrong = {"cluster": self._client.brokers.failure, "facts": self._keeper.failure}
        return {word: str(error) for word, error in wrong.items() if error is not None}

    def _facts_failed(self, error: LogstoreError) -> None:
        """Stop the node, because the facts that it serves would become outdated."""
        if not self._closing:
            log.error("what nodes share can't be read any more, so this one stops: %s", error)
            self._stop_all()

    def read_on(self, then: Callable[[LogstoreError | None], object]) -> None:
        """As ReadOn: read recent changes of other nodes."""
        self._keeper.read_to_end(then)

    def _after(self, seconds: float, call: Callable[[], object]) -> object:
        return self._turn.call_at(self._turn.now() + seconds, call)

    def shared(self) -> Mapping[str, Any]:
        """The surroundings of shared queues, as fields of ``Surroundings``."""
        numbers = self.queue_keeper.numbers
        return {
            "roamers": self._roaming.roamers,
            "next_id": numbers.next,
            "read_on": self.read_on,
            "neighbourhood": self._roaming.volatile,
        }

    def link(self, house: House) -> Doorway:
        """The door for links of other nodes."""
        return self._roaming.door(house, AskedKeys(house))

    def join(self, queues: Callable[[], "Queues"], access: Access, address: str) -> None:
        """Follow other nodes' changes, and own queues and keys. ``address``: of the links."""
        if self.no_queues is not None:
            self._keeper.follow(lambda news: None, access.follow)
            self.keys.refuse(self.no_queues)
            return
        opened = queues()
        following = Following(opened, self._keeper.routing())
        self._keeper.follow(following.show, access.follow)
        self._roaming.join(opened, address)
        self.keys.join(address, self._roaming.neighbours)
        assert self._fan_out is not None
        self._presence = Presence(
            self._name.encode(), address, self._fan_out.announce, self._after, self._turn.now,
            self._who,
        )  # fmt: skip

    def _who(self) -> None:
        if self._presence is not None:
            self._roaming.who(dict(self._presence.there))

    async def leave(self) -> None:
        """Give up everything that this node owns, so that other nodes take it over at once."""
        leaving = asyncio.gather(self._told(self.keys.leave), self._told(self._roaming.leave))
        try:
            await asyncio.wait_for(leaving, LEAVE_S)
        except TimeoutError:
            log.warning(
                "the cluster does not answer: other nodes take over what this one owns once they "
                "miss it"
            )
        if self._fan_out is not None:
            announcing = self._told(partial(self._fan_out.announce_now, LEFT))
            with suppress(LogstoreError, TimeoutError):  # others find out by themselves, later
                await asyncio.wait_for(announcing, ANNOUNCE_S)

    # Channels

    async def _channels(self) -> None:
        channels, rules = self._store.channels, self._store.directory.config.channels
        if rules:
            channels.keep(rules, self.topics, catch_up)
        opening = [
            self._told(partial(self.topics.begin_open, CHANNELS.name, number))
            for number in range(CHANNELS.partitions)
        ]
        logs = await asyncio.gather(*opening)
        node = self._store.directory.store_id.encode()
        self._fan_out = FanOut(
            logs, channels, node, self._turn.soon, now_ms, self._hear, self._reopen_channels
        )  # fmt: skip

        self._stop = self.topics.tell(self._topic_changed)

    def _reopen_channels(self, number: int, then: Callable[[Log], object]) -> None:
        """As FanOut's ``reopen``."""

        def opened(found: Log | LogstoreError) -> None:
            if self._closing:
                return
            if isinstance(found, LogstoreError):
                self._after(REOPEN_S, partial(self._reopen_channels, number, then))
            else:
                then(found)

        self.topics.begin_open(CHANNELS.name, number, opened)

    def _hear(self, topic: bytes) -> None:
        """Apply the change that another node has announced."""
        if topic == LEFT:
            self._roaming.hurry()
            self.keys.hurry()
            return
        if is_said(topic):
            if self._presence is not None:
                self._presence.heard(topic)
            return
        self._announced.heard(topic.decode(errors="replace"))

    def _topic_changed(self, change: Change) -> None:
        """Announce a changed topic to other nodes.

        A subscriber by pattern must receive messages of a channel that was created on another node.
        """
        name, channels = change.topic.name, self._store.channels
        is_queues = queue_of(name) is not None
        if is_queues and change.event in ("created", "grown"):
            self._roaming.lanes_came(name)
        if change.event != "created" or not (is_queues or channels.keeps_history(name)):
            return
        if self._fan_out is not None and name not in self._announced:
            self._fan_out.announce(name.encode())
        if not is_queues:
            self._histories.came(name)

    # Its end

    def refusals(self) -> Mapping[str, str]:
        """The reasons why some doors do not open over a cluster, by door name."""
        return {
            "kafka": "Kafka clients talk to the cluster itself",
            "mqtt": "MQTT is not served over a cluster",
        }

    def close(self) -> None:
        """Stop using the cluster."""
        self._closing = True
        self._stop()
        self._histories.close()
        if self._presence is not None:
            self._presence.close()
        if self._fan_out is not None:
            self._fan_out.close()
        if self._started:
            self._roaming.close()
        self.topics.close()
        self._waiters.close()
        self._client.close()
