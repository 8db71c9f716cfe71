"""A topic of a cluster: what is known of it here, and which records it takes."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.rules import Rules, check_partition
from logstore.settings import FOREVER, INT32_MAX, TOPIC_SETTINGS, TopicSettings

from .admin import Setting

# Settings that decide which records it accepts, and their compression.
ASKED: Final = (
    "cleanup.policy",
    "compression.type",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
)
# For a topic with unknown settings: accepts any record.
UNKNOWN: Final[dict[str, object]] = {
    "max.message.bytes": INT32_MAX,
    "message.timestamp.after.max.ms": FOREVER,
    "message.timestamp.before.max.ms": FOREVER,
}


class ClusterTopic:
    """As ``logstore.broker.topic.Topic``, without its logs."""

    def __init__(
        self, name: str, topic_id: str, partitions: range, settings: Sequence[Setting] | None
    ) -> None:
        """``settings``: None if the client may not see them; only the server then checks
        records.
        """
        self.name = name
        self.id = topic_id
        self.created_ms = 0  # the protocol does not tell
        self.partitions = partitions
        known = UNKNOWN if settings is None else {it.name: it.value for it in settings}
        fields = {
            TOPIC_SETTINGS[name].name: value
            for name, value in known.items()
            if name in ASKED
            and type(value) is type(TOPIC_SETTINGS[name].default)  # else another server's own
        }
        # A record that the topic won't take is refused before it is sent, and by its place among
        # the others: a server refuses a whole batch, later, when others are sent already.
        self.rules = Rules(name, TopicSettings(**fields))  # type: ignore[arg-type]

    def partition(self, number: int) -> int:
        """Raises UnknownPartition."""
        check_partition(self.name, self.partitions, number)
        return number
