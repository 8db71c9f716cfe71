"""Writes a session's QoS 2 operations to the journal, and reports when they are safe."""

from collections.abc import Callable, Sequence
from typing import Protocol

from logstore.broker.queues.handovers import GONE, HandOvers
from logstore.broker.queues.journal import session_key
from logstore.broker.queues.transaction import Record, Transaction
from logstore.errors import LogstoreError

Then = Callable[[LogstoreError | None], None]


class Hands(Protocol):
    """The queues of the process, as exactly-once delivery sees them."""

    def commit(self, transaction: Transaction, then: Then) -> bool:
        """As ``Holding.begin``."""

    def handovers(self, session: int) -> HandOvers:
        """Return the journal's entries of a session."""

    def handing_over(self) -> Sequence[int]:
        """Return the numbers of the sessions of which the journal has entries."""


def _nobody(error: LogstoreError | None) -> None:
    pass


class Told:
    """The operations of one session (``handovers.py``). A ``Remembered``."""

    __slots__ = ("_came", "_operations", "_session", "lasts")

    def __init__(self, session: int, operations: bytes, came: Then = _nobody) -> None:
        """``came`` is called once the operations are durable, or have failed."""
        self.lasts = True
        self._session = session
        self._operations = operations
        self._came = came

    def record(self, now_ms: int) -> Record:
        """As Remembered.record."""
        return self._operations, session_key(self._session), (), now_ms

    def came(self, error: LogstoreError | None) -> None:
        """As Remembered.came."""
        self._came(error)


def tell(hands: Hands, session: int, operations: bytes, then: Then = _nobody) -> None:
    """Journal these operations; ``then`` is called once they are safe, or with the error."""
    held = Transaction()
    held.remember(Told(session, operations))
    hands.commit(held, then)


def tell_gone(hands: Hands, session: int) -> None:
    """Journal that the session has ended."""
    tell(hands, session, GONE)
