"""The phases of an AMQP connection: which frames are expected, and what happens to others."""

from enum import Enum, auto
from typing import Final


class Phase(Enum):
    HEADER = auto()  # the protocol's header is due
    HANDSHAKE = auto()
    RUNNING = auto()
    LEAVING = auto()  # the server stops; as running, without deliveries
    CLOSING = auto()  # CloseOk is due
    DISCARDING = auto()  # as CLOSING, and input can no longer be read as frames
    OVER = auto()


EARLY: Final = frozenset({Phase.HEADER, Phase.HANDSHAKE})  # the client is not admitted yet
ENDING: Final = frozenset({Phase.CLOSING, Phase.DISCARDING, Phase.OVER})
