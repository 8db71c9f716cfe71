"""What is due next, against a plain dictionary and an index that is a set."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logstore.broker.schedules.schedule import Schedule
from logstore.kept.schedules import Entry


class ScheduleModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.it = Schedule(near_max=4)
        self.waiting, self.out, self.next = {}, {}, 0
        self.index, self.changes, self.loading = set(), None, None
        self.now = 0

    @rule(dues=st.lists(st.integers(0, 60), max_size=12))
    def add(self, dues):
        for due_ms in dues:
            self.it.add(due_ms, self.next)
            self.waiting[self.next] = due_ms
            self.next += 1

    @rule(later=st.integers(0, 15), most=st.integers(1, 5))
    def due(self, later, most):
        self.now += later
        found = self.it.due(self.now, most)
        assert found == sorted(found)
        expected = sorted(Entry(due_ms, offset) for offset, due_ms in self.waiting.items())
        # As far as is known: the first of all, in their order, up to where memory ends.
        assert found == expected[: len(found)]
        for entry in found:
            assert entry.due_ms <= self.now
            self.out[entry.offset] = self.waiting.pop(entry.offset)
        left = [it for it in expected[len(found) :] if it.due_ms <= self.now]
        if len(found) < most and left:  # what was not given out is to be loaded first
            assert self.it.wants_more

    @rule(data=st.data())
    def done(self, data):
        those = (
            data.draw(st.lists(st.sampled_from(sorted(self.out)), unique=True)) if self.out else []
        )
        self.it.done(those)
        for offset in those:
            del self.out[offset]

    @rule(data=st.data())
    def back(self, data):
        those = (
            data.draw(st.lists(st.sampled_from(sorted(self.out)), unique=True)) if self.out else []
        )
        self.it.back(those)
        for offset in those:
            self.waiting[offset] = self.out.pop(offset)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take_one(self, data):
        offset = data.draw(st.sampled_from(sorted(self.waiting)))
        self.it.take(Entry(self.waiting[offset], offset))
        self.out[offset] = self.waiting.pop(offset)

    @rule(most=st.integers(1, 6))
    def begin_write(self, most):
        changes = self.it.begin_write(most)
        if self.changes is not None or self.loading is not None:
            assert changes is None
        elif changes is not None:
            assert len(changes)
            self.changes = changes

    @precondition(lambda self: self.changes is not None)
    @rule(kept=st.booleans())
    def wrote(self, kept):
        if kept:
            assert self.index.issuperset(self.changes.gone)
            self.index |= set(self.changes.put)
            self.index -= set(self.changes.gone)
        self.it.wrote(kept=kept)
        self.changes = None

    @rule()
    def begin_load(self):
        first = self.it.begin_load()
        if self.changes is not None or self.loading is not None:
            assert first is None
        elif first is not None:
            self.loading = first

    @precondition(lambda self: self.loading is not None)
    @rule(most=st.integers(1, 5), fails=st.booleans())
    def loaded(self, most, fails):
        entries = sorted(it for it in self.index if it >= self.loading)
        self.loading = None
        if fails:
            self.it.failed()
        else:
            self.it.loaded(entries[:most], more=len(entries) > most)

    @invariant()
    def nothing_is_lost(self):
        assert self.it.out == len(self.out)
        assert all(map(self.it.is_out, self.out))
        assert self.it.near <= len(self.waiting)
        if self.it.complete:
            assert self.it.near == len(self.waiting)

    @invariant()
    def all_is_somewhere_that_lasts(self):
        """What the index lacks is not written yet; what it has too many is to be removed."""
        there = {entry.offset for entry in self.index}
        unwritten = {entry.offset for entry in self.it.new_from(Entry(0, 0))}
        for offset in self.waiting:
            assert offset in there or offset in unwritten
        for offset in there - self.waiting.keys() - self.out.keys():
            assert self.it.is_gone(offset)

    def teardown(self):
        """In the end all comes, whatever has happened before, each once and by its time."""
        if self.changes is not None:
            self.wrote(True)
        if self.loading is not None:
            self.loaded(3, False)
        self.it.back(list(self.out))
        self.waiting |= self.out
        expected = sorted(Entry(due_ms, offset) for offset, due_ms in self.waiting.items())
        found = []
        while True:
            found += self.it.due(10**6, 3)
            if (first := self.it.begin_load()) is None:
                if self.it.complete and self.it.next_ms is None:
                    break
                continue
            self.loading = first
            self.loaded(3, False)
        assert found == expected


TestScheduleModel = ScheduleModel.TestCase
TestScheduleModel.settings = settings(settings.get_profile("few"), stateful_step_count=40)


def test_what_was_done_before_it_was_written_never_gets_into_the_index():
    it = Schedule()
    for offset in range(10):
        it.add(offset, offset)
    it.done([entry.offset for entry in it.due(10, 10)])
    assert it.begin_write(100) is None
    assert it.unwritten == 0


def test_memory_is_bounded_however_many_wait():
    it = Schedule(near_max=100)
    index = set()
    for offset in range(5000):
        it.add(5000 - offset, offset)
        if it.unwritten >= 100:
            index |= set(it.begin_write(100).put)
            it.wrote(kept=True)
    assert it.near <= 200
    assert it.unwritten < 100
    assert it.next_ms == 1
