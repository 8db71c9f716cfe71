"""Clients that wait for something to be under a key: BLPOP and its kin.

They are served in the order in which they came, once the command is done that has put something
there: what it says then is what it would have said if it were asked now.
"""

from collections.abc import Callable, Collection
from typing import Final

from logstore.broker.keys.keys import Keys
from logstore.errors import LogstoreError
from logstore.protocols.resp.onlookers.party import Blocked, Party, Place
from logstore.slices import in_one_go

TIMED_OUT: Final = object()


class Waiting:
    """All of them."""

    def __init__(self, less: Callable[[], object]) -> None:
        """``less``: called when one waits no more."""
        self._less = less
        self.ready: dict[Place, None] = {}  # where something has changed that somebody waits for
        self._at: dict[Place, dict[Blocked, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def places_count(self) -> int:
        """Keys that somebody waits for."""
        return len(self._at)

    def changed(self, place: Place) -> None:
        """There may be something."""
        if place in self._at:
            self.ready[place] = None

    def changed_in(self, databases: Collection[int]) -> None:
        """There may be something under any of their keys."""
        self.ready |= {place: None for place in self._at if place[0] in databases}

    def add(self, blocked: Blocked) -> None:
        self._count += 1
        blocked.client.blocked = blocked
        for place in blocked.places:
            self._at.setdefault(place, {})[blocked] = None

    def forget(self, client: Party) -> None:
        """It waits no more."""
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
        """It waits no more, and is told this: a reply, ``TIMED_OUT``, an error."""
        blocked = client.blocked
        if blocked is not None:
            self.forget(client)
            self._less()
            blocked.go_on(result)

    def serve(self, keys: Keys) -> None:
        """Give what is there to those who wait for it. What they take may make others ready."""
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
                    reply = in_one_go(blocked.attempt())
                except LogstoreError as error:
                    self.end(blocked.client, error)
                    continue
                if reply is None:
                    break  # nor is there anything for those behind it
                self.end(blocked.client, reply)
