"""Metrics of Redis's keys."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from logstore.protocols.http.metrics.exposition import (
    COUNTER,
    GAUGE,
    Family,
    Sample,
    Value,
    labels,
)
from logstore.protocols.http.metrics.rows import Row
from logstore.protocols.http.metrics.scene import Samples, Scene, one

if TYPE_CHECKING:
    from logstore.broker.keys.keys import Keys
    from logstore.broker.keys.keyspace import Keyspace


def _each(value: "Callable[[Keyspace], int]") -> Samples:
    """Of the databases that have keys."""

    def samples(scene: Scene) -> Iterator[Sample]:
        keys = scene.house.keys_of.opened
        for it in () if keys is None else keys.databases:
            if len(it):
                yield labels({"database": str(it.number)}), value(it)

    return samples


def _all(value: "Callable[[Keyspace], int]") -> Samples:
    """Of all together, also of those that have none any more."""

    def counted(scene: Scene) -> Value:
        keys = scene.house.keys_of.opened
        return 0 if keys is None else sum(map(value, keys.databases))

    return one(counted)


def _state(value: "Callable[[Keys], bool]") -> Samples:
    def now(scene: Scene) -> Value:
        keys = scene.house.keys_of.opened
        return 0 if keys is None else int(value(keys))

    return one(now)


def _row(name: str, kind: str, help_: str, samples: Samples) -> Row:
    return Row(Family(f"logstore_keys{name}", kind, help_), samples, "logstore")


ROWS: Final = (
    _row("", GAUGE, "Number of keys, by database.", _each(len)),
    _row("_expiring", GAUGE, "Number of keys with an expiry time, by database.",
         _each(lambda it: len(it.deadlines))),
    _row("_bytes", GAUGE, "Approximate memory of keys and values, by database.",
         _each(lambda it: it.contents.bytes)),
    _row("_hits", COUNTER, "Reads of keys that existed.", _all(lambda it: it.hits)),
    _row("_misses", COUNTER, "Reads of keys that did not exist.",
         _all(lambda it: it.misses)),
    _row("_expired", COUNTER, "Keys that expired.", _all(lambda it: it.expired)),
    _row("_evicted", COUNTER, "Keys that were evicted because memory was short.",
         _all(lambda it: it.evicted)),
    _row("_loading", GAUGE, "1 while keys are being loaded from disk.",
         _state(lambda it: it.loading)),
    _row("_failing", GAUGE, "1 while changes of keys cannot be written.",
         _state(lambda it: it.failing is not None)),
)  # fmt: skip
