"""Metrics of the cluster that the server is a node of; there are none where it is of none."""

from collections.abc import Callable, Iterator
from typing import Final

from logstore.cluster_seen import ALL_HELD, ClusterSeen
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

QUEUES: Final = "queues"
KEYS: Final = "keys"


def _of(value: Callable[[ClusterSeen], Value]) -> Samples:
    def now(scene: Scene) -> Value | None:
        return None if scene.cluster is None else value(scene.cluster)

    return one(now)


def _held(scene: Scene) -> Iterator[Sample]:
    if scene.cluster is not None:
        for state in ALL_HELD:
            yield labels({"of": QUEUES, "state": state}), scene.cluster.count(state)
            yield labels({"of": KEYS, "state": state}), scene.cluster.count_databases(state)


def _epochs(scene: Scene) -> Iterator[Sample]:
    if scene.cluster is not None:
        for of, its in ((QUEUES, scene.cluster.partitions), (KEYS, scene.cluster.databases)):
            for it in its:
                if it.epoch is not None:
                    yield labels({"of": of, "partition": str(it.partition)}), it.epoch


def _longest(seen: ClusterSeen) -> Value:
    return max((it.waits_s for it in seen.behind), default=0.0)


def _row(name: str, kind: str, help_: str, samples: Samples) -> Row:
    return Row(Family(f"logstore_cluster_{name}", kind, help_), samples, "logstore")


ROWS: Final = (
    _row("reached", GAUGE, "1 while the cluster of this node answers.",
         _of(lambda it: int(it.failure is None))),
    _row("brokers", GAUGE, "Brokers that it says it has.", _of(lambda it: len(it.brokers))),
    _row("queues_refused", GAUGE, "1 where the cluster failed its self-check at the start.",
         _of(lambda it: int(it.no_queues is not None))),
    _row("partitions", GAUGE, "Partitions of the queues' journal, and databases of keys, by who "
         "owns them, as this node has it.", _held),
    _row("partition_epoch", GAUGE, "Epochs of the fences of these partitions: each take-over is "
         "one more.", _epochs),
    _row("unacknowledged_bytes", GAUGE, "What this node has appended, and the cluster has not "
         "acknowledged.", _of(lambda it: it.bytes)),
    _row("unacknowledged_appends", GAUGE, "The same, in appends.", _of(lambda it: it.appends)),
    _row("longest_wait_seconds", GAUGE, "How long the append that waits longest has been the first "
         "of its partition.", _of(_longest)),
    _row("stalled_partitions", GAUGE, "Partitions that have acknowledged nothing for 2 s.",
         _of(lambda it: it.stalled)),
    _row("stalls", COUNTER, "Times that a partition has acknowledged nothing for 2 s, and then "
         "did.", _of(lambda it: it.stalls)),
    _row("stalled_seconds", COUNTER, "How long these were.", _of(lambda it: it.stalled_s)),
    _row("facts_unread", GAUGE, "Records of what all nodes know that this one has not read.",
         _of(lambda it: it.facts_unread)),
)  # fmt: skip
