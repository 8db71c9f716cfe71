"""A partition of a cluster without lasting content, for tests of what nodes rely on."""

from collections.abc import Callable
from typing import Any, Final

from logstore.cluster import self_check
from logstore.cluster.client import Client
from logstore.cluster.identity import Identity, Then
from logstore.cluster.own_rules import OwnTopic
from logstore.cluster.own_topics import OwnTopics
from logstore.cluster.self_check import SelfCheck
from logstore.cluster.writer import News, PartitionWriter
from logstore.errors import LogstoreError

TOPIC: Final = OwnTopic(
    self_check.TOPIC, 1, {"cleanup.policy": "delete", "retention.ms": str(24 * 3_600_000)}
)
PLACE: Final = TOPIC.name, 0

Told = Callable[[Any], None]


class Scratch:
    """The ``self_check.Around`` of one test. Used in the loop's thread."""

    def __init__(self, client: Client, name: str, now_ms: Callable[[], int]) -> None:
        """``name``: the name for its appends, which nothing else uses."""
        self._client = client
        self._name = name
        self.now_ms = now_ms
        self.now = client.around.now
        self.call_at = client.around.call_at

    def begin_make(self, then: Told) -> None:
        """Create its topic; ``then`` gets None."""
        OwnTopics(self._client, [TOPIC]).begin_make(then)

    def check_fence(self, cluster: str, then: Callable[[LogstoreError | None], object]) -> None:
        """As SelfCheck; its topic is there."""
        SelfCheck(self, cluster, then)

    def named(self, then: Then) -> None:
        """As Around.named."""
        self._client.identities.named(self._name, then)

    def opened(self, identify: Callable[[Then], None], news: News) -> PartitionWriter:
        """As Around.opened."""
        return PartitionWriter(self._client.writer, *PLACE, identify, news)

    def opened_as(self, identity: Identity, news: News) -> PartitionWriter:
        """The partition's log for that producer."""
        return self.opened(lambda then: then(identity), news)

    def trim(self, before: int, then: Told) -> None:
        """As Around.trim."""
        self._client.offsets.delete_below(PLACE, before, then)
