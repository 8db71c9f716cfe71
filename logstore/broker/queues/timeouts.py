"""Consumers that may hold a message only for a limited time (x-consumer-timeout)."""

from collections import deque
from typing import Final

from logstore.broker.queues.pending import NO_TIME
from logstore.broker.queues.subscription import Subscription

GRAIN_MS: Final = 1000  # deliveries within a second of each other count as one


class Timeouts:
    """The timeouts of one queue. They cost nothing if no consumer has one."""

    def __init__(self, timeout_ms: int | None) -> None:
        """``timeout_ms``: of consumers without their own timeout."""
        self.timeout_ms = timeout_ms
        # When the consumer was sent messages, and the tag after the last of them.
        self._had: dict[Subscription, deque[tuple[int, int]]] = {}

    def had(self, consumer: Subscription, upto: int, now_ms: int) -> None:
        """Note that the consumer was sent messages, with tags below ``upto``."""
        if self._of(consumer) is None or consumer.no_ack:
            return
        sent = self._had.setdefault(consumer, deque())
        if sent and now_ms - sent[-1][0] < GRAIN_MS:
            sent[-1] = (sent[-1][0], upto)
        else:
            sent.append((now_ms, upto))

    def forget(self, consumer: Subscription) -> None:
        self._had.pop(consumer, None)

    def _of(self, consumer: Subscription) -> int | None:
        """Return the consumer's timeout in ms; None: it has none. A timeout of 0 means none too."""
        return (self.timeout_ms if consumer.timeout_ms is None else consumer.timeout_ms) or None

    @property
    def deadline_ms(self) -> int:
        """When a consumer must be checked."""
        found = NO_TIME
        for consumer, sent in self._had.items():
            timeout_ms = self._of(consumer)
            if sent and timeout_ms:
                found = min(found, sent[0][0] + timeout_ms)
        return found

    def due(self, now_ms: int) -> list[Subscription]:
        """Return the consumers that have held a message too long."""
        found = []
        for consumer, sent in self._had.items():
            timeout_ms = self._of(consumer)
            if timeout_ms is None:  # a policy that gave it one is gone
                continue
            oldest = None
            while sent and sent[0][0] + timeout_ms <= now_ms:
                if oldest is None:
                    oldest = consumer.channel.unacked.oldest(consumer)
                if oldest is not None and oldest < sent[0][1]:
                    found.append(consumer)
                    break
                sent.popleft()
        return found
