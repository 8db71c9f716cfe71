"""Channels with subscribers that write down what they get, against a model without any turns."""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from naive_patterns import matches
from turns_by_hand import Turns
from written_chunks import FORMS, Listener

from logstore.broker import channel
from logstore.broker.channel import Channels
from logstore.broker.unsafe import Unsafe

NOTHING = Unsafe()  # no channel here keeps a history


@pytest.fixture
def channels():
    made = Channels()
    made.attach(lambda call: None)  # a turn ends when a test says so
    return made


def test_who_listens_gets_it_and_nothing_is_kept(channels):
    assert channels.publish(b"news", b"0", NOTHING) == 0
    one = Listener()
    channels.subscribe(one, b"news")
    assert channels.publish(b"news", b"1", NOTHING) == 1
    channels.unsubscribe(one, b"news")
    assert channels.publish(b"news", b"2", NOTHING) == 0
    channels.flush()
    assert one.got == [(b"news", None, b"1")]
    assert len(channels.names) == 0


def test_a_name_and_a_pattern_are_two_messages(channels):
    one = Listener()
    channels.subscribe_pattern(one, b"n*")
    channels.subscribe(one, b"news")
    assert channels.publish(b"news", b"1", NOTHING) == 2
    channels.flush()
    assert one.got == [(b"news", None, b"1"), (b"news", b"n*", b"1")]


def test_those_who_hear_the_same_share_one_chunk(channels):
    listeners = [Listener() for _ in range(3)]
    for it in listeners:
        channels.subscribe(it, b"a")
    channels.subscribe(listeners[2], b"b")
    for number in range(5):
        channels.publish(b"a", b"%d" % number, NOTHING)
    channels.flush()
    assert listeners[0].chunks[0] is listeners[1].chunks[0] is listeners[2].chunks[0]
    channels.publish(b"b", b"x", NOTHING)
    channels.publish(b"a", b"y", NOTHING)
    channels.flush()
    assert listeners[0].chunks[1] is listeners[1].chunks[1]
    assert listeners[2].got[-2:] == [(b"b", None, b"x"), (b"a", None, b"y")]


def test_publishing_many_is_publishing_each(channels):
    one, two = Listener(), Listener(FORMS[1])
    channels.subscribe(one, b"a")
    channels.subscribe_pattern(two, b"*")
    assert channels.publish_many(b"a", [b"1", b"2"], NOTHING) == 2
    assert channels.publish_many(b"nobody", [b"3"], NOTHING) == 1
    channels.flush()
    assert one.got == [(b"a", None, b"1"), (b"a", None, b"2")]
    assert two.got == [(b"a", b"*", b"1"), (b"a", b"*", b"2"), (b"nobody", b"*", b"3")]


def test_channels_apart_are_others(channels):
    one = Listener()
    channels.subscribe_apart(one, b"a")
    assert channels.publish(b"a", b"1", NOTHING) == 0
    assert channels.publish_apart(b"a", b"2") == 1
    channels.flush()
    assert one.got == [(b"a", None, b"2")]


def test_without_anyone_to_end_turns_each_message_is_one():
    channels, one = Channels(), Listener()
    channels.subscribe(one, b"a")
    channels.publish(b"a", b"1", NOTHING)
    channels.settle()
    assert one.got == [(b"a", None, b"1")]


def test_a_heavy_turn_ends_by_itself(channels):
    one = Listener()
    channels.subscribe(one, b"a")
    channels.publish(b"a", b"1", NOTHING)
    channels.settle(channel.TURN_BYTES_MAX)
    assert one.got == []
    channels.settle(1)
    assert len(one.got) == 1


