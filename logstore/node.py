"""One process that serves a data directory: opens it, wires the doors, stops in reverse order."""

import asyncio
import errno
import gc
import hmac
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from logstore import heap, platforms
from logstore.access.access import Access
from logstore.access.passwords import Passwords
from logstore.access.tokens import Tokens
from logstore.broker.group_lags import GroupLags
from logstore.broker.mqtt.space import Space
from logstore.budget import budget_of
from logstore.clock import now_ms
from logstore.descriptors import files_max, shares
from logstore.doors import ENTRANCES, KAFKA, SOCKETS, Entrance
from logstore.errors import Failed, LogstoreError
from logstore.figures.figures import Figures
from logstore.http.reply import Reply, ReplyFromAfar
from logstore.node_audit import NodeAudit
from logstore.node_figures import NodeFigures
from logstore.node_groups import Groups
from logstore.node_journal import NodeJournal
from logstore.node_keys import NodeKeys
from logstore.node_mqtt import NodeMqtt
from logstore.node_queues import NodeQueues
from logstore.node_shares import NodeShares
from logstore.node_tls import NodeTls
from logstore.node_transactions import NodeTransactions
from logstore.protocols.house import Found, House, NoMqtt, TakeFound, Work, no_file
from logstore.protocols.session import Doorway
from logstore.queue_topics import QueueTopics
from logstore.server import Server
from logstore.slices import Slices
from logstore.storage.committer import UserCommitter
from logstore.store import Store
from logstore.supervisor import Supervisor
from logstore.turn import Turn
from logstore.upkeep.upkeep import facts_of

if TYPE_CHECKING:
    from logstore.broker.topics import Topics
    from logstore.certificates import Certificates
    from logstore.cluster.cluster_settings import ClusterSettings
    from logstore.kept_users import UserKeeper
    from logstore.node_cluster import NodeCluster

# The flusher needs the interpreter twice per sync: at Python's own 5 ms it waits for it longer
# than for the disk.
SWITCH_INTERVAL_S: Final = 0.0002
# For what waits for a cluster: each may take as long as the cluster stalls, and logins go on.
CLUSTER_WORKERS: Final = 16
WORKERS: Final = 4  # for what may not hold up the loop: making topics, looking into records
STOP_WITHIN_S: Final = 10.0
EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # listened on, and no address to connect to

# A full collection looks at every object: 100 ms where there are a million (subscriptions, large
# requests), by default whenever there are a quarter more. What is done with here needs none, but
# for little, which is young.
COLLECTIONS: Final = 50_000, 5, 100

