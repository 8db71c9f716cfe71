"""A store for asyncio: calls that may wait are awaited, and consumers need no threads.

A cancelled call is not undone. ``append`` and similar calls add a note to the CancelledError about
what was written and is not known to be synced.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from logstore.aio.bell import Bell
from logstore.aio.channels import Channel, Listener
from logstore.aio.consumer import Consumer
from logstore.aio.faces import Face, Stream, awaited, streamed
from logstore.aio.ground import Ground
from logstore.aio.groups import Group
from logstore.aio.producer import Producer
from logstore.aio.topic import Topic
from logstore.aio.workers import Workers
from logstore.broker.committed import Isolation
from logstore.broker.consuming import Wish
from logstore.broker.reading import OnDamage
from logstore.broker.rules import BATCH_BYTES
from logstore.broker.start import OnOutOfRange, Start, Starts
from logstore.clock import now_ms
from logstore.config import Config
from logstore.internals import Internals
from logstore.kept.queues import DEFAULT_VHOST
from logstore.records.record import Record
from logstore.storage.disk import Disk
from logstore.storage.status import Mode
from logstore.store import Store as Behind
from logstore.store import open_store

if TYPE_CHECKING:  # imported when there is one: few programs use both topics and queues
    from logstore.aio.queues import Exchange, Queue
    from logstore.aio.shares import ShareConsumer
    from logstore.aio.transaction import Transaction


class Store(Face[Behind]):
    """``logstore.Store`` for asyncio, in one event loop: the one in which it was opened.

    It has every method of ``logstore.Store``, with the same parameters. Methods that may wait are
    awaited; iterators are for ``async for``. Created by ``logstore.aio.open``.
    """

    def __init__(self, store: Behind) -> None:
        """``store``: any open one, which this object closes. Other threads may continue to
        use it.
        """
        super().__init__(store, Ground(store))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As Store.close; continues if the waiting task is cancelled.

        Other tasks that wait for the store get Closed.
        """
        await self._ground.close()

    # What it is

    @property
    def path(self) -> str:
        return self._behind.path

    @property
    def mode(self) -> Mode:
        return self._behind.mode

    @property
    def config(self) -> Config:
        return self._behind.config

    def internals(self) -> Internals:
        """As Store.internals."""
        return self.behind.internals()

    # Topics

    def topic(self, name: str) -> Topic:
        """As Store.topic. It may be awaited, to have its logs opened."""
        return Topic(self.behind.topic(name), self._ground)

    async def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        exist_ok: bool = False,
    ) -> Topic:
        """As Store.create_topic."""
        create = self.behind.create_topic
        made = await self.workers.run(lambda: create(name, partitions, settings, exist_ok=exist_ok))
        return Topic(made, self._ground)

    async def alter_topic(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        reset: Sequence[str] = (),
        partitions: int | None = None,
    ) -> Topic:
        """As Store.alter_topic."""
        alter = self.behind.alter_topic
        changed = await self.workers.run(lambda: alter(name, settings, reset, partitions))
        return Topic(changed, self._ground)

    topics = awaited(Behind.topics)
    delete_topic = awaited(Behind.delete_topic)
    leftovers = awaited(Behind.leftovers)
    describe_topic = awaited(Behind.describe_topic)
    sizes = awaited(Behind.sizes)
    offset_for = awaited(Behind.offset_for)
    scheduled = streamed(Behind.scheduled)
    cancel = awaited(Behind.cancel)

    # Producing and consuming

    def producer(
        self, topic: str, *, batch_bytes: int = BATCH_BYTES, compression: str | None = None
    ) -> Producer:
        """As Store.producer."""
        made = self.behind.producer(topic, batch_bytes=batch_bytes, compression=compression)
        return Producer(made, self._ground)

    def consumer(
        self,
        *topics: str,
        group: str | None = None,
        start: Starts = "earliest",
        follow: bool = False,
        partitions: Sequence[int] | None = None,
        on_damage: OnDamage = "stop",
        on_out_of_range: OnOutOfRange = "stop",
        auto_commit: bool = True,
        isolation: Isolation = "committed",
        end: Start | None = None,
    ) -> Consumer:
        """As Store.consumer, opened at its first use: that raises what the other does.

        It is used as ``async with store.consumer(...) as consumer``, and read by ``async for``.
        """
        self._ground.checked()
        wish = Wish(
            topics, partitions, group, start, follow, on_damage, on_out_of_range, auto_commit,
            isolation, end,
        )  # fmt: skip
        return Consumer(wish, self._ground)

    def share_consumer(
        self,
        *topics: str,
        group: str,
        explicit: bool = False,
        prefetch: int = 100,
        auto_offset_reset: str | None = None,
        isolation: Isolation | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> "ShareConsumer":
        """As Store.share_consumer, opened at its first use: that raises what the other does."""
        from logstore.aio.shares import ShareConsumer

        make = partial(
            self.behind.share_consumer, *topics, group=group, explicit=explicit, prefetch=prefetch,
            auto_offset_reset=auto_offset_reset, isolation=isolation, settings=settings,
        )  # fmt: skip
        return ShareConsumer(make, self._ground)

    def replay(
        self,
        topic: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        speed: float = 0.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        on_damage: OnDamage = "stop",
    ) -> "Replay":
        """As Store.replay; ``sleep`` is awaited."""
        pauses: list[float] = []
        make = partial(
            self.behind.replay, topic, from_ms=from_ms, to_ms=to_ms, speed=speed,
            sleep=pauses.append, on_damage=on_damage,
        )  # fmt: skip
        return Replay(make, self.slow, pauses, sleep)

    def transaction(self) -> "Transaction":
        """As Store.transaction."""
        from logstore.aio.transaction import Transaction

        return Transaction(self.behind.transaction(), self._ground)

    # Channels

    def channel(self, name: str | bytes) -> Channel:
        """As Store.channel. It may be awaited, to have its history opened."""
        return Channel(self._behind.channel(name), self._ground)

    def listen(self, *names: str | bytes, patterns: Iterable[str | bytes] = ()) -> Listener:
        """As Store.listen; see ``Listener``."""
        return Listener(names, patterns, self._ground)

    # Exchanges and queues

    async def exchange(
        self,
        name: str,
        type: str | None = None,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        alternate: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        vhost: str = DEFAULT_VHOST,
    ) -> "Exchange":
        """As Store.exchange."""
        declare = partial(
            self.behind.exchange, name, type, durable=durable, auto_delete=auto_delete,
            internal=internal, alternate=alternate, arguments=arguments, vhost=vhost,
        )  # fmt: skip

        def work() -> "Exchange":
            from logstore.aio.queues import Exchange

            return Exchange(declare(), vhost, self._ground)

        return await self.workers.run(work)

    async def queue(
        self,
        name: str = "",
        *,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        vhost: str = DEFAULT_VHOST,
        **given: object,
    ) -> "Queue":
        """As Store.queue."""
        declare = partial(
            self.behind.queue, name, durable=durable, exclusive=exclusive,
            auto_delete=auto_delete, arguments=arguments, vhost=vhost, **given,
        )  # fmt: skip

        def work() -> "Queue":
            from logstore.aio.queues import Queue

            return Queue(declare(), vhost, self._ground)

        return await self.workers.run(work)

    exchanges = awaited(Behind.exchanges)
    queues = awaited(Behind.queues)
    vhosts = awaited(Behind.vhosts)
    add_vhost = awaited(Behind.add_vhost)
    delete_vhost = awaited(Behind.delete_vhost)
    route_topic = awaited(Behind.route_topic)
    topic_routes = awaited(Behind.topic_routes)
    unroute_topic = awaited(Behind.unroute_topic)
    policies = awaited(Behind.policies)
    set_policy = awaited(Behind.set_policy)
    delete_policy = awaited(Behind.delete_policy)
    export_definitions = awaited(Behind.export_definitions)
    import_definitions = awaited(Behind.import_definitions)

    # Groups and users

    async def group(self, name: str) -> Group:
        """As Store.group."""
        find = self.behind.group
        return Group(await self.workers.run(lambda: find(name)), self._ground)

    groups = awaited(Behind.groups)
    expire_offsets = awaited(Behind.expire_offsets)
    users = awaited(Behind.users)

    # Upkeep, and the whole

    trim = awaited(Behind.trim)
    retention = streamed(Behind.retention)
    compaction = streamed(Behind.compaction)
    recompression = streamed(Behind.recompression)
    backup = streamed(Behind.backup)
    verify = streamed(Behind.verify)
    status = awaited(Behind.status)


class Replay(Stream[list[Record]]):
    """The records of ``replay``; pauses are awaited before a list is returned."""

    def __init__(
        self,
        make: Callable[[], Any],
        workers: Workers,
        pauses: list[float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        super().__init__(make, workers)
        self._pauses = pauses
        self._sleep = sleep
        self._due: list[Record] | None = None

    async def __anext__(self) -> list[Record]:
        if self._due is None:
            self._due = await super().__anext__()
        while self._pauses:
            await self._sleep(self._pauses.pop(0))
        due, self._due = self._due, None
        return due


class Opening:
    """A store that is being opened: to be awaited or entered, once."""

    def __init__(self, make: Callable[[], Behind]) -> None:
        self._make = make
        self._store: Store | None = None

    def __await__(self) -> Generator[Any, None, Store]:
        return self._open().__await__()

    async def _open(self) -> Store:
        loop = asyncio.get_running_loop()
        workers = Workers(Bell(loop), loop, 1, "aio-open")  # its thread ends with it

        def work() -> Behind:
            store = self._make()
            if store.mode == "write":
                store.internals().queues()  # imported here, not in the loop
                store.topics()  # delivers commits of an earlier process
            return store

        return Store(await workers.run(work, Behind.close))

    async def __aenter__(self) -> Store:
        self._store = await self._open()
        return self._store

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._store is not None, "entered before it is left"
        await self._store.close()


def open(
    path: str | os.PathLike[str],
    mode: Mode = "write",
    *,
    config: Config | None = None,
    create: bool = True,
    disk: Disk | None = None,
    clock: Callable[[], int] = now_ms,
) -> Opening:
    """As ``logstore.open``: ``async with logstore.aio.open(path) as store``, or awaited."""
    return Opening(
        partial(open_store, path, mode, config=config, create=create, disk=disk, clock=clock)
    )
