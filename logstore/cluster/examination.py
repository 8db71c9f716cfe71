"""Examines a cluster before anything relies on it: one line for each check.

It creates one topic of one partition without lasting content (``scratch.py``) and changes nothing
else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, Final, NamedTuple, cast

from logstore.cluster import kinds, own_rules
from logstore.cluster.admin import SET
from logstore.cluster.brokers import Use
from logstore.cluster.claims import BEAT, CLAIM, Word, batch_of
from logstore.cluster.client import Client
from logstore.cluster.identity import Identity, Then
from logstore.cluster.membership import GROUP_RESOURCE, SESSION, WANTED_MS
from logstore.cluster.own_rules import OwnTopic
from logstore.cluster.own_topics import OwnTopics
from logstore.cluster.scratch import Scratch
from logstore.cluster.writer import PartitionWriter
from logstore.errors import ClusterUnreachable, LogstoreError

APPENDS: Final = 50
TAKEOVERS: Final = 5
TRIES: Final = 20
AGAIN_S: Final = 0.5
SLOW_S: Final = 0.25  # an append takes 10 ms where brokers are near, and have disks of their own
STALLS_S: Final = 2.0  # a take-over; a client notices
# What Kafka's own operators go by: more replicas of a broker take minutes to move when it ends.
REPLICAS_OF_BROKER: Final = 4000
OK: Final = "ok"
FINDING: Final = "finding"
USED: Final = (
    kinds.METADATA, kinds.PRODUCE, kinds.FETCH, kinds.LIST_OFFSETS, kinds.INIT_PRODUCER_ID,
    kinds.FIND_COORDINATOR, kinds.CREATE_TOPICS, kinds.CREATE_PARTITIONS, kinds.DELETE_TOPICS,
    kinds.DELETE_RECORDS, kinds.DESCRIBE_CONFIGS, kinds.ALTER_CONFIGS,
)  # fmt: skip

# Gives what was asked for; raises LogstoreError where that is told.
Tell = Callable[[Callable[[Callable[[Any], None]], object]], Awaitable[Any]]


class Finding(NamedTuple):
    """The result of one check. ``figures``: measured or counted values, by name."""

    name: str
    state: str  # OK, FINDING
    found: str
    figures: Mapping[str, float] = {}


class Examination:
    """One examination of one cluster."""

    def __init__(
        self,
        client: Client,
        told: Tell,
        cluster: str,
        wanted: Sequence[OwnTopic],
        group: str,
        scratch: Scratch,
    ) -> None:
        """``cluster``: its name for people; ``wanted``, ``group``: of the nodes."""
        self._client = client
        self._told = told
        self._cluster = cluster
        self._wanted = wanted
        self._group = group
        self._scratch = scratch

    async def all(self) -> list[Finding]:
        """All checks, in the order of the table."""
        found: list[Finding] = []
        for name, check in CHECKS.items():
            try:
                rows = [Finding(name, *it) for it in await check(self)]
            except LogstoreError as error:
                rows = [Finding(name, FINDING, str(error))]
            found += rows
            if name in NEEDED and any(it.state != OK for it in rows):
                break
        return found

    # Who is there

    async def reached(self) -> "_Found":
        """Check that the cluster is reached."""
        await self._told(self._client.begin_start)
        view = self._client.brokers.view
        brokers = ", ".join(it.name for it in view.nodes.values())
        text = f"cluster {view.cluster_id or 'without an id'}, brokers {brokers}"
        return [(OK, text, {"brokers": len(view.nodes)})]

    async def versions(self) -> "_Found":
        """Check that each broker supports the requests of nodes."""
        messages = kinds.API_VERSIONS.messages()
        found: list[_Row] = []
        for node in self._client.brokers.view.nodes.values():
            request = messages.Request("logstore", "1")
            ask = partial(self._client.brokers.ask, node.id, kinds.API_VERSIONS, request)
            answer = await self._told(partial(_with_use, ask, Use.SLOW))
            spoken = {it.api_key: (it.min_version, it.max_version) for it in answer.api_keys}
            wrong = [it for it in USED if not _meets(it, *spoken.get(it.key, (0, -1)))]
            for it in wrong:
                low, high = spoken.get(it.key, (0, -1))
                has = f"versions {low} to {high}" if high >= 0 else "not at all"
                found.append(
                    (
                        FINDING,
                        f"broker {node.name} speaks {it.name} {has}, needed is one of {it.low} to "
                        f"{it.high}: have it updated",
                        {},
                    )
                )
        return found or [(OK, f"all {len(USED)} requests of nodes are spoken by each broker", {})]

    # What nodes rely on

    async def fence(self) -> "_Found":
        """Check that the previous owner of a partition is refused."""
        await self._told(self._scratch.begin_make)
        await self._told(partial(self._scratch.check_fence, self._cluster))
        return [(OK, "former owners of a partition are refused (error 47): queues are safe", {})]

    async def topics(self) -> "_Found":
        """Check the nodes' own topics: correct, or still to be created."""
        own = OwnTopics(self._client, self._wanted)
        lines: Sequence[str] = await self._told(own.begin_check)
        entries = self._client.catalogue.entries
        missing = [it for it in self._wanted if it.name not in entries]
        absent = {f"topic {it.name}: it is not there" for it in missing}
        found: list[_Row] = [(FINDING, it, {}) for it in lines if it not in absent]
        brokers = len(self._client.brokers.view.nodes)
        for it in missing:
            try:
                await self._told(partial(self._try_to_make, it, brokers))
            except LogstoreError as error:
                found.append((FINDING, str(error), {}))
            else:
                found.append((OK, f"topic {it.name}: the first node will create it", {}))
        if len(missing) < len(self._wanted) and not any(state == FINDING for state, *_ in found):
            found.append((OK, "the nodes' own topics are as they should be", {}))
        return found

    def _try_to_make(self, it: OwnTopic, brokers: int, then: Callable[[Any], None]) -> None:
        settings, replicas = own_rules.settings_of(it, brokers), own_rules.replicas_of(brokers)
        self._client.admin.create(it.name, it.partitions, settings, then, replicas, only_check=True)

    async def sessions(self) -> "_Found":
        """Check how soon a dead node is detected. Changes nothing: brokers only validate."""
        messages = kinds.ALTER_CONFIGS.messages()
        configs = [messages.AlterableConfig(it, SET, str(ms)) for it, ms in WANTED_MS.items()]
        resource = messages.AlterConfigsResource(GROUP_RESOURCE, self._group, configs)
        request = messages.Request([resource], validate_only=True)
        seconds = WANTED_MS[SESSION] / 1000
        classic = f"nodes assign themselves, by the classic protocol, {seconds:g} s as well"
        try:
            answer = await self._told(
                lambda then: self._client.brokers.ask_any(
                    kinds.ALTER_CONFIGS, request, then, Use.SLOW
                )
            )
        except ClusterUnreachable:
            raise
        except LogstoreError as error:
            return [(OK, f"{error}; {classic}", {})]
        code, why = next(((it.error_code, it.error_message) for it in answer.responses), (0, ""))
        if code:
            text = (
                f"{SESSION}={WANTED_MS[SESSION]} is refused ({why or f'error {code}'}): {classic}"
            )
        else:
            text = (
                "the cluster assigns queues to nodes (KIP-848), and accepts sessions of"
                f" {seconds:g} s"
            )
        return [(OK, text, {"session_s": seconds})]

    # How fast, and how much

    async def appends(self) -> "_Found":
        """Measure appends of one record after another, with acks=all."""
        identity = await self._identity(self._client.identities.anybody)
        log = _Appending(self._scratch, identity, self._told)
        times = sorted([await log.append(BEAT) for _ in range(APPENDS)])
        middle, most = median(times), times[-1]
        text = f"p50 {middle * 1000:.1f} ms, maximum {most * 1000:.1f} ms ({APPENDS} tries)"
        figures = {"p50_ms": middle * 1000, "max_ms": most * 1000}
        if middle > SLOW_S:
            text += ": publishers with confirms wait for that; are brokers far, or busy?"
            return [(FINDING, text, figures)]
        return [(OK, text, figures)]

    async def _identity(self, ask: Callable[[Then], object]) -> Identity:
        """A producer id; a broker that has just started gives none for a while. Raises
        ClusterUnreachable.
        """
        for _ in range(TRIES - 1):
            try:
                return cast("Identity", await self._told(ask))
            except ClusterUnreachable:
                await self._told(self._pause)
        return cast("Identity", await self._told(ask))

    def _pause(self, then: Callable[[None], object]) -> None:
        self._scratch.call_at(self._scratch.now() + AGAIN_S, partial(then, None))

    async def takeovers(self) -> "_Found":
        """Measure a name's next producer and its claim; if a node was killed, 6 s pass before."""
        times = []
        for _ in range(TAKEOVERS):
            began = self._scratch.now()
            identity = await self._identity(self._scratch.named)
            await _Appending(self._scratch, identity, self._told).append(CLAIM)
            times.append(self._scratch.now() - began)
        middle, most = median(times), max(times)
        text = f"p50 {middle * 1000:.1f} ms, maximum {most * 1000:.1f} ms ({TAKEOVERS} tries)"
        figures = {"p50_ms": middle * 1000, "max_ms": most * 1000}
        if middle > STALLS_S:
            return [(FINDING, f"{text}: queues stall for that when a node ends", figures)]
        return [(OK, text, figures)]

    async def room(self) -> "_Found":
        """Count topics and partitions, and how many more partitions fit."""
        entries = self._client.catalogue.entries
        brokers = len(self._client.brokers.view.nodes)
        partitions = sum(it.partitions for it in entries.values())
        replicas = own_rules.replicas_of(brokers)
        left = max(0, brokers * REPLICAS_OF_BROKER // replicas - partitions)
        text = (
            f"topics: {len(entries)}, partitions: {partitions}; with at most {REPLICAS_OF_BROKER}"
            f" replicas on a broker, {left} more partitions fit: one for each queue and priority"
        )
        figures = {"topics": len(entries), "partitions": partitions, "left": left}
        return [(OK if left else FINDING, text, figures)]


_Row = tuple[str, str, Mapping[str, float]]
_Found = Sequence[_Row]
_Check = Callable[[Examination], Awaitable[_Found]]

CHECKS: Final[Mapping[str, _Check]] = {
    "reached": Examination.reached,
    "versions": Examination.versions,
    "fence": Examination.fence,
    "topics": Examination.topics,
    "sessions": Examination.sessions,
    "append": Examination.appends,
    "take-over": Examination.takeovers,
    "room": Examination.room,
}
NEEDED: Final = frozenset({"reached", "versions"})  # without it nothing else can be tried


class _Appending:
    """Appends to the scratch partition, one after another."""

    def __init__(self, scratch: Scratch, identity: Identity, told: Tell) -> None:
        self._scratch = scratch
        self._told = told
        self._heard: Callable[[], object] = lambda: None
        self._log: PartitionWriter = scratch.opened_as(identity, lambda: self._heard())

    async def append(self, kind: str) -> float:
        """The seconds until the record is stored. Raises LogstoreError."""
        began = self._scratch.now()
        mark = self._log.append(batch_of(Word(kind, "check", "", self._scratch.now_ms())))

        def begin(then: Callable[[Any], None]) -> None:
            def look() -> None:
                if self._log.failure is not None or self._log.done > mark:
                    self._heard = lambda: None
                    then(self._log.failure)

            self._heard = look
            look()

        await self._told(begin)
        return self._scratch.now() - began


def _meets(kind: kinds.Kind, low: int, high: int) -> bool:
    return min(kind.high, high) >= max(kind.low, low)


def _with_use(ask: Callable[..., None], use: Use, then: Callable[[Any], None]) -> None:
    ask(then, use)
