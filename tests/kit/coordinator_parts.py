"""A coordinator over groups kept in memory, and a clock that a test moves."""

import itertools
from dataclasses import dataclass, field

from logstore.broker.coordinator.calls import (
    Beat,
    Identity,
    Join,
    Leaver,
    OffsetCommit,
    Sync,
)
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.coordinator.translation import Assignment, Speech, Subscription
from logstore.broker.coordinator.view import TopicFacts
from logstore.config import Config
from logstore.errors import GroupBusy, StorageFull, UnknownGroup
from logstore.kept.groups import KeptOffset, OffsetToCommit
from logstore.kept.keeping import Keeping

SESSION_MS = 10_000
REBALANCE_MS = 30_000
T = TopicFacts("id-t", 4)


# The format of members' data: metadata is "t u", or "t u|t:0 t:1" with owned partitions; an
# assignment is "=t:0 t:1".


def places_of(words):
    return frozenset((name, int(n)) for name, n in (it.split(":") for it in words.split()))


def text_of(places):
    return " ".join(f"{name}:{number}" for name, number in sorted(places))


def subscription_of(metadata):
    topics, _, owned = metadata.decode().partition("|")
    return Subscription(1, frozenset(topics.split()), places_of(owned))


def assignment_of(assignment):
    """``+`` instead of ``=``: followed by data of the assignor."""
    if assignment[:1] not in (b"=", b"+"):
        return None
    return Assignment(places_of(assignment[1:].decode()), assignment[:1] == b"+")


SPEECH = Speech(subscription_of, assignment_of, lambda _, it: b"=" + text_of(it).encode())


@dataclass
class Kept:
    kind: str
    epoch: int = 0
    empty: bool = True
    state: bytes = b""
    members: dict = field(default_factory=dict)


class MemoryKeeper:
    """Durable at once, or when ``settle`` is called; ``error`` fails what is settled then."""

    def __init__(self, *, held=False):
        self.kept, self.offsets = {}, {}
        self.living = set()  # groups with embedded members
        self.gone = set()  # topics that are no more
        self.held, self.error = held, None
        self.waiting = []

    def load(self, group):
        return self.kept.get(group)

    def kinds(self):
        return {name: it.kind for name, it in self.kept.items()}

    def embedded(self, group):
        return group in self.living

    def fetch(self, group, places=None):
        found = self.offsets.get(group, {})
        return dict(found) if places is None else {it: found[it] for it in places if it in found}

    def save(self, group, change):
        def work():
            kept = self.kept.setdefault(group, Kept(change.kind))
            if change.replace or kept.kind != change.kind:
                kept.members.clear()
            kept.kind, kept.epoch, kept.empty = change.kind, change.epoch, change.empty
            kept.state = change.state
            for member, row in change.members.items():
                kept.members[member] = row
                if row is None:
                    del kept.members[member]

        return self._do(group, work)

    def commit(self, group, offsets):
        refused = {place for place in offsets if place[0] in self.gone}

        def work():
            self.kept.setdefault(group, Kept("simple"))
            rows = self.offsets.setdefault(group, {})
            for place, it in offsets.items():
                if place not in refused:
                    rows[place] = KeptOffset(it.offset, 0, it.metadata, it.leader_epoch)

        return self._do(group, work, refused)

    def decided(self, group, offsets):
        return self.commit(group, offsets)

    def delete_group(self, group):
        def work():
            if group not in self.kept:
                raise UnknownGroup(group)
            del self.kept[group]
            self.offsets.pop(group, None)

        return self._do(group, work)

    def delete_offsets(self, group, places):
        return self._do(group, lambda: [self.offsets.get(group, {}).pop(it, None) for it in places])

    def _do(self, group, work, refused=()):
        keeping = Keeping()
        self.waiting.append((group, work, keeping, refused))
        if not self.held:
            self.settle()
        return keeping

    def settle(self, count=None):
        batch, self.waiting = self.waiting[:count], self.waiting[count:] if count else []
        for group, work, keeping, refused in batch:
            error = self.error
            if group in self.living:
                error = GroupBusy("embedded")
            if error is None:
                try:
                    work()
                except UnknownGroup as unknown:
                    error = unknown
            keeping.finish(error, refused)


