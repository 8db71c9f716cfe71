"""The phases of an MQTT connection."""

from enum import Enum


class Phase(Enum):
    """Phases in their order; a connection never returns to an earlier one."""

    CONNECT = 0  # nothing was said yet
    ENTERING = 1  # who it is and what it had is looked up: nothing is taken meanwhile
    RUNNING = 2
    LEAVING = 3  # the server stops: what was published is acknowledged before
    ENDING = 4  # the client is told why it ends, and what it still says is thrown away
    OVER = 5
