"""Threads that wait for what is begun in the loop's."""

import queue
import threading

import pytest

from logstore.cluster.waiters import Waiters
from logstore.errors import Closed, Failed

WITHIN_S = 20


class Elsewhere(threading.Thread):
    """Waits in another thread; the test's is the loop's."""

    def __init__(self, waiting, begin):
        super().__init__(daemon=True)
        self._waiting, self._begin = waiting, begin
        self.found = []
        self.start()

    def run(self):
        try:
            self.found.append((self._waiting.may_wait(), self._waiting(self._begin)))
        except (Closed, Failed, ZeroDivisionError) as error:
            self.found.append(error)

    def end(self):
        self.join(WITHIN_S)
        [found] = self.found
        return found


@pytest.fixture
def calls():
    return queue.Queue()


def test_it_gets_what_comes_of_it_in_the_loop(calls):
    waiting = Waiters(calls.put)
    assert not waiting.may_wait()
    threads = []

    def begin(then):
        threads.append(threading.current_thread())
        then(7)
        then(8)  # which nobody waits for any more

    other = Elsewhere(waiting, begin)
    calls.get(timeout=WITHIN_S)()
    assert other.end() == (True, 7)
    assert threads == [threading.current_thread()]


def test_an_error_is_raised(calls):
    other = Elsewhere(Waiters(calls.put), lambda then: then(Failed("no broker")))
    calls.get(timeout=WITHIN_S)()
    assert str(other.end()) == "no broker"


def test_nobody_waits_longer_than_the_loop_runs(calls):
    waiting = Waiters(calls.put)
    other = Elsewhere(waiting, lambda then: None)
    calls.get(timeout=WITHIN_S)()
    waiting.close()
    assert isinstance(other.end(), Closed)
    assert isinstance(Elsewhere(waiting, lambda then: None).end(), Closed)


def test_whoever_waits_for_what_can_not_be_begun_is_told_why(calls):
    other = Elsewhere(Waiters(calls.put), lambda then: then(1 // 0))
    calls.get(timeout=WITHIN_S)()
    assert isinstance(other.end(), ZeroDivisionError)


def test_the_loop_does_not_wait_for_itself(calls):
    with pytest.raises(Failed, match="read from the cluster first"):
        Waiters(calls.put)(lambda then: then(1))
