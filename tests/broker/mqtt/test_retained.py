"""Retained messages over a real store: kept, found, given, expired, loaded again."""

import random
from types import SimpleNamespace

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st

import logstore
from logstore.broker.mqtt import retained_values
from logstore.broker.mqtt.filters import matches
from logstore.broker.mqtt.message import About, Message
from logstore.broker.mqtt.record_headers import ESCAPE, headers_of, said_by
from logstore.broker.mqtt.retained import ENTRY_BYTES, Retained
from logstore.broker.topics import Change
from logstore.errors import Failed
from logstore.names import RETAINED_TOPIC
from logstore.slices import Slices

FULL = About(1, b"text/plain", b"reply/to", b"\0\xff", ((b"a", b"1"), (b"a", b"2")), NOW_MS + 9000)


class Keeper:
    """A store, and its retained messages."""

    def __init__(self, path, bytes_max=1 << 30):
        self.store = logstore.open(path)
        self.topics = self.store.internals().topics
        self.now_ms = NOW_MS
        self.bytes_max = bytes_max
        self.begin()

    def begin(self):
        self.it = Retained(
            self.topics, lambda: self.now_ms, Slices(), lambda call: call(), self.bytes_max
        )
        assert self.it.open() is None
        self.it.begin()

    def keep(self, topic, payload=b"v", qos=0, about=None, publisher=None, *, synced=True):
        kept = self.it.take([Message(topic, payload, qos, True, about, publisher)])
        if kept is not None and synced:
            kept[0].wait(kept[1])

    def found(self, filter_, **options):
        cursor = self.it.cursor(filter_, **options)
        return everything(cursor)


def everything(cursor, bytes_max=1 << 16):
    assert cursor.ready(lambda: None)
    found = []
    while not cursor.over:
        found += zip(*cursor.some(bytes_max), strict=True)
    return found


@pytest.fixture
def keeper(tmp_path):
    it = Keeper(tmp_path / "data")
    yield it
    it.store.close()


def test_who_comes_later_gets_the_last_of_each_topic_that_his_filter_matches(keeper):
    keeper.keep(b"home/door", b"open", 1)
    keeper.keep(b"home/door", b"closed", 1)
    keeper.keep(b"home/lamp", b"on")
    keeper.keep(b"garden", b"wet", 2)
    assert keeper.found(b"home/+") == [
        (b"home/door", b"closed", 1, None), (b"home/lamp", b"on", 0, None)
    ]  # fmt: skip
    assert keeper.found(b"garden/#") == [(b"garden", b"wet", 2, None)]
    assert keeper.found(b"home/door") == [(b"home/door", b"closed", 1, None)]
    assert keeper.found(b"home") == []


def test_a_message_without_payload_takes_the_retained_one_away(keeper):
    keeper.keep(b"a", b"1")
    keeper.keep(b"a", b"")
    keeper.keep(b"never/there", b"")
    assert keeper.found(b"#") == []
    assert keeper.it.held_bytes == 0
    [log] = keeper.topics.topic(RETAINED_TOPIC).partitions
    assert log.end == 2  # what takes nothing away is not written


def test_what_is_retained_and_taken_away_in_one_run_is_gone(keeper):
    run = [Message(b"a", payload, 1, True) for payload in (b"1", b"", b"2", b"")]
    log, upto = keeper.it.take(run)
    log.wait(upto)
    assert keeper.found(b"a") == []
    keeper.begin()
    assert keeper.found(b"a") == []


def test_a_message_that_is_not_to_be_retained_leaves_the_retained_one(keeper):
    keeper.keep(b"a", b"1")
    assert keeper.it.take([Message(b"a", b"2")]) is None
    assert keeper.found(b"a") == [(b"a", b"1", 0, None)]


def test_they_outlive_the_process_with_all_that_they_say(tmp_path):
    it = Keeper(tmp_path / "data")
    long = b"x" * 5000
    it.keep(b"full", b"v", 2, FULL, SimpleNamespace(client="c1"))
    it.keep(b"long", long, 1, FULL)
    it.keep(b"gone", b"v")
    it.keep(b"gone", b"")
    before, held = it.found(b"#"), it.it.held_bytes
    it.store.close()
    it = Keeper(tmp_path / "data")
    assert it.found(b"#") == before == [(b"full", b"v", 2, FULL), (b"long", long, 1, FULL)]
    assert it.found(b"#", but_of=b"c1") == [(b"long", long, 1, FULL)]
    assert it.it.held_bytes == held
    it.store.close()


