"""Messages of queues to lines of output. Pure; as ``formats`` does it with records."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from logstore.config import nearest

from .formats import Columns, template
from .queueing import shown
from .show import text_or_base64

if TYPE_CHECKING:
    from .queue_site import Peeked, Shown

MessageRenderer = Callable[[Sequence["Shown"]], list[bytes]]
PeekRenderer = Callable[[Sequence["Peeked"]], list[bytes]]


def message_format(text: str) -> MessageRenderer:
    """A renderer for ``raw``, ``hex``, ``json`` or a template. Other text is a usage error."""
    return NAMED[text] if text in NAMED else _template(text, COLUMNS)


def peek_format(text: str) -> PeekRenderer:
    """As ``message_format``, for browsed messages, which have a position and a state."""
    if text == "json":
        return _peeked_json
    return NAMED[text] if text in NAMED else _template(text, PEEK_COLUMNS)


def _template(text: str, columns: Columns) -> Callable[[Sequence[Any]], list[bytes]]:
    try:
        if "{" not in text:
            raise ValueError(
                f"{text!r} is neither {', '.join(NAMED)} nor a template like '{{key}} {{body}}'"
                + nearest(text, NAMED)
            )
        return template(text, columns)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--format'") from None


def _raw(messages: "Sequence[Shown]") -> list[bytes]:
    return [it.body + b"\n" for it in messages]


def _hex(messages: "Sequence[Shown]") -> list[bytes]:
    return [it.body.hex().encode() + b"\n" for it in messages]


def _json(messages: "Sequence[Shown]") -> list[bytes]:
    encode = msgspec.json.Encoder().encode
    return [encode(as_object(it)) + b"\n" for it in messages]


def _peeked_json(messages: "Sequence[Peeked]") -> list[bytes]:
    encode = msgspec.json.Encoder().encode
    return [
        encode({
            "position": it.position, "state": it.state, "time_ms": it.time_ms, **as_object(it),
        }) + b"\n"
        for it in messages
    ]  # fmt: skip


def as_object(message: "Shown") -> dict[str, object]:
    """The message as a JSON object; a body that is not UTF-8 is in base64 and marked so."""
    return {
        "queue": shown(message.queue),
        "exchange": shown(message.exchange),
        "key": shown(message.key),
        "redelivered": message.redelivered,
        "properties": _properties(message),
        "headers": shown(message.headers),
        **text_or_base64("body", message.body),
    }


def _properties(message: "Shown") -> dict[str, object]:
    given = message.properties._asdict().items()
    return {name: shown(it) for name, it in given if it is not None and name != "headers"}


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _compact(value: object) -> bytes:
    return msgspec.json.encode(value)


NAMED: dict[str, MessageRenderer] = {"raw": _raw, "json": _json, "hex": _hex}
COLUMNS: Columns = {
    "queue": (b"%b", lambda messages: [_text(it.queue) for it in messages]),
    "exchange": (b"%b", lambda messages: [_text(it.exchange) for it in messages]),
    "key": (b"%b", lambda messages: [_text(it.key) for it in messages]),
    "body": (b"%b", lambda messages: [it.body for it in messages]),
    "redelivered": (
        b"%b", lambda messages: [b"yes" if it.redelivered else b"no" for it in messages],
    ),
    "headers": (b"%b", lambda messages: [_compact(shown(it.headers)) for it in messages]),
    "properties": (b"%b", lambda messages: [_compact(_properties(it)) for it in messages]),
}  # fmt: skip
PEEK_COLUMNS: Columns = {
    **COLUMNS,
    "position": (b"%b", lambda messages: [it.position.encode() for it in messages]),
    "state": (b"%b", lambda messages: [it.state.encode() for it in messages]),
    "time": (b"%d", lambda messages: [it.time_ms for it in messages]),
}
