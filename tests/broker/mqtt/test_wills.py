"""Wills: when they are published, and when never; with a keeper that may fail or die."""

from types import SimpleNamespace

import pytest
from clock import NOW_MS
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logstore.broker.mqtt.message import About
from logstore.broker.mqtt.wills import Will, Wills, WillsFull
from logstore.errors import CorruptStore, StorageFull
from logstore.kept.keeping import Keeping
from logstore.kept.wills import KeptWills

NEVER = 0xFFFFFFFF


class Rows:
    """A ``WillKeeper`` in memory."""

    def __init__(self):
        self.rows = {}
        self.damaged = ()

    def used(self):
        return bool(self.rows)

    def load(self):
        return KeptWills(list(self.rows.values()), self.damaged)

    def change(self, keep=(), forget=()):
        for number in forget:
            del self.rows[number]
        for will in keep:
            self.rows[will.number] = will
        keeping = Keeping()
        keeping.finish(None)
        return keeping


class Clients:
    """What happens to connections and sessions, and what comes of it."""

    def __init__(self, rows=None, now_ms=NOW_MS, bytes_max=1 << 20):
        self.rows = Rows() if rows is None else rows
        self.now_ms = now_ms
        self.sent = []
        self.error = None
        self.hold = None  # a list: what is published is not safe yet
        self.alarm = None
        self.it = Wills(
            self.rows, self.publish, lambda: self.now_ms, lambda at: setattr(self, "alarm", at),
            bytes_max,
        )  # fmt: skip
        self.it.begin()

    def publish(self, messages, then):
        if self.error is None:
            self.sent += messages
        if self.hold is not None:
            self.hold.append(then)
        else:
            then(self.error)

    def killed(self, after_s=0):
        rows = Rows()
        rows.rows, rows.damaged = dict(self.rows.rows), self.rows.damaged
        return Clients(rows, self.now_ms + 1000 * after_s)

    def connect(self, client="c", *, expiry_s=0, **will):
        given = Will(**{"topic": b"gone/c", "payload": b"bye", **will})
        return self.it.keep(client, given, expiry_s)

    def left(self, client="c", expiry_s=0, *, graceful=False):
        self.it.left(SimpleNamespace(client=client, expiry_s=expiry_s), graceful=graceful)

    def back(self, client="c"):
        self.it.back(SimpleNamespace(client=client, expiry_s=0))

    def ended(self, client="c"):
        self.it.ended(SimpleNamespace(client=client, expiry_s=0))

    def later(self, seconds):
        self.now_ms += int(1000 * seconds)
        if self.alarm is not None and self.alarm <= self.now_ms:
            self.it.tick(self.now_ms)

    @property
    def topics(self):
        return [it.topic for it in self.sent]


def test_a_lost_connection_sends_its_will_at_once_and_once():
    it = Clients()
    assert it.connect() is None  # nothing is kept: it goes with the process, as the session does
    it.left()
    it.ended()
    it.left()
    assert it.topics == [b"gone/c"]
    assert len(it.it) == it.it.held_bytes == 0


def test_who_says_good_bye_has_no_will():
    it = Clients()
    it.connect(retain=True)
    it.left(graceful=True)
    it.ended()
    assert it.sent == []
    assert it.rows.rows == {}


def test_a_will_waits_for_its_delay_and_not_beyond_the_session():
    for expiry_s, waits in ((3, 3), (NEVER, 10), (0, 0)):
        it = Clients()
        it.connect(delay_s=10, expiry_s=expiry_s)
        it.left(expiry_s=expiry_s)
        if waits:
            it.later(waits - 0.001)
            assert it.sent == []
            it.later(0.001)
        assert it.topics == [b"gone/c"]


def test_who_comes_back_within_the_delay_has_no_will_sent():
    it = Clients()
    it.connect(delay_s=10, expiry_s=60)
    it.left(expiry_s=60)
    it.later(9)
    it.back()
    it.connect(delay_s=10, expiry_s=60, topic=b"second")
    it.later(100)
    assert it.sent == []
    it.left(expiry_s=60)
    it.later(10)
    assert it.topics == [b"second"]