class Bench:
    """A coordinator, its clock, and answers by name."""

    def __init__(self, *, held=False, keeper=None, topics=None, group_settings=None, **settings):
        given = {name.replace("_", "."): (str(value), "test") for name, value in settings.items()}
        self.settings = Config(given).store
        self.topics = {"t": T} if topics is None else topics
        self.group_settings = group_settings
        self.keeper = keeper or MemoryKeeper(held=held)
        self.ids = itertools.count(1)
        self.now = 1_000_000
        self.told = lambda joined: None  # of every answer to a join, as it is given
        self.start()

    def start(self):
        """Start a new process with the stored state."""
        self.coordinator = Coordinator(
            self.settings, self.keeper, self.topics.get,
            names=lambda: list(self.topics), speech=SPEECH,
            new_id=lambda prefix: f"{prefix}-{next(self.ids)}",
            group_settings=self.group_settings,
        )  # fmt: skip
        self.coordinator.start(self.now)

    def disk(self, fails):
        """Complete pending writes, or fail them with a full disk."""
        self.keeper.error = StorageFull("full") if fails else None
        self.keeper.settle()
        self.keeper.error = None

    def pass_ms(self, ms):
        """Let time pass, and do what is due at its time."""
        until = self.now + ms
        while (due := self.coordinator.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.coordinator.tick(self.now)
        self.now = until

    # The classic protocol

    def join(self, member="", client="c", instance=None, protocols=(("range", b"t"),), **fields):
        answers = []
        fields = {
            "protocol_type": "consumer", "session_timeout_ms": SESSION_MS,
            "rebalance_timeout_ms": REBALANCE_MS,
        } | fields  # fmt: skip
        call = Join("g", member, Identity(client, "/h", instance), protocols=protocols, **fields)

        def reply(answer):
            answers.append(answer)
            self.told(answer)

        self.coordinator.join(call, self.now, reply)
        return answers

    def sync(self, joined, assignments=None, instance=None, **fields):
        answers = []
        call = Sync(
            "g", joined.generation, joined.member_id, instance, assignments=assignments, **fields
        )
        self.coordinator.sync(call, self.now, answers.append)
        return answers

    def heartbeat(self, joined, instance=None):
        return self.coordinator.heartbeat(
            "g", joined.generation, joined.member_id, instance, self.now
        ).error

    def leave(self, member_id, instance=None):
        return self.coordinator.leave("g", [Leaver(member_id, instance)], self.now)[0].error

    def members(self, count, assign=str.encode, **fields):
        """Form a stable generation of ``count`` members; the leader's answer comes first.

        ``assign(member id)`` returns the leader's assignment for a member.
        """
        known = []
        for turn in range(count):
            answers = [self.join(client=f"c{turn}", **fields)]
            answers += [self.join(it.member_id, **fields) for it in known]
            known = [answer for (answer,) in answers]
            assert all(it.error is None for it in known)
        known.sort(key=lambda it: it.member_id != it.leader)
        parts = {it.member_id: assign(it.member_id) for it in known}
        waiting = [self.sync(it) for it in known[1:]]
        [first] = self.sync(known[0], parts)
        assert [it.error for it in [first, *(answer for (answer,) in waiting)]] == [None] * count
        return known

    # The new protocol

    def beat(self, member, epoch, owned=None, topics=None, instance=None, **fields):
        answers = []
        if epoch == 0:
            owned = owned or ()
            if topics is None and "regex" not in fields:
                topics = ("t",)
            fields.setdefault("rebalance_timeout_ms", REBALANCE_MS)
        call = Beat(
            "g", member, epoch, Identity("c", "/h", instance),
            topics=None if topics is None else frozenset(topics),
            owned=None if owned is None else frozenset(owned), **fields,
        )  # fmt: skip
        self.coordinator.consumer_heartbeat(call, self.now, answers.append)
        return answers[0] if answers else answers

    # Offsets

    def commit(self, offset, generation=-1, member="", place=("t", 0), metadata="", instance=None):
        answers = []
        call = OffsetCommit(
            "g", {place: OffsetToCommit(offset, metadata)}, generation, member, instance
        )
        self.coordinator.commit(call, self.now, answers.append)
        return answers[0][place] if answers else answers

    def pending(self, generation=-1, member="", place=("t", 0), metadata="", instance=None):
        """The error of a commit within a transaction."""
        offsets = {place: OffsetToCommit(1, metadata)}
        call = OffsetCommit("g", offsets, generation, member, instance)
        return self.coordinator.check_pending(call, self.now)[place]

    def delete_offsets(self, places):
        answers = []
        self.coordinator.delete_offsets("g", places, self.now, answers.append)
        return answers[0] if answers else answers

    def committed(self):
        return {place: it.offset for place, it in self.coordinator.fetch("g", self.now).items()}
