"""The reasons why definitions are refused."""

from typing import Final

from logstore.errors import Refused

BYTES_MAX: Final = 10_000_000  # of JSON: what RabbitMQ takes


class InvalidDefinitions(Refused):
    """Definitions that are invalid or cannot be imported. ``reason``: in RabbitMQ's words."""

    def __init__(self, sentence: str, reason: object = None) -> None:
        super().__init__(f"definitions: {sentence}: nothing was changed")
        self.reason = sentence if reason is None else reason
