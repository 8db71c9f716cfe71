"""A share group (KIP-932): its members read the same partitions, and share their records.

The group makes the assignment, and a member receives it with its next heartbeat. No member has to
give up a partition first, because a partition may have several members. So there are two states,
and the assignment's epoch follows the group's at the next request. Membership does not decide which
member has which record (``broker/shares/``). The caller passes times; nothing here reads a clock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from logstore.broker.coordinator.assignor import Place
from logstore.broker.coordinator.calls import (
    LEAVE,
    Beat,
    Beaten,
    GroupDescription,
    Identity,
    MemberDescription,
)
from logstore.broker.coordinator.consumer_member import ConsumerHead
from logstore.broker.coordinator.named import known
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.roll import Roll
from logstore.broker.coordinator.share_assignor import SIMPLE, simple
from logstore.broker.coordinator.share_member import (
    MEMBER_CHARACTERS_MAX,
    SUBSCRIBED_MAX,
    ShareLimits,
    ShareMember,
)
from logstore.broker.coordinator.view import TopicLookup, TopicView
from logstore.settings import GroupSettings

SHARE: Final = "share"  # the type of its protocol, in Kafka's words


class ShareGroup:
    """One group; ``changed`` and ``head_changed`` name what must be stored before any member is
    told.
    """

    kind: Final = "share"

    def __init__(
        self,
        name: str,
        limits: ShareLimits,
        settings: Callable[[], GroupSettings],
        topics: TopicLookup,
        head: ConsumerHead | None = None,
        members: Iterable[ShareMember] = (),
    ) -> None:
        """``settings()`` returns the group's present settings."""
        self.name = name
        self.limits = limits
        self.settings = settings
        self.head = head or ConsumerHead()
        self.roll = Roll(members)
        self.members, self.changed = self.roll.members, self.roll.changed
        for member in self.members.values():
            member.topics = self._same(member.topics)
        self.head_changed = False
        self._view = TopicView(topics, lambda _: frozenset())

    # A heartbeat

    def heartbeat(self, beat: Beat, now_ms: int) -> Beaten:
        """Process a heartbeat: join, continue or leave. ``check_beat`` must have passed.

        Raises Refusal; then nothing has changed.
        """
        if beat.epoch == LEAVE:
            self._remove(known(self.members, beat.member_id))
            return Beaten(None, beat.member_id, beat.epoch)
        joins = beat.epoch == 0
        self._check_topics(beat)
        member = self._joining(beat) if joins else self._known(beat)
        repeated = beat.epoch != member.epoch
        before = member.assigned
        settings = self.settings()
        member.session_ends_ms = now_ms + settings.share_session_timeout_ms
        if self._take_over(member, beat) | self._view.look_through(
            member, beat.sight, self.head.facts.keys()
        ):
            self._bump()
            unseen = self._view.unseen(member, self.head.facts.keys())
            if unseen != member.unseen:  # after a start it is as it was
                member.unseen = unseen
                self.changed.add(member.id)
        self._make_target(now_ms, settings.share_heartbeat_interval_ms)
        self._follow(member)
        tell = joins or repeated or beat.topics is not None or member.assigned != before
        return Beaten(
            None,
            member.id,
            member.epoch,
            settings.share_heartbeat_interval_ms,
            frozenset(member.assigned) if tell else None,
        )

    def _check_topics(self, beat: Beat) -> None:
        """Check that the heartbeat does not ask for too many topics. Raises Refusal."""
        known = self.members.get(beat.member_id)
        topics = beat.topics
        if topics is None:
            if known is None or beat.sight == self._view.sight(beat.member_id):
                return
            topics = known.topics
        sets = {
            (it.topics, self._view.sight(it.id)) for it in self.members.values() if it is not known
        }
        count = sum(len(it) for it, _ in {*sets, (topics, beat.sight)})
        if count > SUBSCRIBED_MAX:
            raise Refusal(
                GroupError.GROUP_MAX_SIZE_REACHED,
                f"members of share group {self.name!r} would subscribe to {count} topics in ways "
                f"of their own, {SUBSCRIBED_MAX} at most",
            )

    def _joining(self, beat: Beat) -> ShareMember:
        """Return a new member, or an existing one, which keeps its assignment."""
        member = self.members.get(beat.member_id)
        if member is not None:
            return member
        if len(self.members) >= self.limits.members_max:
            raise Refusal(
                GroupError.GROUP_MAX_SIZE_REACHED,
                f"share group {self.name!r} has {len(self.members)} members",
            )
        member = self.members[beat.member_id] = ShareMember(id=beat.member_id)
        self.changed.add(member.id)
        self._bump()
        return member

    def _known(self, beat: Beat) -> ShareMember:
        """Return the sender of the heartbeat. Raises Refusal: no such member, or another epoch."""
        member = known(self.members, beat.member_id)
        # At the one before: the answer that raised its epoch was lost.
        if beat.epoch not in (member.epoch, member.previous_epoch):
            raise Refusal(
                GroupError.FENCED_MEMBER_EPOCH,
                f"member {member.id!r} is at epoch {member.epoch}, not {beat.epoch}: join again",
            )
        return member

    def _take_over(self, member: ShareMember, beat: Beat) -> bool:
        """Update the member from the heartbeat; return whether the target depends on the change."""
        told = {
            "topics": None if beat.topics is None else self._same(beat.topics),
            "rack_id": beat.client.rack_id,
            "client_id": beat.client.id or None,
            "client_host": beat.client.host or None,
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
        return "topics" in new

    def _same(self, topics: frozenset[str]) -> frozenset[str]:
        """Return an equal set of another member if there is one, so that identity shows
        equality.
        """
        return next((it.topics for it in self.members.values() if it.topics == topics), topics)

    # Leaving

    def _remove(self, member: ShareMember) -> None:
        del self.members[member.id]
        self._view.forget(member.id)
        self.changed.add(member.id)
        self._bump()
        if not self.members:  # no member is there to have a target made for
            self.head.facts, self.head.target_epoch = {}, self.head.epoch

    def tick(self, now_ms: int) -> None:
        """Remove members whose session has ended."""
        for member in list(self.members.values()):
            if member.session_ends_ms <= now_ms:
                self._remove(member)

    def deadline(self) -> int | None:
        return min((it.session_ends_ms for it in self.members.values()), default=None)

    def resume(self, now_ms: int) -> None:
        """Restart the deadlines of all members, for a new process with its own clock."""
        session_ms = self.settings().share_session_timeout_ms
        for member in self.members.values():
            member.session_ends_ms = now_ms + session_ms

    # The target

    def _bump(self) -> None:
        """Require a new target, once for all changes until then."""
        self.head.epoch = self.head.target_epoch + 1
        self.head_changed = True

    def topics_changed(self) -> None:
        """Look at the topics with the next heartbeat."""
        self._view.changed()

    def _make_target(self, now_ms: int, rest_ms: int) -> None:
        """Compute a new target if its inputs have changed, including topics."""
        facts = self._view.news(
            self.members.values(), self.head.facts, now_ms, rest_ms,
            at_once=self.head.epoch != self.head.target_epoch,
        )  # fmt: skip
        if facts is not None:
            self.head.facts = facts
            self._bump()
        if self.head.target_epoch == self.head.epoch:
            return
        facts = self.head.facts
        members = [self.members[name] for name in sorted(self.members)]
        ids: dict[frozenset[str], frozenset[str]] = {}  # of topics, for their names
        wanted = {}
        for it in members:
            names = self._view.of(it, facts.keys())
            if names not in ids:
                ids[names] = frozenset(facts[topic].id for topic in names if topic in facts)
            wanted[it.id] = ids[names]
        target = simple(wanted, dict(facts.values()), {it.id: it.target for it in members})
        for it in members:
            if it.target != target[it.id]:
                it.target = target[it.id]
                self.changed.add(it.id)
        self.head.target_epoch = self.head.epoch
        self.head_changed = True

    def _follow(self, member: ShareMember) -> None:
        """Move the member to the target, which this heartbeat's answer contains."""
        if member.epoch != self.head.target_epoch:
            member.previous_epoch, member.epoch = member.epoch, self.head.target_epoch
            member.assigned = member.target
            self.changed.add(member.id)

    # Looked at

    @property
    def state(self) -> str:
        return "Stable" if self.members else "Empty"

    def describe(self) -> GroupDescription:
        """Return the description. From any thread: the members are copied in one step."""
        members = tuple(_description(member) for member in list(self.members.values()))
        return GroupDescription(
            self.name, self.kind, self.state, self.head.epoch, SHARE, SIMPLE,
            self.head.target_epoch, members,
        )  # fmt: skip

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


@dataclass(frozen=True, slots=True)
class ShareGroupSeen:
    """A share group as the code that delivers its records sees it."""

    group: ShareGroup

    @property
    def members(self) -> Mapping[str, frozenset[Place]]:
        """The partitions that each member was told to read."""
        return {it.id: frozenset(it.assigned) for it in self.group.members.values()}

    @property
    def is_empty(self) -> bool:
        return not self.group.members

    @property
    def settings(self) -> GroupSettings:
        """The present settings."""
        return self.group.settings()


def check_beat(beat: Beat, limits: ShareLimits) -> None:
    """Check a heartbeat that is valid for any share group. Raises Refusal."""
    wrong = (
        "a group must have a name"
        if not beat.group
        else f"a member id of 1 to {MEMBER_CHARACTERS_MAX} characters is needed"
        if not 0 < len(beat.member_id) <= MEMBER_CHARACTERS_MAX
        else f"epoch {beat.epoch} is none"
        if beat.epoch < LEAVE
        else "a rack has a name"
        if beat.client.rack_id == ""
        else "who joins names topics"
        if beat.epoch == 0 and not beat.topics
        else "what the member says of itself is too long"
        if _says(beat) > limits.metadata_bytes_max
        else None
    )
    if wrong is not None:
        raise Refusal(GroupError.INVALID_REQUEST, wrong)


def _says(beat: Beat) -> int:
    words = (beat.client.id, beat.client.rack_id or "", *(beat.topics or ()))
    return sum(map(len, words))


def _description(member: ShareMember) -> MemberDescription:
    return MemberDescription(
        member.id,
        Identity(member.client_id, member.client_host, rack_id=member.rack_id),
        epoch=member.epoch,
        topics=member.topics,
        assigned=frozenset(member.assigned),
        target=frozenset(member.target),
    )
