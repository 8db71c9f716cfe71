"""What is published at one node reaches those who listen at another."""

import pytest
from far_log import FarLog
from memory_log import MemoryLog
from turns_by_hand import Turns
from written_chunks import Listener

from logstore.broker import fan_out
from logstore.broker.channel import Channels
from logstore.broker.fan_out import BATCH_BYTES, FROM, MESSAGE_BYTES_MAX, NAME_BYTES, FanOut
from logstore.broker.unsafe import Unsafe
from logstore.errors import ClusterBehind, Failed
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.settings import ChannelRule

NOTHING = Unsafe()


class Node:
    def __init__(self, name, logs):
        self.turns = Turns()
        self.channels = Channels()
        self.channels.attach(self.turns.soon)
        self.made = []
        self.reopening = []
        self.fan_out = FanOut(
            logs, self.channels, name, self.turns.soon, lambda: 1000, self.made.append,
            lambda number, then: self.reopening.append((number, then)),
        )  # fmt: skip

    def listen(self, name, *, pattern=False, apart=False):
        listener = Listener()
        listen = self.channels.subscribe_pattern if pattern else self.channels.subscribe
        (self.channels.subscribe_apart if apart else listen)(listener, name)
        return listener

    def publish(self, channel, *payloads):
        count = self.channels.publish_many(channel, payloads, NOTHING)
        self.channels.settle()
        return count


@pytest.fixture
def logs():
    return [MemoryLog(f"channels-{n}") for n in range(4)]


@pytest.fixture
def nodes(logs):
    return [Node(b"a", logs), Node(b"b", logs)]


def run(nodes):
    while any(it.turns.left for it in nodes):
        for it in nodes:
            it.turns.over()


def test_listeners_at_all_nodes_get_it_once(nodes):
    listeners = [it.listen(b"news") for it in nodes]
    byp = nodes[1].listen(b"n*", pattern=True)
    assert nodes[0].publish(b"news", b"1", b"2") == 1, "those of this node are counted"
    run(nodes)
    for it in listeners:
        assert it.got == [(b"news", None, b"1"), (b"news", None, b"2")]
    assert byp.got == [(b"news", b"n*", b"1"), (b"news", b"n*", b"2")]


def test_what_a_turn_has_published_to_channels_of_one_log_is_one_batch(nodes, logs):
    appended = []
    for it in logs:
        it.watch(lambda it=it: appended.append(it.name))
    for n in range(100):
        nodes[0].publish(b"c%d" % (n % 8), b"%d" % n)
    run(nodes)
    assert len(appended) == len(set(appended)) <= len(logs)


def test_channels_apart_stay_apart(nodes):
    apart = nodes[1].listen(b"news", apart=True)
    other = nodes[1].listen(b"news")
    assert nodes[0].channels.publish_apart(b"news", b"1") == 0
    run(nodes)
    assert apart.got == [(b"news", None, b"1")]
    assert other.got == []


def test_what_a_store_tells_of_itself_stays_at_its_node(nodes, logs):
    nodes[0].publish(b"__logstore__:topics", b"made")
    run(nodes)
    assert not any(it.end for it in logs)


def test_what_is_too_large_for_a_record_stays_at_its_node(nodes, logs):
    listener = nodes[0].listen(b"news")
    nodes[0].publish(b"news", bytes(MESSAGE_BYTES_MAX + 1), b"1")
    run(nodes)
    assert len(listener.got) == 2
    assert [it.value for log in logs for b in log.read(0, 1 << 30) for it in decode(b)] == [b"1"]


def test_a_batch_has_a_bound_by_its_channels_names_too(nodes, logs):
    """The cluster takes none that is larger than a message may be, and loses all that it has."""
    name = bytes(100_000)
    for _ in range(50):
        nodes[0].publish(name, b"")
    nodes[0].publish(bytes(MESSAGE_BYTES_MAX + NAME_BYTES), b"1")
    nodes[0].publish(b"news", *[b""] * 10_000)
    run(nodes)
    batches = [it for log in logs for it in log.read(0, 1 << 30)]
    assert sum(it.record_count for it in batches) == 10_050
    assert max(it.size for it in batches) <= BATCH_BYTES + len(name) + 1000


