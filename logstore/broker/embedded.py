"""One member of a group without a server: the members themselves coordinate the group.

The group's table (``coordinator/consumer.py``) is kept in the directory. A member that acts (joins,
leaves, renews its lease, finds another dead) loads it in an exclusive transaction, does its step,
and writes it back. So every process sees one sequence of steps, as with a server, and the same
rules hold: a partition has one owner, and only its owner commits in it.

Leases are counted by a clock that all processes of the machine share, and that stops while the
machine sleeps (CLOCK_MONOTONIC). It starts again with a reboot, but no member survives a reboot:
each holds a lock that the kernel then releases, and a member without its lock is dead, even if its
lease has not expired.
"""

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.calls import LEAVE, Beat
from logstore.broker.coordinator.consumer import ConsumerGroup
from logstore.broker.coordinator.consumer_member import (
    ConsumerHead,
    ConsumerLimits,
    decode_head,
    decode_member,
)
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.coordinator.view import TopicFacts
from logstore.errors import Fenced, Refused
from logstore.kept.groups import Claim, GroupChange, Groups, GroupStep, KeptGroup, Offsets, ToCommit
from logstore.log import TopicPartition

_T = TypeVar("_T")

LEASE_PARTS = 3  # a lease is renewed so many times a session


@dataclass(frozen=True, slots=True)
class Share:
    """The partitions that a member may read now. ``settled``: no further ones are on their way to
    it.
    """

    places: frozenset[Place]
    settled: bool
    committed: Offsets


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class _Result(Generic[_T]):
    value: _T
    version: int
    others: frozenset[str]
    dead: tuple[str, ...]


