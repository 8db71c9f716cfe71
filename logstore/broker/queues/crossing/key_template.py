"""The template of routing keys for records that a topic route publishes.

    {key}                the record's key
    {topic}, {partition} where it stands
    {header:NAME}        the last header of this name
    {{ and }}            these signs
    {key|TEXT}           TEXT where the record has no key, or no such header

Without a TEXT, a missing part is empty. But if the route has a fallback, that becomes the whole
routing key, also if the routing key would be longer than 255 bytes (without a fallback, it is empty
then).
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from logstore.amqp.fields import data
from logstore.errors import Refused
from logstore.records.record import Record

KEY_BYTES_MAX: Final = 255  # AMQP's short strings
TEMPLATE_BYTES_MAX: Final = 1024  # it stands in a row of the catalogue
PLAIN: Final = "{key}"

_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_HEADER: Final = "header:"

Part = Callable[[Record], bytes | None]  # None: the record has not that


def _key(record: Record) -> bytes | None:
    return record.key


def _topic(record: Record) -> bytes:
    return record.topic.encode()


def _partition(record: Record) -> bytes:
    return str(record.partition).encode()


_NAMED: Final[dict[str, Part]] = {"key": _key, "topic": _topic, "partition": _partition}


class KeyTemplate:
    """One compiled template."""

    def __init__(self, text: str, fallback: str | None = None) -> None:
        """Parse the template. Raises Refused if it is illegal."""
        self.text = text
        self.fallback = None if fallback is None else _bytes(fallback, "fallback")
        if self.fallback is not None and len(self.fallback) > KEY_BYTES_MAX:
            raise Refused(f"a fallback of {len(self.fallback)} bytes: at most {KEY_BYTES_MAX}")
        if len(_bytes(text, "template")) > TEMPLATE_BYTES_MAX:
            raise Refused(f"a template of more than {TEMPLATE_BYTES_MAX} bytes")
        self._parts = _parts(text)
        constant = [it for it in self._parts if isinstance(it, bytes)]
        # The same for all records: then nothing has to be looked at.
        self.literal = b"".join(constant) if len(constant) == len(self._parts) else None
        if self.literal is not None and len(self.literal) > KEY_BYTES_MAX:
            raise Refused(f"a routing key of {len(self.literal)} bytes: at most {KEY_BYTES_MAX}")
        self.key: Callable[[Record], bytes] = self._plain if text == PLAIN else self._any

    def _plain(self, record: Record) -> bytes:
        key = record[4]
        if key is None or len(key) > KEY_BYTES_MAX:
            return self.fallback or b""
        return key

    def _any(self, record: Record) -> bytes:
        if self.literal is not None:
            return self.literal
        found = [it if isinstance(it, bytes) else it(record) for it in self._parts]
        if None in found and self.fallback is not None:
            return self.fallback
        key = b"".join([it for it in found if it is not None])
        return key if len(key) <= KEY_BYTES_MAX else self.fallback or b""


def _parts(text: str) -> Sequence[bytes | Part]:
    parts: list[bytes | Part] = []
    at = 0
    for found in _PART.finditer(text):
        parts.append(data(text[at : found.start()]))
        at = found.end()
        sign = found[0]
        if sign in ("{{", "}}"):
            parts.append(sign[:1].encode())
        elif found[1] is None:
            raise Refused(f"template {text!r}: a lone {sign!r}: write {sign + sign!r} for a brace")
        else:
            parts.append(_place(text, found[1]))
    parts.append(data(text[at:]))
    return [it for it in parts if it != b""]


def _place(text: str, inner: str) -> Part:
    name, bar, default = inner.partition("|")
    if name in _NAMED:
        part = _NAMED[name]
    elif name.startswith(_HEADER) and len(name) > len(_HEADER):
        part = _header(name.removeprefix(_HEADER))
    else:
        raise Refused(
            f"template {text!r}: no field {{{inner}}}; there are {{key}}, {{topic}}, "
            f"{{partition}} and {{header:NAME}}"
        )
    if not bar:
        return part
    instead = data(default)

    def with_default(record: Record) -> bytes:
        found = part(record)
        return instead if found is None else found

    return with_default


def _header(name: str) -> Part:
    def last(record: Record) -> bytes | None:
        for own, value in reversed(record.headers):
            if own == name:
                return value
        return None

    return last


def _bytes(text: str, what: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"a {what} is a str, not {type(text).__name__}")
    try:
        return data(text)
    except UnicodeEncodeError:
        raise Refused(f"a {what} must be text: {text[:20]!r}") from None
