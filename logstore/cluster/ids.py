"""Numbers of facts, unique among all nodes: blocks that begin with a producer id of the cluster.

The cluster gives each producer id only once, and this process requests ids only for their
uniqueness. A few blocks are requested ahead, because a new fact needs its number immediately. The
objects that each virtual host has from the start may be created by several nodes and must be the
same, so their numbers are computed from the number of the host.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from logstore.cluster.backoff import Backoff
from logstore.cluster.identity import Identity, Then
from logstore.errors import ClusterUnreachable, Failed, LogstoreError

BLOCK_BITS: Final = 20
CHECK_BITS: Final = 32
AHEAD: Final = 2  # blocks that are here beside the one that is used
LEFT_LEAST: Final = 1024  # numbers with which anything may be begun that needs some
TRIES: Final = 8  # some 4 s: a broker that has just begun has no producer ids itself (error 14)
DEFAULT_HOST: Final = 1  # below all blocks: the number of the host ``/``
WITHIN: Final = 1 << 61  # above all blocks: numbers that are worked out
PLACE_BITS: Final = 4
_HOST_MOST: Final = (WITHIN >> PLACE_BITS) - 1
assert (WITHIN | _HOST_MOST << PLACE_BITS) < 1 << 62


class Ids:
    """The ``Numbers`` of a cluster. Used in one thread."""

    def __init__(
        self,
        ask: Callable[[Then], None],
        again_after: Callable[[float, Callable[[], object]], object],
        backoff: Backoff,
    ) -> None:
        """``ask``: as ``Identities.anybody``. ``again_after`` makes a call after a while."""
        self._ask = ask
        self._again_after = again_after
        self._backoff = backoff
        self._next = self._end = 0
        self._blocks: deque[int] = deque()  # not begun
        self._asking = False
        self._failure: LogstoreError | None = None  # why the last that was asked for did not come
        self._failed = 0  # so often, one after the other
        self._waiting: list[Callable[[LogstoreError | None], object]] = []

    def begin(self, then: Callable[[LogstoreError | None], object]) -> None:
        """``then`` is called once there are numbers, or with the error after repeated attempts."""
        self._waiting.append(then)
        self._fill()

    def check(self) -> None:
        """As Numbers.check."""
        if not self._blocks and self._end - self._next < LEFT_LEAST:
            self._fill()
            why = self._failure or "it is being asked for some"
            raise ClusterUnreachable(f"the cluster has no producer ids left: {why}")

    def next(self) -> int:
        """As Numbers.next."""
        if self._next == self._end:
            if not self._blocks:
                self.check()
            self._next = self._blocks.popleft()
            self._end = self._next + (1 << BLOCK_BITS)
            self._fill()
        self._next += 1
        return self._next - 1

    def within(self, vhost: int, place: int) -> int:
        """As Numbers.within."""
        assert 0 < vhost <= _HOST_MOST
        assert 0 <= place < 1 << PLACE_BITS
        return WITHIN | vhost << PLACE_BITS | place

    def _fill(self) -> None:
        if not self._asking and len(self._blocks) < AHEAD:
            self._asking = True
            self._ask(self._given)

    def _given(self, found: Identity | LogstoreError) -> None:
        self._asking = False
        if isinstance(found, Identity):
            start = (_counted(found.pid) + 1) << BLOCK_BITS
            if 0 < start <= _HOST_MOST - (1 << BLOCK_BITS):
                self._backoff.succeeded()
                self._failure, self._failed = None, 0
                self._blocks.append(start)
                self._tell(None)
                self._fill()
                return
            found = Failed(f"the cluster gives the producer id {found.pid}, which is too large")
        self._failure = found
        self._failed += 1
        if self._failed >= TRIES or not isinstance(found, ClusterUnreachable):
            self._tell(found)
        self._again_after(self._backoff.failed(), self._fill)

    def _tell(self, error: LogstoreError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(error)


def _counted(pid: int) -> int:
    """The number in a producer id: clusters count; this program's own ids have a check value in the
    lower half.
    """
    return pid >> CHECK_BITS or pid
