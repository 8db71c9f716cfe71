"""Every group of a server: finds the requested one, stores what has changed, then replies.

Groups with members are in memory; for others, the stored facts are enough. All calls are made by
one thread; ``reply`` must not call back.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from logstore.broker.coordinator import (
    classic_member,
    consumer,
    consumer_member,
    share,
    share_member,
    translation,
)
from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.calls import (
    SIMPLE,
    Beat,
    Beaten,
    Done,
    GroupDescription,
    GroupListing,
    Join,
    Joined,
    Leaver,
    MemberDescription,
    OffsetCommit,
    Sync,
    Synced,
)
from logstore.broker.coordinator.classic import ClassicGroup
from logstore.broker.coordinator.consumer import ConsumerGroup
from logstore.broker.coordinator.decoding import decoder_of
from logstore.broker.coordinator.group_settings import GroupSettingsTable
from logstore.broker.coordinator.pattern import Patterns
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.room import Room
from logstore.broker.coordinator.saves import Saves, meaning
from logstore.broker.coordinator.share import ShareGroup, ShareGroupSeen
from logstore.broker.coordinator.timetable import Timetable
from logstore.broker.coordinator.translation import ClassicMembers, Speech
from logstore.broker.coordinator.undecided import Due, Undecided, Unstable
from logstore.broker.coordinator.view import Matching, TopicLookup
from logstore.budget import BUDGET_BYTES_MAX, Budget
from logstore.config import Config
from logstore.errors import InvalidName, LogstoreError, UnknownGroup
from logstore.kept.groups import (
    SHARED,
    GroupKeeper,
    KeptGroup,
    KeptOffset,
    OffsetToCommit,
    ToCommit,
)
from logstore.kept.keeping import Keeping
from logstore.log import TopicPartition
from logstore.names import check_group
from logstore.settings import GroupSettings, StoreSettings

UNREADABLE: Final = "Unknown"  # the state of a group whose row is damaged, in Kafka's words
PREFIX_CHARACTERS_MAX: Final = 40  # of a client's own name in the member id that it is given

_T = TypeVar("_T")

AnyGroup = ClassicGroup | ConsumerGroup | ShareGroup
ModernGroup = ConsumerGroup | ShareGroup
Results = Mapping[TopicPartition, GroupError | None]


def new_member_id(prefix: str) -> str:
    """Return a new unique member id; the prefix makes it readable."""
    return f"{prefix[:PREFIX_CHARACTERS_MAX]}-{uuid.uuid4()}"


class Coordinator:
    """All groups."""

    def __init__(
        self,
        settings: StoreSettings,
        keeper: GroupKeeper,
        topics: TopicLookup,
        *,
        budget: Budget | None = None,
        names: Callable[[], Collection[str]] = tuple,
        speech: Speech = translation.MUTE,
        new_id: Callable[[str], str] = new_member_id,
        due: Callable[[int], None] = lambda _: None,
        rebalanced: Callable[[str], None] = lambda _: None,
        group_settings: GroupSettingsTable | None = None,
    ) -> None:
        """``topics(name)`` returns the facts of a topic, and is called often. ``names()``: of all
        topics.

        ``speech``: encodes and decodes the metadata of classic members.

        ``due(at_ms)`` is called when ``tick`` is due earlier than announced before;
        ``rebalanced(group)`` when a new generation or epoch is stored. ``group_settings`` None: no
        group has its own.
        """
        self._settings = settings
        self._room = Room(budget or Budget(BUDGET_BYTES_MAX))
        self._keeper = keeper
        self._topics = topics
        self._patterns = Patterns(names)
        self._speech = speech
        self._new_id = new_id
        # Groups whose offsets have changed, for a caller that collects them; None: no one does.
        self.stirred: set[str] | None = None
        # What is pending in transactions; None: there are none.
        self.undecided: Undecided | None = None
        self.group_settings = group_settings or GroupSettingsTable(Config())
        self._groups: dict[str, AnyGroup] = {}
        self._saves = Saves(keeper, self._room, rebalanced, self._settle)
        self._timetable = Timetable(due)
        self._classic_limits = classic_member.ClassicLimits(
            settings.group_min_session_timeout_ms,
            settings.group_max_session_timeout_ms,
            settings.group_initial_rebalance_delay_ms,
            settings.group_max_size,
            settings.group_metadata_max_bytes,
        )
        self._consumer_limits = consumer_member.ConsumerLimits(
            settings.group_consumer_session_timeout_ms,
            settings.group_consumer_heartbeat_interval_ms,
            settings.group_max_size,
            settings.group_metadata_max_bytes,
            settings.group_consumer_assignors,
        )
        self._share_limits = share_member.ShareLimits(
            settings.group_share_max_size, settings.group_metadata_max_bytes
        )

    def start(self, now_ms: int) -> dict[str, str]:
        """Resume the stored groups; each member has a new session.

        Returns the groups that cannot be resumed, and why: requests for them are refused.
        """
        refused = {}
        for name, kind in self._keeper.kinds().items():
            if kind in ("classic", "consumer", SHARED):
                try:
                    self._find(name, now_ms)
                except Refusal as it:
                    refused[name] = it.message
                self._settle(name)
        return refused

    # The classic protocol

    def join(self, call: Join, now_ms: int, reply: Callable[[Joined], None]) -> None:
        try:
            group = self._joined_by_classic(call.group, now_ms)
            self._room.check(call.group, _more_bytes(group, call), now_ms)
            if isinstance(group, ConsumerGroup):
                self._join_consumer(group, call, now_ms, reply)
            else:
                group.join(call, now_ms, reply)
        except Refusal as it:
            reply(Joined(it.error, call.member_id, message=it.message))
        self._settle(call.group, measure=True)

    def _join_consumer(
        self, group: ConsumerGroup, call: Join, now_ms: int, reply: Callable[[Joined], None]
    ) -> None:
        """Let a member of the classic protocol join a consumer group. Raises Refusal."""
        joined = self._classic_members(group).join(call, self._new_id, now_ms)
        if self._went_back(group, now_ms):
            # It was the last one of the new protocol until now: it waits with the others.
            again = replace(call, member_id=joined.member_id)
            classic = self._groups[group.name]
            assert isinstance(classic, ClassicGroup)
            classic.join(again, now_ms, reply)
            return
        self._saves.changed(
            group,
            lambda error: reply(joined if error is None else Joined(error, joined.member_id)),
        )

    def _classic_members(self, group: ConsumerGroup) -> ClassicMembers:
        return ClassicMembers(group, self._speech, self._classic_limits, self._topics)

    def sync(self, call: Sync, now_ms: int, reply: Callable[[Synced], None]) -> None:
        given = call.assignments or {}
        try:
            group = self._of_classic(call.group, now_ms)
            if isinstance(group, ConsumerGroup):
                synced = self._classic_members(group).sync(call, now_ms)
                self._saves.changed(group, lambda it: reply(synced if it is None else Synced(it)))
            else:
                self._room.check(call.group, sum(map(len, given.values())), now_ms)
                group.sync(call, now_ms, reply)
        except Refusal as it:
            reply(Synced(it.error, message=it.message))
        self._settle(call.group, measure=bool(given))

    def heartbeat(
        self,
        group: str,
        generation: int,
        member_id: str,
        instance_id: str | None,
        now_ms: int,
    ) -> Done:
        try:
            found = self._of_classic(group, now_ms)
            if isinstance(found, ConsumerGroup):
                members = self._classic_members(found)
                done = members.heartbeat(member_id, generation, instance_id, now_ms)
                quiet = done.error is None and not found.head_changed and group in self._timetable
                self._saves.changed(found, lambda _: None)
                if not quiet:
                    self._settle(group)
                return done
        except Refusal as it:
            return Done(it.error, it.message)
        done = found.heartbeat(member_id, generation, instance_id, now_ms)
        if found.empty:
            self._settle(group)  # nothing becomes due earlier by a heartbeat: no other need
        return done

    def leave(self, group: str, leavers: Sequence[Leaver], now_ms: int) -> list[Done]:
        """Remove members of either protocol; return an answer for each, in order."""
        try:
            found = self._of_consumers(group, now_ms, GroupError.UNKNOWN_MEMBER_ID)
        except Refusal as it:
            return [Done(it.error, it.message)] * len(leavers)
        if isinstance(found, ClassicGroup):
            answers = [found.leave(leaver, now_ms) for leaver in leavers]
        else:
            answers = [_remove(found, leaver) for leaver in leavers]
            if not self._went_back(found, now_ms):
                self._saves.changed(found, lambda _: None)
        self._settle(group, measure=True)
        return answers

    # The protocol of KIP-848

    def consumer_heartbeat(self, beat: Beat, now_ms: int, reply: Callable[[Beaten], None]) -> None:
        """Process a consumer heartbeat. An empty ``beat.member_id`` gets a new id (v0
        of the call).
        """
        if not beat.member_id and beat.epoch == 0:
            beat = replace(beat, member_id=self._new_id(beat.client.id))
        try:
            consumer.check_beat(beat, self._consumer_limits)
            group = self._consumer(beat.group, now_ms, joins=beat.epoch == 0)
            self._room.check(beat.group, group.roll.more_bytes_after(beat), now_ms)
            answer = group.heartbeat(beat, now_ms)
        except Refusal as it:
            self._refuse(beat, it, reply)
            return
        if self._groups[beat.group] is not group:
            self._go_over(group)
        self._answer(group, beat, answer, now_ms, reply)

    def _refuse(self, beat: Beat, it: Refusal, reply: Callable[[Beaten], None]) -> None:
        reply(Beaten(it.error, beat.member_id, message=it.message))
        self._settle(beat.group)

    def _answer(
        self,
        group: ModernGroup,
        beat: Beat,
        answer: Beaten,
        now_ms: int,
        reply: Callable[[Beaten], None],
    ) -> None:
        """Answer the heartbeat once its changes are stored."""
        quiet = not group.changed and not group.head_changed and beat.group in self._timetable

        def kept(error: GroupError | None) -> None:
            reply(answer if error is None else Beaten(error, beat.member_id))

        if not self._went_back(group, now_ms, kept):
            self._saves.changed(group, kept)
        if not quiet:
            self._settle(beat.group, measure=True)

    def knows_pattern(self, pattern: str) -> bool:
        """Whether the matching topics are known, so that a heartbeat with the pattern is quick."""
        return self._patterns.knows(pattern)

    def look_up_pattern(self, pattern: str) -> None:
        """Find the topics that match; slow if there are many topics. From any thread."""
        try:
            self._patterns.topics(pattern)
        except Refusal:  # the member gets the error at its heartbeat
            return

    def topics_changed(self) -> None:
        """Note that topics have changed: members learn it with their next heartbeat."""
        self._patterns.topics_changed()
        for group in self._groups.values():
            if not isinstance(group, ClassicGroup):
                group.topics_changed()

    # Share groups

    def share_heartbeat(self, beat: Beat, now_ms: int, reply: Callable[[Beaten], None]) -> None:
        """Process a share heartbeat (KIP-932). Members choose their own ids."""
        try:
            share.check_beat(beat, self._share_limits)
            group = self._share(beat.group, now_ms, joins=beat.epoch == 0)
            self._room.check(beat.group, group.roll.more_bytes_after(beat), now_ms)
            answer = group.heartbeat(beat, now_ms)
        except Refusal as it:
            self._refuse(beat, it, reply)
            return
        self._answer(group, beat, answer, now_ms, reply)

    def share_group(self, name: str) -> ShareGroupSeen | None:
        """Return the share group as it is now; None: there is none of that name. Raises Refusal."""
        held = self._groups.get(name)
        if held is None:
            kept = _readable(self._keeper.load, name)
            if kept is None or kept.kind != SHARED:
                return None
            held = self._share_group(name, kept)
        return ShareGroupSeen(held) if isinstance(held, ShareGroup) else None

    def settings_of(self, group: str) -> GroupSettings:
        """Return the effective settings of a group, which need not exist. From any thread."""
        return self.group_settings.of(group)

    # Offsets

    def commit(self, call: OffsetCommit, now_ms: int, reply: Callable[[Results], None]) -> None:
        """Commit offsets; reply with an error or None for each partition. None: it is durable."""
        try:
            self._check_commit(call, now_ms)
        except Refusal as it:
            reply(dict.fromkeys(call.offsets, it.error))
            return
        finally:
            self._settle(call.group)
        results, taken = self._fitting(call.offsets)
        if not taken:
            reply(results)
            return

        def finished(kept: Keeping) -> None:
            told = None if kept.error is None else meaning(kept.error, GroupError.UNKNOWN_MEMBER_ID)
            for place in taken:
                gone = told is None and place in kept.refused
                results[place] = GroupError.UNKNOWN_TOPIC_OR_PARTITION if gone else told
            self._stir(call.group)
            reply(results)

        try:
            self._commit(call.group, taken).then(finished)
        except Refusal as it:
            reply(results | dict.fromkeys(taken, it.error))

    def _fitting(
        self, offsets: ToCommit
    ) -> tuple[dict[TopicPartition, GroupError | None], dict[TopicPartition, OffsetToCommit]]:
        """Return the errors of illegal offsets, and the remaining offsets."""
        bytes_max = self._settings.offset_metadata_max_bytes
        results: dict[TopicPartition, GroupError | None] = {}
        taken: dict[TopicPartition, OffsetToCommit] = {}
        for place, offset in offsets.items():
            if len(offset.metadata.encode()) > bytes_max:
                results[place] = GroupError.OFFSET_METADATA_TOO_LARGE
            else:
                taken[place] = offset
        return results, taken

    def _commit(self, group: str, offsets: ToCommit) -> Keeping:
        """Commit outside of transactions. Raises Refusal."""
        undecided = self.undecided
        if undecided is None or not undecided.overtakes(group, offsets):
            return self._keeper.commit(group, offsets)
        if self._keeper.embedded(group):  # it is refused, and must have overtaken nothing
            return self._keeper.commit(group, offsets)
        return undecided.overtake(group, offsets)

    def _stir(self, group: str) -> None:
        if self.stirred is not None:
            self.stirred.add(group)

    def _check_commit(self, call: OffsetCommit, now_ms: int) -> None:
        group = self._of_consumers(call.group, now_ms)
        if isinstance(group, ClassicGroup):
            group.check_commit(call, now_ms)
        elif group.members or call.generation > SIMPLE:
            group.check_commit(
                call.member_id, call.generation, call.instance_id, self._by_id(call.offsets)
            )

    def _by_id(self, places: Iterable[TopicPartition]) -> Iterator[Place]:
        """Yield the partitions by topic id, without those of missing topics."""
        for name, number in places:
            facts = self._topics(name)
            if facts is not None:
                yield facts.id, number

    # Offsets of transactions

    def check_pending(self, call: OffsetCommit, now_ms: int) -> Results:
        """Check a commit within a transaction: return an error or None for each partition."""
        try:
            self._check_pending(call, now_ms)
        except Refusal as it:
            stale = it.error is GroupError.STALE_MEMBER_EPOCH  # which these clients don't know
            error = GroupError.ILLEGAL_GENERATION if stale else it.error
            return dict.fromkeys(call.offsets, error)
        finally:
            self._settle(call.group)
        results, taken = self._fitting(call.offsets)
        return results | dict.fromkeys(taken)

    def _check_pending(self, call: OffsetCommit, now_ms: int) -> None:
        """Check a commit within a transaction as a whole. Raises Refusal."""
        group = self._of_consumers(call.group, now_ms)
        idle = self._idle(group)
        if idle and call.generation > SIMPLE and not self._is_known(call.group):
            raise Refusal(GroupError.ILLEGAL_GENERATION, f"there is no group {call.group!r}")
        if idle and self._keeper.embedded(call.group):
            raise _other_kind(
                joins=False, message=f"group {call.group!r} is consumed in the directory itself"
            )
        if isinstance(group, ClassicGroup):
            group.check_pending(call)
        elif not call.names_nobody and (group.members or call.generation > SIMPLE):
            group.check_commit(
                call.member_id, call.generation, call.instance_id, self._by_id(call.offsets)
            )

    def decided(self, group: str, offsets: ToCommit, then: Callable[[Keeping], None]) -> None:
        """Store offsets of a committed transaction, which the journal has, without further checks.

        ``then`` is called when they are durable with the other offsets.
        """

        def finished(kept: Keeping) -> None:
            self._stir(group)
            then(kept)

        self._keeper.decided(group, offsets).then(finished)

    def _is_known(self, group: str) -> bool:
        """Whether the group exists beyond its name; one with members does. Raises Refusal."""
        return self._keeper.load(group) is not None or self._has_pending(group)

    def _has_pending(self, group: str) -> bool:
        return self.undecided is not None and self.undecided.has_pending(group)

    def unstable(self, group: str) -> Unstable:
        """Return the partitions whose committed offset may be about to change. Raises Refusal.

        A fetch must ask this first; offsets that are committed meanwhile may or may not be shown.
        """
        return () if self.undecided is None else self.undecided.unstable(group)

    def due(self, group: str) -> Due:
        """Return offsets that were committed within transactions and may not be stored yet.

        A fetch must ask this first too: a stored offset of an earlier record is then older. Raises
        Refusal.
        """
        return {} if self.undecided is None else self.undecided.due(group)

    def _drop(
        self,
        group: str,
        places: Collection[TopicPartition] | None,
        then: Callable[[GroupError | None], None],
    ) -> None:
        """Drop the pending commits of these partitions (None: of the whole group)."""
        if self.undecided is None:
            then(None)
            return

        def dropped(error: LogstoreError | None) -> None:
            then(None if error is None else meaning(error, GroupError.NON_EMPTY_GROUP))

        try:
            self.undecided.drop(group, places, dropped)
        except Refusal as it:
            then(it.error)

    # Offsets, looked at and deleted

    def fetch(
        self,
        group: str,
        now_ms: int,
        places: Collection[TopicPartition] | None = None,
        member_id: str | None = None,
        epoch: int = SIMPLE,
    ) -> dict[TopicPartition, KeptOffset]:
        """Return the committed offsets of these partitions, or of all. Raises Refusal.

        Partitions without one are left out. It only reads, and takes long for many: it may be
        called from any thread. ``member_id`` and ``epoch`` (v9 on) are checked for a group of the
        new protocol.
        """
        _check_name(group)
        held = self._groups.get(group)
        if isinstance(held, ConsumerGroup) and held.members and epoch > SIMPLE:
            held.check_epoch(member_id or "", epoch)
        return dict(_readable(lambda it: self._keeper.fetch(it, places), group))

    def delete_offsets(
        self,
        group: str,
        places: Collection[TopicPartition],
        now_ms: int,
        reply: Callable[[Results], None],
    ) -> None:
        """Delete offsets; reply with an error or None for each. Subscribed topics are refused."""
        try:
            found = self._of_consumers(group, now_ms)
            if self._idle(found) and not self._is_known(group):
                raise Refusal(GroupError.GROUP_ID_NOT_FOUND)
        except Refusal as it:
            reply(dict.fromkeys(places, it.error))
            return
        finally:
            self._settle(group)
        subscribed = self._subscribed(found, {topic for topic, _ in places})
        results: dict[TopicPartition, GroupError | None] = {
            place: GroupError.GROUP_SUBSCRIBED_TO_TOPIC
            for place in places
            if place[0] in subscribed
        }
        free = [place for place in places if place not in results]
        if not free:
            reply(results)
            return

        def finished(kept: Keeping) -> None:
            told = None if kept.error is None else meaning(kept.error, GroupError.NON_EMPTY_GROUP)
            self._stir(group)
            reply(results | dict.fromkeys(free, told))

        def dropped(error: GroupError | None) -> None:
            if error is None:
                self._keeper.delete_offsets(group, free).then(finished)
            else:
                reply(results | dict.fromkeys(free, error))

        self._drop(group, free, dropped)

    def _subscribed(
        self, group: ClassicGroup | ConsumerGroup, topics: Collection[str]
    ) -> Collection[str]:
        """Return which of the topics members subscribe to."""
        if isinstance(group, ConsumerGroup):
            return {topic for topic in topics if group.subscribes(topic)}
        told = [self._speech.subscription(metadata) for metadata in group.metadata()]
        if None in told:  # it is unknown which
            return topics
        return {topic for it in told if it is not None for topic in it.topics}.intersection(topics)

    # Groups from outside

    def list(self) -> list[GroupListing]:
        """List every group, with or without members; an unreadable one is listed by its name.

        This takes long for many groups: then call ``listing`` for each.
        """
        kept = self.kinds()
        found = [self.listing(name, kept.get(name)) for name in self.group_names(kept)]
        return [it for it in found if it is not None]

    def kinds(self) -> dict[str, str]:
        """Return the kinds of the stored groups, by name. From any thread."""
        return dict(self._keeper.kinds())

    def group_names(self, kept: Collection[str]) -> Sequence[str]:
        """Return the names of the stored groups and those in memory, sorted."""
        return sorted({*kept, *self._groups})

    def listing(self, name: str, kind: str | None) -> GroupListing | None:
        """List one group; None: it is gone. ``kind``: its stored kind."""
        held = self._groups.get(name)
        if isinstance(held, ClassicGroup):
            return GroupListing(name, "classic", held.state.value, held.protocol_type)
        if held is not None:
            return GroupListing(name, held.kind, held.state, held.kind)
        try:
            found = _readable(self._describe_kept, name)
        except Refusal:
            return None if kind is None else GroupListing(name, kind, UNREADABLE, "")
        if found is None:
            return None
        return GroupListing(name, found.kind, found.state, found.protocol_type)

    def members(self, group: str) -> int:
        """Return the number of the group's members in this process. From any thread."""
        held = self._groups.get(group)
        return 0 if held is None else len(held.members)

    def describe(self, group: str) -> GroupDescription | None:
        """Describe the group; None: there is none. From any thread.

        Raises Refusal if the group cannot be read.
        """
        held = self._groups.get(group)
        return _describe(held) if held is not None else _readable(self._describe_kept, group)

    def _describe_kept(self, group: str) -> GroupDescription | None:
        kept = self._keeper.load(group)
        if kept is None:
            return None
        if kept.kind == SHARED:
            return self._share_group(group, kept).describe()
        return _describe_kept(group, kept, self._consumer_limits)

    def given(self, member: MemberDescription) -> frozenset[TopicPartition] | None:
        """Return the partitions assigned to a classic member, decoded from its assignment.

        None: its clients use an unknown encoding. From any thread.
        """
        found = self._speech.assignment(member.assignment)
        return None if found is None else found.places

    def delete(self, group: str, now_ms: int, reply: Callable[[Done], None]) -> None:
        """Delete a group without members, and its offsets."""
        try:
            self._check_idle(group, now_ms)
            was_pending = self._has_pending(group)
        except Refusal as it:
            reply(Done(it.error, it.message))
            return

        def finished(kept: Keeping) -> None:
            if was_pending and isinstance(kept.error, UnknownGroup):
                reply(Done())  # the group had nothing else
                return
            told = None if kept.error is None else meaning(kept.error, GroupError.NON_EMPTY_GROUP)
            reply(Done(told, "" if kept.error is None else str(kept.error)))

        def dropped(error: GroupError | None) -> None:
            try:
                if error is not None:
                    raise Refusal(error)
                self._check_idle(group, now_ms)  # a member may have joined meanwhile
            except Refusal as it:
                reply(Done(it.error, it.message))
            else:
                self._keeper.delete_group(group).then(finished)

        self._drop(group, None, dropped)

    def _check_idle(self, group: str, now_ms: int) -> None:
        """Check that the group has no members. Raises Refusal."""
        try:
            if not self._idle(self._find(group, now_ms)):
                raise Refusal(GroupError.NON_EMPTY_GROUP, f"group {group!r} has members")
        finally:
            self._settle(group)

    # Time

    def deadline(self) -> int | None:
        """When ``tick`` is due; None: no work is due now."""
        return self._timetable.first_ms()

    def tick(self, now_ms: int) -> None:
        while (due_ms := self.deadline()) is not None and due_ms <= now_ms:
            name = self._timetable.take()
            group = self._groups[name]
            group.tick(now_ms)
            if not isinstance(group, ClassicGroup) and not self._went_back(group, now_ms):
                self._saves.changed(group, lambda _: None)
            self._settle(name, measure=True)

    # Which group

    def _find(self, name: str, now_ms: int) -> AnyGroup:
        """Return the group from memory or the store, or an empty one."""
        _check_name(name)
        found = self._groups.get(name)
        if found is None:
            self._check_count()
            found = self._groups[name] = _readable(
                lambda it: self._resumed(it, self._keeper.load(it), now_ms), name
            )
            self._room.hold(name, found.held_bytes)
        return found

    def _check_count(self) -> None:
        if len(self._groups) >= self._settings.group_max_count:
            raise Refusal(
                GroupError.GROUP_MAX_SIZE_REACHED, "there are too many groups (group.max.count)"
            )

    def _resumed(self, name: str, kept: KeptGroup | None, now_ms: int) -> AnyGroup:
        if kept is not None and kept.kind == SHARED:
            shared = self._share_group(name, kept)
            shared.resume(now_ms)
            return shared
        if kept is not None and kept.kind == "consumer" and not kept.empty:
            matching = self._patterns.topics
            group = _consumer_group(name, kept, self._consumer_limits, self._topics, matching)
            group.resume(now_ms)
            return group
        save = partial(self._saves.classic, name)
        if kept is not None and kept.kind == "classic" and not kept.empty:
            head = _decode_classic_head(kept.state)
            members = [_decode_classic_member(value) for value in kept.members.values()]
            return ClassicGroup.resumed(
                name, self._classic_limits, save, self._new_id, head, members, now_ms
            )
        empty = ClassicGroup(name, self._classic_limits, save, self._new_id)
        empty.generation = kept.epoch if kept is not None else 0
        return empty

    def _share_group(self, name: str, kept: KeptGroup | None = None) -> ShareGroup:
        """Return the stored share group, or a new one."""
        members = (
            [] if kept is None else map(share_member.decode_share_member, kept.members.values())
        )
        head = None if kept is None else consumer_member.decode_head(kept.state)
        settings = partial(self.settings_of, name)
        return ShareGroup(name, self._share_limits, settings, self._topics, head, members)

    def _share(self, name: str, now_ms: int, *, joins: bool) -> ShareGroup:
        """Return the share group, created if a member joins. Raises Refusal for another kind."""
        _check_name(name)
        if name not in self._groups and not _readable(self._is_known, name):
            if not joins:
                raise Refusal(GroupError.GROUP_ID_NOT_FOUND, f"no group {name!r}")
            self._check_count()
            self._groups[name] = self._share_group(name)
        found = self._find(name, now_ms)
        if not isinstance(found, ShareGroup):
            raise Refusal(GroupError.GROUP_ID_NOT_FOUND, f"group {name!r} is not a share group")
        return found

    def _of_consumers(
        self, name: str, now_ms: int, else_: GroupError = GroupError.GROUP_ID_NOT_FOUND
    ) -> ClassicGroup | ConsumerGroup:
        """Return the group, unless it is a share group. Raises Refusal: ``else_``."""
        found = self._find(name, now_ms)
        if isinstance(found, ShareGroup):
            self._settle(name)
            raise _shared(name, else_)
        return found

    def _of_classic(self, name: str, now_ms: int) -> ClassicGroup | ConsumerGroup:
        """Return the group of a call of the classic protocol. Raises Refusal."""
        found = self._of_consumers(name, now_ms, GroupError.UNKNOWN_MEMBER_ID)
        if isinstance(found, ConsumerGroup) and not found.members:
            raise _other_kind(joins=False, message=f"group {name!r} has no members")
        return found

    def _joined_by_classic(self, name: str, now_ms: int) -> ClassicGroup | ConsumerGroup:
        """Return the group for a classic join; an empty one becomes classic. Raises Refusal."""
        found: ClassicGroup | ConsumerGroup = self._of_consumers(
            name, now_ms, GroupError.INCONSISTENT_GROUP_PROTOCOL
        )
        if isinstance(found, ConsumerGroup) and not found.members:
            epoch = found.head.epoch
            found = ClassicGroup(
                name, self._classic_limits, partial(self._saves.classic, name), self._new_id
            )
            found.generation = epoch
            self._groups[name] = found
        if self._idle(found) and self._keeper.embedded(name):
            raise _other_kind(
                joins=True, message=f"group {name!r} is consumed in the directory itself"
            )
        return found

    def _consumer(self, name: str, now_ms: int, *, joins: bool) -> ConsumerGroup:
        found = self._of_consumers(name, now_ms)
        if isinstance(found, ConsumerGroup):
            return found
        if not joins:
            self._settle(name)
            raise _other_kind(joins, f"group {name!r} is not of the new protocol")
        if not found.empty:
            return self._upgraded(found, now_ms)
        if self._keeper.embedded(name):
            self._settle(name)
            raise _other_kind(joins, f"group {name!r} is consumed in the directory itself")
        head = consumer_member.ConsumerHead(found.generation, found.generation)
        matching = self._patterns.topics
        group = ConsumerGroup(name, self._consumer_limits, self._topics, head, matching=matching)
        self._groups[name] = group
        self._saves.owe(name)  # rows of another kind must go
        return group

    # From one protocol to the other

    def _upgraded(self, found: ClassicGroup, now_ms: int) -> ConsumerGroup:
        """Return the classic group as a consumer group.

        It replaces the classic one once its new member has joined. Raises Refusal.
        """
        name, limits = found.name, self._consumer_limits
        if self._settings.group_consumer_migration_policy not in translation.UPGRADES:
            raise Refusal(
                GroupError.GROUP_ID_NOT_FOUND,
                f"group {name!r} has members of the classic protocol, and"
                " group.consumer.migration.policy does not allow it to change to the new one",
            )
        if self._saves.under_way(name):  # members are about to hear of what they read
            raise Refusal(
                GroupError.COORDINATOR_NOT_AVAILABLE, f"group {name!r} is being kept: ask again"
            )
        head, members = translation.to_consumer(found, self._speech, self._topics)
        if len(members) >= limits.members_max:
            raise Refusal(
                GroupError.GROUP_MAX_SIZE_REACHED, f"the group has {len(members)} members"
            )
        group = ConsumerGroup(name, limits, self._topics, head, members, self._patterns.topics)
        group.resume(now_ms)
        return group

    def _go_over(self, group: ConsumerGroup) -> None:
        """Replace the classic group of this name by this group."""
        classic = self._groups[group.name]
        assert isinstance(classic, ClassicGroup)
        self._groups[group.name] = group
        self._saves.owe(group.name)  # store all of it, replacing the old rows
        classic.dissolve()

    def _went_back(
        self,
        group: ModernGroup,
        now_ms: int,
        kept: Callable[[GroupError | None], None] = lambda _: None,
    ) -> bool:
        """Make the group classic if its last member of the new protocol has gone; return whether.

        ``kept`` is called when that is durable.
        """
        policy, members_max = (
            self._settings.group_consumer_migration_policy,
            self._classic_limits.members_max,
        )
        if isinstance(group, ShareGroup):
            return False
        if not translation.may_go_back(group, policy, members_max):
            return False
        name = group.name
        found = translation.to_classic(group, self._speech)
        self._saves.owe_nothing(name)
        self._groups[name] = ClassicGroup.resumed(
            name, self._classic_limits, partial(self._saves.classic, name), self._new_id,
            found.head, found.members or (), now_ms,
        )  # fmt: skip
        self._saves.classic(name, found, kept)
        return True

    @staticmethod
    def _idle(group: AnyGroup) -> bool:
        return group.empty if isinstance(group, ClassicGroup) else not group.members

    def _settle(self, name: str, *, measure: bool = False) -> None:
        """After a call, schedule the group's next ``tick``, and drop an idle group from memory.

        ``measure``: its memory use may have changed.
        """
        group = self._groups.get(name)
        if group is None:
            return
        if self._idle(group) and not self._saves.under_way(name):
            del self._groups[name]
            self._saves.forget(name)
            self._room.hold(name, 0)
            self._timetable.put(name, None)
            return
        if measure:
            self._room.hold(name, group.held_bytes)
        self._timetable.put(name, group.deadline())


