"""A Kafka broker and a ``logstore serve``: started, looked at from outside, stopped.

Both with their defaults, on one disk, listening on loopback. Kafka is one KRaft node, broker and
controller in one process, with the heap of 1 GB and the collector that its own start script sets.
"""

import os
import secrets
import signal
import socket
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.kafka.jars import jars
from bench.process import logstore_command

LOG4J = Path(__file__).with_name("log4j2.properties")
JAVA = [
    "java", "-server", "-Xms1G", "-Xmx1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={LOG4J}",
]  # fmt: skip
STOP_WITHIN_S = 60
TICKS = os.sysconf("SC_CLK_TCK")

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


class Broker:
    """A server in a process of its own. ``name`` is what figures call it."""

    name: str

    def __init__(self, scratch: Path) -> None:
        self.data = scratch / self.name
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._errors = scratch / f"{self.name}.stderr"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Returns at once: who needs it waits for an answer of it."""
        # Compiled sources are kept, as they are wherever logstore is installed.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                self.command(), stdout=subprocess.DEVNULL, stderr=errors, env=environment
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_WITHIN_S)
            self._process = None

    def _proc(self, name: str) -> str:
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"{self.name} ended: {self._errors.read_text()[-2000:]}")
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mb(self) -> float:
        return self._status("VmRSS")

    def resident_max_mb(self) -> float:
        """The most so far."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        value = self._proc("status").split(f"{name}:")[1].split()[0]
        return int(value) * 1024 / 1e6


class Logstore(Broker):
    name = "logstore"

    def command(self) -> list[str]:
        serve = ["serve", "--data", str(self.data), "--kafka-port", str(self.port)]
        return [logstore_command(), *serve]


class Kafka(Broker):
    name = "Kafka"

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._classes = f"{jars()}/*"
        self._properties = scratch / "server.properties"
        self._properties.write_text(
            PROPERTIES.format(port=self.port, controller=free_port(), data=self.data)
        )
        cluster = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        tool = ["-cp", self._classes, "kafka.tools.StorageTool", "format", "-t", cluster]
        command = ["java", f"-Dlog4j2.configurationFile={LOG4J}", *tool, "-c", self._properties]
        subprocess.run(command, check=True, capture_output=True)

    def command(self) -> list[str]:
        return [*JAVA, "-cp", self._classes, "kafka.Kafka", str(self._properties)]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def both(scratch: Path) -> Iterator[list[Broker]]:
    """One of each, on new data directories. Raises NotHere where Kafka cannot be had."""
    brokers: list[Broker] = [Logstore(scratch), Kafka(scratch)]
    try:
        for broker in brokers:
            broker.start()
        yield brokers
    finally:
        for broker in brokers:
            broker.stop()
