"""What a channel in transaction mode (tx.select) holds back until its client commits."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from logstore.broker.queues.named import Named
from logstore.broker.queues.settling import (
    BODIES_BYTES_MAX,
    SETTLEMENT_BYTES,
    Outgoing,
    Verdict,
    bytes_of,
)
from logstore.broker.queues.unacked import Unacked


class Settlement(NamedTuple):
    """One Ack, Nack or Reject."""

    verdict: Verdict
    tag: int
    multiple: bool  # all up to this one


class Transaction:
    """The uncommitted part. Messages that it acknowledges still belong to the channel."""

    def __init__(self) -> None:
        self.run: list[Outgoing] = []
        self.mandatory: list[int] = []  # numbers within the run
        self.settlements: list[Settlement] = []
        self.held_bytes = 0
        self.body_bytes = 0
        self._tags: set[int] = set()  # settled one by one
        self._upto = 0  # all up to this are settled

    def publish(self, run: Sequence[Outgoing], mandatory: Sequence[int]) -> None:
        """Hold these messages back until the commit."""
        self.mandatory += [len(self.run) + number for number in mandatory]
        self.run += run
        self.held_bytes += bytes_of(run)
        self.body_bytes += sum(len(it.body) for _, it in run)

    @property
    def too_large(self) -> bool:
        """Whether the transaction has become too large to commit."""
        return self.body_bytes > BODIES_BYTES_MAX and len(self.run) > 1

    def is_settled(self, tag: int) -> bool:
        """Whether the commit will settle this delivery."""
        return tag <= self._upto or tag in self._tags

    def settle(
        self, unacked: Unacked[Named, Any], verdict: Verdict, tag: int, *, multiple: bool
    ) -> bool:
        """Hold a settlement back; returns whether the tag is valid and not yet settled."""
        if multiple and tag == 0:
            tag = unacked.next_tag - 1  # all that there is by now
        elif tag not in unacked or self.is_settled(tag):
            return False
        if multiple:
            self._upto = max(self._upto, tag)
        else:
            self._tags.add(tag)
        self.settlements.append(Settlement(verdict, tag, multiple))
        self.held_bytes += SETTLEMENT_BYTES
        return True
