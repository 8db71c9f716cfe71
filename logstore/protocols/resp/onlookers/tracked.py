"""Which clients have cached which values, so that they can be told when the values change.

A tracking client is told about keys that it has read, or, with BCAST, about all keys that begin
with one of its prefixes. As in Redis, only the names of keys count, not their databases.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from logstore.protocols.resp.onlookers.party import Party

KEYS_MAX: Final = 1_000_000  # Redis's tracking-table-max-keys: of more, some are told to be gone
ITEMS_MAX: Final = 4_000_000  # keys once per client, including clients that have gone
FORGOTTEN_AT_ONCE: Final = 100


class Tracked:
    """The cached values of all clients."""

    def __init__(self) -> None:
        self.acting: Party | None = None  # whose command is carried out
        self.everyone: Mapping[int, Party] = {}  # connected clients, by number
        self.items_count = 0  # keys, once per client that has or had a copy
        self._readers: dict[bytes, dict[int, None]] = {}  # the numbers of clients
        self._prefixes: dict[bytes, dict[Party, None]] = {}
        self._changed: dict[bytes, dict[Party | None, None]] = {}  # and the client that changed it
        self._gone: dict[Party, dict[bytes, None]] = {}  # what each is to be told of

    def __bool__(self) -> bool:
        return bool(self._readers or self._prefixes)

    @property
    def keys_count(self) -> int:
        """The number of keys that clients have copies of."""
        return len(self._readers)

    @property
    def pending(self) -> bool:
        """Whether a client is to be notified."""
        return bool(self._gone or self._changed)

    def read(self, client: Party, keys: Iterable[bytes]) -> None:
        """Note that the client has read these keys and keeps copies."""
        for key in keys:
            readers = self._readers.setdefault(key, {})
            if client.number not in readers:
                readers[client.number] = None
                self.items_count += 1
        if len(self._readers) > KEYS_MAX or self.items_count > ITEMS_MAX:
            for key in list(islice(self._readers, FORGOTTEN_AT_ONCE)):
                self._tell(key, None)

    def listen(self, client: Party, prefixes: Iterable[bytes]) -> None:
        """Notify the client of all keys with these prefixes."""
        for prefix in prefixes:
            self._prefixes.setdefault(prefix, {})[client] = None

    def changed(self, key: bytes) -> None:
        """Note that the acting client changed the key."""
        if key in self._readers:
            self._tell(key, self.acting)
        if self._prefixes:
            self._changed.setdefault(key, {})[self.acting] = None

    def _tell(self, key: bytes, by: Party | None) -> None:
        readers = self._readers.pop(key)
        self.items_count -= len(readers)
        for number in readers:
            client = self.everyone.get(number)
            tracking = None if client is None else client.tracking
            if client is None or tracking is None or b"BCAST" in tracking.modes:
                continue
            if client is not by or b"NOLOOP" not in tracking.modes:
                self._gone.setdefault(client, {})[key] = None

    def take_read(self) -> dict[Party, dict[bytes, None]]:
        """Take the changed keys that each client has read."""
        gone, self._gone = self._gone, {}
        return gone

    def take_begun(self) -> Iterable[tuple[Party, list[bytes]]]:
        """Take the changed keys that match a prefix of each client; called at the end of
        the turn.
        """
        changed, self._changed = self._changed, {}
        for prefix, clients in self._prefixes.items():
            keys = [key for key in changed if key.startswith(prefix)]
            if not keys:
                continue
            for client in clients:
                tracking = client.tracking
                if tracking is not None and b"NOLOOP" in tracking.modes:
                    of_others = [key for key in keys if set(changed[key]) != {client}]
                else:
                    of_others = keys
                if of_others:
                    yield client, of_others

    def forget(self, client: Party) -> None:
        """Forget the client's copies; drops pending notices of keys that it has read."""
        self._gone.pop(client, None)
        for prefix in [it for it, clients in self._prefixes.items() if client in clients]:
            del self._prefixes[prefix][client]
            if not self._prefixes[prefix]:
                del self._prefixes[prefix]
