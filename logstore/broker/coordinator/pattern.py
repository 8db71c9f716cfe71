"""Subscriptions by pattern, which the server matches in the new protocol (KIP-848).

A client's pattern must not stall other clients, so the engine is RE2, as in Kafka: its time is
linear in the text, and a pattern that needs too much memory is refused.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, Final

from logstore.broker.coordinator.refusal import GroupError, Refusal

PATTERN_BYTES_MAX: Final = 4096  # a subscription in use has some ten; compiling is 6 us a byte
# What a pattern may become: repetitions of repetitions are short to write and long to match.
PROGRAM_BYTES_MAX: Final = 1 << 20
REMEMBERED_MAX: Final = 1024  # compiled patterns and their topics; others are recomputed


@lru_cache(REMEMBERED_MAX)
def compiled(pattern: str) -> Any:  # noqa: ANN401  re2 ships no type information
    """Compile a pattern. Raises Refusal."""
    if len(pattern.encode()) > PATTERN_BYTES_MAX:
        raise Refusal(
            GroupError.INVALID_REGULAR_EXPRESSION,
            f"a pattern of {len(pattern.encode())} bytes; at most {PATTERN_BYTES_MAX} are allowed",
        )
    import re2  # 15 ms that only groups with patterns pay

    options = re2.Options()
    options.log_errors = False
    options.max_mem = PROGRAM_BYTES_MAX
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        [reason] = error.args
        raise Refusal(
            GroupError.INVALID_REGULAR_EXPRESSION,
            f"subscription {pattern!r} is not a pattern of RE2: {reason.decode(errors='replace')}",
        ) from None


class Patterns:
    """The topics that match; each topic is compared with a pattern once. From any thread."""

    def __init__(self, names: Callable[[], Collection[str]]) -> None:
        """``names`` returns the names of all topics; ``topics_changed`` must be called when they
        change.
        """
        self._names = names
        # By pattern: the names it was compared with, and those of them that match.
        self._found: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._current: set[str] = set()  # patterns that were compared with all names

    def knows(self, pattern: str) -> bool:
        """Whether ``topics`` is quick for this pattern."""
        return pattern in self._found

    def topics(self, pattern: str) -> frozenset[str]:
        """Return the names of the topics that match as a whole. Raises Refusal."""
        known = self._found.get(pattern)
        if known is not None and pattern in self._current:
            return known[1]
        compared, matching = known or (frozenset(), frozenset())
        self._current.add(pattern)  # before the names are read: a change meanwhile undoes it
        names = frozenset(self._names())
        match = compiled(pattern).fullmatch
        new = frozenset(name for name in names - compared if match(name.encode()))
        found = (matching & names) | new
        if len(self._found) >= REMEMBERED_MAX:
            self._found.clear()
        self._found[pattern] = names, found
        return found

    def topics_changed(self) -> None:
        """Note that topics were added or removed."""
        self._current.clear()
