"""A consumer group, seen from outside: how far it is, and moving it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from logstore.broker.start import Start, offset_of
from logstore.errors import Refused, UnknownTopic
from logstore.log import Log, TopicPartition

METADATA_BYTES_MAX: Final = 4096  # as Kafka's offset.metadata.max.bytes


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
    def commit(
        self, group: str, offsets: Mapping[TopicPartition, int], now_ms: int, metadata: str = ""
    ) -> None:
        """Durable on return."""

    def delete_group(self, group: str) -> None:
        """Raises UnknownGroup."""


class Claim(Protocol):
    """The right to consume as the group."""

    def release(self) -> None: ...


class Membership:
    """The one consumer that has claimed a group."""

    def __init__(
        self,
        group: str,
        offsets: Offsets,
        claim: Claim,
        clock: Callable[[], int],
        holds: Callable[[TopicPartition], bool],
    ) -> None:
        """``holds(place)``: whether the topic that was consumed is there still."""
        self._group = group
        self._offsets = offsets
        self._claim = claim
        self._clock = clock
        self._holds = holds

    def commit(self, offsets: Mapping[TopicPartition, int], metadata: str = "") -> None:
        size = len(metadata.encode())
        if size > METADATA_BYTES_MAX:
            raise Refused(
                f"group {self._group!r}: metadata of {size} bytes, {METADATA_BYTES_MAX} at most"
            )
        # An offset in a deleted topic would skip records of the next topic of that name.
        there = {place: offset for place, offset in offsets.items() if self._holds(place)}
        if there:
            self._offsets.commit(self._group, there, self._clock(), metadata)

    def leave(self) -> None:
        self._claim.release()


class Lag(NamedTuple):
    """How far a group is in one partition."""

    topic: str
    partition: int
    committed: int | None  # None: nothing committed yet
    end: int
    lag: int
    metadata: str
    commit_ms: int | None


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
        offsets: Callable[[], Offsets],
        logs_of: Callable[[str], Mapping[int, Log]],
        owner: Callable[[], object | None],
        claim: Callable[[], Claim],
        clock: Callable[[], int],
    ) -> None:
        """``logs_of(topic)`` gives a topic's logs by partition, or raises UnknownTopic.

        ``offsets()`` raises Closed when they can't be used any more.
        """
        self.name = name
        self._offsets = offsets
        self._logs_of = logs_of
        self._owner = owner
        self._claim = claim
        self._clock = clock

    @property
    def owner(self) -> str | None:
        """The process that consumes as this group now: pid and command."""
        owner = self._owner()
        return None if owner is None else str(owner)

    def topics(self) -> list[str]:
        """The topics in which the group has committed."""
        return sorted({topic for topic, _ in self._offsets().fetch(self.name)})

    def describe(self) -> list[Lag]:
        """Every partition of those topics."""
        committed = self._offsets().fetch(self.name)
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
        claim = None if dry_run else self._claim()
        try:
            committed = self._offsets().fetch(self.name)
            moves = []
            for topic in self.topics() if topics is None else topics:
                for partition, log in self._logs_of(topic).items():
                    before = committed.get((topic, partition))
                    after = offset_of(log, to)
                    moves.append(Move(topic, partition, before.offset if before else None, after))
            if moves and not dry_run:
                offsets = {(move.topic, move.partition): move.after for move in moves}
                self._offsets().commit(self.name, offsets, self._clock())
            return moves
        finally:
            if claim is not None:
                claim.release()

    def delete(self) -> None:
        """Forget the group and its offsets. Raises GroupBusy, UnknownGroup."""
        claim = self._claim()
        try:
            self._offsets().delete_group(self.name)
        finally:
            claim.release()
