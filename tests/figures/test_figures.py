"""What counters come to over time."""

from types import SimpleNamespace

import pytest

from logstore.figures import figures as module
from logstore.figures.figures import Figures, Seen
from logstore.figures.full import Room
from logstore.figures.stuck import Stuck


class Watched:
    """Figures by a clock that the test moves."""

    def __init__(self, **sources):
        self.now = 1000.0
        self.figures = Figures(lambda: self.now, lambda: int(self.now * 1000) + 5_000_000)
        self.figures.sources = sources
        self.begun = 0

        def begin():
            self.begun += 1

        self.figures.begin = begin

    def look(self, seconds=10):
        self.now += seconds
        for units in self.figures.look():
            assert units <= module.LOOKED_AT_ONCE


def of(table):
    return lambda: [Seen(key, tuple(values)) for key, values in list(table.items())]


def test_nothing_is_looked_at_before_somebody_asks_and_then_once():
    watched = Watched()
    assert watched.begun == 0
    assert watched.figures.rates("queue", 1) == {"in": None, "out": None, "ack": None}
    watched.figures.history("queue", 1)
    assert watched.begun == 1


def test_rates_are_those_of_the_last_step():
    queues = {1: [0, 0, 0, 0, 0]}
    watched = Watched(queue=of(queues))
    watched.look()
    queues[1] = [100, 50, 10, 50, 40]
    watched.look()
    assert watched.figures.rates("queue", 1) == {"in": 10.0, "out": 5.0, "ack": 1.0}
    assert watched.figures.level("queue", 1, "ready") == 50
    watched.look()
    assert watched.figures.rates("queue", 1)["in"] == 0


def test_what_is_gone_is_forgotten():
    queues = {n: [0, 0, 0, 0, 0] for n in range(200)}
    watched = Watched(queue=of(queues))
    watched.look()
    for n in range(200):
        queues[n] = [10, 0, 0, 10, 0]
    watched.look()
    del queues[7]
    watched.look()
    assert watched.figures.level("queue", 7, "ready") is None
    assert watched.figures.level("queue", 8, "ready") == 10
    assert len(watched.figures._rings) == 199


def test_the_last_hour_is_kept_of_so_many_and_of_those_that_are_looked_at(monkeypatch):
    monkeypatch.setattr(module, "RINGS_MAX", 2)
    queues = {n: [0, 0, 0, 0, 0] for n in range(4)}
    watched = Watched(queue=of(queues))
    watched.look()
    for _ in range(2):
        for it in queues.values():
            it[0] += 10
        watched.look()
    known = [any(watched.figures._series["queue"][n].ring is not None for _ in "x") for n in queues]
    assert known == [True, True, False, False]
    assert set(watched.figures.history("queue", 3)["in"]) == {None}  # it begins now
    for it in queues.values():
        it[0] += 10
    watched.look()
    assert watched.figures.history("queue", 3)["in"][-1] == 1.0
    assert watched.figures._series["queue"][0].ring is None  # it had to make room
    assert len(watched.figures._rings) == 2


def test_doors_are_summed_with_the_connections_that_are_there():
    watched = Watched()
    figures = watched.figures
    counts = figures.door("kafka")
    counts.opened, counts.closed, counts.bytes_in, counts.messages_in = 3, 2, 100, 7
    live = SimpleNamespace(door="kafka", bytes_in=5, bytes_out=6)
    figures.connections = lambda: [live]
    found = figures.doors()["kafka"]
    assert (found.connections, found.bytes_in, found.bytes_out) == (1, 105, 6)
    assert (found.messages_in, found.opened, found.closed) == (7, 3, 2)


def test_messages_of_the_rabbitmq_door_are_those_of_publishers_and_queues():
    figures = Watched().figures
    figures.door("amqp")
    figures.amqp.received, figures.queues.got, figures.queues.delivered = 5, 1, 2
    assert figures.doors()["amqp"][-2:] == (5, 3)


def test_what_is_stuck_is_what_the_last_look_has_found():
    one = Stuck("queue", "mail", "3 ready", 1, "queues/mail")
    judges = [lambda series, step: one]
    watched = Watched(queue=lambda: [Seen(1, (0, 0, 0, 3, 0), judges[0])])
    watched.look()
    assert watched.figures.stuck == [one]
    judges[0] = lambda series, step: None
    watched.look()
    assert watched.figures.stuck == []


def test_what_fills_up_is_told_with_when_it_will_be_full():
    watched = Watched(room=lambda: [Seen("disk", (watched.figures.rooms[0].used,))])
    for used in range(0, 2000, 10):
        watched.figures.rooms = [Room("disk", used, 2600)]
        watched.look()
    [found] = watched.figures.full()
    assert found.full_in_s == pytest.approx(610, rel=0.01)


def test_clients_that_were_cut_off_in_the_last_hour_are_counted():
    slow = {"resp": [0, 0, 0, 0, 0, 0]}
    watched = Watched(door=of(slow))
    for _ in range(5):
        watched.look()
        slow["resp"][4] += 2
    watched.look()
    assert watched.figures.slow_within("resp") == 10


def test_a_step_has_a_time():
    watched = Watched()
    assert watched.figures.time_of(watched.figures.step) == int(watched.now * 1000) + 5_000_000


def test_of_very_much_that_is_stuck_the_first_are_remembered(monkeypatch):
    monkeypatch.setattr(module, "STUCK_MAX", 3)
    one = Stuck("queue", "mail", "3 ready", 1, "queues/mail")
    watched = Watched(queue=lambda: [Seen(n, (0,) * 5, lambda *_: one) for n in range(5)])
    watched.look()
    assert (len(watched.figures.stuck), watched.figures.stuck_total) == (3, 5)
