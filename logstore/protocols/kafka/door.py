"""What all Kafka sessions of a node share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from logstore.access.access import Access, open_access
from logstore.access.audit import Audit, Unheard
from logstore.access.logins import Logins, Nobody
from logstore.access.refusals import Refusals
from logstore.access.tokens import Tokens
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.topics import Topics
from logstore.budget import BUDGET_BYTES_MAX, Budget
from logstore.counts.doors import DoorCounts
from logstore.errors import LogstoreError
from logstore.protocols.house import NoShares, NoTransactions, SharesOf, TransactionsOf, Work
from logstore.protocols.kafka.lines import Lines
from logstore.protocols.kafka.objects import Objects
from logstore.protocols.rounds import Round, Told
from logstore.settings import StoreSettings
from logstore.slices import GoOn, Slices, Wait

NODE_ID = 1  # of the one node that there is
LEADER_EPOCH = 0  # this node leads every partition, for ever


@dataclass(frozen=True, slots=True)
class KafkaDoor:
    """Topics, groups, clock and settings; long work is given to ``work``."""

    topics: Topics
    coordinator: Coordinator  # uses the sessions' time, in ms
    settings: StoreSettings
    store_id: str
    path: str  # the data directory
    clock: Callable[[], int]  # ms since 1970
    work: Work
    slices: Slices = field(default_factory=Slices)
    budget: Budget = field(default_factory=lambda: Budget(BUDGET_BYTES_MAX))
    lines: Lines = field(default_factory=Lines)
    access: Access = field(default_factory=open_access)
    logins: Logins = field(default_factory=Nobody)
    tokens: Tokens | None = None
    objects: Objects = field(default_factory=Objects)
    refusals: Refusals = field(default_factory=lambda: Refusals(lambda: 0.0))
    audit: Audit = field(default_factory=Unheard)
    clients: set[Told] = field(default_factory=set)  # connected clients
    counts: DoorCounts = field(default_factory=DoorCounts)
    transactions_of: TransactionsOf = field(default_factory=NoTransactions)
    shares_of: SharesOf = field(default_factory=NoShares)

    def __post_init__(self) -> None:
        self.access.watch(Round(self.clients, self.slices, self.access).begin)


@dataclass(frozen=True, slots=True)
class InWorker:
    """The part of a handler that takes long and returns the reply. Runs in another thread."""

    work: Callable[[], object]


class Later:
    """A reply that follows when something is done; until then the connection waits."""

    __slots__ = ("_answer", "_otherwise", "_wake", "then")

    def __init__(
        self,
        otherwise: Any = None,  # noqa: ANN401
        then: Callable[[Any], Any] | None = None,
    ) -> None:
        """``otherwise``: the answer if the connection cannot wait any longer.

        ``then`` makes the response from the answer, or returns an ``InWorker`` that does, when the
        response is to be sent: many may receive their answers at once.
        """
        self.then = then
        self._answer: Any = None
        self._otherwise = otherwise
        self._wake: Callable[[], None] | None = None

    def waiting(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when the answer exists."""
        if self._answer is None:
            self._wake = wake
        else:
            wake()

    @property
    def answer(self) -> Any:  # noqa: ANN401  a message, or the error that came instead
        """The answer; None until it exists."""
        return self._answer

    def give(self, answer: Any) -> None:  # noqa: ANN401
        """Set the answer, in the sessions' thread. Has no effect after ``give_up``."""
        assert answer is not None
        if self._answer is None:
            self._answer = answer
            if self._wake is not None:
                self._wake()

    def give_up(self) -> None:
        """Answer now if possible, because the duration of the wait depends on other clients."""
        if self._otherwise is not None:
            self.give(self._otherwise)


def elsewhere(door: KafkaDoor, job: Callable[[], Any]) -> Later:
    """The result of ``job``, run in another thread; an error of ``job`` is raised in the
    session.
    """
    later = Later()
    door.work(partial(_or_error, job), later.give)
    return later


def _or_error(job: Callable[[], Any]) -> Any:  # noqa: ANN401
    try:
        return job()
    except LogstoreError as error:
        return error


# What work in slices waits for


def made_elsewhere(door: KafkaDoor, job: Callable[[], Any]) -> Wait:
    """A Wait that continues with the result of ``job``, run in another thread."""
    return lambda go_on: door.work(partial(_or_error, job), go_on)


def given(later: Later) -> Wait:
    """A Wait that continues with the answer of ``later``."""

    def wait(go_on: GoOn) -> None:
        later.waiting(lambda: go_on(later.answer))

    return wait