def test_what_is_retained_while_the_log_is_gone_through_counts(keeper):
    for n in range(300):
        keeper.keep(b"t/%d" % n, b"old", synced=n == 299)
    later = []
    keeper.it = Retained(keeper.topics, lambda: NOW_MS, Slices(later.append), later.append, 1 << 30)
    keeper.it.begin()
    cursor = keeper.it.cursor(b"t/#")
    assert not cursor.ready(lambda: None)
    keeper.keep(b"t/1", b"new")
    keeper.keep(b"t/2", b"")
    behind = keeper.it.cursor(b"t/#")
    while later:
        later.pop(0)()
    found = {topic: payload for topic, payload, _, _ in everything(behind)}
    assert found[b"t/1"] == b"new"
    assert b"t/2" not in found
    assert len(found) == 299
    # The one that was there before gets what is new as any message.
    assert b"t/1" not in {topic for topic, *_ in everything(cursor)}


def test_none_is_given_before_it_is_safe_and_who_has_asked_last_is_woken(keeper, monkeypatch):
    log = keeper.topics.topic(RETAINED_TOPIC).partition(0)
    monkeypatch.setattr(log, "sync_soon", lambda **_: None)
    keeper.keep(b"a", b"1", synced=False)
    cursor, woken = keeper.it.cursor(b"a"), []
    assert not cursor.ready(lambda: woken.append("first"))
    assert not cursor.ready(lambda: woken.append("last"))
    log.wait(log.end)
    assert set(woken) == {"last"}
    assert everything(cursor) == [(b"a", b"1", 0, None)]


def test_what_becomes_safe_before_its_log_is_watched_is_read_at_a_start(keeper, monkeypatch):
    """The thread that syncs is ahead of the start that waits for it."""
    log = keeper.topics.topic(RETAINED_TOPIC).partition(0)
    monkeypatch.setattr(log, "sync_soon", lambda **_: None)
    keeper.keep(b"a", b"1", synced=False)
    watch = log.watch

    def watch_late(wake):
        log.wait(log.end)
        return watch(wake)

    monkeypatch.setattr(log, "watch", watch_late)
    keeper.begin()
    assert keeper.found(b"a") == [(b"a", b"1", 0, None)]


def test_what_is_published_under_way_is_not_given_twice_and_not_before_what_came_earlier(keeper):
    for name in (b"a", b"b", b"c"):
        keeper.keep(name, b"1")
    cursor = keeper.it.cursor(b"#")
    keeper.keep(b"b", b"2")
    keeper.keep(b"d", b"1")
    assert [topic for topic, *_ in everything(cursor)] == [b"a", b"c"]
    cursor = keeper.it.cursor(b"#")
    keeper.keep(b"b", b"3")
    cursor.lost()  # it was dropped on its way to him
    assert (b"b", b"3", 0, None) in everything(cursor)


def test_one_that_has_expired_is_given_to_nobody_and_swept_away(keeper):
    keeper.keep(b"a", b"1", about=About(expires_at_ms=NOW_MS + 5000))
    keeper.keep(b"b", b"1")
    keeper.now_ms += 4999
    assert len(keeper.found(b"#")) == 2
    keeper.now_ms += 1
    assert keeper.found(b"#") == [(b"b", b"1", 0, None)]
    assert keeper.it.deadline_ms == NOW_MS + 5000
    keeper.it.tick(keeper.now_ms)
    assert len(keeper.it) == 1
    assert keeper.it.deadline_ms is None
    keeper.begin()
    assert len(keeper.it) == 1


def test_a_cursor_gives_large_ones_one_at_a_time(keeper):
    for n in range(5):
        keeper.keep(b"big/%d" % n, bytes([n]) * 300_000)
    cursor = keeper.it.cursor(b"#")
    portions = []
    while not cursor.over:
        portions.append(len(cursor.some(100_000).topics))
    assert portions == [1] * 5
    assert keeper.it.held_bytes < 5 * 200  # they are on disk alone


