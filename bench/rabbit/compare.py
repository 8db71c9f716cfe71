"""Rounds of the same load on both servers, and the figures that come of them.

RabbitMQ is two sides where durable queues are measured: its quorum queues, which sync before they
confirm, as ours do, and its classic ones, which bars say nothing of.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from bench.harness import Figure, alternate, ratio
from bench.rabbit.brokers import OURS, THEIRS
from bench.rabbit.load import Found
from bench.server import Server

STEP_S = 1e-6  # that the load counts by: a tiny run may be over within one
QUORUM, CLASSIC = "quorum", "classic"


T = TypeVar("T")


class Side(NamedTuple):
    server: Server
    quorum: int  # 1: its queues are


def sides(servers: Mapping[str, Server]) -> dict[str, Side]:
    theirs = servers[THEIRS]
    return {OURS: Side(servers[OURS], 0), QUORUM: Side(theirs, 1), CLASSIC: Side(theirs, 0)}


def take_turns(
    among: Mapping[str, T], rounds: int, run: Callable[[T], Found]
) -> dict[str, list[Found]]:
    """The results of each side's runs; an uncounted run comes first, because some start slowly."""
    return alternate({name: partial(run, it) for name, it in among.items()}, rounds, warm=1)


def each(taken: Mapping[str, Sequence[Found]], value: Callable[[Found], float]) -> dict:
    """One number of every run."""
    return {name: [value(found) for found in runs] for name, runs in taken.items()}


def speed(
    what: str,
    taken: Mapping[str, Sequence[Found]],
    bar: float | None,
    theirs: str = QUORUM,
    begins: str = "",
) -> list[Figure]:
    """Messages per second with the bar, and the server's processor time per message.

    ``begins``: the prefix of the numbers' names, if a run has several. All sides are shown; the bar
    and the processor time are for ``theirs``.
    """
    fast = each(taken, lambda it: it[f"{begins}messages"] / max(it[f"{begins}seconds"], STEP_S))
    cost = each(taken, lambda it: it[f"{begins}server_cpu"] / it[f"{begins}messages"] * 1e6)
    return [
        *_beside(what, "messages/s", fast, theirs, bar),
        ratio(
            f"{what}: processor", "us/message", cost, ours=OURS, theirs=theirs, bar=None,
            at_least=False,
        ),
    ]  # fmt: skip


def late(
    what: str, taken: Mapping[str, Sequence[Found]], name: str, bar: float | None
) -> list[Figure]:
    return _beside(what, "us", each(taken, lambda it: it[name]), QUORUM, bar, at_least=False)


def _beside(
    what: str, unit: str, taken: dict, theirs: str, bar: float | None, *, at_least: bool = True
) -> list[Figure]:
    """A row for each other side; only ``theirs`` is compared with the bar."""
    others = [theirs, *(name for name in taken if name not in (OURS, theirs))]
    return [
        ratio(
            what if other == theirs else f"{what}, beside {other}", unit, taken, ours=OURS,
            theirs=other, bar=bar if other == theirs else None, at_least=at_least,
        )
        for other in others
    ]  # fmt: skip
