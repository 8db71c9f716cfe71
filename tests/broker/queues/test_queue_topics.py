"""The lanes of queues as logs of topics that can only be read."""

import pytest
from queue_parts import Channel

from logstore import queue_topics
from logstore.errors import Damaged, InvalidName, OffsetAboveEnd, Refused
from logstore.kafka.fetch_codec import Asked
from logstore.protocols.kafka.partition_fetch import PartitionFetch
from logstore.queue_topics import THINNED_BYTES, QueueTopics, topic_name
from logstore.records.decode import decode


@pytest.fixture
def topics(node):
    return QueueTopics(node.topics, lambda: node.queues, node.soon, node.logs.bytes, listed=True)


def bodies(log, at=0):
    found = []
    while at < log.safe:
        batches = log.read(at, 1000)
        found += [
            (it.offset, it.value) for batch in batches for it in decode(batch) if it.offset >= at
        ]
        at = batches[-1].next_offset
    return found


@pytest.mark.parametrize(
    ("vhost", "queue", "topic"),
    [
        (b"/", b"mail", "__queue.mail"), (b"/", b"a.b-c_d", "__queue.a.b-c_d"),
        (b"/", b"two words", "__queue.id.7"), (b"/", b"id.9", "__queue.id.7"),
        (b"/", b"id.09", "__queue.id.09"), (b"other", b"mail", "__queue.id.7"),
        (b"/", b"x" * 241, "__queue." + "x" * 241), (b"/", b"x" * 242, "__queue.id.7"),
        (b"/", b"\xff", "__queue.id.7"),
    ],
)  # fmt: skip
def test_what_the_topic_of_a_queue_is_called(vhost, queue, topic):
    assert topic_name(vhost, queue, 7) == topic


def test_it_is_found_by_name_and_by_id(node, topics):
    node.declare(b"mail")
    node.declare(b"two words")
    node.declare(b"fleeting", durable=False)
    node.declare(b"s", queue_type="stream")
    mail, other = topics.get("__queue.mail"), node.vhost.queue(b"two words").id
    assert topics.names() == [f"__queue.id.{other}", "__queue.mail", "s"]
    assert topics.get("__queue.mail") is mail
    assert topics.by_uuid(mail.uuid) is mail
    assert topics.get(f"__queue.id.{other}").uuid != mail.uuid
    for name in ("__queue.fleeting", "__queue.s", "__queue.none", "__queue.id.9999",
                 f"__queue.id.{node.vhost.queue(b'mail').id}", "__queue.two words"):  # fmt: skip
        assert topics.get(name) is None
    assert topics.object_of(f"__queue.id.{other}") == "two words"
    node.delete(b"mail")
    assert topics.get("__queue.mail") is None
    assert topics.by_uuid(mail.uuid) is None


def test_to_look_up_many_queues_looks_at_each_a_few_times(node, topics, monkeypatch):
    monkeypatch.setattr(queue_topics, "KNOWN_MIN", 4)
    looked_at = []

    class Known(dict):
        def items(self):
            looked_at.extend(self)
            return super().items()

    topics._known = Known()
    names = [b"q%d" % n for n in range(100)]
    for name in names:
        node.declare(name)
        topics.get(topic_name(b"/", name, 0))
    assert len(looked_at) <= 2 * len(names)
    for name in names[1:]:
        node.delete(name)
    for _ in range(200):  # as many as are known, and more
        node.declare(b"new")
        topics.get("__queue.new")
        node.delete(b"new")
    assert len(topics._known) <= 4


def test_settled_messages_are_read_and_purged_ones_are_not(node, topics):
    node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(10)))
    channel = Channel()
    node.get(b"q", channel)
    out = node.get(b"q", channel, no_ack=False)
    node.vhost.queue(b"q").purge(lambda _: None)
    node.publish(b"q", b"10", b"11")
    log = topics.get("__queue.q").partition(0)
    assert bodies(log) == [(0, b"0"), (1, b"1"), (10, b"10"), (11, b"11")]
    assert log.extent(0, 1000) is None
    assert bodies(log, 5) == [(10, b"10"), (11, b"11")]
    channel.ack(out.tag)
    node.run()
    assert (log.start, log.safe) == (0, 12)


