"""Moves messages out of a queue, as if they were published again: a few hundred at a time.

Each step is a held transaction: after a crash, its messages are in the queue or at their
destination, never in both. Messages that no queue takes or has room for stay in place; they count
as delivered until the end, so that messages after them can be moved.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from logstore.amqp import properties
from logstore.broker.queues.bits import BIT, BLOCK_SHIFT
from logstore.broker.queues.chunk import Chunk
from logstore.broker.queues.message import Message, with_headers
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.unacked import Delivered
from logstore.broker.queues.vhost import Vhost
from logstore.errors import LogFailed, LogstoreError
from logstore.log import Wake

STEP_MAX: Final = 250  # messages that are moved at once: 5 ms
STAYING_MAX: Final = 10_000  # messages that stay, at which the move ends
COPIES: Final = ("CC", "BCC")


class Target(NamedTuple):
    """The destination. ``key``: None keeps each message's key, and the keys of its CC and BCC."""

    exchange: bytes
    key: bytes | None = None


class Moved(NamedTuple):
    """The result of a move."""

    moved: int
    unrouted: int = 0  # no queue takes them: they are where they were
    refused: int = 0  # a queue has no room for them: so are they
    error: LogstoreError | None = None  # the error that ended the move


class _Taken(NamedTuple):
    """One delivered message."""

    group: Delivered[Any, Any]
    message: Message


def move(
    vhost: Vhost,
    queue: Queue,
    target: Target,
    limit: int | None,
    then: Callable[[Moved], object],
    wanted: Callable[[], bool] = lambda: True,
    check: Callable[[Message], object] = lambda _: None,
) -> None:
    """Move up to ``limit`` of the messages that are ready now; ``then`` is called at the end.

    ``wanted``: asked before each step whether to go on. ``check`` may refuse a message, which ends
    the move. Raises NoExchange, InternalExchange.
    """
    vhost.topology.check_publish(target.exchange)
    moving = _Moving(vhost, queue, target, limit, then, wanted, check)
    queue.when_open(moving.begin)


