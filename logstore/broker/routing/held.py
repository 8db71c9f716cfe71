"""A container for what is stored under one key: nothing, one thing, or many in order.

Most of a hundred thousand keys have one thing, and a dictionary for each key would take 232 bytes.
"""

from collections.abc import Hashable, Iterable
from typing import TypeAlias, TypeVar

_T = TypeVar("_T", bound=Hashable)

# How often each was added; no thing is a dict, which can't be hashed.
Held: TypeAlias = _T | dict[_T, int] | None


def joined(held: Held[_T], thing: _T) -> Held[_T]:
    """Add one more of the thing; the argument must not be used any more."""
    if held is None:
        return thing
    if not isinstance(held, dict):
        held = {held: 1}
    held[thing] = held.get(thing, 0) + 1
    return held


def without(held: Held[_T], thing: _T) -> Held[_T]:
    """Remove one of the thing, which must be present; the argument must not be used any more."""
    if not isinstance(held, dict):
        assert held == thing
        return None
    if held[thing] > 1:
        held[thing] -= 1
    else:
        del held[thing]
    return held or None


def each(held: Held[_T]) -> Iterable[_T]:
    """Return each thing once, in the order of arrival."""
    if held is None:
        return ()
    return held if isinstance(held, dict) else (held,)
