"""Messages of input lines on their way into an exchange."""

from collections.abc import Sequence
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Any

import typer

from .options import pairs

if TYPE_CHECKING:
    from logstore.broker.queues.message import Message as Wanted
    from logstore.errors import Refused
    from logstore.records.record import Message

_NUMBERS = ("priority", "delivery_mode", "timestamp")


def properties_option(texts: Sequence[str] | None) -> dict[str, Any]:
    """Properties such as ``priority=5``. An unknown name or an invalid value is a usage error."""
    from logstore.amqp.properties import Properties, write

    names = [it for it in Properties._fields if it != "headers"]
    found: dict[str, Any] = {}
    for name, text in pairs(texts, "--property").items():
        known = name.replace("-", "_")
        if known not in names:
            raise typer.BadParameter(
                f"no property {name!r}; there are {', '.join(names)}", param_hint="'--property'"
            )
        if known in found:
            raise typer.BadParameter(f"{known!r} is given twice", param_hint="'--property'")
        if known in _NUMBERS and not (text.isascii() and text.isdecimal()):
            raise typer.BadParameter(f"{name}={text}: must be a number", param_hint="'--property'")
        found[known] = int(text) if known in _NUMBERS else text
        if known == "expiration":
            found[known] = _expiration(text)
        try:
            write(Properties(**{known: found[known]}))
        except (StructError, ValueError):
            raise typer.BadParameter(
                f"{name}={text[:20]}: too large for this property", param_hint="'--property'"
            ) from None
    return found


def _expiration(text: str) -> str:
    """An expiration such as ``60000`` or ``90s`` in milliseconds, as AMQP has it."""
    from logstore.amounts import amount, examples

    if text.isascii() and text.isdecimal():
        return text
    found = amount(text, "ms")
    if found is None:
        raise typer.BadParameter(
            f"expiration={text}: must be a number of ms, or an amount such as {examples('ms')}",
            param_hint="'--property'",
        )
    return str(found)


def full(count: int) -> "Refused":
    """The error for messages of a run that were refused."""
    from logstore.errors import Refused

    from .show import counted

    return Refused(
        f"a queue is full and did not take {counted(count, 'message')}; consume it, then publish "
        f"{'it' if count == 1 else 'them'} again"
    )


class Encoder:
    """Of one exchange: messages with the same properties, and each its own key and headers."""

    def __init__(self, exchange: str, properties: dict[str, Any]) -> None:
        from logstore.broker.queues.given import message_of, name_of

        self._message_of = message_of
        self._exchange = name_of(exchange)
        self._properties = properties

    def encode(self, messages: "Sequence[Message]") -> "list[Wanted]":
        """Encode messages. Raises InvalidRecord for the first invalid one."""
        return [self._one(index, message) for index, message in enumerate(messages)]

    def _one(self, index: int, message: "Message") -> "Wanted":
        from logstore.errors import InvalidRecord, Refused

        value, key, headers, _ = message
        table = {name: _text(it) for name, it in headers} or None
        try:
            return self._message_of(
                self._exchange, value or b"", _text(key) or "", table, dict(self._properties)
            )
        except (Refused, ValueError) as error:
            raise InvalidRecord(str(error), index) from None


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "surrogateescape")
