"""A connection that begins as HTTP and may switch to another protocol."""

from collections.abc import Sequence
from typing import Any

from logstore.protocols.session import About, Buffer


class TurningSession:
    """A ``Session`` that forwards to the present protocol's session."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: Any = None  # a Session

    def become(self, session: object) -> None:
        """Be this one from now on; the one before is over."""
        before, self.now = self.now, session
        if before is not None:
            before.close()

    @property
    def wants(self) -> int:
        return int(self.now.wants)

    @property
    def deadline(self) -> float | None:
        found: float | None = self.now.deadline
        return found

    @property
    def busy(self) -> bool:
        return bool(self.now.busy)

    @property
    def held_bytes(self) -> int:
        return int(self.now.held_bytes)

    @property
    def kept(self) -> bool:
        return bool(self.now.kept)

    @property
    def closed(self) -> str | None:
        found: str | None = self.now.closed
        return found

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        return int(self.now.receive(data, now))

    def wake(self, now: float) -> None:
        """As Session.wake."""
        self.now.wake(now)

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        found: Sequence[Buffer] = self.now.outgoing(bytes_max)
        return found

    def finish(self, now: float) -> None:
        """As Session.finish."""
        self.now.finish(now)

    def leave(self, now: float) -> bool:
        """As Session.leave."""
        return bool(self.now.leave(now))

    def close(self) -> None:
        """As Session.close."""
        self.now.close()

    def about(self) -> About:
        """What is known of its client."""
        found: About = self.now.about()
        return found
