"""One broker of a real Kafka cluster: its files, its process, and what it says of the cluster."""

import ctypes
import signal
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from wire_client import WireClient

from logstore.kafka.messages import describe_quorum, find_coordinator, metadata

STARTS_WITHIN_S = 180  # some 10 s on an idle machine
STOPS_WITHIN_S = 330  # one that is left without controllers waits for them for 5 minutes; rarely
PR_SET_PDEATHSIG = 1  # prctl(2): the signal on the parent's end
LOG4J = Path(__file__).parents[2] / "bench/kafka/log4j2.properties"
# Started quickly, and small: no test asks how fast it is.
JAVA = [
    "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
    "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={LOG4J}",
]  # fmt: skip

METADATA, FIND_COORDINATOR, DESCRIBE_QUORUM = 3, 10, 55
GROUP, TRANSACTION = 0, 1  # kinds of coordinators


def _ends_with_its_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class KafkaBroker:
    """``endpoint``: where it is asked, and other brokers find it."""

    def __init__(self, number, folder, classes, endpoint, properties):
        self.number = number
        self.endpoint = endpoint
        self.stopped = False  # by SIGSTOP
        self.process = None
        self._folder = folder
        self._classes = classes
        self._properties = folder / "server.properties"
        self._errors = folder / "stderr"
        folder.mkdir()
        lines = {**properties, "log.dirs": folder / "data"}
        self._properties.write_text("".join(f"{key}={it}\n" for key, it in lines.items()))

    def format(self, cluster_id):
        """Create the data directory with Kafka's own tool."""
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", self._properties]
        subprocess.run([*JAVA, "-cp", self._classes, *tool], check=True, capture_output=True)

    def format_as(self, other):
        """As ``format``, for another node of the same cluster."""
        data = self._folder / "data"
        data.mkdir()
        for it in (other._folder / "data").iterdir():
            if it.name == "meta.properties":
                own = {
                    "node.id": self.number,
                    "directory.id": urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
                }
                lines = [
                    f"{key}={own.get(key, value)}\n"
                    for key, _, value in (line.partition("=") for line in it.read_text().split())
                    if key in {"version", "cluster.id", *own}
                ]
                (data / it.name).write_text("".join(lines))
            else:
                (data / it.name).write_bytes(it.read_bytes())

    # Its process

    def start(self):
        """Start the process; returns at once."""
        assert not self.runs
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*JAVA, "-cp", self._classes, "kafka.Kafka", self._properties],
                stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=_ends_with_its_parent,
            )  # fmt: skip

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        """Send a signal; notes SIGSTOP and SIGCONT, and waits for the end after any other."""
        self.process.send_signal(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.stopped = number == signal.SIGSTOP
            return
        try:
            self.process.wait(STOPS_WITHIN_S)
        finally:
            self.kill()

    def kill(self):
        """Kill the process, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.stopped = False

    def errors(self):
        return self._errors.read_text()

    # What it says

    def ask(self, key, version, request, response_kind):
        """The broker's answer. Raises OSError if it does not listen, or ends."""
        with WireClient(self.endpoint) as client:
            return client.ask(key, version, request, response_kind)

    def wait_until_it_answers(self, says=lambda answer: True):
        """Request metadata until ``says(answer)``; returns the answer."""
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            assert self.runs, f"broker {self.number} has ended: {self.errors()[-3000:]}"
            try:
                answer = self.metadata()
            except OSError as error:
                answer = error
            else:
                if says(answer):
                    return answer
            if time.monotonic() > until:
                raise AssertionError(f"broker {self.number} says {answer}\n{self.errors()[-3000:]}")
            time.sleep(0.05)  # there is no other signal

    def metadata(self, *topics):
        """Metadata of these topics; of all if none is given."""
        asked = [metadata.Topic(name=it) for it in topics] or None
        return self.ask(METADATA, 12, metadata.Request(asked, False), metadata.Response)

    def controller(self):
        """The active controller's number as the broker knows it; -1 if there is none."""
        partition = describe_quorum.PartitionData(0)
        topic = describe_quorum.TopicData("__cluster_metadata", [partition])
        answer = self.ask(
            DESCRIBE_QUORUM, 0, describe_quorum.Request([topic]), describe_quorum.Response
        )
        return answer.topics[0].partitions[0].leader_id if answer.topics else -1

    def coordinator(self, key, kind=GROUP):
        """The coordinator's number for a group or a transactional id; -1 if there is none now."""
        request = find_coordinator.Request(key_type=kind, coordinator_keys=[key])
        answer = self.ask(FIND_COORDINATOR, 4, request, find_coordinator.Response)
        return answer.coordinators[0].node_id
