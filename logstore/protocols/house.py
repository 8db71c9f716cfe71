"""What each door may use of the serving process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from logstore.access.access import Access
from logstore.access.audit import Audit, Unheard
from logstore.access.logins import Logins
from logstore.access.tokens import Tokens
from logstore.broker.channel import Channels
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.group_lags import GroupLags
from logstore.broker.mqtt.space import Space
from logstore.broker.topics import Topics
from logstore.budget import Budget
from logstore.cluster_seen import ClusterSeen
from logstore.errors import Failed, LogstoreError
from logstore.figures.figures import Figures
from logstore.http.reply import Reply
from logstore.kept.keeping import ReadOn
from logstore.log import Log
from logstore.protocols.amqp_clients import AmqpClients
from logstore.protocols.session import About, Doorway
from logstore.queue_topics import QueueTopics
from logstore.settings import StoreSettings
from logstore.slices import Slices
from logstore.turns import Turns

if TYPE_CHECKING:
    from logstore.broker.keys.keys import Keys
    from logstore.broker.mqtt.mqtt import Mqtt
    from logstore.broker.queues.queues import Queues  # made when there is a use for it
    from logstore.broker.shared.shares import Shares
    from logstore.broker.transacting.coordinator import TransactionCoordinator


class QueuesOf(Protocol):
    """The queues of a node, opened at their first use."""

    def open(self) -> "Queues":
        """Open them now, however long it takes. Raises SchemaTooNew, CorruptStore, StorageFull."""

    @property
    def opened(self) -> "Queues | None":
        """The queues; None if they are not open: not used yet, and none stored."""

    def when_open(self, then: "Callable[[Queues | LogstoreError], None]") -> None:
        """Call ``then`` with the queues or with the error, immediately or in a later turn."""


class KeysOf(Protocol):
    """The keys of a node, opened for the first client, or at the start if keys exist."""

    def open(self) -> "Keys":
        """Open them now; stored keys are read meanwhile."""

    @property
    def opened(self) -> "Keys | None":
        """The keys; None if they are not open: not used yet, and none stored."""


class NoKeys:
    """A ``KeysOf`` for a process without keys."""

    opened = None

    def open(self) -> "Keys":
        """As KeysOf.open."""
        raise Failed("this process has no keys")


class MqttOf(Protocol):
    """MQTT's model of a node, opened for its first client."""

    @property
    def opened(self) -> "Mqtt | None":
        """The model; None if no client has come and nothing was stored."""

    def when_open(self, then: "Callable[[Mqtt | LogstoreError], None]") -> None:
        """Call ``then`` with the model or with the error, immediately or in a later turn."""


class NoMqtt:
    """An ``MqttOf`` for a process without a server."""

    opened = None

    def when_open(self, then: "Callable[[Mqtt | LogstoreError], None]") -> None:
        """As MqttOf.when_open."""
        then(Failed("this process serves no MQTT clients"))


class TransactionsOf(Protocol):
    """The transactions of a node, read at their first use, or at the start if some exist."""

    def coordinator(self) -> "TransactionCoordinator":
        """The coordinator; starts reading its transactions, if they are not read yet.

        Raises CoordinatorLoading until they are read, and afterwards the error of reading, if any.
        """

    @property
    def opened(self) -> "TransactionCoordinator | None":
        """The coordinator; None if not loaded: not used yet, none stored, or being read."""

    def when_open(self, then: "Callable[[TransactionCoordinator | LogstoreError], None]") -> None:
        """Call ``then`` with the coordinator or its error, immediately or once all is read.

        If that takes long, ``then`` gets CoordinatorLoading after a while.
        """


class NoTransactions:
    """A ``TransactionsOf`` for a process without transactions."""

    opened = None

    def coordinator(self) -> "TransactionCoordinator":
        """As TransactionsOf.coordinator."""
        raise self._there_are_none()

    def when_open(self, then: "Callable[[TransactionCoordinator | LogstoreError], None]") -> None:
        """As TransactionsOf.when_open."""
        then(self._there_are_none())

    @staticmethod
    def _there_are_none() -> Failed:
        return Failed("this process has no transactions")


class SharesOf(Protocol):
    """The share partitions of a node; the journal is read at their first use."""

    @property
    def opened(self) -> "Shares | None":
        """The shares; None if not loaded: not used yet, none stored, or being read."""

    def when_open(self, then: "Callable[[Shares | LogstoreError], None]") -> None:
        """Call ``then`` with the shares or with the error, immediately or in a later turn."""


class NoShares:
    """A ``SharesOf`` for a process without share partitions."""

    opened = None

    def when_open(self, then: "Callable[[Shares | LogstoreError], None]") -> None:
        """As SharesOf.when_open."""
        then(Failed("this process has no share groups"))


def forget_shares(
    shares_of: SharesOf, group: str, done: "Callable[[LogstoreError | None], None]"
) -> None:
    """Delete the settlements of a deleted share group."""

    def found(shares: "Shares | LogstoreError") -> None:
        if isinstance(shares, LogstoreError):
            done(shares)
        else:
            shares.group_gone(group, done)

    shares_of.when_open(found)


class Alarm(Protocol):
    """A scheduled call."""

    def cancel(self) -> None: ...


