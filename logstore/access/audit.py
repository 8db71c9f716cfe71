"""Events for the audit log: who logged in, what was refused, who changed or removed what. Pure.

Anyone can cause logins and refusals as often as they like, so these are gathered: those of one
event, outcome, user and address within ten seconds become one record with a count. An event that
needs a right becomes a record at once; repetitions within ten seconds are counted. Beyond a hundred
events of one kind, user and address, one record holds many of them, each with its name. A peer
chooses the names of users and objects, so only a bounded number of names is told apart among
refusals.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct, field

from logstore.access.identity import Identity
from logstore.names import OWNER_NAME
from logstore.printable import printable

# Events
LOGIN: Final = "login"
ACCESS: Final = "access"  # to an object, asked for and refused
USER: Final = "user"  # made, changed or deleted; so are the next ones
RULE: Final = "rule"
PERMISSION: Final = "permission"
QUOTA: Final = "quota"
SETTINGS: Final = "settings"
VHOST: Final = "virtual-host"
TOPIC: Final = "topic"
RECORDS: Final = "records"  # of a topic, deleted; cancelled while they wait
GROUP: Final = "group"
TRANSACTION: Final = "transaction"  # of a Kafka client, aborted by somebody else
EXCHANGE: Final = "exchange"
QUEUE: Final = "queue"
POLICY: Final = "policy"
DEFINITIONS: Final = "definitions"  # taken, or given
CONNECTION: Final = "connection"  # ended by somebody else
SESSION: Final = "session"  # of an MQTT client, ended by somebody else
KEYS: Final = "keys"  # of Redis, deleted by other means than its commands
AUDIT: Final = "audit"  # of the audit log itself: what is missing from it

# Outcomes
DONE: Final = "done"
REFUSED: Final = "refused"

GATHER_MS: Final = 10_000
GATHERED_MAX: Final = 1000  # records of one such time; what is more is counted without names
USERS_MAX: Final = 10  # that one address may have tried and be told apart
WHATS_MAX: Final = 20  # objects that a record names
ACTS_MAX: Final = 100  # of one event, user and address, with a record each
CROWD_MAX: Final = 1000  # objects in one record of those that follow: 300 KB at the most
SHOWN_CHARACTERS: Final = 300  # of a name

NOT_TOLD: Final = Identity("", "")  # one of those that are more than are told apart
OWNED: Final = "data directory"  # the mechanism of its owner, who needs no user


def of_topic(name: str, given: Mapping[str, str], reset: Sequence[str]) -> str:
    """The description of a change of a topic's settings."""
    return _of("topic", name, given, reset)


def of_group(name: str, given: Mapping[str, str], reset: Sequence[str]) -> str:
    """The description of a change of a group's settings."""
    return _of("group", name, given, reset)


def _of(kind: str, name: str, given: Mapping[str, str], reset: Sequence[str]) -> str:
    changed = [f"{setting}={text}" for setting, text in given.items()]
    changed += [f"{setting} by default" for setting in reset]
    return f"of {kind} {name}: {', '.join(changed)}"


class Audit(Protocol):
    """Receives events, from any thread. No caller waits for it."""

    def tell(self, event: str, who: Identity, what: str = "", outcome: str = DONE) -> None:
        """``who``: for a refused login, the name that was tried; ``what``: for people."""


class Unheard:
    """An ``Audit`` that discards every event."""

    def tell(self, event: str, who: Identity, what: str = "", outcome: str = DONE) -> None: ...


class Entry(Struct):
    """The content of one record."""

    event: str
    outcome: str
    user: str
    host: str
    door: str
    mechanism: str
    first_ms: int
    last_ms: int
    count: int = 1
    what: dict[str, None] = field(default_factory=dict)

    def again(self, what: str, now_ms: int, whats_max: int = WHATS_MAX) -> None:
        self.first_ms = self.first_ms if self.count else now_ms
        self.last_ms = now_ms
        self.count += 1
        if what and len(self.what) < whats_max:
            self.what[what] = None

    def key(self) -> bytes:
        """The key of the record: the user."""
        return (self.user or self.host or "-").encode()

    def sentence(self) -> str:
        """One line for people."""
        who = [self.user or "nobody", f"at {self.host}" if self.host else ""]
        by = ", ".join(filter(None, (self.door, self.mechanism)))
        who.append(f"({by})" if by else "")
        what = f": {', '.join(self.what)}" if self.what else ""
        times = f", {self.count} times" if self.count > 1 else ""
        return f"{self.event} {self.outcome}: {' '.join(filter(None, who))}{what}{times}"

    def fields(self) -> dict[str, Any]:
        """The fields as JSON. Times in ms since 1970."""
        return {
            "event": self.event, "outcome": self.outcome, "user": self.user, "host": self.host,
            "door": self.door, "mechanism": self.mechanism, "what": list(self.what),
            "count": self.count, "first_ms": self.first_ms, "last_ms": self.last_ms,
        }  # fmt: skip


