"""What is left for the sessions' thread, and the end of its turn."""

import asyncio
import threading

import uvloop

from logstore.turn import Turn

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
