"""A topic of a cluster: what is known of it here, and which records it takes."""

from collections.abc import Sequence, Sized
from typing import Final, cast

from logstore.broker.topic import Topic
from logstore.errors import UnknownPartition
from logstore.log import Log
from logstore.settings import TOPIC_SETTINGS, TopicSettings

from .admin import Setting

# What of its settings tells which records it takes, and how they are compressed.
RULES: Final = (
    "cleanup.policy",
    "compression.type",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
)


class ClusterTopic:
    """As ``logstore.broker.topic.Topic``, without its logs."""

    def __init__(
        self, name: str, topic_id: str, partitions: range, settings: Sequence[Setting]
    ) -> None:
        self.name = name
        self.id = topic_id
        self.created_ms = 0  # the protocol does not tell
        self.partitions = partitions
        known = {it.name: it.value for it in settings if it.name in RULES}
        fields = {
            TOPIC_SETTINGS[name].name: value
            for name, value in known.items()
            if type(value) is type(TOPIC_SETTINGS[name].default)  # else only other servers know it
        }
        # A record that the topic won't take is refused before it is sent, and by its place among
        # the others: a server refuses a whole batch, later, when others are sent already.
        unopened = cast("Sequence[Log]", partitions)  # its logs are only counted here
        self.rules = Topic(name, topic_id, unopened, TopicSettings(**fields), 0)  # type: ignore[arg-type]

    def partition(self, number: int) -> int:
        """Raises UnknownPartition."""
        check_partition(self.name, self.partitions, number)
        return number


def check_partition(topic: str, partitions: Sized, number: int) -> None:
    """Raises UnknownPartition."""
    if not 0 <= number < len(partitions):
        raise UnknownPartition(
            f"topic {topic!r} has no partition {number}, only 0 to {len(partitions) - 1}"
        )
