"""``logstore exchange`` and ``queue`` through a server: faults, signals, and other clients."""

import json
import os
import signal
import socket
from contextlib import contextmanager

import pika
import pytest
from cli_process import DEADLINE_S
from waiting import until

from logstore.server_socket import ServerSocket

pytestmark = pytest.mark.long


@pytest.fixture
def served(data, start_serving):
    """A server of the directory that the commands are for."""
    return start_serving(data, amqp_port=0)


@contextmanager
def channel_of(server):
    host, port = server.amqp
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        yield connection.channel()


def ready(server, queue):
    with channel_of(server) as channel:
        return channel.queue_declare(queue, passive=True).method.message_count


def publish(logstore, count, queue="q", **given):
    lines = b"".join(b"%d\n" % n for n in range(count))
    return logstore("exchange", "publish", "", "--key", queue, stdin=lines, **given)


def test_another_client_sees_what_the_command_has_published(logstore, served):
    logstore("queue", "declare", "q", "--argument", "x-max-priority=5")
    words = ("--property", "priority=3", "--property", "message-id=m", "--header", "from=test")
    logstore("exchange", "publish", "", "--key", "q", "--message", "hello", *words)
    with channel_of(served) as channel:
        method, properties, body = channel.basic_get("q", auto_ack=True)
    assert (method.routing_key, body) == ("q", b"hello")
    assert (properties.priority, properties.message_id, properties.delivery_mode) == (3, "m", 2)
    assert properties.headers == {"from": "test"}


def test_what_another_client_has_published_is_printed_with_all_that_it_has(logstore, served):
    with channel_of(served) as channel:
        channel.queue_declare("q", durable=True)
        properties = pika.BasicProperties(
            headers={"n": 1, "b": b"\xff", "t": {"x": [True, None]}}, content_type="text/plain"
        )
        channel.basic_publish("", "q", b"\xff\x00", properties)
    found = json.loads(logstore("queue", "get", "q", "--format", "json").out)
    assert found == {
        "queue": "q", "exchange": "", "key": "q", "redelivered": False,
        "properties": {"content_type": "text/plain"},
        "headers": {"n": 1, "b": {"base64": "/w=="}, "t": {"x": [True, None]}},
        "body": "/wA=", "body_encoding": "base64",
    }  # fmt: skip


def test_all_lines_are_published_in_order_whatever_their_size(logstore, served):
    logstore("queue", "declare", "q")
    lines = b"".join(b"%d %b\n" % (n, b"x" * (n * 97 % 300_000)) for n in range(100))
    publishing = logstore("exchange", "publish", "", "--key", "q", stdin=lines)
    assert publishing.err.startswith("published 100 messages")
    assert logstore("queue", "consume", "q").bytes == lines


def test_more_than_the_window_is_confirmed_and_unrouted_messages_are_counted(logstore, served):
    logstore("queue", "declare", "q")
    assert publish(logstore, 9000).err.startswith("published 9,000 messages")
    assert ready(served, "q") == 9000
    told = publish(logstore, 9000, queue="none").err
    assert told.endswith("9,000 messages reached no queue\n")


def test_a_full_queue_is_told_and_what_it_took_is_counted(logstore, served):
    logstore(
        "queue", "declare", "q", "--argument", "x-max-length=3",
        "--argument", "x-overflow=reject-publish",
    )  # fmt: skip
    told = publish(logstore, 5, code=1).err
    assert told == (
        "logstore: a queue is full and did not take 2 messages; consume it, then publish them "
        "again; published 3 messages to queues\n"
    )
    assert logstore("queue", "consume", "q").lines == ["0", "1", "2"]


def test_an_exchange_that_is_deleted_while_lines_are_published_ends_it(logstore, served, spawn):
    logstore("exchange", "declare", "e", "--type", "fanout")
    process = spawn("exchange", "publish", "e")
    process.write(b"first\n")
    # The exchange was found before a line is read.
    until(lambda: b"first" in published_to(served, "e", process))
    logstore("exchange", "delete", "e", "--yes")
    process.write(b"second\n")
    process.popen.stdin.close()
    process.popen.stdin = None
    code, _, err = process.end()
    assert code == 1
    assert "no exchange 'e'; declare it first; published " in err
    assert len(err.splitlines()) == 1


