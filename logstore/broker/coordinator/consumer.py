"""A group of the new protocol (KIP-848): the group makes the assignment, members follow it.

Each member moves from its epoch to the target's epoch at its own pace::

    stable ── something to give up ──► unrevoked ── given up ──► unreleased ── free ──► stable
       └───────────── nothing to give up, others hold what it is to get ─────┘

``unrevoked``: it holds partitions that it must give up, and stays at its epoch until it reports
that it has. ``unreleased``: it is at the target's epoch, and waits for partitions that others hold.
A partition is held by the member that is assigned to it, or that has not given it up yet: one
member at a time.

The same table runs in the server's memory and, for embedded members of a group, within a
transaction in the directory (``embedded.py``). The caller passes times; nothing here reads a clock.

A member may use the classic protocol: ``translation.py`` turns its joins into heartbeats. It passes
the same states, but learns of changes by being told to join again (``must_join``).
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from logstore.broker.coordinator.assignor import ASSIGNORS, Place, Wants
from logstore.broker.coordinator.calls import (
    LEAVE,
    LEAVE_STATIC,
    Beat,
    Beaten,
    GroupDescription,
    Identity,
    MemberDescription,
)
from logstore.broker.coordinator.consumer_member import (
    ClassicFacts,
    ConsumerHead,
    ConsumerLimits,
    ConsumerMember,
)
from logstore.broker.coordinator.named import check_instance, known
from logstore.broker.coordinator.pattern import compiled
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.roll import Roll
from logstore.broker.coordinator.view import Matching, TopicLookup, TopicView
from logstore.names import INSTANCE_CHARACTERS_MAX, MEMBER_BYTES_MAX


class ConsumerGroup:
    """One group; ``changed`` and ``head_changed`` name what must be stored before any member is
    told.
    """

    kind: Final = "consumer"

    def __init__(
        self,
        name: str,
        limits: ConsumerLimits,
        topics: TopicLookup,
        head: ConsumerHead | None = None,
        members: Iterable[ConsumerMember] = (),
        matching: Matching = lambda _: frozenset(),
    ) -> None:
        self.name = name
        self.limits = limits
        self._view = TopicView(topics, matching)
        self.head = head or ConsumerHead()
        self.roll = Roll(members)
        self.members, self.changed = self.roll.members, self.roll.changed
        self.head_changed = False

    # A heartbeat

    def heartbeat(self, beat: Beat, now_ms: int) -> Beaten:
        """Process a heartbeat: join, continue or leave. ``check_beat`` must have passed.

        Raises Refusal; then nothing has changed.
        """
        if beat.epoch in (LEAVE, LEAVE_STATIC):
            return self._leave(beat)
        joins = beat.epoch == 0
        member = self._joining(beat) if joins else self._known(beat)
        repeated = beat.epoch != member.epoch
        before = set(member.assigned)
        self._go_on(member, beat, now_ms)
        tell = joins or repeated or beat.whole or member.assigned != before
        return Beaten(
            None,
            member.id,
            member.epoch,
            self.limits.heartbeat_interval_ms,
            frozenset(member.assigned) if tell else None,
        )

    def _go_on(self, member: ConsumerMember, beat: Beat, now_ms: int) -> None:
        member.session_ends_ms = now_ms + self._session_ms(member)
        if self._take_over(member, beat) | self._view.look_through(
            member, beat.sight, self.head.facts.keys()
        ):
            self._bump()
            unseen = self._view.unseen(member, self.head.facts.keys())
            if unseen != member.unseen:  # after a start it is as it was
                member.unseen = unseen
                self.changed.add(member.id)
        self.make_target(now_ms)
        self._reconcile(member, beat.owned, now_ms)

    def _session_ms(self, member: ConsumerMember) -> int:
        if member.classic is not None:
            return member.classic.session_timeout_ms
        return self.limits.session_timeout_ms

    def _joining(self, beat: Beat) -> ConsumerMember:
        """Return the joining member, which owns no partitions, whatever it owned before."""
        holder = self._static(beat.client.instance_id)
        if holder is not None and holder.id != beat.member_id:
            # A classic member never announces that it leaves: a returning one replaces it.
            if holder.epoch != LEAVE_STATIC and holder.classic is None:
                raise Refusal(
                    GroupError.UNRELEASED_INSTANCE_ID,
                    f"instance {holder.instance_id!r} is a member still",
                )
            return self._replace(holder, beat.member_id)
        known = self.members.get(beat.member_id)
        if known is not None:
            if known.instance_id != beat.client.instance_id:
                raise Refusal(GroupError.FENCED_INSTANCE_ID, "the member has another instance id")
            # Its first join, answered and not heard, or a start from nothing: it owns nothing.
            known.epoch = known.previous_epoch = 0
            known.assigned, known.revoking = set(), set()
            known.has_changed()
            known.classic = known.call_ends_ms = None
            self._become(known, "stable")
            self.changed.add(known.id)
            return known
        return self._add(beat)

    def _add(self, beat: Beat) -> ConsumerMember:
        if len(self.members) >= self.limits.members_max:
            raise Refusal(
                GroupError.GROUP_MAX_SIZE_REACHED, f"the group has {len(self.members)} members"
            )
        member = ConsumerMember(id=beat.member_id, instance_id=beat.client.instance_id)
        self.members[member.id] = member
        self.changed.add(member.id)
        self._bump()
        return member

    def _replace(self, holder: ConsumerMember, member_id: str) -> ConsumerMember:
        """Replace a static member that is back under a new id, and gets its kept assignment."""
        del self.members[holder.id]
        self._view.forget(holder.id)
        self.changed.add(holder.id)
        member = msgspec.structs.replace(
            holder, id=member_id, epoch=0, previous_epoch=0, revoking=set(), classic=None,
            call_ends_ms=None,
        )  # fmt: skip
        self._become(member, "stable")
        self.members[member.id] = member
        self.changed.add(member.id)
        return member

    def _known(self, beat: Beat) -> ConsumerMember:
        """Return the sender of the heartbeat. Raises Refusal: no such member, or another epoch."""
        member = self.member(beat.member_id, beat.client.instance_id)
        if member.classic is not None:
            raise Refusal(
                GroupError.UNKNOWN_MEMBER_ID, f"member {member.id!r} speaks the classic protocol"
            )
        if beat.epoch == member.epoch:
            return member
        if beat.epoch == member.previous_epoch and (
            beat.owned is not None and beat.owned <= member.held
        ):
            return member  # the answer that raised its epoch was lost
        raise Refusal(
            GroupError.FENCED_MEMBER_EPOCH,
            f"member {member.id!r} is at epoch {member.epoch}, not {beat.epoch}: join again",
        )

    def member(self, member_id: str, instance_id: str | None) -> ConsumerMember:
        """Return the member. Raises Refusal: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID."""
        if instance_id is not None:
            check_instance(instance_id, member_id, self._static(instance_id))
        return known(self.members, member_id)

    def _static(self, instance_id: str | None) -> ConsumerMember | None:
        if instance_id is None:
            return None
        return next((it for it in self.members.values() if it.instance_id == instance_id), None)

    # Members that speak the classic protocol

    def join_classic(self, beat: Beat, classic: ClassicFacts, now_ms: int) -> ConsumerMember:
        """Add a classic member, or let it join again; ``beat`` has its metadata. Raises Refusal.

        ``beat.member_id`` is new or the member's own; an instance's earlier member is replaced.
        """
        holder = self._static(beat.client.instance_id)
        member = self.members.get(beat.member_id)
        if holder is not None and holder.id != beat.member_id:
            member = self._replace(holder, beat.member_id)
        elif member is None:
            if beat.owned:  # others may have by now what it reads: it must hear that first
                raise Refusal(GroupError.UNKNOWN_MEMBER_ID, f"no member {beat.member_id!r}")
            member = self._add(beat)
        elif member.classic is None or member.instance_id != beat.client.instance_id:
            raise Refusal(GroupError.UNKNOWN_MEMBER_ID, f"member {member.id!r} is another one")
        if member.classic != classic:
            member.classic = classic
            self.changed.add(member.id)
        self._go_on(member, beat, now_ms)
        member.call_ends_ms = now_ms + member.rebalance_timeout_ms  # to sync
        return member

    def must_join(self, member: ConsumerMember) -> bool:
        """Whether this classic member has a new assignment, for which it must join again."""
        if member.state == "unreleased" and member.epoch == self.head.epoch:
            return not (member.target - member.assigned) & self._held_by_others(member)
        return member.epoch < self.head.epoch or member.state == "unrevoked"

    def heard_of(self, member: ConsumerMember, now_ms: int, *, joins: bool) -> None:
        """Extend the session of a classic member; ``joins``: it must join within its rebalance
        time.
        """
        member.session_ends_ms = now_ms + self._session_ms(member)
        if not joins:
            member.call_ends_ms = None
        elif member.call_ends_ms is None:
            member.call_ends_ms = now_ms + member.rebalance_timeout_ms

    def _take_over(self, member: ConsumerMember, beat: Beat) -> bool:
        """Update the member from the heartbeat; return whether the target depends on the change."""
        told = {
            "topics": beat.topics,
            "regex": beat.regex,
            "assignor": beat.assignor,
            "rebalance_timeout_ms": beat.rebalance_timeout_ms,
            "rack_id": beat.client.rack_id,
            "client_id": beat.client.id or None,
            "client_host": beat.client.host or None,
            "only": beat.only,
        }
        new = {
            name: value
            for name, value in told.items()
            if value is not None and value != getattr(member, name)
        }
        for name, value in new.items():
            setattr(member, name, value)
        if new:
            self.changed.add(member.id)
        return not new.keys().isdisjoint({"topics", "regex", "assignor", "only"})

    # Leaving

    def _leave(self, beat: Beat) -> Beaten:
        member = self.member(beat.member_id, beat.client.instance_id)
        if beat.epoch == LEAVE_STATIC:
            member.epoch = LEAVE_STATIC  # its partitions wait for it until its session ends
            member.revoking = set()
            self._become(member, "stable")
            self.changed.add(member.id)
        else:
            self._remove(member)
        return Beaten(None, member.id, beat.epoch)

    def leave(self, member_id: str, instance_id: str | None = None) -> None:
        """Remove the member at once; a static one may be named by its instance only. Raises
        Refusal.
        """
        if not member_id and (holder := self._static(instance_id)) is not None:
            member_id = holder.id
        self._remove(self.member(member_id, instance_id))

    def _remove(self, member: ConsumerMember) -> None:
        del self.members[member.id]
        self._view.forget(member.id)
        self.changed.add(member.id)
        self._bump()

    def tick(self, now_ms: int) -> None:
        """Remove members whose session has ended, or that did not revoke or join in time."""
        for member in list(self.members.values()):
            if member.ends_ms <= now_ms:
                self._remove(member)

    def deadline(self) -> int | None:
        return min((it.ends_ms for it in self.members.values()), default=None)

    def resume(self, now_ms: int) -> None:
        """Restart the deadlines of all members, for a new process with its own clock."""
        for member in self.members.values():
            member.session_ends_ms = now_ms + self._session_ms(member)
            if member.revoke_ends_ms is not None:
                member.revoke_ends_ms = now_ms + member.rebalance_timeout_ms
            if member.call_ends_ms is not None:
                member.call_ends_ms = now_ms + member.rebalance_timeout_ms

    # The target, and the way to it

    def _bump(self) -> None:
        """Require a new target, once for all changes until then."""
        self.head.epoch = self.head.target_epoch + 1
        self.head_changed = True

    def _look_at_topics(self, now_ms: int) -> None:
        """Require a new target if a topic was created, deleted or extended."""
        facts = self._view.news(
            self.members.values(), self.head.facts, now_ms, self.limits.heartbeat_interval_ms,
            at_once=self.head.epoch != self.head.target_epoch,
        )  # fmt: skip
        if facts is not None:
            self.head.facts = facts
            self._bump()

    def topics_changed(self) -> None:
        """Look at the topics with the next heartbeat."""
        self._view.changed()

    def _subscribed(self, member: ConsumerMember) -> frozenset[str]:
        return self._view.of(member, self.head.facts.keys())

    def make_target(self, now_ms: int) -> None:
        """Compute a new target if anything that it depends on has changed."""
        self._look_at_topics(now_ms)
        if self.head.target_epoch == self.head.epoch:
            return
        facts = self.head.facts
        members = {
            member.id: Wants(
                frozenset(facts[name].id for name in self._subscribed(member) if name in facts),
                member.only,
            )
            for member in sorted(self.members.values(), key=lambda it: it.instance_id or it.id)
        }
        before = {member.id: member.target for member in self.members.values()}
        target = ASSIGNORS[self.assignor](members, dict(facts.values()), before)
        for member in self.members.values():
            if member.target != target[member.id]:
                member.target = target[member.id]
                self.changed.add(member.id)
        self.head.target_epoch = self.head.epoch
        self.head_changed = True

    @property
    def assignor(self) -> str:
        """The assignor that most members ask for."""
        votes = Counter(it.assignor for it in self.members.values() if it.assignor)
        known = [name for name, _ in votes.most_common() if name in self.limits.assignors]
        return known[0] if known else self.limits.assignors[0]

    def _reconcile(
        self, member: ConsumerMember, owned: frozenset[Place] | None, now_ms: int
    ) -> None:
        if member.state == "stable" and member.epoch == self.head.target_epoch:
            return
        if member.state == "unrevoked" and (owned is None or owned & member.revoking):
            return  # it has not revoked its partitions yet
        kept = member.assigned & member.target
        giving_up = member.assigned - member.target
        if giving_up and (owned is None or owned & giving_up):
            member.assigned, member.revoking = kept, giving_up
            member.has_changed()
            self.changed.add(member.id)
            self._become(member, "unrevoked", now_ms + member.rebalance_timeout_ms)
            return
        wanted = member.target - kept
        busy = wanted & self._held_by_others(member) if wanted else set()
        if member.epoch != self.head.target_epoch:
            member.previous_epoch, member.epoch = member.epoch, self.head.target_epoch
            self.changed.add(member.id)
        if (assigned := kept | (wanted - busy)) != member.assigned or member.revoking:
            member.assigned, member.revoking = assigned, set()
            member.has_changed()
            self.changed.add(member.id)
        self._become(member, "unreleased" if busy else "stable")

    def _held_by_others(self, member: ConsumerMember) -> set[Place]:
        return set().union(*(it.held for it in self.members.values() if it is not member))

    def _become(
        self,
        member: ConsumerMember,
        state: Literal["stable", "unrevoked", "unreleased"],
        revoke_ends_ms: int | None = None,
    ) -> None:
        if (member.state, member.revoke_ends_ms) != (state, revoke_ends_ms):
            member.state, member.revoke_ends_ms = state, revoke_ends_ms
            self.changed.add(member.id)

    # Offsets

    def check_epoch(self, member_id: str, epoch: int, instance_id: str | None = None) -> None:
        """Check that this member may fetch. Raises Refusal."""
        member = self.member(member_id, instance_id)
        if member.epoch != epoch:
            raise _stale(member, epoch)

    def check_commit(
        self, member_id: str, epoch: int, instance_id: str | None, places: Iterable[Place]
    ) -> None:
        """Check that this member may commit in these partitions (KIP-1251). Raises Refusal.

        An earlier epoch is accepted for partitions that it has held since then: no other member has
        read them meanwhile.
        """
        member = self.member(member_id, instance_id)
        if member.epoch == epoch:
            return
        if epoch > member.epoch or member.classic is not None:
            raise _stale(member, epoch)
        if not all(member.holds_since(place, epoch) for place in places):
            raise _stale(member, epoch)

    # Looked at

    @property
    def state(self) -> str:
        if not self.members:
            return "Empty"
        if self.head.epoch > self.head.target_epoch:
            return "Assigning"
        settled = all(
            member.state == "stable" and member.epoch in (self.head.target_epoch, LEAVE_STATIC)
            for member in self.members.values()
        )
        return "Stable" if settled else "Reconciling"

    def describe(self, kind: str) -> GroupDescription:
        """Return the description. From any thread: the members are copied in one step."""
        members = tuple(_description(member) for member in list(self.members.values()))
        return GroupDescription(
            self.name, kind, self.state, self.head.epoch, "consumer", self.assignor,
            self.head.target_epoch, members,
        )  # fmt: skip

    def subscribes(self, topic: str) -> bool:
        return any(topic in self._subscribed(member) for member in self.members.values())

    @property
    def held_bytes(self) -> int:
        """The memory that the group takes, in bytes."""
        return self.roll.held_bytes

    def kept(self) -> dict[str, bytes | None]:
        """Return the changed members as they must be stored (None: removed), and mark them
        unchanged.
        """
        self.head_changed = False
        return self.roll.kept()

    def forget_members(self) -> None:
        """Remove all members: another process owns the group."""
        self.roll.clear()
        self.head_changed = False


def check_beat(beat: Beat, limits: ConsumerLimits) -> None:
    """Check a heartbeat that is valid for any group. Raises Refusal."""
    words = [beat.client.id, beat.regex or "", *(beat.topics or ())]
    instance = beat.client.instance_id
    wrong = (
        "a member id of 1 to 255 bytes is needed"
        if not 0 < len(beat.member_id.encode()) <= MEMBER_BYTES_MAX
        else f"epoch {beat.epoch} is none"
        if beat.epoch < LEAVE_STATIC
        else "only a static member can leave for a while"
        if beat.epoch == LEAVE_STATIC and not instance
        else f"an instance id has 1 to {INSTANCE_CHARACTERS_MAX} characters"
        if instance is not None and not 0 < len(instance) <= INSTANCE_CHARACTERS_MAX
        else "what the member says of itself is too long"
        if sum(map(len, words)) > limits.metadata_bytes_max
        else "who joins names a rebalance timeout"
        if beat.epoch == 0 and (beat.rebalance_timeout_ms or 0) <= 0
        else "who joins owns no partitions yet"
        if beat.epoch == 0 and beat.owned != frozenset()
        else "who joins names topics"
        if beat.epoch == 0 and beat.topics is None and not beat.regex
        else None
    )
    if wrong is not None:
        raise Refusal(GroupError.INVALID_REQUEST, wrong)
    if beat.regex:
        compiled(beat.regex)
    if beat.assignor is not None and beat.assignor not in limits.assignors:
        raise Refusal(
            GroupError.UNSUPPORTED_ASSIGNOR,
            f"no assignor {beat.assignor!r}: there are {', '.join(limits.assignors)}",
        )


def _stale(member: ConsumerMember, epoch: int) -> Refusal:
    kind = GroupError.STALE_MEMBER_EPOCH
    if member.classic is not None:
        kind = GroupError.ILLEGAL_GENERATION
    return Refusal(kind, f"member {member.id!r} is at epoch {member.epoch}, not {epoch}")


def _description(member: ConsumerMember) -> MemberDescription:
    return MemberDescription(
        member.id,
        Identity(member.client_id, member.client_host, member.instance_id, member.rack_id),
        epoch=member.epoch,
        topics=member.topics,
        regex=member.regex,
        assigned=frozenset(member.held),
        target=frozenset(member.target),
        speaks_classic=member.classic is not None,
    )
