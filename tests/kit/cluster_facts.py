"""What a node may know of its cluster."""

from logstore.cluster_seen import BehindSeen, BrokerSeen, ClusterSeen, PartitionSeen

WELL = {
    "cluster": "kafka-1:9092", "cluster_id": "abc", "failure": None, "node": "node-1",
    "no_queues": None, "assigned_by": "group", "group_failure": None,
    "brokers": [BrokerSeen(1, "kafka-1:9092", "", True)],
    "partitions": [
        PartitionSeen(0, "here", "node-1", "host-1:7070", 1000, 3, None),
        PartitionSeen(1, "elsewhere", "node-2", "host-2:7070", 2000, 7, None),
    ],
    "databases": [PartitionSeen(0, "here", "node-1", "host-1:7070", 1000, 5, None)],
    "bytes": 30, "appends": 3, "behind": [BehindSeen("orders-0", 30, 3, 0.5)], "stalled": 0,
    "stalls": 2, "stalled_s": 7.5, "facts_unread": 4, "facts_failure": None,
}  # fmt: skip


def cluster(**others):
    return ClusterSeen(**(WELL | others))