def test_who_publishes_alone_and_to_few_does_not_wait_for_the_turn():
    channels, turns, listeners = Channels(), [], [Listener() for _ in range(channel.FEW + 1)]
    channels.attach(turns.append)
    channels.subscribe(listeners[0], b"few")
    for it in listeners:
        channels.subscribe(it, b"many")

    def publish(name):
        channels.publish(name, b"x", NOTHING)
        channels.settle()
        return len(listeners[0].got)

    assert (publish(b"few"), len(turns)) == (0, 1)
    channels.end_turn()
    assert [publish(b"few") for _ in range(channel.ALONE_TURNS)] == [
        *range(2, 2 + channel.ALONE_TURNS)
    ]
    before = publish(b"few")  # it is looked whether others publish, too
    assert (before, len(turns)) == (1 + channel.ALONE_TURNS, 2)
    publish(b"few")
    channels.end_turn()  # two did
    assert (publish(b"few"), len(turns)) == (before + 2, 3)
    channels.end_turn()
    assert (publish(b"many"), len(turns)) == (before + 3, 4)


@pytest.mark.long
def test_one_message_to_ten_thousand_reaches_a_part_of_them_in_each_turn():
    channels, turns = Channels(), Turns()
    channels.attach(turns.soon)
    listeners = [Listener() for _ in range(10_000)]
    for it in listeners:
        channels.subscribe(it, b"a")
    assert channels.publish(b"a", b"1", NOTHING) == 10_000
    channels.settle()
    reached = [0]
    while turns.left:
        turns.over()
        reached.append(sum(len(it.got) for it in listeners))
    assert max(after - before for before, after in pairwise(reached)) == channel.SENDS_AT_ONCE
    assert all(it.got == [(b"a", None, b"1")] for it in listeners)
    assert not channels.under_way


def test_who_publishes_to_ten_thousand_is_woken_when_all_have_it():
    channels, turns = Channels(), Turns()
    channels.attach(turns.soon)
    listeners = [Listener() for _ in range(10_000)]
    for it in listeners:
        channels.subscribe(it, b"a")
    assert not channels.held_up(pytest.fail)
    channels.publish(b"a", b"1", NOTHING)
    channels.settle()
    turns.over()
    woken = []
    assert channels.held_up(lambda: woken.append(sum(len(it.got) for it in listeners)))
    while turns.left:
        turns.over()
    assert woken == [10_000]


def test_messages_on_their_way_come_before_what_a_subscriber_asks_for_next():
    channels, turns = Channels(), Turns()
    channels.attach(turns.soon)
    listeners = [Listener() for _ in range(3000)]
    for it in listeners:
        channels.subscribe(it, b"a")
    channels.publish(b"a", b"1", NOTHING)
    channels.settle()
    turns.over()
    assert listeners[-1].got == []
    channels.unsubscribe(listeners[-1], b"a")
    assert listeners[-1].got == [(b"a", None, b"1")]
    while turns.left:
        turns.over()
    assert [len(it.got) for it in listeners] == [1] * 3000


def test_many_channels_with_many_subscribers_are_not_looked_through_in_one_turn():
    channels, turns = Channels(), Turns()
    channels.attach(turns.soon)
    listeners = [Listener() for _ in range(2000)]
    for it in listeners:
        for name in range(10):
            channels.subscribe(it, b"%d" % name)
    for name in range(10):
        channels.publish(b"%d" % name, b"x", NOTHING)
    channels.settle()
    before = 0
    while turns.left:
        turns.over()
        reached = sum(len(it.got) for it in listeners)
        assert reached <= before + channel.SENDS_AT_ONCE
        before = reached
    expected = [(b"%d" % name, None, b"x") for name in range(10)]
    assert all(it.got == expected for it in listeners)


def test_names_without_number_are_not_remembered(channels, monkeypatch):
    monkeypatch.setattr(channel, "ROUTES_MAX", 10)
    one = Listener()
    channels.subscribe_pattern(one, b"a*")
    for number in range(100):
        channels.publish(b"a%d" % number, b"", NOTHING)
        channels.publish(b"b%d" % number, b"", NOTHING)
        assert len(channels._routes) <= 10
    channels.flush()
    assert [name for name, _, _ in one.got] == [b"a%d" % number for number in range(100)]


NAMES = [b"a", b"ab", b"b", b""]
PATTERNS = [b"a*", b"*", b"[ab]", b"b"]
WHO = st.integers(0, 3)


