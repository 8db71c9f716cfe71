"""The phases of an AMQP connection: which frames are expected, and what happens to others."""

from enum import Enum, auto
from typing import Final


class Phase(Enum):
    HEADER = auto()  # the protocol's header is due
    HANDSHAKE = auto()
    RUNNING = auto()
    LEAVING = auto()  # the server stops; as running, without deliveries
    CLOSING = auto()  # CloseOk is due
    DISCARDING = auto()  # the same, and what comes cannot be read as frames any more
    OVER = auto()


EARLY: Final = frozenset({Phase.HEADER, Phase.HANDSHAKE})  # nobody has been let in
ENDING: Final = frozenset({Phase.CLOSING, Phase.DISCARDING, Phase.OVER})
