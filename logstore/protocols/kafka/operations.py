"""What a client may do: everything, as long as nobody has to say who they are (KIP-430).

A set of operations is a number with a bit for each, by the numbers of Kafka's ``AclOperation``.
"""

from typing import Final

READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, CLUSTER_ACTION = range(3, 10)
DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE = range(10, 13)
NOT_ASKED: Final = -(2**31)


def _all(*operations: int) -> int:
    return sum(1 << operation for operation in operations)


OF_TOPIC: Final = _all(
    READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS
)
OF_GROUP: Final = _all(READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS)
OF_CLUSTER: Final = _all(
    CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE
)


def allowed(operations: int, asked: bool) -> int:
    """``operations``, where the client asked for them."""
    return operations if asked else NOT_ASKED