class Everyone(RuleBasedStateMachine):
    """Each listener has what the model gave it, in the order in which it was published."""

    def __init__(self):
        super().__init__()
        self.channels = Channels()
        self.channels.attach(lambda call: None)
        self.listeners = [Listener(FORMS[number % 2]) for number in range(4)]
        self.names = [[] for _ in self.listeners]
        self.patterns = [[] for _ in self.listeners]
        self.expected = [[] for _ in self.listeners]

    @rule(who=WHO, name=st.sampled_from(NAMES))
    def subscribe(self, who, name):
        self.channels.subscribe(self.listeners[who], name)
        if name not in self.names[who]:
            self.names[who].append(name)

    @rule(who=WHO, name=st.sampled_from(NAMES))
    def unsubscribe(self, who, name):
        self.channels.unsubscribe(self.listeners[who], name)
        if name in self.names[who]:
            self.names[who].remove(name)

    @rule(who=WHO, pattern=st.sampled_from(PATTERNS))
    def subscribe_pattern(self, who, pattern):
        self.channels.subscribe_pattern(self.listeners[who], pattern)
        if pattern not in self.patterns[who]:
            self.patterns[who].append(pattern)

    @rule(who=WHO, pattern=st.sampled_from(PATTERNS))
    def unsubscribe_pattern(self, who, pattern):
        self.channels.unsubscribe_pattern(self.listeners[who], pattern)
        if pattern in self.patterns[who]:
            self.patterns[who].remove(pattern)

    @rule(who=WHO)
    def leave(self, who):
        self.channels.leave(self.listeners[who])
        self.names[who], self.patterns[who] = [], []
        assert not self.channels.listens(self.listeners[who])

    @rule(who=WHO, form=st.sampled_from(FORMS))
    def reform(self, who, form):
        self.channels.reform(self.listeners[who])
        self.listeners[who].form = form

    @rule(name=st.sampled_from(NAMES), payload=st.binary(max_size=3))
    def publish(self, name, payload):
        count = 0
        for who in range(4):
            found = [None] * (name in self.names[who])
            found += [it for it in self.patterns[who] if matches(it, name)]
            count += len(found)
            self.expected[who].append((name, payload, found))
        assert self.channels.publish(name, payload, NOTHING) == count

    @rule()
    def flush(self):
        self.channels.flush()
        for who, listener in enumerate(self.listeners):
            got = list(listener.got)
            for name, payload, found in self.expected[who]:
                these, got = got[: len(found)], got[len(found) :]
                # By name first; the patterns in any order, as in Redis.
                assert these[: found.count(None)] == [(name, None, payload)] * found.count(None)
                assert sorted(these, key=repr) == sorted(
                    [(name, pattern, payload) for pattern in found], key=repr
                )
            assert got == []

    @invariant()
    def rosters_agree(self):
        assert set(self.channels.names) == {name for names in self.names for name in names}
        assert set(self.channels.patterns) == {it for some in self.patterns for it in some}

    def teardown(self):
        self.flush()


class InParts(Everyone):
    """The same where a turn may reach two of them: the others get theirs in the next turns."""

    def __init__(self):
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(channel, "SENDS_AT_ONCE", 2)
        self.patched.setattr(channel, "FEW", 0)
        self.patched.setattr(channel, "TOGETHER_MAX", 5)
        self.turns = Turns()
        self.channels.attach(self.turns.soon)
        self.turn()

    @rule()
    def turn(self):
        """One turn, that reaches no more than two."""
        before = sum(len(it.chunks) for it in self.listeners)
        self.turns.over()
        assert sum(len(it.chunks) for it in self.listeners) <= before + 2

    @rule(who=WHO)
    def catch_up(self, who):
        self.channels.catch_up(self.listeners[who])

    @rule()
    def flush(self):
        while self.turns.left:
            self.turns.over()
        super().flush()

    def teardown(self):
        while self.turns.left:
            self.turns.over()
        self.patched.undo()
        super().teardown()


Everyone.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestEveryone = Everyone.TestCase
InParts.TestCase.settings = Everyone.TestCase.settings
TestInParts = pytest.mark.long(InParts.TestCase)
