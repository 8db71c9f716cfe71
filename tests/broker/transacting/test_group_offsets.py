"""Which offset of a group counts, where transactions and the group itself commit some."""

from types import SimpleNamespace

import pytest
from group_offsets_kit import GroupsNode
from hypothesis import given, note
from hypothesis import strategies as st
from share_clients import beat
from transaction_parts import ABORT, COMMIT

from logstore.broker.coordinator.calls import OffsetCommit
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.undecided import Unread
from logstore.broker.transacting import coordinator as module
from logstore.broker.transactions.operations import encode_offsets, overtaken_key
from logstore.errors import Closed, StorageFull
from logstore.kept.groups import OffsetToCommit

T0, T1, U0 = ("t", 0), ("t", 1), ("u", 0)


@pytest.fixture
def node():
    return GroupsNode()


def staged(node, producer, *offsets, **more):
    heard = node.stage(producer, *offsets, **more)
    node.settle()
    assert heard == [None]


def ended(node, producer, outcome, name="copier"):
    heard = node.end(producer, outcome, name=name)
    node.settle()
    return heard[0].producer


class TestCommit:
    def test_is_seen_once_it_is_decided_and_kept_later(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5), node.offset(6, T1))
        assert (node.committed(), node.unstable()) == ({}, {T0, T1})
        heard = node.end(producer, COMMIT)
        assert (heard, node.committed(), node.unstable()) == ([], {}, {T0, T1})
        node.sync()
        assert len(heard) == 1, "who is answered finds it there"
        assert (node.committed(), node.unstable()) == ({T0: 5, T1: 6}, set())
        assert node.committed(due=False) == {}
        node.keeper.settle()
        assert node.committed() == node.committed(due=False) == {T0: 5, T1: 6}
        assert node.keeper.load("g").kind == "simple"

    def test_an_abort_leaves_nothing(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        ended(node, producer, ABORT)
        assert (node.committed(), node.unstable(), node.keeper.load("g")) == ({}, set(), None)

    def test_t24_the_later_of_two_counts(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        staged(node, producer, node.offset(3))
        ended(node, producer, COMMIT)
        assert node.committed() == {T0: 3}

    def test_t23_nothing_leaks_into_the_next_transaction(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        producer = ended(node, producer, ABORT)
        staged(node, producer, node.offset(6, T1))
        ended(node, producer, COMMIT)
        assert node.committed() == {T1: 6}

    def test_t26_a_producer_that_died_holds_its_partitions_until_its_time_is_over(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.pass_time(node.table.next_due_ms - node.ms - 1)
        node.turn()
        assert node.unstable() == {T0}
        node.pass_time(1)
        node.settle()
        assert (node.committed(), node.unstable()) == ({}, set())

    def test_those_who_wait_for_changes_hear_of_it(self, node):
        node.groups.stirred = set()
        producer = node.producer()
        staged(node, producer, node.offset(5))
        assert node.groups.stirred == set()
        ended(node, producer, COMMIT)
        assert node.groups.stirred == {"g"}

    def test_the_journal_needs_it_until_the_group_has_it(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.end(producer, COMMIT)
        node.sync()
        node.sync()
        assert node.done == []
        node.keeper.settle()
        assert len(node.done) == 1

    def test_a_kill_before_the_group_has_it_loses_nothing(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.end(producer, COMMIT)
        node.sync()
        again = GroupsNode(node)
        again.settle()
        assert again.committed(due=False) == {T0: 5}
        assert len(again.done) == 1

    def test_after_a_kill_it_is_unknown_until_it_was_tried_to_keep_it(self, node):
        """Somebody may have deleted the group while nobody served it."""
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.end(producer, COMMIT)
        node.sync()
        again = GroupsNode(node)
        with pytest.raises(Refusal) as told:
            again.committed()
        assert told.value.error is GroupError.COORDINATOR_LOAD_IN_PROGRESS
        assert again.committed("h") == {}
        again.keeper.error = StorageFull("full")
        again.settle()
        assert (again.committed(due=False), again.committed()) == ({}, {T0: 5})

    def test_a_large_transaction_ends_some_at_a_time(self, node, monkeypatch):
        monkeypatch.setattr(module, "ENDED_AT_ONCE", 3)
        producer, other = node.producer(), node.producer("other")
        many = [node.offset(n, ("t", n)) for n in range(10)]
        staged(node, producer, *many)
        staged(node, other, node.offset(99, ("t", 7)), name="other")
        given = []
        keep = node.kept.commit

        def count(committed, place, done):
            given.append(sum(len(it.offsets) for it in committed))
            keep(committed, place, done)

        node.kept.commit = count
        heard = node.end(producer, COMMIT)
        node.end(other, COMMIT, name="other")
        node.settle()
        assert given == [3, 3, 3, 1, 1]
        assert len(heard) == 1
        assert node.committed() == {("t", n): n for n in range(10)} | {("t", 7): 99}
        assert node.unstable() == set()
        assert node.coordinator.staged.producers() == []


class TestPlainCommits:
    def test_the_journal_hears_of_none_where_nothing_is_pending(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        told = node.told()
        assert node.plain(1, T1) == node.plain(1, group="h") == []
        node.settle()
        assert node.told() == told
        assert node.committed() == {T1: 1}

    def test_t27_one_that_is_newer_stays(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5), node.offset(6, T1))
        heard = node.plain(9)
        assert node.told()[-1] == "O"
        node.keeper.settle()
        assert (heard, node.committed()) == ([], {}), "the journal has to have it first"
        node.sync()
        assert (heard, node.committed()) == ([], {T0: 9})
        node.keeper.settle()
        assert (heard, node.committed()) == ([None], {T0: 9})
        assert node.unstable() == {T0, T1}
        ended(node, producer, COMMIT)
        assert (node.committed(), node.unstable()) == ({T0: 9, T1: 6}, set())

    def test_t27_one_that_is_older_does_not(self, node):
        node.plain(9)
        node.settle()
        producer = node.producer()
        staged(node, producer, node.offset(5))
        ended(node, producer, COMMIT)
        assert node.committed() == {T0: 5}
        node.plain(7)
        node.settle()
        again = GroupsNode(node)
        again.settle()
        assert again.committed() == {T0: 7}

    def test_one_while_the_group_is_about_to_have_another_comes_behind_it(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.end(producer, COMMIT)
        node.sync()
        node.plain(9)
        assert node.committed() == {T0: 5}
        node.sync()
        assert node.committed() == {T0: 9}
        node.keeper.settle()
        assert node.committed() == node.committed(due=False) == {T0: 9}

    def test_it_is_told_as_it_went(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.journal.full = True
        assert node.plain(9) == [GroupError.COORDINATOR_NOT_AVAILABLE]
        node.journal.full = False
        ended(node, producer, COMMIT)
        assert node.committed() == {T0: 5}

    def test_a_topic_made_anew_meanwhile_is_refused(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        heard = node.plain(9)
        node.delete_topic("t")
        node.topics.create("t")
        node.settle()
        assert heard == [GroupError.UNKNOWN_TOPIC_OR_PARTITION]
        assert node.committed() == {}

    def test_members_in_the_directory_refuse_it_and_nothing_is_overtaken(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.keeper.living.add("g")
        told = node.told()
        heard = node.plain(9)
        node.settle()
        assert heard == [GroupError.UNKNOWN_MEMBER_ID]
        assert node.told() == told

    def test_one_that_came_to_the_journal_in_another_way_counts_as_well(self, node):
        """As the library's transactions do it."""
        producer = node.producer()
        staged(node, producer, node.offset(5), node.offset(6, T1))
        place = []
        key, value = overtaken_key("g"), encode_offsets([node.offset(9)])
        node.telling.tell(key, value, place.append)
        node.settle()
        offset = OffsetToCommit(9, topic_id=node.topics.get("t").id, record=place[0])
        node.kept.overtaken("g", {T0: offset})
        node.keeper.decided("g", {T0: offset})
        ended(node, producer, COMMIT)
        assert node.committed() == {T0: 9, T1: 6}
        node.delete_group()
        node.settle()
        again = GroupsNode(node)
        again.settle()
        assert again.committed() == {}


class TestDeleting:
    @pytest.mark.parametrize("kill", [False, True])
    def test_offsets_that_are_deleted_while_pending_are_not_committed(self, node, kill):
        node.plain(1)
        node.settle()
        producer = node.producer()
        staged(node, producer, node.offset(5), node.offset(6, T1))
        heard = node.delete_offsets(T0)
        node.settle()
        assert heard == [{T0: None}]
        assert (node.committed(), node.unstable()) == ({}, {T1})
        if kill:
            node = GroupsNode(node)
            node.settle()
        ended(node, producer, COMMIT)
        assert node.committed() == {T1: 6}

    @pytest.mark.parametrize("kill", [False, True])
    def test_a_group_that_is_deleted_takes_what_is_pending_with_it(self, node, kill):
        node.plain(1, T1)
        node.settle()
        producer = node.producer()
        staged(node, producer, node.offset(5))
        heard = node.delete_group()
        node.settle()
        assert [it.error for it in heard] == [None]
        if kill:
            node = GroupsNode(node)
            node.settle()
        ended(node, producer, COMMIT)
        assert (node.committed(), node.keeper.load("g")) == ({}, None)

    @pytest.mark.parametrize("what", ["offsets", "group"])
    def test_what_a_transaction_has_committed_does_not_come_back(self, node, what):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        ended(node, producer, COMMIT)
        if what == "group":
            node.delete_group()
        else:
            node.delete_offsets(T0)
        node.settle()
        assert node.committed() == {}
        again = GroupsNode(node)  # which reads all of the journal
        again.settle()
        assert again.committed() == {}

    def test_what_has_overtaken_a_transaction_does_not_come_back(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.plain(9)
        node.settle()
        ended(node, producer, COMMIT)
        node.delete_group()
        node.settle()
        again = GroupsNode(node)
        again.settle()
        assert again.committed() == {}

    def test_the_journal_hears_of_it_only_where_it_may_matter(self, node):
        node.plain(1)
        node.settle()
        producer = node.producer()
        staged(node, producer, node.offset(5, U0), group="h")
        told = node.told()
        assert node.delete_offsets(T0) == []
        node.settle()
        assert node.told() == told
        assert node.committed() == {}

    def test_somebody_who_joins_meanwhile_keeps_the_group(self, node):
        node.plain(1, T1)
        node.settle()
        producer = node.producer()
        staged(node, producer, node.offset(5))
        heard = node.delete_group()
        node.keeper.living.add("g")
        node.settle()
        assert [it.error for it in heard] == [GroupError.NON_EMPTY_GROUP]

    def test_t16_a_topic_made_anew_is_not_touched(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5), node.offset(6, U0))
        node.delete_topic("t")
        node.topics.create("t")
        node.settle()
        assert node.told()[-1] == "F"
        assert node.unstable() == {U0}
        ended(node, producer, COMMIT)
        assert node.committed() == {U0: 6}
        node.delete_topic("u")
        assert node.told()[-1] == "D", "nothing was pending"

    def test_a_topic_that_is_gone_holds_nothing_up(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.end(producer, COMMIT)
        node.topics.delete("t")
        node.settle()
        assert len(node.done) == 1
        assert node.unstable() == set()


class TestAFullDisk:
    def test_it_is_tried_again(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.keeper.error = StorageFull("full")
        ended(node, producer, COMMIT)
        assert (node.committed(), node.committed(due=False), node.done) == ({T0: 5}, {}, [])
        for _ in range(2):
            [again] = node.later
            node.later.clear()
            again()
            node.settle()
        node.keeper.error = None
        node.later.pop()()
        node.settle()
        assert node.committed(due=False) == {T0: 5}
        assert len(node.done) == 1

    def test_what_the_group_commits_meanwhile_is_newer(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.keeper.error = StorageFull("full")
        ended(node, producer, COMMIT)
        node.keeper.error = None
        node.plain(9)
        node.settle()
        node.later.pop()()
        node.settle()
        assert node.committed() == {T0: 9}

    def test_what_is_deleted_meanwhile_stays_so(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5), node.offset(6, T1))
        node.keeper.error = StorageFull("full")
        ended(node, producer, COMMIT)
        node.keeper.error = None
        assert node.delete_offsets(T0, U0) == []
        node.settle()
        node.later.pop()()
        node.settle()
        assert node.committed() == {T1: 6}

    def test_who_commits_outside_is_told_and_it_is_kept_nevertheless(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        heard = node.plain(9)
        node.keeper.error = StorageFull("full")
        node.settle()
        assert heard == [GroupError.COORDINATOR_NOT_AVAILABLE]
        node.keeper.error = None
        node.later.pop()()
        node.settle()
        assert (heard, node.committed()) == ([GroupError.COORDINATOR_NOT_AVAILABLE], {T0: 9})

    def test_a_store_that_is_closed_ends_it(self, node):
        producer = node.producer()
        staged(node, producer, node.offset(5))
        node.end(producer, COMMIT)

        def closed(*_):
            raise Closed("the store is closed")

        node.keeper.commit = closed
        node.settle()
        assert (node.later, node.done) == ([], [])


def test_a_group_with_pending_offsets_is_not_forgotten(node):
    producer = node.producer()
    staged(node, producer, node.offset(5))
    assert node.kept.has_pending("g")
    assert not node.kept.has_pending("h")
    node.end(producer, COMMIT)
    node.sync()
    assert node.kept.has_pending("g")
    node.settle()
    assert not node.kept.has_pending("g")


def test_a_group_with_pending_offsets_is_there(node):
    producer = node.producer()
    staged(node, producer, node.offset(5))
    call = OffsetCommit("g", {T0: OffsetToCommit(1)}, 3, "m")
    assert node.groups.check_pending(call, 0) == {T0: GroupError.UNKNOWN_MEMBER_ID}
    assert node.delete_offsets(T1) == []
    refused = beat(SimpleNamespace(coordinator=node.groups, now=0), "m")
    assert refused.error is GroupError.GROUP_ID_NOT_FOUND
    node.settle()
    heard = node.delete_group()
    node.settle()
    assert [it.error for it in heard] == [None]
    assert node.unstable() == set()


def test_until_the_journal_is_read_nobody_knows():
    unread = Unread()
    for ask in (
        lambda: unread.unstable("g"),
        lambda: unread.due("g"),
        lambda: unread.has_pending("g"),
        lambda: unread.overtakes("g", [T0]),
        lambda: unread.overtake("g", {}),
        lambda: unread.drop("g", None, print),
    ):
        with pytest.raises(Refusal) as told:
            ask()
        assert told.value.error is GroupError.COORDINATOR_LOAD_IN_PROGRESS


def test_until_the_journal_is_read_groups_say_so(node):
    node.plain(1)
    node.settle()
    node.groups.undecided = Unread()
    loading = GroupError.COORDINATOR_LOAD_IN_PROGRESS
    assert node.plain(9) == [loading]
    assert node.delete_offsets(T0) == [{T0: loading}]
    assert [it.error for it in node.delete_group()] == [loading]


# Whatever happens, a start that reads the journal comes to what was there

GROUPS, PLACES = ("g", "h"), (T0, T1, U0)
PRODUCERS = ("a", "b")
groups, places = st.sampled_from(GROUPS), st.sampled_from(PLACES)
outcomes = st.sampled_from([COMMIT, ABORT])
some_places = st.sets(places, min_size=1, max_size=2).map(sorted)
STEPS = st.one_of(
    st.tuples(st.just("stage"), st.sampled_from(PRODUCERS), groups, some_places),
    st.tuples(st.just("plain"), st.just(""), groups, places.map(lambda it: [it])),
    st.tuples(st.just("end"), st.sampled_from(PRODUCERS), outcomes, st.just([])),
    st.tuples(st.just("delete_offsets"), st.just(""), groups, some_places),
    st.tuples(st.just("delete_group"), st.just(""), groups, st.just([])),
    st.tuples(st.just("remake"), st.just(""), st.sampled_from(["t", "u"]), st.just([])),
)  # fmt: skip


class Driven:
    """Steps, on a node that may be killed."""

    def __init__(self):
        self.node = GroupsNode()
        self.producers = {name: self.node.producer(name) for name in PRODUCERS}

    def do(self, number, step, who, what, its):
        node = self.node
        if step == "stage":
            offsets = [node.offset(number, it) for it in its]
            node.stage(self.producers[who], *offsets, group=what, name=who)
        elif step == "end":
            node.end(self.producers[who], what, version=1, name=who)
        elif step == "plain":
            node.plain(number, its[0], what)
        elif step == "delete_offsets":
            node.delete_offsets(*its, group=what)
        elif step == "delete_group":
            node.delete_group(what)
        else:
            node.delete_topic(what)
            node.topics.create(what)

    def kill(self):
        self.node = GroupsNode(self.node)

    def seen(self):
        self.node.settle()
        return {name: (self.node.committed(name), self.node.unstable(name)) for name in GROUPS}


class Everything:
    """What is committed, and what is pending, by the plainest reading of the steps in order."""

    def __init__(self):
        self.committed, self.pending, self.counts = {}, {name: {} for name in PRODUCERS}, {}

    def do(self, number, step, who, what, its):
        if step == "stage":
            self.pending[who] |= {(what, it): number for it in its}
        elif step == "plain":
            self._commit((what, its[0]), number)
        elif step == "end":
            ended, self.pending[who] = self.pending[who], {}
            for key, staged_at in ended.items() if what is COMMIT else ():
                self._commit(key, staged_at)
        else:
            self._forget(
                lambda group, place: (
                    place[0] == what
                    if step == "remake"
                    else group == what and (step == "delete_group" or place in its)
                )
            )

    def _commit(self, key, staged_at):
        if self.counts.get(key, -1) < staged_at:
            self.counts[key] = self.committed[key] = staged_at

    def _forget(self, fits):
        for those in (self.committed, self.counts, *self.pending.values()):
            for key in [it for it in those if fits(*it)]:
                del those[key]

    def seen(self):
        unstable = set().union(*self.pending.values())
        return {
            name: (
                {place: n for (group, place), n in self.committed.items() if group == name},
                {place for group, place in unstable if group == name},
            )
            for name in GROUPS
        }


@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=14))
def test_t27_one_after_another_they_come_to_what_a_list_of_them_says(steps):
    it, model = Driven(), Everything()
    for number, (step, kills) in enumerate(steps):
        note(f"{number}: {step}{', and a kill' if kills else ''}")
        it.do(number, *step)
        model.do(number, *step)
        assert it.seen() == model.seen()
        if kills:
            it.kill()
            assert it.seen() == model.seen()


@given(st.lists(st.tuples(STEPS, st.integers(0, 4)), max_size=20), st.booleans())
def test_t27_all_at_once_they_come_to_what_a_start_reads(steps, kills):
    """Steps that overlap: the journal is synced, and offsets are kept, at any time."""
    it = Driven()
    for number, (step, then) in enumerate(steps):
        note(f"{number}: {step}, {then}")
        it.do(number, *step)
        if then & 1:
            it.node.sync()
        if then & 2:
            it.node.keeper.settle()
        if then == 4 and kills:
            it.kill()
    seen = it.seen()
    for _ in range(2):
        it.kill()
        assert it.seen() == seen
