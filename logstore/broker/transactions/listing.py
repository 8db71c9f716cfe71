"""Selects transactional ids for a ListTransactions request (KIP-664, KIP-994, KIP-1152). Pure.

Kafka treats an id without an open transaction as open since 1969; here it has no duration.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from logstore.broker.transactions.state import BY_WIRE_NAME, State
from logstore.broker.transactions.transactional_id import NEVER, TransactionalId


class Asked(NamedTuple):
    """The conditions that an id must satisfy."""

    states: frozenset[State]  # one of these; of none: any
    pids: frozenset[int]
    duration_ms: int  # a transaction that is open for longer; below 0: anything
    pattern: Any  # of re2, which has no types; None: any name
    nothing: bool  # no id is in any of the states that were named

    def of(self, ids: Iterable[TransactionalId], now_ms: int) -> Iterator[TransactionalId]:
        """Yield the ids that match."""
        for it in ids:
            if (
                not self.nothing
                and (not self.states or it.state in self.states)
                and (not self.pids or it.pid in self.pids)
                and (self.duration_ms < 0 or _is_longer(it, self.duration_ms, now_ms))
                and (self.pattern is None or self.pattern.fullmatch(it.name.encode()))
            ):
                yield it


def _is_longer(it: TransactionalId, duration_ms: int, now_ms: int) -> bool:
    return it.began_ms != NEVER and now_ms - it.began_ms > duration_ms


def asked(
    states: Collection[str],
    pids: Collection[int],
    duration_ms: int = -1,
    pattern: Any = None,  # noqa: ANN401  re2 ships no type information
) -> tuple[Asked, list[str]]:
    """Return the parsed request, and its unknown states."""
    known = frozenset(BY_WIRE_NAME[it] for it in states if it in BY_WIRE_NAME)
    unknown = [it for it in states if it not in BY_WIRE_NAME]
    return Asked(
        known,
        frozenset(pids),
        duration_ms,
        pattern,
        nothing=bool(states) and not known,
    ), unknown
