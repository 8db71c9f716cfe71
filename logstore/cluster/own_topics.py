"""Creates the nodes' own topics in a cluster if they do not exist, and checks their settings."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from logstore.cluster import own_rules
from logstore.cluster.admin import Made
from logstore.cluster.catalogue import Entry
from logstore.cluster.client import Client
from logstore.cluster.own_rules import OwnTopic
from logstore.cluster.topic_settings import Told
from logstore.errors import LogstoreError, TopicExists

Then = Callable[[Any], None]  # gets what was asked for, or a LogstoreError
_AllTold = Mapping[str, Sequence[Told] | LogstoreError]


class OwnTopics:
    """The nodes' own topics in one cluster. Used in the loop's thread."""

    def __init__(self, client: Client, wanted: Sequence[OwnTopic]) -> None:
        self._client = client
        self._wanted = wanted

    def begin_make(self, then: Then) -> None:
        """Create the missing topics; ``then`` gets None."""
        left = list(self._wanted)

        def following() -> None:
            if left:
                it = left.pop(0)
                self._client.catalogue.find(it.name, partial(found, it))
            else:
                then(None)

        def found(it: OwnTopic, entry: Entry | LogstoreError | None) -> None:
            if isinstance(entry, LogstoreError):
                then(entry)
            elif entry is not None:
                following()
            else:
                brokers = len(self._client.brokers.view.nodes)
                self._client.admin.create(
                    it.name, it.partitions, own_rules.settings_of(it, brokers),
                    partial(made, it.name), own_rules.replicas_of(brokers),
                )  # fmt: skip

        def made(name: str, it: Made | LogstoreError) -> None:
            if isinstance(it, LogstoreError) and not isinstance(it, TopicExists):
                then(it)
            elif isinstance(it, Made) and it.partitions > 0:
                self._client.catalogue.made(name, Entry(it.id, it.partitions))
                following()
            else:  # another node was quicker, or the broker does not say
                self._client.catalogue.find_made(name, shown)

        def shown(it: Entry | LogstoreError) -> None:
            if isinstance(it, LogstoreError):
                then(it)
            else:
                following()

        self._client.begin_start(lambda error: following() if error is None else then(error))

    def begin_check(self, then: Then) -> None:
        """``then`` gets the differences from the required settings, as lines."""
        names = [it.name for it in self._wanted]

        def started(error: LogstoreError | None) -> None:
            if error is None:
                self._client.admin.replicas(names, replicas_known)
            else:
                then(error)

        def replicas_known(found: Mapping[str, int] | LogstoreError) -> None:
            if isinstance(found, LogstoreError):
                then(found)
            elif found:
                self._client.admin.settings(sorted(found), None, partial(told, found))
            else:
                then(self._findings({}, {}))

        def told(replicas: Mapping[str, int], found: _AllTold | LogstoreError) -> None:
            if isinstance(found, LogstoreError):
                then(found)
            else:
                then(self._findings(replicas, found))

        self._client.begin_start(started)

    def _findings(self, replicas: Mapping[str, int], told: _AllTold) -> list[str]:
        brokers = len(self._client.brokers.view.nodes)
        found = own_rules.too_few(brokers)
        for it in self._wanted:
            settings, entry = told.get(it.name), self._client.catalogue.entries.get(it.name)
            if settings is None or entry is None:
                found.append(f"topic {it.name}: it is not there")
            elif isinstance(settings, LogstoreError):
                found.append(str(settings))
            else:
                there = replicas[it.name]
                found += own_rules.findings(it, brokers, entry.partitions, there, settings)
        return found
