"""Values in scripts: converted from command replies and to script replies by Redis's rules for Lua.

A number is a float or an int, a text is bytes, nothing is False, a table of numbers 1.. is a list.
"""

import math
from collections.abc import Generator
from typing import Any, Final, TypeAlias

from logstore.broker.keys.numerals import strtod
from logstore.protocols.resp import replies
from logstore.protocols.resp.replies import Version
from logstore.slices import parts

Value: TypeAlias = "bytes | int | float | bool | list[Value] | None"
AT_ONCE: Final = 100  # values of a list, in steps
_SPACE: Final = b" \t\r\n\f\v"


class Status(bytes):
    """A reply such as ``+OK``."""

    __slots__ = ()


class Failed(Exception):
    """``redis.call`` received an error reply, which becomes the script's reply."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text  # with its code


class Given(tuple[bytes, ...]):
    """KEYS or ARGV; a script that uses more than were given fails."""

    __slots__ = ()

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401
        """Raises Failed."""
        try:
            return super().__getitem__(place)
        except IndexError:
            raise Failed(b"ERR user_script: it needs more keys or arguments") from None


def parsed(reply: bytes, at: int = 0) -> tuple[Value, int]:
    """A RESP2 reply as a script's value, and the position after it. Raises Failed."""
    end = reply.index(b"\r\n", at)
    mark, line, after = reply[at : at + 1], reply[at + 1 : end], end + 2
    if mark == b":":
        return int(line), after
    if mark == b"+":
        return Status(line), after
    if mark == b"-":
        raise Failed(line)
    size = int(line)
    if size < 0:
        return False, after
    if mark == b"$":
        return reply[after : after + size], after + size + 2
    items: list[Value] = []
    for _ in range(size):
        item, after = parsed(reply, after)
        items.append(item)
    return items, after


def parsing(reply: bytes) -> Generator[int, None, Value]:
    """As ``parsed`` for a whole reply, with a list read in steps. Raises Failed."""
    if not reply.startswith(b"*"):
        return parsed(reply)[0]
    end = reply.index(b"\r\n")
    size, at = int(reply[1:end]), end + 2
    if size < 0:
        return False
    items: list[Value] = []
    for number in range(1, size + 1):
        item, at = parsed(reply, at)
        items.append(item)
        if not number % AT_ONCE:
            yield AT_ONCE
    return items


def replied(value: Value, version: Version) -> bytes:
    """The value as a client's reply. A list ends at its first ``None``."""
    if value is True:
        return replies.integer(1)
    if value is None or value is False:
        return replies.NULL[version]
    if isinstance(value, (int, float)):
        return replies.integer(int(value) if math.isfinite(value) else -(2**63))
    if isinstance(value, Status):
        return replies.simple(value)
    if isinstance(value, bytes):
        return replies.bulk(value)
    return replies.array([replied(it, version) for it in _upto_nothing(value)])


def replying(value: Value, version: Version) -> Generator[int, None, bytes]:
    """As ``replied``, with a list encoded in steps."""
    if not isinstance(value, list):
        return replied(value, version)
    said: list[bytes] = []
    for some in parts(_upto_nothing(value), AT_ONCE):
        said += [replied(it, version) for it in some]
        yield len(some)
    return replies.array(said)


def _upto_nothing(listed: list[Value]) -> list[Value]:
    return listed[: listed.index(None)] if None in listed else listed


def number(value: Value) -> float | None:
    """The value's number, as ``tonumber`` returns it; None if it has none."""
    if value is True or value is False or value is None or isinstance(value, list):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    text = value.strip(_SPACE)
    found, size, _ = strtod(text)
    return found if text and size == len(text) and not math.isnan(found) else None


def sure(value: Value) -> float:
    """As ``number``, for a value that must be a number. Raises Failed."""
    found = number(value)
    if found is None:
        raise Failed(b"ERR user_script: attempt to perform arithmetic on what is no number")
    return found


def argument(value: Value) -> bytes:
    """The value as ``redis.call`` passes it to a command."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return b"%d" % int(value) if value == int(value) else b"%.17g" % value
    raise Failed(b"ERR Lua redis lib command arguments must be strings or integers")


def shown(value: float) -> bytes:
    """The number as ``tostring`` writes it."""
    return b"%.14g" % value
