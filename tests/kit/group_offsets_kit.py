"""Transactions and groups over a journal and offsets in memory, each durable when a test says."""

from itertools import count
from types import SimpleNamespace
from uuid import UUID

from coordinator_parts import Kept, MemoryKeeper
from door_kit import MemoryTopics, Talk
from memory_log import MemoryLog
from transacting_kit import Node
from transacting_talk import Transactions

from logstore.broker.coordinator.calls import OffsetCommit
from logstore.broker.coordinator.consumer_member import TopicFacts
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.transacting.group_offsets import GroupOffsets
from logstore.broker.transactions.operations import Offset
from logstore.config import Config
from logstore.kept.groups import KeptOffset, OffsetToCommit
from logstore.records.decode import decode


class NamedTopics:
    """By name, and by id; one that is made anew has another id."""

    def __init__(self, *names):
        self._numbers = count(1)
        self._topics = {}
        for name in names:
            self.create(name)

    def create(self, name):
        uuid = next(self._numbers).to_bytes(16, "big")
        self._topics[name] = SimpleNamespace(name=name, uuid=uuid, id=str(UUID(bytes=uuid)))

    def delete(self, name):
        return self._topics.pop(name).uuid

    def get(self, name):
        return self._topics.get(name)

    def by_uuid(self, uuid):
        return next((it for it in self._topics.values() if it.uuid == uuid), None)

    def facts(self, name):
        topic = self._topics.get(name)
        return None if topic is None else TopicFacts(topic.id, 4)


class Keeper(MemoryKeeper):
    """Offsets as the catalogue keeps them: of the topic that there is as they are written."""

    def __init__(self, topics, *, held=True):
        super().__init__(held=held)
        self._topics = topics

    def commit(self, group, offsets):
        refused = set()

        def work():
            for place, it in offsets.items():
                topic = self._topics.get(place[0])
                if topic is None or it.topic_id not in (None, topic.id):
                    refused.add(place)
                    continue
                rows = self.offsets.setdefault(group, {})
                record = rows[place].record if place in rows else -1
                if not 0 <= it.record <= record:
                    record = max(it.record, record)
                    rows[place] = KeptOffset(
                        it.offset, 0, it.metadata, it.leader_epoch, topic.id, record
                    )
            if len(refused) < len(offsets):
                self.kept.setdefault(group, Kept("simple"))

        return self._do(group, work, refused)

    def without_topic(self, name):
        for rows in self.offsets.values():
            for place in [it for it in rows if it[0] == name]:
                del rows[place]


class GroupsNode(Node):
    """With groups, whose offsets are durable once ``settle`` was called."""

    def __init__(self, before=None, groups=None):
        """``groups``: a coordinator with its topics and its keeper."""
        self.topics = NamedTopics("t", "u") if before is None else before.topics
        self.keeper = Keeper(self.topics) if before is None else before.keeper
        if groups is not None:
            self.groups, self.topics, self.keeper = groups
        else:
            self.groups = Coordinator(Config().store, self.keeper, self.topics.facts)
        self.keeper.waiting.clear()
        self.later = []
        super().__init__(before)

    def begin(self, journaled):
        self.kept = GroupOffsets(
            self.groups, journaled.staged, self.telling, self.topics, self.finished,
            self.later.append,
        )  # fmt: skip
        self.groups.undecided = self.kept
        self.kept.begin(journaled.newest())

    def commit(self, committed, place, done):
        self.kept.commit(committed, place, done)

    # What a test does

    def settle(self):
        """Make everything durable, and report it."""
        self.turn()
        while self.keeper.waiting or self.journal.synced < self.journal.end:
            self.sync()
            self.keeper.settle()
            self.turn()

    def offset(self, offset, place=("t", 0), metadata=""):
        return Offset(self.topics.get(place[0]).uuid, place[1], offset, metadata=metadata)

    def plain(self, offset, place=("t", 0), group="g"):
        """Commit outside a transaction; returns the answers."""
        heard = []
        call = OffsetCommit(group, {place: OffsetToCommit(offset)})
        self.groups.commit(call, 0, lambda results: heard.append(results[place]))
        self.turn()
        return heard

    def delete_offsets(self, *places, group="g"):
        heard = []
        self.groups.delete_offsets(group, places, 0, heard.append)
        self.turn()
        return heard

    def delete_group(self, group="g"):
        heard = []
        self.groups.delete(group, 0, heard.append)
        self.turn()
        return heard

    def delete_topic(self, name="t"):
        uuid = self.topics.delete(name)
        self.keeper.without_topic(name)
        self.kept.topic_deleted(uuid)
        self.turn()

    def committed(self, group="g", *, due=True):
        """The offsets that clients see; not ``due``: only stored ones."""
        found = dict(self.groups.fetch(group, 0))
        for (uuid, number), it in self.groups.due(group).items() if due else ():
            topic = self.topics.by_uuid(uuid)
            known = topic and found.get((topic.name, number))
            if topic and (known is None or known.record < it.record):
                found[topic.name, number] = it
        return {place: it.offset for place, it in found.items()}

    def unstable(self, group="g"):
        found = self.groups.unstable(group)
        return {(it.name, number) for uuid, number in found if (it := self.topics.by_uuid(uuid))}

    def told(self):
        """The letters of the journal's records."""
        batches = MemoryLog.read(self.journal, 0, 1 << 30)
        return "".join(chr(it.key[0]) for batch in batches for it in decode(batch))


class PendingTalk(Talk):
    """A Kafka session, with transactions; what groups change is durable at once."""

    def __init__(self, **facts):
        topics = MemoryTopics(lambda: self.clock_ms)
        super().__init__(topics=topics, keeper=Keeper(topics, held=False), **facts)
        for name in ("t", "u"):
            self.topics.create(name, 3, {})
        self.node = GroupsNode(groups=(self.coordinator, self.topics, self.keeper))
        self.transactions = Transactions(self.node)
        object.__setattr__(self.door, "transactions_of", self.transactions)
