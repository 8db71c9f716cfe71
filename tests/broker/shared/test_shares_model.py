"""Sessions and share partitions over kills, against a list: what was told stays told, nothing else.

Of each record the list knows who has it, and what was heard of it: done with for sure, or perhaps.
"""

from hypothesis import given, note
from hypothesis import strategies as st
from shares_kit import ACCEPT, EARLY, LOCK_MS, REJECT, RELEASE, RENEW, Shop, append

from logstore.broker.shared.letter import OFFSET, PARTITION
from logstore.broker.shares.partition import Limits
from logstore.config import Config
from logstore.errors import Refused
from logstore.records.decode import decode

DEAD = "dlq.g"
PERMITS = {"errors.deadletterqueue.group.enable": "true"}
MEMBERS = "abc"
PARTITIONS = 2
WHO, WHERE = st.sampled_from(MEMBERS), st.integers(0, PARTITIONS - 1)
TYPES = st.lists(st.sampled_from([ACCEPT, RELEASE, REJECT, RENEW]), min_size=1, max_size=5)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 1), st.integers(1, 4)),
    st.tuples(st.just("take"), WHO, WHERE, st.integers(1, 6)),
    st.tuples(st.just("take"), WHO, WHERE, st.integers(1, 6)),
    st.tuples(st.just("say"), WHO, WHERE, st.integers(0, 3), TYPES),
    st.tuples(st.just("say"), WHO, WHERE, st.integers(0, 3), TYPES),
    st.tuples(st.just("end"), WHO),
    st.tuples(st.just("sync")),
    st.tuples(st.just("wait"), st.sampled_from([LOCK_MS // 3, LOCK_MS])),
    st.tuples(st.just("trim"), st.integers(0, 1), st.integers(1, 4)),
    st.tuples(st.just("refuse"), st.booleans()),
    st.tuples(st.just("kill"), st.booleans()),
)  # fmt: skip


class Record:
    """What was heard of one."""

    def __init__(self):
        self.owner = None
        self.due = 0
        self.deliveries = 0  # since the last kill
        self.done = False  # told so
        self.perhaps = False  # it was said, and nothing was heard yet
        self.rejected = False  # told so
        self.rejecting = False  # said, whatever was heard


class World:
    def __init__(self, limits):
        self.shop = Shop(rules=EARLY._replace(limits=limits, dead_letters=DEAD))
        if limits.letters:
            self.shop.topic(DEAD, settings=Config().topic(PERMITS))
        self.limits = limits
        self.topic = self.shop.topic(partitions=PARTITIONS)
        self.records = [[], []]
        self.shop.quick = False
        self.sessions = {}
        self.under_way = []  # what is said, until it is heard
        for number in range(PARTITIONS):
            self.partition(number)

    # Steps

    def append(self, number, count):
        append(self.topic, count, number)
        self.records[number] += [Record() for _ in range(count)]

    def partition(self, number):
        self.shop.quick = True
        found = self.shop.partition(self.topic, number)
        self.shop.quick = False
        return found

    def session(self, member):
        if member not in self.sessions:
            self.sessions[member] = self.shop.member(member)
        return self.sessions[member]

    def take(self, member, number, most):
        self._expire()
        taken = self.shop.take(self.partition(number), self.session(member), most)
        self.hear()
        for it in taken.acquired:
            for offset in range(it.first, it.last + 1):
                record = self.records[number][offset]
                assert not record.done, "it comes again although it is done with"
                assert record.owner is None, "two have it"
                record.owner = member
                record.due = self.shop.ms + LOCK_MS
                record.deliveries += 1
                assert it.deliveries >= record.deliveries
        covered = {o for it in taken.batches for o in range(it.base_offset, it.next_offset)}
        acquired = {o for it in taken.acquired for o in range(it.first, it.last + 1)}
        assert acquired <= covered

    def say(self, member, number, skip, types):
        """Of records that it has, perhaps, from some offset on."""
        self._expire()
        its = [o for o, it in enumerate(self.records[number]) if it.owner == member]
        first = its[skip % len(its)] if its else skip
        partition = self.partition(number)
        start, all_ = partition.start(), self.records[number]
        told = [  # of what lies below, nobody looks at what is said
            (all_[o], kind) for o, kind in enumerate(types, first) if start <= o < len(all_)
        ]
        owned = first + len(types) <= len(all_) and all(it.owner == member for it, _ in told)
        last = first + len(types) - 1
        heard = self.shop.say(partition, self.session(member), (first, last, types))
        under_way = (heard, told, owned, member)
        if owned:
            for record, kind in told:
                if kind is RENEW:
                    record.due = self.shop.ms + LOCK_MS
                else:
                    record.owner, record.perhaps = "the journal", True
                    record.rejecting = record.rejecting or kind is REJECT
        self.under_way.append(under_way)
        self.hear()

    def hear(self):
        left = []
        for heard, told, owned, member in self.under_way:
            if not heard:
                left.append((heard, told, owned, member))
                continue
            [error] = heard
            if not owned:
                assert isinstance(error, Refused)
                continue
            for record, kind in told:
                if kind is RENEW:
                    continue
                record.perhaps = False
                record.owner = None if error is None or member not in self.sessions else member
                if error is None:
                    record.done = kind is not RELEASE or self._dead(record)
                    record.rejected = kind is REJECT
                elif record.due <= self.shop.ms:
                    record.owner = None
        self.under_way = left

    def _dead(self, record):
        return record.deliveries >= self.limits.deliveries

    def _back(self, record):
        record.owner = None
        record.done = record.done or self._dead(record)

    def _expire(self):
        for its in self.records:
            for it in its:
                if it.owner in self.sessions and it.due <= self.shop.ms:
                    self._back(it)

    def end(self, member):
        self._expire()
        session = self.sessions.pop(member, None)
        if session is not None:
            self.shop.shares.end(session)
            self.shop.turn()
            for its in self.records:
                for it in its:
                    if it.owner == member:
                        self._back(it)
        self.hear()

    def sync(self):
        self.shop.sync()
        self.hear()

    def wait(self, ms):
        self.shop.pass_time(ms)
        self._expire()
        self.hear()

    def trim(self, number, count):
        its = self.topic.partitions[number]
        its.trim(min(its.start + count, its.safe))

    def refuse(self, full):
        self.shop.journal.full = full

    def kill(self, lost):
        self.shop = Shop(self.shop, lost=lost)
        self.shop.quick = False
        self.topic = self.shop.topics[self.topic.uuid]
        self.sessions = {}
        for its in self.records:
            for it in its:
                it.owner, it.deliveries = None, 0
        self.under_way = []

    # In the end

    def drain(self):
        """All that is left comes, once, to one who accepts it."""
        self.refuse(False)
        self.kill(lost=True)
        for number in range(PARTITIONS):
            partition, session = self.partition(number), self.session("a")
            seen = []
            while found := self.shop.offsets(partition, session, 5):
                seen += found
            assert len(seen) == len(set(seen))
            its = self.records[number]
            assert not [o for o in seen if its[o].done]
            start = self.topic.partitions[number].start
            expected = {o for o, it in enumerate(its) if o >= start and not it.done}
            missing = expected - set(seen)
            # What was said, and never heard of, may be done with.
            assert all(its[o].perhaps for o in missing), missing

    def letters(self):
        """The partition and the offset of each record that has one, as often as it has."""
        while self.shop.journal.synced < self.shop.journal.end:
            self.sync()
        its = self.shop.by_name(DEAD).partitions[0]
        said = [dict(it.headers) for batch in its.read(0, 1 << 30) for it in decode(batch)]
        return [(int(it[PARTITION]), int(it[OFFSET])) for it in said]


@given(TYPES, st.lists(STEPS, max_size=30))
def test_what_is_rejected_has_one_dead_letter_after_any_kill_and_nothing_else_has(types, steps):
    world = World(Limits(deliveries=1 << 14, locks=1000, lock_ms=LOCK_MS, letters=True))
    world.append(0, 5)
    world.take("a", 0, 5)
    world.say("a", 0, 0, types)
    for what, *rest in steps:
        note(f"{what} {rest}")
        getattr(world, what)(*rest)
    world.drain()
    before = world.letters()
    world.drain()
    found = world.letters()
    assert found == before
    assert len(found) == len(set(found))
    every = [((n, o), it) for n, its in enumerate(world.records) for o, it in enumerate(its)]
    assert {at for at, it in every if it.rejected} <= set(found)
    assert set(found) <= {at for at, it in every if it.rejecting}


@given(st.lists(STEPS, max_size=30))
def test_what_was_told_is_so_after_any_kill_and_nothing_is_lost(steps):
    world = World(Limits(deliveries=1 << 20, locks=1000, lock_ms=LOCK_MS))
    world.append(0, 5)
    for what, *rest in steps:
        note(f"{what} {rest}")
        getattr(world, what)(*rest)
    world.drain()


@given(st.lists(STEPS, max_size=30))
def test_records_that_are_delivered_too_often_end_and_no_others(steps):
    """With few locks, too: what is given out is given to one."""
    world = World(Limits(deliveries=2, locks=4, lock_ms=LOCK_MS))
    world.append(0, 5)
    for what, *rest in steps:
        note(f"{what} {rest}")
        if what != "kill":  # counts of records that were out are lost
            getattr(world, what)(*rest)
