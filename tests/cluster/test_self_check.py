"""The self-check of a cluster: it finds a fence, and each way in which there is none."""

import pytest
from checking import Checking
from clock import NOW_MS
from cluster_kit import OneNode

from logstore.cluster.identity import Identity
from logstore.errors import ClusterUnreachable, Failed, LogFailed


@pytest.fixture
def node():
    made = OneNode(transactions=True)
    made.topics.create("t", 1, {})
    return made


@pytest.fixture
def checking(node):
    return Checking(node, "check-1", ("t", 0), node.now, node.call_at, lambda: NOW_MS)


def log_of(node):
    return node.topics.get("t").partition(0)


def refused(node, checking):
    checking.begin()
    node.pass_time(5)
    [error] = checking.heard
    assert isinstance(error, Failed)
    assert str(error).startswith("cluster kafka-1:9092 ")
    assert "\n" not in str(error)
    return str(error)


def test_a_cluster_that_fences_is_fit(node, checking):
    checking.begin()
    node.pass_time(5)
    assert checking.heard == [None]
    log = log_of(node)
    assert (log.start, log.end) == (2, 4)  # two claims before the beats


def test_two_at_a_time_do_not_disturb_each_other(node, checking):
    other = Checking(node, "check-2", ("t", 0), node.now, node.call_at, lambda: NOW_MS)
    checking.begin()
    other.begin()
    node.pass_time(10)
    assert (checking.heard, other.heard) == ([None], [None])


def test_one_that_knows_no_producers_is_not(node, checking):
    opened = checking.opened

    def forgetful(identify, news):
        def heard():
            log_of(node).notes._producers.clear()
            news()

        return opened(identify, heard)

    checking.opened = forgetful
    assert "takes what a former owner appends after another one has claimed" in refused(
        node, checking
    )


def test_one_that_forgets_with_the_records_is_not(node, checking):
    trim = checking.trim

    def forgetful(before, then):
        log_of(node).notes._producers.clear()
        trim(before, then)

    checking.trim = forgetful
    assert "takes what a former owner appends after records before" in refused(node, checking)


def test_it_begins_anew_where_the_check_of_another_node_has_deleted_more(node, checking):
    trim, trimmed = checking.trim, []

    def far(before, then):
        trim(before, then)
        trimmed.append(before)
        if len(trimmed) == 1:
            log_of(node).trim(log_of(node).end)
            log_of(node).notes._producers.clear()

    checking.trim = far
    checking.begin()
    node.pass_time(10)
    assert checking.heard == [None]
    assert len(trimmed) == 3  # the first time, a look, the second time


def test_one_that_gives_the_same_epoch_twice_is_not(node, checking):
    checking.named = lambda then: then(Identity(7, 3))
    assert "gives one name no new epoch" in refused(node, checking)


def test_one_that_gives_a_name_another_producer_each_time_is_not(node, checking):
    checking.named = lambda then: node.identities.anybody(then)
    assert "gives one name no new epoch" in refused(node, checking)


def test_one_that_refuses_for_another_reason_is_not(node, checking):
    opened = checking.opened
    made = []

    def failing(identify, news):
        made.append(opened(identify, news))
        if len(made) == 2:
            made[0].fail(LogFailed("t-0: the cluster refuses what is appended, error 87"))
            made[0].append = lambda batch: made[0].next_mark
        return made[-1]

    checking.opened = failing
    assert "does not say that a former owner is fenced (t-0: " in refused(node, checking)


def test_what_it_cannot_ask_is_told(node, checking):
    checking.trim = lambda before, then: then(ClusterUnreachable("broker 1: connection refused"))
    checking.begin()
    node.pass_time(5)
    assert [str(it) for it in checking.heard] == [
        "cluster kafka-1:9092 can't be checked: broker 1: connection refused"
    ]


def test_a_cluster_that_does_not_answer_is_not_waited_for_forever(node, checking):
    node.up = False
    checking.begin(within_s=20)
    node.pass_time(19)
    assert checking.heard == []
    node.pass_time(2)
    node.up = True
    node.pass_time(30)
    [error] = checking.heard
    assert isinstance(error, ClusterUnreachable)
    assert "cluster kafka-1:9092 has not answered the self-check in 20 s" in str(error)


def test_a_cluster_that_is_away_for_a_while_is_waited_for(node, checking):
    node.up = False
    checking.begin()
    node.pass_time(10)
    node.up = True
    node.pass_time(10)
    assert checking.heard == [None]