class _Moving:
    def __init__(
        self,
        vhost: Vhost,
        queue: Queue,
        target: Target,
        limit: int | None,
        then: Callable[[Moved], object],
        wanted: Callable[[], bool],
        check: Callable[[Message], object],
    ) -> None:
        self._vhost = vhost
        self._queue = queue
        self._target = target
        self._limit = limit
        self._then = then
        self._wanted, self._check = wanted, check
        self._left = self._moved = self._unrouted = self._refused = 0
        self._staying: list[Delivered[Any, Any]] = []
        self._watches: list[Wake] = []
        self._waits = False

    def begin(self) -> None:
        """Begin: the number of ready messages is known."""
        if self._queue.failed is not None:
            self._end(self._queue.failed)
            return
        ready = self._queue.ready
        self._left = ready if self._limit is None else min(ready, self._limit)
        self._step()

    def _end(self, error: LogstoreError | None = None) -> None:
        for group in joined(self._staying):
            self._queue.release(group, failed=False)
        self._then(Moved(self._moved, self._unrouted, self._refused, error))

    # One step

    def _step(self) -> None:
        """Take some messages and send them, or wait until they can be taken."""
        queue = self._queue
        if queue.gone or self._left <= 0 or len(self._staying) >= STAYING_MAX or not self._wanted():
            self._end()
            return
        try:
            chunks = queue.take_out(min(self._left, STEP_MAX))
            if not chunks and self._comes:
                self._watch()
                chunks = queue.take_out(min(self._left, STEP_MAX))  # it may have come before that
        except LogstoreError as error:
            self._stop_watching()
            self._end(error)
            return
        if not chunks and self._comes:
            return  # its news have it looked at again
        self._stop_watching()
        if chunks:
            self._send([it for chunk in chunks for it in self._taken(chunk)])
        elif queue.stock.more:
            self._soon()
        else:
            self._end(queue.unreadable)  # or others have taken them

    @property
    def _comes(self) -> bool:
        """Whether messages must first be read or synced, or their lane opened."""
        stock = self._queue.stock
        return stock.cold or (stock.unsafe and self._queue.ready > 0)

    def _taken(self, chunk: Chunk) -> list[_Taken]:
        found = []
        exchange, key = self._target
        for record in chunk.records:
            given = self._vhost.showing.shown(record.headers).properties
            message = Message(
                exchange,
                record.key or b"" if key is None else key,
                given if key is None else without_copies(given),
                record.value or b"",
            )
            group = Delivered(self._queue, chunk.lane.number, record.offset, 1, None)
            found.append(_Taken(group, message))
        return found

    def _watch(self) -> None:
        """Repeat the step once a log has news, or a lane is open."""
        self._waits = True
        logs = [lane.log for lane in self._queue.stock.order if lane.log is not None]
        self._watches = [log.watch(self._wake) for log in logs]
        if self._queue.stock.busy:
            self._queue.stock.when_still(self._wake)

    def _stop_watching(self) -> None:
        self._waits = False
        watches, self._watches = self._watches, []
        for stop in watches:
            stop()

    def _wake(self) -> None:
        """Schedule a look. Called from any thread."""
        self._vhost.soon(self._look)

    def _look(self) -> None:
        if self._waits:
            self._stop_watching()
            self._step()

    def _send(self, taken: Sequence[_Taken]) -> None:
        try:
            for it in taken:
                self._check(it.message)
            run = [(self._vhost.route(it.message), it.message) for it in taken]
        except LogstoreError as error:  # the exchange is gone, for instance
            self._staying += [it.group for it in taken]
            self._end(error)
            return
        full = self._vhost.to_be_counted(run)
        if full is not None:  # whether it has room is known once it is open
            full.when_open(lambda: self._vhost.soon(lambda: self._send(taken)))
            return
        held = Transaction()
        published = self._vhost.publish(run, held)
        if published.unrouted or published.rejected:
            held.forget()
            self._unrouted += len(published.unrouted)
            self._refused += len(published.rejected)
            bad = {*published.unrouted, *published.rejected}
            self._staying += [it.group for n, it in enumerate(taken) if n in bad]
            self._left -= len(bad)
            if published.error is not None:
                self._staying += [it.group for n, it in enumerate(taken) if n not in bad]
                self._end(published.error)
            else:
                self._send([it for n, it in enumerate(taken) if n not in bad])
        elif taken:
            self._commit(held, [it.group for it in taken])
        else:
            self._soon()

    def _commit(self, held: Transaction, groups: Sequence[Delivered[Any, Any]]) -> None:
        for group in joined(groups):
            held.settle(self._queue, group.lane, group.first, group.bits)

        def done(error: LogstoreError | None) -> None:
            if error is None:
                self._moved += len(groups)
                self._queue.moved(len(groups))
                self._left -= len(groups)
                self._soon()
                return
            if not isinstance(error, LogFailed):  # otherwise unknown until the next start
                self._staying += groups
            self._end(error)

        self._vhost.commit(held, done)

    def _soon(self) -> None:
        self._vhost.soon(self._step)


def joined(groups: Sequence[Delivered[Any, Any]]) -> list[Delivered[Any, Any]]:
    """Combine single messages of one queue by block, so that settling takes few calls."""
    found: dict[tuple[int, int], int] = {}
    for it in groups:
        place = it.lane, it.first >> BLOCK_SHIFT
        found[place] = found.get(place, 0) | 1 << (it.first & BIT)
    return [
        groups[0]._replace(lane=lane, first=block << BLOCK_SHIFT, bits=bits)
        for (lane, block), bits in found.items()
    ]


def without_copies(given: bytes) -> bytes:
    """Return the properties without CC and BCC, so that only the key routes the message."""
    _, begin, end = properties.read_around(given)
    if begin == end:
        return given
    headers = properties.read(given).headers or {}
    if not any(name in headers for name in COPIES):
        return given
    return with_headers(given, {name: it for name, it in headers.items() if name not in COPIES})
