"""What a publisher does not wait for is delivered, and expires, like the rest."""

import time

import pytest
from amqp_wire import Line
from mostly_long import mostly_long
from serving import Serving

from logstore.amqp import methods
from logstore.amqp.properties import Properties

DEADLINE_S = 30


@pytest.fixture
def line(tmp_path):
    server = Serving(tmp_path / "data", resp_port=-1, amqp_port=0)
    line = Line(server.amqp, channels=[1])
    yield line
    line.end()
    code, errors = server.stop()
    assert code == 0, errors
    assert not errors


def declare(name, passive=False, **arguments):
    table = {f"x-{it.replace('_', '-')}": value for it, value in arguments.items()}
    return methods.QueueDeclare(0, name, passive, True, False, False, False, table)


def publish(line, queue, body, **properties):
    method = methods.BasicPublish(0, "", queue, False, False)
    line.tell(1, method, Properties(**properties), body)


def until(line, true):
    end = time.monotonic() + DEADLINE_S
    while not true():
        line.ask(1, methods.BasicCancel("nobody", False))
        assert time.monotonic() < end


def ready(line, queue):
    return line.ask(1, declare(queue, passive=True)).message_count


@pytest.mark.long
def test_a_consumer_that_comes_later_gets_it(line):
    line.tell(1, declare("q"))
    for body in (b"1", b"2"):
        publish(line, "q", body)
    until(line, lambda: ready(line, "q") == 2)
    line.tell(1, methods.BasicConsume(0, "q", "c", False, False, False, False, {}))
    until(line, lambda: len(line.channels[1].deliveries) == 2)
    publish(line, "q", b"3")
    until(line, lambda: len(line.channels[1].deliveries) == 3)
    assert [it.body for it in line.channels[1].deliveries] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("ttl", mostly_long([0, 20], [20]))
def test_it_expires_though_nobody_asks_for_it(line, ttl):
    line.tell(1, declare("dead"))
    line.tell(1, declare("q", message_ttl=ttl, dead_letter_exchange="",
                         dead_letter_routing_key="dead"))  # fmt: skip
    publish(line, "q", b"1")
    until(line, lambda: ready(line, "dead") == 1)
    assert ready(line, "q") == 0


def test_it_makes_room_for_those_that_follow(line):
    line.tell(1, declare("q", max_length=1))
    for body in (b"1", b"2", b"3"):
        publish(line, "q", body)
    until(line, lambda: ready(line, "q") == 1)
    got = line.tell(1, methods.BasicGet(0, "q", True))
    assert got.body == b"3"
