"""Links to the other nodes of a cluster, and the requests sent over them.

The nodes, their addresses and what they own are passed in from outside; this module knows whether
the owner of a queue is reachable. ``changed`` is called with a node whenever that may have changed:
then the queues that it owns must be placed again (``Roamers.moved``).
"""

from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import Final

from logstore.broker.queues.away.owner import FarOwner
from logstore.broker.queues.away.seat import AwaySeat, Sitting, seat_at
from logstore.broker.queues.message import Showing
from logstore.cluster.brokers import Address
from logstore.cluster.peer import Around, Identity, Peer
from logstore.errors import LogstoreError
from logstore.relay.messages import Message
from logstore.relay.talk import Talk

AGAIN_S: Final = 0.5  # until one that is said to own a queue, and says it does not, is asked again


class Neighbours:
    """The links of one node. Used in the sessions' thread."""

    def __init__(
        self,
        me: Identity,
        around: Around,
        soon: Callable[[Callable[[], object]], object],
        random: Random,
        showing: Showing,
        changed: Callable[[bytes], object],
    ) -> None:
        """``soon``: as Turn.soon; ``changed`` is called at the end of a turn."""
        self._me = me
        self._around = around
        self._soon = soon
        self._random = random
        self._showing = showing
        self._changed = changed
        self._ids = count(1)  # of all consumers: no two of this process have one
        self._there: dict[bytes, _Neighbour] = {}
        self._news: dict[bytes, None] = {}

    @property
    def nodes(self) -> Iterable[bytes]:
        """Those that are asked, by name."""
        return self._there

    def know(self, node: bytes, address: Address) -> None:
        """It is there, from now on."""
        assert node != self._me.node
        known = self._there.get(node)
        if known is not None:
            known.peer.move(address)
            return
        owner = FarOwner(self._ids, self._soon, self._showing, lambda *_: self.tell(node))
        told = _Told(owner, lambda: self.tell(node))
        peer = Peer(node, address, self._me, told, self._around, self._random)
        self._there[node] = _Neighbour(owner, peer)

    def forget(self, node: bytes) -> None:
        """It is no node of the cluster any more. Without effect where it was none."""
        known = self._there.pop(node, None)
        if known is not None:
            known.peer.close()

    def failure(self, node: bytes) -> LogstoreError | None:
        """Why it is not reached; None: it is, or it is not known, or it is being tried."""
        known = self._there.get(node)
        return None if known is None else known.peer.failure

    def owner(self, node: bytes) -> FarOwner | None:
        """To ask it; None: it is not reached now."""
        known = self._there.get(node)
        return known.owner if known is not None and known.owner.ready else None

    def seat(
        self, queue: Sitting, vhost: bytes, node: bytes, clock: Callable[[], int]
    ) -> AwaySeat | None:
        """Of a queue that the node owns; None: it is not reached now. ``clock``: ms."""
        owner = self.owner(node)
        if owner is None:
            return None

        def elsewhere() -> None:
            self._around.call_at(self._around.now() + AGAIN_S, lambda: self.tell(node))

        return seat_at(queue, vhost, owner, clock, elsewhere)

    def tell(self, node: bytes) -> None:
        """What is known of it, or of what it owns, may have changed."""
        self._news[node] = None
        self._soon(self._told)

    def _told(self) -> None:
        news, self._news = self._news, {}
        for node in news:
            self._changed(node)

    def close(self) -> None:
        """None is asked any more."""
        for node in list(self._there):
            self.forget(node)


class _Neighbour:
    """The link to one node."""

    __slots__ = ("owner", "peer")

    def __init__(self, owner: FarOwner, peer: Peer) -> None:
        self.owner = owner
        self.peer = peer


class _Told:
    """The ``Told`` of one link: reports that it has opened or was lost."""

    def __init__(self, owner: FarOwner, news: Callable[[], object]) -> None:
        self._owner = owner
        self._news = news
        self.heard: Callable[[Message], None] = owner.heard
        self.drained: Callable[[], None] = owner.drained

    def opened(self, talk: Talk) -> None:
        """As Told.opened."""
        self._owner.opened(talk)
        self._news()

    def lost(self, why: LogstoreError) -> None:
        """As Told.lost."""
        was_ready = self._owner.ready
        self._owner.lost(why)
        if was_ready:  # else it was not reached before, either
            self._news()
