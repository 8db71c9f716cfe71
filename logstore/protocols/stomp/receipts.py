"""Receipts that a client waits for: each is sent, in order, once its frame's effect is safe.

A receipt means that all earlier frames were handled, too (1.2, "RECEIPT"). Here it also means that
they are safe, so that one receipt at the end of a batch, or for DISCONNECT, confirms everything.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from logstore.broker.queues.pending import Pending, Waiting
from logstore.counts.publishes import AmqpCounts
from logstore.errors import LogstoreError
from logstore.log import Wake
from logstore.stomp.faults import StompFault

RECEIPT_BYTES: Final = 200  # of one that is waited for, beside its id
UNWATCHED_MAX: Final = 64  # runs without receipts; then their logs are synced


class Unsent(Exception):
    """A receipt that cannot be sent."""

    def __init__(self, id: str | None, error: LogstoreError) -> None:
        super().__init__(id, error)
        self.id, self.error = id, error


class Run:
    """Messages that are published together."""

    __slots__ = ("ids", "refused", "waiting")

    def __init__(self, ids: Sequence[tuple[int, str]]) -> None:
        """``ids``: of receipts, with the numbers of their messages."""
        self.ids = ids
        self.waiting: Waiting | None = None  # once they are published
        self.refused: Collection[int] = ()  # numbers of messages that a full queue refused

    @property
    def ready(self) -> bool:
        return self.waiting is not None and self.waiting.settled()

    @property
    def held_bytes(self) -> int:
        return RECEIPT_BYTES + sum(RECEIPT_BYTES + len(id) for _, id in self.ids)

    def said(self) -> Iterator[str]:
        """Raises Unsent."""
        failed = None if self.waiting is None else self.waiting.failed
        for number, id in self.ids:
            if failed is not None:
                raise Unsent(id, failed)
            if number in self.refused:
                raise Unsent(id, StompFault("Message refused", "a queue has no room for it"))
            yield id

    def watch(self, wake: Wake) -> None:
        if self.waiting is not None and not self.waiting.settled():
            self.waiting.watch(wake)

    def close(self) -> None:
        if self.waiting is not None:
            self.waiting.close()


class Slot:
    """The slot of a frame that completes later."""

    __slots__ = ("_error", "_wake", "ids", "ready")

    def __init__(self, ids: Sequence[str], wake: Wake) -> None:
        """``ids``: of the frame's receipt, after those that were held back for the frame."""
        self.ready = False
        self.ids = ids
        self._wake = wake
        self._error: LogstoreError | None = None

    def done(self, error: LogstoreError | None = None) -> None:
        """The frame is carried out, or has failed."""
        self.ready, self._error = True, error
        self._wake()

    def when(self, pending: Pending | None) -> None:
        """The frame is carried out when ``pending`` is stored; now if it is None."""
        if pending is None:
            self.ready = True
        else:
            pending.then(lambda it: self.done(it.error))

    @property
    def held_bytes(self) -> int:
        return RECEIPT_BYTES + sum(RECEIPT_BYTES + len(id) for id in self.ids)

    def said(self) -> Iterator[str]:
        """Raises Unsent."""
        if self._error is not None:
            raise Unsent(self.ids[-1] if self.ids else None, self._error)
        yield from self.ids

    def watch(self, wake: Wake) -> None:
        pass

    def close(self) -> None:
        pass


class Receipts:
    """The receipts of one connection."""

    __slots__ = (
        "_counts", "_due", "_unwatched", "_wake", "held_bytes",
    )  # fmt: skip

    def __init__(self, wake: Wake, counts: AmqpCounts) -> None:
        self._wake = wake
        self._counts = counts
        self._due: deque[Run | Slot] | None = None  # made for the first: it takes 600 bytes
        self._unwatched = 0  # runs that nobody waits for
        self.held_bytes = 0

    def __bool__(self) -> bool:
        """Whether any receipt is to be sent."""
        return any(it.ids for it in self._due or ())

    @property
    def unconfirmed(self) -> int:
        """The number of receipts to be sent."""
        return sum(len(it.ids) for it in self._due or ())

    def run(self, ids: Sequence[tuple[int, str]]) -> Run:
        """Add messages that are about to be published; without ids, to keep later receipts in
        order.
        """
        run = Run(ids)
        self._add(run)
        return run

    def published(self, run: Run, waiting: Waiting, refused: Collection[int]) -> None:
        """The messages of a run are published."""
        run.waiting, run.refused = waiting, refused
        if run.ids or self._unwatched >= UNWATCHED_MAX:
            self._watch()
        elif self:  # it has waited, and a receipt behind it waits for it
            run.watch(self._wake)
        else:
            self._unwatched += 1

    def slot(self, ids: Sequence[str]) -> Slot:
        """A place for the next frame's receipts, sent once the slot is done."""
        slot = Slot(ids, self._wake)
        self._add(slot)
        if ids:
            self._watch()
        return slot

    def _add(self, it: Run | Slot) -> None:
        if self._due is None:
            self._due = deque()
        self._due.append(it)
        self.held_bytes += it.held_bytes

    def _watch(self) -> None:
        """Have all published messages synced soon."""
        for it in self._due or ():
            it.watch(self._wake)
        self._unwatched = 0

    def take(self) -> Iterator[str]:
        """The ids of receipts that are due. Raises Unsent if one can never be sent."""
        while self._due and self._due[0].ready:
            it = self._due.popleft()
            self.held_bytes -= it.held_bytes
            yield from it.said()
            if isinstance(it, Run):
                self._counts.confirmed += len(it.ids)
        if not self._due:
            self._unwatched = 0

    def close(self) -> None:
        """Stop waiting; no receipt is sent."""
        for it in self._due or ():
            it.close()
        self._due = None
        self.held_bytes = 0
