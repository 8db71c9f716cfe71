"""A consumer group, seen from outside: its offsets and members, and moving it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.consumer_member import decode_member
from logstore.broker.coordinator.share_member import decode_share_member
from logstore.broker.start import Held, Start, is_in_range, offset_of
from logstore.errors import (
    Damaged,
    Failed,
    GroupBusy,
    LogstoreError,
    UnknownPartition,
    UnknownTopic,
)
from logstore.kept.groups import SHARED, Groups, OffsetToCommit
from logstore.log import TopicPartition


class Committed(Protocol):
    """One committed offset, of a store's group or of a cluster's."""

    @property
    def offset(self) -> int: ...
    @property
    def commit_ms(self) -> int | None:
        """The time of the commit; None: unknown."""

    @property
    def metadata(self) -> str: ...


class Lag(NamedTuple):
    """A group's progress in one partition, as offsets; ``end`` and ``lag`` are None if it is
    damaged.
    """

    topic: str
    partition: int
    committed: int | None  # None: nothing committed yet
    end: int | None
    lag: int | None
    metadata: str
    commit_ms: int | None
    broken: str | None = None  # why the log can't be read


class GroupMember(NamedTuple):
    """One consumer of a group, and the partitions that it reads."""

    id: str
    owner: str  # the process, or the client of a server
    partitions: tuple[TopicPartition, ...]


class Move(NamedTuple):
    """A change of one committed offset."""

    topic: str
    partition: int
    before: int | None
    after: int


class Group:
    """One group of a store."""

    def __init__(
        self,
        name: str,
        table: Callable[[], Groups],
        logs_of: Callable[[str], Sequence[Held]],
        topic_names: Callable[[], Mapping[str, str]],
        deleted: Callable[[str], object],
    ) -> None:
        """``logs_of(topic)`` returns a topic's logs, each opened on access; or raises UnknownTopic.

        ``topic_names()``: the names of all topics, by id. ``table()`` raises Closed when the store
        is closed. ``deleted``: is called with the name after a deletion.
        """
        self.name = name
        self._table = table
        self._logs_of = logs_of
        self._topic_names = topic_names
        self._deleted = deleted

    def members(self) -> list[GroupMember]:
        """The group's current members, sorted by id.

        The partitions of a server's clients that use the classic protocol are known only to the
        server.
        """
        entry = self._table().load(self.name)
        if entry is None or entry.kind == "simple":
            return []
        names = self._topic_names()
        if entry.kind == "embedded":
            owners = self._table().owners(self.name)
            return [
                GroupMember(member, str(owner), _partitions(entry.members[member], names))
                for member, owner in sorted(owners.items())
                if member in entry.members
            ]
        server = self._table().server()
        if server is None:
            return []
        return [
            GroupMember(
                member,
                f"a client of {server}",
                _reads(entry.kind, row, names),
            )
            for member, row in sorted(entry.members.items())
        ]

    def topics(self) -> list[str]:
        """The topics in which the group has committed."""
        return sorted({topic for topic, _ in self._table().fetch(self.name)})

    def describe(self) -> list[Lag]:
        """Every partition of these topics and of its members' topics; a damaged log is marked as
        such.
        """
        committed = self._table().fetch(self.name)
        topics = read_or_committed(committed, self.members())
        found = lags(committed, {topic: self._logs(topic, committed) for topic in topics})
        # A share group commits nothing, and yet it is not new everywhere.
        return [it._replace(lag=None) for it in found] if self._is_shared() else found

    def _is_shared(self) -> bool:
        entry = self._table().load(self.name)
        return entry is not None and entry.kind == SHARED

    def _logs(
        self, topic: str, committed: Mapping[TopicPartition, Committed]
    ) -> Mapping[int, Held | LogstoreError]:
        try:
            logs = self._logs_of(topic)
        except UnknownTopic:
            return {}  # deleted since; its offsets go with it
        except (Damaged, Failed) as error:
            return dict.fromkeys((number for name, number in committed if name == topic), error)
        return {number: _opened(logs, number) for number in range(len(logs))}

    def reset(
        self,
        to: Start,
        topics: Iterable[str] | None = None,
        *,
        partitions: Sequence[int] | None = None,
        out_of_range: bool = False,
        dry_run: bool = False,
    ) -> list[Move]:
        """Move the group in its topics or in those given, in all partitions or in these.

        ``out_of_range``: only in partitions whose log no longer has the committed offset. Moves all
        or nothing; ``dry_run`` moves nothing. Raises GroupBusy if the group has active members or
        is a share group, UnknownTopic, UnknownPartition, OffsetBelowStart, OffsetAboveEnd.
        """
        if self._is_shared():
            raise GroupBusy(f"group {self.name!r} is a share group, which has no offsets to move")
        committed = self._table().fetch(self.name)
        wanted = self.topics() if topics is None else topics
        logs = {
            topic: {number: found[number] for number in chosen(topic, len(found), partitions)}
            for topic, found in [(it, self._logs_of(it)) for it in wanted]
        }
        found = moves(committed, logs, to, out_of_range=out_of_range)
        if found and not dry_run:
            offsets = {(it.topic, it.partition): OffsetToCommit(it.after) for it in found}
            self._table().change_idle(self.name, offsets)
        return found

    def delete(self) -> None:
        """Delete the group and its offsets. Raises GroupBusy, UnknownGroup."""
        self._table().change_idle(self.name, None)
        self._deleted(self.name)


def read_or_committed(
    committed: Mapping[TopicPartition, Committed], members: Iterable[GroupMember]
) -> list[str]:
    """The topics that a group reads or has committed in, sorted."""
    assigned = {topic for member in members for topic, _ in member.partitions}
    return sorted({topic for topic, _ in committed} | assigned)


def lags(
    committed: Mapping[TopicPartition, Committed],
    logs: Mapping[str, Mapping[int, Held | LogstoreError]],
) -> list[Lag]:
    """The progress of a group with these committed offsets in every partition of these topics.

    An error in place of a log is the reason why the log cannot be used.
    """
    found = []
    for topic, partitions in logs.items():
        for partition, log in partitions.items():
            commit = committed.get((topic, partition))
            at = commit.offset if commit else None
            metadata, commit_ms = (commit.metadata, commit.commit_ms) if commit else ("", None)
            if isinstance(log, LogstoreError):
                end = lag = None
                broken = str(log)
            else:
                end, lag, broken = log.safe, max(log.safe - max(at or 0, log.start), 0), None
            found.append(Lag(topic, partition, at, end, lag, metadata, commit_ms, broken))
    return found


def _opened(logs: Sequence[Held], number: int) -> Held | LogstoreError:
    try:
        return logs[number]
    except (Damaged, Failed) as error:
        return error


def chosen(topic: str, count: int, partitions: Sequence[int] | None) -> list[int]:
    """Return these partitions of a topic, each once; None: all of them.

    Raises UnknownPartition if one does not exist.
    """
    if partitions is None:
        return list(range(count))
    for number in partitions:
        if not 0 <= number < count:
            raise UnknownPartition(
                f"topic {topic!r} has no partition {number}, only 0 to {count - 1}"
            )
    return list(dict.fromkeys(partitions))


def moves(
    committed: Mapping[TopicPartition, Committed],
    logs: Mapping[str, Mapping[int, Held]],
    to: Start,
    *,
    out_of_range: bool = False,
) -> list[Move]:
    """The moves of the group in every partition of these topics. Raises OffsetOutOfRange.

    ``out_of_range``: only in partitions whose log no longer has the committed offset.
    """
    found = []
    for topic, partitions in logs.items():
        for partition, log in partitions.items():
            before = committed.get((topic, partition))
            if out_of_range and (before is None or is_in_range(log, before.offset)):
                continue
            after = offset_of(log, to)
            found.append(Move(topic, partition, before.offset if before else None, after))
    return found


def _reads(kind: str, row: bytes, names: Mapping[str, str]) -> tuple[TopicPartition, ...]:
    """The partitions that a server's client reads, as far as its group knows them."""
    if kind == SHARED:
        return _named(decode_share_member(row).assigned, names)
    return _partitions(row, names) if kind == "consumer" else ()


def _partitions(row: bytes, names: Mapping[str, str]) -> tuple[TopicPartition, ...]:
    return _named(decode_member(row).held, names)


def _named(held: Iterable[Place], names: Mapping[str, str]) -> tuple[TopicPartition, ...]:
    """Return a member's partitions, without those of deleted topics."""
    return tuple(sorted((names[topic], number) for topic, number in held if topic in names))