def test_where_the_memory_for_them_is_full_a_known_topic_keeps_its_last_one(tmp_path):
    it = Keeper(tmp_path / "data", bytes_max=1000)
    for n in range(50):
        it.keep(b"t/%02d" % n, b"v")
    assert 1000 <= it.it.held_bytes < 1000 + 2 * ENTRY_BYTES
    kept = len(it.it)
    assert it.it.dropped == 50 - kept
    it.keep(b"t/00", b"w")
    assert it.found(b"t/00") == [(b"t/00", b"w", 0, None)]
    assert not it.it.accepts(Message(b"other", b"v", 1, True))
    it.keep(b"t/00", b"")
    assert len(it.it) == kept - 1
    it.store.close()


def test_a_record_that_somebody_else_wrote_is_taken_as_it_is_or_left_out(keeper):
    topic = keeper.topics.topic(RETAINED_TOPIC)
    for key in (b"a/+", b"", b"\xff", b"$SYS/x", b"good"):
        topic.append(b"v", key, {"mqtt.qos": b"9", "mqtt.expires-at-ms": b"soon", "n": b"1"})
    keeper.begin()
    assert keeper.found(b"#") == [(b"good", b"v", 0, About(user=((b"n", b"1"),)))]
    assert keeper.found(b"$SYS/#") == []


def test_a_topic_that_is_deleted_begins_anew(keeper):
    keeper.keep(b"a", b"1")
    cursor = keeper.it.cursor(b"#")
    topic = keeper.topics.topic(RETAINED_TOPIC)
    keeper.topics.delete(RETAINED_TOPIC)
    assert keeper.it.changed(Change("deleted", topic))
    assert cursor.over
    assert cursor.some().topics == []
    with pytest.raises(Failed, match="is not open"):
        keeper.keep(b"a", b"2")
    assert keeper.it.open() is None
    keeper.it.begin()
    keeper.keep(b"a", b"3")
    assert keeper.found(b"#") == [(b"a", b"3", 0, None)]


def test_a_million_would_take_less_than_500_bytes_each(keeper):
    for n in range(2000):
        keeper.keep(b"fleet/%07d/state/of/health" % n, b"x" * 100, synced=False)
    assert keeper.it.held_bytes / 2000 < 500


@pytest.mark.parametrize("count", [3, retained_values.ABOUTS_MAX + 3])
def test_what_messages_say_beside_their_payload_is_in_memory_once_or_on_disk(tmp_path, count):
    it = Keeper(tmp_path / "data")
    it.it.take([
        Message(b"t/%d" % n, b"v", 0, True, About(user=((b"n", b"%d" % n),)), None)
        for n in range(count)
    ])  # fmt: skip
    log = it.it.log
    log.wait(log.end)
    found = it.found(b"#")
    assert len(found) == count
    assert all(about.user == ((b"n", topic[2:]),) for topic, _, _, about in found)
    it.store.close()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(str.encode)
ABOUTS = st.builds(
    About,
    st.none() | st.sampled_from([0, 1]),
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | st.binary(max_size=8),
    st.lists(
        st.tuples(
            TEXT | st.sampled_from([b"mqtt.qos", ESCAPE.encode() + b"mqtt.qos", b"__logstore.x"]),
            TEXT,
        ),
        max_size=3,
    ).map(tuple),
    st.none() | st.integers(0, 10**15),
)


@given(st.integers(0, 2), ABOUTS, st.binary(max_size=8))
def test_headers_say_what_was_said(qos, about, publisher):
    headers = headers_of(qos, about, publisher)
    assert not any(name.startswith("__logstore.") for name, _ in headers)
    said = said_by(headers)
    assert said == (qos, None if about == About() else about, publisher)


def test_random_histories_against_a_dictionary(tmp_path):
    choose, it, model = random.Random(15), Keeper(tmp_path / "data"), {}
    words = [b"a", b"b", b"c", b""]
    for _ in range(4):
        for _ in range(60):
            topic = b"/".join(choose.choices(words, k=choose.randint(1, 3))) or b"a"
            payload = b"x" * choose.choice([0, 1, 300])
            it.keep(topic, payload, synced=False)
            model[topic] = payload
        log = it.it.log
        log.wait(log.end)
        for filter_ in (b"#", b"+", b"a/#", b"+/b", b"a/+/c", b"b"):
            there = sorted(t for t, payload in model.items() if payload and matches(filter_, t))
            assert [t for t, *_ in it.found(filter_)] == there
        it.begin()
    it.store.close()
