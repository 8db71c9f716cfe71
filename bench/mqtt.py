"""How fast is MQTT beside mosquitto?

Messages of 100 bytes through `logstore serve` and through a mosquitto that keeps nothing on disk,
on the same machine, by the same load (`bench/mqtt_load.c`, MQTT 3.1.1, compiled here), in turns.
QoS 0, one publisher to 1, 10 and 100 subscribers (bars 2 each, of what is delivered per second);
QoS 1 and QoS 2 end to end, 500 messages in flight, to a session that lasts: ours synced before it
is acknowledged (bars 2 and 1.5). Also the processor time that each server took for it. 10,000
clients that connect, a thousand of them on their way in, and subscribe to a filter of their own are
to be in within 10 s; each, idle, is to take at most 8 KiB of the server's own memory beyond what it
had without them.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import harness
from bench.mosquitto import both
from bench.server import Server

LOAD = Path(__file__).with_name("mqtt_load.c")
CROWD = harness.size(10_000, 20)
WITHIN_S = 10.0
IDLE_KIB = 8.0
MOSQUITTO = """\
max_connections -1
max_inflight_messages 1000
max_queued_messages 0
"""

# Question, arguments of the load (subscribers, messages, QoS, window, topics, bytes), bar.
FANS = [
    ("QoS 0, 1 to 1", ["1", "400000", "0", "4000", "1", "100"], 2.0),
    ("QoS 0, 1 to 10", ["10", "60000", "0", "4000", "1", "100"], 2.0),
    ("QoS 0, 1 to 100", ["100", "6000", "0", "1000", "1", "100"], 2.0),
    ("QoS 1, 1 to 1", ["1", "100000", "1", "500", "1", "100"], 2.0),
    ("QoS 2, 1 to 1", ["1", "50000", "2", "500", "1", "100"], 1.5),
]


def measure(scratch: Path, rounds: int) -> list[harness.Figure]:
    with both(scratch, MOSQUITTO) as servers:
        load = scratch / "mqtt_load"
        subprocess.run(["gcc", "-O2", "-o", load, LOAD], check=True)
        figures = []
        for what, words, bar in FANS:
            figures += _fan(load, servers, rounds, what, _tiny(words), bar)
        return [*figures, *_crowds(load, servers, rounds)]


def _tiny(words: list[str]) -> list[str]:
    subscribers, _, qos, *others = words
    return [str(min(int(subscribers), 5)), "200", qos, *others] if harness.TINY else words


def _fan(
    load: Path,
    servers: dict[str, Server],
    rounds: int,
    what: str,
    words: list[str],
    bar: float,
) -> Iterator[harness.Figure]:
    spent: dict[str, list[float]] = {name: [] for name in servers}

    def fan(name: str) -> Callable[[], float]:
        def once() -> float:
            server = servers[name]
            before = server.cpu_s()
            command = [str(load), "fan", str(server.port), *words]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            spent[name].append((server.cpu_s() - before) / int(words[1]) * 1e6)
            return float(done.stdout)

        return once

    taken = harness.alternate({name: fan(name) for name in servers}, rounds)
    yield _ratio(what, "delivered/s", taken, bar)
    yield _ratio(f"{what}: processor", "us/published", spent, None, at_least=False)


def _crowds(load: Path, servers: dict[str, Server], rounds: int) -> Iterator[harness.Figure]:
    held: dict[str, list[float]] = {name: [] for name in servers}

    def crowd(name: str) -> Callable[[], float]:
        def once() -> float:
            server = servers[name]
            before = server.own_mb()
            command = [str(load), "crowd", str(server.port), str(CROWD)]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as clients:
                assert clients.stdout is not None
                assert clients.stdin is not None
                took = float(clients.stdout.readline())
                held[name].append((server.own_mb() - before) * 1e6 / 1024 / CROWD)
                clients.stdin.close()
            return took

        return once

    taken = harness.alternate({name: crowd(name) for name in servers}, rounds)
    what = f"{CROWD:,} clients at once"
    yield harness.bound(f"{what}: all are in", "s", taken["logstore"], bar=WITHIN_S)
    yield _ratio(f"{what}, beside mosquitto", "s", taken, None, at_least=False)
    # Memory freed by one group is used by the next, so the first group shows the cost.
    first = {name: those[:1] for name, those in held.items()}
    bar = None if harness.TINY else IDLE_KIB
    yield harness.bound("an idle connection", "KiB", first["logstore"], bar=bar)
    yield _ratio("an idle connection, beside mosquitto", "KiB", first, None, at_least=False)


def _ratio(
    what: str, unit: str, taken: dict[str, list[float]], bar: float | None, *, at_least: bool = True
) -> harness.Figure:
    return harness.ratio(
        what, unit, taken, ours="logstore", theirs="mosquitto", bar=bar, at_least=at_least
    )


if __name__ == "__main__":
    harness.script(__doc__, measure)
