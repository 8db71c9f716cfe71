"""What all Redis sessions of a node share."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from logstore.access.access import ADMINISTRATOR, Access, open_access
from logstore.access.audit import Audit, Unheard
from logstore.access.identity import Identity, anonymous
from logstore.access.logins import Logins, Nobody
from logstore.access.refusals import Refusals
from logstore.broker.channel import Channels
from logstore.budget import BUDGET_BYTES_MAX, Budget
from logstore.counts.doors import DoorCounts
from logstore.kept.users import KeptUser
from logstore.protocols import session
from logstore.protocols.house import KeepSettings, Work, no_file
from logstore.protocols.resp.acl_log import AclLog
from logstore.protocols.resp.lately import Lately
from logstore.slices import GoOn, Slices, Steps
from logstore.turns import Turns
from logstore.usage import Usage, measure

if TYPE_CHECKING:  # imported when the first client comes, or there are keys
    from logstore.broker.keys.keys import Keys
    from logstore.protocols.resp.onlookers.onlookers import Onlookers
    from logstore.protocols.resp.scripts.loaded import Loaded
    from logstore.protocols.resp.whole import WholeRequests

# Clients choose commands by it: 7.2 is the first version with CLIENT SETINFO.
REDIS_VERSION: Final = "7.2.0"
DEFAULT_USER: Final = "default"  # Redis's name for a client that has not logged in
TOO_MANY: Final = b"-ERR max number of clients reached\r\n"

DENIED: Final = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password "
    b"is set for the default user. In this mode connections are only accepted from the loopback "
    b"interface. If you want to connect from external computers, do one of these: 1) set up users "
    b"on the machine of the server, with 'logstore user add'; 2) set a password for the default "
    b"user, with 'ACL SETUSER default >PASSWORD'; 3) start the server with --insecure, if you are "
    b"sure that nobody else can reach it.\r\n"
)
_LOCAL: Final = frozenset({"", "::1"})

_UNITS: Final = {
    "": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3,
    "gb": 1 << 30,
}  # fmt: skip


def memory(text: str) -> int | None:
    """Bytes, from the notation of Redis's configuration: ``32mb``, ``1g``, ``512``."""
    found = re.fullmatch(r"(\d{1,18})([a-z]{0,2})", text.lower(), re.ASCII)
    if found is None or found[2] not in _UNITS:
        return None
    return int(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True, slots=True)
class Unread:
    """How much a subscriber may leave unread; 0: no limit."""

    hard: int  # bytes; over this it is cut off at once
    soft: int  # over this it is cut off if it stays so
    soft_s: int

    @classmethod
    def parse(cls, text: str) -> "Unread | None":
        """Parse ``32mb 8mb 60``; None if the text has another form."""
        words = text.split()
        if len(words) != 3 or not words[2].isdigit():
            return None
        hard, soft = memory(words[0]), memory(words[1])
        return None if hard is None or soft is None else cls(hard, soft, int(words[2]))


@dataclass(slots=True)
class RespLimits:
    """Limits that CONFIG SET may change while the server runs."""

    crowd: session.Limits
    bulk_bytes_max: int
    value_bytes_max: int  # of a stored key, string or element
    pubsub: Unread


class Flow(NamedTuple):
    """Counters of the door's connections since the server started."""

    bytes_out: int
    refused: int  # connections that were not let in


NO_FLOW: Final = Flow(0, 0)


class KeyCounts(NamedTuple):
    """Counters of keys since the server started."""

    hits: int = 0
    misses: int = 0
    expired: int = 0
    evicted: int = 0


NO_COUNTS: Final = KeyCounts()


@dataclass(slots=True)
class Counts:
    """Counters for INFO; CONFIG RESETSTAT resets them."""

    connections: int = 0
    commands: int = 0
    bytes_in: int = 0
    cut_off: int = 0  # subscribers that read too slowly
    published: int = 0  # commands that went the quick way, past ``calls``
    executed: int = 0  # commands that went through ``calls``
    calls: dict[str, int] = field(default_factory=dict)  # by the command's name
    before: Flow = NO_FLOW  # what had flowed when these were set back
    keys_before: KeyCounts = NO_COUNTS  # likewise
    errors: dict[str, int] = field(default_factory=dict)  # replies, by their code
    denied: dict[str, int] = field(default_factory=dict)  # by the kind of refusal


@dataclass(slots=True)
class Facts:
    """The facts about the process that INFO reports."""

    process_id: int
    store_id: str
    path: str
    turns: Turns = field(default_factory=Turns)
    usage: Callable[[], Usage] = measure


def without_password(user: KeptUser) -> bool:
    """Whether the user can log in with any password; never true for an administrator."""
    if user.redis is None or ADMINISTRATOR in user.tags:
        return False
    from logstore.access.redis_grants import compiled  # few have such rules

    return compiled(user.redis).rules.nopass


