"""x-delayed-message: wraps another exchange type; messages may be delayed first.

It reads two headers of a message, ``x-delay`` and ``x-deliver-at`` (``schedules/delays.py``). A
message with a future time goes to the exchange's station. All others, and delayed messages when
they are due, are routed by the type in ``x-delayed-type``.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from logstore.broker.routing.arguments import Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.matcher import Destination, Matcher
from logstore.broker.routing.properties import Properties
from logstore.broker.routing.refusals import InvalidDelay, NoDelayedType
from logstore.broker.schedules.delays import (
    DELAY,
    DELIVER_AT,
    WAIT_MAX_MS,
    delay_of,
    moment_of,
)

DELAYED: Final = "x-delayed-message"
DELAYED_TYPE: Final = b"x-delayed-type"

_DELAY, _DELIVER_AT = DELAY.encode(), DELIVER_AT.encode()


def delayed_type(arguments: Arguments) -> str:
    """Return the type by which messages are routed after the delay. Raises NoDelayedType."""
    field = arguments.get(DELAYED_TYPE)
    if field is None or field.kind != "S":
        raise NoDelayedType
    return bytes(field.value).decode("utf-8", "surrogateescape")


class Delayed:
    """Wraps a matcher of that type."""

    by_key = False  # headers decide, too

    def __init__(self, inner: Matcher) -> None:
        self._inner = inner

    def add(self, binding: Binding, destination: Destination) -> None:
        self._inner.add(binding, destination)

    def remove(self, binding: Binding, destination: Destination) -> None:
        self._inner.remove(binding, destination)

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        return self._inner.match(keys, properties)

    def stops(self, keys: Sequence[bytes], properties: Properties) -> bool:
        """Whether the message has a future due time, as far as that can be told without a clock.

        Raises InvalidDelay.
        """
        headers = properties.headers
        if _DELIVER_AT in headers:
            moment = moment_of(_moment(headers[_DELIVER_AT]))
            if moment is not None:
                return moment > 0
        if _DELAY not in headers:
            return False
        given = headers[_DELAY]
        wait = delay_of(_number(given))
        if wait is not None and wait > WAIT_MAX_MS:
            raise InvalidDelay(wait)
        return wait is not None and wait > 0


def _number(value: object) -> object:
    """Return the value of a header of any numeric type."""
    if isinstance(value, Field):
        return value.value if value.kind in "bBsuIilLfdSx" else None
    return value


def _moment(value: object) -> object:
    """Return the value of a header of any numeric type; a timestamp is returned in ms."""
    if isinstance(value, Field) and value.kind == "T":
        return int(value.value) * 1000
    return _number(value)
