"""Errors that end a connection, as told to the client in an ERROR frame."""

from logstore.errors import BrokenProtocol


class StompFault(BrokenProtocol):
    """A refusal: the ERROR's header ``message``, and its body."""

    def __init__(self, message: str, detail: str) -> None:
        """``detail``: may have several lines, as RabbitMQ's have."""
        super().__init__(f"{message}: {' '.join(detail.split())}")
        self.message = message
        self.detail = detail


class BadFrame(StompFault):
    """An invalid or too large frame, after which nothing can be read."""

    def __init__(self, detail: str) -> None:
        super().__init__("Malformed frame", detail)


class BadDestination(StompFault):
    """An invalid destination."""


def invalid_header(detail: str) -> StompFault:
    """Of a header whose value can't be taken."""
    return StompFault("Invalid header", detail)
