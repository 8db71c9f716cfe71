"""Messages of QoS 2 from a client: each is accepted once, however often it arrives (4.3.3).

A message and its packet identifier are one batch of the journal, safe before PUBREC; the release of
the identifier is safe before PUBCOMP. So after a power cut, a message that arrives again is
recognised, and a new message is not mistaken for it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

from logstore.broker.mqtt.telling import Hands, Told, tell
from logstore.broker.queues.handovers import CAME, RELEASED, told_of
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError


class _Group:
    """Packet identifiers whose record is being written, and the callers that wait for it."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []

    def wait(self) -> Waiting:
        """One more who does."""
        waiting = Waiting()
        waiting.park()
        self.waiting.append(waiting)
        return waiting

    def done(self, error: LogstoreError | None) -> None:
        for it in self.waiting:
            it.unparked(None, 0, error)


class Released(NamedTuple):
    """Packet identifiers that a client has released."""

    pids: Sequence[int]
    waiting: Waiting | None  # what their PUBCOMP waits for
    known: bool  # whether they are of messages that were taken


class Arrivals:
    """The arriving messages of one session."""

    __slots__ = ("_before", "_coming", "_hands", "_known", "_lasts", "_releasing", "_session")

    def __init__(
        self, session: int, hands: Hands, *, lasts: bool, known: Iterable[int] = ()
    ) -> None:
        """``known``: the packet identifiers that the journal knows of it."""
        self._session = session
        self._hands = hands
        self._lasts = lasts
        self._known: set[int] = set(known)
        self._before = len(self._known)  # of earlier connections
        self._coming: dict[int, _Group] = {}
        self._releasing: dict[int, _Group] = {}

    def __len__(self) -> int:
        """Messages that are not released."""
        return len(self._known) + len(self._coming)

    def connected(self) -> None:
        """Another connection begins: what its client may leave unreleased begins anew."""
        self._before = len(self)

    @property
    def unreleased(self) -> int:
        """Messages of this connection that were taken, and not released."""
        return max(0, len(self) - self._before)

    def __contains__(self, pid: object) -> bool:
        """Whether a message with this packet identifier was taken, and is not released."""
        return pid in self._known or pid in self._coming

    def are_new(self, pids: Sequence[int]) -> bool:
        """Whether none of these was taken, and none is there twice."""
        those = set(pids)
        return (
            len(those) == len(pids)
            and self._known.isdisjoint(those)
            and self._coming.keys().isdisjoint(those)
        )

    def again(self, pid: int) -> Waiting | None:
        """One of these came again: what its PUBREC waits for; None: nothing."""
        group = self._coming.get(pid)
        return None if group is None else group.wait()

    def take(self, pids: Sequence[int], held: Transaction) -> Waiting:
        """Messages with these packet identifiers, which are new, are what ``held`` brings; what
        their PUBREC waits for. Where that fails they may come again.
        """
        group = _Group()
        waiting = group.wait()
        self._coming |= dict.fromkeys(pids, group)

        def came(error: LogstoreError | None) -> None:
            gone = _out_of(self._coming, group, pids)
            if error is None:
                self._known.update(gone)
            group.done(error)

        if self._lasts:
            held.remember(Told(self._session, told_of(CAME, sorted(pids))))
        self._hands.commit(held, came)
        return waiting

    def release(self, pids: Sequence[int]) -> list[Released]:
        """PUBREL: what these come to. Each of the pids is in one of them."""
        if len(set(pids)) == len(pids) and self._known.issuperset(pids):  # as nearly always
            return [Released(pids, self._release(pids), known=True)]
        found: list[Released] = []
        known, unknown, seen = [], [], set[int]()
        for pid in pids:
            if pid in seen:
                known.append(pid)
            elif pid in self:
                known.append(pid)
                seen.add(pid)
            elif (group := self._releasing.get(pid)) is not None:  # again, before that is safe
                found.append(Released((pid,), group.wait(), known=True))
            else:
                unknown.append(pid)
        if known:
            found.insert(0, Released(known, self._release(known), known=True))
        if unknown:
            found.append(Released(unknown, None, known=False))
        return found

    def _release(self, pids: Sequence[int]) -> Waiting | None:
        self._known.difference_update(pids)
        if self._coming:
            for pid in pids:
                self._coming.pop(pid, None)
        if not self._lasts:
            return None
        group = _Group()
        waiting = group.wait()
        self._releasing |= dict.fromkeys(pids, group)

        def released(error: LogstoreError | None) -> None:
            gone = _out_of(self._releasing, group, pids)
            if error is not None:
                self._known.update(gone)
            group.done(error)

        tell(self._hands, self._session, told_of(RELEASED, sorted(set(pids))), released)
        return waiting


def _out_of(those: dict[int, _Group], group: _Group, pids: Sequence[int]) -> Sequence[int]:
    """Take these out, one perhaps twice, as far as they are still of this group; which were."""
    gone = [pid for pid in pids if those.get(pid) is group]
    deque(map(those.pop, gone, repeat(None)), 0)
    return gone
