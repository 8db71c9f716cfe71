"""What a STOMP transaction holds back until its client commits."""

from typing import Any, Final, NamedTuple

from logstore.broker.queues.named import Named
from logstore.broker.queues.settling import (
    BODIES_BYTES_MAX,
    SETTLEMENT_BYTES,
    Outgoing,
    Verdict,
    bytes_of,
)
from logstore.broker.queues.unacked import Unacked
from logstore.stomp.faults import StompFault

AT_ONCE_MAX: Final = 16  # transactions of one connection, as in RabbitMQ
ACTIONS_MAX: Final = 10_000  # of one: they are carried out in one turn


class Settlement(NamedTuple):
    """One ACK or NACK."""

    verdict: Verdict
    tag: int
    upto: Any  # the subscription of which all up to this one are meant; None: this one alone


class Transaction:
    """The uncommitted part. Messages that it acknowledges still belong to the connection."""

    __slots__ = ("_body_bytes", "_tags", "_upto", "held_bytes", "receipts", "run", "settlements")

    def __init__(self) -> None:
        self.run: list[Outgoing] = []
        self.settlements: list[Settlement] = []
        self.receipts: list[str] = []  # requested with its messages
        self.held_bytes = 0
        self._body_bytes = 0
        self._tags: set[int] = set()  # settled one by one
        self._upto: dict[Any, int] = {}  # by subscription: all up to this are settled

    def _check(self) -> None:
        if len(self.run) + len(self.settlements) >= ACTIONS_MAX:
            raise StompFault(
                "Transaction too large", f"Too many actions in transaction (limit {ACTIONS_MAX})\n"
            )

    def publish(self, outgoing: Outgoing, receipt: str | None) -> None:
        """Hold a message back until the commit. Raises StompFault."""
        self._check()
        size = len(outgoing[1].body)
        if self.run and self._body_bytes + size > BODIES_BYTES_MAX:
            raise StompFault(
                "Transaction too large",
                f"a transaction holds at most {BODIES_BYTES_MAX} bytes of messages, or one "
                "message: commit more often\n",
            )
        self.run.append(outgoing)
        self._body_bytes += size
        self.held_bytes += bytes_of([outgoing])
        if receipt is not None:
            self.receipts.append(receipt)
            self.held_bytes += len(receipt)

    def settle(self, unacked: Unacked[Named, Any], verdict: Verdict, tag: int, upto: Any) -> bool:  # noqa: ANN401
        """Hold a settlement back; returns whether it is valid. Raises StompFault.

        A delivery that a cumulative settlement covers may be settled again, without effect.
        """
        self._check()
        holder = unacked.holder(tag)
        if holder is None or tag in self._tags:
            return False
        if tag <= self._upto.get(holder, 0):
            return True
        if upto is None:
            self._tags.add(tag)
        else:
            self._upto[upto] = tag
        self.settlements.append(Settlement(verdict, tag, upto))
        self.held_bytes += SETTLEMENT_BYTES
        return True
