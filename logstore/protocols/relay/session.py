"""The link from another node to this node: bytes in, bytes out, and timeouts.

A node that has proved that it knows the secret may subscribe, fetch and settle; ``lending.py``
executes its requests. A node with another secret is refused and disconnected, after the same delay
as a wrong password.
"""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.broker.queues.named import Named
from logstore.errors import BrokenProtocol
from logstore.protocols.relay.door import RelayDoor
from logstore.protocols.relay.lending import Lending
from logstore.protocols.session import About, Buffer, Link
from logstore.relay.messages import SIZE
from logstore.relay.talk import Phase, Talk, WrongSecret

READ_S: Final = 0.004  # for processing messages, in one turn
SESSION_BYTES: Final = 2048
LONG_BYTES: Final = 64 << 10  # of a piece that is sent as it is
STOPPING: Final = "it stops"


class RelaySession:
    """The link from another node, as a ``Session``."""

    __slots__ = ("_door", "_due", "_lending", "_link", "_now", "_wants", "closed", "kept", "talk")

    busy = False

    def __init__(self, door: RelayDoor, link: Link) -> None:
        self.kept = False
        self.closed: str | None = None
        self._door = door
        self._link = link
        self._now = 0.0
        self._wants = 0
        self._due: float | None = None  # when it is closed, having another secret
        self._lending = Lending(door, lambda: link.unsent, lambda: door.came_in(self))
        self.talk = Talk(
            door.node,
            door.secret,
            door.nonce(),
            self._lending,
            lambda: self._now,
            link.wake,
            vouch=door.vouch,
        )
        door.sessions[self] = None
        link.wake()  # the time in which it has to begin, begins then

    def about(self) -> About:
        """As Doorway.about."""
        it = self._lending
        return About(
            client=self.talk.node.decode("utf-8", "backslashreplace"),
            state=self.talk.phase.name.lower(),
            facts={"consumers": len(it.lents), "unacked": it.out, "questions": len(it.asks)},
        )

    @property
    def wants(self) -> int:
        return self._wants

    @property
    def held_bytes(self) -> int:
        return SESSION_BYTES + self._lending.held_bytes

    @property
    def deadline(self) -> float | None:
        if self.talk.failure is None:
            return self.talk.deadline
        return self._due

    def _begin(self, now: float) -> None:
        if not self._now:
            self._now = now
            self.talk.begin()
        self._now = now

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        self._begin(now)
        if self.talk.failure is not None:
            return len(data)
        self.talk.came()
        taken = self._take(data)
        self._look()
        return len(data) if self.talk.failure is not None else taken

    def _take(self, data: memoryview) -> int:
        """Process whole messages at the front; returns their size."""
        talk, at, until = self.talk, 0, self._door.stopwatch() + READ_S
        self._wants = 0
        while talk.failure is None and not self._waits and len(data) - at >= SIZE.size:
            (size,) = SIZE.unpack_from(data, at)
            if not 0 < size <= talk.frame_bytes_max:
                most = talk.frame_bytes_max
                talk.lose(
                    BrokenProtocol(f"{talk.peer}: a message of {size} bytes, not 1 to {most}")
                )
                break
            end = at + SIZE.size + size
            if end > len(data):
                self._wants = SIZE.size + size
                break
            talk.received(memoryview(bytes(data[at + SIZE.size : end])))
            at = end
            if self._door.stopwatch() > until:
                self._link.wake()  # others first
                break
        return at

    @property
    def _waits(self) -> bool:
        """Whether messages of the node's earlier link must be returned first."""
        return self.node in self._door.ending

    def wake(self, now: float) -> None:
        """As Session.wake."""
        self._begin(now)
        if self._link.unread:  # input has come that is not processed yet
            self.talk.came()
        self.talk.look()
        self._look()

    def _look(self) -> None:
        """End a failed link, or let the queues give it more."""
        failure = self.talk.failure
        if failure is None:
            self._lending.feed()
        elif isinstance(failure, WrongSecret):
            if self._due is None:
                self._due = self._now + self._door.failures.add(
                    self._link.peer_address[0], self._now
                )
            if self._now >= self._due:
                self._end(str(failure))
        else:
            self._end(str(failure))

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        if self._due is not None:  # it is told later
            return ()
        out = self.talk.outgoing()
        if not out:
            self._lending.feed()
            return ()
        return _joined(out)

    def finish(self, now: float) -> None:
        """As Session.finish."""
        self._now = now
        self.talk.end("it reads no more")
        self._end("")

    def leave(self, now: float) -> bool:
        """As Session.leave: others take over what is this one's."""
        self._begin(now)
        self.talk.end(STOPPING)
        self._end("")
        return False

    def end_by(self, reason: str) -> None:
        """As Doorway.end."""
        self.talk.end(reason)
        self._end(reason)
        self._link.wake()

    def close(self) -> None:
        """As Session.close."""
        self._door.sessions.pop(self, None)
        self.talk.end("the connection is gone")
        self._end("")

    @property
    def node(self) -> bytes:
        """As door.Session.node."""
        return self.talk.node if self.talk.phase is Phase.OPEN else b""

    def go_on(self) -> None:
        """As door.Session.go_on."""
        self._link.wake()

    def queues_left(self, which: Callable[[Named], bool]) -> None:
        """As door.Session.queues_left."""
        self._lending.leave(which)

    def _end(self, reason: str) -> None:
        self._due = None
        if self.closed is None:
            self.closed = reason


def _joined(pieces: Sequence[bytes]) -> list[bytes]:
    """The same bytes in fewer pieces; long pieces are not copied."""
    found: list[bytes] = []
    short: list[bytes] = []
    for it in pieces:
        if len(it) < LONG_BYTES:
            short.append(it)
            continue
        if short:
            found.append(b"".join(short))
            short = []
        found.append(it)
    if short:
        found.append(b"".join(short))
    return found
