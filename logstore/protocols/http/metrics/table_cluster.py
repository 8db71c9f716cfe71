"""Metrics of the Kafka cluster of this node; without a cluster, there are none."""

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
    _row("reached", GAUGE, "1 while the Kafka cluster answers this node.",
         _of(lambda it: int(it.failure is None))),
    _row("brokers", GAUGE, "Number of brokers of the Kafka cluster.",
         _of(lambda it: len(it.brokers))),
    _row("queues_refused", GAUGE, "1 if the cluster failed the check at the start, so that this "
         "node serves no queues.",
         _of(lambda it: int(it.no_queues is not None))),
    _row("partitions", GAUGE, "Partitions of the queues' journal (of=queues) and databases of "
         "keys (of=keys), by ownership as this node sees it.", _held),
    _row("partition_epoch", GAUGE, "Epoch of each journal partition and database of keys; each "
         "take-over by a node adds one.", _epochs),
    _row("unacknowledged_bytes", GAUGE, "Bytes that this node has appended and the cluster has "
         "not acknowledged.", _of(lambda it: it.bytes)),
    _row("unacknowledged_appends", GAUGE, "Appends of this node that the cluster has not "
         "acknowledged.", _of(lambda it: it.appends)),
    _row("longest_wait_seconds", GAUGE, "Longest time that the first unacknowledged append of any "
         "partition has waited.", _of(_longest)),
    _row("stalled_partitions", GAUGE, "Partitions whose first unacknowledged append has waited "
         "for more than 2 s.",
         _of(lambda it: it.stalled)),
    _row("stalls", COUNTER, "Waits of more than 2 s for the acknowledgement of a partition that "
         "are over.", _of(lambda it: it.stalls)),
    _row("stalled_seconds", COUNTER, "Total length of the waits of more than 2 s that are over.",
         _of(lambda it: it.stalled_s)),
    _row("facts_unread", GAUGE, "Records of the facts shared by all nodes that this node has not "
         "read yet.",
         _of(lambda it: it.facts_unread)),
)  # fmt: skip
