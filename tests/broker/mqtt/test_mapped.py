"""MQTT topics that are records of a topic, too: both ways, over a real store."""

import pytest
from clock import NOW_MS

import logstore
from logstore.broker.mqtt.mapped import MappedTopics
from logstore.broker.mqtt.message import About, Message
from logstore.broker.queues.pending import Waiting
from logstore.errors import Failed, LogFailed, StorageFull, UnknownPartition
from logstore.kept.groups import KeptOffset
from logstore.kept.keeping import Keeping
from logstore.settings import MqttRule

RULES = [MqttRule("sensors/+/raw", "raw"), MqttRule("sensors/#", "sensors")]


class Positions:
    """A ``GroupKeeper`` of offsets alone."""

    def __init__(self):
        self.groups = {}

    def fetch(self, group, places=None):
        return {
            place: KeptOffset(it.offset, 0, "") for place, it in self.groups.get(group, {}).items()
        }

    def commit(self, group, offsets):
        self.groups.setdefault(group, {}).update(offsets)
        keeping = Keeping()
        keeping.finish(None)
        return keeping


class Mapping:
    def __init__(self, store, positions, rules=RULES):
        self.topics = store.internals().topics
        self.positions = positions
        self.now_ms = NOW_MS
        self.got, self.waitings = [], []
        self.it = MappedTopics(rules, self.topics, positions, self.publish)
        self.it.open()
        self.it.begin()

    def publish(self, messages):
        self.got += messages
        waiting = Waiting()
        if self.waitings is not None:
            self.waitings.append(waiting)
        return waiting

    def step(self, ms=0):
        self.now_ms += ms
        return self.it.step(self.now_ms, crowded=False)

    def arrive(self):
        for _ in range(5):
            self.step(1000)


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        yield store


@pytest.fixture
def mapping(store):
    return Mapping(store, Positions())


def out(mapping, *messages):
    for log, upto in mapping.it.take([Message(*it) for it in messages]):
        log.wait(upto)


def records(store, topic):
    return [(it.key, it.value, dict(it.headers)) for it in store.consumer(topic)]


def test_what_matches_a_rule_is_a_record_of_the_topic_of_the_first_that_does(store, mapping):
    about = About(content_type=b"text/plain", user=((b"unit", b"C"),))
    out(
        mapping, (b"sensors/1/raw", b"\0", 0), (b"sensors/1/temp", b"21", 2, False, about),
        (b"other", b"x", 1), (b"sensors", b"", 1),
    )  # fmt: skip
    assert records(store, "raw") == [(b"sensors/1/raw", b"\0", {"mqtt.qos": b"0"})]
    said = {"mqtt.qos": b"2", "mqtt.content-type": b"text/plain", "unit": b"C"}
    assert sorted(records(store, "sensors"), key=str) == sorted(
        [(b"sensors/1/temp", b"21", said), (b"sensors", b"", {"mqtt.qos": b"1"})], key=str
    )


def test_what_is_appended_by_others_is_published_and_what_went_out_does_not_come_back(
    store, mapping
):
    out(mapping, (b"sensors/1/temp", b"mine", 1))
    topic = store.topic("sensors")
    topic.append(b"21", b"sensors/2/temp", {"unit": b"C"})
    topic.append(None, b"sensors/3/temp")
    for key in (b"elsewhere", None, b"sensors/+", b"\xff"):
        topic.append(b"none", key)
    mapping.arrive()
    assert mapping.got == [
        Message(b"sensors/2/temp", b"21", 1, False, About(user=((b"unit", b"C"),))),
        Message(b"sensors/3/temp", b"", 1),
    ]


def test_the_way_in_begins_when_the_rule_is_first_seen_and_goes_on_where_it_was(store):
    store.create_topic("sensors")
    topic, positions = store.topic("sensors"), Positions()
    topic.append(b"before", b"sensors/1")
    first = Mapping(store, positions)
    first.arrive()
    assert first.got == []
    first.it.close()
    topic.append(b"while nobody was there", b"sensors/1")
    second = Mapping(store, positions)
    second.step()
    assert [it.payload for it in second.got] == [b"while nobody was there"]
    second.it.close()
    third = Mapping(store, positions)
    third.arrive()
    assert third.got == []


def test_what_has_not_arrived_comes_again(store, mapping):
    topic = store.topic("sensors")
    topic.append(b"1", b"sensors/1")
    mapping.step()
    assert [it.payload for it in mapping.got] == [b"1"]
    mapping.waitings[0].failed = LogFailed("no disk")
    mapping.waitings = None
    assert mapping.step() is not None
    mapping.step(1000)
    assert [it.payload for it in mapping.got] == [b"1", b"1"]


def test_it_goes_by_the_key_and_all_of_a_topic_stay_in_order(store):
    store.create_topic("sensors", 4)
    mapping = Mapping(store, Positions())
    out(mapping, *[(b"sensors/%d" % (n % 7), b"%d" % n, 1) for n in range(70)])
    found = {}
    for it in store.consumer("sensors"):
        found.setdefault(it.key, []).append((it.partition, int(it.value)))
    assert len(found) == 7
    for of_one in found.values():
        assert len({partition for partition, _ in of_one}) == 1
        assert [value for _, value in of_one] == sorted(value for _, value in of_one)
    assert len({of_one[0][0] for of_one in found.values()}) > 1


def test_a_topic_that_is_gone_refuses_and_is_made_again(store, mapping):
    mapping.topics.delete("sensors")
    assert mapping.it.needs()
    with pytest.raises(UnknownPartition, match="its topic was deleted"):
        out(mapping, (b"sensors/1", b"x", 1))
    mapping.it.begin()  # it is not there yet
    mapping.it.open()
    mapping.it.begin()
    out(mapping, (b"sensors/1", b"y", 1))
    assert [value for _, value, _ in records(store, "sensors")] == [b"y"]
    assert not mapping.it.needs()


def test_a_topic_that_can_not_be_opened_refuses_and_says_why(store, monkeypatch):
    def full(*_):
        raise StorageFull("there is no room")

    monkeypatch.setattr(store.internals().topics, "create", full)
    mapping = Mapping(store, Positions())
    with pytest.raises(
        Failed, match="'raw', which stores the published messages: there is no room"
    ):
        out(mapping, (b"sensors/1/raw", b"x", 1))


def test_partitions_that_come_later_are_read_too(store, mapping):
    mapping.topics.grow("sensors", 3)
    assert mapping.it.needs()
    mapping.it.open()
    mapping.it.begin()
    store.topic("sensors").append(b"late", b"sensors/1", partition=2)
    mapping.arrive()
    assert [it.payload for it in mapping.got] == [b"late"]


def test_nothing_is_read_while_there_is_no_room_for_more(store, mapping):
    store.topic("sensors").append(b"1", b"sensors/1")
    mapping.it.step(mapping.now_ms, crowded=True)
    assert mapping.got == []
    mapping.step()
    assert len(mapping.got) == 1


def test_which_rule_a_topic_matches_is_remembered_of_so_many(mapping):
    from logstore.broker.mqtt import mapped

    for n in range(mapped.KNOWN_MAX + 10):
        mapping.it.rule_of(b"x/%d" % n)
    assert mapping.it.rule_of(b"sensors/1/raw") == "raw"
    assert len(mapping.it._known) <= mapped.KNOWN_MAX
