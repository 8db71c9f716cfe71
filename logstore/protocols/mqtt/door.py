"""What all MQTT sessions of a node share."""

from collections.abc import Callable, Collection, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol
from uuid import uuid4

from logstore.access.access import Access
from logstore.access.audit import Audit
from logstore.access.logins import Logins
from logstore.access.refusals import Refusals
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.message import About, Message
from logstore.broker.mqtt.mqtt import Cursor
from logstore.broker.mqtt.session import Session
from logstore.broker.mqtt.sessions import Sessions
from logstore.broker.mqtt.wills import Wills
from logstore.broker.queues.pending import Pending, Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.transaction import Transaction
from logstore.counts.doors import DoorCounts
from logstore.counts.mqtt import MqttCounts
from logstore.errors import LogstoreError
from logstore.mqtt import properties
from logstore.mqtt.reading import Topics
from logstore.protocols.mqtt.connect import NEVER, Rules, check_response_topic
from logstore.protocols.mqtt.form import Forms
from logstore.protocols.rabbit_alarm import DiskAlarm
from logstore.protocols.rounds import Round, Told
from logstore.protocols.session import Link
from logstore.slices import Slices, Steps

SAID_MAX: Final = 4096  # properties of messages that are remembered, of some 100 bytes
SAID_BYTES_MAX: Final = 512


class Publish(Protocol):
    """The result of publishing messages together."""

    @property
    def waiting(self) -> Waiting | None:
        """What must become safe before the messages are acknowledged; None if nothing."""

    @property
    def matched(self) -> Sequence[int] | None:
        """The number of receivers of each message; None if unknown."""


class Model(Protocol):
    """The MQTT model of a node."""

    @property
    def sessions(self) -> Sessions: ...
    @property
    def wills(self) -> Wills: ...
    @property
    def unfinished(self) -> MutableMapping[Session, Sequence[tuple[Cursor, Grant]]]:
        """Retained messages that sessions have not received yet since they subscribed."""

    def cursor(self, session: Session, filter_: bytes, grant: Grant) -> Cursor:
        """A cursor over the messages retained now for these topics, for the session."""

    def queue(self, queue: Queue, messages: Sequence[Message]) -> Pending:
        """Put retained messages that require an acknowledgement into the session's queue."""

    def preparing(self, topics: Collection[bytes]) -> Steps | None:
        """Find the receivers of messages on these topics, in steps; None if that is quick."""

    def publish(self, messages: Sequence[Message], held: Transaction | None = None) -> Publish:
        """Publish to all receivers; ``held`` as in ``Mqtt.publish``."""

    def settle(self, size: int) -> None:
        """Deliver soon what was published; called after all packets of one read."""

    @property
    def crowded(self) -> bool:
        """Whether there is no room for more messages now."""


class ModelOf(Protocol):
    """The source of the model, which is opened when the first client connects."""

    def when_open(self, then: Callable[[Model | LogstoreError], None]) -> None:
        """Call ``then`` with the model, or with the error that prevents it, now or in a
        later turn.
        """


class MqttLimits(NamedTuple):
    """The limits of each connection."""

    packet_bytes_max: int  # of packets from clients
    slow_bytes: int  # unsent, beyond which messages of QoS 0 are dropped
    window: int  # of clients of version 3.1.1: messages that they may leave unacknowledged
    expiry_max_s: int = NEVER


class Said(NamedTuple):
    """The decoded properties of a message."""

    about: About | None  # without an expiry
    expiry_s: int | None
    alias: int  # 0: none
    ids: bool  # there are subscription identifiers


@dataclass(slots=True)
class MqttDoor:
    """The model, limits, logins, and the connected sessions."""

    model_of: ModelOf
    limits: MqttLimits
    clock: Callable[[], int]  # ms since 1970
    stopwatch: Callable[[], float]  # seconds; standing still: nothing takes long
    slices: Slices
    access: Access
    logins: Logins
    refusals: Refusals
    audit: Audit
    insecure: bool  # without users clients may connect from anywhere
    alarm: DiskAlarm
    counts: MqttCounts
    totals: DoorCounts
    new_id: Callable[[], str] = lambda: f"auto-{uuid4().hex}"
    sessions: dict[Told, None] = field(default_factory=dict)
    topics: Topics = field(default_factory=Topics)
    forms: Forms = field(init=False)
    model: Model | None = None  # once it is open
    _said: dict[bytes, Said] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.forms = Forms(self.clock)
        self.access.watch(Round(self.sessions, self.slices, self.access).begin)

    @property
    def rules(self) -> Rules:
        """The limits for a CONNECT."""
        return Rules(self.limits.window, self.limits.expiry_max_s)

    @staticmethod
    def certified(link: Link) -> str | None:
        """As rabbit_login.Gate.certified."""
        return None if link.certificate is None else link.certificate.user

    def said(self, section: bytes) -> Said:
        """The decoded properties of a PUBLISH. Raises Broken."""
        known = self._said.get(section)
        if known is None:
            known = _said(properties.of_publish(section))
            if len(section) <= SAID_BYTES_MAX:
                if len(self._said) >= SAID_MAX:
                    self._said.clear()
                self._said[section] = known
        return known


def _said(found: properties.Properties) -> Said:
    check_response_topic(found)
    about = about_of(found)
    return Said(about, found.message_expiry_s, found.topic_alias or 0, bool(found.subscription_ids))


def about_of(found: properties.Properties) -> About | None:
    """The properties that are stored with a message; None if it has none."""
    about = About(
        found.payload_format,
        _data(found.content_type),
        _data(found.response_topic),
        found.correlation_data,
        tuple([(name.encode(), value.encode()) for name, value in found.user_properties]),
    )
    return None if about == About() else about


def _data(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
