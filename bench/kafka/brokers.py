"""A Kafka broker and a ``logstore serve``: started, looked at from outside, stopped.

Both with their defaults, on one disk, listening on loopback. Kafka is one KRaft node, broker and
controller in one process, with the heap of 1 GB and the collector that its own start script sets.
"""

import secrets
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.harness import TINY
from bench.kafka.jars import jars
from bench.process import logstore_command
from bench.server import Server, free_port

LOG4J = Path(__file__).with_name("log4j2.properties")
JAVA = [
    "java", "-server", "-Xms1G", "-Xmx1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={LOG4J}",
]  # fmt: skip

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
# One node has no replicas.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A deleted topic gives its bytes back at once: the next round needs the disk.
log.segment.delete.delay.ms=0
"""


def logstore(scratch: Path, name: str = "logstore") -> Server:
    """``name``: what figures call it; one stands in for Kafka where the script is only tried."""
    port = free_port()
    serve = ["serve", "--data", str(scratch / name), "--kafka-port", str(port)]
    return Server(name, scratch, port, [logstore_command(), *serve, "--resp-port", "-1"])


def kafka(scratch: Path) -> Server:
    """Raises NotHere where it cannot be had."""
    port, classes, properties = free_port(), f"{jars()}/*", scratch / "server.properties"
    properties.write_text(
        PROPERTIES.format(port=port, controller=free_port(), data=scratch / "Kafka")
    )
    cluster = urlsafe_b64encode(b"logstore" + secrets.token_bytes(8)).decode().rstrip("=")
    tool = ["-cp", classes, "kafka.tools.StorageTool", "format", "-t", cluster]
    command = ["java", f"-Dlog4j2.configurationFile={LOG4J}", *tool, "-c", properties]
    subprocess.run(command, check=True, capture_output=True)
    return Server("Kafka", scratch, port, [*JAVA, "-cp", classes, "kafka.Kafka", str(properties)])


@contextmanager
def both(scratch: Path) -> Iterator[list[Server]]:
    """One of each, on new data directories. Raises NotHere where Kafka cannot be had."""
    brokers = [logstore(scratch), logstore(scratch, "Kafka") if TINY else kafka(scratch)]
    with ExitStack() as stack:
        for broker in brokers:
            stack.callback(broker.stop)
            broker.start()
        yield brokers
