"""Records of one topic into another: what ``replay --into`` does."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from logstore.config import text_of
from logstore.errors import InvalidRecord, LogstoreError
from logstore.records.record import Message

from .ends import CommandFailed, Stopped, say
from .show import counted

if TYPE_CHECKING:
    from logstore.records.record import Record

    from .site import Sink, Site, Topic


class Copy:
    """To the partition of the same number; by key where the topics have more or fewer."""

    def __init__(
        self, store: "Site", target: "Site", source_name: str, name: str, *, restamp: bool
    ) -> None:
        partitions = len(store.topic(source_name).partitions)
        topic = _topic_like(store, source_name, target, name)
        self._what = f"of {source_name} into {name}"
        self._same_partitions = len(topic.partitions) == partitions
        self._restamp = restamp
        self._producer: Sink = target.producer(name)

    def run(self, past: "Iterator[list[Record]]", *, paced: bool) -> int:
        """Copy; returns the number of records. ``paced``: records are to be visible at once.

        Raises CommandFailed, Stopped.
        """
        began = time.monotonic()
        try:
            for records in past:
                self._send(records)
                if paced:
                    self._producer.flush()
            self._producer.flush()
        except Stopped:
            self._producer.flush()
            say(f"logstore: stopped: {self._done()}")
            raise
        except InvalidRecord as error:
            self._producer.flush()
            raise CommandFailed(f"{error}; {self._done()}") from None
        except LogstoreError as error:
            raise CommandFailed(f"{error}; {self._done()}") from error
        say(f"{self._done()} in {time.monotonic() - began:.2f} s")
        return self._producer.acknowledged

    def _send(self, records: "list[Record]") -> None:
        if not self._same_partitions:
            self._producer.send_many([self._message(record) for record in records])
            return
        by_partition: dict[int, list[Message]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(self._message(record))
        for partition, messages in by_partition.items():
            self._producer.send_many(messages, partition)

    def _message(self, record: "Record") -> "Message":
        timestamp = None if self._restamp else record.timestamp_ms
        return Message(record.value, record.key, record.headers, timestamp)

    def _done(self) -> str:
        return f"replayed {counted(self._producer.acknowledged, 'record')} {self._what}"


def _topic_like(store: "Site", source_name: str, target: "Site", name: str) -> "Topic":
    """The topic, created with the source's partitions and settings if it does not exist."""
    if name in target.topics():
        return target.topic(name)
    own = [chosen for chosen in store.describe_topic(source_name) if chosen.source == "topic"]
    settings = {chosen.name: text_of(chosen.value) for chosen in own}
    return target.create_topic(name, len(store.topic(source_name).partitions), settings)
