"""The load that both brokers get: ``load.c``, compiled when a C compiler and librdkafka are there,
else the same by confluent-kafka in a child process (``load_child.py``), which is the slower client.
With TLS, where a broker has a ``ca``.

=========  ==============================================================================
create     a topic of ``partitions``, with ``flush_messages``
delete     the topic
produce    ``count`` messages of ``bytes`` to all partitions in turn, until all are acknowledged;
           at ``bytes_per_s`` if given, in words and of ``mixed`` sizes (half to one and a half of
           ``bytes``), compressed by ``codec`` (Kafka's number): seconds, bytes, client_cpu
transact   ``count`` transactions of ``messages`` each, to all partitions in turn; every
           ``aborted``-th is aborted; at ``transactions_per_s`` if given; ``warm`` more before that
           do not count: seconds, bytes, client_cpu; p50_ms, p99_ms, max_ms of their ends (end_),
           once all is acknowledged, and from their beginnings (whole_)
consume    ``count`` messages from the first offset on; ``committed``: only such: seconds, bytes,
           client_cpu, and first_s (until the first)
latency    ``count`` messages at ``messages_per_s``, from when each was due to when a consumer has
           it; ``warm`` more before that do not count: p50_ms, p99_ms, max_ms
first      one message, to a broker that may not be there yet: says when it begins to look for it;
           at (CLOCK_MONOTONIC)
=========  ==============================================================================
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.server import Server

SOURCE = Path(__file__).with_name("load.c")
SYNCED = 1  # flush_messages: a sync for each request
UNSYNCED = 2**63 - 1


class Load:
    """The load program, made ready."""

    def __init__(self, scratch: Path) -> None:
        self._command = compiled(scratch) or [sys.executable, "-m", "bench.kafka.load_child"]
        self._topics = 0

    def run(self, what: str, broker: Server, topic: str, **numbers: int) -> dict[str, float]:
        """Run a load. Raises CalledProcessError if it fails, after printing the reason."""
        return self.result(self.start(what, broker, topic, **numbers))

    @staticmethod
    def wait_until_it_looks(child: subprocess.Popen[bytes]) -> None:
        """Wait until a ``first`` started by ``start`` looks for the server."""
        assert child.stdout is not None
        if child.stdout.readline() != b"looking\n":
            raise subprocess.CalledProcessError(child.wait(), child.args)

    @staticmethod
    def result(child: subprocess.Popen[bytes]) -> dict[str, float]:
        """The result of a load started by ``start``."""
        out, _ = child.communicate()
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, child.args)
        return json.loads(out)

    def start(
        self, what: str, broker: Server, topic: str, **numbers: int
    ) -> subprocess.Popen[bytes]:
        options = [f"{name}={number}" for name, number in numbers.items()]
        command = [*self._command, what, broker.address, topic, *options]
        trusted = {} if broker.ca is None else {"LOAD_TLS_CA": str(broker.ca)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **trusted})

    def new_topic(self, broker: Server, partitions: int, flush_messages: int) -> str:
        self._topics += 1
        name = f"bench-{self._topics}"
        self.run("create", broker, name, partitions=partitions, flush_messages=flush_messages)
        return name

    def on_topic(self, what: str, broker: Server, topic: str, **numbers: int) -> dict[str, float]:
        """Run a load, with ``server_cpu``: the broker's processor time."""
        os.sync()  # what others have written is not waited for by this one's syncs
        before = broker.cpu_s()
        found = self.run(what, broker, topic, **numbers)
        found["server_cpu"] = broker.cpu_s() - before
        return found

    def on_new_topic(
        self, what: str, broker: Server, partitions: int, flush_messages: int, **numbers: int
    ) -> dict[str, float]:
        """As ``on_topic``, on a new topic, which is deleted afterwards."""
        topic = self.new_topic(broker, partitions, flush_messages)
        found = self.on_topic(what, broker, topic, partitions=partitions, **numbers)
        self.run("delete", broker, topic)
        return found


def compiled(scratch: Path) -> list[str] | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    program = scratch / "load"
    command = [compiler, "-O2", "-o", program, SOURCE, "-lrdkafka", "-lpthread"]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:  # librdkafka's headers are not there
        print("load.c does not compile here: confluent-kafka does the load", file=sys.stderr)
        return None
    return [str(program)]
