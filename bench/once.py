"""What does a repeat cost, beside a message that is stored?

"topic": records of 100 bytes with an id of 36 in a header, in batches of 1,000 by the library, to a
topic with `deduplication.header`: all of them new, or all of them sent before. "queue": persistent
messages of 100 bytes with such an id, published to a server with confirms, 200 of them at a time
unconfirmed, to a durable queue with `x-message-deduplication`. "exchange": the same to an exchange
of type `x-message-deduplication` to which a durable queue is bound. The processor time of the
process that stores them, a message; and how many are confirmed a second. A repeat must cost no more
(processor time: bar 1 at the most). What ids cost is shown: the same into a topic, and a queue,
that compare none. To take turns fairly each side has a store of its own, made anew each round.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import logstore
from bench.amqp_line import AmqpLine
from bench.harness import Figure, alternate, ratio, script, settle, size
from bench.rabbit.brokers import logstore as our_server
from bench.server import Server
from logstore import Message
from logstore.amqp import frames, methods, properties

RECORDS = size(100_000, 2_000)
BATCH = 1000
MESSAGES = size(20_000, 200)
UNCONFIRMED = 200
BODY = bytes(100)
HEADER = "x-deduplication-header"
ONCE = {"x-message-deduplication": True}


def id_of(number: int) -> str:
    return f"3f2504e0-4f89-11d3-9a0c-{number:012x}"


class Taken:
    """What one side took: processor time a message, and messages a second."""

    def __init__(self, count: int, cpu_s: float, wall_s: float) -> None:
        self.cpu_us = cpu_s / count * 1e6
        self.rate = count / max(wall_s, 1e-9)


# A topic


def topic(scratch: Path, *, header: str, again: bool) -> Taken:
    messages = [
        Message(BODY, headers=(("id", id_of(number).encode()),)) for number in range(RECORDS)
    ]
    with logstore.open(scratch / "topic") as store:
        store.create_topic("t", settings={"deduplication.header": header} if header else {})
        into = store.topic("t")

        def send() -> None:
            for begin in range(0, RECORDS, BATCH):
                into.append_many(messages[begin : begin + BATCH])

        if again:
            send()
        cpu_s, wall_s = time.process_time(), time.monotonic()
        send()
        taken = Taken(RECORDS, time.process_time() - cpu_s, time.monotonic() - wall_s)
    settle(scratch / "topic")
    return taken


# Through a server


def published(exchange: str, key: str) -> list[bytes]:
    """Each message in its wire form."""
    method = frames.method_frame(1, methods.BasicPublish(0, exchange, key, False, False))
    body = b"".join(frames.body_frames(1, BODY, 131_072))
    found = []
    for number in range(MESSAGES):
        given = properties.Properties(headers={HEADER: id_of(number)}, delivery_mode=2)
        header = properties.header(len(BODY), properties.write(given))
        found.append(method + frames.frame(frames.HEADER, 1, header) + body)
    return found


@contextmanager
def serving(scratch: Path) -> Iterator[tuple[Server, AmqpLine]]:
    server = our_server(scratch, "once", {})
    server.start()
    try:
        server.wait_until_it_listens()
        line = AmqpLine(server.port)
        yield server, line
        line.close()
    finally:
        server.stop()
    settle(scratch / "once")


def through(scratch: Path, exchange: str, arguments: dict[str, object], *, again: bool) -> Taken:
    with serving(scratch) as (server, line):
        declared = methods.QueueDeclare(
            0, "q", False, True, False, False, False, {} if exchange else arguments
        )
        line.send(frames.method_frame(1, declared))
        if exchange:
            made = methods.ExchangeDeclare(
                0, exchange, "x-message-deduplication", False, True, False, False, False, arguments
            )
            line.send(frames.method_frame(1, made))
            bound = methods.QueueBind(0, "q", exchange, "", False, {})
            line.send(frames.method_frame(1, bound))
        line.send(frames.method_frame(1, methods.ConfirmSelect(False)))
        data = published(exchange, "q")
        tag = 0
        if again:
            tag = line.confirmed(data, tag, UNCONFIRMED)
        cpu_s, wall_s = server.cpu_s(), time.monotonic()
        line.confirmed(data, tag, UNCONFIRMED)
        return Taken(MESSAGES, server.cpu_s() - cpu_s, time.monotonic() - wall_s)


def figures(
    what: str, sides: dict[str, Callable[[], Taken]], rounds: int, plain: str
) -> Iterator[Figure]:
    taken = alternate(sides, rounds, warm=0)
    cpu = {name: [it.cpu_us for it in found] for name, found in taken.items()}
    rate = {name: [it.rate for it in found] for name, found in taken.items()}
    yield ratio(
        f"{what}: processor time", "us", cpu, ours="a repeat", theirs="stored", bar=1.0,
        at_least=False,
    )  # fmt: skip
    yield ratio(f"{what}: speed", "/s", rate, ours="a repeat", theirs="stored", bar=None)
    if plain in sides:
        yield ratio(
            f"{what}: what ids cost", "us", cpu, ours="stored", theirs=plain, bar=None,
            at_least=False,
        )  # fmt: skip


def measure(scratch: Path, rounds: int) -> list[Figure]:
    plain = "no ids compared"
    topics = {
        "stored": lambda: topic(scratch, header="id", again=False),
        "a repeat": lambda: topic(scratch, header="id", again=True),
        plain: lambda: topic(scratch, header="", again=False),
    }
    queues = {
        "stored": lambda: through(scratch, "", ONCE, again=False),
        "a repeat": lambda: through(scratch, "", ONCE, again=True),
        plain: lambda: through(scratch, "", {}, again=False),
    }
    known = {"x-cache-size": 10 * MESSAGES}
    exchanges = {
        "stored": lambda: through(scratch, "x", known, again=False),
        "a repeat": lambda: through(scratch, "x", known, again=True),
    }
    return [
        figure
        for what, sides in (("topic", topics), ("queue", queues), ("exchange", exchanges))
        for figure in figures(what, sides, rounds, plain)
    ]


if __name__ == "__main__":
    script(__doc__, measure)
