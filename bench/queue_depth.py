"""What do queues cost that are long, or many?

"10 million ready": so many persistent messages of 100 bytes in one durable queue: the most memory
that the server held while it took them (100 MB at the most), and how long after a restart the first
one is delivered, also after kill -9 (1 s at the most). "All but one": these consumed and
acknowledged but for the first: the disk that is left after upkeep, with `queue.retention.ms=0` and
segments of 16 MiB (64 MiB at the most). "1 million unacked": delivered, then acknowledged one by
one in a random order: how long an ack takes at the end beside the begin (1.5 at the most). "Nacks
for ever": while a consumer gives back whatever it gets, how much longer a message of another queue
is on its way (the middle of 600, 2 at the most). "10,000 queues": declared and empty: the files
that they are, the memory that they take (60 MB at the most), and how soon after a start the first
message is confirmed (1 s at the most). Asked once, whatever the rounds: it takes minutes.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.harness import Figure, NotHere, bound, script, size
from bench.process import logstore_command
from bench.rabbit.brokers import OURS, logstore
from bench.rabbit.load import Load
from bench.server import Server

READY = size(10_000_000, 2_000)
UNACKED = size(1_000_000, 2_000)
QUEUES = size(10_000, 50)
SETTINGS = {"LOGSTORE_QUEUE_RETENTION_MS": "0", "LOGSTORE_QUEUE_SEGMENT_BYTES": str(16 << 20)}
QUEUE = "deep"
REJECTED = size(20_000, 100)
LATENCY = {"count": size(600, 20), "warm": size(100, 5), "per_s": 200}
ENDINGS = {"restart": signal.SIGTERM, "kill -9": signal.SIGKILL}


@contextmanager
def serving(scratch: Path, name: str) -> Iterator[Server]:
    server = logstore(scratch, name, SETTINGS)
    server.start()
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.stop()


def after_a_restart(
    load: Load, server: Server, what: str, queue: str, ending: signal.Signals = signal.SIGTERM
) -> float:
    """Seconds from the start of the process to the first message, in or out."""
    server.stop(ending)
    waiting = load.start(what, server, queue)
    load.wait_until_it_looks(waiting)
    begun = time.monotonic()
    server.start()
    return load.result(waiting)["at"] - begun


def deep(load: Load, scratch: Path) -> Iterator[Figure]:
    with serving(scratch, OURS) as server:
        load.run("declare", server, QUEUE)
        load.run("publish", server, QUEUE, count=READY, window=10_000)
        yield bound("10 million ready: memory", "MB", [server.resident_max_mb()], bar=100)
        for how, ending in ENDINGS.items():
            first_s = after_a_restart(load, server, "first_delivery", QUEUE, ending)
            yield bound(f"10 million ready: {how} to delivery", "s", [first_s], bar=1.0)
        load.run("all_but_one", server, QUEUE, count=READY)
        data = scratch / OURS
        for job in ("retention", "compact"):
            command = [logstore_command(), job, "run", "--data", data]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield bound("all but one of them: disk", "MiB", [allocated(data) / 2**20], bar=64)
    shutil.rmtree(data)


def acknowledged(load: Load, scratch: Path) -> Iterator[Figure]:
    with serving(scratch, "unacked") as server:
        load.run("declare", server, QUEUE)
        load.run("publish", server, QUEUE, count=UNACKED)
        found = load.run("unacked", server, QUEUE, count=UNACKED)
        yield bound("1 million unacked: an ack", "us", [found["middle_us"]], bar=None)
        flat = found["last_us"] / max(found["first_us"], 1e-3)
        yield bound("1 million unacked: the last by the first", "x", [flat], bar=1.5)
        yield bound("1 million unacked: memory", "MB", [server.resident_max_mb()], bar=None)


def rejected(load: Load, scratch: Path) -> Iterator[Figure]:
    with serving(scratch, "rejected") as server:
        for name in ("rejected", "others"):
            load.run("declare", server, name)
        load.run("publish", server, "rejected", count=REJECTED)
        alone = load.run("latency", server, "others", **LATENCY)["deliver_p50_us"]
        child = load.start("nack_for_ever", server, "rejected")
        try:
            assert child.stdout is not None
            child.stdout.readline()
            beside = load.run("latency", server, "others", **LATENCY)["deliver_p50_us"]
        finally:
            child.kill()
            child.communicate()
        yield bound("nacks for ever: others wait", "x", [beside / alone], bar=2.0)


def many(load: Load, scratch: Path) -> Iterator[Figure]:
    data = scratch / "many"
    with serving(scratch, "many") as server:
        load.run("declare", server, "first")  # the journal is made, and the model of queues loaded
        files, held = len(list(data.rglob("*"))), server.resident_mb()
        begun = time.monotonic()
        load.run("declare", server, "many", queues=QUEUES)
        yield bound("10,000 queues: declared", "s", [time.monotonic() - begun], bar=None)
        more = len(list(data.rglob("*"))) - files
        yield bound("10,000 queues: files more", "", [more], bar=0)
        yield bound("10,000 queues: memory more", "MB", [server.resident_mb() - held], bar=60)
        yield bound("10,000 queues: disk", "MB", [allocated(data) / 1e6], bar=None)
        first_s = after_a_restart(load, server, "first", "many")
        yield bound("10,000 queues: start to confirm", "s", [first_s], bar=1.0)
        yield bound("10,000 queues: memory after a start", "MB", [server.resident_mb()], bar=None)


def allocated(folder: Path) -> int:
    """Bytes on the disk, without the holes of sparse files."""
    return sum(it.stat().st_blocks * 512 for it in folder.rglob("*") if it.is_file())


def measure(scratch: Path, _: int) -> list[Figure]:
    if shutil.which("gcc") is None:
        raise NotHere("gcc is not there: the load is a C program")
    load = Load(scratch)
    questions = (deep, acknowledged, rejected, many)
    return [figure for ask in questions for figure in ask(load, scratch)]


if __name__ == "__main__":
    script(__doc__, measure)
