"""What all links from other nodes to this node share.

Use by a node that owns queues::

    door = doorway.made(house, b"node-1", secret, find, {KIND: answer})
    server.listen(host, port, doorway.open(door), tls)
    ...
    door.leave(lambda queue: ...)   # in the turn in which these are another node's

The other side of it is ``broker/queues/away/owner.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Protocol

from logstore.access.failures import Failures
from logstore.broker.queues.named import Group, Named
from logstore.counts.doors import DoorCounts
from logstore.errors import LogstoreError
from logstore.protocols.house import Work
from logstore.relay.proof import NONCE_BYTES
from logstore.relay.wire import Run
from logstore.slices import Slices

Answered = Callable[[bytes | LogstoreError], None]
# A question of a kind that the link does not know itself: who asks, what, and who gets the answer,
# once, now or later.
Asked = Callable[["Asker", bytes, Answered], None]


class Asker(Protocol):
    """A node that sends requests, as handlers see it."""

    @property
    def node(self) -> bytes:
        """Its name."""

    def take(self, id: int, those: Sequence[Run]) -> list[Group]:
        """Messages that it has, by their numbers under this id; they are the caller's to settle.

        Raises Refused where it does not have all of them: none is taken, then.
        """


class Session(Protocol):
    """A session as the door sees it."""

    @property
    def node(self) -> bytes:
        """Whose link it is; empty before that is shown, and once it has ended."""

    def queues_left(self, which: Callable[[Named], bool]) -> None:
        """As RelayDoor.leave."""

    def end_by(self, reason: str) -> None:
        """As Doorway.end."""

    def go_on(self) -> None:
        """What its node had by an earlier link has gone back."""


@dataclass(slots=True)
class RelayDoor:
    """A node, its queues, and the handlers of requests."""

    node: bytes  # its name
    secret: bytes  # that all nodes have
    # A queue that this node owns; of one that is served by several nodes it is the queue of them
    # all, whose seat is here. Raises NoVhost, NoQueue, NotOwned.
    find: Callable[[bytes, bytes, int], Named]
    work: Work
    asked: dict[int, Asked] = field(default_factory=dict)  # by kind
    # Whether this node is sure that it owns what it does; else what is given is called once it may.
    vouch: Callable[[Callable[[], None]], bool] = lambda then: True
    stopwatch: Callable[[], float] = lambda: 0.0  # seconds; standing still: nothing takes long
    nonce: Callable[[], bytes] = lambda: token_bytes(NONCE_BYTES)
    slices: Slices = field(default_factory=Slices)
    failures: Failures = field(default_factory=lambda: Failures(0.0))
    traffic: DoorCounts = field(default_factory=DoorCounts)
    sessions: dict[Session, None] = field(default_factory=dict)
    gone: list[Callable[[Asker], object]] = field(default_factory=list)  # told of links that end
    ending: dict[bytes, int] = field(default_factory=dict)  # links whose messages go back, by node

    def leave(self, which: Callable[[Named], bool]) -> None:
        """Other nodes are told that these queues are not this node's any more, so that they look
        for their owner; to be called in the turn in which that is so. Nothing that they have of
        these is settled, or given back.
        """
        for session in list(self.sessions):
            session.queues_left(which)

    def came_in(self, new: Session) -> None:
        """A node has one link: an earlier one has ended, though this node may not know it yet."""
        for session in list(self.sessions):
            if session is not new and session.node == new.node:
                session.end_by("it has come again by another link")

    def ends(self, node: bytes) -> None:
        """What it had by one link goes back, some in a turn."""
        self.ending[node] = self.ending.get(node, 0) + 1

    def ended(self, node: bytes) -> None:
        """All of that has. What it asks for by the next link has waited for it."""
        self.ending[node] -= 1
        if not self.ending[node]:
            del self.ending[node]
            for session in list(self.sessions):
                if session.node == node:
                    session.go_on()
