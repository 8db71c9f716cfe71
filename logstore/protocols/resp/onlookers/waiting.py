"""Clients that wait until a key has elements: BLPOP and related commands.

They are served in order of arrival, after the command that added elements is done: a waiting
command gets the reply that it would get if it were sent now.
"""

from collections.abc import Callable, Collection
from typing import Final

from logstore.broker.keys.keys import Keys
from logstore.errors import LogstoreError
from logstore.protocols.resp.onlookers.party import Attempted, Blocked, Party, Place
from logstore.slices import GoOn, Steps

TIMED_OUT: Final = object()
AT_ONCE: Final = 2000  # elements that are taken in one go, as of other commands


# Called at the end with the result, or with the LogstoreError instead.
InParts = Callable[[Steps, GoOn], object]


class Waiting:
    """All waiting clients."""

    def __init__(self, less: Callable[[], object], in_parts: InParts) -> None:
        """``less``: called when a client stops waiting.

        ``in_parts``: runs work, of which little is done at once, and more over several turns.
        """
        self._less = less
        self._in_parts = in_parts
        self.ready: dict[Place, None] = {}  # changed keys that clients wait for
        self._at: dict[Place, dict[Blocked, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def places_count(self) -> int:
        """The number of keys that clients wait for."""
        return len(self._at)

    def changed(self, place: Place) -> None:
        """Note that the key may have elements."""
        if place in self._at:
            self.ready[place] = None

    def changed_in(self, databases: Collection[int]) -> None:
        """Note that any key of these databases may have elements."""
        self.ready |= {place: None for place in self._at if place[0] in databases}

    def add(self, blocked: Blocked) -> None:
        self._count += 1
        blocked.client.blocked = blocked
        for place in blocked.places:
            self._at.setdefault(place, {})[blocked] = None

    def forget(self, client: Party) -> None:
        """Stop the client's wait."""
        blocked, client.blocked = client.blocked, None
        if blocked is None:
            return
        self._count -= 1
        for place in blocked.places:
            waiting = self._at[place]
            del waiting[blocked]
            if not waiting:
                del self._at[place]
        client.no_rest()

    def end(self, client: Party, result: object) -> None:
        """Stop the client's wait with a result: a reply, ``TIMED_OUT`` or an error."""
        blocked = client.blocked
        if blocked is not None:
            self.forget(client)
            self._less()
            blocked.go_on(result)

    def leave(self, database: int, error: LogstoreError) -> None:
        """Stop all waits for keys of the database with an error."""
        blocked = [it for place, those in self._at.items() if place[0] == database for it in those]
        for it in blocked:
            if it.client.blocked is it:
                self.end(it.client, error)

    def serve(self, keys: Keys) -> None:
        """Give available elements to waiting clients, which may make other clients ready."""
        while self.ready:
            place = next(iter(self.ready))
            del self.ready[place]
            space = keys.databases[place[0]]
            for blocked in list(self._at.get(place, ())):
                if blocked.client.blocked is not blocked:
                    continue
                if type(space.find(place[1])) is not blocked.kind:
                    continue
                try:
                    reply, rest = _begun(blocked.attempt())
                except LogstoreError as error:
                    self.end(blocked.client, error)
                    continue
                if rest is not None:
                    self.ready[place] = None  # for those behind it
                    self._go_on(keys, blocked, rest)
                    return
                if reply is None:
                    break  # later clients find nothing either
                self.end(blocked.client, reply)

    def _go_on(self, keys: Keys, blocked: Blocked, rest: Attempted) -> None:
        """Continue a very large reply, which no timeout ends; the other clients are served after
        it.
        """
        self.forget(blocked.client)
        self._less()

        def done(result: object) -> None:
            blocked.go_on(result)
            self.serve(keys)

        self._in_parts(blocked.alone(rest), done)


def _begun(attempt: Attempted) -> tuple[bytes | None, Attempted | None]:
    """The result, or the remaining steps if there are many. Raises Wrong."""
    done = 0
    try:
        while done < AT_ONCE:
            done += next(attempt)
    except StopIteration as end:
        return end.value, None
    return None, attempt