class OneByOne:
    """Lets one task at a time enter; the others wait in their order."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: deque[GoOn] = deque()

    def enter(self, go_on: GoOn) -> None:
        """Call back now, or when earlier callers are done."""
        if self._busy:
            self._waiting.append(go_on)
        else:
            self._busy = True
            go_on(None)

    def leave(self) -> None:
        if self._waiting:
            self._waiting.popleft()(None)
        else:
            self._busy = False


@dataclass
class RespDoor:
    """The channels, limits and counters of the door."""

    channels: Channels
    limits: RespLimits
    facts: Facts
    clock: Callable[[], int]  # ms since 1970
    work: Work  # takes what may take long
    open_keys: "Callable[[], Keys]"  # those of the node, which are there when they are asked for
    slices: Slices = field(default_factory=Slices)
    budget: Budget = field(default_factory=lambda: Budget(BUDGET_BYTES_MAX))
    access: Access = field(default_factory=open_access)
    logins: Logins = field(default_factory=Nobody)
    refusals: Refusals | None = None  # shown in the server's log
    audit: Audit = field(default_factory=Unheard)
    keep_settings: KeepSettings = no_file
    changed_settings: set[str] = field(default_factory=set)  # Redis's names, by CONFIG SET
    protected: bool = False  # other machines need a password
    name: str = "resp"
    acl_log: AclLog = field(default_factory=AclLog)
    changes: OneByOne = field(default_factory=OneByOne)  # of users, made here
    started_ms: int = 0
    counts: Counts = field(default_factory=Counts)
    totals: DoorCounts = field(default_factory=DoorCounts)  # never reset
    flow: Callable[[], Flow] = lambda: NO_FLOW
    lately: Lately = field(default_factory=Lately)
    paused_until: float = 0.0  # of the sessions' clock
    paused_all: bool = False  # otherwise only publishing clients
    whole: "WholeRequests | None" = None  # one is enough for all
    _next_number: int = 1
    _scripts: "Loaded | None" = None

    def __post_init__(self) -> None:
        self.started_ms = self.clock()

    @cached_property
    def keys(self) -> "Keys":
        """All keys and values."""
        return self.open_keys()

    @cached_property
    def onlookers(self) -> "Onlookers":
        """The clients to notify when keys change."""
        from logstore.protocols.resp.onlookers.onlookers import Onlookers

        def in_parts(steps: Steps, done: GoOn) -> None:
            def ended(result: object) -> None:
                with self.channels.lock:
                    done(result)

            self.slices.begin(self._locked(steps), ended)

        return Onlookers(self.keys, self.channels, in_parts)

    def _locked(self, steps: Steps) -> Steps:
        """Run steps, none of which waits, each with the channels' lock."""
        while True:
            with self.channels.lock:
                try:
                    units = next(steps)
                except StopIteration as end:
                    return end.value
            assert isinstance(units, int)
            yield units

    @property
    def scripts(self) -> "Loaded":
        """The scripts that EVALSHA knows."""
        if self._scripts is None:
            from logstore.protocols.resp.scripts.loaded import Loaded

            self._scripts = Loaded()
        return self._scripts

    def set_back(self) -> None:
        """Reset the counts, as CONFIG RESETSTAT does."""
        databases = self.keys.databases
        keys = KeyCounts(
            *(sum(getattr(it, name) for it in databases) for name in KeyCounts._fields)
        )
        self.counts = Counts(before=self.flow(), keys_before=keys)
        self.lately = Lately()

    def pause(self, until: float, *, everyone: bool) -> None:
        """Delay all commands, or publishing commands, for a while; a longer pause stays in
        force.
        """
        self.paused_until = max(self.paused_until, until)
        self.paused_all = self.paused_all or everyone

    def resume(self) -> None:
        """End the pause. The caller must wake delayed clients."""
        self.paused_until, self.paused_all = 0.0, False

    def newcomer(self, host: str) -> Identity:
        """The identity of a new connection: none, or the default user if it needs no password."""
        if self._default_is_free() and not self.denies(host):
            return Identity(DEFAULT_USER, host, "", self.name)
        return anonymous(host, self.name)

    def denies(self, host: str) -> bool:
        """Redis's protected mode: whether a connection from this host is refused without a
        password.
        """
        if not self.protected or host.startswith("127.") or host in _LOCAL:
            return False
        return not self.access.required or self._default_is_free()

    def _default_is_free(self) -> bool:
        user = self.access.users.get(DEFAULT_USER)
        return user is not None and without_password(user) and self.logins.admits(DEFAULT_USER)

    def next_number(self) -> int:
        number, self._next_number = self._next_number, self._next_number + 1
        return number
