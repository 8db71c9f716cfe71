"""The start of a connection (AMQP 0-9-1, 2.2.4): the client's identity and the agreed limits.

A state machine over methods; it knows no bytes. The client sends the protocol's header, then
StartOk, TuneOk and Open in turn. The caller checks the client's identity and the virtual host,
while the handshake waits.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from logstore.amqp.frames import SIZE_MIN
from logstore.amqp.methods import (
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
)
from logstore.amqp.replies import COMMAND_INVALID, NOT_ALLOWED, Refusal
from logstore.protocols.amqp.credentials import AMQPLAIN, PLAIN, Offer, offer_of
from logstore.protocols.rabbit_login import EXTERNAL

LOCALES: Final = b"en_US"
CHANNEL_MAX: Final = 2047
FRAME_MAX: Final = 131_072
HEARTBEAT_S: Final = 60

CAPABILITIES: Final = (
    "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
    "connection.blocked", "consumer_priorities", "authentication_failure_close",
    "per_consumer_qos", "direct_reply_to",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What the server tells clients about itself."""

    version: str  # of RabbitMQ, whose ways these are: clients choose theirs by it
    platform: str
    cluster_name: str

    def properties(self) -> dict[str, Any]:
        """The server's properties in Start."""
        return {
            "capabilities": dict.fromkeys(CAPABILITIES, True),
            "cluster_name": self.cluster_name,
            "copyright": "see https://www.rabbitmq.com for the protocol's extensions",
            "information": "logstore: one durable log for Kafka's, Redis's and RabbitMQ's clients",
            "platform": self.platform,
            "product": "RabbitMQ",
            "version": self.version,
        }


class State(Enum):
    START = auto()  # StartOk is due
    LOGIN = auto()  # whether ``offer`` is good is being found out: ``accept`` is due
    TUNE = auto()  # TuneOk is due
    OPEN = auto()  # Open is due
    DONE = auto()


@dataclass(slots=True)
class Handshake:
    """The handshake of one connection, from its protocol header on."""

    about: About
    external: bool = False  # a certificate may say who the client is: it talks TLS
    state: State = State.START
    offer: Offer | None = None  # as it logs in
    client_properties: dict[str, Any] = field(default_factory=dict)
    channel_max: int = CHANNEL_MAX
    frame_max: int = FRAME_MAX
    heartbeat_s: int = HEARTBEAT_S  # 0: none
    vhost: str = ""

    def begin(self) -> Method:
        """The server's first method."""
        mechanisms = [PLAIN, AMQPLAIN, *([EXTERNAL] if self.external else [])]
        said = " ".join(mechanisms).encode()
        return ConnectionStart(0, 9, self.about.properties(), said, LOCALES)

    @property
    def capabilities(self) -> dict[str, Any]:
        """The client's capabilities."""
        found = self.client_properties.get("capabilities")
        return found if isinstance(found, dict) else {}

    def can(self, capability: str) -> bool:
        """Whether the client has declared this capability."""
        return self.capabilities.get(capability) is True

    def take(self, method: Method) -> Method | None:
        """Process the client's next method; returns the server's answer. Raises Refusal.

        After StartOk the caller must judge ``offer``. After Open it must look up ``vhost``, and
        then answer OpenOk.
        """
        match self.state, method:
            case State.START, ConnectionStartOk():
                self.client_properties = dict(method.client_properties)
                self.offer = offer_of(method.mechanism, method.response, external=self.external)
                self.state = State.LOGIN
                return None
            case State.TUNE, ConnectionTuneOk():
                self._tune_ok(method)
                self.state = State.OPEN
                return None
            case State.OPEN, ConnectionOpen():
                self.vhost = method.virtual_host
                self.state = State.DONE
                return ConnectionOpenOk()
        raise Refusal(COMMAND_INVALID, f"{type(method).__name__} while {self.state.name} is due")

    def accept(self) -> Method:
        """The login is right; returns the server's next method."""
        assert self.state is State.LOGIN
        self.state = State.TUNE
        self.offer = None  # its password is not needed any more
        return ConnectionTune(CHANNEL_MAX, FRAME_MAX, HEARTBEAT_S)

    def _tune_ok(self, method: ConnectionTuneOk) -> None:
        """Check the client's limits; 0 means no limit and becomes the server's."""
        for name, asked, ours in (
            ("channel_max", method.channel_max, CHANNEL_MAX),
            ("frame_max", method.frame_max, FRAME_MAX),
        ):
            if asked > ours:
                raise Refusal(
                    NOT_ALLOWED,
                    f"negotiated {name} = {asked} is higher than the maximum allowed value "
                    f"({ours})",
                )
        if 0 < method.frame_max < SIZE_MIN:
            raise Refusal(
                NOT_ALLOWED,
                f"negotiated frame_max = {method.frame_max} is lower than the minimum allowed "
                f"value ({SIZE_MIN})",
            )
        self.channel_max = method.channel_max or CHANNEL_MAX
        self.frame_max = method.frame_max or FRAME_MAX
        self.heartbeat_s = method.heartbeat
