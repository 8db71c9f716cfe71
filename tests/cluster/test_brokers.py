"""Which broker is asked, and when what is known of them is asked for again."""

from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest

from logstore.cluster import kinds
from logstore.cluster.brokers import METADATA_S, SILENT_S, Brokers, Use
from logstore.cluster.view import Node

NODES = {it: Node(it, "127.0.0.1", 9000 + it, "") for it in (1, 2, 3)}


class Three:
    """``Around`` of brokers that are connected at once, and answer nothing."""

    def __init__(self):
        self.time = 1000.0
        self._calls = []
        self.links = {}  # by port and use, in the order in which they were made
        self.brokers = Brokers([("127.0.0.1", 9001)], self, Random(0))
        self.brokers.view.nodes = NODES

    def now(self):
        return self.time

    def call_at(self, at, call):
        due = [at, call]
        self._calls.append(due)
        return SimpleNamespace(cancel=lambda: due in self._calls and self._calls.remove(due))

    def connect(self, address, link):
        link.ready, link._versions = True, {kinds.METADATA.key: (0, kinds.METADATA.high)}
        link._sent.clear()
        self.links.setdefault(address[1] - 9000, []).append(link)
        return lambda: None

    def ask(self, node, use, seconds=60):
        request = kinds.METADATA.messages().Request(None)
        self.brokers.ask(node, kinds.METADATA, request, lambda it: None, use, seconds)

    def asked(self):
        """Which node is asked next, of all."""
        before = self._numbers()
        self.brokers.ask_any(
            kinds.METADATA, kinds.METADATA.messages().Request(None), lambda it: None
        )
        [node] = [it for it, number in self._numbers().items() if number != before.get(it)]
        return node

    def _numbers(self):
        return {node: sum(it._number for it in links) for node, links in self.links.items()}

    def pass_time(self, seconds):
        for _ in range(round(seconds / 0.1)):
            self.time += 0.1
            self.brokers.look()
            for it in [it for it in self._calls if it[0] <= self.time]:
                self._calls.remove(it)
                it[1]()


@pytest.fixture
def three():
    return Three()


def test_one_that_is_connected_is_asked(three):
    first = three.asked()
    for it in three.links[first]:
        it._sent.clear()  # it has answered
    assert {three.asked() for _ in range(10)} == {first}


def test_one_that_is_silent_is_asked_no_more_while_there_are_others(three):
    first = three.asked()
    three.pass_time(SILENT_S + 0.1)
    second = three.asked()
    assert second != first
    three.pass_time(SILENT_S + 0.1)
    assert {three.asked() for _ in range(10)} == {1, 2, 3} - {first, second}


def test_one_that_was_lost_is_asked_no_more_while_there_are_others(three):
    first = three.asked()
    three.links[first][0].lose(RuntimeError("the connection is gone"))
    assert first not in {three.asked() for _ in range(10)}


def test_one_that_was_lost_is_asked_again_once_it_is_known_to_be_back(three):
    first = three.asked()
    three.links[first][0].lose(RuntimeError("the connection is gone"))
    three.pass_time(2)
    three.ask(first, Use.FETCH)
    three.links[first][-1]._sent.clear()  # it has answered
    for node in {1, 2, 3} - {first}:
        three.ask(node, Use.FETCH)
    three.pass_time(SILENT_S + 0.1)
    assert three.asked() == first


def test_a_connection_that_was_lost_has_nobody_asked_for_ever(three):
    three.ask(2, Use.DATA)
    three.links[2][0].lose(RuntimeError("the connection is gone"))
    three.pass_time(SILENT_S + 1)
    assert set(three.links) == {2}


@pytest.mark.parametrize("use", [Use.DATA, Use.FETCH])
def test_one_that_is_silent_has_others_asked_who_leads(three, use):
    three.ask(2, use)
    three.pass_time(SILENT_S - 0.1)
    assert set(three.links) == {2}
    three.pass_time(0.5)
    [asked] = set(three.links) - {2}
    assert three.links[asked][0]._sent[0].kind is kinds.METADATA


@pytest.mark.parametrize("use", [Use.SLOW, Use.GROUP])
def test_one_that_works_on_what_takes_long_is_not_silent(three, use):
    three.ask(2, use)
    three.pass_time(SILENT_S + 1)
    assert set(three.links) == {2}


def test_where_nobody_answers_each_is_given_more_time_than_the_one_before(three):
    three.brokers.refresh()
    lost = {}  # links: when, and of which node
    for _ in range(400):
        three.pass_time(0.1)
        for node, links in three.links.items():
            for it in links:
                if it.failure is not None:
                    lost.setdefault(it, (three.time, node))
    assert {node for _, node in list(lost.values())[:3]} == {1, 2, 3}
    times = [1000.0, *(at for at, _ in lost.values())]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert METADATA_S <= gaps[0] < 1.5 * METADATA_S
    assert gaps[1] > 1.5 * gaps[0]


def test_whoever_is_told_of_the_end_may_ask_another_broker(three):
    told = []

    def ask(node, then):
        request = kinds.METADATA.messages().Request(None)
        three.brokers.ask(node, kinds.METADATA, request, then)

    def ask_the_second(error):
        told.append(error)
        ask(2, told.append)

    ask(1, ask_the_second)
    three.brokers.close()
    assert [str(it) for it in told] == ["this process is stopping"] * 2
