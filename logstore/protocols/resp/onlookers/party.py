"""A client as the code that reports changes sees it: what it watches, waits for and has cached."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from logstore.broker.keys.collection import Collection
from logstore.protocols.resp.replies import Version
from logstore.slices import GoOn, Steps

Place = tuple[int, bytes]  # a database, and a key of it
Attempted = Generator[int, None, bytes | None]
Attempt = Callable[[], Attempted]

WATCHED_HELD_BYTES: Final = 300  # overhead of a watched key


@dataclass(slots=True)
class Tracking:
    """The options of CLIENT TRACKING ON."""

    modes: frozenset[bytes]  # of BCAST, OPTIN, OPTOUT, NOLOOP
    redirect: int = 0  # the number of the client to be told instead; 0: itself
    prefixes: tuple[bytes, ...] = ()  # sorted; with BCAST only
    broken: bool = False  # the client to be told instead is gone
    caching: bool = False  # CLIENT CACHING, until the next command


class Watch:
    """The keys that a transaction depends on."""

    __slots__ = ("held_bytes", "outdated", "places")

    def __init__(self) -> None:
        self.places: dict[Place, bool] = {}  # whether there was something
        self.outdated = False  # one of these has changed
        self.held_bytes = 0

    def add(self, place: Place, *, there: bool) -> None:
        """Add a place that is not watched yet."""
        self.places[place] = there
        self.held_bytes += len(place[1]) + WATCHED_HELD_BYTES


class Party(Protocol):
    """A ``RespClient`` as a receiver of changes."""

    number: int
    database: int
    version: Version
    subscribed: bool
    watch: "Watch | None"  # what its next transaction depends on
    blocked: "Blocked | None"  # it waits for something to be under a key
    tracking: Tracking | None
    notices: list[bytes]  # sent once its command's reply is complete

    @property
    def everyone(self) -> Mapping[int, "Party"]:
        """All connected clients by number."""

    def deliver(self, chunk: bytes) -> None:
        """Send a chunk to the client."""

    def no_rest(self) -> None:
        """Stop resting: the awaited event has come."""


class Blocked:
    """A client that waits until a key has elements."""

    __slots__ = ("alone", "attempt", "client", "go_on", "kind", "places")

    def __init__(
        self,
        client: Party,
        kind: type[Collection],
        places: Sequence[Place],
        attempt: Attempt,
        alone: Callable[[Attempted], Steps],
    ) -> None:
        """``attempt``: makes the reply in steps, or None if nothing is available. Raises Wrong.

        ``alone``: runs the remaining steps while no other client uses keys.
        """
        self.client = client
        self.kind = kind  # the expected type; other values do not count
        self.places = dict.fromkeys(places)
        self.attempt = attempt
        self.alone = alone
        self.go_on: GoOn = lambda _: None