def test_a_clean_start_within_the_delay_ends_the_session_and_sends_the_will():
    it = Clients()
    it.connect(delay_s=10, expiry_s=60)
    it.left(expiry_s=60)
    it.ended()
    it.back()  # with a new session
    assert it.topics == [b"gone/c"]


@pytest.mark.parametrize("closed_first", [True, False])
def test_a_takeover_of_a_session_without_expiry_sends_the_will_whichever_came_first(closed_first):
    it = Clients()
    it.connect(delay_s=10)
    if closed_first:
        it.left()
        it.ended()
        it.back()
    else:
        it.left()  # the old connection is ended by the new one
        it.ended()
        it.back()
        it.left("other")
    assert it.topics == [b"gone/c"]


def test_a_takeover_of_a_session_that_goes_on_sends_a_will_without_delay_alone():
    for delay_s, sent in ((0, [b"gone/c"]), (5, [])):
        it = Clients()
        it.connect(delay_s=delay_s, expiry_s=60)
        it.left(expiry_s=60)
        it.back()
        it.later(60)
        assert it.topics == sent


def test_the_expiry_that_disconnect_has_changed_counts():
    it = Clients()
    it.connect(delay_s=10, expiry_s=60)
    it.left(expiry_s=0)  # DISCONNECT 0x04 with an expiry of 0
    assert it.topics == [b"gone/c"]


def test_after_repeated_reconnects_there_is_one_will_and_nothing_is_left_behind():
    it = Clients()
    for n in range(50):
        it.back()
        it.connect(delay_s=10, expiry_s=60, topic=b"%d" % n, retain=True)
        it.left(expiry_s=60)
        it.later(1)
    assert len(it.it) == len(it.rows.rows) == 1
    it.later(10)
    assert it.topics == [b"49"]
    assert len(it.it) == it.it.held_bytes == len(it.rows.rows) == 0


def test_whoever_was_connected_when_the_server_died_has_his_will_sent_when_it_is_back():
    it = Clients()
    it.connect(retain=True)
    it.connect("d", topic=b"gone/d", expiry_s=60)
    it.connect("e", topic=b"gone/e", expiry_s=60, delay_s=30)
    it.connect("f", topic=b"gone/f")
    it = it.killed()
    assert sorted(it.topics) == [b"gone/c", b"gone/d"]  # f's went with its session
    it.later(29)
    assert b"gone/e" not in it.topics
    it.later(1)
    assert b"gone/e" in it.topics
    assert it.killed().sent == []


def test_a_delay_goes_on_while_the_server_is_down():
    it = Clients()
    it.connect(delay_s=30, expiry_s=60)
    it.left(expiry_s=60)
    assert it.killed(after_s=29).sent == []
    assert it.killed(after_s=30).topics == [b"gone/c"]


def test_a_client_that_is_back_after_a_restart_within_the_delay_has_no_will_sent():
    it = Clients()
    it.connect(delay_s=30, expiry_s=60)
    it = it.killed()
    it.back()
    it.later(100)
    assert it.sent == []
    assert it.rows.rows == {}


def test_a_will_is_kept_until_it_is_safe_where_it_went():
    it = Clients()
    it.connect(retain=True)
    it.hold = []
    it.left()
    assert it.topics == [b"gone/c"]
    assert it.killed().topics == [b"gone/c"]  # twice, rather than not at all
    it.hold.pop()(None)
    assert it.rows.rows == {}


def test_one_that_can_not_be_published_is_tried_again_and_meets_no_new_one(caplog):
    it = Clients()
    it.connect(retain=True)
    it.error = StorageFull("full")
    it.left()
    it.back()
    it.connect(topic=b"new", retain=True)
    assert it.sent == []
    it.later(1)
    it.error = None
    it.later(1)
    assert it.topics == [b"gone/c"]
    it.left()
    assert it.topics == [b"gone/c", b"new"]
    assert len(caplog.records) == 1


def test_the_expiry_of_its_message_begins_when_it_is_published():
    it = Clients()
    about = About(content_type=b"text/plain", user=((b"a", b"1"),))
    it.it.keep("c", Will(b"t", b"p", 1, True, 10, about, 7), 60)
    it.left(expiry_s=60)
    it.later(10)
    [message] = it.sent
    assert message.about == about._replace(expires_at_ms=it.now_ms + 7000)
    assert (message.qos, message.retain, message.publisher) == (1, True, None)


