"""The dead letter of a share group's record (KIP-1191). Pure.

Its headers state the position of the dead record, the group that gave up on it, the number of
deliveries, and the reason. It has the record's key, value and headers only if the group's settings
say so; these headers come after the record's own.
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
    """The source of dead records: topic, partition and group."""

    topic: str
    partition: int
    group: str


def letter_of(death: Death, origin: Origin, copied: Record | None, passed: Headers = ()) -> Letter:
    """Return the dead letter.

    ``copied``: the record, if the letter is to contain it. ``passed``: otherwise the headers that
    it keeps.
    """
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
    """Return the topics in which a record, itself a dead letter, has died, in order.

    These headers are always kept, so that a letter does not go round in a circle.
    """
    return tuple([it for it in record.headers if it[0] == TOPIC])


def circular(path: Headers, to: str) -> bool:
    """Whether the record has died in this topic before."""
    name = to.encode()
    return any(topic == name for _, topic in path)
