"""Sessions of share groups (KIP-932): a member names its partitions once, later only changes.

A session belongs to a member and its connection; it ends when the member ends it, or with the
connection. A new session, perhaps over another connection, continues with the records that the
member holds; later requests over the old connection have no effect. Sessions do not check
membership in the group. Pure.
"""

from collections.abc import Iterable
from itertools import count
from typing import Final

from logstore.errors import (
    InvalidShareSessionEpoch,
    Refused,
    ShareSessionNotFound,
    TooManyShareSessions,
)

FINAL_EPOCH: Final = -1
INITIAL_EPOCH: Final = 0
EPOCH_MAX: Final = 2**31 - 1
SESSIONS_MAX: Final = 2000  # as Kafka's group.share.max.share.sessions
PARTITIONS_MAX: Final = 10_000  # of one session

TopicPartition = tuple[bytes, int]  # the topic's id


class ShareSession:
    """The session of one member."""

    __slots__ = ("connection", "epoch", "group", "member", "over", "owner", "places")

    def __init__(self, group: str, member: str, owner: str, connection: object) -> None:
        self.group = group
        self.member = member
        self.owner = owner  # the owner of its records, in their partitions
        self.connection = connection
        self.epoch = 1  # that the next request must have
        self.over = False
        self.places: dict[TopicPartition, None] = {}  # that it reads, in the order of their turns

    def change(self, more: Iterable[TopicPartition], fewer: Iterable[TopicPartition]) -> None:
        """Add partitions, then remove some. Raises Refused if there are too many."""
        places = self.places | dict.fromkeys(more)
        for it in fewer:
            places.pop(it, None)
        if len(places) > PARTITIONS_MAX:
            raise Refused(
                f"member {self.member!r} of share group {self.group!r} reads "
                f"{len(places)} partitions at once: at most {PARTITIONS_MAX} allowed"
            )
        self.places = places

    def served(self, place: TopicPartition) -> None:
        """Note that the partition was served: others come first the next time."""
        if place in self.places:
            del self.places[place]
            self.places[place] = None


class Sessions:
    """The sessions of one process."""

    def __init__(self, most: int = SESSIONS_MAX) -> None:
        self._most = most
        self._sessions: dict[tuple[str, str], ShareSession] = {}
        self._by_connection: dict[object, set[ShareSession]] = {}
        self._owners: set[str] = set()
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._sessions)

    def lives(self, owner: str) -> bool:
        """Whether the owner may still hold records."""
        return owner in self._owners

    def begin(
        self, group: str, member: str, connection: object, places: Iterable[TopicPartition]
    ) -> ShareSession:
        """Begin a session (epoch 0), which ends an existing one of the member.

        Raises TooManyShareSessions, Refused.
        """
        known = self._sessions.get((group, member))
        if known is None and len(self._sessions) >= self._most:
            raise TooManyShareSessions(
                f"member {member!r} of share group {group!r}: {self._most} share sessions are"
                " open, which is the maximum"
            )
        owner = str(next(self._numbers)) if known is None else known.owner
        new = ShareSession(group, member, owner, connection)
        new.change(places, ())
        if known is not None:
            self._forget(known)
        self._sessions[group, member] = new
        self._by_connection.setdefault(connection, set()).add(new)
        self._owners.add(owner)
        return new

    def find(self, group: str, member: str) -> ShareSession:
        """Return the session. Raises ShareSessionNotFound."""
        it = self._sessions.get((group, member))
        if it is None:
            raise ShareSessionNotFound(f"member {member!r} of share group {group!r} has no session")
        return it

    def go_on(self, group: str, member: str, epoch: int) -> ShareSession:
        """Continue a session by a request with this epoch, not one that begins or ends it.

        Raises ShareSessionNotFound, InvalidShareSessionEpoch.
        """
        it = self.find(group, member)
        if epoch != it.epoch:
            raise InvalidShareSessionEpoch(
                f"member {member!r} of share group {group!r}: the epoch of "
                f"its session is {it.epoch}, not {epoch}"
            )
        it.epoch = it.epoch + 1 if it.epoch < EPOCH_MAX else 1
        return it

    def end(self, session: ShareSession) -> bool:
        """End the session; return False if it had ended. The caller releases its
        owner's records.
        """
        if session.over:
            return False
        self._forget(session)
        del self._sessions[session.group, session.member]
        self._owners.discard(session.owner)
        return True

    def of(self, connection: object) -> list[ShareSession]:
        """Return the sessions of this connection."""
        return list(self._by_connection.get(connection, ()))

    def _forget(self, session: ShareSession) -> None:
        session.over = True
        its = self._by_connection[session.connection]
        its.discard(session)
        if not its:
            del self._by_connection[session.connection]
