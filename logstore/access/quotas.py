"""Limits of bytes a second and of connections, for users, client ids and addresses (KIP-13, 599,
612).

A quota belongs to an entity: a user, a client id, both, an address, or a default for those without
a quota of their own. The most specific quota applies (``_PRECEDENCE``). All connections that match
one entity share its limit; a default gives each user, client id or address a limit of that size.

A rate is measured over eleven samples of one second each. A client above its limit waits until the
rate over these samples and the wait is within the limit.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from logstore.kept.users import KeptQuota

USER: Final = "user"
CLIENT_ID: Final = "client-id"
IP: Final = "ip"
NOBODY: Final = "ANONYMOUS"  # as Kafka calls the user of whoever has not said who he is

PRODUCER_RATE: Final = "producer_byte_rate"
CONSUMER_RATE: Final = "consumer_byte_rate"
REQUEST_PERCENTAGE: Final = "request_percentage"
MUTATION_RATE: Final = "controller_mutation_rate"
CONNECTION_RATE: Final = "connection_creation_rate"
CONNECTIONS: Final = "connections_max"  # at one time; Kafka has it as a broker's setting


INT_MAX, LONG_MAX = 2**31 - 1, 2**63 - 1
_OF_CLIENTS: Final = {
    PRODUCER_RATE: LONG_MAX, CONSUMER_RATE: LONG_MAX,
    REQUEST_PERCENTAGE: None, MUTATION_RATE: None,
}  # fmt: skip
# The keys of each kind of entity, with the largest whole number that each takes; None: any number.
KEYS: Final[Mapping[frozenset[str], Mapping[str, int | None]]] = {
    frozenset({USER}): {**_OF_CLIENTS, CONNECTIONS: INT_MAX},
    frozenset({CLIENT_ID}): _OF_CLIENTS,
    frozenset({USER, CLIENT_ID}): _OF_CLIENTS,
    frozenset({IP}): {CONNECTION_RATE: INT_MAX, CONNECTIONS: INT_MAX},
}
# Kept and shown: one process has no request threads to be a share of, and makes topics one by one.
WITHOUT_EFFECT: Final = frozenset({REQUEST_PERCENTAGE, MUTATION_RATE})

SAMPLES: Final = 11
SAMPLE_S: Final = 1.0
WINDOW_S: Final = (SAMPLES - 1) * SAMPLE_S  # the shortest that a rate is taken over
MUTE_S_MAX: Final = (2**31 - 1) / 1000  # as many ms as an answer can tell
# Entities that are measured: with a quota for whoever has none, client ids are as many as clients
# like. One that has waited longest to be looked at begins anew.
METERS_MAX: Final = 10_000
NAME_MAX: Final = 255  # characters that client ids are told apart by

Entity = tuple[tuple[str, str | None], ...]


class Meter:
    """What one entity has used in the latest samples."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[list[float]] = deque()  # each: when it began, and how much

    def add(self, amount: float, now: float) -> None:
        """Count this amount."""
        samples = self._samples
        while samples and now - samples[0][0] >= SAMPLES * SAMPLE_S:
            samples.popleft()
        if not samples or now - samples[-1][0] >= SAMPLE_S:
            samples.append([now, 0.0])
        samples[-1][1] += amount

    def used(self, now: float) -> float:
        """The amount used."""
        return sum(amount for began, amount in self._samples if now - began < SAMPLES * SAMPLE_S)

    def wait_s(self, limit: float, now: float) -> float:
        """The time until the rate is at most ``limit`` a second."""
        samples = self._samples
        if not samples:
            return 0.0
        elapsed = now - samples[0][0]
        # What a window lacks counts as used for nothing, in whole samples.
        window = elapsed + max(0, SAMPLES - 1 - int(elapsed / SAMPLE_S)) * SAMPLE_S
        used = sum(amount for _, amount in samples)
        return min(max(used / limit - window, 0.0), MUTE_S_MAX)


class _Match(NamedTuple):
    """The quota that applies to a client, and the meter that measures it."""

    limit: float
    meter: Meter


class Turned(NamedTuple):
    """The refusal of a connection."""

    why: str
    after_s: float  # that it is to be kept waiting before it is closed


class Kept(Protocol):
    """The source of stored quotas (``Access``)."""

    @property
    def version(self) -> int:
        """A number that rises with every change."""

    @property
    def quotas(self) -> Mapping[Entity, KeptQuota]: ...