def test_a_client_that_is_not_let_in_leaves_no_will():
    it = Clients()
    it.connect(retain=True)
    it.it.give_up("c")
    it.left()
    assert it.sent == []
    assert it.rows.rows == {}


def test_there_is_an_end_to_the_memory_for_wills():
    it = Clients(bytes_max=10_000)
    for n in range(4):
        it.connect(f"c{n}", payload=b"x" * 1000)
    with pytest.raises(WillsFull, match="no memory for another"):
        it.connect("c4", payload=b"x" * 1000)
    count = len(it.it)
    assert it.it.held_bytes <= 10_000
    it.left("c0")
    it.connect("another", payload=b"x" * 1000)
    assert len(it.it) == count


def test_a_damaged_row_keeps_no_other_from_being_sent(caplog):
    it = Clients()
    it.connect(retain=True)
    it.rows.damaged = (CorruptStore("a will is damaged"),)
    assert it.killed().topics == [b"gone/c"]
    assert "a will is damaged" in caplog.text


def test_ten_thousand_that_are_due_at_once_are_published_some_in_each_turn():
    it = Clients(bytes_max=1 << 30)
    for n in range(1200):
        it.connect(f"c{n}", delay_s=1, expiry_s=60)
        it.left(f"c{n}", expiry_s=60)
    it.later(1)
    assert len(it.sent) == 500
    it.later(0)
    it.later(0)
    assert len(it.sent) == 1200
    assert it.rows.rows == {}


CLIENTS = st.sampled_from(["a", "b"])


class Model(RuleBasedStateMachine):
    """Against what the standard says of each client by itself, over deaths of the server."""

    def __init__(self):
        super().__init__()
        self.it = Clients()
        self.open = {}  # client -> (topic, delay, expiry, retain)
        self.due = {}  # client -> (topic, at, lasts)
        self.expected = []
        self.sent = []
        self.count = 0

    @rule(client=CLIENTS, delay=st.integers(0, 3), expiry=st.integers(0, 4), retain=st.booleans(),
          clean=st.booleans())  # fmt: skip
    def connect(self, client, delay, expiry, retain, clean):
        if client in self.open:
            self.leave(client, False)
        if clean and client in self.due:
            self.expected.append(self.due.pop(client)[0])
            self.it.ended(client)
        self.due.pop(client, None)
        self.it.back(client)
        self.count += 1
        topic = b"%d" % self.count
        self.open[client] = topic, delay, expiry, retain
        self.it.connect(client, topic=topic, delay_s=delay, expiry_s=expiry, retain=retain)

    @precondition(lambda self: self.open)
    @rule(client=CLIENTS, graceful=st.booleans())
    def leave(self, client, graceful):
        if client not in self.open:
            return
        topic, delay, expiry, _ = self.open.pop(client)
        self.it.left(client, expiry, graceful=graceful)
        if not graceful:
            wait = min(delay, expiry)
            if wait:
                self.due[client] = topic, self.it.now_ms + 1000 * wait, True
            else:
                self.expected.append(topic)
        if not expiry:
            self.it.ended(client)

    @rule(seconds=st.integers(0, 3))
    def later(self, seconds):
        self.it.later(seconds)
        for client, (topic, at, _) in list(self.due.items()):
            if at <= self.it.now_ms:
                del self.due[client]
                self.expected.append(topic)

    @rule(seconds=st.integers(0, 3))
    def killed(self, seconds):
        self.check()
        self.sent = list(self.expected)
        self.it = self.it.killed(seconds)
        for client, (topic, delay, expiry, retain) in self.open.items():
            if retain or expiry:
                self.due[client] = topic, self.it.now_ms + 1000 * min(delay, expiry), True
        self.open.clear()
        self.later(0)

    @invariant()
    def check(self):
        assert sorted(self.sent + self.it.topics) == sorted(self.expected)
        rows = sum(retain or expiry > 0 for _, _, expiry, retain in self.open.values())
        assert len(self.it.rows.rows) == rows + len(self.due)


TestWillsAgainstTheStandard = Model.TestCase
TestWillsAgainstTheStandard.settings = settings(max_examples=30, stateful_step_count=25)
