"""Whether this node may still deliver from its partitions: only after recent group contact.

The fence keeps two nodes from appending, and a node keeps its partitions although heartbeats fail.
But a node that was frozen or is cut off would deliver messages that the next owner has already
delivered, or that were settled there. So a node without contact to the group for the session
timeout checks first: it appends a beat, which is refused if another node has claimed the partition.

No check is made while heartbeats are answered. The clock used here advances while the process is
stopped.
"""

from collections.abc import Callable
from typing import Final, Protocol

from logstore.cluster.membership import SESSION, WANTED_MS
from logstore.cluster.takeover import Takeover
from logstore.errors import LogstoreError

HEARD_S: Final = WANTED_MS[SESSION] / 1000 - 1  # a second less than the group waits
ASKED_S: Final = 1.0  # so long a beat holds; what is given out then is under way


class Group(Protocol):
    """What is known about the node's contact with the group."""

    @property
    def heard_at(self) -> float:
        """The time of the last request that the group has answered."""

    @property
    def joined_at(self) -> float:
        """The time at which the node joined, or rejoined after the group had removed it."""


class Standing:
    """The right to deliver, for one takeover that owns its partition. Used in one thread."""

    def __init__(
        self,
        takeover: Takeover,
        group: Group,
        clock: Callable[[], float],
        soon: Callable[[Callable[[], object]], object],
    ) -> None:
        """``clock``: seconds of the clock that ``group`` uses."""
        assert takeover.log is not None
        self._takeover = takeover
        self._log = takeover.log
        self._group = group
        self._clock = clock
        self._soon = soon
        self._proved_at = takeover.joined_at  # the claim came later
        self._asked_at = 0.0
        self._mark: int | None = None  # of the beat that is under way
        self._waiting: dict[Callable[[], object], None] = {}
        self._stop = self._log.watch(self._news)

    @property
    def sure(self) -> bool:
        """Whether this node still owns the partition, as far as can be known."""
        now, group = self._clock(), self._group
        if now < self._proved_at + ASKED_S:
            return True
        return now < group.heard_at + HEARD_S and group.joined_at <= self._proved_at

    def ask(self, then: Callable[[], object]) -> None:
        """Make sure; ``then`` is called if ownership is confirmed."""
        self._waiting[then] = None
        if self._mark is None:
            self._ask()

    def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            self._mark = self._takeover.say_beat()
        except LogstoreError:
            return  # it is lost, or so much is under way that news of that is to come

    def _news(self) -> None:
        self._soon(self._look)

    def _look(self) -> None:
        if not self._waiting:
            return
        if self._mark is None:
            self._ask()
        elif self._log.done > self._mark:
            self._proved_at, self._mark = self._asked_at, None
            waiting, self._waiting = self._waiting, {}
            for then in waiting:
                then()

    def close(self) -> None:
        """The partition is no longer owned."""
        self._waiting.clear()
        self._stop()
