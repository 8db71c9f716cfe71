"""What all HTTP sessions of a node share: what its routes look at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from logstore.access.access import Access
from logstore.access.audit import Audit, Unheard
from logstore.access.logins import Logins
from logstore.log import Log
from logstore.protocols.house import House, Job, QueuesOf, Work
from logstore.protocols.http.listeners import Listeners
from logstore.slices import Slices


@dataclass(frozen=True, slots=True)
class HttpDoor:
    """Models, and facts about the process."""

    queues_of: QueuesOf
    facts: Callable[[], Mapping[str, object]]  # of the process: version, number, doors
    job: Job  # has upkeep do what another process asks for
    log_bytes: Callable[[Log], int]  # of the files of a queue's log
    access: Access
    logins: Logins
    work: Work
    keeps_history: Callable[[str], bool] = lambda name: False  # whether it is such a channel's
    audit: Audit = field(default_factory=Unheard)
    stopwatch: Callable[[], float] = lambda: 0.0  # seconds; standing still: nothing takes long
    slices: Slices = field(default_factory=Slices)  # of what takes long and needs this thread
    listeners: Listeners = field(default_factory=Listeners)  # to events

    @classmethod
    def of(cls, house: House) -> "HttpDoor":
        return cls(
            house.queues_of, house.facts, house.job, house.log_bytes,
            house.access, house.logins, house.work, house.channels.keeps_history, house.audit,
            house.stopwatch, house.slices,
        )  # fmt: skip
