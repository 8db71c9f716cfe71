"""The volatile queues of all nodes of a cluster as one node sees them: its own, and others'.

Each queue is on the disk of the node whose client has declared it, and ends with that node. The
other nodes know it and its bindings before its declaration is answered.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from logstore.broker.queues.pending import Pending
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.refusals import Locked
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.vhost import Vhost
from logstore.broker.queues.volatile import words
from logstore.broker.queues.volatile.brought import Answered, Brought
from logstore.broker.queues.volatile.others import Around, Others, Reached
from logstore.broker.queues.volatile.told import Asking, Told
from logstore.broker.routing.binding import Binding
from logstore.errors import NotOwned

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues

Asked = Callable[[Asking, bytes, Answered], None]


class VolatileNodes:
    """A ``Neighbourhood``. In the sessions' thread."""

    def __init__(self, reached: Reached, around: Around) -> None:
        self._told = Told(around.soon, around.after)
        self._others = Others(reached, around)
        self._brought = Brought(around.soon)
        self.moved, self.forget = self._others.moved, self._others.forget
        self.unknown = self._told.unknown

    def join(self, queues: "Queues") -> None:
        """Attach the queues of this node, so that other nodes may ask about them."""
        self._others.queues = queues
        self._told.of(queues.vhosts)
        self._brought.of(queues.vhosts)

    # What other nodes ask

    @property
    def asked(self) -> Mapping[int, Asked]:
        """The handlers of questions from other nodes, by kind."""
        return {
            words.TABLE: self._told.ask,
            words.PUT: lambda asking, content, then: self._brought.put(content, then),
            words.CHANGE: lambda asking, content, then: self._brought.change(content, then),
        }

    def find(self, vhost: bytes, name: bytes, number: int) -> Queue:
        """Return a queue of this node for a client of another one. Raises NoQueue, NotOwned,
        Locked.
        """
        queue = self._brought.queue(vhost, name)
        if queue.id != number:
            raise NotOwned(f"queue {name!r} was deleted and declared again meanwhile; try again")
        if queue.facts.exclusive:
            raise Locked(name)
        return queue

    # As Neighbourhood

    def noticing(self, vhost: Vhost) -> "_Noticing":
        """As Neighbourhood.noticing."""
        self._others.vhost_came(vhost.name)
        return _Noticing(vhost.name, self._told, self._others)

    def change(
        self, vhost: Vhost, queue: RoamingQueue, binding: Binding, *, there: bool
    ) -> Pending:
        """As Neighbourhood.change."""
        return self._others.change(vhost, queue, binding, there=there)


class _Noticing:
    """``topology.Noticing`` of one virtual host."""

    def __init__(self, vhost: bytes, told: Told, others: Others) -> None:
        self._vhost = vhost
        self._told = told
        self._others = others

    def queue_changed(self, name: bytes, *, durable: bool, there: bool) -> None:
        """As Noticing.queue_changed."""
        if not durable and not self._others.showing:
            self._told.changed((self._vhost, name))
        if not there:
            self._others.freed((self._vhost, name))

    def binding_changed(self, binding: Binding) -> None:
        """As Noticing.binding_changed."""
        if not self._others.showing:
            self._told.changed((self._vhost, binding))

    def exchange_came(self, name: bytes) -> None:
        """As Noticing.exchange_came."""
        self._others.exchange_came(self._vhost, name)