_Key = tuple[str, str, str, str, str]  # event, outcome, user, host, what


class Gathering:
    """Events that are counted and not written as a record yet."""

    def __init__(self) -> None:
        self._entries: dict[_Key, Entry] = {}
        self._acts: dict[_Key, int] = {}  # that have a record each, by all but what they did
        self._crowds: dict[_Key, Entry] = {}  # those that follow
        self._users: dict[str, set[str]] = {}  # of those who were refused, by address

    def __bool__(self) -> bool:
        """Whether ``take`` would return anything."""
        return bool(self._entries or self._crowds)

    def add(self, event: str, who: Identity, what: str, outcome: str, now_ms: int) -> Entry | None:
        """The entry to write immediately; None: the event is gathered."""
        what = _shown(what)
        if event == LOGIN or outcome == REFUSED:
            self._gather(event, who, what, outcome, now_ms)
            return None
        key = event, outcome, who.user, who.host, what
        if key in self._entries:
            self._entries[key].again(what, now_ms)
            return None
        kind = (*key[:4], "")
        self._acts[kind] = self._acts.get(kind, 0) + 1
        if self._acts[kind] > ACTS_MAX:
            return self._crowd(kind, who, what, now_ms)
        if len(self._entries) < GATHERED_MAX:  # what comes again is counted there
            self._entries[key] = entry_of(event, outcome, who, what, now_ms, count=0)
        return entry_of(event, outcome, who, what, now_ms)

    def _crowd(self, kind: _Key, who: Identity, what: str, now_ms: int) -> Entry | None:
        """One of very many events: joins a common record, which is returned once it is full."""
        crowd = self._crowds.get(kind)
        if crowd is None:
            self._crowds[kind] = entry_of(kind[0], kind[1], who, what, now_ms)
            return None
        crowd.again(what, now_ms, CROWD_MAX)
        return self._crowds.pop(kind) if len(crowd.what) >= CROWD_MAX else None

    def _gather(self, event: str, who: Identity, what: str, outcome: str, now_ms: int) -> None:
        if outcome == REFUSED:
            who = self._told_apart(who)
        key = event, outcome, who.user, who.host, ""
        if key not in self._entries and len(self._entries) >= GATHERED_MAX:
            who, key = NOT_TOLD, (event, outcome, "", "", "")
        if key in self._entries:
            self._entries[key].again(what, now_ms)
        else:
            self._entries[key] = entry_of(event, outcome, who, what, now_ms)

    def _told_apart(self, who: Identity) -> Identity:
        users = self._users.get(who.host, ())
        if who.user in users:
            return who
        if len(users) >= USERS_MAX or len(self._entries) >= GATHERED_MAX:
            return Identity("", who.host)
        self._users[who.host] = {*users, who.user}
        return who

    def take(self) -> Sequence[Entry]:
        """All gathered entries, in the order in which they began; none is left."""
        entries = [*self._entries.values(), *self._crowds.values()]
        self._entries, self._crowds, self._acts, self._users = {}, {}, {}, {}
        return [it for it in entries if it.count]


def entry_of(
    event: str, outcome: str, who: Identity, what: str, now_ms: int, count: int = 1
) -> Entry:
    """The entry for one event."""
    mechanism, what = OWNED if who.owner else who.mechanism, _shown(what)
    user = OWNER_NAME if who.owner else _shown(who.user)
    return Entry(
        event, outcome, user, _shown(who.host), who.door, mechanism, now_ms, now_ms,
        count, {what: None} if what else {},
    )  # fmt: skip


def _shown(text: str) -> str:
    return printable(text[:SHOWN_CHARACTERS])
