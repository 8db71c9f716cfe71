"""Requests of other nodes about this node's volatile queues: PUT and CHANGE."""

from collections.abc import Callable, Mapping
from typing import Final

from logstore.broker.queues.message import Showing
from logstore.broker.queues.pending import Pending, Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.refusals import Locked
from logstore.broker.queues.vhost import Vhost
from logstore.broker.queues.volatile import words
from logstore.broker.queues.volatile.words import Bound, Gone
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import BrokenProtocol, CorruptBatch, LogstoreError, Refused
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.record import Record
from logstore.relay.wire import Source

BROUGHT_MAX: Final = 1000  # messages of one batch: as many as publishing puts into one

Answered = Callable[[bytes | LogstoreError], None]


class Brought:
    """The requests to one node. In the sessions' thread."""

    def __init__(self, soon: Callable[[Callable[[], object]], object]) -> None:
        """``soon``: as ``Turn.soon``, from any thread."""
        self._soon = soon
        self._vhosts: Mapping[bytes, Vhost] = {}
        self._showing = Showing()

    def of(self, vhosts: Mapping[bytes, Vhost]) -> None:
        """Set the virtual hosts whose queues other nodes use."""
        self._vhosts = vhosts

    def queue(self, vhost: bytes, name: bytes) -> Queue:
        """Return a volatile queue of this node. Raises NoQueue."""
        there = self._vhosts.get(vhost)
        queue = None if there is None else there.topology.queue(name)
        if not isinstance(queue, Queue) or queue.facts.lasts:
            raise NoQueue(name)
        return queue

    def put(self, content: bytes, then: Answered) -> None:
        """Store a batch that another node publishes. Raises BrokenProtocol.

        A deleted queue discards the batch without an error, as for a publisher at the queue's own
        node.
        """
        vhost, name, number, data = words.put(content)
        records = _records(data)
        try:
            queue = self.queue(vhost, name)
        except NoQueue:
            then(b"")
            return
        if queue.id != number:
            then(b"")
            return
        there = self._vhosts[vhost]
        framed = []
        for record in records:
            shown = self._showing.shown(record.headers)
            framed.append(there.framing.framed(shown.exchange, shown.properties, shown.deaths))
        routes = [(queue,)] * len(records)
        keys, bodies = [it.key or b"" for it in records], [it.value or b"" for it in records]
        published = there.publish_columns(routes, keys, bodies, framed)
        if published.rejected:
            published.waiting.close()
            then(published.error or Refused(f"queue {name!r} has no room for it"))
        else:
            self._when_safe(published.waiting, then)

    def _when_safe(self, waiting: Waiting, then: Answered) -> None:
        answered = False

        def look() -> None:
            nonlocal answered
            if not answered and waiting.settled():
                answered = True
                then(b"" if waiting.failed is None else waiting.failed)

        def wake() -> None:
            self._soon(look)

        waiting.watch(wake)
        look()

    def change(self, content: bytes, then: Answered) -> None:
        """Make the changes that another node asks for. Raises BrokenProtocol, LogstoreError."""
        for item in words.items(Source(memoryview(content))):
            match item:
                case Gone(vhost, name):
                    queue = self.queue(vhost, name)
                    _check_free(queue)
                    _, pending = self._vhosts[vhost].delete_queue(queue)
                case Bound(vhost, binding, there):
                    _check_free(self.queue(vhost, binding.destination))
                    of = self._vhosts[vhost]
                    pending = of.bind(binding) if there else of.unbind(binding)
                case _:
                    raise BrokenProtocol("a node says that a queue of another one is there")
            _answer(pending, then)
            return
        raise BrokenProtocol("a node asks for no change")


def _answer(pending: Pending | None, then: Answered) -> None:
    if pending is None:
        then(b"")
    else:
        pending.then(lambda it: then(b"" if it.error is None else it.error))


def _check_free(queue: Queue) -> None:
    if queue.facts.exclusive:
        raise Locked(queue.facts.name)


def _records(data: memoryview) -> list[Record]:
    try:
        batch = Batch(data)
        count = batch.record_count
        if batch.compression is not Compression.NONE or not 0 < count <= BROUGHT_MAX:
            raise BrokenProtocol(f"a batch for a queue has {count} records, or is compressed")
        return list(decode(batch))
    except CorruptBatch as error:
        raise BrokenProtocol(f"a batch for a queue: {error}") from None
