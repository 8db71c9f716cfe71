"""The requests of a group member to its coordinator, one after another, and when the next is due.

Common to members with an assigning coordinator (``group_member.py``) and members that assign
themselves (``classic_member.py``): these decide the next request and interpret each reply.
"""

from collections.abc import Callable, Set
from random import Random
from typing import Any, Final, Protocol

from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Alarm, Around
from logstore.cluster.coordinators import GroupCoordinator
from logstore.cluster.kinds import Kind
from logstore.errors import LogstoreError, NotSpoken

REBALANCE_MS: Final = 10_000  # to give up what is to be another's, before the group goes on without
ANSWER_S: Final = 3.0
LEAVE_S: Final = 2.0
INTERVAL_S: Final = 1.0  # of heartbeats, where the coordinator does not say another one
SLOWLY_S: Final = 10.0  # at the most, between tries of what somebody has to change at the cluster

LOADING: Final = 14
NO_COORDINATOR: Final = frozenset({15, 16})
OTHER_PROTOCOL: Final = frozenset({23, 35, 69})  # of the group, or of the whole cluster


class Told(Protocol):
    """The owner of a member, which is told of its assignment and asked for its state."""

    @property
    def held(self) -> frozenset[int]:
        """The partitions that this node holds, including those that it has not given up yet."""

    def heard_of(self, said_at: float, *, anew: bool) -> None:
        """The group has answered the request of that time. ``anew``: it did not know the member."""

    def clock(self) -> float:
        """Seconds of a clock that also runs while the process is stopped."""

    def assign(self, numbers: Set[int]) -> None:
        """The node should own these partitions."""

    def confirm(self) -> None:
        """The last assignment is still valid."""

    def refuse(self, why: LogstoreError) -> None:
        """The protocol is not available: the membership has ended."""


class Steps:
    """The requests of one membership. Used in one thread."""

    def __init__(
        self,
        coordinator: GroupCoordinator,
        told: Told,
        around: Around,
        random: Random,
        step: Callable[[], None],
        viewed: Callable[[], None],
    ) -> None:
        """``step`` sends the next request; the first is due. ``viewed``: called when the view has
        changed.
        """
        self.failure: LogstoreError | None = None  # of what was asked last
        self.said_at = 0.0  # what is not answered yet, or was answered last
        self.asking = self.over = False
        self._coordinator = coordinator
        self._told = told
        self._around = around
        self._step = step
        self._backoff = Backoff(random)
        self._slowly = Backoff(random, 1.0, SLOWLY_S)
        self._alarm: Alarm | None = None
        self._stop = coordinator.brokers.watch(viewed)
        self.due_in(0)

    def due_in(self, seconds: float) -> None:
        """Send the next request after this time, and no earlier."""
        if self.over:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._around.call_at(self._around.now() + seconds, self._due)

    def _due(self) -> None:
        if not (self.over or self.asking):
            self._step()

    def ask(
        self,
        kind: Kind,
        request: Any,  # noqa: ANN401
        then: Callable[[Any], None],
        refused: Callable[[Any], None],
        seconds: float = ANSWER_S,
    ) -> None:
        """``then`` gets the reply, ``refused`` a reply with an error code."""
        self.asking, self.said_at = True, self._told.clock()

        def answered(answer: Any) -> None:  # noqa: ANN401
            self.asking = False
            if self.over:
                return
            if isinstance(answer, NotSpoken):
                self.end(answer)
            elif isinstance(answer, LogstoreError):
                self.again(answer)
            elif answer.error_code:
                refused(answer)
            else:
                self.failure = None
                self._backoff.succeeded()
                self._slowly.succeeded()
                then(answer)

        self._coordinator.ask(kind, request, answered, seconds)

    def again(self, why: LogstoreError, *, slowly: bool = False) -> None:
        """Try again after a wait; ``slowly``: somebody must change something first."""
        self.failure = why
        self.due_in((self._slowly if slowly else self._backoff).failed())

    def end(self, why: LogstoreError) -> None:
        """The protocol is not available."""
        self._close()
        self._told.refuse(why)

    def _close(self) -> None:
        self.over = True
        self._stop()
        if self._alarm is not None:
            self._alarm.cancel()

    def leave(self, kind: Kind, request: Any, then: Callable[[], None]) -> None:  # noqa: ANN401
        """Send the last request, or none; ``then`` is called after the reply, or when it takes too
        long.
        """
        self._close()
        if request is None:
            then()
        else:
            self._coordinator.ask(kind, request, lambda _: then(), LEAVE_S)
