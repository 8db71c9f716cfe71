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
        """What the journal knows of a session."""

    def handing_over(self) -> Sequence[int]:
        """The sessions of which it knows anything."""


def _nobody(error: LogstoreError | None) -> None:
    pass


class Told:
    """The operations of one session (``handovers.py``). A ``Remembered``."""

    __slots__ = ("_came", "_operations", "_session", "lasts")

    def __init__(self, session: int, operations: bytes, came: Then = _nobody) -> None:
        """``came`` hears once it is so, or will never be."""
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
    """Have the journal know this; ``then`` hears when it is safe, or why it is not."""
    held = Transaction()
    held.remember(Told(session, operations))
    hands.commit(held, then)


def tell_gone(hands: Hands, session: int) -> None:
    """The session is no more."""
    tell(hands, session, GONE)
