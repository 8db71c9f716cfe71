"""Bodies of messages and values of records as JSON: text, or otherwise base64.

A preview is the beginning of the content, because a list of thousands must not contain all of each.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator
from typing import Any, Final

from logstore.http.faults import BAD_REQUEST, Fault

PREVIEW_BYTES: Final = 1024
WHOLE_BYTES_MAX: Final = 1 << 20  # what is larger is downloaded
PIECE_BYTES: Final = 64 << 10  # of what is larger, at a time
TABLE_VALUES_MAX: Final = 1000  # of one table: each takes some 3 us to be checked
TEXT, BASE64 = "text", "base64"
_UTF8_BYTES: Final = 4  # of a character, at most


def shown(data: bytes) -> dict[str, str]:
    """``{"text": ...}`` of what is UTF-8, or ``{"base64": ...}``."""
    try:
        return {TEXT: data.decode()}
    except UnicodeDecodeError:
        return {BASE64: b64encode(data).decode()}


def preview(data: bytes, bytes_max: int = PREVIEW_BYTES) -> dict[str, str]:
    """The same of its beginning; a text ends with a whole character."""
    begin = data[:bytes_max]
    if len(data) <= bytes_max:
        return shown(begin)
    for cut in range(min(_UTF8_BYTES, len(begin))):
        found = shown(begin[: len(begin) - cut])
        if TEXT in found:
            return found
    return shown(begin)


def pieces(whole: bytes) -> Iterator[bytes]:
    """Of what is too large for one answer at once: for ``Call.stream``."""
    view = memoryview(whole)
    return (bytes(view[at : at + PIECE_BYTES]) for at in range(0, len(whole), PIECE_BYTES))


def given(text: str, encoding: str, what: str = "body") -> bytes:
    """The reverse: what a request's text stands for. Raises Fault."""
    if encoding not in (TEXT, BASE64):
        raise Fault(BAD_REQUEST, f"encoding {encoding[:20]!r}: must be text or base64")
    try:
        return text.encode() if encoding == TEXT else b64decode(text, validate=True)
    except (NotBase64, ValueError):  # half a character, too
        raise Fault(BAD_REQUEST, f"the {what} is no {encoding}") from None


def table(found: Any) -> Any:  # noqa: ANN401  what JSON holds
    """A table of AMQP as JSON has it: ``{"base64": ...}`` are bytes. Raises Fault."""
    return _table(found, [TABLE_VALUES_MAX])


def _table(found: Any, left: list[int]) -> Any:  # noqa: ANN401
    left[0] -= 1
    if left[0] < 0:
        raise Fault(BAD_REQUEST, f"a table of over {TABLE_VALUES_MAX} values: use AMQP for that")
    if isinstance(found, list):
        return [_table(it, left) for it in found]
    if not isinstance(found, dict):
        return found
    if found.keys() == {BASE64} and isinstance(found[BASE64], str):
        return given(found[BASE64], BASE64, "value of a table")
    return {name: _table(it, left) for name, it in found.items()}