log = logging.getLogger("logstore.node")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the doors are to be."""

    host: str
    ports: Mapping[str, int]  # by the entrance's name; 0: any free one, -1 or absent: none
    # Entrances whose port nobody has chosen: where it is in use, the others are served without.
    by_default: frozenset[str] = frozenset()
    exposed: bool = False  # strangers reach them: should the last user go, nobody comes in


# Where the entrances of the doors are, by their names, in the order of the table.
Addresses = Mapping[str, tuple[str, int]]


def allow_many_files() -> None:
    """A connection is a file, too; the limit that most systems start with is for shells."""
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
    ) -> None:
        """``supervisor`` is told how it goes. ``cluster``: what clients see is there, and not in
        the store.
        """
        self._store = store.internals()
        self._listen = listen
        self._supervisor = Supervisor({}) if supervisor is None else supervisor
        self._cluster = cluster
        self._workers = ThreadPoolExecutor(WORKERS, "worker")
        self._cluster_workers = ThreadPoolExecutor(CLUSTER_WORKERS, "cluster")
        self._stopping: asyncio.Event

    def run(
        self, ready: Callable[[Addresses], None], asked: Callable[[], bool] = lambda: False
    ) -> None:
        """Serve until SIGTERM or SIGINT. ``ready(addresses)`` is called from within.

        SIGHUP has the certificate loaded anew.

        ``asked()``: whether one of these has come before there was a loop to hear it.
        """
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.freeze()  # what is there now stays
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
            from logstore import node_cluster  # noqa: F401  before there is a turn that waits for it
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
        """``cluster``: what clients see is there, and it has started; None: in the store."""
        settings = self._store.directory.config.store
        budget = budget_of(settings)
        topics: Topics = self._store.topics if cluster is None else cluster.topics
        queue_topics = QueueTopics(
            topics, lambda: queues.opened, turn.soon, lambda log: queues.log_bytes(log),
            listed=settings.queue_topics_listed,
        )  # fmt: skip
        groups = Groups(loop, turn, self._store, budget, queue_topics)
        directory = self._store.directory.writable()
        figures = Figures(turn.stopwatch, now_ms, turn.turns, directory.syncs, directory.recoveries)
        try:
            access = self._access(groups, cluster)
            tokens = self._tokens(work, turn.stopwatch)
            audit = access.audit = NodeAudit(self._store.topics, access, turn, work, now_ms)
            space = Space(
                self._store.channels, turn.soon, work, keep_for_away=settings.mqtt_queue_qos0
            )
            queues = NodeQueues(
                loop, turn, self._store, groups.committer, work, figures.queues, space,
                groups.queues_changed, cluster,
            )  # fmt: skip
            journal = NodeJournal(turn, queues, work)
            transactions = NodeTransactions(turn, self._store, journal, queues, work, groups)
            sharing = NodeShares(turn, self._store, journal, queues, work, groups)
            keys = NodeKeys(turn, self._store, work, None if cluster is None else cluster.keys)
        except BaseException:
            groups.close()
            raise
        server = Server(
            loop,
            turn,
            budget,
            partial(self._workers.submit, heap.give_back),
            shares(settings.files_open_max).connections,
            access.metering,
        )
        slices = Slices(turn.soon)
        looks = NodeFigures(
            loop,
            figures,
            server,
            work,
            slices,
            topics=topics,
            coordinator=groups.coordinator,
            channels=self._store.channels,
            queues=lambda: queues.opened,
            budget=budget,
        )
        mqtt = NodeMqtt(
            turn,
            self._store,
            groups.committer,
            work,
            slices,
            queues,
            space,
            budget,
            figures,
            server,
        )
        house = House(
            topics=topics,
            queues_of=queues,
            queue_topics=queue_topics,
            coordinator=groups.coordinator,
            channels=self._store.channels,
            space=space,
            deduplication=self._store.deduplication,
            settings=settings,
            budget=budget,
            clock=now_ms,
            work=work,
            slices=slices,
            soon=turn.soon,
            turns=turn.turns,
            stopwatch=turn.stopwatch,
            timer=turn,
            jobs=self._store.doing.facts,
            lags=GroupLags(topics, groups.coordinator, work, turn.now),
            store_id=self._store.directory.store_id,
            path=self._store.directory.path,
            process_id=os.getpid(),
            facts=partial(facts_of, self._store.directory),
            job=partial(self._job, turn),
            log_bytes=queues.log_bytes,
            access=access,
            keys_of=keys,
            keep_settings=self._keep_settings,
            audit=audit,
            logins=Passwords(
                access,
                work,
                turn.stopwatch,
                self._secret(),
                settings.connection_failed_authentication_delay_ms / 1000,
                None if cluster is None else cluster.read_on,
            ),
            tokens=tokens,
            unready=self._unready(work, cluster),
            unrecovered=lambda: directory.unrecovered,
            certificate_expires_s=tls.expires_s,
            doctor=self._doctor(work, access),
            figures=figures,
            connections=server,
            mqtt_of=mqtt if cluster is None else NoMqtt(),
            transactions_of=transactions,
            shares_of=sharing,
            read_on=None if cluster is None else cluster.read_on,
            cluster=None if cluster is None else cluster.seen,
        )
        try:
            groups.start()
            sharing.start()
            transactions.start()
            queues.resume()
            refused = {} if cluster is None else cluster.refusals()
            addresses = self._open_all(server, house, tls, refused)
            if cluster is not None:
                keys.open()
                self._join(cluster, server, house, queues, tls)
            tls.start(work)
            self._wire_channels(turn)
            mqtt.start()
            self._let_in_locals(server, house)  # before others find out that this is a server
            self._store.directory.writable().never_wait_in(threading.get_ident())
            self._store.directory.writable().announce(
                {name: f"{host}:{port}" for name, (host, port) in addresses.items()},
                "" if self._cluster is None else self._cluster.name,
            )
            ready(addresses)
            self._supervisor.ready(self._status(addresses))
            self._supervisor.watch(loop.call_later)
            await self._stopping.wait()
        finally:
            self._supervisor.stopping()
            try:
                await server.stop(STOP_WITHIN_S)
                await mqtt.arrive()
                await queues.arrive()
                if cluster is not None:
                    await cluster.leave()
            finally:
                self._let_nobody_in()
                looks.close()
                audit.close()
                # What workers are at still, nobody waits for any more.
                self._store.topics.refuse("the server stops")
                tls.close()
                mqtt.close()
                keys.close()
                sharing.close()
                transactions.close()
                journal.close()
                queues.close()
                groups.close()
                self._store.channels.detach()

    def _node_cluster(
        self, loop: asyncio.AbstractEventLoop, turn: Turn, work: Work
    ) -> "NodeCluster | None":
        if self._cluster is None:
            return None
        if self._listen.exposed and not self._cluster.link.secret:
            raise Failed(
                f"whoever reaches {self._listen.host} would be taken for a node of the cluster: "
                f"set cluster.link.secret.file, log in at the cluster (cluster.sasl.user), listen "
                f"on 127.0.0.1, or say --insecure (listen.insecure)"
            )
        from logstore.node_cluster import NodeCluster  # most servers have none

        return NodeCluster(loop, turn, work, self._cluster, self._store, self._stopping.set)

    async def _start(self, cluster: "NodeCluster") -> bool:
        """False: it is to stop before the cluster was reached. Raises as NodeCluster.start."""
        start, stop = asyncio.ensure_future(cluster.start()), self._stopping.wait()
        stopping = asyncio.ensure_future(stop)
        await asyncio.wait([start, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if start.done():
            start.result()
            return True
        start.cancel()
        return False

    def _unready(
        self, work: Work, cluster: "NodeCluster | None"
    ) -> Callable[[Callable[[Mapping[str, str]], None]], None]:
        """What a worker finds."""
        directory = self._store.directory.writable()

        def look() -> Mapping[str, str]:
            try:
                return directory.unready()
            except LogstoreError as error:  # it is closed
                return {"directory": str(error)}

        def ask(then: Callable[[Mapping[str, str]], None]) -> None:
            def found(wrong: Any) -> None:  # noqa: ANN401  a mapping, or an error
                wrong = {"bug": str(wrong)} if _is_error(wrong) else wrong
                then(wrong if cluster is None else {**wrong, **cluster.unready()})

            work(look, found)

        return ask

    def _doctor(self, work: Work, access: Access) -> Callable[[TakeFound], None]:
        """What looks, in a worker: once for all who ask meanwhile."""
        waiting: list[TakeFound] = []

        def look() -> Found:
            from logstore.doctor import checks, look  # few ask

            try:
                return checks.shown(look.facts_of(self._store.directory, access.required))
            except LogstoreError as error:
                return error

        def done(found: Found) -> None:
            told = waiting.copy()
            waiting.clear()
            for then in told:
                then(found)

        def ask(then: TakeFound) -> None:
            waiting.append(then)
            if len(waiting) == 1:
                work(look, done)

        return ask

    def _reload(self, tls: NodeTls) -> None:
        self._supervisor.reloading()
        tls.asked(lambda: self._supervisor.ready("loaded anew"))

    def _status(self, addresses: Addresses) -> str:
        doors = (f"{name} {host}:{port}" for name, (host, port) in addresses.items())
        return f"serving {self._store.directory.path}: {', '.join(doors)}"

    def _join(
        self, cluster: "NodeCluster", server: Server, house: House, queues: NodeQueues, tls: NodeTls
    ) -> None:
        """Own queues, and let other nodes come for those. Raises Failed."""
        host, port = self._listen.host, house.settings.cluster_link_port
        advertised = house.settings.cluster_link_advertised_address
        if not advertised and host in EVERYWHERE:
            raise Failed(
                f"other nodes can't connect to {host}: set cluster.link.advertised.address to an "
                f"address by which they reach this one"
            )
        shown = tls.for_links() if house.settings.cluster_link_tls else None
        try:
            address = server.listen(host, port, cluster.link(house), shown)
        except OSError as error:
            raise Failed(
                f"{host}:{port}: can't listen there for other nodes: {error.strerror or error}; "
                f"choose with cluster.link.port"
            ) from None
        cluster.join(queues.open, house.access, advertised or f"{host}:{address[1]}")

    def _access(self, groups: Groups, cluster: "NodeCluster | None") -> Access:
        table = self._store.groups
        assert table is not None, "a store that is written has a catalogue"
        keeper: UserKeeper = UserCommitter(groups.committer, table.environment)
        if cluster is not None:
            keeper = cluster.user_keeper
        access = Access(keeper, exposed=self._listen.exposed)
        for row in access.damaged:
            log.warning("%s", row)
        return access

    def _tokens(self, work: Work, stopwatch: Callable[[], float]) -> Tokens | None:
        """Raises InvalidSetting, Refused."""
        settings = self._store.directory.config.store
        if not settings.sasl_oauthbearer_jwks_endpoint_url:
            return None
        from logstore.issuer import Issuer, check_settings  # most servers have none

        check_settings(settings)
        return Issuer(settings, work, lambda: now_ms() / 1000, stopwatch)

    def _keep_settings(self, wanted: Mapping[str, str]) -> list[str]:
        """As KeepSettings."""
        from logstore.config_file import keep  # few ask

        file = self._store.directory.config.file
        return no_file(wanted) if file is None else keep(file, wanted, os.environ)

    def _secret(self) -> bytes:
        """What made-up keys of names that nobody has are made with: the same at each start."""
        try:
            kept = self._store.directory.writable().producer_ids().secret
        except LogstoreError:  # a full disk, or a damaged row: no reason not to serve
            kept = token_bytes(32)
        return hmac.digest(kept, b"names that nobody has", "sha256")

    def _tls(self, loop: asyncio.AbstractEventLoop) -> NodeTls:
        """Raises InvalidSetting, Failed where a certificate is no good."""
        directory = self._store.directory
        advertised = directory.config.store.kafka_tls_advertised_address
        host = advertised.rpartition(":")[0].strip("[]") or self._listen.host
        known = self._listen.ports.get(KAFKA.tls.name, -1) >= 0 and host not in EVERYWHERE
        return NodeTls(loop, directory.config.store, directory.path, [host] if known else [])

    def _open_all(
        self, server: Server, house: House, tls: NodeTls, refused: Mapping[str, str]
    ) -> Addresses:
        """``refused``: why some doors are not to be opened, by their names.

        Raises Failed where there is no door left for anyone.
        """
        wanted = [it for it in ENTRANCES if self._wants(it, tls, refused)]
        doorways = {it.door.name: it.door for it in wanted}
        opened = house.doorways
        opened.update({name: door.open(house) for name, door in doorways.items()})
        found = {
            it.name: self._open(server, it, opened[it.door.name], tls.tls if it.tls else None)
            for it in wanted
        }
        addresses = {name: it for name, it in found.items() if it is not None}
        if not wanted:
            raise Failed(
                f"{self._store.directory.path}: no door is left to serve it by: the port of each "
                f"is -1, or needs tls.cert"
            )
        if not addresses:
            options = ", ".join(f"--{it.name}-port ({it.port_setting})" for it in wanted)
            raise Failed(
                f"{self._store.directory.path}: no door is left to serve it by: the default ports "
                f"are in use, by another server perhaps; choose with {options}"
            )
        return addresses | self._open_sockets(server, house)

    def _open_sockets(self, server: Server, house: House) -> dict[str, tuple[str, int]]:
        """Ports for WebSocket connections alone. Raises Failed where one can't be had."""
        found: dict[str, tuple[str, int]] = {}
        for it in SOCKETS:
            port: int = getattr(house.settings, it.port_setting.replace(".", "_"))
            if port < 0 or it.door not in house.doorways:
                continue
            from logstore.protocols.http import doorway

            try:
                host = self._listen.host
                found[it.name] = server.listen(host, port, doorway.open(house, only=it.door), None)
            except OSError as error:
                raise Failed(
                    f"{self._listen.host}:{port}: can't listen there: {error.strerror or error}; "
                    f"choose with {it.port_setting} (-1: nowhere)"
                ) from None
        return found

    def _wants(self, it: Entrance, tls: NodeTls, refused: Mapping[str, str]) -> bool:
        """Raises Failed where somebody has chosen a port that can't be, or one for TLS, and there
        is none.
        """
        if self._listen.ports.get(it.name, -1) < 0:
            return False
        if it.door.name in refused:
            if it.name not in self._listen.by_default:
                raise Failed(f"{it.port_setting} is set: {refused[it.door.name]}; leave it out")
            return False
        if it.tls and tls.tls is None:
            if it.name not in self._listen.by_default:
                raise Failed(
                    f"{it.port_setting} is set, and tls.cert is not: there is no TLS without"
                )
            return False
        return True

    def _open(
        self, server: Server, it: Entrance, doorway: Doorway, tls: "Certificates | None"
    ) -> tuple[str, int] | None:
        """Where it listens; None: its port is another's, and nobody has asked for that one."""
        host, port = self._listen.host, self._listen.ports[it.name]
        try:
            return server.listen(host, port, doorway, tls)
        except OSError as error:
            number = error.errno or 0  # below 0: of a name that is not found
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
            if error.errno == errno.EADDRINUSE and it.name in self._listen.by_default:
                log.warning(
                    "%s:%d: no door for %s: %s; choose another with --%s-port (%s)",
                    host, port, it.clients, reason, it.name, it.port_setting,
                )  # fmt: skip
                return None
            raise Failed(
                f"{host}:{port}: can't listen there: {reason}; choose with --host (listen.host) "
                f"and --{it.name}-port ({it.port_setting}; -1: no door for {it.clients})"
            ) from None

    def _let_in_locals(self, server: Server, house: House) -> None:
        """Those who come through the socket of the data directory."""
        from logstore.protocols.http import doorway

        desk = self._store.desk
        if desk is not None:  # it said why it is not
            server.listen_at(desk.lend(), doorway.open(house, local=True))

    def _let_nobody_in(self) -> None:
        """The process may go on without a server, and must not be taken for one."""
        if self._store.desk is not None:
            self._store.desk.take_back()
        with suppress(LogstoreError):  # it is told by whatever needs the disk more than this
            self._store.directory.writable().announce({})

    def _job(self, turn: Turn, body: bytes, reply: Reply) -> None:
        assert self._store.desk is not None
        self._store.desk.order(body, ReplyFromAfar(reply, turn.soon))

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


def _is_error(found: object) -> bool:
    """Whether it is what a worker gives that has broken off."""
    return isinstance(found, LogstoreError)