def test_all_that_was_purged_is_passed_over_at_once(node, topics):
    """A reader comes to the end of it: it does not wait for what never comes."""
    node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(10)))
    node.vhost.queue(b"q").purge(lambda _: None)
    node.run()
    log = topics.get("__queue.q").partition(0)
    [batch] = log.read(0, 1000)
    assert (batch.record_count, batch.next_offset) == (0, 10)


def test_batches_of_which_nothing_is_left_come_with_no_others(node, topics):
    """librdkafka takes an answer of them alone for a message that is too large."""
    node.declare(b"q")
    for n in range(5):
        node.publish(b"q", b"%d" % n)
    node.vhost.queue(b"q").purge(lambda _: None)
    node.publish(b"q", b"5", b"6")
    node.vhost.queue(b"q").purge(lambda _: None)
    node.publish(b"q", b"7")
    log = topics.get("__queue.q").partition(0)
    for at in range(8):
        assert [(it.base_offset, it.record_count) for it in log.read(at, 1)] == [(7, 1)]
    assert not log.read(8, 1)


def test_a_lane_that_is_made_later_wakes_who_waits_for_it(node, topics):
    node.declare(b"q", max_priority=2)
    topic = topics.get("__queue.q")
    assert len(topic.partitions) == 3
    log, news = topic.at_hand(2), []
    stop = log.watch(lambda: news.append(1))
    assert (log.start, log.safe, log.read(0, 1000)) == (0, 0, ())
    node.publish(b"q", b"x", priority=2)
    assert news
    assert bodies(log) == [(0, b"x")]
    stop()
    node.publish(b"q", b"y", priority=2)
    seen = len(news)
    node.publish(b"q", b"z", priority=2)
    assert len(news) == seen


def test_nothing_of_it_can_be_changed(node, topics):
    node.declare(b"q", retention_ms=5000)
    node.publish(b"q", b"x")
    topic = topics.get("__queue.q")
    assert topic.read_only
    [batch] = topic.partition(0).read(0, 1000)
    for change in (
        lambda: topic.partition(0).append(batch), lambda: topic.partition(0).trim(1),
        lambda: topics.delete("__queue.q"), lambda: topics.grow("__queue.q", 2),
        lambda: topics.alter("__queue.q", {}, ()), lambda: topics.segments("__queue.q", 0, 1),
    ):  # fmt: skip
        with pytest.raises(Refused, match="can only be read"):
            change()
    with pytest.raises(InvalidName, match="reserved for queues"):
        topics.create("__queue.new", 1, {})
    settings = {it.name: it.value for it in topics.describe("__queue.q")}
    assert settings["retention.ms"] == 5000
    assert topics.sizes("__queue.q")[0].bytes > 0
    assert topics.offsets("__queue.q") == [(0, 1)]


def test_a_topic_of_such_a_name_from_before_stays_and_hides_the_queue(node, topics, caplog):
    node.directory.create_topic("__queue.q", 1, {})
    node.topics._show_new("__queue.q")
    node.topics.get("__queue.q").append(b"mine")
    node.declare(b"q")
    found = topics.get("__queue.q")
    assert found is node.topics.get("__queue.q")
    assert not found.read_only
    topics.get("__queue.q")
    assert [it.getMessage() for it in caplog.records if "can't be read as topic" in it.getMessage()
            ] == ["queue 'q' can't be read as topic '__queue.q': the store has a topic of that name"
                  " from before; delete that one to read the queue"]  # fmt: skip
    topics.delete("__queue.q")
    assert topics.get("__queue.q").read_only


