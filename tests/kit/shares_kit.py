"""Share groups over logs in memory that are synced when a test says."""

import uuid
from collections import deque

from broker_parts import numbered
from clock import NOW_MS
from transacting_kit import HeldLog
from transactions_kit import a_ledger

from logstore.broker.queues.holding import Holding
from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.queues.partitions import Partitions
from logstore.broker.queues.resuming import resume
from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.by_place import ByPlace
from logstore.broker.shared.rules import EARLIEST, Rules
from logstore.broker.shared.shared_partition import SharedPartition
from logstore.broker.shared.shares import Shares
from logstore.broker.shares.acknowledgement import Acknowledged, Type, said
from logstore.broker.shares.partition import Limits
from logstore.broker.shares.sessions import Sessions
from logstore.broker.topic import Topic
from logstore.broker.transacting.telling import Telling
from logstore.config import Config
from logstore.errors import LogstoreError
from logstore.records.control import marker
from logstore.records.decode import decode
from logstore.records.encode import encode

LOCK_MS = 1000
EARLY = Rules(Limits(lock_ms=LOCK_MS), begins=EARLIEST)
ACCEPT, RELEASE, REJECT, RENEW, GAP = Type.ACCEPT, Type.RELEASE, Type.REJECT, Type.RENEW, Type.GAP


class PartitionLog(HeldLog):
    """Of a topic: synced at once, until it is held."""

    def __init__(self, name):
        super().__init__(name, a_ledger())
        self.held = False

    def append(self, batch):
        at = super().append(batch)
        if not self.held:
            self.sync()
        return at

    def find(self, timestamp_ms, *, damaged=False):
        for batch in self.read(self.start, 1 << 30):
            for record in decode(batch):
                if record.timestamp_ms >= timestamp_ms:
                    return record.offset
        return self.safe

    def trim(self, before):
        self._let_go(before)


