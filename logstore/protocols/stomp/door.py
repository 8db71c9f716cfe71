"""What all STOMP sessions of a node share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final, Protocol

from logstore.access.access import Access, open_access
from logstore.access.audit import Audit, Unheard
from logstore.access.logins import Logins, Nobody
from logstore.access.refusals import Refusals
from logstore.counts.doors import DoorCounts
from logstore.counts.publishes import AmqpCounts
from logstore.protocols.amqp_clients import Connected
from logstore.protocols.house import QueuesOf
from logstore.protocols.rabbit_alarm import DiskAlarm
from logstore.protocols.rounds import Round
from logstore.protocols.session import Link
from logstore.slices import Slices

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues

TOKEN_BYTES: Final = 16  # unguessable


class Session(Connected, Protocol):
    """A session as the door sees it."""

    def tell_blocked(self) -> None: ...
    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed."""


@dataclass(slots=True)
class StompDoor:
    """The queues, the facts about this server, and the connected sessions."""

    queues_of: QueuesOf
    server: str  # as CONNECTED says it: some clients choose their ways by it
    message_bytes_max: int
    token: Callable[[], str] = lambda: token_urlsafe(TOKEN_BYTES)
    line_end: bytes = b""  # behind each frame
    sessions: dict[Session, None] = field(default_factory=dict)
    free_bytes: Callable[[], int] = lambda: 0  # as DiskAlarm has them
    free_bytes_min: int = 0
    stopwatch: Callable[[], float] = lambda: 0.0  # seconds; standing still: nothing takes long
    slices: Slices = field(default_factory=Slices)
    access: Access = field(default_factory=open_access)
    logins: Logins = field(default_factory=Nobody)
    refusals: Refusals = field(default_factory=lambda: Refusals(lambda: 0.0))
    audit: Audit = field(default_factory=Unheard)
    insecure: bool = False  # while there are no users guest may come from anywhere
    counts: AmqpCounts = field(default_factory=AmqpCounts)
    traffic: DoorCounts = field(default_factory=DoorCounts)
    alarm: DiskAlarm = field(init=False)

    def __post_init__(self) -> None:
        self.alarm = DiskAlarm(
            self.queues_of, self.free_bytes, self.free_bytes_min, self._tell_blocked
        )
        self.access.watch(Round(self.sessions, self.slices, self.access).begin)

    @staticmethod
    def certified(link: Link) -> str | None:
        """As rabbit_login.Gate.certified."""
        return None if link.certificate is None else link.certificate.user

    @property
    def queues(self) -> "Queues":
        """The queues, which are open once a session exists."""
        return self.queues_of.open()

    def _tell_blocked(self) -> None:
        for session in list(self.sessions):
            session.tell_blocked()
