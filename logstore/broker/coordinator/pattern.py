"""Topics subscribed to by a pattern, which the server matches in the new protocol (KIP-848).

Whoever writes a pattern must not be able to stall the others, so the engine is RE2, as Kafka's:
its time is linear in the text, and what would need more memory is refused.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, Final

from logstore.broker.coordinator.refusal import GroupError, Refusal

REMEMBERED_MAX: Final = 1024  # patterns, compiled, and topics of patterns; others are made anew


@lru_cache(REMEMBERED_MAX)
def compiled(pattern: str) -> Any:  # noqa: ANN401  re2 ships no type information
    """Raises Refusal."""
    import re2  # 15 ms that only groups with patterns pay

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        [reason] = error.args
        raise Refusal(
            GroupError.INVALID_REGULAR_EXPRESSION,
            f"subscription {pattern!r}: {reason.decode(errors='replace')}: RE2 has no such pattern",
        ) from None


class Patterns:
    """Which topics match; each pattern is looked up once for the same topics."""

    def __init__(self, names: Callable[[], Collection[str]]) -> None:
        """``names``: of all topics; what has changed there is told by ``topics_changed``."""
        self._names = names
        self._found: dict[str, frozenset[str]] = {}

    def topics(self, pattern: str) -> frozenset[str]:
        """The names of those that match as a whole; the pattern has been compiled before."""
        found = self._found.get(pattern)
        if found is None:
            match = compiled(pattern).fullmatch
            found = frozenset(name for name in self._names() if match(name.encode()))
            if len(self._found) >= REMEMBERED_MAX:
                self._found.clear()
            self._found[pattern] = found
        return found

    def topics_changed(self) -> None:
        self._found.clear()
