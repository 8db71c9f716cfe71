"""Streams of a real rabbitmq-server and of ours: what pika is told, and the messages that it gets.

Each case has connections of its own. What is otherwise on purpose is in ``rabbit_differences``.
"""

import datetime
import re
from contextlib import suppress

import pika
import pytest
from pika.exceptions import AMQPError
from rabbit_differences import STREAMS
from rabbit_parts import RealRabbit, needs_rabbitmq
from serving import DEADLINE_S, Serving
from waiting import until

pytestmark = [
    needs_rabbitmq,
    pytest.mark.foreign,
    # pika leaves the socket of a connection that the server closed to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STREAM = {"x-queue-type": "stream"}
QUIET_S = 1.0  # in which a consumer that is to get nothing gets nothing


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    theirs = RealRabbit(tmp_path_factory.mktemp("theirs"))
    ours = Serving(tmp_path_factory.mktemp("ours") / "data", resp_port=-1, amqp_port=0)
    yield theirs, ours
    ours.stop()
    theirs.stop()


class Line:
    """One connection with a channel, to one of the servers."""

    def __init__(self, server):
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(*server.amqp))
        self.channel = self.connection.channel()

    def close(self):
        with suppress(AMQPError):
            self.connection.close()


def declare(name="s", arguments=STREAM, **given):
    def ask(line):
        facts = {"durable": True, **given}
        return line.channel.queue_declare(name, arguments=arguments, **facts).method

    return ask


def consume(arguments=None, prefetch=10, **given):
    def ask(line):
        if prefetch is not None:
            line.channel.basic_qos(prefetch_count=prefetch)
        line.channel.basic_consume("s", lambda *_: None, arguments=arguments, **given)
        return "consuming"

    return ask


def limited(line):
    line.channel.basic_qos(prefetch_count=5)
    line.channel.basic_qos(prefetch_count=5, global_qos=True)
    return line.channel.basic_consume("s", lambda *_: None)


def taken(begin, count, prefetch=2, settle="basic_ack"):
    """So many messages from there on, and whether more come."""

    def ask(line):
        channel, found = line.channel, []
        channel.basic_qos(prefetch_count=prefetch)
        arguments = {} if begin is None else {"x-stream-offset": begin}
        for method, properties, body in channel.consume(
            "s", arguments=arguments, inactivity_timeout=DEADLINE_S if count else QUIET_S
        ):
            if method is None:
                break
            found.append((
                body, method.redelivered, method.exchange, method.routing_key, properties.headers,
                properties.content_type, properties.priority, properties.expiration,
                properties.message_id, properties.correlation_id, properties.timestamp,
            ))  # fmt: skip
            getattr(channel, settle)(method.delivery_tag)
            if len(found) == count:
                break
        return found

    return ask


AGES = ["1D", "1x", 5, "", "-5D"]
CASES = {
    "declare": declare(), "again": declare(), "as a classic one": declare(arguments={}),
    "passive": lambda it: it.channel.queue_declare("s", passive=True).method.queue,
    "not durable": declare("n", durable=False), "exclusive": declare("n", exclusive=True),
    "auto-delete": declare("n", auto_delete=True), "without a name": declare(""),
    **{f"x-max-age {it!r}": declare(f"age-{n}", {**STREAM, "x-max-age": it})
       for n, it in enumerate(AGES)},
    **{f"with {name}": declare(f"with-{name}", {**STREAM, name: value}) for name, value in {
        "x-message-ttl": 5, "x-max-length": 5, "x-dead-letter-exchange": "x", "x-max-priority": 5,
        "x-single-active-consumer": True, "x-expires": 5, "x-overflow": "drop-head",
        "x-delivery-limit": 3, "x-queue-mode": "lazy", "x-max-length-bytes": -1, "x-unknown": 1,
        "x-stream-max-segment-size-bytes": 10**10, "x-initial-cluster-size": 1,
    }.items()},
    "a classic one with x-max-age": declare("c", {"x-max-age": "1D"}),
    "get": lambda it: it.channel.basic_get("s"),
    "purge": lambda it: it.channel.queue_purge("s"),
    "without prefetch": consume(prefetch=None), "without acks": consume(auto_ack=True),
    "without either": consume(prefetch=None, auto_ack=True), "with a channel's limit": limited,
    "exclusively": consume(exclusive=True),
    **{f"offset {it!r}": consume({"x-stream-offset": it}) for it in [
        "first", "last", "next", 0, 5, "5m", "1Y", "5x", "5", "", "abc", "-5m", True, None, -1,
        2**62, datetime.datetime(2020, 1, 1),
    ]},
    "with a priority": consume({"x-priority": 5}), "with anything": consume({"x-foo": 1}),
    "take the first": taken("first", 5), "take from 3": taken(3, 2),
    "take the last": taken("last", 1),
    "take from an hour ago": taken("1h", 5), "take what comes": taken(None, 0),
    "take from 1000": taken(1000, 0), "take from 2030": taken(datetime.datetime(2030, 1, 1), 0),
    "nack": taken("first", 5, settle="basic_nack"),
    "reject": taken("first", 5, settle="basic_reject"),
    "delete it if it is empty": lambda it: it.channel.queue_delete("s", if_empty=True).method,
    "delete it": lambda it: it.channel.queue_delete("s").method,
    "delete it again": lambda it: it.channel.queue_delete("s").method,
}  # fmt: skip


def said(server, ask):
    line = Line(server)
    try:
        found = ask(line)
    except AMQPError as error:
        found = error.args[:2]
    finally:
        line.close()
    return re.sub(r"ctag\d+\.\w+", "<tag>", str(found))


def test_both_say_the_same_of_streams(servers):
    theirs, ours = servers
    differences, seen = {}, set()
    for name, ask in CASES.items():
        if name == "take the first":
            for server in servers:
                publish(server)
        found = [said(it, ask) for it in (theirs, ours)]
        if name in STREAMS:
            seen.add(name)
            assert re.fullmatch(STREAMS[name].ours, found[1]), (name, found)
            if name == "delete it if it is empty":  # it is there no more
                said(theirs, declare())
        elif found[0] != found[1]:
            differences[name] = found
    assert differences == {}
    assert seen == set(STREAMS)


def publish(server):
    line = Line(server)
    line.channel.confirm_delivery()
    line.channel.queue_bind("s", "amq.topic", "a.#")
    for n in range(5):
        properties = pika.BasicProperties(
            content_type="text/plain", headers={"n": n, "s": "x", "x-stream-offset": 99},
            priority=n, expiration="1000" if n == 4 else None, message_id=f"m{n}",
            correlation_id="c", timestamp=1_700_000_000,
        )  # fmt: skip
        line.channel.basic_publish("amq.topic" if n == 3 else "", "a.b" if n == 3 else "s",
                                   b"%d" % n, properties)  # fmt: skip
    count = lambda: line.channel.queue_declare("s", passive=True).method.message_count  # noqa: E731
    until(lambda: count() == 5)  # theirs counts every few seconds
    line.close()
