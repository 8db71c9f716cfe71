"""A consumer group, seen from outside: how far it is, who is in it, and moving it."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from logstore.broker.coordinator.calls import OffsetToCommit
from logstore.broker.coordinator.consumer import decode_member
from logstore.broker.start import Start, offset_of
from logstore.errors import UnknownTopic
from logstore.log import Log, TopicPartition


class Commit(Protocol):
    """One committed offset."""

    @property
    def offset(self) -> int: ...
    @property
    def commit_ms(self) -> int: ...
    @property
    def metadata(self) -> str: ...


class Offsets(Protocol):
    """Where groups' offsets are kept."""

    def fetch(self, group: str) -> Mapping[TopicPartition, Commit]: ...


class Entry(Protocol):
    """A group, as it is kept."""

    @property
    def kind(self) -> str: ...
    @property
    def members(self) -> Mapping[str, bytes]: ...


class Table(Protocol):
    """Where groups are kept."""

    @property
    def offsets(self) -> Offsets: ...
    def load(self, group: str) -> Entry | None: ...
    def owners(self, group: str) -> Mapping[str, object]:
        """The processes of the members that live in this directory, by member."""

    def server(self) -> object | None:
        """The process that has groups in its memory."""

    def change_idle(
        self, group: str, commit: Mapping[TopicPartition, OffsetToCommit] | None
    ) -> set[TopicPartition]:
        """Commit these (None: delete the group). Raises GroupBusy, UnknownGroup."""


class Lag(NamedTuple):
    """How far a group is in one partition."""

    topic: str
    partition: int
    committed: int | None  # None: nothing committed yet
    end: int
    lag: int
    metadata: str
    commit_ms: int | None


class GroupMember(NamedTuple):
    """One consumer of a group, and what it reads."""

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
        table: Callable[[], Table],
        logs_of: Callable[[str], Mapping[int, Log]],
        topic_names: Callable[[], Mapping[str, str]],
    ) -> None:
        """``logs_of(topic)`` gives a topic's logs by partition, or raises UnknownTopic.

        ``topic_names()``: of all topics, by id. ``table()`` raises Closed when it can't be used any
        more.
        """
        self.name = name
        self._table = table
        self._logs_of = logs_of
        self._topic_names = topic_names

    def members(self) -> list[GroupMember]:
        """Who consumes as this group now, in order of their ids.

        Of a server's clients of the classic protocol only the server knows what they read.
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
                _partitions(row, names) if entry.kind == "consumer" else (),
            )
            for member, row in sorted(entry.members.items())
        ]

    def topics(self) -> list[str]:
        """The topics in which the group has committed."""
        return sorted({topic for topic, _ in self._table().offsets.fetch(self.name)})

    def describe(self) -> list[Lag]:
        """Every partition of those topics."""
        committed = self._table().offsets.fetch(self.name)
        lags = []
        for topic in self.topics():
            for partition, log in self._logs(topic).items():
                commit = committed.get((topic, partition))
                at = commit.offset if commit else None
                lags.append(
                    Lag(
                        topic,
                        partition,
                        at,
                        log.safe,
                        max(log.safe - max(at or 0, log.start), 0),
                        commit.metadata if commit else "",
                        commit.commit_ms if commit else None,
                    )
                )
        return lags

    def _logs(self, topic: str) -> Mapping[int, Log]:
        try:
            return self._logs_of(topic)
        except UnknownTopic:
            return {}  # deleted since; its offsets go with it

    def reset(
        self, to: Start, topics: Iterable[str] | None = None, *, dry_run: bool = False
    ) -> list[Move]:
        """Move the group in all partitions of its topics (or of those given).

        All of it or nothing; nothing with ``dry_run``. Raises GroupBusy while the group is
        consumed, UnknownTopic, OffsetBelowStart, OffsetAboveEnd.
        """
        committed = self._table().offsets.fetch(self.name)
        moves = []
        for topic in self.topics() if topics is None else topics:
            for partition, log in self._logs_of(topic).items():
                before = committed.get((topic, partition))
                after = offset_of(log, to)
                moves.append(Move(topic, partition, before.offset if before else None, after))
        if not dry_run:
            offsets = {(it.topic, it.partition): OffsetToCommit(it.after) for it in moves}
            self._table().change_idle(self.name, offsets)
        return moves

    def delete(self) -> None:
        """Forget the group and its offsets. Raises GroupBusy, UnknownGroup."""
        self._table().change_idle(self.name, None)


def _partitions(row: bytes, names: Mapping[str, str]) -> tuple[TopicPartition, ...]:
    """What a member holds, in topics that are there still."""
    held = decode_member(row).held
    return tuple(sorted((names[topic], number) for topic, number in held if topic in names))
