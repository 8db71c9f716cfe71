"""How fast does a Kafka client commit transactions, beside Kafka?

One producer (librdkafka), transactions one after another, of 1,000 records of 100 bytes, in one
partition (bar 2) and over ten (bar 1.5): MB of values a second. Then 50 transactions a second of
ten records: "commit", from the call, once all of it is acknowledged, to its return (bars 0.2), and
"whole", from its beginning. "synced": all is synced before it is acknowledged, on both sides:
records, and what is decided about transactions (`log.flush.interval.messages=1` for Kafka, its own
topics included). "beside Kafka as it comes": Kafka syncs nothing, as is its default (no bar). Both
brokers run on this machine and disk with their defaults otherwise (Kafka: 4.3.1, one KRaft node,
heap 1 GB) and take turns; what they use of the processor is shown.
"""

from pathlib import Path

from bench.harness import Figure, ratio, script, size
from bench.kafka.brokers import both
from bench.kafka.compare import SIDES, Found, each, speed, take_turns
from bench.kafka.load import SYNCED, UNSYNCED, Load
from bench.server import Server

LOADS = {"1 partition": (1, size(1000, 3), 2.0), "10 partitions": (10, size(300, 3), 1.5)}
RATE = {
    "partitions": 1, "messages": 10, "transactions_per_s": 50, "count": size(500, 10),
    "warm": size(100, 1),
}  # fmt: skip
DELAYS = {
    "commit at 50/s: p50": ("end_p50_ms", 0.2), "commit at 50/s: p99": ("end_p99_ms", 0.2),
    "whole at 50/s: p50": ("whole_p50_ms", None), "whole at 50/s: p99": ("whole_p99_ms", None),
}  # fmt: skip


def measure(scratch: Path, rounds: int) -> list[Figure]:
    figures = []
    for synced in (True, False):
        place = scratch / str(synced)
        place.mkdir()
        with both(place, synced=synced) as brokers:
            figures += beside(brokers, Load(place), rounds, synced)
    return figures


def beside(brokers: list[Server], load: Load, rounds: int, synced: bool) -> list[Figure]:
    title = "synced" if synced else "beside Kafka as it comes"
    figures = []

    def turns(**numbers: int) -> dict[str, list[Found]]:
        def run(broker: Server) -> Found:
            flush = SYNCED if synced or broker.name != SIDES["theirs"] else UNSYNCED
            return load.on_new_topic(
                "transact", broker, flush_messages=flush, linger_ms=5, **numbers
            )

        return take_turns(brokers, rounds, run)

    for what, (partitions, count, bar) in LOADS.items():
        taken = turns(partitions=partitions, count=count, warm=size(50, 1))
        figures += speed(f"{what}, {title}", taken, bar if synced else None)
    taken = turns(**RATE)
    for what, (name, bar) in DELAYS.items():
        late = each(taken, lambda it, name=name: it[name])
        wanted = bar if synced else None
        figures.append(ratio(f"{what}, {title}", "ms", late, **SIDES, bar=wanted, at_least=False))
    cost = each(taken, lambda it: it["server_cpu"])
    what = f"at 50/s, {title}: processor"
    figures.append(ratio(what, "s", cost, **SIDES, bar=None, at_least=False))
    return figures


if __name__ == "__main__":
    script(__doc__, measure)
