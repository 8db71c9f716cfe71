"""Topics that other nodes have announced: each is looked for until a broker knows it."""

from collections.abc import Callable
from functools import partial
from typing import Final

from logstore.broker.topic import Topic
from logstore.cluster.catalogue import MISSING_S
from logstore.cluster_topics import ClusterTopics
from logstore.errors import LogstoreError

# Brokers learn of a topic one after the other, and a name that was not there just now is not asked
# for again at once. What is not found so is found with all topics, within half a minute.
TRIES: Final = 5
AGAIN_S: Final = MISSING_S + 0.1
NAMES_MAX: Final = 10_000  # at one time


class Announced:
    """The announced topics of one node. For the sessions' thread."""

    def __init__(
        self, topics: ClusterTopics, after: Callable[[float, Callable[[], object]], object]
    ) -> None:
        """``after``: makes a call after this many seconds."""
        self._topics = topics
        self._after = after
        self._names: set[str] = set()  # that are looked for

    def __contains__(self, name: str) -> bool:
        """Whether the topic is looked for: another node has announced it."""
        return name in self._names

    def heard(self, name: str) -> None:
        """Look for a topic that another node has announced."""
        if name not in self._names and len(self._names) < NAMES_MAX:
            self._names.add(name)
            self._look(name, TRIES)

    def _look(self, name: str, tries: int) -> None:
        def found(it: Topic | LogstoreError | None) -> None:
            if isinstance(it, Topic) or tries == 1:
                self._names.discard(name)
            else:
                self._after(AGAIN_S, partial(self._look, name, tries - 1))

        self._topics.begin_find(name, found)
