"""What does a node over a Kafka cluster cost, beside the cluster itself and beside a local server?

One Kafka broker with its defaults is the cluster; two nodes, a local server and the broker run on
this machine. "publish": persistent messages of 100 bytes to one durable queue with confirms, at
most 1,000 unconfirmed, by one connection to a node (`bench/rabbit/load.c`), beside messages as
large that librdkafka produces to one partition with acks=all (bar 1); "processor": what a message
takes of the node, publishing and consuming, beside the local server (bar at most 2). "channels":
messages of 100 bytes to 100 subscribers, half of them at either node, published at one
(`bench/pubsub_load.c`), beside all at the local server (bar 0.7); "arrives": from a PUBLISH at one
node to when a subscriber of the other has it, one at a time.
"""

import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.harness import TINY, Figure, alternate, ratio, script, size
from bench.kafka import brokers
from bench.kafka.load import UNSYNCED
from bench.kafka.load import Load as KafkaLoad
from bench.process import logstore_command
from bench.rabbit.load import Load as RabbitLoad
from bench.server import Server, free_port

BYTES = 100
PUBLISHED = {"bytes": BYTES, "count": size(50_000, 300)}
FAN = ["100", size("32000", "256"), "64", "name", "1", "0", str(BYTES)]
ARRIVALS = size(500, 5)
STEP_S = 1e-6
LOAD = Path(__file__).with_name("pubsub_load.c")
LOCAL, NODE, CLUSTER = "local", "node", "Kafka"


class Sides(NamedTuple):
    """What is measured; Redis clients come in at another port of the same process."""

    cluster: Server
    nodes: list[Server]
    local: Server
    redis: dict[str, int]  # ports, by the server's name


@contextmanager
def all_of(scratch: Path) -> Iterator[Sides]:
    """All sides. Raises NotHere if Kafka is not available."""
    redis = {}
    with ExitStack() as stack:

        def begun(server: Server) -> Server:
            stack.callback(server.stop)
            server.start()
            server.wait_until_it_listens()
            return server

        def served(name: str, *words: str) -> Server:
            amqp, redis[name] = free_port(), free_port()
            command = [
                logstore_command(), "serve", "--data", str(scratch / name), "--http-port", "-1",
                "--stomp-port", "-1", "--amqp-port", str(amqp), "--resp-port", str(redis[name]),
                *words,
            ]  # fmt: skip
            return begun(Server(name, scratch, amqp, command))

        stand_in = brokers.logstore(scratch, CLUSTER) if TINY else brokers.kafka(scratch)
        cluster = begun(stand_in)
        nodes = [served(name, "--cluster", cluster.address) for name in (NODE, "other node")]
        local = served(LOCAL, "--kafka-port", "-1", "--mqtt-port", "-1")
        yield Sides(cluster, nodes, local, redis)


def measure(scratch: Path, rounds: int) -> list[Figure]:
    with all_of(scratch) as sides:
        return [
            *_queues(scratch, rounds, sides),
            *_channels(scratch, rounds, sides),
        ]


def _queues(scratch: Path, rounds: int, sides: Sides) -> list[Figure]:
    rabbit, kafka = RabbitLoad(scratch), KafkaLoad(scratch)
    node, local = sides.nodes[0], sides.local
    queues = {it.name: rabbit.new_queue(it) for it in (node, local)}
    topic = kafka.new_topic(sides.cluster, 1, UNSYNCED)

    def through(server: Server) -> dict[str, float]:
        published = rabbit.measured("publish", server, queues[server.name], **PUBLISHED)
        consumed = rabbit.measured("consume", server, queues[server.name], **PUBLISHED)
        cpu = published["server_cpu"] + consumed["server_cpu"]
        return {"per_s": _per_s(published), "us": cpu / published["messages"] * 1e6}

    def raw() -> dict[str, float]:
        found = kafka.run("produce", sides.cluster, topic, **PUBLISHED)
        return {"per_s": found["bytes"] / BYTES / max(found["seconds"], STEP_S)}

    runs = {NODE: partial(through, node), LOCAL: partial(through, local), CLUSTER: raw}
    taken = alternate(runs, rounds, warm=1)
    speed = {name: [it["per_s"] for it in taken[name]] for name in runs}
    cost = {name: [it["us"] for it in taken[name]] for name in (NODE, LOCAL)}
    return [
        ratio("publish, confirmed", "messages/s", speed, ours=NODE, theirs=CLUSTER, bar=1.0),
        ratio("publish, beside local", "messages/s", speed, ours=NODE, theirs=LOCAL, bar=None),
        ratio(
            "publish and consume: processor", "us/message", cost, ours=NODE, theirs=LOCAL, bar=2.0,
            at_least=False,
        ),
    ]  # fmt: skip


def _per_s(found: dict[str, float]) -> float:
    return found["messages"] / max(found["seconds"], STEP_S)


def _channels(scratch: Path, rounds: int, sides: Sides) -> list[Figure]:
    program = scratch / "pubsub_load"
    subprocess.run(["gcc", "-O2", "-o", program, LOAD], check=True)
    one, other = (sides.redis[it.name] for it in sides.nodes)

    def fan(ports: str) -> float:
        done = subprocess.run(
            [str(program), "fan", ports, *FAN], check=True, capture_output=True, text=True
        )
        return float(done.stdout)

    taken = alternate(
        {
            NODE: partial(fan, f"{one},{other}"),
            LOCAL: partial(fan, str(sides.redis[LOCAL])),
        },
        rounds,
        warm=1,
    )  # fmt: skip
    arrived = alternate(
        {
            NODE: partial(_arrives, one, other),
            LOCAL: partial(_arrives, sides.redis[LOCAL], sides.redis[LOCAL]),
        },
        rounds,
        warm=1,
    )  # fmt: skip
    return [
        ratio("channels, 100 subscribers", "delivered/s", taken, ours=NODE, theirs=LOCAL, bar=0.7),
        ratio(
            "arrives at the other node, p50", "ms", arrived, ours=NODE, theirs=LOCAL, bar=None,
            at_least=False,
        ),
    ]  # fmt: skip


def _arrives(publisher: int, listener: int) -> float:
    """The median time of arrival in ms."""
    with (
        socket.create_connection(("127.0.0.1", listener)) as to,
        socket.create_connection(("127.0.0.1", publisher)) as by,
    ):
        to.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$7\r\narrives\r\n")
        _until(to, b":1\r\n")
        took = []
        for _ in range(ARRIVALS):
            began = time.perf_counter()
            by.sendall(b"*3\r\n$7\r\nPUBLISH\r\n$7\r\narrives\r\n$1\r\nx\r\n")
            _until(to, b"$1\r\nx\r\n")
            took.append(time.perf_counter() - began)
            _until(by, b"\r\n")
        return statistics.median(took) * 1000


def _until(sock: socket.socket, end: bytes) -> None:
    got = b""
    while not got.endswith(end):
        got += sock.recv(4096)


if __name__ == "__main__":
    script(__doc__, measure)
