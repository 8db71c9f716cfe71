r"""The content of bodies: JSON, and lines of JSON.

AMQP names may be any bytes. Names that are not UTF-8 become texts with surrogate escapes, also in
JSON (``"\udcff"``): Python and JavaScript read such a text unchanged.
"""

from typing import Any, Final

import msgspec

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"

_encode = msgspec.json.Encoder().encode


def encode(value: object) -> bytes:
    """A value as JSON."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        import json  # a name that is no UTF-8 is rare

        return json.dumps(msgspec.to_builtins(value)).encode()


def decode(body: bytes) -> Any:  # noqa: ANN401  what JSON holds
    """JSON as a value, whose texts all are ``data`` of AMQP. Raises ValueError."""
    try:
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError:
            return _with_surrogates(body)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _with_surrogates(body: bytes) -> Any:  # noqa: ANN401
    """They are rare, and msgspec takes none. Those that stand for no byte are refused here, too."""
    import json

    found = json.loads(body, parse_constant=_no_number)
    json.dumps(found, ensure_ascii=False).encode(errors="surrogateescape")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def whole(value: object) -> bytes:
    """The body of an answer: JSON, and the end of the line, for who reads it in a terminal."""
    return encode(value) + b"\n"


def refusal(sentence: str, kind: str = "") -> bytes:
    """The body of an answer that says why not. ``kind``: what the library calls this error."""
    about = {"error": sentence}
    if kind:
        about["kind"] = kind
    return whole(about)
