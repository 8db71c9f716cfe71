"""What all HTTP sessions of a node share: the models that routes read."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from logstore.access.access import Access
from logstore.access.audit import Audit, Unheard
from logstore.access.logins import Logins
from logstore.access.refusals import Refusals
from logstore.access.tokens import Tokens
from logstore.broker.channel import Channels
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.fresh import Fresh
from logstore.broker.group_lags import GroupLags
from logstore.broker.topic_sizes import Holds, held_by_all
from logstore.broker.topics import Topics
from logstore.cluster_seen import ClusterSeen
from logstore.figures.figures import Figures
from logstore.kept.keeping import ReadOn
from logstore.log import Log
from logstore.page_files import PageFiles
from logstore.protocols.amqp_clients import AmqpClients
from logstore.protocols.house import (
    Connections,
    House,
    Job,
    KeysOf,
    MqttOf,
    NoConnections,
    NoKeys,
    NoMqtt,
    NoShares,
    NoTransactions,
    QueuesOf,
    SharesOf,
    TakeFound,
    Timer,
    TransactionsOf,
    Work,
)
from logstore.protocols.http.common.downloads import Downloads
from logstore.protocols.http.common.health import Health, Look
from logstore.protocols.http.common.in_turn import InTurn
from logstore.protocols.http.common.meter import Meter
from logstore.protocols.http.common.news import News
from logstore.protocols.http.common.node import Node
from logstore.protocols.http.common.scrapes import Scrapes
from logstore.protocols.http.entry.browsers import Browsers
from logstore.protocols.http.entry.gate import Gate
from logstore.protocols.http.replies.listeners import Listeners
from logstore.protocols.rounds import Round
from logstore.protocols.session import Doorway
from logstore.slices import Slices


class Connected(Protocol):
    """A session as the door sees it."""

    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed."""

    def logged_out(self, secrets: Collection[str]) -> None:
        """Browsers with these cookies have: what was begun for one is at its end."""


@dataclass(frozen=True, slots=True)
class HttpDoor:
    """The models, and facts about the process."""

    queues_of: QueuesOf
    facts: Callable[[], Mapping[str, object]]  # of the process: version, number, doors
    job: Job  # has upkeep do what another process asks for
    log_bytes: Callable[[Log], int]  # of the files of a queue's log
    access: Access
    logins: Logins
    work: Work
    keeps_history: Callable[[str], bool] = lambda name: False  # whether it is such a channel's
    audit: Audit = field(default_factory=Unheard)
    stopwatch: Callable[[], float] = lambda: 0.0  # seconds; standing still: nothing takes long
    slices: Slices = field(default_factory=Slices)  # of what takes long and needs this thread
    clock: Callable[[], int] = lambda: 0  # ms since 1970
    tokens: Tokens | None = None
    refusals: Refusals = field(default_factory=lambda: Refusals(lambda: 0.0))
    names: frozenset[str] = frozenset()  # by which browsers know this server
    prefix: bytes = b""  # of paths, where a proxy leaves it there
    doctor: Callable[[TakeFound], None] = lambda then: then({})  # as House.doctor
    node: Node = field(default_factory=Node)
    figures: Figures = field(default_factory=Figures)
    amqp_clients: AmqpClients = field(default_factory=AmqpClients)
    connections: Connections = field(default_factory=NoConnections)
    mqtt_of: MqttOf = field(default_factory=NoMqtt)
    keys_of: KeysOf = field(default_factory=NoKeys)
    transactions_of: TransactionsOf = field(default_factory=NoTransactions)
    shares_of: SharesOf = field(default_factory=NoShares)
    cluster: Callable[[], ClusterSeen] | None = None  # as House.cluster
    meter: Meter = field(default_factory=Meter)
    news: News = field(default_factory=News)  # of the server, once a second
    listeners: Listeners = field(default_factory=Listeners)  # to events
    browsers: Browsers = field(default_factory=Browsers)
    page: PageFiles = field(default_factory=PageFiles)
    sessions: dict[Connected, None] = field(default_factory=dict)
    unready: Look = lambda then: then({})  # as House.unready
    scrapes: Scrapes | None = None  # None: of a door without metrics, in tests
    gate: Gate = field(init=False)
    health: Health = field(init=False)
    topics: Topics = field(kw_only=True)
    coordinator: Coordinator = field(kw_only=True)
    lags: GroupLags = field(kw_only=True)
    timer: Timer = field(kw_only=True)
    channels: Channels = field(kw_only=True)
    jobs: Callable[[], Mapping[str, object]] = dict  # as House.jobs
    doorways: Mapping[str, Doorway] = field(default_factory=dict)  # as House.doorways
    soon: Callable[[Callable[[], object]], object] = lambda call: call()  # as House.soon
    read_on: ReadOn | None = None  # as House.read_on
    sizes: Fresh[Mapping[str, Holds]] = field(init=False)  # of all topics
    searches: InTurn = field(init=False)  # they take one worker, all together
    downloads: Downloads = field(default_factory=Downloads)
    importing: set[object] = field(default_factory=set)  # who takes or gives definitions
    searching: set[object] = field(default_factory=set)  # searches under way
    replaying: set[object] = field(default_factory=set)  # pages of queues' pasts under way
    tails: set[object] = field(default_factory=set)  # that follow topics
    channel_tails: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        gate = Gate(
            self.access, self.logins, self.tokens, self.audit, self.browsers, self.stopwatch
        )
        object.__setattr__(self, "gate", gate)
        object.__setattr__(self, "health", Health(self.unready, self.stopwatch))
        object.__setattr__(self, "searches", InTurn(self.work))
        look = partial(held_by_all, self.topics)
        object.__setattr__(self, "sizes", Fresh(look, {}, self.work, lambda: self.timer.now()))
        self.access.watch(lambda: self.browsers.users_changed(self.access.users))
        self.access.watch(Round(self.sessions, self.slices, self.access).begin)

    def let_out(self, secrets: Collection[str]) -> None:
        """Browsers with these cookies have logged out."""
        for secret in secrets:
            self.browsers.let_out(secret)
        if secrets:
            for session in list(self.sessions):
                session.logged_out(secrets)

    @classmethod
    def of(cls, house: House) -> "HttpDoor":
        settings = house.settings
        return cls(
            house.queues_of, house.facts, house.job, house.log_bytes,
            house.access, house.logins, house.work, house.channels.keeps_history, house.audit,
            house.stopwatch, house.slices, house.clock, house.tokens,
            Refusals(house.stopwatch, house.audit), frozenset(settings.http_hosts),
            settings.http_path_prefix.encode(), house.doctor, scrapes=Scrapes(house),
            topics=house.topics, coordinator=house.coordinator, lags=house.lags, timer=house.timer,
            node=Node.of(house), channels=house.channels, figures=house.figures,
            unready=house.unready, soon=house.soon, amqp_clients=house.amqp_clients,
            connections=house.connections, jobs=house.jobs, mqtt_of=house.mqtt_of,
            keys_of=house.keys_of, transactions_of=house.transactions_of,
            shares_of=house.shares_of, cluster=house.cluster, read_on=house.read_on,
            doorways=house.doorways,
        )  # fmt: skip
