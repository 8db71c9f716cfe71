"""The parts of a serving process: created in order, given to its doors, closed in reverse order."""

import asyncio
import hmac
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from logstore.access.access import Access
from logstore.access.passwords import Passwords
from logstore.access.tokens import Tokens
from logstore.broker.group_lags import GroupLags
from logstore.broker.mqtt.space import Space
from logstore.budget import budget_of
from logstore.clock import now_ms
from logstore.descriptors import shares
from logstore.errors import LogstoreError
from logstore.figures.figures import Figures
from logstore.http.reply import Reply, ReplyFromAfar
from logstore.internals import Internals
from logstore.node.audit import NodeAudit
from logstore.node.figures import NodeFigures
from logstore.node.groups import Groups
from logstore.node.journal import NodeJournal
from logstore.node.keys import NodeKeys
from logstore.node.mqtt import NodeMqtt
from logstore.node.queues import NodeQueues
from logstore.node.shares import NodeShares
from logstore.node.tls import NodeTls
from logstore.node.transactions import NodeTransactions
from logstore.protocols.house import Found, House, NoMqtt, TakeFound, Work, no_file
from logstore.queue_topics import QueueTopics
from logstore.server import Server
from logstore.slices import Slices
from logstore.storage.committer import UserCommitter
from logstore.turn import Turn
from logstore.upkeep.upkeep import facts_of

if TYPE_CHECKING:
    from logstore.broker.topics import Topics
    from logstore.kept.users import UserKeeper
    from logstore.node.cluster import NodeCluster

log: Final = logging.getLogger("logstore.node")


