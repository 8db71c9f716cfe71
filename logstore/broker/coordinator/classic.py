"""A group of the classic protocol: members join, one of them makes the assignment, all sync.

::

              a member joins                all have joined, or time is up
    Empty ───────────────────► Preparing ───────────────────────────────────► Completing
      ▲                       ▲ ▲                 a member joins or goes        │     │
      │ the last member goes  │ └────────────────────────────────────────────── ┘     │
      └───────────────────────┘                                 the leader has synced │
                              ▲                                                       │
                              └──────────── a member joins or goes ──── Stable ◄──────┘

A generation is stored before any member learns of it, so that no number is used twice. The
assignment is stored before any member gets its part, so that members can continue after a restart.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from logstore.broker.coordinator.calls import (
    SIMPLE,
    Done,
    GroupDescription,
    Identity,
    Join,
    Joined,
    Leaver,
    MemberDescription,
    MemberMetadata,
    OffsetCommit,
    Sync,
    Synced,
)
from logstore.broker.coordinator.classic_member import (
    TRANSITIONS,
    ClassicLimits,
    Event,
    Kept,
    KeptHead,
    KeptMember,
    Member,
    Save,
    State,
    check_join,
    common,
    said_bytes,
)
from logstore.broker.coordinator.named import check_instance, known
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.room import MEMBER_HELD_BYTES, PENDING_HELD_BYTES

_A = TypeVar("_A")
Answer = tuple[Callable[[_A], None], _A]

# A client that gave up waiting for its first rebalance is not waited for longer, as in Kafka.
NEW_MEMBER_JOIN_MS: Final = 300_000


@dataclass(slots=True)
class _Rebalance:
    """The time limits for members during a rebalance."""

    ends_ms: int
    first_ms: int | None = None  # the first of an empty group waits so long for more members


class ClassicGroup:
    """One group. ``reply`` and ``save`` must not call it back before they return.

    Only ``save`` may call its ``done`` before it returns.
    """

    def __init__(
        self, name: str, limits: ClassicLimits, save: Save, new_id: Callable[[str], str]
    ) -> None:
        """``new_id(prefix)`` returns a member id that was never used before."""
        self.name = name
        self.generation = 0
        self.state = State.EMPTY
        self.protocol_type = ""
        self.protocol: str | None = None
        self.leader: str | None = None
        self._limits = limits
        self._save = save
        self._new_id = new_id
        self._members: dict[str, Member] = {}
        self._pending: dict[str, int] = {}  # ids given out (KIP-394): until when they may join
        self._rebalance = _Rebalance(0)
        self._sync_ends_ms = 0

    @classmethod
    def resumed(
        cls,
        name: str,
        limits: ClassicLimits,
        save: Save,
        new_id: Callable[[str], str],
        head: KeptHead,
        members: Sequence[KeptMember],
        now_ms: int,
    ) -> "ClassicGroup":
        """Return the stored group. Members of the stored generation go on; otherwise all join
        again.
        """
        group = cls(name, limits, save, new_id)
        group.generation = head.generation
        group.protocol_type = head.protocol_type
        if head.synced and members:
            group.state = State.STABLE
            group.protocol, group.leader = head.protocol, head.leader
            for it in members:
                group._members[it.id] = Member(
                    it.id,
                    Identity(it.client_id, it.client_host, it.instance_id),
                    it.session_timeout_ms,
                    it.rebalance_timeout_ms,
                    it.protocols,
                    now_ms + it.session_timeout_ms,
                    it.assignment,
                )
            if head.rejoin:
                group._prepare(now_ms)
        return group

    @property
    def members(self) -> Collection[Member]:
        return self._members.values()

    def dissolve(self) -> None:
        """Dissolve the group, which becomes a consumer group: waiting members must join again."""
        for member in self._members.values():
            self._drop_calls(member, GroupError.REBALANCE_IN_PROGRESS)
        self._members.clear()
        self._pending.clear()
        self._on(Event.DISSOLVED)

    def _on(self, event: Event) -> None:
        """Change the state by an event: the only place where an existing group does so."""
        self.state = TRANSITIONS[self.state][event]

    @property
    def empty(self) -> bool:
        """Whether the group has no members, and no member ids are pending."""
        return not self._members and not self._pending

    @property
    def held_bytes(self) -> int:
        """The memory that the group takes, in bytes. Looks at all members."""
        members = sum(it.held_bytes for it in self._members.values())
        return members + PENDING_HELD_BYTES * len(self._pending)

    def more_bytes(self, call: Join) -> int:
        """Return the additional memory in bytes if this member joins."""
        known = self._members.get(call.member_id) or self._static(call.client.instance_id)
        held = known.held_bytes if known is not None else 0
        return MEMBER_HELD_BYTES + said_bytes(call.protocols) - held

    # Join

    def join(self, call: Join, now_ms: int, reply: Callable[[Joined], None]) -> None:
        try:
            self._check_join(call)
            if call.member_id:
                self._join_known(call, now_ms, reply)
            else:
                self._join_new(call, now_ms, reply)
        except Refusal as it:
            reply(Joined(it.error, call.member_id, message=it.message))

    def _check_join(self, call: Join) -> None:
        check_join(call, self._limits)
        if not self._has_room_for(call.member_id):
            raise Refusal(
                GroupError.GROUP_MAX_SIZE_REACHED, f"the group has {len(self._members)} members"
            )
        if not self._supports(call):
            raise Refusal(
                GroupError.INCONSISTENT_GROUP_PROTOCOL,
                "no protocol of this member is one of all the others",
            )

    def _has_room_for(self, member_id: str) -> bool:
        """Whether this member may join.

        Known members may return; pending ids count, so that repeated joins cannot evade the limit.
        """
        known = member_id in self._members or member_id in self._pending
        return known or len(self._members) + len(self._pending) < self._limits.members_max

    def _supports(self, call: Join) -> bool:
        if not call.protocol_type or not call.protocols:
            return False
        static = self._static(call.client.instance_id)
        others = [
            it for it in self._members.values() if it.id != call.member_id and it is not static
        ]
        if not others:
            return True
        mine = {name for name, _ in call.protocols}
        return call.protocol_type == self.protocol_type and bool(mine & common(others))

    def _join_new(self, call: Join, now_ms: int, reply: Callable[[Joined], None]) -> None:
        instance = call.client.instance_id
        member_id = self._new_id(instance or call.client.id)
        holder = self._static(instance)
        if holder is not None:
            self._replace(holder, member_id, call, now_ms, reply)
        elif instance is None and call.id_required:
            self._pending[member_id] = now_ms + call.session_timeout_ms
            told = "join again with the member id that comes with this"
            reply(Joined(GroupError.MEMBER_ID_REQUIRED, member_id, message=told))
        else:
            self._add(member_id, call, now_ms, reply)

    def _join_known(self, call: Join, now_ms: int, reply: Callable[[Joined], None]) -> None:
        if call.member_id in self._pending and call.client.instance_id is None:
            del self._pending[call.member_id]
            self._add(call.member_id, call, now_ms, reply)
            return
        member = self._member(call.member_id, call.client.instance_id)
        same = list(member.protocols) == list(call.protocols)
        leads = member.id == self.leader
        goes_on = same and (
            self.state is State.COMPLETING or (self.state is State.STABLE and not leads)
        )
        if goes_on:  # it has not heard of the generation that it is in
            self._update(member, call, now_ms)
            reply(self._joined(member))
            return
        self._wait(member, call, now_ms, reply)
        if self.state is State.PREPARING:
            self._complete_if_all_joined(now_ms)
        else:
            self._prepare(now_ms)

    def _add(
        self, member_id: str, call: Join, now_ms: int, reply: Callable[[Joined], None]
    ) -> None:
        if not self._members:
            self.protocol_type = call.protocol_type
        member = Member(member_id, call.client, 0, 0, (), 0)
        self._members[member_id] = member
        member.new_until_ms = now_ms + NEW_MEMBER_JOIN_MS
        self._wait(member, call, now_ms, reply)
        if self.leader is None:
            self.leader = member_id
        if self.state is not State.PREPARING:
            self._prepare(now_ms)
            return
        if self._rebalance.first_ms is not None:
            latest_ms = self._rebalance.ends_ms
            self._rebalance.first_ms = min(now_ms + self._limits.initial_delay_ms, latest_ms)
        self._complete_if_all_joined(now_ms)

    def _wait(
        self, member: Member, call: Join, now_ms: int, reply: Callable[[Joined], None]
    ) -> None:
        self._update(member, call, now_ms)
        self._drop_calls(member, GroupError.REBALANCE_IN_PROGRESS)
        member.join = reply

    @staticmethod
    def _update(member: Member, call: Join, now_ms: int) -> None:
        member.client = call.client
        member.says(call.protocols)
        member.session_timeout_ms = call.session_timeout_ms
        member.rebalance_timeout_ms = call.rebalance_timeout_ms
        member.session_ends_ms = now_ms + call.session_timeout_ms

    def _replace(
        self,
        holder: Member,
        member_id: str,
        call: Join,
        now_ms: int,
        reply: Callable[[Joined], None],
    ) -> None:
        """Replace a static member that has restarted (KIP-345): the earlier one is fenced.

        The assignment remains if the protocol does.
        """
        self._drop_calls(holder, GroupError.FENCED_INSTANCE_ID)
        led = self.leader == holder.id
        renamed = {it.id if it is not holder else member_id: it for it in self._members.values()}
        self._members, holder.id = renamed, member_id
        self._update(holder, call, now_ms)
        if led:
            self.leader = member_id
        if self.state is State.STABLE and self._select() == self.protocol:
            self._go_on_as(holder, led, call, reply)
            return
        holder.join = reply
        if self.state is State.PREPARING:
            self._complete_if_all_joined(now_ms)
        else:
            self._prepare(now_ms)

    def _go_on_as(
        self, member: Member, led: bool, call: Join, reply: Callable[[Joined], None]
    ) -> None:
        """Answer a join within the present generation.

        A former leader must not assign again, since no rebalance would follow.
        """
        answer = self._joined(member)
        if led and call.may_skip_assignment:
            answer = replace(answer, skip_assignment=True)
        elif led:
            answer = replace(answer, leader="", members=())
        self._save(
            self._kept(synced=True),
            lambda error: reply(answer if error is None else Joined(error, member.id)),
        )

    # The rebalance

    def _prepare(self, now_ms: int) -> None:
        if self.state is State.COMPLETING:
            for member in self._members.values():
                member.assignment = b""
            self._answer_syncs(GroupError.REBALANCE_IN_PROGRESS)
        patience_ms = max((it.rebalance_timeout_ms for it in self._members.values()), default=0)
        self._rebalance = _Rebalance(now_ms + patience_ms)
        if self.state is State.EMPTY and self._limits.initial_delay_ms:
            self._rebalance.first_ms = now_ms + self._limits.initial_delay_ms
            self._rebalance.ends_ms = now_ms + max(patience_ms, self._limits.initial_delay_ms)
        self._on(Event.UNSETTLED)
        self._complete_if_all_joined(now_ms)

    def _complete_if_all_joined(self, now_ms: int) -> None:
        first_ms = self._rebalance.first_ms
        if first_ms is not None and now_ms < first_ms:
            return
        self._rebalance.first_ms = None
        if not self._pending and all(it.join is not None for it in self._members.values()):
            self._complete(now_ms)

    def _time_is_up(self, now_ms: int) -> None:
        """Remove members that have not joined again; a static member stays until its
        session ends.
        """
        for member in list(self._members.values()):
            if member.join is None and member.client.instance_id is None:
                self._forget(member)
        if self._members and all(it.join is None for it in self._members.values()):
            patience_ms = max(it.rebalance_timeout_ms for it in self._members.values())
            self._rebalance.ends_ms = now_ms + max(patience_ms, 1)
            return
        self._complete(now_ms)

    def _complete(self, now_ms: int) -> None:
        """Begin a new generation with the members that have joined."""
        self.generation += 1
        if not self._members:
            self._on(Event.DESERTED)
            self.protocol = self.leader = None
            self._save(self._kept(synced=False), lambda _: None)  # no member waits for it
            return
        joined = [it for it in self._members.values() if it.join is not None]
        if self.leader not in {it.id for it in joined}:
            self.leader = joined[0].id
        self.protocol = self._select()
        self._on(Event.JOINED)
        patience_ms = max(it.rebalance_timeout_ms for it in self._members.values())
        self._sync_ends_ms = now_ms + max(patience_ms, 1)
        answers: list[Answer[Joined]] = []
        for member in joined:
            assert member.join is not None
            answers.append((member.join, self._joined(member)))
            member.join = member.new_until_ms = None
            member.session_ends_ms = now_ms + member.session_timeout_ms
        generation = self.generation
        self._save(
            self._kept(synced=False),
            lambda error: self._generation_kept(generation, answers, error, now_ms),
        )

    def _generation_kept(
        self,
        generation: int,
        answers: list[Answer[Joined]],
        error: GroupError | None,
        now_ms: int,
    ) -> None:
        if error is not None and generation == self.generation and self._members:
            self._undo(error, now_ms)
        for reply, answer in answers:
            reply(answer if error is None else Joined(error, answer.member_id))

    def _undo(self, error: GroupError, now_ms: int) -> None:
        """Undo a generation that could not be stored: a later one takes its place."""
        if error is GroupError.COORDINATOR_NOT_AVAILABLE:
            self._prepare(now_ms)
            return
        for member in list(self._members.values()):
            self._forget(member, error)
        self._pending.clear()
        self._on(Event.DISSOLVED)
        self.protocol = self.leader = None

    def _select(self) -> str:
        """Return the protocol with the most votes among those that all members support."""
        shared = common(self._members.values())
        votes = Counter(
            next(name for name, _ in it.protocols if name in shared)
            for it in self._members.values()
        )
        return votes.most_common(1)[0][0]

    def _joined(self, member: Member) -> Joined:
        leads = member.id == self.leader
        members = tuple(
            MemberMetadata(it.id, it.client.instance_id, it.metadata(self.protocol))
            for it in (self._members.values() if leads else ())
        )
        return Joined(
            None, member.id, self.generation, self.protocol_type, self.protocol,
            self.leader or "", False, members,
        )  # fmt: skip

    # Sync

    def sync(self, call: Sync, now_ms: int, reply: Callable[[Synced], None]) -> None:
        try:
            member = self._of_generation(call.member_id, call.generation, call.instance_id)
            self._check_sync(call)
            member.session_ends_ms = now_ms + member.session_timeout_ms
        except Refusal as it:
            reply(Synced(it.error, message=it.message))
            return
        if self.state is State.STABLE:
            reply(self._synced(member))
            return
        if member.sync is not None:
            member.sync(Synced(GroupError.REBALANCE_IN_PROGRESS))  # it has called again
        member.sync = reply
        if member.id == self.leader and call.assignments is not None:
            self._assign(call, now_ms)

    def _check_sync(self, call: Sync) -> None:
        if self.state is State.PREPARING:
            raise Refusal(GroupError.REBALANCE_IN_PROGRESS)
        if (call.protocol_type or self.protocol_type) != self.protocol_type or (
            call.protocol or self.protocol
        ) != self.protocol:
            raise Refusal(
                GroupError.INCONSISTENT_GROUP_PROTOCOL,
                f"the group's protocol is {self.protocol_type}/{self.protocol}",
            )
        size = max(map(len, (call.assignments or {}).values()), default=0)
        if size > self._limits.metadata_bytes_max:
            raise Refusal(
                GroupError.INVALID_REQUEST,
                f"an assignment of {size} bytes, {self._limits.metadata_bytes_max} at most",
            )

    def _assign(self, call: Sync, now_ms: int) -> None:
        assert call.assignments is not None
        for member in self._members.values():
            member.assignment = call.assignments.get(member.id, b"")
        generation = self.generation

        def kept(error: GroupError | None) -> None:
            if self.generation != generation or self.state is not State.COMPLETING:
                return  # a rebalance has come between: all syncs were answered then
            if error is not None:
                self._answer_syncs(error)
                self._undo(error, now_ms)
                return
            self._on(Event.ASSIGNED)
            for member in self._members.values():
                if member.sync is not None:
                    reply, member.sync = member.sync, None
                    member.session_ends_ms = max(
                        member.session_ends_ms, now_ms + member.session_timeout_ms
                    )
                    reply(self._synced(member))

        self._save(self._kept(synced=True), kept)

    def _synced(self, member: Member) -> Synced:
        return Synced(None, self.protocol_type, self.protocol, member.assignment)

    def _answer_syncs(self, error: GroupError) -> None:
        for member in self._members.values():
            if member.sync is not None:
                reply, member.sync = member.sync, None
                reply(Synced(error))

    # Heartbeat, leave, time

    def heartbeat(
        self, member_id: str, generation: int, instance_id: str | None, now_ms: int
    ) -> Done:
        try:
            member = self._of_generation(member_id, generation, instance_id)
        except Refusal as it:
            return Done(it.error, it.message)
        member.session_ends_ms = now_ms + member.session_timeout_ms
        rebalancing = self.state is State.PREPARING
        return Done(GroupError.REBALANCE_IN_PROGRESS if rebalancing else None)

    def leave(self, leaver: Leaver, now_ms: int) -> Done:
        try:
            if leaver.member_id in self._pending and leaver.instance_id is None:
                del self._pending[leaver.member_id]
                if self.state is State.PREPARING:
                    self._complete_if_all_joined(now_ms)
                return Done()
            holder = self._static(leaver.instance_id)
            named = leaver.member_id or (holder.id if holder else "")
            self._remove(self._member(named, leaver.instance_id), now_ms)
        except Refusal as it:
            return Done(it.error, it.message)
        return Done()

    def _remove(self, member: Member, now_ms: int) -> None:
        self._forget(member)
        if self.state is State.PREPARING:
            self._complete_if_all_joined(now_ms)
        else:
            self._prepare(now_ms)

    def _forget(self, member: Member, error: GroupError = GroupError.UNKNOWN_MEMBER_ID) -> None:
        del self._members[member.id]
        self._drop_calls(member, error)
        if self.leader == member.id:
            self.leader = next(iter(self._members), None)

    @staticmethod
    def _drop_calls(member: Member, error: GroupError) -> None:
        """Answer the member's waiting calls with this error."""
        join, sync = member.join, member.sync
        member.join = member.sync = None
        if join is not None:
            join(Joined(error, member.id))
        if sync is not None:
            sync(Synced(error))

    def tick(self, now_ms: int) -> None:
        """Do the work that is due."""
        for member_id in [it for it, ends_ms in self._pending.items() if ends_ms <= now_ms]:
            del self._pending[member_id]
        for member in list(self._members.values()):
            if member.ends_ms is not None and member.ends_ms <= now_ms:
                self._remove(member, now_ms)
        if self.state is State.COMPLETING and self._sync_ends_ms <= now_ms:
            for member in [it for it in self._members.values() if it.sync is None]:
                self._forget(member)
            self._prepare(now_ms)
        if self.state is State.PREPARING:
            self._complete_if_all_joined(now_ms)
        if self.state is State.PREPARING and self._rebalance.ends_ms <= now_ms:
            self._time_is_up(now_ms)

    def deadline(self) -> int | None:
        # Asked after every call, so that a large group must not make each call long: no property
        # is asked here, and no generator goes through the members.
        members = self._members.values()
        ends = [it.session_ends_ms for it in members if it.join is None and it.sync is None]
        ends += [it.new_until_ms for it in members if it.join and it.new_until_ms is not None]
        return min((*ends, *self._deadlines()), default=None)

    def _deadlines(self) -> Iterator[int]:
        """Yield the deadlines of the group itself."""
        yield from self._pending.values()
        if self.state is State.PREPARING:
            first_ms = self._rebalance.first_ms
            yield self._rebalance.ends_ms if first_ms is None else first_ms
        if self.state is State.COMPLETING:
            yield self._sync_ends_ms

    # Members

    def _member(self, member_id: str, instance_id: str | None) -> Member:
        """Return the member. Raises Refusal: FENCED_INSTANCE_ID, UNKNOWN_MEMBER_ID."""
        if instance_id is not None:
            check_instance(instance_id, member_id, self._static(instance_id))
        return known(self._members, member_id)

    def _of_generation(self, member_id: str, generation: int, instance_id: str | None) -> Member:
        member = self._member(member_id, instance_id)
        if generation != self.generation:
            raise Refusal(
                GroupError.ILLEGAL_GENERATION,
                f"the group is at generation {self.generation}, not {generation}",
            )
        return member

    def _static(self, instance_id: str | None) -> Member | None:
        if instance_id is None:
            return None
        members = self._members.values()
        return next((it for it in members if it.client.instance_id == instance_id), None)

    # Offsets

    def check_commit(self, call: OffsetCommit, now_ms: int) -> None:
        """Check that the member may commit. Raises Refusal."""
        if call.generation <= SIMPLE and not self._members:
            return
        member = self._of_generation(call.member_id, call.generation, call.instance_id)
        member.session_ends_ms = now_ms + member.session_timeout_ms
        if self.state is State.COMPLETING:
            raise Refusal(GroupError.REBALANCE_IN_PROGRESS)

    def check_pending(self, call: OffsetCommit) -> None:
        """Check that the member may commit within a transaction. Raises Refusal.

        It may while members join: a reader of these offsets waits for the end of the transaction.
        """
        if (call.generation <= SIMPLE and not self._members) or call.names_nobody:
            return
        self._of_generation(call.member_id, call.generation, call.instance_id)

    # Looked at, and kept

    def describe(self) -> GroupDescription:
        """Return the description. From any thread: the members are copied in one step."""
        members = tuple(
            MemberDescription(
                it.id, it.client, it.metadata(self.protocol), it.assignment, self.generation
            )
            for it in list(self._members.values())
        )
        return GroupDescription(
            self.name, "classic", self.state.value, self.generation, self.protocol_type,
            self.protocol or "", members=members,
        )  # fmt: skip

    def metadata(self) -> list[bytes]:
        """Return each member's metadata for the group's protocol, or for its own first choice."""
        return [
            it.metadata(self.protocol) or next((data for _, data in it.protocols), b"")
            for it in self._members.values()
        ]

    def _kept(self, *, synced: bool) -> Kept:
        head = KeptHead(self.generation, self.protocol_type, self.protocol, self.leader, synced)
        if self._members and not synced:  # those kept stay
            return Kept(head, None, empty=False)
        members = [
            KeptMember(
                it.id, it.client.instance_id, it.client.id, it.client.host,
                it.session_timeout_ms, it.rebalance_timeout_ms, list(it.protocols), it.assignment,
            )
            for it in self._members.values()
        ]  # fmt: skip
        return Kept(head, members, empty=not self._members)
