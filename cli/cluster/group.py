"""A consumer group of a cluster, seen from outside."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import TopicPartition as Place

from logstore.broker.group import GroupMember, Lag, Move, chosen, lags, moves, read_or_committed
from logstore.broker.start import Held, Start
from logstore.errors import Fenced, GroupBusy, LogstoreError, Refused, UnknownTopic
from logstore.kept.groups import consumed_by
from logstore.log import TopicPartition

from .admin import Admin


class Committed(NamedTuple):
    """One committed offset; when it was, the protocol does not tell."""

    offset: int
    metadata: str
    commit_ms: int | None = None


class ClusterGroup:
    """As ``logstore.broker.group.Group``."""

    def __init__(
        self,
        name: str,
        admin: Admin,
        partitions_of: Callable[[str], Mapping[int, Held]],
        partitions_or_errors: Callable[[str], Mapping[int, Held | LogstoreError]],
        *,
        commits: bool = True,
    ) -> None:
        """``partitions_or_errors(topic)``: as ``partitions_of``, with errors of broken partitions.

        ``commits``: it is a consumer group, not a share group.
        """
        self.name = name
        self._admin = admin
        self._partitions_of = partitions_of
        self._partitions_or_errors = partitions_or_errors
        self._commits = commits

    def members(self) -> list[GroupMember]:
        """The present members of the group, ordered by id."""
        return sorted(
            GroupMember(
                it.member_id,
                f"client {it.client_id} at {it.host}",
                tuple(sorted((at.topic, at.partition) for at in it.assignment.topic_partitions)),
            )
            for it in self._admin.members(self.name)
        )

    def describe(self) -> list[Lag]:
        """As Group.describe."""
        self._check_commits()
        committed = self.committed()
        topics = sorted(read_or_committed(committed, self.members()))
        return lags(committed, {topic: self._as_it_is(topic, committed) for topic in topics})

    def _as_it_is(
        self, topic: str, committed: Mapping[TopicPartition, Committed]
    ) -> Mapping[int, Held | LogstoreError]:
        try:
            return self._partitions_or_errors(topic)
        except UnknownTopic:
            return {}  # deleted since; its offsets go with it
        except LogstoreError as error:
            return dict.fromkeys((number for name, number in committed if name == topic), error)

    def committed(self) -> dict[TopicPartition, Committed]:
        """The committed offsets, by topic and partition."""
        return {
            (it.topic, it.partition): Committed(it.offset, it.metadata or "")
            for it in self._admin.committed(self.name)
        }

    def _check_commits(self) -> None:
        """Raise Refused if it is not a consumer group: librdkafka cannot describe others."""
        if not self._commits:
            raise Refused(
                f"group {self.name} is a share group; its members are"
                f" shown by its server, with --data or at /api/v1/groups/{self.name}"
            )

    def _partitions(self, topics: Iterable[str]) -> dict[str, Mapping[int, Held]]:
        found = {}
        for topic in sorted(topics):
            with suppress(UnknownTopic):  # deleted since; its offsets go with it
                found[topic] = self._partitions_of(topic)
        return found

    def reset(
        self,
        to: Start,
        topics: Sequence[str] | None = None,
        *,
        partitions: Sequence[int] | None = None,
        out_of_range: bool = False,
        dry_run: bool = False,
    ) -> list[Move]:
        """As Group.reset."""
        self._check_commits()
        committed = self.committed()
        found = (
            self._partitions({topic for topic, _ in committed})
            if topics is None
            else {topic: self._partitions_of(topic) for topic in topics}
        )
        logs = {
            topic: {number: logs[number] for number in chosen(topic, len(logs), partitions)}
            for topic, logs in found.items()
        }
        wanted = moves(committed, logs, to, out_of_range=out_of_range)
        if not dry_run and not wanted and self.members():
            raise self._busy(GroupBusy(f"group {self.name!r} has members"))
        if not dry_run and wanted:
            self.commit({(it.topic, it.partition): (it.after, "") for it in wanted})
        return wanted

    def commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """Commit offsets with metadata, if the group has no members. Raises GroupBusy."""
        places = [Place(*place, at, metadata) for place, (at, metadata) in offsets.items()]
        try:
            self._admin.commit(self.name, places)
        except (GroupBusy, Fenced) as error:
            raise self._busy(error) from None

    def delete(self) -> None:
        """As Group.delete."""
        try:
            self._admin.forget(self.name)
        except GroupBusy as error:
            raise self._busy(error) from None

    def _busy(self, error: Exception) -> GroupBusy:
        """The error that names the group's members."""
        members = self.members()
        if not members:
            return GroupBusy(str(error))
        who = consumed_by(self.name, [it.owner for it in members])
        return GroupBusy(f"{who}: stop its consumers first")
