"""Messages without a route that another node may have made the route for a moment ago.

Without waiting for what other nodes have declared and bound, a message could be confirmed and
dropped although another node has already confirmed its queue, or its binding.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from logstore.broker.queues.message import Message
from logstore.broker.queues.settling import Outgoing, bytes_of
from logstore.broker.queues.station import Route
from logstore.errors import LogstoreError
from logstore.kept.keeping import ReadOn


class Outbox(Protocol):
    """The place where published messages wait, at a door."""

    @property
    def gone(self) -> bool:
        """Whether its client has ended: delayed calls are made for the last time."""

    def keep_back(self, call: Callable[[], None], size: int) -> None:
        """Delay ``call``, and later ones behind it. ``size``: the waiting bytes."""

    def unblock_soon(self) -> None:
        """Make the delayed calls at the end of the turn."""


class Looking:
    """Delays a run until this node has read what other nodes have made, and routes it again."""

    def __init__(
        self,
        outbox: Outbox,
        run: Sequence[Outgoing],
        route: Callable[[Message], Route],
        then: Callable[[Sequence[Outgoing], LogstoreError | None], None],
    ) -> None:
        """``then`` gets the messages up to the first that is refused, and why it is.

        It gets none if it is not known what other nodes have made, and why. If the client ends
        before that, messages go where they can.
        """
        self._outbox, self._run, self._route, self._then = outbox, run, route, then
        self._heard = False
        self._error: LogstoreError | None = None  # why the rest is not known

    def begin(self, read_on: ReadOn) -> None:
        """Begin to read."""
        self._keep_back()
        read_on(self._told)

    def _keep_back(self) -> None:
        self._outbox.keep_back(self._go_on, bytes_of(self._run))

    def _told(self, error: LogstoreError | None) -> None:
        self._heard, self._error = True, error
        self._outbox.unblock_soon()

    def _go_on(self) -> None:
        gone = self._outbox.gone
        if not self._heard and not gone:
            self._keep_back()  # the calls are made for another reason
        elif self._error is not None and not gone:
            self._then((), self._error)
        else:
            self._then(*self._routed())

    def _routed(self) -> tuple[Sequence[Outgoing], LogstoreError | None]:
        found: list[Outgoing] = []
        try:
            found.extend((to or self._route(message), message) for to, message in self._run)
        except LogstoreError as error:
            return found, error
        return found, None