def published_to(server, exchange, process):
    """Bodies that a queue bound to it gets; the line is written again until one has come."""
    with channel_of(server) as channel:
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, exchange)
        process.write(b"first\n")
        found = []
        for _, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=DEADLINE_S):
            found.append(body)
            break
        return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_back_what_was_not_printed(logstore, served, spawn, number):
    logstore("queue", "declare", "q")
    publish(logstore, 1200)
    process = spawn("queue", "consume", "q", "--follow")
    seen = [process.line() for _ in range(700)]  # the pipe holds the rest, or some of it
    process.send(number)
    printed = [*seen, *process.popen.stdout]
    assert process.popen.wait(DEADLINE_S) == 128 + number
    assert printed == [b"%d\n" % n for n in range(len(printed))]
    rest = logstore("queue", "consume", "q").lines
    assert rest == [str(n) for n in range(len(printed), 1200)]


def test_a_reader_that_goes_away_loses_nothing_that_was_not_printed(logstore, served, spawn):
    logstore("queue", "declare", "q")
    body = b"x" * 10_000
    publish_large = b"".join(b"%03d%b\n" % (n, body) for n in range(500))
    logstore("exchange", "publish", "", "--key", "q", stdin=publish_large)
    process = spawn("queue", "consume", "q")
    assert process.line() == b"000" + body + b"\n"
    process.popen.stdout.close()
    assert process.popen.wait(DEADLINE_S) == 0
    rest = logstore("queue", "consume", "q").lines
    taken = 500 - len(rest)
    assert 0 < taken <= 8  # what a pipe holds
    assert [int(it[:3]) for it in rest] == list(range(taken, 500))


def test_a_killed_consumer_loses_nothing(logstore, served, spawn):
    logstore("queue", "declare", "q")
    with channel_of(served) as channel:
        channel.basic_publish("", "q", b"only", pika.BasicProperties(delivery_mode=2))
    stopped = spawn("queue", "consume", "q", "--follow", "--format", "{body} {redelivered}")
    assert stopped.line() == b"only no\n"
    stopped.send(signal.SIGKILL)
    stopped.popen.wait(DEADLINE_S)
    # It was acknowledged after it was printed, if that had arrived yet.
    again = logstore("queue", "consume", "q", "--format", "{body} {redelivered}").out
    assert again in ("", "only yes\n")


