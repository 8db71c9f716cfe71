"""Why a connection ends: what its client is told in an ERROR frame."""

from logstore.errors import BrokenProtocol


class StompFault(BrokenProtocol):
    """Something that is not taken: the ERROR's header ``message``, and its body."""

    def __init__(self, message: str, detail: str) -> None:
        """``detail``: may have several lines, as RabbitMQ's have."""
        super().__init__(f"{message}: {' '.join(detail.split())}")
        self.message = message
        self.detail = detail


class BadFrame(StompFault):
    """What arrives is no frame, or a larger one than is taken: nothing behind it can be read."""

    def __init__(self, detail: str) -> None:
        super().__init__("Malformed frame", detail)


class BadDestination(StompFault):
    """What can't be a destination."""


def invalid_header(detail: str) -> StompFault:
    """Of a header whose value can't be taken."""
    return StompFault("Invalid header", detail)
