"""Rounds of the same load on both brokers, and the figures that come of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from bench.harness import Figure, alternate, ratio
from bench.server import Server

Found = dict[str, float]  # what one load measured
STEP_S = 1e-6  # that the load counts by: a tiny run may be over within one
SIDES = {"ours": "logstore", "theirs": "Kafka"}


def take_turns(
    brokers: Sequence[Server], rounds: int, run: Callable[[Server], Found]
) -> dict[str, list[Found]]:
    """The results of each broker's runs; an uncounted run comes first, because a JVM starts
    slowly.
    """
    return alternate({it.name: partial(run, it) for it in brokers}, rounds, warm=1)


def each(taken: Mapping[str, Sequence[Found]], value: Callable[[Found], float]) -> dict:
    """One number of every run."""
    return {name: [value(found) for found in runs] for name, runs in taken.items()}


def speed(what: str, taken: Mapping[str, Sequence[Found]], bar: float | None = 1.0) -> list[Figure]:
    """MB/s with its bar, and the server's processor time per GB."""
    fast = each(taken, lambda it: it["bytes"] / 1e6 / max(it["seconds"], STEP_S))
    cost = each(taken, lambda it: it["server_cpu"] / (it["bytes"] / 1e9))
    return [
        ratio(what, "MB/s", fast, **SIDES, bar=bar),
        ratio(f"{what}: processor", "s/GB", cost, **SIDES, bar=None, at_least=False),
    ]
