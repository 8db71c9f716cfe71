"""A reply of Server-Sent Events as its handler sees it. Used in the sessions' thread."""

from collections.abc import Callable

from logstore.http.event_stream import event
from logstore.protocols.http.replies.flows import Unread


class Events:
    """The events for one peer. Events that it does not read in time are dropped and counted."""

    def __init__(
        self,
        unread: Unread,
        go_on: Callable[[], object],
        at_end: Callable[[Callable[[], object]], None],
    ) -> None:
        self._unread = unread
        self._go_on = go_on
        self._at_end = at_end

    @property
    def open(self) -> bool:
        """Whether the peer is still there."""
        return not self._unread.ended

    @property
    def unread_bytes(self) -> int:
        """Of events that the peer has not taken: who sends much may send less."""
        return self._unread.held_bytes

    @property
    def room_bytes(self) -> int:
        """Of events that the peer has room for now: one that is larger is dropped."""
        return self._unread.room_bytes

    def send(self, data: bytes | str, event_name: str = "", id: str = "") -> None:
        """One event, whose data may have several lines; without effect once the peer is gone.

        Raises ValueError for a name or an id that is not in one line.
        """
        self.send_as_is(event(data.encode() if isinstance(data, str) else data, event_name, id))

    def send_as_is(self, encoded: bytes) -> None:
        """The same of what ``event_stream.event`` has made, for who sends one to many."""
        if self.open:
            self._unread.add(encoded)
            self._go_on()

    def at_end(self, call: Callable[[], object]) -> None:
        """Have it called once the peer is gone, or the server stops."""
        self._at_end(call)
