"""The waist for stored MQTT wills, as models and storage see them.

A will that must be published whatever happens to the server is stored from CONNECT on, until it is
published and safe, or no longer needed. Facts are values.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from logstore.errors import CorruptStore
from logstore.kept.keeping import Keeping


class KeptWill(NamedTuple):
    """One client's will."""

    number: int  # that no other has while this one is kept
    client: str  # its id
    topic: bytes
    payload: bytes
    qos: int = 0
    retain: bool = False
    delay_s: int = 0  # from the end of its connection
    session_s: int = 0  # that its session outlives the connection: the will waits no longer
    due_ms: int | None = None  # since 1970; None: its client is connected, or was at the end
    # What the message says beside, as ``broker/mqtt/message.About``:
    payload_format: int | None = None
    content_type: bytes | None = None
    response_topic: bytes | None = None
    correlation: bytes | None = None
    user: tuple[tuple[bytes, bytes], ...] = ()
    expiry_s: int | None = None  # from when it is published


class KeptWills(NamedTuple):
    """All stored wills. Damaged ones do not prevent others from being read."""

    wills: Sequence[KeptWill] = ()
    damaged: Sequence[CorruptStore] = ()


class WillKeeper(Protocol):
    """The storage of wills, for a process that has them in memory.

    As ``QueueKeeper``: changes become durable in the order of the calls, and each ``Keeping`` is
    finished once, in that order, in the caller's own thread.
    """

    def used(self) -> bool:
        """Whether any will is stored."""

    def load(self) -> KeptWills: ...
    def change(self, keep: Sequence[KeptWill] = (), forget: Sequence[int] = ()) -> Keeping:
        """Make all of these changes or none; ``forget``: numbers of wills to delete."""
