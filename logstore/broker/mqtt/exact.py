"""Messages of QoS 2 to a client: it receives each exactly once (4.3.3).

The packet identifier of a message is safe before the message is sent; the client's receipt is safe
before PUBREL is sent; the end of the exchange is one step with settling the message. So after a
power cut, the exchange of an identifier that the client still knows continues where it was.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from itertools import count as count_from
from itertools import repeat
from typing import Final

from logstore.broker.mqtt import line
from logstore.broker.mqtt.outbound import Outbound
from logstore.broker.mqtt.packet_ids import NO_DELIVERY
from logstore.broker.mqtt.telling import Hands, Told, tell
from logstore.broker.queues.handovers import OVER, RECEIVED, Sent, sent_in_a_row, told_of
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.unacked import Delivered
from logstore.errors import LogstoreError

RECLAIMED_AT_ONCE: Final = 500  # messages, at some microseconds each, before others have their turn

log: Final = logging.getLogger("logstore.mqtt")


class Step(Enum):
    """The state of a message's exchange."""

    SENDING = auto()  # it is being told that it is about to be sent
    SENT = auto()
    RECEIVED = auto()  # the client has it, and that is being told
    RELEASED = auto()  # PUBREL was sent, or may be


class _Sending:
    """Messages that are sent once their QoS 2 identifiers are safe."""

    __slots__ = ("known", "line", "lost", "messages", "pids", "size")

    def __init__(
        self,
        messages: Sequence[line.Sent],
        pids: Sequence[int],
        line: "line.Line | None",
        lost: int,
        size: int,
    ) -> None:
        self.messages = messages
        self.pids = pids  # of those of QoS 2
        self.line = line  # down which they go, if it is still there
        self.lost = lost  # what ``Exact`` had lost by then
        self.known = False
        self.size = size


