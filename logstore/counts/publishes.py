"""What is counted of the RabbitMQ door beside its connections and queues."""


class AmqpCounts:
    """Since the process began to serve. Changed in the sessions' thread."""

    __slots__ = (
        "channels_closed", "channels_opened", "confirmed", "dropped", "publishers",
        "queues_declared", "received", "received_confirm", "replied", "returned", "routed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.received = 0  # messages that were published and taken
        self.received_confirm = 0  # of these: by channels that have them confirmed
        self.confirmed = 0  # to their publishers
        self.routed = 0  # to at least one queue
        self.replied = 0  # past all queues, to clients that wait for replies
        self.returned = 0  # to their publishers, for no queue takes them
        self.dropped = 0  # for no queue takes them, and nobody has asked to have them back
        self.channels_opened = 0
        self.channels_closed = 0
        self.queues_declared = 0  # times, also of queues that there are
        self.publishers = 0  # channels that are there and have published

    def channel_closed(self, *, publishes: bool) -> None:
        """One is gone."""
        self.channels_closed += 1
        self.publishers -= publishes
