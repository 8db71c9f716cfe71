"""The phases of an MQTT connection."""

from enum import Enum


class Phase(Enum):
    """Phases in their order; a connection never returns to an earlier one."""

    CONNECT = 0  # nothing was said yet
    ENTERING = 1  # identity and session are looked up: no packet is processed
    RUNNING = 2
    LEAVING = 3  # the server stops: published messages are acknowledged first
    ENDING = 4  # the client is told the reason, and its input is discarded
    OVER = 5
