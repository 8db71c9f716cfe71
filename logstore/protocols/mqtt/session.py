"""One MQTT connection."""

from collections.abc import Sequence

from logstore.protocols.session import Buffer, Link


class MqttSession:
    """A ``Session``."""

    wants = 0
    deadline: float | None = None
    busy = False
    held_bytes = 0
    kept = False

    def __init__(self, link: Link) -> None:
        self.closed: str | None = None
        link.wake()

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        return len(data)

    def wake(self, now: float) -> None:
        """As Session.wake."""
        self.closed = "MQTT is not served yet"

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        return ()

    def finish(self, now: float) -> None:
        """As Session.finish."""

    def leave(self, now: float) -> bool:
        """As Session.leave."""
        return False

    def close(self) -> None:
        """As Session.close."""
