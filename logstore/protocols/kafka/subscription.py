"""What a consumer of the classic protocol says of itself: the metadata of its JoinGroup."""

from collections.abc import Collection

from logstore.errors import BrokenProtocol
from logstore.kafka import wire

# Kafka's ConsumerProtocolSubscription: a version, then the topics; more follows in every version.
_read_topics, _ = wire.array(*wire.string(compact=False, nullable=False), False, False)


def topics_of(metadata: bytes) -> Collection[str] | None:
    """The topics that it subscribes to; None where it speaks a protocol of its own."""
    try:
        _, at = wire.read_int16(metadata, 0)
        topics, _ = _read_topics(metadata, at)
    except BrokenProtocol:
        return None
    found: list[str] = topics
    return found