class NodeHouse:
    """The parts of one process, from before its doors open until after they close."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        store: Internals,
        work: Work,
        tls: NodeTls,
        cluster: "NodeCluster | None",
        *,
        exposed: bool,
        give_back: Callable[[], object],
    ) -> None:
        """``cluster``: holds the clients' data and has started; None if the store holds it.

        ``exposed``: as in Listen. ``give_back``: has a worker return memory to the system.
        """
        self._loop = loop
        self._turn = turn
        self._store = store
        self._work = work
        self._tls = tls
        self._cluster = cluster
        self._settings = store.directory.config.store
        self._budget = budget_of(self._settings)
        self._topics: Topics = store.topics if cluster is None else cluster.topics
        self._queue_topics = QueueTopics(
            self._topics, lambda: self.queues.opened, turn.soon,
            lambda log: self.queues.log_bytes(log), listed=self._settings.queue_topics_listed,
        )  # fmt: skip
        self.groups = Groups(loop, turn, store, self._budget, self._queue_topics)
        directory = store.directory.writable()
        self._figures = Figures(
            turn.stopwatch, now_ms, turn.turns, directory.syncs, directory.recoveries
        )
        try:
            self._make_models(exposed)
        except BaseException:
            self.groups.close()
            raise
        self.server = Server(
            loop, turn, self._budget, give_back, shares(self._settings.files_open_max).connections,
            self.access.metering,
        )  # fmt: skip
        self._slices = Slices(turn.soon)
        self._looks = NodeFigures(
            loop, self._figures, self.server, work, self._slices,
            topics=self._topics, coordinator=self.groups.coordinator, channels=store.channels,
            queues=lambda: self.queues.opened, budget=self._budget,
        )  # fmt: skip
        self.mqtt = NodeMqtt(
            turn, store, self.groups.committer, work, self._slices, self.queues, self._space,
            self._budget, self._figures, self.server,
        )  # fmt: skip
        self.house = self._made()

    def _make_models(self, exposed: bool) -> None:
        turn, store, work, groups = self._turn, self._store, self._work, self.groups
        cluster, settings = self._cluster, self._settings
        self.access = self._access(exposed)
        self._tokens = self._issuer()
        self._audit = NodeAudit(store.topics, self.access, turn, work, now_ms)
        self.access.audit = self._audit
        self._space = Space(store.channels, turn.soon, work, keep_for_away=settings.mqtt_queue_qos0)
        self.queues = NodeQueues(
            self._loop, turn, store, groups.committer, work, self._figures.queues, self._space,
            groups.queues_changed, cluster,
        )  # fmt: skip
        self._journal = NodeJournal(turn, self.queues, work)
        of_topics = turn, store, self._journal, self.queues, work, groups
        self._transactions = NodeTransactions(*of_topics)
        self._sharing = NodeShares(*of_topics)
        self.keys = NodeKeys(turn, store, work, None if cluster is None else cluster.keys)

    def _made(self) -> House:
        turn, work, cluster, settings = self._turn, self._work, self._cluster, self._settings
        directory, coordinator = self._store.directory, self.groups.coordinator
        return House(
            topics=self._topics,
            queues_of=self.queues,
            queue_topics=self._queue_topics,
            coordinator=coordinator,
            channels=self._store.channels,
            space=self._space,
            deduplication=self._store.deduplication,
            settings=settings,
            budget=self._budget,
            clock=now_ms,
            work=work,
            slices=self._slices,
            soon=turn.soon,
            turns=turn.turns,
            stopwatch=turn.stopwatch,
            timer=turn,
            jobs=self._store.doing.facts,
            lags=GroupLags(self._topics, coordinator, work, turn.now),
            store_id=directory.store_id,
            path=directory.path,
            process_id=os.getpid(),
            facts=partial(facts_of, directory),
            job=self._job,
            log_bytes=self.queues.log_bytes,
            access=self.access,
            keys_of=self.keys,
            keep_settings=self._keep_settings,
            audit=self._audit,
            logins=Passwords(
                self.access, work, turn.stopwatch, self._secret(),
                settings.connection_failed_authentication_delay_ms / 1000,
                None if cluster is None else cluster.read_on,
            ),
            tokens=self._tokens,
            unready=self._unready(),
            unrecovered=lambda: directory.writable().unrecovered,
            certificate_expires_s=self._tls.expires_s,
            doctor=self._doctor(),
            figures=self._figures,
            connections=self.server,
            mqtt_of=self.mqtt if cluster is None else NoMqtt(),
            transactions_of=self._transactions,
            shares_of=self._sharing,
            read_on=None if cluster is None else cluster.read_on,
            cluster=None if cluster is None else cluster.seen,
        )  # fmt: skip

    # From the start to the end

    def begin(self) -> None:
        """Start groups, sharing, transactions and queues, before the doors open."""
        self.groups.start()
        self._sharing.start()
        self._transactions.start()
        self.queues.resume()

    async def arrive(self) -> None:
        """Wait for messages under way, after the doors are shut."""
        await self.mqtt.arrive()
        await self.queues.arrive()

    def close(self) -> None:
        """Close all parts; no client can connect any more."""
        self._looks.close()
        self._audit.close()
        # Results of running workers are no longer needed.
        self._store.topics.refuse("the server stops")
        self._tls.close()
        self.mqtt.close()
        self.keys.close()
        self._sharing.close()
        self._transactions.close()
        self._journal.close()
        self.queues.close()
        self.groups.close()
        self._store.channels.detach()

    # What its doors ask

    def _access(self, exposed: bool) -> Access:
        table = self._store.groups
        assert table is not None, "a store that is written has a catalogue"
        keeper: UserKeeper = UserCommitter(self.groups.committer, table.environment)
        if self._cluster is not None:
            keeper = self._cluster.user_keeper
        access = Access(keeper, exposed=exposed)
        for row in access.damaged:
            log.warning("%s", row)
        return access

    def _issuer(self) -> Tokens | None:
        """The checker of tokens; None if none is configured. Raises InvalidSetting, Refused."""
        settings = self._settings
        if not settings.sasl_oauthbearer_jwks_endpoint_url:
            return None
        from logstore.issuer import Issuer, check_settings  # most servers have none

        check_settings(settings)
        return Issuer(settings, self._work, lambda: now_ms() / 1000, self._turn.stopwatch)

    def _unready(self) -> Callable[[Callable[[Mapping[str, str]], None]], None]:
        """A function that looks in a worker for reasons why the node is not ready."""
        directory, cluster = self._store.directory.writable(), self._cluster

        def look() -> Mapping[str, str]:
            try:
                return directory.unready()
            except LogstoreError as error:  # it is closed
                return {"directory": str(error)}

        def ask(then: Callable[[Mapping[str, str]], None]) -> None:
            def found(wrong: Any) -> None:  # noqa: ANN401  a mapping, or an error
                wrong = {"bug": str(wrong)} if _is_error(wrong) else wrong
                then(wrong if cluster is None else {**wrong, **cluster.unready()})

            self._work(look, found)

        return ask

    def _doctor(self) -> Callable[[TakeFound], None]:
        """A function that runs the checks in a worker, once for all callers at that time."""
        waiting: list[TakeFound] = []

        def look() -> Found:
            from logstore.doctor import checks, look  # few ask

            try:
                return checks.shown(look.facts_of(self._store.directory, self.access.required))
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
                self._work(look, done)

        return ask

    def _job(self, body: bytes, reply: Reply) -> None:
        assert self._store.desk is not None
        self._store.desk.order(body, ReplyFromAfar(reply, self._turn.soon))

    def _keep_settings(self, wanted: Mapping[str, str]) -> list[str]:
        """As KeepSettings."""
        from logstore.config_file import keep  # few ask

        file = self._store.directory.config.file
        return no_file(wanted) if file is None else keep(file, wanted, os.environ)

    def _secret(self) -> bytes:
        """The secret behind made-up keys of unknown users: the same at each start."""
        try:
            kept = self._store.directory.writable().producer_ids().secret
        except LogstoreError:  # a full disk, or a damaged row: no reason not to serve
            kept = token_bytes(32)
        return hmac.digest(kept, b"names that nobody has", "sha256")


def _is_error(found: object) -> bool:
    """Whether a worker's result is an error."""
    return isinstance(found, LogstoreError)
