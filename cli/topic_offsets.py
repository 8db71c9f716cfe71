"""``logstore topic offsets``: the offset at a time, in each partition."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from .ends import put
from .options import HERE, TIMES, At, Bootstrap, Json, place_option
from .show import as_json, table
from .times import iso

if TYPE_CHECKING:
    from logstore.broker.start import Held, Start

    from .site import Site

EDGES = ("earliest", "latest")


class _Found(NamedTuple):
    """The offsets of the places, in their order, in a partition."""

    partition: int
    offsets: Sequence[int]

    @property
    def between(self) -> int | None:
        """The number of offsets between two places; None unless there are two."""
        return max(self.offsets) - min(self.offsets) if len(self.offsets) == 2 else None


def offsets(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="PLACE",
            help="A place whose offset is shown: earliest, latest, or the first record at or after"
            f" a time; may be repeated; defaults to earliest and latest. {TIMES}",
        ),
    ] = None,
    json_: Json = False,
    bootstrap: Bootstrap = None,
    data: At = HERE,
) -> None:
    """Show the offsets of a topic at given times.

    If a partition has no record at or after a time, its end is shown. For two places, the number of
    offsets between them is shown, too. There may be fewer records, because compaction and
    transactions leave gaps.

    $ logstore topic offsets flights
    $ logstore topic offsets flights --at -7d --at latest
    """
    from logstore.broker.start import offset_of

    texts = dict.fromkeys(at or EDGES)
    places = {it: place_option(it, "--at", offsets=False) for it in texts}
    with data.reach("read") as store:
        found = [
            _Found(number, [offset_of(log, it) for it in places.values()])
            for number, log in _logs(store, name).items()
        ]
    put(_as_json(places, found) if json_ else _as_text(places, found))


def _logs(store: "Site", name: str) -> "Mapping[int, Held]":
    """The known offsets of each partition. Raises UnknownTopic, Damaged, Failed."""
    from logstore.store import Store

    if isinstance(store, Store):
        topic = store.topic(name)
        return {number: topic.partition(number) for number in range(len(topic.partitions))}
    from .cluster.cluster import Cluster

    assert isinstance(store, Cluster)
    return store.partitions(name)


def _as_json(places: "Mapping[str, Start]", found: Sequence[_Found]) -> str:
    rows = [
        {
            "partition": it.partition,
            "at": dict(zip(places, it.offsets, strict=True)),
            "offsets": it.between,
        }
        for it in found
    ]
    return as_json(rows)


def _as_text(places: "Mapping[str, Start]", found: Sequence[_Found]) -> str:
    from logstore.broker.start import time_ms

    # Show the time that -7d meant, which is useful later.
    heads = [iso(time_ms(it)) if isinstance(it, datetime) else text for text, it in places.items()]
    if len(places) == 2:
        heads.append("offsets")
    rows = [(it.partition, *it.offsets, it.between)[: 1 + len(heads)] for it in found]
    return table(("partition", *heads), rows)