def test_messages_that_a_log_does_not_take_are_lost_and_told_once(nodes, logs, caplog):
    for it in logs:

        def refuse(batch):
            raise ClusterBehind("no more is held")

        it.append = refuse
    listener = nodes[0].listen(b"news")
    for _ in range(3):
        nodes[0].publish(b"news", b"1")
        run(nodes)
    assert len(listener.got) == nodes[0].fan_out.lost == 3
    assert len(caplog.records) == 1


def test_records_that_others_wrote_by_mistake_do_no_harm(nodes, logs):
    listener = nodes[0].listen(b"news")
    for it in logs:
        it.append(encode([(b"1", None, (), 0), (None, b"news", (), 0)]))
    run(nodes)
    assert [it[2] for it in listener.got] == [b""] * len(logs)


class Topics:
    """None is there, and the sessions' thread can't make any."""

    def names(self):
        return []

    def get(self, name):
        return None

    def create(self, name, partitions, settings):
        raise Failed(f"{name} must be read from the cluster first: try again")


def test_a_channel_that_keeps_a_history_at_one_node_only_holds_up_no_others(caplog):
    """Each node has rules of its own, and they are changed at one after the other."""
    logs = [MemoryLog("channels-0")]
    nodes = [Node(b"a", logs), Node(b"b", logs)]
    nodes[1].channels.keep([ChannelRule("kept.*", 3_600_000)], Topics())
    listener = nodes[1].listen(b"news")
    nodes[0].publish(b"news", b"1")
    nodes[0].publish(b"kept.1", b"2", b"2")
    nodes[0].publish(b"news", b"3")
    run(nodes)
    assert [it[2] for it in listener.got] == [b"1", b"3"]
    assert nodes[1].fan_out.lost == 2
    assert "messages of channel b'kept.1' at another node are lost: kept.1 must be" in caplog.text


def test_what_one_has_made_the_others_are_told(nodes):
    listener = nodes[1].listen(b"t")
    nodes[0].fan_out.announce(b"t")
    run(nodes)
    assert [it.made for it in nodes] == [[], [b"t"]]
    assert listener.got == []


def test_nothing_goes_on_after_the_end(nodes, logs):
    listener = nodes[1].listen(b"news")
    nodes[0].fan_out.close()
    nodes[0].publish(b"news", b"1")
    nodes[1].fan_out.close()
    run(nodes)
    assert listener.got == []
    assert not any(it.end for it in logs)


def test_what_a_node_has_sent_it_does_not_decode(nodes, logs, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        "logstore.broker.fan_out.decode", lambda batch: decoded.append(batch) or decode(batch)
    )
    listeners = [it.listen(b"news") for it in nodes]
    for n in range(5):
        nodes[n % 2].publish(b"news", b"%d" % n)
        run(nodes)
    assert len(decoded) == 5, "each by the other one"
    for it in listeners:
        assert [payload for _, _, payload in it.got] == [b"%d" % n for n in range(5)]


def test_a_log_that_has_failed_is_replaced(nodes, logs):
    failing = [FarLog("failing") for _ in logs]
    for node in nodes:
        node.fan_out.close()
    a, b = nodes = [Node(b"a", logs), Node(b"b", failing)]
    listener = b.listen(b"news")
    for it in failing:
        it.fail()
        it.fail()
    run(nodes)
    a.publish(b"news", b"1")
    run(nodes)
    assert [number for number, _ in b.reopening] == [0, 1, 2, 3]
    assert listener.got == []
    for number, then in b.reopening:
        then(logs[number])
    a.publish(b"news", b"2")
    b.publish(b"news", b"3")
    run(nodes)
    assert listener.got == [(b"news", None, b"3"), (b"news", None, b"2")]
    assert len(b.reopening) == len(logs)


def test_one_turn_hands_out_only_so_much_of_all_logs_together(logs, monkeypatch):
    """Each of them as much, and other sessions would wait for all of it."""
    monkeypatch.setattr(fan_out, "READ_BYTES", 1000)
    node = Node(b"a", logs)
    listener = node.listen(b"news")
    for _ in range(3):
        for it in logs:
            it.append(encode([(bytes(900), b"news", ((FROM, b"b"),), 0)]))
    had = []
    while node.turns.left:
        before = sum(node.fan_out._next)
        node.turns.over()
        had.append(sum(node.fan_out._next) - before)
    assert (sum(had), max(had), len(listener.got)) == (12, 2, 12)
