"""What is asked of which node, by a fetcher whose brokers say what a test wants them to."""

from random import Random

import pytest

from logstore.cluster.fetcher import PREFERRED_S, Fetcher
from logstore.cluster.view import Led, Node, TopicSeen, View
from logstore.errors import ClusterUnreachable
from logstore.kafka.fetch_codec import FetchResponse, Got
from logstore.kafka.wire import NIL_UUID

LEADER, NEAR = 1, 2
ONE, OTHER = b"1" * 16, b"2" * 16
OUT_OF_RANGE, NOT_LEADER, SESSION_LOST = 1, 6, 70


class Follows:
    """A follower that remembers."""

    def __init__(self, topic="a", partition=0, position=0):
        self.place = topic, partition
        self.position = position
        self.heard = []

    def fetched(self, got):
        self.heard.append(bytes(got.records))
        self.position += len(got.records)

    def refused(self, code):
        self.heard.append(code)


class Scripted:
    """``Brokers``, and what is around a fetcher."""

    def __init__(self):
        self.view = View()
        self.view.nodes = {it: Node(it, "k", it, f"rack-{it}") for it in (LEADER, NEAR)}
        self.lead("a")
        self.now = 1000.0
        self.refreshed = 0
        self.asked = []  # (node, request, ids, then)
        self._soon, self._calls = {}, []
        self.fetcher = Fetcher(
            self, lambda: self.now, self.soon, lambda at, call: self._calls.append((at, call)),
            Random(1), "rack-2",
        )  # fmt: skip

    def lead(self, topic, id_=ONE):
        self.view.topics[topic] = TopicSeen(topic, id_, (Led(LEADER, 5),) * 2)

    def watch(self, call):
        self.look = call

    def want(self, topic):
        pass

    def refresh(self):
        self.refreshed += 1

    def soon(self, call):
        self._soon[call] = None

    def ask(self, node, kind, it, then, *_):
        self.asked.append((node, it.request, it.ids, then))

    def run(self):
        while self._soon:
            calls, self._soon = self._soon, {}
            for call in calls:
                call()

    def pass_time(self, seconds):
        self.now += seconds
        calls, self._calls = self._calls, []
        for at, call in calls:
            if at <= self.now:
                call()
            else:
                self._calls.append((at, call))
        self.run()

    def take(self):
        """What is asked now: (node, request, ids, then)."""
        self.run()
        [it], self.asked = self.asked, []
        return it

    def answer(self, then, *got, code=0, session=9):
        then(FetchResponse(code, session, got, 0))


def got(records=b"", code=0, preferred=-1, topic=ONE, partition=0):
    return Got(topic, partition, code, 99, 99, 0, (), memoryview(records), preferred)


@pytest.fixture
def brokers():
    return Scripted()


def shown(request):
    return [(it.topic, it.partition, it.offset) for it in request.asked]


def test_a_session_is_told_only_what_has_changed(brokers):
    one, two = Follows(), Follows(partition=1, position=7)
    brokers.fetcher.follow(one)
    brokers.fetcher.follow(two)
    node, request, ids, then = brokers.take()
    assert (node, shown(request), ids) == (LEADER, [("a", 0, 0), ("a", 1, 7)], {"a": ONE})
    assert (request.session_id, request.session_epoch, request.rack) == (0, 0, "rack-2")
    brokers.answer(then, got(b"xyz"))
    _, request, _, then = brokers.take()
    assert (request.session_id, request.session_epoch) == (9, 1)
    assert shown(request) == [("a", 0, 3)]
    brokers.fetcher.leave(one)
    brokers.answer(then)
    _, request, ids, _ = brokers.take()
    assert (shown(request), request.forgotten, ids) == ([], [("a", 0)], {"a": ONE})


@pytest.mark.parametrize("code", [SESSION_LOST, 71, 106])
def test_a_session_that_is_lost_begins_anew(brokers, code):
    brokers.fetcher.follow(Follows())
    brokers.answer(brokers.take()[-1], got(b"xyz"))
    brokers.answer(brokers.take()[-1], code=code)
    _, request, _, _ = brokers.take()
    assert (request.session_id, request.session_epoch, shown(request)) == (0, 0, [("a", 0, 3)])


def test_a_node_without_room_for_sessions_is_told_all_each_time(brokers):
    brokers.fetcher.follow(Follows())
    brokers.answer(brokers.take()[-1], got(b"xyz"), session=0)
    _, request, _, _ = brokers.take()
    assert (request.session_id, request.session_epoch, shown(request)) == (0, 0, [("a", 0, 3)])