class EmbeddedMember:
    """One consumer's place in its group. One thread at a time, except ``commit``."""

    def __init__(
        self,
        group: str,
        table: Groups,
        facts: Callable[[str], TopicFacts | None],
        topics: frozenset[str],
        only: frozenset[int] | None,
        *,
        session_timeout_ms: int,
        rebalance_timeout_ms: int,
        members_max: int,
        clock: Callable[[], int] = monotonic_ms,
    ) -> None:
        """``facts(name)``: the present facts of a topic. ``only``: only these partitions of each
        topic.
        """
        self.group = group
        self._table = table
        self._facts = facts
        self._topics = topics
        self._only = only
        self._session_ms = session_timeout_ms
        self._rebalance_ms = rebalance_timeout_ms
        self._limits = ConsumerLimits(
            session_timeout_ms, session_timeout_ms // LEASE_PARTS, members_max, 1 << 20,
            ("uniform",),
        )  # fmt: skip
        self._clock = clock
        self._id = ""
        self._claim: Claim | None = None
        self._epoch = 0
        self._version = 0
        self._others: frozenset[str] = frozenset()
        self._renewed_ms = 0
        self._looked = "", 0  # which member, at which version of the group,
        self._held: Set[Place] = frozenset()  # has these

    @property
    def late(self) -> bool:
        """Whether its lease has expired, so that others may have taken its partitions."""
        return self._clock() - self._renewed_ms >= self._session_ms

    def join(self) -> Share:
        """Join as a new member. Raises GroupBusy, ReadOnly, Refused."""
        self._let_go()
        self._id = uuid.uuid4().hex
        self._claim = self._table.claim_member(self._id)
        self._epoch = 0
        try:
            return self._beat(frozenset())
        except BaseException:
            self._let_go()
            raise

    def news(self) -> bool:
        """Whether to beat now: the group has changed, a member died, or a lease is due."""
        due_ms = self._renewed_ms + self._session_ms // LEASE_PARTS
        return (
            self._clock() >= due_ms
            or self._table.version(self.group) != self._version
            or not all(map(self._table.alive, self._others))
        )

    def beat(self, owned: frozenset[Place]) -> Share:
        """Report what it reads, and learn what it may read. Raises Fenced if it is no longer a
        member.
        """
        return self._beat(owned)

    def _beat(self, owned: frozenset[Place]) -> Share:
        beat = Beat(
            self.group, self._id, self._epoch, rebalance_timeout_ms=self._rebalance_ms,
            topics=self._topics, owned=owned, only=self._only,
        )  # fmt: skip

        def step(group: ConsumerGroup, now_ms: int, offsets: Offsets) -> tuple[Share, int]:
            answer = group.heartbeat(beat, now_ms)
            assert answer.assignment is not None, "who tells everything is told everything"
            settled = group.members[self._id].state == "stable"
            share = Share(answer.assignment, settled, offsets if answer.assignment else {})
            return share, answer.epoch

        renewed_ms = self._clock()
        share, self._epoch = self._act(step, self._topics)
        self._renewed_ms = renewed_ms
        return share

    def commit(self, offsets: ToCommit) -> set[TopicPartition]:
        """Commit offsets; durable on return. Those of partitions that it does not own are omitted
        and returned.

        Raises Fenced if it is no longer a member.
        """
        member_id = self._id

        def work(entry: KeptGroup | None, _: Offsets) -> tuple[GroupStep, set[TopicPartition]]:
            row = entry.members.get(member_id) if entry is not None else None
            if entry is None or entry.kind != "embedded" or row is None:
                raise self._fenced()
            held = decode_member(row).held
            mine = {
                place: it
                for place, it in offsets.items()
                if it.topic_id is not None and (it.topic_id, place[1]) in held
            }
            return GroupStep(commit=mine), offsets.keys() - mine.keys()

        strange, gone = self._table.act(self.group, work)
        return strange | gone

    def check_owns(self, places: Collection[Place]) -> None:
        """Check that the member owns all of these, and will for a while. Raises Fenced."""
        seen = self._id, self._table.version(self.group)
        if self._looked != seen:  # otherwise nothing has changed since
            entry = self._table.load(self.group)
            row = None if entry is None else entry.members.get(self._id)
            there = entry is not None and entry.kind == "embedded" and row is not None
            self._held = decode_member(row).held if there and row is not None else frozenset()
            self._looked = seen
        if self.late or not self._held >= frozenset(places):
            raise self._fenced()

    def leave(self) -> None:
        """Leave the group; its partitions become free immediately."""
        if self._claim is None:
            return

        def step(group: ConsumerGroup, now_ms: int, _: Offsets) -> None:
            group.heartbeat(Beat(self.group, self._id, LEAVE), now_ms)

        try:
            self._act(step)
        except Fenced:
            pass  # it has left already
        finally:
            self._let_go()

    def _let_go(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def _act(
        self,
        step: Callable[[ConsumerGroup, int, Offsets], _T],
        topics: Iterable[str] = (),
    ) -> _T:
        """Change the group's table in one step, after dead members were removed.

        ``topics`` are looked up again; the others are as members last saw them.
        """
        # Before the transaction: what it reads must not be read within it.
        facts = {name: self._facts(name) for name in topics}

        def work(entry: KeptGroup | None, offsets: Offsets) -> tuple[GroupStep, _Result[_T]]:
            group = self._group(entry, facts)
            now_ms = self._clock()
            dead = self._remove_dead(group, now_ms)
            try:
                value = step(group, now_ms, offsets)
            except Refusal as it:
                if self._epoch == 0 or self._id in group.members:
                    raise Refused(f"group {self.group!r}: {it.message}") from None
                raise self._fenced() from None
            lease = not group.changed and not group.head_changed
            if self._id in group.members:
                group.changed.add(self._id)
            change = GroupChange(
                "embedded", group.head.epoch, not group.members, msgspec.json.encode(group.head),
                group.kept(),
            )  # fmt: skip
            version = (0 if entry is None else entry.version) + (not lease)
            others = frozenset(group.members.keys() - {self._id})
            return GroupStep(change, lease=lease), _Result(value, version, others, dead)

        result, _ = self._table.act(self.group, work)
        self._version, self._others = result.version, result.others
        for member in result.dead:
            self._table.bury(member)
        return result.value

    def _group(
        self, entry: KeptGroup | None, facts: Mapping[str, TopicFacts | None]
    ) -> ConsumerGroup:
        if entry is None or entry.kind != "embedded":
            epoch = 0 if entry is None else entry.epoch
            head = ConsumerHead(epoch, epoch)
            members = []
        else:
            head = decode_head(entry.state)
            members = [decode_member(row) for row in entry.members.values()]
        known = dict(head.facts)  # of topics that others read, as they saw them last
        return ConsumerGroup(
            self.group,
            self._limits,
            lambda name: facts[name] if name in facts else known.get(name),
            head,
            members,
        )

    def _remove_dead(self, group: ConsumerGroup, now_ms: int) -> tuple[str, ...]:
        """Remove members that died, or hung for a session; the acting member is not late."""
        dead = tuple(it for it in group.members if it != self._id and not self._table.alive(it))
        for member in dead:
            group.leave(member)
        if self._id in group.members:
            group.members[self._id].session_ends_ms = now_ms + self._session_ms
        group.tick(now_ms)
        return dead

    def _fenced(self) -> Fenced:
        return Fenced(
            f"group {self.group!r}: this consumer was away for longer than its session "
            f"({self._session_ms} ms) or held on to a partition for too long: others have its "
            f"partitions, and what it had not committed comes again"
        )
