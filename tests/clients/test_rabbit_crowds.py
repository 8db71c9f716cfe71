"""Clients of the RabbitMQ door that are many, want much or do nothing: others are served as before.

Memory stays bounded, nothing is lost, and where RabbitMQ has an error of its own they hear that.
"""

import socket
import threading
from contextlib import contextmanager

import pytest
from amqp_wire import Closed, Line
from serving import Serving, resident_bytes

from logstore.amqp import frames, methods, properties

pytestmark = pytest.mark.long

MIB = 1 << 20
BUDGET = 64 * MIB
SLACK = 40 * MIB  # what the heap has not given back, and what is read from disk
CONNECTIONS = 2000
CHANNELS = 2047
DEADLINE_S = 60


@pytest.fixture
def broker(tmp_path):
    running = Serving(tmp_path / "data", resp_port=-1, amqp_port=0, memory_clients_max_bytes=BUDGET)
    with honest(running):  # what the first client has imported is no growth
        running.idle_bytes = resident_bytes(running)
        yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@contextmanager
def honest(broker):
    """A client that is served before and after whatever comes in between."""
    line = Line(broker.amqp, channels=(1,))
    line.tell(1, declare("honest"))
    line.tell(1, methods.ConfirmSelect(False))
    served(line)
    yield
    served(line)
    line.end()


def served(line):
    channel = line.channels[1]
    line.tell(1, methods.BasicPublish(0, "", "honest", False, False), body=b"mine")
    while channel.unconfirmed:
        line._file(*line._frame())
    got = line.tell(1, methods.BasicGet(0, "honest", True))
    assert got.body == b"mine"


def declare(name, **arguments):
    named = {"x-" + it.replace("_", "-"): value for it, value in arguments.items()}
    return methods.QueueDeclare(0, name, False, True, False, False, False, named)


def message(queue, body, size=None):
    """The frames of a message, or of the begin of one that is to be so long."""
    size = len(body) if size is None else size
    return b"".join((
        frames.method_frame(1, methods.BasicPublish(0, "", queue, False, False)),
        frames.frame(frames.HEADER, 1, properties.header(size, properties.NONE)),
        *frames.body_frames(1, body, 131_072),
    ))  # fmt: skip


def ready(line, queue):
    passive = methods.QueueDeclare(0, queue, True, False, False, False, False, {})
    return line.ask(1, passive).message_count


def grown(broker):
    return resident_bytes(broker) - broker.idle_bytes


def consume(queue, tag="c"):
    return methods.BasicConsume(0, queue, tag, False, False, False, False, {})


def test_two_thousand_connections_are_served_and_cost_little(broker):
    lines = [Line(broker.amqp, channels=(1,)) for _ in range(CONNECTIONS)]
    assert grown(broker) < CONNECTIONS * 24_000
    lines[0].tell(1, declare("q"))
    for n, line in enumerate(lines):
        line.tell(1, methods.BasicPublish(0, "", "q", False, False), body=b"%d" % n)
        line.ask(1, methods.BasicQos(0, 0, False))  # so it was taken
    assert ready(lines[0], "q") == CONNECTIONS
    for line in lines:
        line.end()


def test_a_client_with_all_the_channels_there_are_may_have_no_more(broker):
    lines = [Line(broker.amqp) for _ in range(20)]
    for line in lines:
        opens = (frames.method_frame(n, methods.ChannelOpen()) for n in range(1, CHANNELS + 1))
        line._write(b"".join(opens))
    for line in lines:
        for _ in range(CHANNELS):
            kind, number, payload = line._frame()
            assert (kind, methods.decode(payload)) == (frames.METHOD, methods.ChannelOpenOk())
    assert grown(broker) < len(lines) * CHANNELS * 1500
    lines[0]._write(frames.method_frame(CHANNELS + 1, methods.ChannelOpen()))
    _, number, payload = lines[0]._frame()
    close = methods.decode(payload)
    assert (number, close.reply_code) == (0, 504)
    assert "channel_max (2047)" in close.reply_text
    for line in lines:
        line.end()