def _more_bytes(group: ClassicGroup | ConsumerGroup, call: Join) -> int:
    """Return the additional memory in bytes if a classic member joins the group."""
    if isinstance(group, ClassicGroup):
        return group.more_bytes(call)
    return group.roll.more_bytes(call.member_id, classic_member.said_bytes(call.protocols))


def _check_name(name: str) -> None:
    try:
        check_group(name)
    except InvalidName as error:
        raise Refusal(GroupError.INVALID_GROUP_ID, str(error)) from None


def _readable(read: Callable[[str], _T], group: str) -> _T:
    """Read the stored group. Raises Refusal if it cannot be read."""
    try:
        return read(group)
    except LogstoreError as error:
        raise Refusal(GroupError.COORDINATOR_NOT_AVAILABLE, str(error)) from None


def _other_kind(joins: bool, message: str) -> Refusal:
    error = GroupError.INCONSISTENT_GROUP_PROTOCOL if joins else GroupError.UNKNOWN_MEMBER_ID
    return Refusal(error, message)


def _shared(name: str, error: GroupError = GroupError.GROUP_ID_NOT_FOUND) -> Refusal:
    return Refusal(error, f"group {name!r} is a share group")


def _remove(group: ConsumerGroup, leaver: Leaver) -> Done:
    try:
        group.leave(leaver.member_id, leaver.instance_id)
    except Refusal as it:
        return Done(it.error, it.message)
    return Done()


