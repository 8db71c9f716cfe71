"""The receivers of changes of keys: transactions, blocked clients, client caches, subscribers.

A keyspace reports changes only while there is a receiver, so that otherwise they cost nothing.
"""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.access.resources import KEY
from logstore.broker.channel import Channels
from logstore.broker.keys.keys import Keys
from logstore.protocols.resp.onlookers.invalidation import notice, send, tell_changed
from logstore.protocols.resp.onlookers.notices import MISSED, NEW, Notices
from logstore.protocols.resp.onlookers.party import Party, Place, Watch
from logstore.protocols.resp.onlookers.tracked import Tracked
from logstore.protocols.resp.onlookers.waiting import InParts, Waiting
from logstore.protocols.resp.permits import Asks, names
from logstore.protocols.resp.wrong import NOT_OWNED, Wrong
from logstore.slices import Steps

LOOKED_AT_ONCE: Final = 5000  # keys that are only looked up
LOOKED_UNITS: Final = 500  # of work in slices, that these are
NO_CHANGE: Final = frozenset({MISSED, NEW})  # events that tell of none, or come beside another


class Onlookers:
    """The receivers for all databases. For the sessions' thread, with the channels' lock held."""

    def __init__(self, keys: Keys, channels: Channels, in_parts: InParts) -> None:
        """``in_parts``: as in ``Waiting``."""
        self.notices = Notices(channels)
        self.waiting = Waiting(self.look, in_parts)
        self.tracked = Tracked()
        self._keys = keys
        self._channels = channels
        self._in_parts = in_parts
        self._watched: dict[Place, dict[Watch, None]] = {}
        keys.flushed = self._flushed
        keys.swapped = self._swapped
        keys.left = self._left

    def look(self) -> None:
        """Update whether keyspaces must report changes, after a client came or left."""
        wanted = self._watched or self.waiting or self.tracked or self.notices.kinds
        told: Callable[[int, bytes, str], object] | None = self._told if wanted else None
        for keyspace in self._keys.databases:
            keyspace.told = told

    def _told(self, database: int, key: bytes, event: str) -> None:
        if event not in NO_CHANGE:
            if self._watched:
                for watch in self._watched.get((database, key), ()):
                    watch.outdated = True
            if self.waiting:
                self.waiting.changed((database, key))
            if self.tracked:
                self.tracked.changed(key)
                if self.tracked.acting is None:  # by itself: it has expired
                    tell_changed(self.tracked, None)
        if self.notices.kinds:
            self.notices.tell(database, key, event)

    def _flushed(self, database: int) -> None:
        """A flush changes the watched keys that existed, and no others."""
        for place, watches in self._watched.items():
            if place[0] == database:
                for watch in watches:
                    watch.outdated |= watch.places[place]

    def _swapped(self, first: int, second: int) -> None:
        """Two databases were swapped: keys that exist in one of them have changed."""
        both = first, second
        values = [self._keys.databases[it].values for it in both]
        for (database, key), watches in self._watched.items():
            if database in both and any(key in it for it in values):
                for watch in watches:
                    watch.outdated = True
        self.waiting.changed_in(both)

    def _left(self, database: int, why: str) -> None:
        """Another node serves the database now, so that changes of its keys are not known here."""
        error = Wrong(why, NOT_OWNED)
        with self._channels.lock:
            for place, watches in self._watched.items():
                if place[0] == database:
                    for watch in watches:
                        watch.outdated = True
            self.waiting.leave(database, error)
            for client in list(self.tracked.everyone.values()):
                if client.tracking is not None:
                    send(notice(client, client.tracking, None), None)

    # WATCH

    def watch(self, client: Party, key: bytes, *, there: bool) -> None:
        """Abort the client's next transaction if this key changes first."""
        place = client.database, key
        if client.watch is None:
            client.watch = Watch()
        if place not in client.watch.places:
            client.watch.add(place, there=there)
            first = not self._watched
            self._watched.setdefault(place, {})[client.watch] = None
            if first:
                self.look()

    def unwatch(self, client: Party) -> None:
        """Stop watching all keys of the client."""
        watch, client.watch = client.watch, None
        if watch is not None:
            self._in_parts(self._strike_out(watch), _done)

    def _strike_out(self, watch: Watch) -> Steps:
        """Remove a watch that is no longer needed, in steps."""
        for number, place in enumerate(watch.places, 1):
            watches = self._watched[place]
            del watches[watch]
            if not watches:
                del self._watched[place]
            if not number % LOOKED_AT_ONCE:
                yield LOOKED_UNITS
        self.look()

    def expiring(self, watch: Watch) -> Steps:
        """Check the watched keys for expired ones, which count as changed."""
        for number, (database, key) in enumerate(watch.places, 1):
            keyspace = self._keys.databases[database]
            if key in keyspace.deadlines:
                keyspace.find(key)
                yield 1
            if not number % LOOKED_AT_ONCE:
                yield LOOKED_UNITS

    # All of it

    def forget(self, client: Party) -> None:
        """Forget a client that is gone or was reset."""
        self.unwatch(client)
        self.waiting.forget(client)
        self.tracked.forget(client)
        self.look()

    # Reading

    def remember(self, client: Party, command: Asks, arguments: Sequence[bytes]) -> None:
        """Note the keys of a tracking client's command, which it now has copies of."""
        tracking = client.tracking
        if tracking is None or "readonly" not in command.flags or b"BCAST" in tracking.modes:
            return
        if b"OPTIN" in tracking.modes and not tracking.caching:
            return
        if b"OPTOUT" in tracking.modes and tracking.caching:
            return
        keys = [it.name for it in names(command, arguments) if it.kind == KEY]
        if keys:
            first = not self.tracked
            self.tracked.everyone = client.everyone
            self.tracked.read(client, keys)
            if first:
                self.look()


def _done(_: object) -> None:
    """Ignore the result."""
