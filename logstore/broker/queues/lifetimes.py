"""The lifetimes of messages that were published before their queue's limit changed. Pure.

A policy that changes ``message-ttl`` does not apply to messages already in the queue, as in
RabbitMQ: a message's timestamp tells which limit it has.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

EARLIER_MAX: Final = 16  # limits that a queue had; of more, the oldest two are one
NO_LIMIT: Final = -1  # as it is kept

Ttl = int | None


class Earlier(NamedTuple):
    """The limit for messages with a lower timestamp."""

    until_ms: int
    ttl_ms: Ttl


Lifetimes = tuple[Earlier, ...]  # ascending


def changed(earlier: Lifetimes, ttl_ms: Ttl, now_ms: int) -> Lifetimes:
    """Add a change of the TTL: ``ttl_ms`` has applied until now."""
    if earlier and now_ms <= earlier[-1].until_ms:  # at once, or the clock was put back
        return earlier
    found = [*earlier, Earlier(now_ms, ttl_ms)]
    if len(found) > EARLIER_MAX:
        first, second, *rest = found
        found = [Earlier(second.until_ms, _longer(first.ttl_ms, second.ttl_ms)), *rest]
    return tuple(found)


def _longer(one: Ttl, other: Ttl) -> Ttl:
    return None if one is None or other is None else max(one, other)


def ttl_at(earlier: Lifetimes, timestamp_ms: int, now: Ttl) -> Ttl:
    """Return the TTL for a message with this timestamp; ``now``: the TTL for new messages."""
    for until_ms, ttl_ms in earlier:
        if timestamp_ms < until_ms:
            return ttl_ms
    return now


def kept(earlier: Lifetimes, now: Ttl) -> list[int]:
    """Return numbers for a row: pairs of the earlier lifetimes, then the present one."""
    numbers = [number for it in earlier for number in (it.until_ms, _number(it.ttl_ms))]
    return [*numbers, _number(now)]


def _number(ttl_ms: Ttl) -> int:
    return NO_LIMIT if ttl_ms is None else ttl_ms


def read(numbers: Sequence[int]) -> tuple[Lifetimes, Ttl]:
    """Parse the numbers from ``kept``. Raises ValueError."""
    if len(numbers) % 2 != 1:
        raise ValueError(f"{len(numbers)} numbers of lifetimes")
    *pairs, now = (int(it) for it in numbers)
    untils, ttls = pairs[::2], [_ttl(it) for it in pairs[1::2]]
    return tuple(map(Earlier, untils, ttls)), _ttl(now)


def _ttl(number: int) -> Ttl:
    return None if number == NO_LIMIT else number