class Shop:
    """A process with topics; with ``before``, the next one after a kill.

    ``lost``: what was not synced is gone.
    """

    def __init__(self, before=None, *, lost=True, rules=EARLY, sessions_max=None):
        self.ms = 0
        self.calls, self.jobs, self.alarms = deque(), deque(), []
        self.slow = False  # jobs wait for ``do_jobs``
        self.by_group = {} if before is None else before.by_group
        self.default = rules if before is None else before.default
        self.topics = {}
        self.journal = HeldLog("journal", SettlementNotes())
        self.quick = True  # the journal is synced at each turn's end
        if before is not None:
            self.ms = before.ms
            _copy(before.journal, self.journal, lost=lost)
            for topic in before.topics.values():
                its = len(topic.partitions), topic.id, topic.settings
                copied = self.topic(topic.name, *its)
                for old, new in zip(topic.partitions, copied.partitions, strict=True):
                    _copy(old, new, lost=lost)
        self.journal.notes.freeze()
        self._ended = False
        self.prefix = ""
        notes = self.journal.notes
        self.holding = Holding(self.journal, notes, self.soon, self._end_soon)
        self.holding.partitions = Partitions(
            self, self.work, self.wall_ms, lambda _: None, lambda *_: None, self.holding.seen
        )
        unfinished = notes.unfinished()
        resume(self.journal, unfinished, {}.get, self.holding, all_known=True, topics_known=True)
        self.telling = Telling(self.journal, lambda: NOW_MS + self.ms, self.soon, self._end_soon)
        sessions = Sessions() if sessions_max is None else Sessions(sessions_max)
        self.shares = Shares(ByPlace(self.journal.notes.shares().partitions()), self, sessions)
        self.shares.forget_topics()
        self.turn()

    def topic(self, name="t", partitions=1, topic_id=None, settings=None):
        logs = [PartitionLog(f"{name}-{n}") for n in range(partitions)]
        settings = Config().topic({}) if settings is None else settings
        made = Topic(name, topic_id or str(uuid.uuid4()), logs, settings, NOW_MS, self.wall_ms)
        self.topics[made.uuid] = made
        return made

    def delete(self, topic):
        del self.topics[topic.uuid]
        self.shares.topic_gone(topic.uuid)
        self.turn()

    # Around

    def rules(self, group):
        return self.by_group.get(group, self.default)

    def by_id(self, topic_id):
        return self.topics.get(topic_id)

    by_uuid = by_id

    def by_name(self, name):
        return next((it for it in self.topics.values() if it.name == name), None)

    def letters_prefix(self):
        return self.prefix

    def hold(self, held, then):
        self.holding.begin(held, then)

    def crowded(self):
        return self.holding.crowded

    def now_ms(self):
        return self.ms

    def wall_ms(self):
        return NOW_MS + self.ms

    def tell(self, key, value, then):
        self.telling.tell(key, value, then)

    def soon(self, call):
        self.calls.append(call)

    def alarm(self, at_ms):
        self.alarms.append(at_ms)

    def work(self, job, then):
        self.jobs.append((job, then))

    def _end_soon(self):
        self._ended = True

    # What a test does

    def do_jobs(self):
        while self.jobs:
            job, then = self.jobs.popleft()
            then(job())

    def turn(self):
        """Run until nothing is left."""
        while self.calls or self._ended or (self.jobs and not self.slow):
            if not self.slow:
                self.do_jobs()
            while self.calls:
                self.calls.popleft()()
            if self._ended:
                self._ended = False
                self.telling.end_turn()
                self._end_holding()
                if self.quick:
                    self.journal.sync()

    def _end_holding(self):
        while self.holding.has_begun:
            try:
                self.journal.append(encode(self.holding.fill([], self.wall_ms())))
            except LogstoreError as error:
                self.holding.refused(error)
            else:
                self.holding.told(self.journal.end)

    def sync(self):
        self.journal.sync()
        self.turn()

    def pass_time(self, ms):
        self.ms += ms
        self.shares.look_at_times()
        self.turn()

    def partition(self, topic, number=0, group="g"):
        heard = []
        self.shares.find(Place(group, topic.uuid, number), heard.append)
        self.turn()
        [found] = heard
        if isinstance(found, LogstoreError):
            raise found
        assert isinstance(found, SharedPartition)
        return found

    def member(self, name="a", group="g", connection=None):
        return self.shares.sessions.begin(group, name, connection or name, ())

    def take(self, partition, session, most=100, bytes_max=1 << 20, *, whole=False, first=True):
        taken = partition.take(session.owner, most, bytes_max, whole=whole, first=first)
        if taken.acquired:
            self.shares.use(session, partition)
        self.turn()
        return taken

    def offsets(self, *args, **kwargs):
        """The offsets of taken records."""
        taken = self.take(*args, **kwargs)
        return [o for it in taken.acquired for o in range(it.first, it.last + 1)]

    def say(self, partition, session, *told):
        """Acknowledge (first, last, types) each; returns the outcomes so far."""
        heard = []
        batches = said([Acknowledged(*it) for it in told])
        partition.acknowledge(session.owner, batches, heard.append)
        self.turn()
        return heard

    def kept(self):
        """The state that a new start would find."""
        return dict(self.journal.notes.shares().partitions())


def places(shares, group="g"):
    """The partitions that the group has begun to read, ascending."""
    return [
        Place(group, topic_id, number)
        for topic_id in shares.topics(group)
        for number in shares.partitions(group, topic_id)
    ]


def append(topic, count=1, partition=0, **facts):
    """Append a batch; returns its base offset."""
    records = numbered(count)
    rows = [(it.value, None, (), NOW_MS) for it in records]
    return topic.partitions[partition].append(encode(rows, **facts))


def mark(topic, outcome, pid, partition=0):
    return topic.partitions[partition].append(marker(outcome, pid, 0, NOW_MS))


def _copy(old, new, *, lost):
    batches = super(HeldLog, old).read(old.start, 1 << 30)
    new.end = batches[0].base_offset if batches else old.end
    for batch in batches:
        if not lost or batch.next_offset <= old.synced:
            new.append(batch)
    new.start = old.start
    new.sync()
