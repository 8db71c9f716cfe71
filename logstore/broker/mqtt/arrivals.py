"""Messages of QoS 2 that a client sends: each is taken once, however often it comes (4.3.3).

A message and its packet identifier are one batch of the journal, safe before PUBREC; that the
identifier may be used again is safe before PUBCOMP. So whatever is lost at a power cut, a message
that comes again is known, and one that is new is not taken for it.
"""

from collections.abc import Iterable, Sequence

from logstore.broker.mqtt.telling import Hands, Told, tell
from logstore.broker.queues.handovers import CAME, RELEASED, told_of
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError


class _Group:
    """Packet identifiers whose record is on its way, and who waits for that."""

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


class Arrivals:
    """Of one session."""

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
        self._before = len(self._known)

    @property
    def unreleased(self) -> int:
        """Messages of this connection that were acknowledged, and not released."""
        return max(0, len(self._known) - self._before)

    def __contains__(self, pid: object) -> bool:
        """Whether a message with this packet identifier was taken, and is not released."""
        return pid in self._known or pid in self._coming

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
            for pid in pids:
                if self._coming.get(pid) is group:
                    del self._coming[pid]
                    if error is None:
                        self._known.add(pid)
            group.done(error)

        if self._lasts:
            held.remember(Told(self._session, told_of(CAME, pids)))
        self._hands.commit(held, came)
        return waiting

    def release(self, pids: Sequence[int]) -> tuple[Waiting | None, set[int]]:
        """PUBREL: what the PUBCOMPs wait for, and which of them are of nothing that is known."""
        known = [it for it in pids if it in self]
        others = {it for it in pids if it not in self}
        waiting: Waiting | None = None
        for group in {self._releasing[it] for it in others if it in self._releasing}:
            waiting = group.wait()  # they are told in their order: the last one is the latest
        others -= self._releasing.keys()
        if known:
            waiting = self._release(known)
        return waiting, others

    def _release(self, pids: Sequence[int]) -> Waiting | None:
        for pid in pids:
            self._known.discard(pid)
            self._coming.pop(pid, None)
        if not self._lasts:
            return None
        group = _Group()
        waiting = group.wait()
        self._releasing |= dict.fromkeys(pids, group)

        def released(error: LogstoreError | None) -> None:
            for pid in pids:
                if self._releasing.get(pid) is group:
                    del self._releasing[pid]
                    if error is not None:
                        self._known.add(pid)
            group.done(error)

        tell(self._hands, self._session, told_of(RELEASED, pids), released)
        return waiting
