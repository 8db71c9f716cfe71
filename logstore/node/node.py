"""One process that serves a data directory: from its start until it is asked to stop."""

import asyncio
import gc
import logging
import resource
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from logstore import heap, platforms
from logstore.descriptors import files_max
from logstore.doors import KAFKA
from logstore.errors import Failed, LogstoreError
from logstore.node.entrances import Addresses, Listen, NodeEntrances
from logstore.node.house import NodeHouse
from logstore.node.tls import NodeTls
from logstore.protocols.house import Work
from logstore.store import Store
from logstore.supervisor import Supervisor
from logstore.turn import Turn

if TYPE_CHECKING:
    from logstore.cluster.cluster_settings import ClusterSettings
    from logstore.node.cluster import NodeCluster

# The flusher needs the interpreter twice per sync: at Python's own 5 ms it waits for it longer
# than for the disk.
SWITCH_INTERVAL_S: Final = 0.0002
# For what waits for a cluster: each may take as long as the cluster stalls, and logins go on.
CLUSTER_WORKERS: Final = 16
WORKERS: Final = 4  # for what may not hold up the loop: making topics, looking into records
STOP_WITHIN_S: Final = 10.0
EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # listened on, and no address to connect to

# A full collection visits every object: 100 ms for a million (subscriptions, large requests), by
# default whenever their number has grown by a quarter. Nearly all objects here are freed without
# it, and the others are young.
COLLECTIONS: Final = 50_000, 5, 100

log = logging.getLogger("logstore.node")


