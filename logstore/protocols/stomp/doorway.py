"""The STOMP door, opened."""

import math
from typing import Final

from logstore.protocols.house import House
from logstore.protocols.session import Doorway, Limits, Link, Session

NAME: Final = "stomp"


def open(house: House) -> Doorway:
    """Limits are fixed while it serves."""

    def new_session(link: Link) -> Session:
        from logstore.protocols.stomp.session import StompSession  # a server may have no client

        return StompSession(link)

    # A subscriber may be silent for ever; heart-beats tells whether it is there.
    limits = Limits(house.settings.max_connections, math.inf)
    return Doorway(new_session, limits, NAME, house.figures.door(NAME))
