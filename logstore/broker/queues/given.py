"""Converts names, tables and properties from users of the library to AMQP's form. Pure.

Invalid values are refused here, before anything reaches a queue: TypeError for a wrong type,
ValueError or a LogstoreError for a value that does not fit.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from logstore.amqp import fields, properties
from logstore.amqp.fields import NESTED_MAX
from logstore.amqp.properties import Properties
from logstore.broker.queues.limits import CHECKS
from logstore.broker.queues.message import Message
from logstore.config import nearest
from logstore.errors import InvalidName, Refused

SHORT_BYTES_MAX: Final = 255  # of names and routing keys: AMQP's short strings
BODY_BYTES_MAX: Final = 128 << 20  # as RabbitMQ's largest; a batch is read whole
PERSISTENT: Final = 2  # delivery_mode: what clients of other brokers look at
# Of properties that are numbers: how large they may be. All others are texts.
NUMBERS: Final = {"delivery_mode": 0xFF, "priority": 0xFF, "timestamp": (1 << 64) - 1}
_PLAIN: Final[tuple[Any, ...]] = (int, str, float, bytes)

Table = Mapping[str, Any]


def name_of(text: str, what: str = "name") -> bytes:
    """Return a name as bytes. Raises InvalidName if it is too long or has a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(f"a {what} is a str, not {type(text).__name__}")
    try:
        data = fields.data(text)
    except UnicodeEncodeError:
        raise InvalidName(f"a {what} must be text: {text[:20]!r}") from None
    if len(data) > SHORT_BYTES_MAX:
        raise InvalidName(
            f"a {what} of {len(data)} bytes ({text[:20]!r}...): at most {SHORT_BYTES_MAX}"
        )
    return data


def number(given: object, what: str, low: int, high: int) -> int:
    """Return a checked integer. Raises TypeError, ValueError."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{what} is an int, not {type(given).__name__}")
    if not low <= given <= high:
        raise ValueError(f"{what} {given}: must be {low} to {high}")
    return int(given)


def value(given: Any, deep: int = 0) -> Any:  # noqa: ANN401  what a table holds
    """Return a value for a table; a datetime becomes an AMQP timestamp.

    Raises TypeError for an unsupported type, ValueError for a value that does not fit: a number
    above 64 bits, a lone surrogate, or tables nested deeper than consumers read.
    """
    if deep > NESTED_MAX:
        raise ValueError(f"tables nested more than {NESTED_MAX} deep")
    if isinstance(given, datetime):
        return fields.Timestamp(_seconds(given))
    if isinstance(given, Mapping):
        return {_name(name): value(it, deep + 1) for name, it in given.items()}
    if isinstance(given, list | tuple):
        return [value(it, deep + 1) for it in given]
    if type(given) not in fields.KINDS:  # an enumeration's member, for instance
        given = next((it(given) for it in _PLAIN if isinstance(given, it)), given)
    if isinstance(given, str):
        _text(given)
    elif isinstance(given, int | Decimal):
        fields.table({"": given})  # whether it fits: as it travels
    elif not (given is None or isinstance(given, float | bytes)):
        raise TypeError(f"a table can't hold a {type(given).__name__}")
    return given


def _text(given: str) -> bytes:
    try:
        return fields.data(given)
    except UnicodeEncodeError:
        raise ValueError(f"not valid text: {given[:20]!r}") from None


def _name(given: object) -> str:
    name = str(given)
    if len(_text(name)) > SHORT_BYTES_MAX:
        raise ValueError(f"a name in a table, {name[:20]!r}...: at most {SHORT_BYTES_MAX} bytes")
    return name


def table(given: Table | None, what: str) -> dict[str, Any]:
    """Return a checked table; ``what`` names it in errors. Raises TypeError, ValueError."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} are a mapping, not {type(given).__name__}")
    found: dict[str, Any] = value(given)
    return found


def argument_table(arguments: Table | None, given: Table) -> dict[str, Any]:
    """Return the queue arguments; ``max_priority=5`` is ``x-max-priority``.

    Raises Refused for an unknown one.
    """
    found = table(arguments, "arguments")
    known = {it.decode().removeprefix("x-").replace("-", "_"): it.decode() for it in CHECKS}
    for name, it in given.items():
        if name not in known:
            raise Refused(
                f"no queue argument is called {name!r}{nearest(name, known)}; arguments="
                " accepts any name"
            )
        if it is not None:
            found[known[name]] = value(it)
    return found


def _seconds(given: datetime) -> int:
    """Return the seconds since 1970, as in AMQP. Raises ValueError."""
    try:
        seconds = int(given.timestamp())
    except (OverflowError, OSError, ValueError):  # of no year that the platform knows
        seconds = -1
    if seconds < 0:
        raise ValueError(f"{given} is before 1970, where times begin")
    return seconds


def property_of(name: str, given: Any) -> Any:  # noqa: ANN401
    """Return a checked property, which is not None. Raises TypeError, ValueError."""
    if name not in Properties._fields:
        raise TypeError(f"no property {name!r}{nearest(name, Properties._fields)}")
    if name == "timestamp" and isinstance(given, datetime):
        given = _seconds(given)
    if name in NUMBERS:
        return number(given, name, 0, NUMBERS[name])
    if name == "expiration" and isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    try:
        name_of(given, name)
    except InvalidName as error:
        raise ValueError(str(error)) from None
    return given


def message_of(
    exchange: bytes, body: bytes, key: str, headers: Table | None, given: Table
) -> Message:
    """Return a checked message.

    Raises TypeError, ValueError; InvalidName; Refused for a body that is too large.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"a body is bytes, not {type(body).__name__}")
    if len(body) > BODY_BYTES_MAX:
        raise Refused(f"a body of {len(body)} bytes: at most {BODY_BYTES_MAX}; split it")
    found = {name: property_of(name, it) for name, it in given.items() if it is not None}
    found.setdefault("delivery_mode", PERSISTENT)
    wanted = Properties(headers=table(headers, "headers") or None, **found)
    return Message(exchange, name_of(key, "routing key"), properties.write(wanted), body)
