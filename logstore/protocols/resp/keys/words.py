"""Parses arguments of commands on collections, with Redis's error replies."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.keys.numerals import as_double
from logstore.protocols.resp.keys.look import BAD_INTEGER, integer_of
from logstore.protocols.resp.wrong import Wrong

BAD_FLOAT: Final = "value is not a valid float"
NOT_POSITIVE: Final = "value is out of range, must be positive"
SYNTAX: Final = "syntax error"
LONG_MAX: Final = 2**63 - 1


def wrong_count(name: str) -> Wrong:
    """The error for too many or too few arguments."""
    return Wrong(f"wrong number of arguments for '{name}' command")


def within(text: bytes, least: int, most: int, wrong: str | None = None) -> int:
    """Parse an integer in this range. Raises Wrong."""
    number = integer_of(text, wrong or BAD_INTEGER)
    if not least <= number <= most:
        raise Wrong(wrong or f"value is out of range, value must between {least} and {most}")
    return number


def count(text: bytes, wrong: str = NOT_POSITIVE) -> int:
    """Parse an integer that is not negative. Raises Wrong."""
    return within(text, 0, LONG_MAX, wrong)


def double(text: bytes, wrong: str = BAD_FLOAT) -> float:
    """Raises Wrong."""
    number = as_double(text)
    if number is None:
        raise Wrong(wrong)
    return number


def some_keys(arguments: Sequence[bytes], at: int, wrong: str) -> tuple[Sequence[bytes], int]:
    """The keys that follow their number ``at``, and the next position. Raises Wrong."""
    number = within(arguments[at], 1, LONG_MAX, wrong)
    return arguments[at + 1 : at + 1 + number], at + 1 + number
