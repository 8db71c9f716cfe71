"""How fast is what MQTT retains beside mosquitto?

A million topics retain 100 bytes each; then a client subscribes to all of them, by a filter that
ends in # and by one with + before a last level, and reads until it has them. By the same load (raw
sockets, MQTT 3.1.1, compiled here), in turns. Bar 1 for each; a retained topic is to take at most
500 bytes of the server's memory, which is to grow by less than 32 MB while all are delivered.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import harness
from bench.mosquitto import both
from bench.server import Server

LOAD = Path(__file__).with_name("mqtt_retained.c")
TOPICS = harness.size(1_000_000, 100)
BYTES = "100"
TOPIC_BYTES = 500.0
GROWS_MB = 32.0
FILTERS = ("fleet/#", "fleet/+/state")
MOSQUITTO = "max_queued_messages 0\n"


def measure(scratch: Path, rounds: int) -> list[harness.Figure]:
    load = scratch / "mqtt_retained"
    subprocess.run(["gcc", "-O2", "-o", load, LOAD], check=True)
    figures = []
    with both(scratch, MOSQUITTO) as servers:

        def run(name: str, mode: str, word: str, count: int = TOPICS) -> float:
            command = [str(load), mode, str(servers[name].port), str(count), word]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return float(done.stdout)

        for name in servers:
            run(name, "keep", BYTES, 1)  # what the first client brings with him
        before = {name: it.own_mb() for name, it in servers.items()}
        taken = harness.alternate({name: _once(run, name, "keep", BYTES) for name in servers}, 1)
        figures.append(_ratio(f"{TOPICS:,} topics are retained", "messages/s", taken, None))
        held = {name: [it.own_mb() - before[name]] for name, it in servers.items()}
        per_topic = [mb * 1e6 / TOPICS for mb in held["logstore"]]
        bar = None if harness.TINY else TOPIC_BYTES
        figures.append(harness.bound("a retained topic", "B", per_topic, bar=bar))
        figures.append(_ratio("all of them", "MB", held, None, at_least=False))
        for filter_ in FILTERS:
            figures += _get(servers, run, filter_, rounds)
    return figures


Run = Callable[[str, str, str], float]


def _once(run: Run, name: str, mode: str, word: str) -> Callable[[], float]:
    return lambda: run(name, mode, word)


def _get(
    servers: dict[str, Server], run: Run, filter_: str, rounds: int
) -> Iterator[harness.Figure]:
    grown: list[float] = []

    def ours() -> float:
        server = servers["logstore"]
        server.forget_the_most()
        before = server.resident_max_mb()
        rate = run("logstore", "get", filter_)
        grown.append(server.resident_max_mb() - before)
        return rate

    sides = {"logstore": ours, "mosquitto": _once(run, "mosquitto", "get", filter_)}
    taken = harness.alternate(sides, rounds)
    yield _ratio(f"{filter_} gets all", "delivered/s", taken, 1.0)
    bar = None if harness.TINY else GROWS_MB
    yield harness.bound(f"{filter_}: memory beside what is retained", "MB", grown, bar=bar)


def _ratio(
    what: str, unit: str, taken: dict[str, list[float]], bar: float | None, *, at_least: bool = True
) -> harness.Figure:
    return harness.ratio(
        what, unit, taken, ours="logstore", theirs="mosquitto", bar=bar, at_least=at_least
    )


if __name__ == "__main__":
    harness.script(__doc__, measure)
