"""Opens the door for links from other nodes."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from logstore.access.failures import Failures
from logstore.broker.queues.named import Named
from logstore.protocols.house import House
from logstore.protocols.relay.door import Asked, RelayDoor
from logstore.protocols.relay.session import RelaySession
from logstore.protocols.session import Doorway, Limits

NAME: Final = "relay"
# Each node has one link to each other node, and perhaps an old one whose end is not known.
CONNECTIONS_MAX: Final = 1000
NOTHING_ELSE: Final[Mapping[int, Asked]] = MappingProxyType({})


def made(
    house: House,
    node: bytes,
    secret: bytes,
    find: Callable[[bytes, bytes, int], Named],
    asked: Mapping[int, Asked] = NOTHING_ELSE,
    vouch: Callable[[Callable[[], None]], bool] = lambda then: True,
) -> RelayDoor:
    """``node``: this node's name; other arguments as in ``RelayDoor``."""
    return RelayDoor(
        node,
        secret,
        find,
        house.work,
        dict(asked),
        vouch,
        house.stopwatch,
        slices=house.slices,
        failures=Failures(house.settings.connection_failed_authentication_delay_ms / 1000),
        traffic=house.figures.door(NAME),
    )


def open(door: RelayDoor) -> Doorway:
    """Open the door for links, which notice a silent peer themselves."""
    limits = Limits(CONNECTIONS_MAX, math.inf)
    return Doorway(
        lambda link: RelaySession(door, link), limits, NAME, door.traffic,
        lambda session: session.about(), lambda session, reason: session.end_by(reason),
    )  # fmt: skip
