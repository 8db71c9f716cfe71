"""Counters of the RabbitMQ door besides its connections and queues."""


class AmqpCounts:
    """The counters since the server started. Changed in the sessions' thread."""

    __slots__ = (
        "channels_closed", "channels_opened", "confirmed", "dropped", "publishers",
        "queues_declared", "received", "received_confirm", "replied", "returned", "routed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.received = 0  # published messages
        self.received_confirm = 0  # of these: by channels that have them confirmed
        self.confirmed = 0  # to their publishers
        self.routed = 0  # to at least one queue
        self.replied = 0  # directly to clients that wait for replies
        self.returned = 0  # to their publishers, because no queue took them
        self.dropped = 0  # no queue took them, and the publisher did not ask for their return
        self.channels_opened = 0
        self.channels_closed = 0
        self.queues_declared = 0  # declarations, including those of existing queues
        self.publishers = 0  # open channels that have published

    def channel_closed(self, *, publishes: bool) -> None:
        """One is gone."""
        self.channels_closed += 1
        self.publishers -= publishes
