"""Facts about a data directory, the machine, and the process that serves it or would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from logstore.owner import Owner
from logstore.platforms import Rule
from logstore.settings import StoreSettings


class Mount(NamedTuple):
    """The file system that a path is on."""

    type: str  # as /proc/self/mountinfo has it; "" where that can't be told
    point: str
    options: frozenset[str]


class Room(NamedTuple):
    """The space of a file system for ordinary users."""

    total_bytes: int
    free_bytes: int
    files: int  # that there can be; 0: as many as there is room for
    files_free: int


@dataclass(frozen=True, slots=True)
class Place:
    """The facts about the directory."""

    path: str
    kind: str  # store, bare, empty, absent, foreign, file; or unreadable
    mount: Mount
    room: Room | None
    trouble: str = ""  # why it can't be looked into
    writable: bool = True
    mode: int = 0o700
    uid: int = 0
    newest_ms: int = 0  # when a file of it was last written
    owner: Owner | None = None  # the process that writes it
    number_taken: bool = False  # by another pid namespace's process, at its catalogue
    settled: bool = True  # the last writer closed it
    schema: int | None = None
    schema_here: int = 0  # that this version writes
    oldest_reader: tuple[int, int] | None = None  # process number, commits behind
    leftovers: Sequence[str] = ()
    upkeep_failures: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts about the machine, and its limits for this process."""

    version: str
    python: str
    kernel: str  # its release
    uid: int
    now_ms: int
    clock_synchronized: bool | None  # None: that can't be told
    clocksource: str
    files_limit: int  # descriptors that a server may have, and
    files_open: int  # has now
    file_bytes_limit: int | None  # of one file; None: no limit
    memory_bytes: int
    container: bool = False
    system: str = "Linux"
    lacks: Sequence[Rule] = ()  # what it does without


@dataclass(frozen=True, slots=True)
class Reached:
    """From where the server can be reached."""

    addresses: Mapping[str, str]  # host:port, by the entrance's name
    users: bool
    unresolved: Sequence[str] = ()  # hosts that clients are told, and nobody finds
    certificate_doubts: Sequence[str] = ()
    certificate_trouble: str = ""
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    place: Place
    machine: Machine
    reached: Reached
    settings: StoreSettings = field(default_factory=StoreSettings)
    settings_trouble: str = ""  # why they can't be had; then these are the defaults
    served: bool = False  # the facts are of a server, which has them as it runs
    syncs_us: Sequence[int] = ()  # what writing 4 KiB and a sync took; where that was tried
