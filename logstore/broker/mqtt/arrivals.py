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
        """Add a waiter for this group and return its parked Waiting."""
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
        """``known``: the unreleased packet identifiers that the journal has of the session."""
        self._session = session
        self._hands = hands
        self._lasts = lasts
        self._known: set[int] = set(known)
        self._before = len(self._known)  # of earlier connections
        self._coming: dict[int, _Group] = {}
        self._releasing: dict[int, _Group] = {}

    def __len__(self) -> int:
        """The number of messages that are not released."""
        return len(self._known) + len(self._coming)

    def connected(self) -> None:
        """Begin a new connection: the count of ``unreleased`` restarts at 0."""
        self._before = len(self)

    @property
    def unreleased(self) -> int:
        """The number of messages that this connection has sent and not released."""
        return max(0, len(self) - self._before)

    def __contains__(self, pid: object) -> bool:
        """Whether a message with this packet identifier was received and is not released."""
        return pid in self._known or pid in self._coming

    def are_new(self, pids: Sequence[int]) -> bool:
        """Whether the packet identifiers are distinct and none of them is unreleased."""
        those = set(pids)
        return (
            len(those) == len(pids)
            and self._known.isdisjoint(those)
            and self._coming.keys().isdisjoint(those)
        )

    def again(self, pid: int) -> Waiting | None:
        """Return what the PUBREC of a message sent again waits for; None: it waits for nothing."""
        group = self._coming.get(pid)
        return None if group is None else group.wait()

    def take(self, pids: Sequence[int], held: Transaction) -> Waiting:
        """Register new packet identifiers, whose messages the transaction ``held`` stores.

        Returns what their PUBREC waits for. If the transaction fails the client may send them
        again.
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
        """Handle PUBREL: return the outcome for these identifiers. Each is in one entry."""
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
    """Remove the identifiers that still belong to this group, and return them.

    An identifier may be given twice.
    """
    gone = [pid for pid in pids if those.get(pid) is group]
    deque(map(those.pop, gone, repeat(None)), 0)
    return gone
