"""Counters of delayed messages and records since the server started."""


class ScheduleCounts:
    """The counters of all exchanges, or of all topics."""

    __slots__ = ("cancelled", "delivered", "dropped", "meaningless")

    def __init__(self) -> None:
        self.delivered = 0
        self.cancelled = 0
        self.dropped = 0  # due, but no queue was bound or had room
        self.meaningless = 0  # with a header that is not a time
