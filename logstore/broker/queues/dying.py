"""Moves the dead messages of one queue to its dead-letter exchange, or drops them.

A dead message stays delivered until its copy is safe. From a durable queue it is moved by a held
transaction, if the process has these, which settles it and publishes the copy: after a crash, it is
in its queue or at its destination, never in both. A hundred are moved together, one such step in a
turn, and few steps are in progress, so that a million messages that expire at the same moment delay
no one.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from logstore.broker.queues.bits import runs_of
from logstore.broker.queues.deaths import DeadLetter, Dying, dead_letter
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import Limits
from logstore.broker.queues.message import Showing
from logstore.broker.queues.pending import NO_TIME, Waiting
from logstore.broker.queues.transaction import Holder, Transaction
from logstore.errors import LogstoreError
from logstore.records.record import Record

STEP_MAX: Final = 100  # messages that go at once: each takes 60 us
STEP_BYTES: Final = 1 << 18  # of their bodies, beside the first
WITH_BYTES_MAX: Final = 16 << 20  # of bodies of a transaction that something dies with
STEPS_MAX: Final = 16  # that are on their way
RETRY_MS: Final = 1000  # until a retry of letters that must not be lost


class Sent(NamedTuple):
    """The result of moving dead letters: the numbers of those without a queue, and refused ones."""

    unrouted: Sequence[int]
    rejected: Sequence[int]
    waiting: Waiting
    error: LogstoreError | None = None  # the error of a log
    lasting: Collection[int] = ()  # in a transaction: those for a lasting queue


# With a transaction: they become a part of it, and are not on their way yet.
Send = Callable[[Sequence[DeadLetter], Transaction | None], Sent]
Commit = Callable[[Transaction, Callable[[LogstoreError | None], None]], object]


class _Part(NamedTuple):
    """Delivered messages of one lane: the offsets ``first + n``, for each bit n."""

    lane: Lane
    first: int
    bits: int
    reason: str


_NOTHING: Final[deque[_Part]] = deque(maxlen=0)


class _Step(NamedTuple):
    waiting: Waiting | None  # None: the transaction's commit tells
    parts: list[_Part]


class DeadLetters:
    """The dead messages of one queue."""

    def __init__(
        self,
        queue: Holder,
        limits: Limits,
        showing: Showing,
        send: Send,
        commit: Commit | None,
        wake: Callable[[], None],
    ) -> None:
        """``commit``: None if there are no held transactions."""
        self.dropped = 0  # that no queue took, or that one refused
        self._queue = queue
        self._limits = limits
        self._stock = queue.stock
        self._showing = showing
        self._send = send
        self._commit = commit
        self._wake = wake
        # Of most queues nothing ever dies to go elsewhere, and a deque takes 600 bytes.
        self._dying: deque[_Part] = _NOTHING if limits.dead_letter_exchange is None else deque()
        self._steps: list[_Step] = []
        self._retained: list[tuple[int, _Part]] = []  # when each is tried again
        self._leaving = False

    def __len__(self) -> int:
        """The number of dead messages that are still here."""
        parts = [*self._dying, *(it for _, it in self._retained)]
        parts += [part for step in self._steps for part in step.parts]
        return sum(part.bits.bit_count() for part in parts)

    @property
    def moving(self) -> bool:
        """Whether copies are on their way. A failed copy is sent again later."""
        return bool(self._steps)

    @property
    def deadline_ms(self) -> int:
        """The time of the next retry."""
        return min((at for at, _ in self._retained), default=NO_TIME)

    def limit(self, limits: Limits) -> None:
        """Apply another policy, also to messages that are dying: without an exchange they are
        dropped.
        """
        self._limits = limits
        if limits.dead_letter_exchange is None:
            parts = [*self._dying, *(it for _, it in self._retained)]
            self._dying, self._retained = _NOTHING, []
            self._drop(parts)
        elif self._dying is _NOTHING:
            self._dying = deque()

    def die(self, lane: Lane, first: int, bits: int, reason: str) -> None:
        """Dead-letter these messages, which are unacknowledged."""
        if self._limits.dead_letter_exchange is None:
            self._stock.settle(lane.number, first, bits)
        else:
            self._dying.append(_Part(lane, first, bits, reason))
            self._stock.dies(lane, first, bits)

    def die_with(
        self, held: Transaction, lane: Lane, first: int, bits: int, reason: str, now_ms: int
    ) -> bool:
        """Dead-letter these messages within a transaction; return whether that is possible.

        If not, nothing was done: one of them must be read first, must be retried, or goes to a
        queue that does not last.
        """
        if self._commit is None:
            return False
        letters: list[DeadLetter] = []
        with_them, size = Transaction(held), held.body_bytes
        for offset, _ in _one_by_one(_Part(lane, first, bits, reason)):
            record = self._stock.record(lane, offset)
            if record is None:
                return False
            letters.append(self._letter(record, reason, now_ms))
            with_them.settle(self._queue, lane.number, offset, 1)
            size += len(letters[-1].body)
            if size > WITH_BYTES_MAX:
                return False
        sent = self._send(letters, with_them)
        lost = 0 if self._limits.at_least_once else len(sent.unrouted)
        if sent.rejected or len(sent.lasting) + lost < len(letters):
            with_them.forget()
            return False
        self.dropped += lost
        held.join(with_them)
        return True

    def step(self, now_ms: int) -> bool:
        """Settle arrived messages and send some more; return whether there is more to send now."""
        self._steps = [it for it in self._steps if not self._arrived(it, now_ms)]
        if self._retained and self._retained[0][0] <= now_ms:
            due = [part for at, part in self._retained if at <= now_ms]
            self._retained = [it for it in self._retained if it[0] > now_ms]
            self._dying.extend(due)
        if not self._dying or len(self._steps) >= STEPS_MAX:
            return False  # the next that arrives has it looked at again
        if not self._send_some(now_ms):
            return False  # it is not here yet: the log tells when it is
        return bool(self._dying) and len(self._steps) < STEPS_MAX

    def leave(self) -> None:
        """Prepare for the deletion of the queue: messages that are refused now are not retried."""
        self._leaving = True
        self._retained = []

    @property
    def unsent(self) -> bool:
        """Whether some messages were never sent yet."""
        return bool(self._dying)

    def close(self) -> None:
        """Stop waiting for messages on their way."""
        for step in self._steps:
            if step.waiting is not None:
                step.waiting.close()

    def _arrived(self, step: _Step, now_ms: int) -> bool:
        if step.waiting is None or not step.waiting.settled():
            return False
        if step.waiting.failed is not None:
            self._retain(step.parts, now_ms)
        else:
            for part in step.parts:
                self._stock.settle(part.lane.number, part.first, part.bits)
        return True

    def _send_some(self, now_ms: int) -> bool:
        """Send some messages; False: the first one must be read from disk."""
        letters: list[DeadLetter] = []
        places: list[_Part] = []  # of each letter: one bit
        room = STEP_BYTES
        waits = False
        while self._dying and len(letters) < STEP_MAX and room > 0 and not waits:
            part = self._dying.popleft()
            for offset, left in _one_by_one(part):
                record = self._stock.record(part.lane, offset)
                if record is None and not part.lane.damaged and self._waits(part.lane, offset):
                    self._dying.appendleft(_from(part, offset, left))
                    waits = True
                    break
                if record is None:
                    continue  # damaged: it stays out, and is not lost sight of
                letters.append(self._letter(record, part.reason, now_ms))
                places.append(part._replace(first=offset, bits=1))
                room -= len(record.value or b"")
                if len(letters) >= STEP_MAX or room <= 0:
                    if left:
                        self._dying.appendleft(_after(part, offset, left))
                    break
        if letters:
            self._sent(letters, places, now_ms)
        return bool(letters) or not waits

    def _waits(self, lane: Lane, offset: int) -> bool:
        """Whether the record must be read from disk first."""
        return lane.windows.find(lane, offset) is None

    def _letter(self, record: Record, reason: str, now_ms: int) -> DeadLetter:
        shown = self._showing.shown(record.headers)
        dying = Dying(
            shown.exchange, record.key or b"", shown.properties, record.value or b"", shown.deaths
        )
        to = self._limits.dead_letter_exchange
        assert to is not None
        return dead_letter(
            dying, self._queue.facts.name, reason, to, self._limits.dead_letter_key, now_ms
        )

    def _sent(self, letters: list[DeadLetter], places: list[_Part], now_ms: int) -> None:
        held = None if self._commit is None or not self._queue.facts.lasts else Transaction()
        while True:
            sent = self._send(letters, held)
            # A full disk is no queue's wish: what it did not take stays here.
            stay = self._limits.at_least_once or sent.error is not None
            staying = set(sent.rejected) if stay else set()
            if held is None or not staying:
                break
            # Some queue may have taken what another has refused: it is not sent to either.
            held.forget()
            self._retain([places[n] for n in sorted(staying)], now_ms)
            letters = [it for n, it in enumerate(letters) if n not in staying]
            places = [it for n, it in enumerate(places) if n not in staying]
        self._retain([places[n] for n in sorted(staying)], now_ms)
        unrouted = [places[n] for n in sent.unrouted]
        if self._limits.at_least_once:
            self._retain(unrouted, now_ms)
        else:
            self._drop(unrouted)
        refused = set(sent.rejected) - staying
        gone = {*sent.unrouted, *staying}
        if held is None:
            self._drop([places[n] for n in sorted(refused)])
            gone |= refused
        else:
            self.dropped += len(refused)  # by one queue; others may have it
        going = _joined([part for n, part in enumerate(places) if n not in gone])
        if going and held is not None:
            moved = [part for n, part in enumerate(places) if n not in gone and n in sent.lasting]
            self._move(held, going, _joined(moved), now_ms)
        elif going:
            step = _Step(sent.waiting, going)
            if not self._arrived(step, now_ms):
                sent.waiting.watch(self._wake)
                self._steps.append(step)

    def _retain(self, parts: list[_Part], now_ms: int) -> None:
        if self._leaving:
            return
        if self._limits.dead_letter_exchange is None:  # it was there when they were sent
            self._drop(parts)
        else:
            self._retained += [(now_ms + RETRY_MS, part) for part in parts]

    def _drop(self, parts: list[_Part]) -> None:
        for part in parts:
            self.dropped += part.bits.bit_count()
            self._stock.settle(part.lane.number, part.first, part.bits)

    def _move(self, held: Transaction, going: list[_Part], moved: list[_Part], now_ms: int) -> None:
        """Move messages: those in ``moved`` are settled here and stored there atomically.

        The others go to queues that do not last: they are settled once they have arrived.
        """
        for part in moved:
            held.settle(self._queue, part.lane.number, part.first, part.bits)
        step = _Step(None, going)
        self._steps.append(step)

        def done(error: LogstoreError | None) -> None:
            self._steps = [it for it in self._steps if it is not step]
            if error is not None:
                self._retain(going, now_ms)
            elif moved != going:
                for part in _less(going, moved):
                    self._stock.settle(part.lane.number, part.first, part.bits)
            self._wake()

        assert self._commit is not None
        self._commit(held, done)


def _less(parts: list[_Part], without: list[_Part]) -> list[_Part]:
    """Return the messages in ``parts`` that are not in ``without``, one by one."""
    gone = {(it.lane.number, offset) for it in without for offset, _ in _one_by_one(it)}
    return [
        it._replace(first=offset, bits=1)
        for it in parts
        for offset, _ in _one_by_one(it)
        if (it.lane.number, offset) not in gone
    ]


def _one_by_one(part: _Part) -> list[tuple[int, int]]:
    """Return each offset with the bits above it that are left after it."""
    found = []
    for first, length in runs_of(part.bits):
        bits = range(first, first + length)
        found += [(part.first + bit, part.bits >> bit + 1) for bit in bits]
    return found


def _from(part: _Part, offset: int, left: int) -> _Part:
    return part._replace(first=offset, bits=left << 1 | 1)


def _after(part: _Part, offset: int, left: int) -> _Part:
    return part._replace(first=offset + 1, bits=left)


def _joined(parts: list[_Part]) -> list[_Part]:
    """Combine single messages into few parts: consecutive ones of a lane become one."""
    found: list[_Part] = []
    for part in parts:
        last = found[-1] if found else None
        if last is not None and last.lane is part.lane and last.reason == part.reason:
            distance = part.first - last.first
            if 0 < distance < STEP_MAX * 64:
                found[-1] = last._replace(bits=last.bits | part.bits << distance)
                continue
        found.append(part)
    return found
