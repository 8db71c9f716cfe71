"""Messages of QoS 2 on their way to a client: it gets each exactly once (4.3.3).

Which message has which packet identifier is safe before it is sent, that the client has it before
that is said to it (PUBREL), and that it is over together with its being settled. So after a power
cut a client that still knows an identifier hears the same of it as before.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from typing import Final

from logstore.broker.mqtt import line
from logstore.broker.mqtt.outbound import Outbound
from logstore.broker.mqtt.packet_ids import NO_DELIVERY
from logstore.broker.mqtt.telling import Hands, Told, tell
from logstore.broker.queues.handovers import OVER, RECEIVED, Sent, sent, told_of
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError

log: Final = logging.getLogger("logstore.mqtt")


class Step(Enum):
    """How far a message is."""

    SENDING = auto()  # it is being told that it is about to be sent
    UNTOLD = auto()  # that failed
    SENT = auto()
    RECEIVED = auto()  # the client has it, and that is being told
    RELEASED = auto()  # PUBREL was sent, or may be


class Exact:
    """Of one session. As ``outbound.Exact``."""

    __slots__ = ("_hands", "_kept", "_lasts", "_out", "_session", "_steps")

    def __init__(
        self,
        session: int,
        out: Outbound,
        hands: Hands,
        *,
        lasts: bool,
        kept: Mapping[int, Sent] | None = None,
    ) -> None:
        """``kept``: what the journal knows of it, by packet identifier."""
        self._session = session
        self._out = out
        self._hands = hands
        self._lasts = lasts
        self._kept: dict[int, Sent] = dict(kept or {})
        self._steps: dict[int, Step] = {}

    def __contains__(self, pid: object) -> bool:
        """As Exact.__contains__."""
        return pid in self._steps

    # From an earlier process

    def prepare(self, then: Callable[[], object]) -> None:
        """Call it once it is known what of that is still to be done."""
        wanted = {it.queue for it in self._kept.values()}
        queues = [it.queue for it in self._out.outlets if it.queue.id in wanted]
        left = 1 + len(queues)

        def one() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._reclaim()
                then()

        for queue in queues:
            queue.when_open(one)
        one()

    def _reclaim(self) -> None:
        kept, self._kept = self._kept, {}
        over: list[int] = []
        outlets = {it.queue.id: it for it in self._out.outlets}
        for pid, (queue, number, offset, received) in kept.items():
            outlet = outlets.get(queue)
            lane = None if outlet is None else outlet.queue.stock.lanes.get(number)
            if outlet is not None and lane is not None and lane.failed is not None:
                self._kept[pid] = kept[pid]  # its files are damaged: it may be there next time
            elif lane is not None and outlet is not None and lane.settlement.is_out(offset):
                tag = self._out.unacked.add(outlet.queue, number, offset, 1, outlet)
                self._out.pids.put(pid, tag)
                self._steps[pid] = Step.RELEASED if received else Step.SENT
            elif received:  # it is settled; the client is still to hear so
                self._out.pids.put(pid, NO_DELIVERY)
                self._steps[pid] = Step.RELEASED
            else:
                over.append(pid)
        if over:
            self._tell(told_of(OVER, over))

    # As outbound.Exact

    def send(self, messages: Sequence[line.Sent]) -> None:
        """As Exact.send."""
        pids = [it.pid for it in messages if it.qos > 1]
        self._steps |= dict.fromkeys(pids, Step.SENDING)
        self._note(pids, partial(self._noted, messages, self._out.line))

    def _note(self, pids: Sequence[int], then: Callable[[], object]) -> None:
        """Have it known which messages have these packet identifiers."""
        places = []
        for pid in pids:
            tag = self._out.pids.tag(pid)
            delivered = None if tag is None else self._out.unacked.find(tag)
            if delivered is not None and delivered.queue.facts.lasts:
                places.append((pid, delivered.queue.id, delivered.lane, delivered.first))

        def told(error: LogstoreError | None) -> None:
            for pid in pids:
                if self._steps.get(pid) is Step.SENDING:
                    self._steps[pid] = Step.SENT if error is None else Step.UNTOLD
            if error is None:
                then()
            else:
                log.error(
                    "client %r is not sent %d messages of QoS 2 before it connects again: %s",
                    self._out.name, len(pids), error,
                )  # fmt: skip

        if places and self._lasts:
            tell(self._hands, self._session, sent(places), told)
        else:
            told(None)

    def _noted(self, messages: Sequence[line.Sent], before: "line.Line | None") -> None:
        if self._out.line is before:
            self._out.put([it for it in messages if it.qos < 2 or it.pid in self._steps])
        else:  # another connection: they are among what is sent again
            self._out.go_on()

    def release(self, pid: int) -> bool:
        """As Exact.release."""
        return self._steps.get(pid) is Step.RELEASED

    def sent_again(self, pid: int) -> bool:
        """As Exact.sent_again."""
        step = self._steps.get(pid)
        if step is Step.UNTOLD:
            self._steps[pid] = Step.SENDING
            self._note([pid], self._out.go_on)
            step = self._steps.get(pid)
        return step is Step.SENT

    def unsendable(self, pids: Sequence[int]) -> None:
        """As Exact.unsendable."""
        self._over(pids)

    def lost(self, pids: Iterable[int]) -> None:
        """As Exact.lost."""
        gone = [it for it in pids if self._steps.pop(it, None) is not None]
        if gone:
            self._tell(told_of(OVER, gone))

    # What the client says

    def received(self, pids: Sequence[int]) -> list[int]:
        """PUBREC: the client has these; which of them are of no message that it was sent."""
        new, unknown, line = [], [], self._out.line
        for pid in pids:
            step = self._steps.get(pid)
            if step is Step.SENT:
                self._steps[pid] = Step.RECEIVED
                new.append(pid)
            elif step is Step.RELEASED and line is not None:
                line.release([pid])
            elif step is not Step.RECEIVED:
                unknown.append(pid)
        if new:
            self._tell(told_of(RECEIVED, new), partial(self._released, new, line))
        return unknown

    def _released(
        self, pids: Sequence[int], before: "line.Line | None", error: LogstoreError | None
    ) -> None:
        there = [it for it in pids if self._steps.get(it) is Step.RECEIVED]
        if error is not None:
            self._steps |= dict.fromkeys(there, Step.SENT)  # it is sent again some time
            log.error("client %r: what it has received can't be kept: %s", self._out.name, error)
            return
        self._steps |= dict.fromkeys(there, Step.RELEASED)
        if there and self._out.line is before and before is not None:
            before.release(there)
        self._out.go_on()

    def refused(self, pid: int) -> bool:
        """PUBREC with an error: the client does not want it. False: it was not sent that."""
        if self._steps.get(pid) is not Step.SENT:
            return False
        self._over([pid])
        return True

    def completed(self, pids: Sequence[int]) -> int:
        """PUBCOMP: these are over; how many were none."""
        good = [it for it in pids if self._steps.get(it) is Step.RELEASED]
        if good:
            self._over(good)
        return len(pids) - len(good)

    def _over(self, pids: Sequence[int]) -> None:
        for pid in pids:
            self._steps.pop(pid, None)
        held = Transaction()
        if self._lasts:
            held.remember(Told(self._session, told_of(OVER, pids)))
        self._out.completed(pids, held)
        self._hands.commit(held, self._warn)

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
