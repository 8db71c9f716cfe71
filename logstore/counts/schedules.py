"""What is counted of messages and records that wait for their time, since the process began."""


class ScheduleCounts:
    """Of all exchanges, or of all topics."""

    __slots__ = ("cancelled", "delivered", "dropped", "meaningless")

    def __init__(self) -> None:
        self.delivered = 0
        self.cancelled = 0
        self.dropped = 0  # when they were due, no queue was bound, or had room
        self.meaningless = 0  # with a header that is no time
