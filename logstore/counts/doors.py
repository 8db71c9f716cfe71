"""Counters of one door."""


class DoorCounts:
    """The counters of one door since the server started. Changed in the sessions' thread.

    Bytes are those of closed connections; readers add those of open ones.
    """

    __slots__ = (
        "bytes_in", "bytes_out", "closed", "messages_in", "messages_out", "opened", "refused",
        "slow",
    )  # fmt: skip

    def __init__(self) -> None:
        self.opened = 0  # connections that came in
        self.closed = 0  # connections that were closed
        self.refused = 0  # refused connections: too many, too often, a failed handshake
        self.slow = 0  # connections that were closed with data that the client had not read
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0  # published records or messages
        self.messages_out = 0  # sent to clients, once for each client