class Timer(Protocol):
    """The sessions' clock: it stands still while no peer can be heard."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def call_at(self, at: float, call: Callable[[], object]) -> Alarm:
        """Make the call at that time in the sessions' thread; perhaps too early."""


# Has upkeep do the job that a request's body says, from any thread; answered as it goes.
Job = Callable[[bytes, Reply], None]
# Runs the first in another thread, then the second, with what it gave, in the sessions' own.
Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]
# Has settings of the store be so from the next start on, by their names; which of them were not so
# already. May take long; raises LogstoreError.
KeepSettings = Callable[[Mapping[str, str]], list[str]]
# What a look at the process comes to, as JSON; and who waits for it, in the sessions' thread.
Found = Mapping[str, object] | LogstoreError
TakeFound = Callable[[Found], None]


def no_file(_: Mapping[str, str]) -> list[str]:
    """``KeepSettings`` for a process without a configuration file."""
    raise Failed("this process has no configuration file")


class Connection(Protocol):
    """One connection through any door."""

    @property
    def id(self) -> int:
        """A number that no earlier connection had."""

    @property
    def door(self) -> str: ...
    @property
    def peer(self) -> str:
        """``host:port``, to be shown to people; for a local process, its process id."""

    @property
    def peer_address(self) -> tuple[str, int]: ...
    @property
    def address(self) -> tuple[str, int]: ...
    @property
    def secure(self) -> bool: ...
    @property
    def opened_at(self) -> float:
        """The time by the stopwatch."""

    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def unsent(self) -> int: ...
    @property
    def gone(self) -> bool: ...
    def about(self) -> About:
        """Facts about the client of a connection that still exists."""


class Connections(Protocol):
    """The connections of all doors."""

    def connections(self) -> Sequence[Connection]:
        """All connections in the order of their arrival."""

    def connection(self, number: int) -> Connection | None:
        """The connection with this number."""

    def close(self, number: int, reason: str) -> bool:
        """End the connection with this number; returns whether it exists."""


class NoConnections:
    """A ``Connections`` for a process without a server."""

    def connections(self) -> Sequence[Connection]:
        """As Connections.connections."""
        return ()

    def connection(self, number: int) -> Connection | None:
        """As Connections.connection."""
        return None

    def close(self, number: int, reason: str) -> bool:
        """As Connections.close."""
        return False


@dataclass(frozen=True, slots=True)
class House:
    """Models, settings, clock, workers, and facts about the process. For the sessions' thread."""

    topics: Topics
    queues_of: QueuesOf
    queue_topics: QueueTopics  # with the topics that there are
    coordinator: Coordinator  # of groups; its time is the sessions', in ms
    channels: Channels
    space: Space  # of topics, across doors
    settings: StoreSettings
    budget: Budget  # of what peers make the process hold
    clock: Callable[[], int]  # ms since 1970
    work: Work  # takes what may take long
    slices: Slices  # of what takes long and needs this thread
    soon: Callable[[Callable[[], object]], None]  # calls it when the turn ends, as Turn.soon
    turns: Turns  # how long they were
    stopwatch: Callable[[], float]  # seconds, for who must not take too many of them in a turn
    timer: Timer
    lags: GroupLags  # how far groups are behind
    jobs: Callable[[], Mapping[str, object]]  # of upkeep: running, and history
    store_id: str
    path: str  # the data directory
    process_id: int
    facts: Callable[[], Mapping[str, object]]  # of the process, for people
    job: Job
    log_bytes: Callable[[Log], int]  # of its files
    access: Access  # who may do what
    logins: Logins  # and whether he is who he says he is
    tokens: Tokens | None = None  # signed by somebody else who says so; None: nobody is trusted
    keys_of: KeysOf = field(default_factory=NoKeys)
    mqtt_of: MqttOf = field(default_factory=NoMqtt)
    transactions_of: TransactionsOf = field(default_factory=NoTransactions)
    shares_of: SharesOf = field(default_factory=NoShares)
    # For who is to say that there is none of a name; None: no other node makes any.
    read_on: ReadOn | None = None
    audit: Audit = field(default_factory=Unheard)  # is told what is to be known afterwards
    # Gives what keeps records from being acknowledged, if anything does, in a later turn.
    unready: Callable[[Callable[[Mapping[str, str]], None]], None] = lambda then: then({})
    amqp_clients: AmqpClients = field(default_factory=AmqpClients)
    # Gives what is found of process, directory and machine, in a later turn.
    doctor: Callable[[TakeFound], None] = lambda then: then({})
    unrecovered: Callable[[], int] = lambda: 0  # logs that a crash has left to be recovered
    certificate_expires_s: Callable[[], int | None] = lambda: None  # None: there is no TLS
    keep_settings: KeepSettings = no_file
    figures: Figures = field(default_factory=Figures)
    deduplication: Deduplication = field(default_factory=Deduplication)  # keeps repeats out
    connections: Connections = field(default_factory=NoConnections)
    # What is known of the cluster that this is a node of; None: of none.
    cluster: Callable[[], ClusterSeen] | None = None
    # Those that are open, by their names: what comes through one may be another one's.
    doorways: dict[str, Doorway] = field(default_factory=dict)

    @property
    def queues(self) -> "Queues":
        """As QueuesOf.open."""
        return self.queues_of.open()