IMPATIENT = """
import sys
from logstore_cli.main import main
from logstore_cli.served import line
line.FINISH_S = 0.1
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_the_server_takes_no_messages_publishing_waits_until_a_signal(
    data, start_serving, spawn, spawn_python, number
):
    start_serving(data, amqp_port=0, queue_disk_free_bytes=1 << 50)
    assert spawn("queue", "declare", "q").end()[0] == 0
    process = spawn_python(IMPATIENT, "exchange", "publish", "", "--key", "q")
    process.write(b"first\n")  # which has the server look at its disk, and is taken still
    told = process.line("stderr").decode()
    assert "the server has paused publishing: " in told
    api = ServerSocket(str(data))

    def sent():
        return [it["bytes_in"] for it in api.rows("connections") if it["door"] == "amqp"]

    before = sent()
    process.write(b"second\n")
    until(lambda: sent() > before)
    process.send(number)
    code, _, err = process.end()
    assert code == 1
    assert err.splitlines()[-1].endswith(
        "the server has not confirmed 1 message; each may or may not be published; published "
        "1 message to queues"
    )


def test_two_consumers_share_a_queue(logstore, served, spawn):
    logstore("queue", "declare", "q")
    both = [spawn("queue", "consume", "q", "--follow", "--max", 10) for _ in range(2)]
    until(lambda: consumers(served, "q") == 2)
    publish(logstore, 20)
    ends = [it.end() for it in both]
    assert [code for code, _, _ in ends] == [0, 0]
    found = [int(it) for _, out, _ in ends for it in out.split()]
    assert sorted(found) == list(range(20))


def consumers(server, queue):
    with channel_of(server) as channel:
        return channel.queue_declare(queue, passive=True).method.consumer_count


def test_follow_ends_with_one_line_when_its_queue_is_deleted(logstore, served, spawn):
    logstore("queue", "declare", "q")
    process = spawn("queue", "consume", "q", "--follow")
    until(lambda: consumers(served, "q") == 1)
    logstore("queue", "delete", "q", "--yes")
    code, out, err = process.end()
    assert (code, out) == (1, b"")
    assert err == (
        "logstore: queue 'q' has cancelled its consumer: it was deleted, or a message was held for "
        "longer than x-consumer-timeout; consume it again\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_follow_ends_with_one_line_when_the_server_does(logstore, served, spawn, number):
    logstore("queue", "declare", "q")
    process = spawn("queue", "consume", "q", "--follow")
    until(lambda: consumers(served, "q") == 1)
    served.process.send_signal(number)
    code, out, err = process.end()
    assert (code, out) == (1, b"")
    (line,) = err.splitlines()
    assert line.startswith("logstore: {}:{}: the ".format(*served.amqp))
    served.stop()


def test_an_exclusive_consumer_keeps_others_out(logstore, served):
    logstore("queue", "declare", "q")
    logstore("queue", "declare", "single", "--argument", "x-single-active-consumer=true")
    with channel_of(served) as channel:
        channel.basic_consume("q", lambda *_: None, exclusive=True)
        told = logstore("queue", "consume", "q", code=1).err
        assert told == "logstore: queue 'q' is in exclusive use; cancel its consumers first\n"
        told = logstore("queue", "delete", "q", "--if-unused", "--yes", code=1).err
        assert told == "logstore: queue 'q' has consumers; cancel them first\n"
    told = logstore("queue", "get", "single", code=1).err
    assert "has a single active consumer" in told


def test_a_server_without_this_door_is_named(logstore, data, start_serving):
    server = start_serving(data, amqp_port=-1)
    told = logstore("queue", "declare", "q", code=1).err
    assert told.startswith(f"logstore: {data}: its server, pid {server.process.pid} (")
    assert "accepts no RabbitMQ clients" in told
    assert "--amqp-port (amqp.port)" in told
    assert len(told.splitlines()) == 1
    assert "amq.topic" in logstore("exchange", "list").out  # by the directory's socket
    assert logstore("queue", "describe", "q", code=1).err == (
        "logstore: no queue 'q'; declare it first\n"
    )


def test_a_program_that_has_the_directory_and_serves_nobody_is_named(logstore, data, store):
    with store("write"):
        told = logstore("queue", "declare", "q", code=1).err
    (line,) = told.splitlines()
    assert f"pid {os.getpid()}" in line
    assert "RabbitMQ" not in line


def test_a_virtual_host_that_there_is_not_is_named_in_both_ways(logstore, data, start_serving):
    logstore("queue", "declare", "q")
    words = ("queue", "get", "q", "--vhost", "other")
    here = logstore(*words, code=1).err
    start_serving(data, amqp_port=0)
    assert logstore(*words, code=1).err == here
    assert here == "logstore: no virtual host 'other'; use an existing one\n"


def test_another_virtual_host_has_queues_of_its_own_in_both_ways(logstore, data, start_serving):
    server = start_serving(data, amqp_port=0)
    ServerSocket(str(data)).put("vhosts", "other")
    there = ("--vhost", "other")
    logstore("queue", "declare", "q")
    logstore("exchange", "declare", "e", "--type", "fanout", *there)
    logstore("queue", "declare", "q", *there)
    logstore("exchange", "bind", "e", "q", *there)
    logstore("exchange", "publish", "e", "--message", "one", *there)
    assert ready(server, "q") == 0
    assert logstore("queue", "get", "q").out == ""
    about = logstore("queue", "describe", "q", *there).out
    assert about.splitlines()[-1].split() == ["e", "-"]
    named = [it.split()[0] for it in logstore("exchange", "list", *there).lines]
    assert "e" in named
    assert "e" not in [it.split()[0] for it in logstore("exchange", "list").lines]
    server.stop()
    assert logstore("queue", "describe", "q", *there).out == about
    assert logstore("queue", "consume", "q", *there).out == "one\n"
    assert logstore("queue", "consume", "q").out == ""


def test_a_name_with_line_ends_reaches_no_other_queue(logstore, served):
    logstore("queue", "declare", "ab")
    publish(logstore, 3, queue="ab")
    for words in (("declare",), ("delete", "--yes"), ("purge", "--yes"), ("consume",), ("get",)):
        told = logstore("queue", *words, "a\nb", code=1).err
        assert "line ends" in told
        assert len(told.splitlines()) == 1
    assert ready(served, "ab") == 3


def test_a_server_of_another_address_of_this_machine_lets_commands_in(
    logstore, data, start_serving
):
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but those of loopback")
    start_serving(data, amqp_port=0, listen_host=address, words=("--insecure",))
    logstore("queue", "declare", "q")
    publish(logstore, 1)
    assert logstore("queue", "consume", "q").out == "0\n"


def own_address():
    """That this machine would send from; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("198.51.100.1", 9))
        except OSError:
            return None
        return sock.getsockname()[0]