def test_a_topic_that_is_made_anew_begins_another_session(brokers):
    before = Follows()
    brokers.fetcher.follow(before)
    brokers.answer(brokers.take()[-1])
    brokers.take()[-1](ClusterUnreachable("lost"))
    brokers.lead("a", OTHER)
    brokers.fetcher.leave(before)
    brokers.fetcher.follow(Follows(position=4))
    brokers.pass_time(2)
    _, request, ids, _ = brokers.take()
    assert (request.session_id, shown(request), ids) == (0, [("a", 0, 4)], {"a": OTHER})


def test_one_topic_without_an_id_has_all_told_by_name(brokers):
    brokers.lead("b", NIL_UUID)
    one, two = Follows(), Follows("b")
    brokers.fetcher.follow(one)
    brokers.answer(brokers.take()[-1])
    brokers.fetcher.follow(two)
    _, request, ids, then = brokers.take()
    assert (request.session_id, ids) == (0, {"a": ONE, "b": NIL_UUID})
    brokers.answer(then, got(b"x", topic="a"), got(b"y", topic="b"))
    assert (one.heard, two.heard) == ([b"x"], [b"y"])


def test_what_nobody_has_asked_for_is_nobodys(brokers):
    it = Follows()
    brokers.fetcher.follow(it)
    brokers.answer(brokers.take()[-1], got(b"x", topic=OTHER), got(b"y", partition=1))
    assert it.heard == []


def test_what_was_asked_for_another_is_not_taken(brokers):
    before, now = Follows(position=50), Follows()
    brokers.fetcher.follow(before)
    then = brokers.take()[-1]
    brokers.fetcher.leave(before)
    brokers.fetcher.follow(now)
    brokers.answer(then, got(b"from 50 on"))
    assert (before.heard, now.heard) == ([], [])
    assert shown(brokers.take()[1]) == [("a", 0, 0)]


def preferring(brokers):
    """One that the leader has sent to a nearer replica."""
    it = Follows()
    brokers.fetcher.follow(it)
    node, _, _, then = brokers.take()
    assert node == LEADER
    brokers.answer(then, got(preferred=NEAR))
    return it


def test_a_nearer_replica_is_read_from(brokers):
    it = preferring(brokers)
    node, request, _, then = brokers.take()
    assert (node, shown(request)) == (NEAR, [("a", 0, 0)])
    brokers.answer(then, got(b"xyz", preferred=NEAR))
    assert (brokers.take()[0], it.heard) == (NEAR, [b"", b"xyz"])
    brokers.fetcher.fetch(("a", 0), 0, 100, print)
    assert brokers.take()[0] == NEAR


def test_the_leader_is_asked_again_after_a_while(brokers):
    preferring(brokers)
    then = brokers.take()[-1]
    brokers.pass_time(PREFERRED_S)
    brokers.answer(then)
    assert brokers.take()[0] == LEADER


@pytest.mark.parametrize("code", [OUT_OF_RANGE, NOT_LEADER, 78])
def test_what_a_replica_does_not_have_its_leader_has(brokers, code):
    it = preferring(brokers)
    brokers.answer(brokers.take()[-1], got(code=code))
    assert (brokers.take()[0], it.heard, brokers.refreshed) == (LEADER, [b""], 0)


def test_a_replica_that_does_not_answer_is_left(brokers):
    preferring(brokers)
    brokers.take()[-1](ClusterUnreachable("lost"))
    assert brokers.take()[0] == LEADER


def test_a_replica_that_is_gone_is_left(brokers):
    preferring(brokers)
    brokers.take()
    del brokers.view.nodes[NEAR]
    brokers.look()
    assert brokers.take()[0] == LEADER


def test_a_replica_that_is_not_known_yet_is_looked_for(brokers):
    """One that has just been started: the leader gives no records to who can read from that."""
    near = brokers.view.nodes.pop(NEAR)
    preferring(brokers)
    brokers.run()
    assert (brokers.asked, brokers.refreshed) == ([], 1), "it is not asked again at once"
    brokers.view.nodes[NEAR] = near
    brokers.look()
    brokers.pass_time(1)
    node, _, _, then = brokers.take()
    assert node == LEADER
    brokers.answer(then, got(preferred=NEAR))
    assert brokers.take()[0] == NEAR


@pytest.mark.parametrize("failing", [True, False])
def test_what_stands_earlier_is_asked_of_the_leader_where_a_replica_fails(brokers, failing):
    preferring(brokers)
    brokers.take()
    heard = []
    brokers.fetcher.fetch(("a", 0), 0, 100, heard.append)
    then = brokers.take()[-1]
    if failing:
        then(ClusterUnreachable("lost"))
    else:
        brokers.answer(then, got(code=OUT_OF_RANGE))
    assert heard == [None]
    brokers.fetcher.fetch(("a", 0), 0, 100, heard.append)
    assert brokers.asked[-1][0] == LEADER


