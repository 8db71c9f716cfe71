"""Topics with delivery.schedule=true: records wait in a companion, and come when they are due."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from clock import NOW_MS, Clock

import logstore
from logstore import deliveries
from logstore.errors import (
    InvalidName,
    InvalidSetting,
    NotWaiting,
    Refused,
    StorageFull,
    TooManyPartitions,
    TopicExists,
    UnknownTopic,
)
from logstore.kept.schedules import Entry, of_partition
from logstore.storage.schedules import ScheduleTable

SCHEDULED = {"delivery.schedule": "true"}
DEADLINE_S = 30


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(deliveries, "CLOCK_S", 0.01)
    return Clock()


class Life:
    """One store after the other over a directory; a clock that is moved."""

    def __init__(self, path, clock):
        self.path, self.clock = path, clock
        self.store = self.open()

    def open(self):
        self.store = logstore.open(self.path, clock=self.clock)
        return self.store

    def again(self):
        self.store.close()
        return self.open()

    def values(self, topic="orders"):
        return [it.value for it in self.store.consumer(topic)]

    def wait(self, count, topic="orders"):
        """Until the topic has so many records."""
        logs = list(self.store.topic(topic).partitions)
        news = threading.Event()
        stops = [log.watch(news.set) for log in logs]
        try:
            while sum(log.safe - log.start for log in logs) < count:
                assert news.wait(DEADLINE_S), self.values(topic)
                news.clear()
        finally:
            for stop in stops:
                stop()
        return self.values(topic)

    def settled(self):
        """Until all that came to the companions was looked at, and what is due was moved."""
        served = self.store._deliveries._served
        pause = threading.Event()
        for _ in range(int(DEADLINE_S / 0.005)):
            if served and all(
                it.opened and it.mover._mark == it.mover.source.safe
                and (it.next_ms is None or it.next_ms > self.clock.ms)
                for it in list(served.values())
            ):  # fmt: skip
                return
            pause.wait(0.005)
        raise AssertionError("it does not come to rest")


@pytest.fixture
def life(tmp_path, clock):
    life = Life(tmp_path / "data", clock)
    yield life
    life.store.close()


@pytest.fixture
def orders(life):
    return life.store.create_topic("orders", 1, SCHEDULED)


def test_a_companion_is_made_with_the_topic(life):
    life.store.create_topic("orders", 3, {**SCHEDULED, "max.message.bytes": "5000"})
    assert life.store.topics() == ["orders", "orders.delayed"]
    companion = life.store.topic("orders.delayed")
    assert len(companion.partitions) == 3
    settings = companion.settings
    assert (settings.retention_ms, settings.message_timestamp_type) == (-1, "LogAppendTime")
    assert settings.max_message_bytes == 5000
    assert not settings.delivery_schedule


def test_a_record_comes_when_it_is_due(life, orders):
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(minutes=5)
    position = orders.append(b"later", key=b"k", headers={"a": b"1"}, deliver_at=at)
    assert (position.partition, position.offset) == (0, 0)
    orders.append(b"now")
    life.settled()
    assert life.values() == [b"now"]
    life.clock.ms += 299_999
    life.settled()
    assert life.values() == [b"now"]
    life.clock.ms += 1
    assert life.wait(2) == [b"now", b"later"]
    record = list(life.store.consumer("orders"))[1]
    assert (record.key, record.timestamp_ms) == (b"k", NOW_MS + 300_000)
    assert dict(record.headers)["a"] == b"1"


def test_headers_say_when_it_is_due(life, orders):
    companion = life.store.topic("orders.delayed")
    iso = "2023-11-14T22:13:23Z"  # three seconds after
    for value, headers in (
        (b"c", {"x-deliver-at": iso.encode()}),
        (b"b", {"x-delay": b"2000"}),
        (b"a", {"x-deliver-at": str(NOW_MS + 1000).encode()}),
        (b"at once", {}),
        (b"past", {"x-deliver-at": b"2001-01-01"}),
        (b"nonsense", {"x-delay": b"soon"}),
    ):
        companion.append(value, headers=headers)
    assert life.wait(3) == [b"at once", b"past", b"nonsense"]
    life.clock.ms += 5000
    assert life.wait(6)[3:] == [b"a", b"b", b"c"]


def test_a_key_stays_in_its_partition(life):
    topic = life.store.create_topic("orders", 4, SCHEDULED)
    for number in range(40):
        topic.append(b"%d" % number, key=b"k%d" % number, deliver_at=NOW_MS + 10)
    life.clock.ms += 10
    life.wait(40)
    for record in list(life.store.consumer("orders")):
        expected = life.store.topic("orders").append(b"", key=record.key).partition
        assert record.partition == expected


def test_what_waits_outlives_a_restart(life, orders):
    for number in range(100):
        orders.append(b"%d" % number, deliver_at=NOW_MS + 1000 + number)
    life.settled()
    life.again()
    assert life.values() == []
    life.clock.ms += 1050
    assert life.wait(51) == [b"%d" % n for n in range(51)]
    life.again()
    life.clock.ms += 1000
    assert life.wait(100) == [b"%d" % n for n in range(100)]


def test_what_waits_is_listed_and_cancelled(life, orders):
    for number in range(5):
        orders.append(b"%d" % number, deliver_at=NOW_MS + 1000 * (5 - number))
    life.settled()
    found = list(life.store.scheduled("orders"))
    assert [(it.record.value, it.due_ms) for it in found] == [
        (b"%d" % (4 - n), NOW_MS + 1000 * (n + 1)) for n in range(5)
    ]
    life.store.cancel("orders", 0, 3)
    with pytest.raises(NotWaiting, match="does not wait"):
        life.store.cancel("orders", 0, 3)
    with pytest.raises(NotWaiting, match="no record waits at offset 99"):
        life.store.cancel("orders", 0, 99)
    life.clock.ms += 6000
    assert life.wait(4) == [b"4", b"2", b"1", b"0"]
    with pytest.raises(NotWaiting):
        life.store.cancel("orders", 0, 4)
    life.settled()
    assert list(life.store.scheduled("orders")) == []


class AskedFor:
    """A lock that tells when another thread than the mover's asks for it."""

    def __init__(self, asked):
        self._lock, self._asked = threading.Lock(), asked

    def __enter__(self):
        if threading.current_thread().name != "delivery":
            self._asked.set()
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


