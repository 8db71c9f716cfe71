"""The phases of a STOMP connection."""

from enum import Enum, auto
from typing import Final


class Phase(Enum):
    FIRST = auto()  # CONNECT is due
    LOGIN = auto()  # CONNECT has arrived; nothing is processed before its answer
    RUNNING = auto()
    LEAVING = auto()  # the server stops; as running, without deliveries
    GOING = auto()  # after DISCONNECT: the client is still to receive receipts
    DISCARDING = auto()  # after an ERROR: further input is discarded
    OVER = auto()


EARLY: Final = frozenset({Phase.FIRST, Phase.LOGIN})  # the client is not admitted yet
OPEN: Final = frozenset({Phase.RUNNING, Phase.LEAVING, Phase.GOING})  # in its virtual host
TAKING: Final = frozenset({Phase.FIRST, Phase.RUNNING, Phase.LEAVING})  # frames
ENDING: Final = frozenset({Phase.DISCARDING, Phase.OVER})