class Exact:
    """The QoS 2 exchanges of one session. As ``outbound.Exact``.

    If the journal refuses an entry, it is written again after a while, on the same connection.
    """

    __slots__ = (
        "_failed", "_hands", "_kept", "_lasts", "_later", "_lost", "_out", "_sendings", "_session",
        "_steps", "_told", "held_bytes",
    )  # fmt: skip

    def __init__(
        self,
        session: int,
        out: Outbound,
        hands: Hands,
        later: Callable[[], object],
        *,
        lasts: bool,
        kept: Mapping[int, Sent] | None = None,
    ) -> None:
        """``later``: schedules a call of ``try_again``. ``kept``: the journal's entries, by packet
        identifier.
        """
        self._session = session
        self._out = out
        self._hands = hands
        self._lasts = lasts
        self._kept: dict[int, Sent] = dict(kept or {})
        self._steps: dict[int, Step] = {}
        self._later = later
        self._sendings: deque[_Sending] = deque()
        self.held_bytes = 0  # of these
        self._lost = 0  # times that something was
        self._failed: list[Callable[[], object]] = []  # to be done again, in their order
        self._told = ""  # why, as was logged last

    def __contains__(self, pid: object) -> bool:
        """As Exact.__contains__."""
        return pid in self._steps

    def has_any(self, pids: Sequence[int]) -> bool:
        """As Exact.has_any."""
        return not self._steps.keys().isdisjoint(pids)

    # From an earlier process

    def prepare(self, then: Callable[[], object]) -> None:
        """Take up the exchanges of the earlier process, then call ``then``."""
        wanted = {it.queue for it in self._kept.values()}
        queues = [it.queue for it in self._out.outlets if it.queue.id in wanted]
        left = 1 + len(queues)

        def one() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._reclaim(deque(self._kept), then)

        for queue in queues:
            queue.when_open(one)
        one()

    def _reclaim(self, left: deque[int], then: Callable[[], object]) -> None:
        """Take up some of these packet identifiers now, and the rest in later turns."""
        over: list[int] = []
        found, damaged = list[int](), list[int]()
        outlets = {it.queue.id: it for it in self._out.outlets}
        for _ in range(min(len(left), RECLAIMED_AT_ONCE)):
            pid = left.popleft()
            kept = self._kept.pop(pid, None)
            if kept is None:  # another connection has
                continue
            found.append(pid)
            outlet = outlets.get(kept.queue)
            lane = None if outlet is None else outlet.queue.stock.lanes.get(kept.lane)
            if outlet is not None and lane is not None and lane.failed is not None:
                self._kept[pid] = kept  # its files are damaged: it may be there next time
                damaged.append(pid)
            elif lane is not None and outlet is not None and lane.settlement.is_out(kept.offset):
                tag = self._out.unacked.add(outlet.queue, kept.lane, kept.offset, 1, outlet)
                self._out.pids.put(pid, tag)
                self._steps[pid] = Step.RELEASED if kept.received else Step.SENT
            elif kept.received:  # it is settled; the client is still to hear so
                self._out.pids.put(pid, NO_DELIVERY)
                self._steps[pid] = Step.RELEASED
            else:
                over.append(pid)
        self._out.pids.reserved = self._out.pids.reserved.difference(found).union(damaged)
        if over:
            self._tell(told_of(OVER, over))
        if left:
            self._out.soon(partial(self._reclaim, left, then))
        else:
            then()

    # As outbound.Exact

    def send(self, messages: Sequence[line.Sent], size: int) -> None:
        """As Exact.send."""
        pids = [it.pid for it in messages if it.qos > 1]
        if not self._lasts:  # no journal entry is needed
            self._steps |= dict.fromkeys(pids, Step.SENT)
            self._out.put(messages)
            return
        sending = _Sending(messages, pids, self._out.line, self._lost, size)
        self._steps |= dict.fromkeys(pids, Step.SENDING)
        self._sendings.append(sending)
        self.held_bytes += sending.size
        self._note(sending)

    def _note(self, sending: _Sending) -> None:
        """Journal which messages have these packet identifiers."""
        told = b"".join(
            sent_in_a_row(pid, count, queue.id, lane, offset)
            for queue, lane, offset, pid, count in self._places(sending.pids)
            if queue.facts.lasts
        )
        if told:
            tell(self._hands, self._session, told, partial(self._noted, sending))
        else:
            self._noted(sending, None)

    def _places(self, pids: Sequence[int]) -> Iterator[tuple[Queue, int, int, int, int]]:
        """Yield the places of the unacknowledged messages with these packet identifiers.

        Each is a queue, a lane, the first offset, the first packet identifier, and how many of both
        follow each other.
        """
        unacked = self._out.unacked
        for first, tag, count in self._out.pids.in_a_row(pids):
            places = unacked.places(tag, tag + count - 1)
            if places is None:
                for pid, its in zip(range(first, first + count), count_from(tag), strict=False):
                    if (found := unacked.find(its)) is not None:
                        yield found.queue, found.lane, found.first, pid, 1
                continue
            pid = first
            for queue, lane, offset, length in places:
                yield queue, lane, offset, pid, length
                pid += length

    def _noted(self, sending: _Sending, error: LogstoreError | None) -> None:
        if error is not None:
            self._fail("what it is about to be sent", error, partial(self._note, sending))
            return
        sending.known = True
        self._step(sending.pids, Step.SENDING, Step.SENT)
        self._send_known()

    def _step(self, pids: Sequence[int], before: Step, after: Step) -> Sequence[int]:
        """Move the identifiers that are at step ``before`` to step ``after``, and return them."""
        there = self._at(pids, before)
        self._steps |= dict.fromkeys(there, after)
        return there

    def _at(self, pids: Sequence[int], step: Step) -> Sequence[int]:
        """Return the identifiers that are at this step."""
        steps = list(map(self._steps.get, pids))
        if steps.count(step) == len(steps):  # as nearly always
            return pids
        return [pid for pid, its in zip(pids, steps, strict=True) if its is step]

    def _send_known(self) -> None:
        """Send journaled messages, as far as no earlier message waits."""
        there = self._out.line
        while self._sendings and self._sendings[0].known:
            sending = self._sendings.popleft()
            self.held_bytes -= sending.size
            if sending.line is there:
                messages = sending.messages
                if sending.lost != self._lost:
                    messages = [it for it in messages if self._is_there(it)]
                self._out.put(messages)
            # After a change of connection they are sent again on the new one.
        self._out.go_on()
        self._out.drained()

    def _is_there(self, it: line.Sent) -> bool:
        return not it.pid or (it.pid in self._steps if it.qos > 1 else it.pid in self._out.pids)

    def release(self, pid: int) -> bool:
        """As Exact.release."""
        return self._steps.get(pid) is Step.RELEASED

    def sent_again(self, pid: int) -> bool:
        """As Exact.sent_again."""
        return self._steps.get(pid) is Step.SENT

    def unsendable(self, pids: Sequence[int]) -> None:
        """As Exact.unsendable."""
        self._over(pids)

    def lost(self, pids: Iterable[int]) -> None:
        """As ``Exact.lost``. Messages that the client has confirmed must still be released."""
        self._lost += 1
        gone: list[int] = []
        for pid in pids:
            step = self._steps.get(pid)
            if step is Step.RECEIVED or step is Step.RELEASED:
                self._out.pids.keep(pid)
            elif step is not None:
                del self._steps[pid]
                gone.append(pid)
        if gone:
            self._tell(told_of(OVER, gone))

    def ends(self) -> None:
        """Settle messages that an earlier process sent from shared queues: the session ends.

        No other client may get them [MQTT-4.8.2-5].
        """
        kept, self._kept = self._kept, {}
        for outlet in self._out.outlets:
            queue = outlet.queue
            those = [it for it in kept.values() if it.queue == queue.id and outlet.shared]
            if those:
                queue.when_open(partial(_settle, queue, those))

    # What the client says

    def received(self, pids: Sequence[int]) -> list[int]:
        """Handle PUBREC: the client has these messages.

        Returns the packet identifiers that belong to no message sent to the client.
        """
        pids, line, unknown = list(dict.fromkeys(pids)), self._out.line, []
        new = self._at(pids, Step.SENT)
        for pid in pids if len(new) < len(pids) else ():
            step = self._steps.get(pid)
            if step is Step.RELEASED and line is not None:
                line.release([pid])
            elif step is not Step.RECEIVED and step is not Step.SENT:
                unknown.append(pid)
        self._steps |= dict.fromkeys(new, Step.RECEIVED)
        if new:
            self._tell(told_of(RECEIVED, new), partial(self._released, new, line))
        return unknown

    def _released(
        self, pids: Sequence[int], before: "line.Line | None", error: LogstoreError | None
    ) -> None:
        if error is not None:
            there = self._at(pids, Step.RECEIVED)
            told = partial(self._released, there, before)
            again = partial(self._tell, told_of(RECEIVED, there), told)
            self._fail("what it has received", error, again)
            return
        there = self._step(pids, Step.RECEIVED, Step.RELEASED)
        if there and self._out.line is before and before is not None:
            before.release(there)
        self._out.go_on()

    def refused(self, pid: int) -> bool:
        """Handle a PUBREC with an error: the client refuses the message. False: it was not sent
        one.
        """
        if self._steps.get(pid) is not Step.SENT:
            return False
        self._over([pid])
        return True

    def completed(self, pids: Sequence[int]) -> int:
        """Handle PUBCOMP: end these exchanges, and return how many of the identifiers
        were unknown.
        """
        good = self._at(pids, Step.RELEASED)
        if good:
            self._over(good)
        return len(pids) - len(good)

    def _over(self, pids: Sequence[int]) -> None:
        deque(map(self._steps.pop, pids, repeat(None)), 0)
        held = Transaction()
        if self._lasts:
            held.remember(Told(self._session, told_of(OVER, sorted(pids))))
        self._out.completed(pids, held)
        self._end(held)

    def _end(self, held: Transaction) -> None:
        if not held:
            return
        endings = [*held.endings]

        def ended(error: LogstoreError | None) -> None:
            if error is not None:
                held.endings = [it for it in endings if not it.queue.gone]
                self._fail("what is over", error, partial(self._end, held))

        self._hands.commit(held, ended)

    def _tell(
        self, operations: bytes, then: Callable[[LogstoreError | None], None] | None = None
    ) -> None:
        if self._lasts:
            tell(self._hands, self._session, operations, then or self._warn)
        elif then is not None:
            then(None)

    def _warn(self, error: LogstoreError | None) -> None:
        if error is not None:
            log.error("client %r: what is over can't be kept: %s", self._out.name, error)

    # What the journal does not take

    def _fail(self, what: str, error: LogstoreError, again: Callable[[], object]) -> None:
        if self._told != str(error):
            self._told = str(error)
            log.error("client %r: %s can't be kept now: %s", self._out.name, what, error)
        if not self._failed:
            self._later()
        self._failed.append(again)

    def try_again(self) -> None:
        """Repeat the operations that have failed."""
        failed, self._failed = self._failed, []
        for again in failed:
            again()


def _settle(queue: Queue, those: Sequence[Sent]) -> None:
    for _, number, offset, _ in those:
        lane = queue.stock.lanes.get(number)
        if not queue.gone and lane is not None and lane.settlement.is_out(offset):
            queue.settle(Delivered(queue, number, offset, 1, None))
