"""Messages of input lines into an exchange: what ``exchange publish`` does with them."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from .lines import Wanted
from .options import pairs

if TYPE_CHECKING:
    from logstore.broker.queues.handles import Exchange
    from logstore.records.record import Headers, Message

_NUMBERS = ("priority", "delivery_mode", "timestamp")


def properties_option(texts: Sequence[str] | None) -> dict[str, Any]:
    """``priority=5`` and so on. Another name, or no number where one must be, is a usage error."""
    from logstore.amqp.properties import Properties

    names = [it for it in Properties._fields if it != "headers"]
    found: dict[str, Any] = {}
    for name, text in pairs(texts, "--property").items():
        known = name.replace("-", "_")
        if known not in names:
            raise typer.BadParameter(
                f"no property {name!r}; there are {', '.join(names)}", param_hint="'--property'"
            )
        if known in _NUMBERS and not (text.isascii() and text.isdecimal()):
            raise typer.BadParameter(f"{name}={text}: takes a number", param_hint="'--property'")
        found[known] = int(text) if known in _NUMBERS else text
    return found


class MessageSink:
    """As ``Sink``: each call returns when its messages are synced."""

    def __init__(self, exchange: "Exchange", properties: dict[str, Any]) -> None:
        self.acknowledged = 0
        self.unrouted = 0  # messages that no queue took
        self._exchange = exchange
        self._properties = properties

    def send(self, body: str, wanted: Wanted) -> None:
        """One message."""
        from logstore.records.record import Message

        self.send_many([Message(os.fsencode(body), wanted.key, wanted.headers)])

    def send_many(self, messages: "Sequence[Message]", partition: int | None = None) -> None:
        """As Sink.send_many; runs of messages with equal headers go together. Raises Refused."""
        at = 0
        while at < len(messages):
            headers, end = messages[at][2], at + 1
            while end < len(messages) and messages[end][2] == headers:
                end += 1
            self._send(messages[at:end], headers)
            at = end

    def _send(self, messages: "Sequence[Message]", headers: "Headers") -> None:
        from logstore.errors import Refused

        run = [
            (value or b"", (key or b"").decode("utf-8", "surrogateescape"))
            for value, key, _, _ in messages
        ]
        table = {name: _header(value) for name, value in headers} or None
        routed = self._exchange.publish_many(run, headers=table, **self._properties)
        self.unrouted += len(routed.unrouted)
        self.acknowledged += len(run) - len(routed.rejected)
        if routed.rejected:
            raise Refused(
                f"a queue is full and took none of {len(routed.rejected)} messages; consume it, "
                f"then publish them again"
            )

    def push(self) -> None:
        """All is synced already."""

    def flush(self) -> None:
        """All is synced already."""


def _header(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
