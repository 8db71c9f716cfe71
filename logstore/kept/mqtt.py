"""The waist for stored facts about MQTT sessions, as models and storage see them.

A session that outlives its connection is stored from CONNECT on, with its subscriptions; its queued
messages are in a queue of its own. Facts are values. A session's number comes from the same count
as those of queues and exchanges and is never used again: settlements refer to it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from logstore.errors import CorruptStore
from logstore.kept.keeping import Keeping

NEVER: Final = 0xFFFFFFFF  # as an expiry: the session does not expire (MQTT 5.0, 3.1.2.11.2)
CONNECTED: Final = -1  # as the time it was left: it is connected, or was when the process ended


class KeptSession(NamedTuple):
    """One client's session without its subscriptions."""

    id: int
    client: str  # its id
    user: str = ""  # whose it is; "": nobody had to log in
    queue: int = 0  # the number of its queue; 0: it has none
    version: int = 5  # of the protocol: 4 is MQTT 3.1.1
    expiry_s: int = NEVER  # after its connection is gone
    left_ms: int = CONNECTED  # when that was
    # It has lost a right: what waits for it by no subscription of now is not for it.
    strict: bool = False


class KeptSubscription(NamedTuple):
    """One subscription of a session."""

    session: int
    id: int  # within the session
    filter: bytes
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    number: int = 0  # the subscription identifier; 0: none was given


Kept = KeptSession | KeptSubscription


class KeptMqtt(NamedTuple):
    """All stored facts. Damaged ones do not prevent others from being read."""

    sessions: Sequence[KeptSession] = ()
    subscriptions: Sequence[KeptSubscription] = ()
    alive_ms: int = 0  # when the last process was seen alive; 0: it was never noted
    damaged: Sequence[CorruptStore] = ()


class MqttKeeper(Protocol):
    """The storage of sessions, for a process that has them in memory.

    As ``QueueKeeper``: changes become durable in the order of the calls, and each ``Keeping`` is
    finished once, in that order, in the caller's own thread.
    """

    def used(self) -> bool:
        """Whether anything is stored."""

    def load(self) -> KeptMqtt: ...
    def change(
        self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = (), alive_ms: int = 0
    ) -> Keeping:
        """Make all of these changes or none. Deleting a session deletes its subscriptions.

        ``alive_ms``: the present time, if it must be known after a crash.
        """
