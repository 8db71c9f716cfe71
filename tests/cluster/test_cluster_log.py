"""A partition of a cluster as a log: what the contract of all logs does not ask."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode

from logstore.broker.committed import CommittedLog
from logstore.cluster import cluster_log as module
from logstore.cluster import kinds
from logstore.errors import LogFailed, OffsetBelowStart
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.decode import decode
from logstore.records.encode import encode

PRODUCER = 77


@pytest.fixture
def node():
    return OneNode()


@pytest.fixture
def there(node):
    """The partition at the broker itself."""
    node.topics.create("t", 1, {})
    return node.topics.get("t").partition(0)


def batch(*values, **facts):
    return encode([(value, None, (), NOW_MS) for value in values], **facts)


def read_all(node, log, at=0, bytes_max=1):
    """As a reader does that is woken by news: batch by batch."""
    found = []
    while at < log.safe:
        batches = log.read(at, bytes_max)
        if not batches:
            woken = []
            stop = log.watch(lambda heard=woken: heard.append(True))
            node.pass_time(1)
            assert woken
            stop()
            continue
        found += [it.value for one in batches for it in decode(one) if it.offset >= at]
        at = batches[-1].next_offset
    return found


def test_what_was_there_before_is_fetched_when_it_is_read(node, there, monkeypatch):
    monkeypatch.setattr(module, "EARLIER_BYTES", 300)
    given = [b"%d" % it for it in range(200)]
    for it in given:
        there.append(batch(it))
    log = node.log()
    assert (log.start, log.safe, log.end) == (0, 200, 200)
    assert log.read(5, 100) == ()
    assert read_all(node, log) == given
    assert read_all(node, log, at=150) == given[150:]
    assert len(log._earlier) <= module.EARLIER_MAX


def test_news_comes_without_being_asked_for(node, there):
    log = node.log()
    node.pass_time(1)
    heard = []
    log.watch(lambda: heard.append(log.safe))
    there.append(batch(b"a", b"b"))
    node.pass_time(1)
    assert heard == [2]
    assert [it.value for one in log.read(0, 100) for it in decode(one)] == [b"a", b"b"]


def test_a_tail_is_bounded_and_what_left_it_is_fetched_again(node, there, monkeypatch):
    monkeypatch.setattr(module, "TAIL_BYTES", 1000)
    log = node.log()
    given = [b"%d" % it * 50 for it in range(40)]
    for it in given:
        log.append(batch(it))
    node.pass_time(3)
    assert log.safe == 40
    assert log._tail.bytes <= 1000
    assert read_all(node, log) == given


def test_readers_of_what_is_committed_see_nothing_that_was_aborted(node, there):
    log = node.log()
    node.pass_time(1)

    def write(value, sequence):
        there.append(
            batch(value, producer_id=PRODUCER, producer_epoch=0, base_sequence=sequence,
                  transactional=True)
        )  # fmt: skip

    write(b"aborted", 0)
    node.pass_time(1)
    assert (log.safe, log.end) == (0, 1)  # nobody knows yet
    there.append(batch(b"plain"))
    there.append(marker(ABORT, PRODUCER, 0, NOW_MS))
    write(b"committed", 1)
    there.append(marker(COMMIT, PRODUCER, 0, NOW_MS))
    node.pass_time(1)
    assert log.safe == 5
    late = node.log()
    for seen in (log, late):
        view = CommittedLog(seen)
        found = []
        for at in range(5):
            read_all(node, seen, at)
            found += [
                it.value for one in view.read(at, 1) if not one.is_control for it in decode(one)
                if it.offset == at
            ]  # fmt: skip
        assert found == [b"plain", b"committed"]


def test_a_log_that_others_have_trimmed_begins_later(node, there):
    for number in range(10):
        there.append(batch(b"%d" % number))
    log = node.log()
    there.trim(4)
    log.read(2, 100)
    node.pass_time(1)
    with pytest.raises(OffsetBelowStart):
        log.read(2, 100)
    assert log.start == 4
    there.append(batch(b"10"))
    there.trim(11)  # beyond what this one has seen
    node.pass_time(2)
    assert (log.start, log.safe) == (11, 11)
    there.append(batch(b"11"))
    node.pass_time(1)
    assert read_all(node, log, 11) == [b"11"]


def test_a_topic_that_was_made_anew_is_not_taken_for_the_same(node, there):
    for number in range(10):
        there.append(batch(b"%d" % number))
    log = node.log()
    node.pass_time(1)
    node.topics.delete("t")
    node.topics.create("t", 1, {})
    node.cut()
    node.pass_time(3)
    with pytest.raises(LogFailed, match=r"t-0: (its topic was deleted|the cluster has lost)"):
        log.check_failure()


def test_records_that_a_cluster_has_lost_are_not_passed_over(node, there):
    for number in range(10):
        there.append(batch(b"%d" % number))
    log = node.log()
    node.pass_time(1)
    shorter = node.topics.log("t", 0)
    node.topics.get("t").partitions = [shorter]
    node.topics.get("t")._opened = {0: shorter}
    node.cut()
    node.pass_time(3)
    with pytest.raises(LogFailed, match="t-0: the cluster has lost the records at 0 to 10"):
        log.check_failure()


def test_a_leader_that_has_trimmed_less_than_the_one_before_has_lost_nothing(node, there):
    for number in range(10):
        there.append(batch(b"%d" % number))
    log = node.log()
    node.pass_time(1)
    log.refused(module.OUT_OF_RANGE)  # by the one before
    node.pass_time(1)
    log.check_failure()
    there.append(batch(b"10"))
    node.pass_time(1)
    assert log.safe == 11


def test_it_goes_on_where_connections_were_lost(node, there):
    log = node.log()
    given = []
    for number in range(8):
        given.append(b"%d" % number)
        there.append(batch(given[-1]))
        node.cut()
        node.up = number % 2 == 0
        node.pass_time(2)
    node.up = True
    node.pass_time(3)
    assert read_all(node, log) == given


def test_one_that_is_closed_takes_nothing_from_the_next(node, there):
    before, log = node.log(), node.log()
    before.close()
    there.append(batch(b"a"))
    node.pass_time(1)
    assert log.safe == 1
    assert before.safe == 0


@pytest.mark.parametrize("records", [0, 1])
def test_one_that_is_closed_while_it_looks_where_to_go_on_is_followed_no_more(node, there, records):
    log = node.log()
    for _ in range(records):
        there.append(batch(b"x"))
    there.trim(records)
    log.refused(1)
    log.close()
    node.pass_time(1)
    assert node.fetcher._followers == {}


def test_where_a_log_that_is_closed_stands_is_not_asked_for(node, there):
    """Its topic may have been deleted, and another one have its name."""
    log = node.log()
    log.close("its topic was deleted")
    for ask in (lambda: log.find(0), log.latest_timestamp, log.catch_up):
        with pytest.raises(LogFailed, match="its topic was deleted"):
            ask()


def test_a_hundred_partitions_are_one_fetch(node):
    logs = [node.log("many", it, 100) for it in range(100)]
    node.pass_time(2)
    before = sum(link._number for link, _, _ in node._ends)
    for it in (3, 50):
        node.topics.get("many").partition(it).append(batch(b"x"))
    node.run()
    assert [it.safe for it in logs] == [int(it in (3, 50)) for it in range(100)]
    assert sum(link._number for link, _, _ in node._ends) - before <= 2


def test_a_log_that_begins_later_than_it_is_followed_from_is_not_asked_for_at_every_turn():
    node = OneNode()
    log = node.log(partitions=2)
    log.append(batch(*[b"x"] * 5))
    node.pass_time(0.1)
    node.topics.get("t").partition(0).trim(3)
    other = OneNode(1, beside=node)
    asked = []
    ask = other.brokers.ask
    other.brokers.ask = lambda node_id, kind, *more, **named: (
        asked.append(kind), ask(node_id, kind, *more, **named),
    )[1]  # fmt: skip
    late, _ = (
        module.ClusterLog(
            ("t", it), other.writer, other.fetcher, other.offsets, other.identities.anybody,
            other.wait_for, 0, 0,
        )
        for it in (0, 1)
    )  # fmt: skip
    node.pass_time(1, [other])
    assert (late.start, late.safe) == (3, 5)
    assert asked.count(kinds.LIST_OFFSETS) == 1
    assert asked.count(kinds.FETCH) < 8
