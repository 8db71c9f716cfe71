"""What is counted of one door."""


class DoorCounts:
    """Since the process began to serve. Changed in the sessions' thread.

    Bytes are those of connections that are gone: whoever reads them adds those that are there.
    """

    __slots__ = (
        "bytes_in", "bytes_out", "closed", "messages_in", "messages_out", "opened", "refused",
        "slow",
    )  # fmt: skip

    def __init__(self) -> None:
        self.opened = 0  # connections that came in
        self.closed = 0  # of these: those that are gone
        self.refused = 0  # that did not come in: too many, a failed handshake, too often
        self.slow = 0  # that were cut off, and had left unread what they were sent
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0  # records, messages: what was published and taken
        self.messages_out = 0  # that were given out, once for each client that got them
