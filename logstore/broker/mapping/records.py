"""Messages as records: what a topic stores of a message that was published to an exchange.

    key        the routing key; null where that is empty, unless ``kafka.key`` says more
    value      the body; null with ``kafka.tombstone``
    timestamp  when it was published, in ms
    headers    amqp.exchange   the exchange's name
               amqp.<property> each property, as a text
               amqp.types      the types of headers that are no text, as JSON
               its own headers, each under its name, as ``values.py`` writes them

An array of texts becomes as many headers of one name.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from logstore.amqp import fields, properties
from logstore.amqp.properties import Properties
from logstore.broker.mapping import names, values
from logstore.records.record import Headers, Message

# Messages mostly come with the same exchange and properties again and again: pairs of some 100
# bytes, and what they come to, are 2 MB.
REMEMBERED_MAX: Final = 4096
REMEMBERED_BYTES_MAX: Final = 1024  # longer ones are hardly sent twice

# Of each property the header that shows it, in their order; "": the headers themselves.
_SHOWN: Final = tuple("" if it == "headers" else f"amqp.{it}" for it in Properties._fields)


class Mapped(NamedTuple):
    """The record headers made from exchange and properties."""

    headers: Headers
    key: bytes | None  # of the record, if the routing key is empty
    tombstone: bool  # the value is null, if the body is empty


class Recording:
    """Converts exchanges and properties to record headers, and remembers recent results."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bool, bool], Mapped] = {}
        self.hidden = 0  # headers that were left out, since only this server may send such

    def record(
        self, exchange: bytes, key: bytes, data: bytes, body: bytes, timestamp_ms: int
    ) -> Message:
        """Return a message as a record to append.

        ``data``: its properties, flags and values. ``timestamp_ms``: when it was published. Raises
        Refusal for illegal properties.
        """
        mapped = self.mapped(exchange, data, keyed=bool(key), filled=bool(body))
        value = None if mapped.tombstone else body
        return Message(value, key or mapped.key, mapped.headers, timestamp_ms)

    def mapped(self, exchange: bytes, data: bytes, *, keyed: bool, filled: bool) -> Mapped:
        """Map the properties. ``keyed``, ``filled``: routing key and body are not empty.

        Raises as ``record``.
        """
        name = exchange, data, keyed, filled
        known = self._known.get(name)
        if known is not None:
            return known
        mapped, hidden = _mapped(exchange, properties.read(data), keyed, filled)
        self.hidden += hidden
        if not hidden and len(data) <= REMEMBERED_BYTES_MAX:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[name] = mapped
        return mapped


def _mapped(exchange: bytes, found: Properties, keyed: bool, filled: bool) -> tuple[Mapped, int]:
    """Map the properties; also return how many headers only the server may send."""
    own = found.headers or {}
    visible = {name: it for name, it in own.items() if not names.hidden(name)}
    key = None if keyed else visible.get(names.KEY)
    if type(key) is str:
        key = fields.data(key)
    if type(key) is bytes:
        del visible[names.KEY]
    tombstone = not filled and visible.get(names.TOMBSTONE) is True
    if tombstone:
        del visible[names.TOMBSTONE]
    headers: Headers = ((names.EXCHANGE, exchange), *_properties(found))
    if visible:
        headers += _headers(visible)
    mapped = Mapped(headers, key if type(key) is bytes else None, tombstone)
    return mapped, len(own) - len(visible) - (type(key) is bytes) - tombstone


def _properties(found: Properties) -> list[tuple[str, bytes]]:
    return [
        (header, fields.data(it if type(it) is str else str(it)))
        for header, it in zip(_SHOWN, found, strict=True)
        if it is not None and header
    ]


def _headers(own: Mapping[str, Any]) -> Headers:
    """Return the message's headers, preceded by their types."""
    types: list[str] = []
    headers: list[tuple[str, bytes | None]] = []
    for name, value in own.items():
        if name == names.BLIND:
            continue
        shown = names.of_record(name)
        if _is_repeated(name, value):
            headers += [(shown, values.written(it)[0]) for it in value]
            continue
        data, kind = values.written(value)
        headers.append((shown, data))
        if name in names.COPIES or not values.is_written_plain(data, kind):
            types.append(f'{_quoted(shown)}:"{kind}"')
    if types:
        headers.insert(0, (names.TYPES, f"{{{','.join(types)}}}".encode()))
    return tuple(headers)


@lru_cache(maxsize=1024)  # few names, in many messages
def _quoted(name: str) -> str:
    return json.dumps(name)


def _is_repeated(name: str, value: Any) -> bool:  # noqa: ANN401
    """Whether the value is written as several headers of one name."""
    least = 1 if name in names.COPIES else 2
    return type(value) is list and len(value) >= least and all(map(values.is_plain, value))