@pytest.mark.parametrize("failing", ["nobody leads", "another leads", "lost", "refused"])
def test_that_nothing_came_of_what_stands_earlier_is_told_after_a_while(brokers, failing):
    """A reader asks again at once: it would have the loop for itself until somebody leads."""
    heard = []
    place = ("b" if failing == "nobody leads" else "a"), 0
    brokers.fetcher.fetch(place, 0, 100, heard.append)
    if failing == "another leads":
        brokers.answer(brokers.take()[-1], got(code=NOT_LEADER))
    elif failing == "lost":
        brokers.take()[-1](ClusterUnreachable("lost"))
    elif failing == "refused":
        brokers.answer(brokers.take()[-1], code=NOT_LEADER)
    brokers.run()
    assert (heard, brokers.refreshed) == ([], 1)
    brokers.pass_time(1)
    assert len(heard) == 1


def test_a_leader_that_is_none_is_asked_for_again_and_not_at_once(brokers):
    it = Follows()
    brokers.fetcher.follow(it)
    brokers.answer(brokers.take()[-1], got(code=NOT_LEADER))
    brokers.run()
    assert (brokers.asked, it.heard, brokers.refreshed) == ([], [], 1)
    brokers.pass_time(2)
    assert brokers.take()[0] == LEADER


def test_what_is_gone_for_good_is_told(brokers):
    it = Follows()
    brokers.fetcher.follow(it)
    brokers.answer(brokers.take()[-1], got(code=OUT_OF_RANGE))
    assert it.heard == [OUT_OF_RANGE]
    brokers.fetcher.leave(it)
    assert brokers.asked == []
    brokers.fetcher.follow(Follows(partition=1))
    assert brokers.take()[1].forgotten == [("a", 0)]  # a node may still have it in its session


def test_two_who_follow_one_partition_get_all_of_it_each(brokers):
    behind, ahead = Follows(), Follows(position=4)
    brokers.fetcher.follow(ahead)
    brokers.fetcher.follow(behind)
    for asked, records in ((0, b"abcd"), (4, b"ef"), (6, b"g")):
        _, request, _, then = brokers.take()
        assert [it.offset for it in request.asked] == [asked]
        brokers.answer(then, got(records))
    assert (behind.heard, ahead.heard) == ([b"abcd", b"ef", b"g"], [b"ef", b"g"])
    brokers.fetcher.leave(behind)
    _, request, _, then = brokers.take()
    assert shown(request) == [("a", 0, 7)]
    brokers.answer(then, got(b"h"))
    assert (behind.heard[3:], ahead.heard[2:]) == ([], [b"h"])


class CountsReads(Follows):
    """One that counts how often any is asked for its position."""

    read = 0

    @property
    def position(self):
        CountsReads.read += 1
        return self._position

    @position.setter
    def position(self, offset):
        self._position = offset


def test_an_answer_about_one_of_many_partitions_goes_round_none_of_the_others(brokers):
    """With 10,000 that are followed it would keep the loop for tens of milliseconds."""
    brokers.view.topics["a"] = TopicSeen("a", ONE, (Led(LEADER, 5),) * 500)
    for partition in range(500):
        brokers.fetcher.follow(CountsReads(partition=partition))
    brokers.answer(brokers.take()[-1])
    then = brokers.take()[-1]
    CountsReads.read = 0
    brokers.answer(then, got(b"xyz", partition=77))
    assert shown(brokers.take()[1]) == [("a", 77, 3)]
    assert CountsReads.read < 10


def test_a_partition_that_another_node_leads_by_now_is_asked_for_there_alone(brokers):
    one, two = Follows(), Follows(partition=1)
    brokers.fetcher.follow(one)
    brokers.fetcher.follow(two)
    then = brokers.take()[-1]
    brokers.view.topics["a"] = TopicSeen("a", ONE, (Led(LEADER, 5), Led(NEAR, 6)))
    brokers.look()
    node, request, _, there = brokers.take()
    assert (node, shown(request)) == (NEAR, [("a", 1, 0)])
    brokers.answer(then)
    node, request, _, _ = brokers.take()
    assert (node, shown(request), request.forgotten) == (LEADER, [], [("a", 1)])
    brokers.answer(there, got(b"xyz", partition=1))
    assert (one.heard, two.heard) == ([], [b"xyz"])


def test_a_topic_without_an_id_that_is_left_has_the_others_told_by_id(brokers):
    brokers.lead("b", NIL_UUID)
    without = Follows("b")
    brokers.fetcher.follow(Follows())
    brokers.fetcher.follow(without)
    brokers.answer(brokers.take()[-1])
    then = brokers.take()[-1]
    brokers.fetcher.leave(without)
    brokers.answer(then)
    _, request, ids, _ = brokers.take()
    assert (request.session_id, shown(request), ids) == (0, [("a", 0, 0)], {"a": ONE})
