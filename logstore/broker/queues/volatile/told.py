"""Tells other nodes about this node's volatile queues, in order, and tracks what they know.

Each node that asks receives all queues and bindings, and afterwards the changes, each in its
present state. A node that continues to ask knows what it was told before.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, Protocol

from logstore.broker.queues.pending import Pending
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.vhost import Vhost
from logstore.broker.queues.volatile.words import (
    ANEW,
    BEGINS,
    ON,
    WHOLE,
    Bound,
    Came,
    Gone,
    Item,
    item_bytes,
)
from logstore.broker.routing.binding import Binding
from logstore.errors import BrokenProtocol, LogstoreError
from logstore.relay.wire import numbered

ITEMS_MAX: Final = 200  # of one answer: some 2 ms here, and there
ANSWER_BYTES: Final = 256 << 10  # beside its last item
KEYS_MAX: Final = 100_000  # pending for a node; with more it gets the whole table again
PATIENCE_S: Final = 1.0  # that a declaration waits for nodes which say nothing

Key = tuple[bytes, bytes | Binding]  # virtual host; a queue's name, or a binding
Answered = Callable[[bytes | LogstoreError], None]
After = Callable[[float, Callable[[], object]], object]


class Asking(Protocol):
    """A node that asks over one link."""

    @property
    def node(self) -> bytes:
        """The name of the node; empty once the link is closed."""


class _Listener:
    """A node that asks."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.keys: dict[Key, int] = {}  # keys to send, each with its change number; ascending
        self.queues: Iterator[Key] | None = None  # still to be told of, of all there were
        self.begins = True
        self.then: Answered | None = None  # while it waits
        self.told = self.known = 0  # changes; the first are on their way
        self.slow = False  # changes do not wait for it


class Told:
    """The changes of one node. In the sessions' thread."""

    def __init__(self, soon: Callable[[Callable[[], object]], object], after: After) -> None:
        """``soon``: as ``Turn.soon``. ``after``: schedules a call after a number of seconds."""
        self._soon = soon
        self._after = after
        self._vhosts: Mapping[bytes, Vhost] = {}
        self._listeners: dict[bytes, _Listener] = {}  # by node
        self._changes = 0
        self._waiting: deque[tuple[int, Pending]] = deque()  # until all know that many
        self._patient = False  # a timer runs

    def of(self, vhosts: Mapping[bytes, Vhost]) -> None:
        """Set the virtual hosts whose queues other nodes are told of."""
        self._vhosts = vhosts

    def changed(self, key: Key) -> None:
        """Note that a queue or a binding was added or removed."""
        if not self._listeners:
            return
        self._changes += 1
        for it in self._listeners.values():
            it.keys.pop(key, None)  # a queue comes before what is bound to it
            it.keys[key] = self._changes
            if len(it.keys) > KEYS_MAX:
                self._begin(it)
        self._soon(self._tell)

    def unknown(self) -> Pending | None:
        """Return what finishes once all reachable nodes know the present queues; None: they know
        them.
        """
        if self._all_know(self._changes):
            return None
        if not self._waiting or self._waiting[-1][0] != self._changes:
            pending = Pending()
            self._waiting.append((self._changes, pending))
            self._be_patient()
        return self._waiting[-1][1]

    def _all_know(self, changes: int) -> bool:
        return all(
            it.known >= changes or it.slow or not it.asking.node for it in self._listeners.values()
        )

    def _look(self) -> None:
        while self._waiting and self._all_know(self._waiting[0][0]):
            self._waiting.popleft()[1].finish(None)

    def _be_patient(self) -> None:
        if not self._patient:
            self._patient = True
            self._after(PATIENCE_S, partial(self._late, self._changes))

    def _late(self, changes: int) -> None:
        """Stop waiting for nodes that know fewer than ``changes`` changes."""
        self._patient = False
        for it in self._listeners.values():
            it.slow = it.slow or it.known < changes
        self._look()
        if self._waiting:
            self._be_patient()

    # Nodes that ask

    def ask(self, asking: Asking, content: bytes, then: Answered) -> None:
        """Answer a question of kind TABLE. Raises BrokenProtocol."""
        its = self._listeners.get(asking.node)
        if content == ANEW:
            its = self._listeners[asking.node] = _Listener(asking)
            self._changes += 1
            its.told = self._changes - 1
            self._begin(its)
        elif content != ON or its is None or its.asking is not asking or its.then is not None:
            raise BrokenProtocol("a node asks on for volatile queues, and has not begun")
        its.known, its.slow = its.told, False
        its.then = then
        self._look()
        self._answer(its)

    def _begin(self, its: _Listener) -> None:
        its.keys.clear()
        its.queues, its.begins = self._all_queues(), True

    def _all_queues(self) -> Iterator[Key]:
        found = [(it.name, queue) for it in self._vhosts.values() for queue in it.with_lanes()]
        return iter([(vhost, it.facts.name) for vhost, it in found if not it.facts.lasts])

    def _tell(self) -> None:
        for node, it in list(self._listeners.items()):
            if it.asking.node:
                self._answer(it)
            else:
                del self._listeners[node]
        self._look()

    def _answer(self, its: _Listener) -> None:
        if its.then is None or not (its.keys or its.queues is not None):
            return
        out: list[bytes] = []
        size = 0
        while len(out) < ITEMS_MAX and size < ANSWER_BYTES and self._next_key(its):
            key = next(iter(its.keys))
            del its.keys[key]
            found = item_bytes(self._item(key))
            size += len(found)
            out.append(found)
        whole = not its.keys and its.queues is None
        flags = BEGINS * its.begins + WHOLE * whole
        if whole:
            its.told = self._changes
        elif its.queues is None:
            its.told = next(iter(its.keys.values())) - 1
        then, its.then, its.begins = its.then, None, False
        then(b"".join((numbered(flags), *out)))

    def _next_key(self, its: _Listener) -> bool:
        """Return whether a key is left to send; adds the next queue with its bindings if needed."""
        if not its.keys and its.queues is not None:
            vhost, name = key = next(its.queues, (b"", b""))
            if not name:
                its.queues = None
                return False
            assert isinstance(name, bytes)
            its.keys[key] = self._changes
            its.keys.update(((vhost, it), self._changes) for it in self._bindings(vhost, name))
        return bool(its.keys)

    def _bindings(self, vhost: bytes, name: bytes) -> list[Binding]:
        there = self._vhosts.get(vhost)
        if there is None or self._queue(vhost, name) is None:
            return []
        return [it for it in there.topology.bindings_to(name) if it.source]

    def _queue(self, vhost: bytes, name: bytes) -> Queue | None:
        """Return a volatile queue of this node, or None."""
        there = self._vhosts.get(vhost)
        queue = None if there is None else there.topology.queue(name)
        return queue if isinstance(queue, Queue) and not queue.facts.lasts else None

    def _item(self, key: Key) -> Item:
        """Return the present state of a queue or binding."""
        vhost, what = key
        if isinstance(what, Binding):
            there = self._queue(vhost, what.destination) is not None
            return Bound(vhost, what, there and self._vhosts[vhost].topology.has_binding(what))
        queue = self._queue(vhost, what)
        return Gone(vhost, what) if queue is None else Came(vhost, queue.id, queue.facts)