def test_what_is_listed_is_cancelled_though_its_index_is_only_just_written(
    life, orders, monkeypatch
):
    life.settled()
    [served] = life.store._deliveries._served.values()
    indexed, asked = threading.Event(), threading.Event()
    real = deliveries.Waits.index

    def index(*given):
        real(*given)
        indexed.set()
        assert asked.wait(DEADLINE_S)

    monkeypatch.setattr(deliveries.Waits, "index", index)
    monkeypatch.setattr(served.mover, "_lock", AskedFor(asked))
    orders.append(b"later", deliver_at=NOW_MS + 1000)
    assert indexed.wait(DEADLINE_S)
    [found] = life.store.scheduled("orders")
    life.store.cancel("orders", 0, found.offset)
    assert list(life.store.scheduled("orders")) == []


def test_a_list_goes_on_behind_a_place(life, orders):
    for number in range(10):
        orders.append(b"%d" % number, deliver_at=NOW_MS + 1000 + number // 3)
    life.settled()
    found, after = [], None
    while page := list(life.store.scheduled("orders", after=after, most=4)):
        found += [it.record.value for it in page]
        after = page[-1].due_ms, page[-1].partition, page[-1].offset
    assert found == [b"%d" % n for n in range(10)]


def test_a_list_of_many_that_are_due_at_once_misses_none(life):
    topic = life.store.create_topic("orders", 2, SCHEDULED)
    for number in range(40):
        topic.append(b"x", partition=number % 2, deliver_at=NOW_MS + 1000 + number // 36)
    life.settled()
    every = [(it.due_ms, it.partition, it.offset) for it in life.store.scheduled("orders")]
    assert len(every) == 40
    for most in (1, 3, 5, 7):
        for begin in range(len(every)):
            page = life.store.scheduled("orders", after=every[begin], most=most)
            found = [(it.due_ms, it.partition, it.offset) for it in page]
            assert found == every[begin + 1 : begin + 1 + most]


def test_a_topic_that_takes_nothing_is_not_tried_without_a_pause(life, orders, monkeypatch):
    orders.append(b"x", deliver_at=NOW_MS + 10)
    life.settled()
    its = life.store._deliveries
    its.close()  # the thread: what it does is done here
    (served,) = its._served.values()
    life.clock.ms += 10
    served.next_ms = served.mover.next_ms()

    def full(now_ms):
        raise StorageFull("no room")

    monkeypatch.setattr(deliveries, "monotonic", lambda: 100.0)
    monkeypatch.setattr(served.mover, "move", full)
    assert not its._step(served, life.clock.ms)
    assert its._left_s() == deliveries.RETRY_S
    monkeypatch.undo()
    assert its._step(served, life.clock.ms)
    assert life.values() == [b"x"]


def test_a_store_that_is_closed_while_the_thread_begins_a_round_does_not_hang(life, orders):
    life.settled()
    its = life.store._deliveries
    its.close()
    its._over = False

    class ClosedJustNow(threading.Event):
        def clear(self):
            its._over = True
            self.set()
            super().clear()

    its._news = ClosedJustNow()
    thread = threading.Thread(target=its._run, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    stuck = thread.is_alive()
    its._news.set()
    assert not stuck


def test_a_clock_that_goes_back_makes_them_wait(life, orders):
    orders.append(b"1", deliver_at=NOW_MS + 1000)
    life.settled()
    life.clock.ms -= 3_600_000
    orders.append(b"2", deliver_at=life.clock() + 10)
    life.clock.ms += 10
    assert life.wait(1) == [b"2"]
    life.clock.ms += 3_602_000
    assert life.wait(2) == [b"2", b"1"]


def test_a_topic_that_schedules_nothing_says_so(life):
    topic = life.store.create_topic("plain", 1)
    with pytest.raises(Refused, match=r"delivery\.schedule=true"):
        topic.append(b"x", deliver_at=NOW_MS + 5)
    with pytest.raises(UnknownTopic, match=r"has no 'plain\.delayed'"):
        list(life.store.scheduled("plain"))


def test_moments_that_are_none_are_refused(life, orders):
    with pytest.raises(ValueError, match="needs a zone"):
        orders.append(b"x", deliver_at=datetime(2030, 1, 1))
    with pytest.raises(ValueError, match="milliseconds since 1970"):
        orders.append(b"x", deliver_at=-1)


def test_scheduling_begins_and_ends_with_the_setting(life):
    topic = life.store.create_topic("orders", 1)
    life.store.alter_topic("orders", SCHEDULED)
    topic.append(b"1", deliver_at=NOW_MS + 10)
    topic.append(b"2", deliver_at=NOW_MS + 20)
    life.settled()
    life.clock.ms += 10
    life.wait(1)
    life.store.alter_topic("orders", reset=["delivery.schedule"])
    with pytest.raises(Refused):
        topic.append(b"3", deliver_at=NOW_MS + 30)
    life.clock.ms += 100
    life.again()
    assert life.values() == [b"1"]
    life.store.alter_topic("orders", SCHEDULED)
    assert life.wait(2) == [b"1", b"2"]


def test_more_partitions_are_more_of_both(life, orders):
    life.store.alter_topic("orders", partitions=3)
    assert len(life.store.topic("orders.delayed").partitions) == 3
    life.store.topic("orders").append(b"x", partition=2, deliver_at=NOW_MS + 5)
    life.clock.ms += 5
    assert life.wait(1) == [b"x"]
    with pytest.raises(Refused, match=r"set delivery\.schedule=false for 'orders' first"):
        life.store.alter_topic("orders.delayed", partitions=4)


def test_a_companion_goes_with_its_topic_and_not_before(life, orders):
    orders.append(b"x", deliver_at=NOW_MS + 5)
    life.settled()
    with pytest.raises(Refused, match=r"set delivery\.schedule=false for 'orders' first"):
        life.store.delete_topic("orders.delayed")
    life.store.delete_topic("orders")
    assert life.store.topics() == []
    table = ScheduleTable(life.store.internals().groups.environment)
    life.again()
    life.store.create_topic("orders", 1, SCHEDULED)
    life.settled()
    table = ScheduleTable(life.store.internals().groups.environment)
    companion = life.store.topic("orders.delayed")
    assert table.logs() in ([], [of_partition(companion.uuid, 0)])
    life.store.topic("orders").append(b"new", deliver_at=NOW_MS + 9)
    life.clock.ms += 100
    assert life.wait(1) == [b"new"]


def test_a_topic_of_somebody_else_is_not_taken_for_a_companion(life):
    life.store.create_topic("orders.delayed", 1)
    with pytest.raises(TopicExists, match="is needed for delayed records"):
        life.store.create_topic("orders", 1, SCHEDULED, exist_ok=True)
    assert life.store.topics() == ["orders.delayed"]


def test_what_cannot_have_a_companion_is_refused(life):
    with pytest.raises(InvalidSetting, match="is compacted"):
        life.store.create_topic("orders", 1, {**SCHEDULED, "cleanup.policy": "compact"})
    with pytest.raises(InvalidName):
        life.store.create_topic("o" * 245, 1, SCHEDULED)
    life.store.create_topic("orders", 1, SCHEDULED)
    with pytest.raises(InvalidSetting, match="is compacted"):
        life.store.alter_topic("orders", {"cleanup.policy": "compact"})
    with pytest.raises(Refused):
        life.store.alter_topic("orders.delayed", SCHEDULED)
    assert life.store.topics() == ["orders", "orders.delayed"]


def test_a_companion_counts_among_the_partitions_that_there_may_be(life):
    life.store.close()
    (life.path / "logstore.toml").write_text('"partitions.max" = 6\n')
    store = life.open()
    store.create_topic("orders", 2, SCHEDULED)  # and two of its companion
    store.create_topic("later", 2)
    with pytest.raises(TooManyPartitions, match="there are 6 partitions, and 2 more"):
        store.alter_topic("later", SCHEDULED)
    store.delete_topic("later")
    for grow in (
        store.internals().topics.check_growth,
        store.internals().topics.grow,
    ):  # a dry run, and it
        with pytest.raises(TooManyPartitions, match="there are 4 partitions, and 4 more"):
            grow("orders", 4)
    store.alter_topic("orders", partitions=3)
    store.alter_topic("orders", {"retention.ms": "5000"})
    assert store.topics() == ["orders", "orders.delayed"]
    assert [len(store.topic(it).partitions) for it in store.topics()] == [3, 3]


def test_what_was_moved_is_let_go_of(life, orders):
    for number in range(10):
        orders.append(b"x", deliver_at=NOW_MS + 10 + number)
    life.settled()
    life.clock.ms += 15
    life.wait(6)
    life.settled()
    (served,) = life.store._deliveries._served.values()
    served.mover.trim()
    assert life.store.topic("orders.delayed").partition(0).start == 6


def test_a_large_record_that_the_topic_takes_is_moved(life):
    topic = life.store.create_topic("orders", 1, {**SCHEDULED, "max.message.bytes": "200000"})
    big = b"x" * 150_000
    for _ in range(3):
        topic.append(big, deliver_at=NOW_MS + 10)
    life.clock.ms += 10
    assert life.wait(3) == [big] * 3


def test_the_index_is_read_page_by_page(life, orders):
    for start in range(0, 5000, 500):
        life.store.topic("orders.delayed").append_many(
            [(b"%d" % n, None, (("x-delay", b"1000"),), None) for n in range(start, start + 500)]
        )
    life.settled()
    life.again()
    life.clock.ms += 1000
    assert life.wait(5000) == [b"%d" % n for n in range(5000)]
    life.settled()
    table = ScheduleTable(life.store.internals().groups.environment)
    key = of_partition(life.store.topic("orders.delayed").uuid, 0)
    assert table.page(key, Entry(0, 0), 10) == ([], False)


def findings(store):
    return [it for report in store.verify() for it in report.findings]


def test_verify_finds_what_waits_whole_and_what_is_left_of_a_deleted_topic(life, orders):
    orders.append(b"x", deliver_at=NOW_MS + 5)
    life.store.exchange("later", "x-delayed-message", arguments={"x-delayed-type": "direct"})
    life.store.exchange("later").publish(b"y", headers={"x-delay": 10_000})
    life.settled()
    assert findings(life.store) == []
    table = ScheduleTable(life.store.internals().groups.environment)
    gone = of_partition(bytes(16), 3)
    table.change(lambda it: table.write(it, gone, [Entry(1, 1)], (), 2))
    (found,) = findings(life.store)
    assert found.left
    assert "has entries of topic" in found.message
    life.again()
    life.settled()
    assert findings(life.store) == []


def test_a_copy_of_the_store_has_what_waits(life, orders, tmp_path):
    orders.append(b"x", deliver_at=NOW_MS + 50)
    life.settled()
    list(life.store.backup(tmp_path / "copy"))
    life.store.close()
    copy = Life(tmp_path / "copy", life.clock)
    try:
        life.clock.ms += 50
        assert copy.wait(1) == [b"x"]
    finally:
        copy.store.close()
        life.open()
