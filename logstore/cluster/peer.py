"""A link to one other node, kept as long as it is needed, and made again with backoff.

The user of the link (``told``) is notified each time the link opens or is lost. A node that cannot
be reached is logged once for each reason.
"""

import logging
from collections.abc import Callable
from random import Random
from secrets import token_bytes
from time import monotonic
from typing import Final, NamedTuple, Protocol

from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Address, Alarm
from logstore.cluster.spoken import Spoken
from logstore.errors import LogstoreError
from logstore.relay.messages import Message
from logstore.relay.proof import NONCE_BYTES
from logstore.relay.talk import Talk, Told

log: Final = logging.getLogger("logstore.cluster")


class Around(Protocol):
    """The surroundings of any kind of link, as ``brokers.Around`` is for brokers."""

    def now(self) -> float: ...
    def call_at(self, at: float, call: Callable[[], object]) -> Alarm: ...
    def connect(self, address: Address, link: Spoken) -> Callable[[], None]: ...


class Identity(NamedTuple):
    """Who this node is to other nodes."""

    node: bytes
    secret: bytes  # that all nodes have


class Peer:
    """One other node. Used in one thread."""

    def __init__(
        self,
        node: bytes,
        address: Address,
        me: Identity,
        told: Told,
        around: Around,
        random: Random,
        nonce: Callable[[], bytes] = lambda: token_bytes(NONCE_BYTES),
    ) -> None:
        """``node``: the expected node. ``random``: for the backoff only."""
        self.node = node
        self.failure: LogstoreError | None = None  # why there is no link now
        self._address = address
        self._me = me
        self._told = told
        self._around = around
        self._nonce = nonce
        self._backoff = Backoff(random)
        self._talk: Talk | None = None
        self._alarm: Alarm | None = None
        self._said = ""  # why it could not be reached, as it was told last
        self._over = False
        self._connect()

    @property
    def address(self) -> Address:
        """The node's address."""
        return self._address

    def move(self, address: Address) -> None:
        """The node has this address from now on."""
        if address != self._address:
            self._address = address
            if self._talk is not None:
                self._talk.end("its address is another one by now")
            else:
                self._at(self._around.now(), self._connect)

    def close(self) -> None:
        """Send no more requests to the node."""
        self._over = True
        self._disarm()
        if self._talk is not None:
            self._talk.end("it is not asked any more")

    # The link

    def _connect(self) -> None:
        flush: Callable[[], None] | None = None

        def wake() -> None:
            if flush is not None:
                flush()

        told = _Between(self, self._told)
        around = self._around
        self._talk = talk = Talk(
            self._me.node,
            self._me.secret,
            self._nonce(),
            told,
            around.now,
            wake,
            self.node,
            monotonic,
        )
        self._look()
        flush = around.connect(self._address, talk)

    def _look(self) -> None:
        """Check that the node is still alive."""
        talk = self._talk
        if talk is not None:
            talk.look()
        if self._talk is not None:  # it has not just been lost
            self._at(self._talk.deadline, self._look)

    def _at(self, at: float, call: Callable[[], object]) -> None:
        self._disarm()
        self._alarm = self._around.call_at(at, call)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def opened(self) -> None:
        """The link is open."""
        self._backoff.succeeded()
        if self._said:
            log.info("node %s is reached again", _shown(self.node))
        self.failure, self._said = None, ""
        self._look()

    def lost(self, why: LogstoreError) -> None:
        """The link was lost; it is made again after a while."""
        self._talk, self.failure = None, why
        if self._over:
            return
        if str(why) != self._said:
            self._said = str(why)
            log.warning("no link to another node: %s", why)
        self._at(self._around.now() + self._backoff.failed(), self._connect)


class _Between:
    """The ``Told`` of one link, through which the peer, too, learns of its opening and loss."""

    def __init__(self, peer: Peer, told: Told) -> None:
        self._peer = peer
        self._told = told
        self.heard: Callable[[Message], None] = told.heard
        self.drained: Callable[[], None] = told.drained

    def opened(self, talk: Talk) -> None:
        """As Told.opened."""
        self._peer.opened()
        self._told.opened(talk)

    def lost(self, why: LogstoreError) -> None:
        """As Told.lost."""
        self._peer.lost(why)
        self._told.lost(why)


def _shown(node: bytes) -> str:
    return node.decode("utf-8", "backslashreplace")