def _consumer_group(
    name: str,
    kept: KeptGroup,
    limits: consumer_member.ConsumerLimits,
    topics: TopicLookup,
    matching: Matching = lambda _: frozenset(),
) -> ConsumerGroup:
    members = [consumer_member.decode_member(value) for value in kept.members.values()]
    head = consumer_member.decode_head(kept.state)
    return ConsumerGroup(name, limits, topics, head, members, matching)


_decode_classic_head = decoder_of(classic_member.KeptHead)
_decode_classic_member = decoder_of(classic_member.KeptMember)


def _describe(group: AnyGroup) -> GroupDescription:
    return group.describe(group.kind) if isinstance(group, ConsumerGroup) else group.describe()


def _describe_kept(
    name: str, kept: KeptGroup, limits: consumer_member.ConsumerLimits
) -> GroupDescription:
    """Describe a group that is not in memory: without members, or of another process."""
    if kept.kind == "embedded" or (kept.kind == "consumer" and not kept.empty):
        return _consumer_group(name, kept, limits, lambda _: None).describe(kept.kind)
    types = {"consumer": "consumer"}
    if kept.kind == "classic":
        types["classic"] = _decode_classic_head(kept.state).protocol_type
    return GroupDescription(name, kept.kind, "Empty", kept.epoch, types.get(kept.kind, ""))
