"""The record that a share group's dead-letter topic gets for one that has died (KIP-1191). Pure.

Its headers say where the other one stands, which group has given up on it, after how many
deliveries, and why. It has that one's key, value and headers only where the group's settings say
so; ours come behind those.
"""

from typing import Final, NamedTuple

from logstore.broker.shares.partition import Death
from logstore.records.record import Headers, Record

TOPIC: Final = "__dlq.errors.topic"
PARTITION: Final = "__dlq.errors.partition"
OFFSET: Final = "__dlq.errors.offset"
GROUP: Final = "__dlq.errors.group"
DELIVERY_COUNT: Final = "__dlq.errors.delivery.count"
MESSAGE: Final = "__dlq.errors.message"

# As Kafka has them.
REJECTED: Final = "Offset rejected by client."
TOO_OFTEN: Final = "Offset delivery count exceeded the threshold."

# Value, key, headers, and no timestamp: it is of the moment at which it is written.
Letter = tuple[bytes | None, bytes | None, Headers, None]


class Origin(NamedTuple):
    """Where those stand that have died, and who has given up on them."""

    topic: str
    partition: int
    group: str


def letter_of(death: Death, origin: Origin, copied: Record | None, passed: Headers = ()) -> Letter:
    """``copied``: the record itself, if it is to be in it. ``passed``: headers that stay, else."""
    why = REJECTED if death.rejected else TOO_OFTEN
    before = passed if copied is None else copied.headers
    headers = (
        *before,
        (TOPIC, origin.topic.encode()),
        (PARTITION, b"%d" % origin.partition),
        (OFFSET, b"%d" % death.offset),
        (GROUP, origin.group.encode()),
        (DELIVERY_COUNT, b"%d" % death.deliveries),
        (MESSAGE, why.encode()),
    )
    return (None, None, headers, None) if copied is None else (
        copied.value, copied.key, headers, None
    )  # fmt: skip


def path_of(record: Record) -> Headers:
    """Of one that is a dead letter itself: the topics in which it has died, one behind the other.

    Those headers stay, whatever else does, so that a letter does not go round.
    """
    return tuple([it for it in record.headers if it[0] == TOPIC])


def circular(path: Headers, to: str) -> bool:
    """Whether it has died in this topic before."""
    name = to.encode()
    return any(topic == name for _, topic in path)
