"""The producers, consumers and listeners that a store has handed out, and whether it is open.

They are closed together with the store, and raise errors in a fork, as it does.
"""

import threading
import weakref
from collections.abc import Callable, MutableSet
from functools import partial
from typing import TypeVar

from logstore import forks
from logstore.broker.consumer import Consumer
from logstore.broker.listening import Listener
from logstore.broker.producer import Producer, flush_all
from logstore.broker.topic import Topic
from logstore.errors import Closed, Forked, LogstoreError, UnknownPartition, UnknownTopic

_Handle = TypeVar("_Handle", Producer, Consumer, Listener)


class Handles:
    """The objects that one store has handed out. From any thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        # A producer without references may still have gathered records: they are not lost.
        self._producers: set[Producer] = set()
        self._consumers: weakref.WeakSet[Consumer] = weakref.WeakSet()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._lock = threading.RLock()  # guards the handles, and whether the store is closed
        self._closed = False
        self._forked: Forked | None = None

    def forked(self, error: Forked) -> None:
        """As Forkable.forked."""
        self._lock = threading.RLock()
        self._closed, self._forked = True, error
        handles: list[forks.Forkable] = [*self._producers, *self._consumers, *self._listeners]
        for handle in handles:
            handle.forked(error)

    def check_open(self) -> None:
        """Check that the store is open. Raises Closed, Forked."""
        if self._closed:
            raise self._forked or Closed(f"{self._path}: the store is closed")

    def producer(self, topic: Topic, batch_bytes: int, compression: str | None) -> Producer:
        """Return a new producer. Raises InvalidSetting."""
        closed = partial(self._producer_closed, topic.name)
        return self._keep(Producer(topic, batch_bytes, compression, closed), self._producers)

    def _producer_closed(self, topic: str, producer: Producer, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, UnknownTopic | UnknownPartition):
            for consumer in list(self._consumers):
                consumer.lose_output(topic, error)
        self._producers.discard(producer)  # last: until then a commit finds it

    def flush_producers(self) -> None:
        """Wait until all sent records are synced. Raises StorageFull, LogFailed, Forked."""
        flush_all(list(self._producers))

    def consumer(self, consumer: Consumer) -> Consumer:
        """Register the consumer, which is closed with the store, and return it."""
        return self._keep(consumer, self._consumers)

    def listener(self, listen: Callable[[Callable[[Listener], None]], Listener]) -> Listener:
        """Return what ``listen(forget)`` makes; it is closed with the store unless forgotten
        before.
        """
        return self._keep(listen(self._listeners.discard), self._listeners)

    def _keep(self, handle: _Handle, handles: MutableSet[_Handle]) -> _Handle:
        with self._lock:
            if not self._closed:
                handles.add(handle)
                return handle
        handle.close()
        self.check_open()
        raise AssertionError("what is closed is not opened again")

    def shut(self) -> list[Callable[[], None]] | None:
        """Mark the store as closed; return the calls that close all handles; None: it was closed.

        A consumer leaves its group; the record that it handed out last is not done.
        """
        with self._lock:
            if self._closed:
                return None
            self._closed = True
            closings: list[Callable[[], None]] = [it.close for it in self._listeners]
            closings += [it.close for it in self._producers]
            closings += [partial(it.close, last_done=False) for it in self._consumers]
            return closings


def close_all(closings: list[Callable[[], None]]) -> LogstoreError | None:
    """Call each of them, whatever the others raise; return the first error."""
    failures: list[LogstoreError] = []
    for close in closings:
        try:
            close()
        except LogstoreError as error:
            failures.append(error)
    return failures[0] if failures else None
