"""The histories of channels that a node follows over a cluster: their logs are opened for it.

Another node may create a history, and a log may fail. Subscribers wait meanwhile, and continue
where they were once the log is open.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from logstore.broker.channel import Channels
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster_topics import ClusterTopics
from logstore.errors import LogstoreError, UnknownTopic
from logstore.log import Log

AGAIN_S: Final = 1.0  # until a log that could not be opened is tried again


def catch_up(log: Log) -> None:
    """As the ``catch_up`` of Channels.keep."""
    if isinstance(log, ClusterLog):
        log.catch_up()


class NodeHistories:
    """The opening of these logs. For the sessions' thread."""

    def __init__(
        self,
        channels: Channels,
        topics: ClusterTopics,
        after: Callable[[float, Callable[[], object]], object],
    ) -> None:
        """``after``: makes a call after this many seconds."""
        self._channels = channels
        self._topics = topics
        self._after = after
        self._opening: dict[str, bool] = {}  # and whether it was just created
        self._closed = False
        topics.failed = lambda topic: self._failed(topic.name)

    def came(self, topic: str) -> None:
        """Follow a history that was just created, from its start."""
        self._begin(topic, anew=True)

    def _failed(self, topic: str) -> None:
        """Continue a history whose log has failed."""
        if self._channels.keeps_history(topic):
            self._begin(topic, anew=False)

    def _begin(self, topic: str, *, anew: bool) -> None:
        under_way = topic in self._opening
        self._opening[topic] = anew or self._opening.get(topic, False)
        if not under_way:
            self._after(0, partial(self._open, topic))

    def _open(self, topic: str) -> None:
        if not self._closed:
            self._topics.begin_open(topic, 0, partial(self._opened, topic))

    def _opened(self, topic: str, found: Log | LogstoreError) -> None:
        if self._closed:
            return
        is_gone = isinstance(found, UnknownTopic)
        is_open = not isinstance(found, LogstoreError) and self._channels.follow(
            topic.encode(), anew=self._opening[topic]
        )
        if is_gone or is_open:
            del self._opening[topic]
        else:
            self._after(AGAIN_S, partial(self._open, topic))

    def close(self) -> None:
        """Open none any more."""
        self._closed = True