class Quotas:
    """The quotas of one process. Rates: from any thread. Connections: in the sessions' thread."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._version = kept.version
        self._lock = threading.Lock()  # a worker answers very large fetches
        self._meters: OrderedDict[tuple[str, str | None, str | None], Meter] = OrderedDict()
        self._matches: dict[tuple[str, str, str], _Match | None] = {}
        self._there: dict[tuple[str, str], int] = {}  # connections, by kind and name

    # Rates

    def take(self, key: str, user: str, client_id: str, amount: float, now: float) -> float:
        """Count what a client has sent or will be sent; returns how many seconds it must wait."""
        if not self._kept.quotas:
            return 0.0
        with self._lock:
            match = self._match(key, user or NOBODY, client_id)
            if match is None:
                return 0.0
            match.meter.add(amount, now)
            return match.meter.wait_s(match.limit, now)

    def give_back(self, key: str, user: str, client_id: str, amount: float, now: float) -> None:
        """Undo a count, because nothing was sent."""
        with self._lock:
            match = self._match(key, user or NOBODY, client_id)
            if match is not None:
                match.meter.add(-amount, now)

    def used(self, key: str, user: str, client_id: str, now: float) -> float:
        """The recent amounts, for each entity with a quota."""
        with self._lock:
            match = self._match(key, user or NOBODY, client_id)
            return 0.0 if match is None else match.meter.used(now)

    def window(self, key: str, user: str, client_id: str) -> float | None:
        """The limit for a whole window: a larger amount at once would always be too much."""
        if not self._kept.quotas:
            return None
        with self._lock:
            match = self._match(key, user or NOBODY, client_id)
            return None if match is None else match.limit * WINDOW_S

    def _match(self, key: str, user: str, client_id: str) -> _Match | None:
        self._see_changes()
        asked = key, user, client_id[:NAME_MAX]
        if asked not in self._matches:
            if len(self._matches) >= METERS_MAX:
                self._matches.clear()
            self._matches[asked] = self._find(*asked)
        return self._matches[asked]

    def _see_changes(self) -> None:
        if self._version != self._kept.version:
            self._version = self._kept.version
            self._matches.clear()  # the meters stay: who was above the rate is above the new one

    def _find(self, key: str, user: str, client_id: str) -> _Match | None:
        for of_user, of_client in _PRECEDENCE:
            entity = _entity(_name(of_user, user), _name(of_client, client_id))
            limit = self._limit(entity, key)
            if limit is not None:
                # Each client to which a default applies has a meter of its own.
                measured = (
                    key,
                    None if of_user == _NOTHING else user,
                    None if of_client == _NOTHING else client_id,
                )
                return _Match(limit, self._meter(measured))
        return None

    def _limit(self, entity: Entity, key: str) -> float | None:
        quota = self._kept.quotas.get(entity)
        return None if quota is None else quota.values.get(key)

    def _meter(self, measured: tuple[str, str | None, str | None]) -> Meter:
        meter = self._meters.get(measured)
        if meter is None:
            while len(self._meters) >= METERS_MAX:
                self._meters.popitem(last=False)
            meter = self._meters[measured] = Meter()
        else:
            self._meters.move_to_end(measured)
        return meter

    # Connections

    def arrived(self, host: str, now: float) -> Turned | None:
        """Count a connection from this address until ``left``; None, or why it is refused."""
        if not self._kept.quotas:
            self._count(IP, host, 1)
            return None
        with self._lock:
            rate = self._limit_of(IP, host, CONNECTION_RATE)
            if rate is not None:
                meter = self._meter((CONNECTION_RATE, host, None))
                meter.add(1, now)
                wait_s = meter.wait_s(rate, now)
                if wait_s > 0:
                    meter.add(-1, now)
                    return Turned(f"{CONNECTION_RATE} of {host} is {rate:g}", wait_s)
            most = self._limit_of(IP, host, CONNECTIONS)
            if most is not None and self._there.get((IP, host), 0) >= most:
                return Turned(f"{CONNECTIONS} of {host} is {most:g}", 0.0)
        self._count(IP, host, 1)
        return None

    def left(self, host: str) -> None:
        """The connection is closed."""
        self._count(IP, host, -1)

    def enter(self, user: str) -> int | None:
        """Count a connection of a logged-in user until ``leave``; returns None, or the limit that
        the user has reached. Anonymous clients are not counted.
        """
        if not user:
            return None
        most = self._limit_of(USER, user, CONNECTIONS)
        if most is not None and self._there.get((USER, user), 0) >= most:
            return int(most)
        self._count(USER, user, 1)
        return None

    def leave(self, user: str) -> None:
        """The user's connection is closed, or belongs to another user now."""
        if user:
            self._count(USER, user, -1)

    def _limit_of(self, kind: str, name: str, key: str) -> float | None:
        own = self._limit(((kind, name),), key)
        return self._limit(((kind, None),), key) if own is None else own

    def _count(self, kind: str, name: str, more: int) -> None:
        count = self._there.get((kind, name), 0) + more
        if count > 0:
            self._there[kind, name] = count
        else:
            self._there.pop((kind, name), None)


class Seat:
    """A connection that counts towards its user's limit."""

    __slots__ = ("_closed", "_quotas", "_user")

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._user = ""
        self._closed = False

    def take(self, user: str) -> int | None:
        """Count for this user and no other; returns the limit if the user has reached it."""
        if user == self._user or self._closed:
            return None
        most = self._quotas.enter(user)
        if most is None:
            self._quotas.leave(self._user)
            self._user = user
        return most

    def leave(self) -> None:
        """Count for no user: it has logged out."""
        self.take("")

    def close(self) -> None:
        """The connection is closed; a login that is still being checked then has no effect."""
        self.leave()
        self._closed = True


# What an entity says of a user, or of a client id: this one; whoever has none of his own; nothing.
_NAME, _DEFAULT, _NOTHING = range(3)

# From the most particular on: what is said of the user, and of the client id (KIP-55).
_PRECEDENCE: Final = (
    (_NAME, _NAME),
    (_NAME, _DEFAULT),
    (_NAME, _NOTHING),
    (_DEFAULT, _NAME),
    (_DEFAULT, _DEFAULT),
    (_DEFAULT, _NOTHING),
    (_NOTHING, _NAME),
    (_NOTHING, _DEFAULT),
)
_Named = tuple[bool, str | None]  # whether it is part of the entity; None: the default


def _name(of: int, name: str) -> _Named:
    return of != _NOTHING, name if of == _NAME else None


def _entity(user: _Named, client_id: _Named) -> Entity:
    parts = ((CLIENT_ID, client_id), (USER, user))
    return tuple((kind, name) for kind, (there, name) in parts if there)
