"""What all links from other nodes to this node share.

Use by a node that owns queues::

    door = doorway.made(house, b"node-1", secret, find, {KIND: answer})
    server.listen(host, port, doorway.open(door), tls)
    ...
    door.leave(lambda queue: ...)   # in the turn in which these are another node's

The other side of it is ``broker/queues/away/owner.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Protocol

from logstore.access.failures import Failures
from logstore.broker.queues.named import Named
from logstore.counts.doors import DoorCounts
from logstore.errors import LogstoreError
from logstore.protocols.house import Work
from logstore.relay.proof import NONCE_BYTES
from logstore.slices import Slices

Answered = Callable[[bytes | LogstoreError], None]
# A kind of question that the link itself does not know: it is called with the asking node, the
# question, and the call that takes the answer once, now or later.
Asked = Callable[["Asker", bytes, Answered], None]


class Asker(Protocol):
    """A node that sends requests, as handlers see it."""

    @property
    def node(self) -> bytes:
        """The node's name."""


class Session(Protocol):
    """A session as the door sees it."""

    @property
    def node(self) -> bytes:
        """The node of this link; empty before it has proved its name, and after the end."""

    def queues_left(self, which: Callable[[Named], bool]) -> None:
        """As RelayDoor.leave."""

    def end_by(self, reason: str) -> None:
        """As Doorway.end."""

    def go_on(self) -> None:
        """The messages that the node held by an earlier link have been returned."""


@dataclass(slots=True)
class RelayDoor:
    """A node, its queues, and the handlers of requests."""

    node: bytes  # its name
    secret: bytes  # shared by all nodes
    # Finds a queue that this node owns; for a queue of several nodes, the shared queue whose seat
    # is here. Raises NoVhost, NoQueue, NotOwned.
    find: Callable[[bytes, bytes, int], Named]
    work: Work
    asked: dict[int, Asked] = field(default_factory=dict)  # by kind
    # Whether this node is sure to own its queues; otherwise the call is made once it is.
    vouch: Callable[[Callable[[], None]], bool] = lambda then: True
    stopwatch: Callable[[], float] = lambda: 0.0  # seconds; standing still: nothing takes long
    nonce: Callable[[], bytes] = lambda: token_bytes(NONCE_BYTES)
    slices: Slices = field(default_factory=Slices)
    failures: Failures = field(default_factory=lambda: Failures(0.0))
    traffic: DoorCounts = field(default_factory=DoorCounts)
    sessions: dict[Session, None] = field(default_factory=dict)
    gone: list[Callable[[Asker], object]] = field(default_factory=list)  # called when links end
    ending: dict[bytes, int] = field(default_factory=dict)  # links whose messages go back, by node

    def leave(self, which: Callable[[Named], bool]) -> None:
        """Tell other nodes that this node no longer owns these queues, so that they look for the
        owner.

        Called in the turn of the change. Messages that the nodes hold are neither settled nor
        returned.
        """
        for session in list(self.sessions):
            session.queues_left(which)

    def came_in(self, new: Session) -> None:
        """A node has connected: end its earlier link, whose end may not have been noticed."""
        for session in list(self.sessions):
            if session is not new and session.node == new.node:
                session.end_by("it has come again by another link")

    def ends(self, node: bytes) -> None:
        """A link has ended: its messages are being returned, over several turns."""
        self.ending[node] = self.ending.get(node, 0) + 1

    def ended(self, node: bytes) -> None:
        """All messages of an ended link are returned; the node's next link may continue."""
        self.ending[node] -= 1
        if not self.ending[node]:
            del self.ending[node]
            for session in list(self.sessions):
                if session.node == node:
                    session.go_on()
