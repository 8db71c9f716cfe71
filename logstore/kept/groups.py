"""The second waist: the stored facts about groups, as the models above and storage below see them.

Facts are values. A change returns an object that becomes durable (``Keeping``), as an append to a
log returns its mark; or it is made within ``act``, without another process in between, and is
durable on return. ``names.py`` has the rules for names.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeVar

from logstore.kept.keeping import Keeping
from logstore.log import TopicPartition

_T = TypeVar("_T")

GROUP_KINDS: Final = ("simple", "classic", "consumer", "embedded", "share")
SHARED: Final = "share"  # the kind of Kafka's share groups, which commit no offsets
OWNERS_NAMED: Final = 3  # of a group that is in use: an error is one line


def consumed_by(group: str, owners: Sequence[str]) -> str:
    """A text that names the first few consumers of a group once each, and counts the others."""
    names = list(dict.fromkeys(owners))
    more = len(names) - OWNERS_NAMED
    others = f" and {more} more" if more > 0 else ""
    return f"group {group!r} is consumed by {', '.join(names[:OWNERS_NAMED])}{others}"


class KeptOffset(NamedTuple):
    """One partition's committed offset: the next that the group wants to read."""

    offset: int
    commit_ms: int
    metadata: str
    leader_epoch: int = -1  # -1: none was given
    topic_id: str | None = None  # None: of whatever topic has the name (rows of schema 1)
    # The journal's record that has committed it, or one before it, in a transaction; -1: none has.
    record: int = -1


@dataclass(frozen=True, slots=True)
class OffsetToCommit:
    """One partition's offset. ``topic_id`` None: whichever topic has the name now.

    ``record``: the journal record by which a transaction commits the offset, or -1. The change is
    skipped if this record or a later one was applied before. ``replayed``: the record was read
    again at a start; the change is skipped, too, if the offset was committed and deleted since.
    """

    offset: int
    metadata: str = ""
    leader_epoch: int = -1
    topic_id: str | None = None
    record: int = -1
    replayed: bool = False


Offsets = Mapping[TopicPartition, KeptOffset]
ToCommit = Mapping[TopicPartition, OffsetToCommit]


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """One group with its members as stored."""

    created_ms: int
    kind: str = "simple"  # one of GROUP_KINDS
    empty_since_ms: int | None = None  # None: it has members, or is simple and never had
    epoch: int = 0  # the last generation or epoch that was given out
    version: int = 0  # rises with every change that other members must hear of
    state: bytes = b""
    members: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return self.kind == "simple" or self.empty_since_ms is not None


class GroupChange(NamedTuple):
    """A change of a group, made in one step."""

    kind: str
    epoch: int
    empty: bool
    state: bytes
    members: Mapping[str, bytes | None] = {}  # None: gone
    replace: bool = False  # members that are not among these are gone


class GroupStep(NamedTuple):
    """The changes by one piece of work on a group: all of them or none."""

    change: GroupChange | None = None
    commit: ToCommit = MappingProxyType({})
    lease: bool = False  # only a session goes on: no other member must hear of it


class Claim(Protocol):
    """The sign that a member is alive, until its process ends."""

    def release(self) -> None: ...


class Groups(Protocol):
    """The groups of a directory that several processes share."""

    def names(self) -> list[str]:
        """The names of all groups."""

    def load(self, group: str) -> KeptGroup | None: ...
    def fetch(self, group: str, places: Collection[TopicPartition] | None = None) -> Offsets:
        """The group's committed offsets in existing topics: all, or those of these places."""

    def version(self, group: str) -> int:
        """A number that changes with each change by other members. Cheap; 0: no such group."""

    def owners(self, group: str) -> Mapping[str, object]:
        """The processes of the group's living embedded members, by member."""

    def server(self) -> object | None:
        """The process that has groups in its memory."""

    def alive(self, member: str) -> bool: ...
    def claim_member(self, member: str) -> Claim: ...
    def bury(self, member: str) -> None: ...

    def act(
        self, group: str, work: Callable[[KeptGroup | None, Offsets], tuple[GroupStep, _T]]
    ) -> tuple[_T, set[TopicPartition]]:
        """Do ``work`` on an embedded group without another process in between; durable on return.

        Returns its result, and the partitions whose commit was refused because their topic is
        deleted. Raises GroupBusy, ReadOnly, StorageFull.
        """

    def change_idle(self, group: str, commit: ToCommit | None) -> set[TopicPartition]:
        """Commit these offsets (None: delete the group) while it has no members; durable on return.

        Raises GroupBusy, UnknownGroup.
        """

    def expire(self, retention_minutes: int) -> list[str]:
        """Delete expired offsets, and groups without any left; returns these groups' names."""


class GroupKeeper(Protocol):
    """The storage of a server's groups, for its coordinator.

    Changes become durable in the order of the calls, and each ``Keeping`` is finished once, in that
    order, in the coordinator's thread. While a group has embedded members, changes of it fail with
    GroupBusy.
    """

    def load(self, group: str) -> KeptGroup | None: ...
    def kinds(self) -> Mapping[str, str]:
        """The kind of every group."""

    def embedded(self, group: str) -> bool:
        """Whether consumers in the directory itself are the group's members now."""

    def fetch(self, group: str, places: Collection[TopicPartition] | None = None) -> Offsets:
        """All offsets, or existing ones among these places. From any thread."""

    def save(self, group: str, change: GroupChange) -> Keeping: ...
    def commit(self, group: str, offsets: ToCommit) -> Keeping: ...
    def decided(self, group: str, offsets: ToCommit) -> Keeping:
        """As ``commit``, for offsets in the journal, whoever the group's members are."""

    def delete_group(self, group: str) -> Keeping:
        """Delete the group and its offsets. Ends with UnknownGroup if it does not exist."""

    def delete_offsets(self, group: str, places: Collection[TopicPartition]) -> Keeping: ...
