"""A Kafka broker and a ``logstore serve``: started, looked at from outside, stopped.

Both with their defaults, on one disk, listening on loopback. Kafka is one KRaft node, broker and
controller in one process, with the heap of 1 GB and the collector that its own start script sets.
"""

import secrets
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{tls_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{tls_listener}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL
{tls_settings}
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


@dataclass(frozen=True, slots=True)
class Tls:
    """A door with TLS beside the plain one."""

    folder: Path  # what ``logstore tls self-signed`` has made
    port: int

    @classmethod
    def made(cls, scratch: Path) -> "Tls":
        folder = scratch / "tls"
        if not folder.exists():
            command = [logstore_command(), "tls", "self-signed", "--into", str(folder)]
            subprocess.run(command, check=True, capture_output=True)
        return cls(folder, free_port())

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def of(self, broker: Server) -> Server:
        return broker.by_tls(f"{broker.name}, TLS", self.port, self.ca)


def logstore(scratch: Path, name: str = "logstore", tls: Tls | None = None) -> Server:
    """A logstore server. ``name``: in figures; one stands in for Kafka if the script is
    only tried.
    """
    port = free_port()
    serve = ["serve", "--data", str(scratch / name), "--kafka-port", str(port)]
    settings = {}
    if tls is not None:
        serve += ["--kafka-tls-port", str(tls.port), "--resp-tls-port", "-1"]
        serve += [word for door in ("amqp", "mqtt", "stomp")
                  for word in (f"--{door}-port", "-1", f"--{door}-tls-port", "-1")]  # fmt: skip
        settings = {f"LOGSTORE_TLS_{it.upper()}": str(tls.folder / f"server.{suffix}")
                    for it, suffix in (("cert", "pem"), ("key", "key"))}  # fmt: skip
    command = [logstore_command(), *serve, "--resp-port", "-1"]
    return Server(name, scratch, port, command, settings)


def kafka(scratch: Path, tls: Tls | None = None, *, synced: bool = False) -> Server:
    """A Kafka broker. Raises NotHere if not available. ``synced``: syncs its own topics on appends,
    too.
    """
    port, classes, properties = free_port(), f"{jars()}/*", scratch / "server.properties"
    listener = settings = ""
    if tls is not None:
        both = tls.folder / "server-both.pem"  # Kafka takes them from one file
        both.write_bytes(b"".join(
            (tls.folder / f"server.{it}").read_bytes() for it in ("key", "pem")
        ))  # fmt: skip
        listener = f",SSL://127.0.0.1:{tls.port}"
        settings = f"ssl.keystore.type=PEM\nssl.keystore.location={both}"
    properties.write_text(
        PROPERTIES.format(
            port=port, controller=free_port(), data=scratch / "Kafka", tls_listener=listener,
            tls_settings=settings,
        )
        + ("log.flush.interval.messages=1\n" if synced else "")
    )  # fmt: skip
    cluster = urlsafe_b64encode(b"logstore" + secrets.token_bytes(8)).decode().rstrip("=")
    tool = ["-cp", classes, "kafka.tools.StorageTool", "format", "-t", cluster]
    command = ["java", f"-Dlog4j2.configurationFile={LOG4J}", *tool, "-c", properties]
    subprocess.run(command, check=True, capture_output=True)
    return Server("Kafka", scratch, port, [*JAVA, "-cp", classes, "kafka.Kafka", str(properties)])


@contextmanager
def both(scratch: Path, *, synced: bool = False) -> Iterator[list[Server]]:
    """One of each, on new data directories. Raises NotHere if Kafka is not available."""
    theirs = logstore(scratch, "Kafka") if TINY else kafka(scratch, synced=synced)
    brokers = [logstore(scratch), theirs]
    with ExitStack() as stack:
        for broker in brokers:
            stack.callback(broker.stop)
            broker.start()
        yield brokers