def allow_many_files() -> None:
    """Raise the limit on open files, whose usual default is too low for many connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max(most), most))


class Node:
    """Serves a store that is open for writing."""

    def __init__(
        self,
        store: Store,
        listen: Listen,
        supervisor: Supervisor | None = None,
        cluster: "ClusterSettings | None" = None,
        stops: Callable[[], None] = lambda: None,
    ) -> None:
        """``supervisor`` is told of the progress. ``cluster``: holds the clients' data instead of
        the store.

        ``stops`` is called from within as soon as the end is requested.
        """
        self._store = store.internals()
        self._listen = listen
        self._supervisor = Supervisor({}) if supervisor is None else supervisor
        self._cluster = cluster
        self._stops = stops
        self._workers = ThreadPoolExecutor(WORKERS, "worker")
        self._cluster_workers = ThreadPoolExecutor(CLUSTER_WORKERS, "cluster")
        self._stopping: asyncio.Event

    def run(
        self, ready: Callable[[Addresses], None], asked: Callable[[], bool] = lambda: False
    ) -> None:
        """Serve until SIGTERM or SIGINT. ``ready(addresses)`` is called from within.

        SIGHUP reloads the certificate.

        ``asked()``: whether a signal arrived before the loop could receive it.
        """
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.freeze()  # existing objects are permanent
        collections = gc.get_threshold()
        gc.set_threshold(*COLLECTIONS)
        allow_many_files()
        heap.reuse()
        try:
            with asyncio.Runner(loop_factory=platforms.event_loop()) as runner:
                runner.run(self._serve(ready, asked))
        finally:
            for workers in (self._workers, self._cluster_workers):
                workers.shutdown(cancel_futures=True)
            self._store.topics.refuse(None)
            sys.setswitchinterval(interval)
            gc.set_threshold(*collections)

    async def _serve(self, ready: Callable[[Addresses], None], asked: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        if asked():
            return
        tls = self._tls(loop)
        loop.add_signal_handler(signal.SIGHUP, self._reload, tls)
        if self._cluster is not None:
            import logstore.node.cluster  # noqa: F401  before there is a turn that waits for it
        turn = Turn(loop)
        work = partial(self._work, self._workers, turn)
        waiting = partial(self._work, self._cluster_workers, turn)
        cluster = self._node_cluster(loop, turn, waiting)
        try:
            if cluster is None or await self._start(cluster):
                await self._serve_from(loop, turn, work, tls, cluster, ready)
        finally:
            if cluster is not None:
                cluster.close()
            turn.stop()

    async def _serve_from(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        work: partial[None],
        tls: NodeTls,
        cluster: "NodeCluster | None",
        ready: Callable[[Addresses], None],
    ) -> None:
        """Serve. ``cluster``: holds the clients' data and has started; None if the store
        holds it.
        """
        parts = NodeHouse(
            loop, turn, self._store, work, tls, cluster,
            exposed=self._listen.exposed, give_back=partial(self._workers.submit, heap.give_back),
        )  # fmt: skip
        try:
            parts.begin()
            refused = {} if cluster is None else cluster.refusals()
            doors = NodeEntrances(self._listen, parts.server, parts.house, tls.tls)
            addresses = doors.open(refused)
            if cluster is not None:
                parts.keys.open()
                self._join(cluster, parts, tls)
            tls.start(work)
            self._wire_channels(turn)
            parts.mqtt.start()
            self._let_in_locals(parts)  # before others find out that this is a server
            directory = self._store.directory.writable()
            directory.never_wait_in(threading.get_ident())
            directory.announce(
                {name: f"{host}:{port}" for name, (host, port) in addresses.items()},
                "" if self._cluster is None else self._cluster.name,
            )
            ready(addresses)
            self._supervisor.ready(self._status(addresses))
            self._supervisor.watch(loop.call_later)
            await self._stopping.wait()
            self._stops()
        finally:
            self._supervisor.stopping()
            try:
                await parts.server.stop(STOP_WITHIN_S)
                await parts.arrive()
                if cluster is not None:
                    await cluster.leave()
            finally:
                self._let_nobody_in()
                parts.close()

    def _node_cluster(
        self, loop: asyncio.AbstractEventLoop, turn: Turn, work: Work
    ) -> "NodeCluster | None":
        if self._cluster is None:
            return None
        if self._listen.exposed and not self._cluster.link.secret:
            raise Failed(
                f"every client that reaches {self._listen.host} would be taken for a node of"
                " the cluster: set cluster.link.secret.file, log in to the cluster"
                " (cluster.sasl.user), listen on 127.0.0.1, or use --insecure (listen.insecure)"
            )
        from logstore.node.cluster import NodeCluster  # most servers have none

        return NodeCluster(loop, turn, work, self._cluster, self._store, self._stopping.set)

    async def _start(self, cluster: "NodeCluster") -> bool:
        """Start the cluster; False if the node must stop first. Raises as NodeCluster.start."""
        start, stop = asyncio.ensure_future(cluster.start()), self._stopping.wait()
        stopping = asyncio.ensure_future(stop)
        await asyncio.wait([start, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if start.done():
            start.result()
            return True
        start.cancel()
        return False

    def _reload(self, tls: NodeTls) -> None:
        self._supervisor.reloading()
        tls.asked(lambda: self._supervisor.ready("loaded anew"))

    def _status(self, addresses: Addresses) -> str:
        doors = (f"{name} {host}:{port}" for name, (host, port) in addresses.items())
        return f"serving {self._store.directory.path}: {', '.join(doors)}"

    def _join(self, cluster: "NodeCluster", parts: NodeHouse, tls: NodeTls) -> None:
        """Own queues, and open the door for other nodes. Raises Failed."""
        house = parts.house
        host, port = self._listen.host, house.settings.cluster_link_port
        advertised = house.settings.cluster_link_advertised_address
        if not advertised and host in EVERYWHERE:
            raise Failed(
                f"other nodes can't connect to {host}: set cluster.link.advertised.address to an "
                f"address by which they reach this one"
            )
        shown = tls.for_links() if house.settings.cluster_link_tls else None
        try:
            address = parts.server.listen(host, port, cluster.link(house), shown)
        except OSError as error:
            raise Failed(
                f"{host}:{port}: can't listen for other nodes: {error.strerror or error};"
                " choose another port with cluster.link.port"
            ) from None
        cluster.join(parts.queues.open, house.access, advertised or f"{host}:{address[1]}")

    def _tls(self, loop: asyncio.AbstractEventLoop) -> NodeTls:
        """The certificates. Raises InvalidSetting, Failed for an unusable one."""
        directory = self._store.directory
        advertised = directory.config.store.kafka_tls_advertised_address
        host = advertised.rpartition(":")[0].strip("[]") or self._listen.host
        known = self._listen.ports.get(KAFKA.tls.name, -1) >= 0 and host not in EVERYWHERE
        return NodeTls(loop, directory.config.store, directory.path, [host] if known else [])

    def _let_in_locals(self, parts: NodeHouse) -> None:
        """Open the socket in the data directory for local clients."""
        from logstore.protocols.http import doorway

        desk = self._store.desk
        if desk is not None:  # otherwise the log has the reason
            parts.server.listen_at(desk.lend(), doorway.open(parts.house, local=True))

    def _let_nobody_in(self) -> None:
        """Withdraw the local socket and the addresses: the process may continue without a
        server.
        """
        if self._store.desk is not None:
            self._store.desk.take_back()
        with suppress(LogstoreError):  # reported by uses of the disk that matter more
            self._store.directory.writable().announce({})

    def _wire_channels(self, turn: Turn) -> None:
        channels = self._store.channels
        channels.attach(turn.soon, self._store.directory.config.store.notify)
        self._store.directory.writable().rolled = lambda log, base_offset: channels.tell(
            "segments", "segment-rolled", f"{log} {base_offset}"
        )

    @staticmethod
    def _work(
        workers: ThreadPoolExecutor,
        turn: Turn,
        job: Callable[[], Any],
        done: Callable[[Any], None],
    ) -> None:
        def run() -> None:
            try:
                result = job()
            except Exception as error:
                log.exception("a bug in a worker")
                result = Failed(f"internal error: {error!r}")
            turn.soon(partial(done, result))

        workers.submit(run)
