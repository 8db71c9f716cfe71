"""A queue's past is read: against a list of what has happened to each message, and in pages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_parts import Channel

from logstore.broker.queues import past
from logstore.broker.queues.past import OUT, READY, SETTLED, STATES, Track, Wanted, track_of
from logstore.broker.queues.peeking import Spot
from logstore.broker.queues.retrospect import wanted_of
from logstore.errors import CorruptBatch, Refused

MANY = 1 << 30
ALL = Wanted()


class Asked:
    """Who reads a past on."""

    def __init__(self, node, name, first=None, upto=None, order="time"):
        self.node, self.order = node, order
        self.queue = node.vhost.queue(name)
        known = []
        self.queue.when_open(lambda: known.append(past.cuts(self.queue)))
        node.run(until=lambda: known)
        self.track = past.begin(known[0], first, upto, order)

    def page(self, wanted=ALL, most=MANY, bytes_max=MANY, **given):
        spans = past.spans(self.queue, self.track, self.order)
        return past.read(spans, self.track, wanted, most, bytes_max, order=self.order, **given)

    def all(self, wanted=ALL, most=MANY, bytes_max=MANY, **given):
        found, pages = [], 0
        while self.track:
            page = self.page(wanted, most, bytes_max, **given)
            assert len(page.found) <= most
            found += page.found
            self.track = track_of(str(page.track))
            pages += 1
            assert pages < 1000, "no progress"
        return found


def history(node, name, only="all", first=None, upto=None, **given):
    found = Asked(node, name, first, upto).all(Wanted(STATES[only], **given))
    return [(it.record.value, it.state) for it in found]


def settle(node, name, count):
    channel = Channel()
    tags = [node.get(name, channel, no_ack=False).tag for _ in range(count)]
    for tag in tags:
        channel.ack(tag)
    node.run()


def test_what_is_settled_is_there_still_and_nothing_is_taken(shared):
    node = shared
    queue = node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(6)))
    settle(node, b"q", 2)
    node.get(b"q", Channel(), no_ack=False)
    for _ in range(2):
        states = [SETTLED, SETTLED, OUT, READY, READY, READY]
        assert history(node, b"q") == [(b"%d" % n, it) for n, it in enumerate(states)]
    assert (queue.ready, queue.out) == (3, 1)
    assert [it for it, _ in history(node, b"q", "settled")] == [b"0", b"1"]
    assert [it for it, _ in history(node, b"q", "unsettled")] == [b"2", b"3", b"4", b"5"]
    assert [it for it, _ in history(node, b"q", "out")] == [b"2"]


def test_what_was_purged_is_no_past_also_after_a_restart(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(9)))
    settle(node, b"q", 2)
    channel = Channel()
    out = [node.get(b"q", channel, no_ack=False).tag for _ in range(3)]
    channel.requeue(out[1])
    node.run()
    node.vhost.queue(b"q").purge(lambda total: None)
    node.run()
    channel.ack(out[0])
    node.run()
    left = [(b"0", SETTLED), (b"1", SETTLED), (b"2", SETTLED), (b"4", OUT)]
    assert history(node, b"q") == left
    node.publish(b"q", b"new")
    assert history(node, b"q") == [*left, (b"new", READY)]
    for end in (lives.again, lives.kill):
        node = end()
        assert history(node, b"q") == [*left[:3], (b"4", READY), (b"new", READY)]


def test_a_queue_that_was_made_again_has_no_past(shared):
    node = shared
    node.declare(b"q")
    node.publish(b"q", b"old")
    settle(node, b"q", 1)
    node.delete(b"q")
    node.declare(b"q")
    assert history(node, b"q") == []


def test_what_has_died_or_expired_is_past_and_no_longer_there(shared):
    node = shared
    node.declare(b"q", message_ttl=100)
    node.publish(b"q", b"late")
    node.later(101)
    node.publish(b"q", b"bad")
    channel = Channel()
    channel.reject(node.get(b"q", channel, no_ack=False).tag)
    node.run()
    assert history(node, b"q") == [(b"late", SETTLED), (b"bad", SETTLED)]


def test_times_and_places_bound_it(shared):
    node = shared
    node.declare(b"q", max_priority=5)
    began = node.clock.now_ms
    for n in range(6):
        node.publish(b"q", b"%d" % n, priority=n % 2)
        node.later(10)
    settle(node, b"q", 6)
    assert history(node, b"q", first=began + 20, to_ms=began + 40) == [
        (b"2", SETTLED), (b"3", SETTLED),
    ]  # fmt: skip
    assert history(node, b"q", from_ms=began + 20, to_ms=began + 40) == [
        (b"2", SETTLED), (b"3", SETTLED),
    ]  # fmt: skip
    assert history(node, b"q", first=Spot(1, 1)) == [(b"3", SETTLED), (b"5", SETTLED)]
    assert history(node, b"q", upto=Spot(0, 2)) == [(b"0", SETTLED), (b"2", SETTLED)]
    assert history(node, b"q", first=Spot(3, 0)) == []
    with pytest.raises(Refused, match="offsets of different priorities cannot be compared"):
        history(node, b"q", first=Spot(1, 0), upto=Spot(0, 1))
    by_place = Asked(node, b"q", Spot(1, 2), Spot(0, 2), "position").all()
    assert [it.record.value for it in by_place] == [b"5", b"0", b"2"]


def test_headers_pick_messages_by_their_values_as_texts(shared):
    node = shared
    node.declare(b"q")
    for n, value in enumerate(["a", 5, True, ["x", 5], b"raw", None, {"a": 1}, 5.5]):
        node.publish(b"q", b"%d" % n, headers={"h": value, "n": n})
    node.publish(b"q", b"none")

    def having(*headers):
        return [it for it, _ in history(node, b"q", headers=headers)]

    assert having(("h", "a")) == [b"0"]
    assert having(("h", "5")) == [b"1", b"3"]
    assert having(("h", "true")) == [b"2"]
    assert having(("h", "raw")) == [b"4"]
    assert having(("h", "5"), ("n", "3")) == [b"3"]
    assert having(("h", "5.5")) == [b"7"]
    assert having(("other", "5")) == []


def test_headers_that_are_no_mapping_are_refused_in_one_line():
    for headers in ([("h", "v")], ("h", "v"), "h=v", 5):
        with pytest.raises(TypeError, match=r"headers are a mapping .*, not ") as caught:
            wanted_of("all", headers, None)
        assert "\n" not in str(caught.value)


def test_a_message_that_is_in_no_batch_any_more_is_passed_over(shared, monkeypatch):
    node = shared
    queue = node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(5)))
    asked = Asked(node, b"q")
    spans = past.spans(queue, asked.track)
    node.vhost.queue(b"q").purge(lambda total: None)
    node.publish(b"q", b"new")
    queue.stock.order[0].log.roll()
    queue.stock.order[0].log.trim(6)
    node.run()
    assert past.read(spans, asked.track, Wanted(), 9, MANY).found == []
    assert not asked.track


def test_damage_is_told_after_what_stands_before_it_or_passed_over(shared):
    node = shared
    queue = node.declare(b"q")
    for body in (b"first", b"second", b"third"):
        node.publish(b"q", body)
    with open(queue.stock.order[0].log.where(1), "r+b") as file:
        file.seek(file.read().index(b"second"))
        file.write(b"SECOND")
    asked = Asked(node, b"q")
    assert [it.record.value for it in asked.page().found] == [b"first"]
    with pytest.raises(CorruptBatch):
        asked.page()
    told = []
    found = Asked(node, b"q").all(skip=told.append)
    assert [it.record.value for it in found] == [b"first", b"third"]
    assert "q" in str(told[0])


def test_a_page_is_bounded_and_says_where_to_go_on(shared):
    node = shared
    node.declare(b"q")
    node.publish(b"q", *(bytes(1000) for _ in range(20)))
    asked = Asked(node, b"q")
    assert len(asked.page(most=3).found) == 3
    page = asked.page(bytes_max=5000)
    assert 4 <= len(page.found) <= 6
    assert page.next_ms == node.clock.now_ms
    assert str(page.track) == f"0:{3 + len(page.found)}..20"
    assert len(asked.page(bytes_max=0).found) == 1


def test_what_is_not_meant_is_passed_over_some_at_a_time(shared, monkeypatch):
    node = shared
    node.declare(b"q", max_priority=3)
    for n in range(8):
        node.publish(b"q", b"%d" % n + bytes(300_000), priority=n % 4)
    node.publish(b"q", b"this", priority=2, headers={"a": 1})
    monkeypatch.setattr(past, "SCANNED_BYTES_MAX", 60_000)
    asked = Asked(node, b"q")
    page = asked.page(Wanted(headers=[("a", "1")]))
    assert page.track
    rest = asked.all(Wanted(headers=[("a", "1")]))
    assert [it.record.value for it in [*page.found, *rest]] == [b"this"]


def test_nothing_is_read_from_a_time_on(shared):
    node = shared
    node.declare(b"q", max_priority=3)
    began = node.clock.now_ms
    for n in range(6):
        node.publish(b"q", b"%d" % n, priority=n % 3)
        node.later(10)
    asked = Asked(node, b"q")
    page = asked.page(before_ms=began + 25)
    assert [it.record.value for it in page.found] == [b"0", b"1", b"2"]
    assert page.next_ms == began + 30
    assert [it.record.value for it in asked.all()] == [b"3", b"4", b"5"]


@pytest.mark.parametrize(
    "text", ["x", "0:1", "0:1..", "0:1..-2", "1..2", "0:1..2,", ",", "0:1.." + "9" * 20]
)
def test_what_is_no_track_is_told(text):
    with pytest.raises(Refused) as caught:
        track_of(text)
    assert "\n" not in str(caught.value)


@given(st.dictionaries(st.integers(0, 255), st.tuples(st.integers(0, 99), st.integers(100, 200))))
def test_a_track_is_its_text(tracked):
    assert track_of(str(Track(tracked))) == tracked


class Model:
    """What has happened to each message."""

    def __init__(self, node, name, choose):
        self.node, self.name, self.choose = node, name, choose
        self.messages = []  # priority, time, place in its lane, body
        self.states = {}
        self.lanes = {}
        self.channel = Channel()
        self.out = {}

    def publish(self):
        priority, count = self.choose.choice([0, 0, 1, 2]), self.choose.randint(1, 4)
        for _ in range(count):
            body = b"%d" % len(self.messages)
            place = self.lanes.get(priority, 0)
            self.lanes[priority] = place + 1
            self.messages.append((priority, self.node.clock.now_ms, place, body))
            self.states[body] = READY
            self.node.publish_soon(self.name, body, priority=priority)
        self.node.run()
        self.node.clock.now_ms += self.choose.choice([0, 0, 1, 7, -3])

    def get(self):
        got = self.node.get(self.name, self.channel, no_ack=False)
        if got is not None:
            self.out[got.tag] = got.delivery.body
            self.states[got.delivery.body] = OUT

    def ack(self):
        self._one(self.channel.ack, SETTLED)

    def requeue(self):
        self._one(self.channel.requeue, READY)

    def _one(self, call, state):
        if self.out:
            tag = self.choose.choice(sorted(self.out))
            self.states[self.out.pop(tag)] = state
            call(tag)
            self.node.run()

    def purge(self):
        self.node.vhost.queue(self.name).purge(lambda total: None)
        self.node.run()
        self.states = {body: it for body, it in self.states.items() if it != READY}

    def expected(self, wanted, order):
        key = (lambda it: (it[1], -it[0])) if order == "time" else (lambda it: (-it[0], it[2]))
        found = [
            it for it in self.messages
            if self.states.get(it[3]) in wanted.states
            and (wanted.from_ms is None or it[1] >= wanted.from_ms)
            and (wanted.to_ms is None or it[1] < wanted.to_ms)
        ]  # fmt: skip
        if order == "position":
            return [(it[3], self.states[it[3]]) for it in sorted(found, key=key)]
        lanes = {}
        for it in found:  # as a merge of lanes: each in its own order
            lanes.setdefault(it[0], []).append(it)
        merged = []
        while any(lanes.values()):
            first = min((it[0] for it in lanes.values() if it), key=key)
            merged.append(lanes[first[0]].pop(0))
        return [(it[3], self.states[it[3]]) for it in merged]


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_any_history_is_read_as_it_was_however_it_is_cut_into_pages(long_lived, choose):
    node = long_lived
    node.empty()
    node.declare(b"q", max_priority=3)
    model = Model(node, b"q", choose)
    for _ in range(choose.randint(1, 25)):
        acts = [model.publish, model.publish, model.get, model.get, model.ack, model.requeue]
        choose.choice([*acts, model.purge])()
    now_ms = node.clock.now_ms
    for _ in range(4):
        wanted = Wanted(
            STATES[choose.choice(sorted(STATES))],
            choose.choice([None, now_ms - choose.randint(0, 30)]),
            choose.choice([None, now_ms - choose.randint(-5, 20)]),
        )
        order = choose.choice(["time", "position"])
        first = choose.choice([None, wanted.from_ms])
        sizes = {"most": choose.choice([1, 2, 5, MANY]), "bytes_max": choose.choice([1, 30, MANY])}
        spans = past.SPAN_MAX, past.SPAN_MIN
        past.SPAN_MAX, past.SPAN_MIN = choose.choice([(6, 2), spans])
        try:
            found = Asked(node, b"q", None, None, order).all(wanted, **sizes)
        finally:
            past.SPAN_MAX, past.SPAN_MIN = spans
        assert [(it.record.value, it.state) for it in found] == model.expected(wanted, order)
        if first is not None:  # a clock may have jumped back: at least what the offset stands for
            some = Asked(node, b"q", first, None, order).all(wanted, **sizes)
            assert {it.spot for it in some} <= {it.spot for it in found}
    model.channel.end()
