"""A member of a share group (KIP-932), the stored part of a group, and its bounds."""

from typing import Final, NamedTuple

import msgspec

from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.consumer_member import PLACE_HELD_BYTES
from logstore.broker.coordinator.decoding import decoder_of
from logstore.broker.coordinator.roll import said_held_bytes
from logstore.broker.coordinator.room import MEMBER_HELD_BYTES

MEMBER_CHARACTERS_MAX: Final = 36  # of an id, which the client makes: a UUID
# Of a group: names in all its subscriptions that differ, or are of members that may not know of the
# same topics; more would take too long at once.
SUBSCRIBED_MAX: Final = 5000


class ShareLimits(NamedTuple):
    """The bounds of every group."""

    members_max: int
    metadata_bytes_max: int


class ShareMember(msgspec.Struct, kw_only=True):
    """One member as stored."""

    id: str
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: frozenset[str] = frozenset()  # names
    unseen: frozenset[str] = frozenset()  # of ``topics``, those it might not know
    epoch: int = 0
    previous_epoch: int = 0  # the answer that raised the epoch may have been lost
    assigned: set[Place] = msgspec.field(default_factory=set)  # as it was told
    target: set[Place] = msgspec.field(default_factory=set)
    session_ends_ms: int = 0

    @property
    def regex(self) -> str:
        """Empty: no member of a share group has a pattern."""
        return ""

    @property
    def said_bytes(self) -> int:
        """The size of what the member says of itself, in bytes."""
        return sum(map(len, self.topics))

    @property
    def held_bytes(self) -> int:
        places = len(self.assigned) + len(self.target)
        return MEMBER_HELD_BYTES + said_held_bytes(self.said_bytes) + PLACE_HELD_BYTES * places


decode_share_member = decoder_of(ShareMember)
