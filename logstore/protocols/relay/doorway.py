"""The door for the links of other nodes, opened."""

import math
from typing import Final

from logstore.protocols.house import House
from logstore.protocols.relay.door import RelayDoor
from logstore.protocols.relay.session import RelaySession
from logstore.protocols.session import Doorway, Limits

NAME: Final = "relay"
# Each node has one link to each other one, and perhaps an old one that is not known to be gone.
CONNECTIONS_MAX: Final = 1000


def open(house: House, door: RelayDoor) -> Doorway:
    """Whoever makes the node gives the door: its name, the secret, and who owns what."""
    door.slices, door.stopwatch = house.slices, house.stopwatch
    door.traffic = house.figures.door(NAME)
    # The link itself notices who is silent.
    limits = Limits(CONNECTIONS_MAX, math.inf)
    return Doorway(
        lambda link: RelaySession(door, link), limits, NAME, door.traffic,
        lambda session: session.about(), lambda session, reason: session.end_by(reason),
    )  # fmt: skip
