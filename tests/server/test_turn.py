"""What is left for the sessions' thread, and the end of its turn."""

import asyncio
import threading

import uvloop

from logstore.turn import GAP_S, TICK_S, Turn
from logstore.turns import COLUMNS_MS, Turns

DEADLINE_S = 30


def in_a_loop(test):
    """Run ``test(turn)`` in the thread of a loop like a server's."""

    async def run():
        await asyncio.wait_for(test(Turn(asyncio.get_running_loop())), DEADLINE_S)

    def started():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    started.__name__ = test.__name__
    return started


async def ended(turn):
    """Return when the turn has ended that is under way."""
    event = asyncio.Event()
    turn.soon(event.set)
    await event.wait()


@in_a_loop
async def test_calls_are_made_in_order_and_not_at_once(turn):
    made = []
    first, second = (lambda: made.append(1)), (lambda: made.append(2))
    turn.soon(first)
    turn.soon(second)
    assert made == []
    await ended(turn)
    assert made == [1, 2]


class Counted:
    def __init__(self):
        self.calls = 0

    def look(self):
        self.calls += 1


@in_a_loop
async def test_equal_calls_of_a_turn_are_one(turn):
    one, other = Counted(), Counted()
    for _ in range(1000):
        turn.soon(one.look)
        turn.soon(other.look)
    await ended(turn)
    assert (one.calls, other.calls) == (1, 1)
    turn.soon(one.look)
    await ended(turn)
    assert (one.calls, other.calls) == (2, 1)


@in_a_loop
async def test_what_is_left_while_a_turn_ends_belongs_to_the_next(turn):
    made, seen = [], []

    def again():
        made.append(len(made))
        if len(made) < 3:
            turn.soon(again)
            turn.soon(look)

    def look():
        seen.append(len(made))

    turn.soon(again)
    turn.soon(look)
    while len(made) < 3:
        await ended(turn)
    assert seen == [1, 2, 3]


@in_a_loop
async def test_from_other_threads_all_is_made_in_the_loops_own(turn):
    here, made, done = threading.get_ident(), [], asyncio.Event()

    def note(number):
        assert threading.get_ident() == here
        made.append(number)
        if len(made) == 8 * 100:
            done.set()

    def leave(thread):
        for number in range(100):
            turn.soon(lambda number=number: note((thread, number)))

    threads = [threading.Thread(target=leave, args=(it,)) for it in range(8)]
    for it in threads:
        it.start()
    await done.wait()
    for it in threads:
        it.join()
    for thread in range(8):
        assert [it for it in made if it[0] == thread] == [(thread, n) for n in range(100)]


@in_a_loop
async def test_a_bug_in_one_call_keeps_no_other_from_being_made(turn):
    made = []
    turn.soon(lambda: 1 / 0)
    turn.soon(lambda: made.append(1))
    await ended(turn)
    assert made == [1]


def test_a_loop_that_is_closed_is_left_nothing():
    loop = uvloop.new_event_loop()
    turn, counted = Turn(loop), Counted()
    loop.close()
    for _ in range(2):
        turn.soon(counted.look)
    thread = threading.Thread(target=turn.soon, args=(counted.look,))
    thread.start()
    thread.join()
    assert (counted.calls, turn._calls) == (0, {})


class FakeLoop:
    """A loop whose time a test sets; ``turn_over`` makes what is due, and what was left."""

    def __init__(self):
        self.at, self.left, self.timers = 100.0, [], []

    def time(self):
        return self.at

    def call_soon(self, call):
        self.left.append(call)

    def call_later(self, delay_s, call):
        return self.call_at(self.at + delay_s, call)

    def call_at(self, at, call):
        self.timers.append((at, call))

    def turn_over(self, seconds=0.0):
        self.at += seconds
        due = [it for it in self.timers if it[0] <= self.at]
        self.timers = [it for it in self.timers if it[0] > self.at]
        calls, self.left = [*(call for _, call in due), *self.left], []
        for call in calls:
            call()


def test_the_clock_of_sessions_stands_still_while_nobody_can_be_heard():
    loop = FakeLoop()
    turn = Turn(loop)
    began = turn.now()
    for _ in range(8):
        loop.turn_over(TICK_S)
    assert turn.now() == began + 8 * TICK_S
    loop.turn_over(3600)
    assert turn.now() == began + 8 * TICK_S
    assert (turn.turns.gaps, turn.turns.gap_s) == (1, 3600)
    loop.turn_over(TICK_S)
    assert turn.now() == began + 9 * TICK_S
    loop.turn_over(GAP_S)  # a busy machine: no gap
    assert turn.now() == began + 9 * TICK_S + GAP_S
    assert turn.turns.gaps == 1


def test_a_timer_of_the_sessions_is_set_anew_as_far_from_now_as_before_the_gap():
    loop = FakeLoop()
    turn = Turn(loop)
    rung = []

    def ring():
        if turn.now() < due:
            turn.call_at(due, ring)
        else:
            rung.append(turn.now())

    due = turn.now() + 10
    turn.call_at(due, ring)
    loop.turn_over(3600)
    assert rung == []
    for _ in range(int(9 / TICK_S)):
        loop.turn_over(TICK_S)
    assert rung == []
    for _ in range(int(2 / TICK_S)):
        loop.turn_over(TICK_S)
    assert rung == [due]


def test_after_a_gap_nobody_is_given_up_before_all_were_heard():
    loop = FakeLoop()
    turn = Turn(loop)
    done = []
    turn.listener(lambda: done.append("hear"))
    give_up = lambda: done.append("give up")  # noqa: E731
    turn.when_heard(give_up)
    assert done == ["give up"]
    loop.at += 3600
    turn.when_heard(give_up)
    turn.when_heard(give_up)
    loop.turn_over()
    assert done == ["give up", "hear"]
    turn.all_heard()
    loop.turn_over()
    assert done == ["give up", "hear", "give up"]
    turn.when_heard(give_up)
    assert done[3:] == ["give up"]


def test_parts_of_one_turn_are_one_length_and_each_turn_is_counted_once():
    loop = FakeLoop()
    turn = Turn(loop)
    turn.spent(0.0)
    turn.spent(0.0)
    assert turn.turns.count == 0
    loop.at += 0.001
    turn.spent(0.0)
    assert turn.turns.count == 1
    turn.soon(lambda: None)
    loop.turn_over()
    assert turn.turns.count == 2
    assert turn.turns.columns[-1] == 2  # since 1970, or since the machine was started


def test_lengths_stand_in_the_column_that_holds_them():
    turns = Turns()
    for length_ms in (0.05, *COLUMNS_MS, 5000):
        turns.add(length_ms / 1000)
    assert turns.columns == [2, *[1] * (len(COLUMNS_MS) - 1), 1]
    assert turns.histogram().startswith("0.1ms=2,0.25ms=1,")
    assert turns.histogram().endswith(",more=1")
    assert turns.longest_s == 5


def test_a_crowd_that_is_woken_at_once_lets_the_sockets_be_read_between(monkeypatch):
    monkeypatch.setattr("logstore.turn.END_S", -1)  # every call is longer
    loop, made = FakeLoop(), []
    turn = Turn(loop)
    for number in range(3):
        turn.soon(lambda number=number: made.append(number))
    loop.turn_over()
    assert made == [0]
    turn.soon(lambda: made.append("later"))
    for count in range(2, 5):
        assert len(loop.left) == 1
        loop.turn_over()
        assert len(made) == count
    assert made == [0, 1, 2, "later"]
    assert loop.left == []
