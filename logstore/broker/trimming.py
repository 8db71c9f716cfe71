"""Trimming a topic: deleting its records before an offset or a time."""

from collections.abc import Sequence
from typing import NamedTuple

from logstore.broker.start import Start, offset_of
from logstore.broker.topic import Topic


class Trim(NamedTuple):
    """A partition whose records below ``start_after`` were deleted."""

    partition: int
    start_before: int
    start_after: int


def trim(
    topic: Topic, before: Start, partitions: Sequence[int] | None, *, dry_run: bool
) -> list[Trim]:
    """As Store.trim. All positions are found before any partition is trimmed."""
    numbers = range(len(topic.partitions)) if partitions is None else partitions
    logs = {number: topic.partition(number) for number in numbers}
    trims = [Trim(it, log.start, offset_of(log, before)) for it, log in logs.items()]
    if not dry_run:
        for number, _, start in trims:
            logs[number].trim(start)
    return trims
