"""The phases of a STOMP connection."""

from enum import Enum, auto
from typing import Final


class Phase(Enum):
    FIRST = auto()  # CONNECT is due
    LOGIN = auto()  # it has come; nothing is taken before it is answered
    RUNNING = auto()
    LEAVING = auto()  # the server stops; as running, without deliveries
    GOING = auto()  # the client has said DISCONNECT, and is to hear of what it has sent
    DISCARDING = auto()  # it has got an ERROR: what it still sends is thrown away
    OVER = auto()


EARLY: Final = frozenset({Phase.FIRST, Phase.LOGIN})  # nobody has been let in
OPEN: Final = frozenset({Phase.RUNNING, Phase.LEAVING, Phase.GOING})  # in its virtual host
TAKING: Final = frozenset({Phase.FIRST, Phase.RUNNING, Phase.LEAVING})  # frames
ENDING: Final = frozenset({Phase.DISCARDING, Phase.OVER})
