"""Counters of queues: of each one, and of all queues of a process including deleted ones."""

from typing import Final

from logstore.counts.histogram import MESSAGE_BYTES, Histogram

# Why messages die, in the queues' terms, whether or not they went to a dead-letter exchange.
DEATHS: Final = ("expired", "maxlen", "rejected", "delivery_limit")
NAMES: Final = (
    "published", "delivered", "delivered_no_ack", "got", "got_no_ack", "got_empty", "redelivered",
    "acked", "returned", *DEATHS,
)  # fmt: skip


class QueueCounts:
    """Messages since the process has had the queue. Changed in the sessions' thread."""

    __slots__ = NAMES

    def __init__(self) -> None:
        self.published = 0  # added by publishers or as dead letters
        self.delivered = 0  # to consumers that acknowledge
        self.delivered_no_ack = 0  # to others
        self.got = 0  # fetched one by one, to be acknowledged
        self.got_no_ack = 0
        self.got_empty = 0  # fetches that found the queue empty
        self.redelivered = 0  # deliveries that were repetitions
        self.acked = 0
        self.returned = 0  # returned to their place by clients, or after these had gone
        self.expired = 0
        self.maxlen = 0
        self.rejected = 0
        self.delivery_limit = 0

    @property
    def given_out(self) -> int:
        """To consumers and to those who fetch."""
        return self.delivered + self.delivered_no_ack + self.got + self.got_no_ack

    @property
    def died(self) -> int:
        """For whatever reason."""
        return self.expired + self.maxlen + self.rejected + self.delivery_limit


class QueueTotals(QueueCounts):
    """The counters of all queues of a process, including deleted ones."""

    __slots__ = ("created", "deleted", "sizes")

    def __init__(self) -> None:
        super().__init__()
        self.created = 0  # queues
        self.deleted = 0
        # Of messages as they are put into queues; those of one batch count as their mean.
        self.sizes = Histogram(MESSAGE_BYTES)


def gave(of: QueueCounts, count: int, *, fetched: bool, no_ack: bool) -> None:
    """So many messages were given out."""
    if fetched:
        if no_ack:
            of.got_no_ack += count
        else:
            of.got += count
    elif no_ack:
        of.delivered_no_ack += count
    else:
        of.delivered += count


def died(of: QueueCounts, count: int, reason: str) -> None:
    """So many messages have died of one of ``DEATHS``."""
    setattr(of, reason, getattr(of, reason) + count)