def test_halves_of_messages_are_held_within_the_bound_and_can_be_finished(broker):
    body = bytes(MIB)
    line = Line(broker.amqp, channels=(1,))
    line.tell(1, declare("q"))
    line._write(message("q", body, 2 * MIB))
    attack = []
    for _ in range(2 * BUDGET // MIB // 8):  # twice the bound
        peer = Line(broker.amqp, channels=(1,))
        peer.socket.settimeout(DEADLINE_S)
        sender = threading.Thread(target=peer._write, args=(message("q", body * 8, 16 * MIB),))
        sender.start()
        attack.append((peer, sender))
    with honest(broker):
        assert grown(broker) < BUDGET + SLACK
        line._write(b"".join(frames.body_frames(1, body, 131_072)))
        assert ready(line, "q") == 1
    for peer, _ in attack:
        peer.socket.shutdown(socket.SHUT_RDWR)
    for peer, sender in attack:
        sender.join(DEADLINE_S)
        peer.end()
    assert ready(line, "q") == 1
    line.end()


def test_a_publisher_that_is_faster_than_the_disk_waits_and_loses_nothing(broker):
    count, one = 3 * BUDGET // 65_536, bytes(65_000)
    line = Line(broker.amqp, channels=(1,))
    line.tell(1, declare("q"))
    data = message("q", one)
    for _ in range(count):
        line._write(data)
    assert ready(line, "q") == count
    assert grown(broker) < BUDGET + SLACK
    line.end()


def fill(line, queue, count, body):
    line.tell(1, declare(queue))
    for _ in range(count):
        line._write(message(queue, body))
    assert ready(line, queue) == count


def test_a_consumer_that_never_reads_its_socket_is_given_little(broker):
    count, body = 2 * BUDGET // 65_536, bytes(65_000)
    line = Line(broker.amqp, channels=(1,))
    fill(line, "q", count, body)
    deaf = Line(broker.amqp, channels=(1,))
    deaf._write(frames.method_frame(1, consume("q")))
    with honest(broker):
        line.tell(1, consume("q", "other"))
        had = line.channels[1].deliveries
        while len(had) < count // 2:
            line._file(*line._frame())
        assert grown(broker) < BUDGET // 2 + SLACK
    line.tell(1, methods.BasicAck(0, True))
    deaf.end()  # what was on its way to it comes to the other
    while len(had) < count:
        line._file(*line._frame())
    assert any(it.method.redelivered for it in had)
    line.tell(1, methods.BasicAck(0, True))
    assert ready(line, "q") == 0
    line.end()


def test_a_consumer_that_never_acknowledges_holds_up_nobody(broker):
    count = 20_000
    line, idle = (Line(broker.amqp, channels=(1,)) for _ in range(2))
    fill(line, "q", count, b"m")
    fill(line, "other", 10, b"n")
    idle.tell(1, consume("q"))
    while len(idle.channels[1].deliveries) < count:
        idle._file(*idle._frame())
    with honest(broker):
        assert ready(line, "q") == 0
        assert line.tell(1, methods.BasicGet(0, "other", True)).body == b"n"
        assert grown(broker) < SLACK
    idle.end()
    line.tell(1, consume("q"))
    had = line.channels[1].deliveries
    while len(had) < count:
        line._file(*line._frame())
    assert all(it.method.redelivered for it in had)
    line.end()


def test_what_is_refused_of_a_crowd_is_said_in_the_words_of_rabbitmq(broker):
    line = Line(broker.amqp, channels=(1,))
    line.tell(1, declare("q"))
    line._write(message("q", b"", 17 * MIB))
    found = line._next(1, methods.BasicQosOk)
    assert isinstance(found, Closed)
    assert found.text == (
        "PRECONDITION_FAILED - message size 17825792 is larger than configured max size 16777216"
    )
    line.end()
