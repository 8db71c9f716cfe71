"""The operations that a client may do, as sent to it (KIP-430), and Kafka's numbers for them.

A set of operations is a bit field; the bits are the numbers of Kafka's ``AclOperation``.
"""

from typing import Final

from logstore.access.resources import (
    ALL,
    ALTER,
    ALTER_CONFIGS,
    CLUSTER,
    CLUSTER_ACTION,
    CLUSTER_NAME,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    GROUP,
    IDEMPOTENT_WRITE,
    READ,
    WRITE,
)
from logstore.protocols.kafka.client import KafkaClient

NOT_ASKED: Final = -(2**31)

NUMBERS: Final = {
    ALL: 2,
    READ: 3,
    WRITE: 4,
    CREATE: 5,
    DELETE: 6,
    ALTER: 7,
    DESCRIBE: 8,
    CLUSTER_ACTION: 9,
    DESCRIBE_CONFIGS: 10,
    ALTER_CONFIGS: 11,
    IDEMPOTENT_WRITE: 12,
}

# Operations on each kind of object: a channel or queue that a topic's name stands for is described
# as a topic.
OF_TOPIC: Final = (READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS)
OF_GROUP: Final = (READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS)
OF_CLUSTER: Final = (
    CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE,
)  # fmt: skip


def bits(*operations: str) -> int:
    """Operations as Kafka's bit field."""
    return sum(1 << NUMBERS[it] for it in operations)


_ALL_OF_TOPIC: Final = bits(*OF_TOPIC)


def on_topic(client: KafkaClient, name: str) -> int:
    """The operations allowed on the object that a topic's name stands for, as a bit field."""
    if client.rights.all:  # most: a list of all topics need not ask for each
        return _ALL_OF_TOPIC
    kind, of = client.door.objects.of_topic(name)
    return bits(*(it for it in OF_TOPIC if client.sees(it, kind, of)))


def on_group(client: KafkaClient, name: str) -> int:
    """The operations allowed on a group, as a bit field."""
    return bits(*(it for it in OF_GROUP if client.sees(it, GROUP, name)))


def on_cluster(client: KafkaClient, *, asked: bool) -> int:
    """The operations allowed on the cluster, if requested and if the client may see the cluster."""
    if not asked:
        return NOT_ASKED
    if not client.sees_cluster(DESCRIBE):
        return 0
    return bits(*(it for it in OF_CLUSTER if client.sees(it, CLUSTER, CLUSTER_NAME)))