def test_a_reader_above_the_end_of_a_lane_without_messages_is_told_so(node, topics):
    """Else it would be answered at once with nothing, and ask again, for ever."""
    node.declare(b"q", max_priority=2)
    log = topics.get("__queue.q").partition(2)
    with pytest.raises(OffsetAboveEnd, match="offset 5 is above the end, 0"):
        log.read(5, 1000)
    assert log.read(0, 1000) == ()


def test_a_reader_of_a_lane_that_can_not_be_opened_is_told_of_that(node, topics, monkeypatch):
    """And not that its offset is wrong: it would begin anew."""
    node.declare(b"q")
    node.publish(b"q", b"x")
    log, lane = topics.get("__queue.q").partition(0), node.vhost.queue(b"q").stock.lanes[0]
    monkeypatch.setattr(lane, "log", None)
    monkeypatch.setattr(lane, "failed", Damaged("it is damaged"))
    for at in (0, 5):
        with pytest.raises(Damaged, match="it is damaged"):
            log.read(at, 1000)


def test_no_topic_that_waits_for_another_ones_records_is_called_as_a_queues(node, topics):
    node.declare(b"delayed")
    node.topics.create("__queue", 1, {})
    for make in (
        lambda: topics.alter("__queue", {"delivery.schedule": "true"}, ()),
        lambda: topics.check_new("__queue.a", 1, {"delivery.schedule": "true"}),
    ):
        with pytest.raises(InvalidName, match="reserved for queues"):
            make()
    node.topics.delete("__queue")
    with pytest.raises(InvalidName, match="reserved for queues"):
        topics.create("__queue", 1, {"delivery.schedule": "true"})
    assert node.topics.names() == []
    assert topics.get("__queue.delayed").read_only


def test_where_some_was_purged_a_little_is_read_at_once(node, topics):
    """It is decoded, and other clients wait meanwhile."""
    node.declare(b"q")
    channel = Channel()
    node.publish(b"q", b"out")
    node.get(b"q", channel, no_ack=False)
    for _ in range(10):
        node.publish(b"q", b"purged")
    node.vhost.queue(b"q").purge(lambda _: None)
    for _ in range(40):
        node.publish(b"q", b"x" * 10_000)
    log = topics.get("__queue.q").partition(0)
    first = log.read(0, 1 << 20)
    assert sum(it.size for it in first) < 2 * THINNED_BYTES
    assert len(bodies(log)) == 41
    assert sum(it.size for it in log.read(11, 1 << 20)) > 4 * THINNED_BYTES  # all is there


def test_a_gap_that_compaction_has_left_before_what_was_purged_is_no_end(node, topics, monkeypatch):
    """Who reads there would wait for what is below the end, and come by nothing."""
    node.declare(b"q")
    node.publish(b"q", b"gap")
    node.get(b"q", Channel())
    for _ in range(10):
        node.publish(b"q", b"purged")
    node.vhost.queue(b"q").purge(lambda _: None)
    node.publish(b"q", b"after")
    log = topics.get("__queue.q").partition(0)
    within, whole = log.log, log.log.read

    def without_the_first(at, bytes_max):
        return list(whole(max(at, 1), 1))

    monkeypatch.setattr(within, "read", without_the_first)
    assert bodies(log) == [(11, b"after")]
    assert [it.next_offset for it in log.read(0, 1 << 20)] == [12]


def test_what_is_there_is_enough_however_much_a_client_waits_for(node, topics, monkeypatch):
    """To count it, all of it would be decoded in one turn."""
    node.declare(b"q")
    node.publish(b"q", b"x", b"y")
    topic = topics.get("__queue.q")
    fetch = PartitionFetch(Asked("__queue.q", 0, 0, 1 << 20), topic, 0, committed=False)
    fetch.open()
    monkeypatch.setattr(type(fetch.log), "read", None)
    assert fetch.available(1 << 20) == 1 << 20
    at_the_end = PartitionFetch(Asked("__queue.q", 0, 2, 1 << 20), topic, 0, committed=False)
    assert at_the_end.available(1 << 20) == 0
