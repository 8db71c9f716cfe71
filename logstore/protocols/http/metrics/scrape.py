"""/metrics: counters and object numbers for Prometheus.

A worker looks up what takes long; the rest is read while the reply is written, a part at a time.
The number of simultaneous replies is bounded, because each holds its looked-up facts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from logstore.config import nearest
from logstore.errors import LogstoreError
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.scrapes import Scrapes
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.metrics import (
    table_cluster,
    table_kafka,
    table_keys,
    table_mqtt,
    table_own,
    table_rabbit,
)
from logstore.protocols.http.metrics.exposition import Family, Form, Sample, accepted, written
from logstore.protocols.http.metrics.looked_up import SERIES_MAX, LookedUp, look_up
from logstore.protocols.http.metrics.rows import EACH, EVERYWHERE, SUMMED, Row
from logstore.protocols.http.metrics.scene import AGGREGATED, DETAILED, PER_OBJECT, Scene

PARTS_AT_ONCE: Final = 5  # 2 ms of work; then others have their turn

TABLES: Final = (
    *table_own.ROWS,
    *table_keys.ROWS,
    *table_cluster.ROWS,
    *table_mqtt.ROWS,
    *table_rabbit.ROWS,
    *table_kafka.ROWS,
)
GROUPS: Final = frozenset(it for row in TABLES if row.where != SUMMED for it in row.groups.split())
_SHOWN: Final = {AGGREGATED: (EVERYWHERE, SUMMED), PER_OBJECT: (EVERYWHERE, EACH)}

Rows = Iterable[tuple[Family, Iterable[Sample]]]


def aggregated(door: HttpDoor, call: Call) -> None:
    """Sums of queues and the like, unless the setting metrics.per.object says otherwise."""
    settings = _scrapes(door).house.settings
    endpoint = PER_OBJECT if settings.metrics_per_object else AGGREGATED
    _answer(door, call, endpoint, settings.metrics_objects_max, _of(endpoint))


def per_object(door: HttpDoor, call: Call) -> None:
    """Each queue and each partition by itself."""
    _answer(door, call, PER_OBJECT, SERIES_MAX, _of(PER_OBJECT))


def detailed(door: HttpDoor, call: Call) -> None:
    """The groups of families that are named, of the virtual hosts that are. Raises Fault."""
    asked = [it.decode(errors="replace") for it in call.many.get("family", ())]
    for name in asked:
        if name not in GROUPS | table_rabbit.OTHER_GROUPS:
            raise Fault(BAD_REQUEST, f"family={name[:50]}: no such{nearest(name[:50], GROUPS)}")
    rows = [row._replace(family=_detailed(row.family)) for row in TABLES if row.is_of(asked)]
    vhosts = call.many.get("vhost")
    _answer(door, call, DETAILED, SERIES_MAX, [*table_rabbit.IDENTITY, *rows], vhosts)


def _scrapes(door: HttpDoor) -> Scrapes:
    assert door.scrapes is not None, "a door of a house has metrics"
    return door.scrapes


def _of(endpoint: str) -> Sequence[Row]:
    return [row for row in TABLES if row.where in _SHOWN[endpoint]]


def _detailed(family: Family) -> Family:
    """RabbitMQ's have another name there, so that both texts may be scraped."""
    prefix, other = table_rabbit.PREFIX, table_rabbit.DETAILED_PREFIX
    if not family.name.startswith(prefix) or family.name.startswith(table_rabbit.CLUSTER_PREFIX):
        return family
    return family._replace(name=other + family.name.removeprefix(prefix))


def _answer(
    door: HttpDoor,
    call: Call,
    endpoint: str,
    most: int,
    rows: Sequence[Row],
    vhosts: Sequence[bytes] | None = None,
) -> None:
    """Raises Fault."""
    scrapes = _scrapes(door)
    house, form = scrapes.house, accepted(call.headers.get("accept", ""))
    scrape = scrapes.begin(door.stopwatch(), call.cut)
    call.at_end(partial(scrapes.end, scrape))

    def taken() -> None:
        scrape.taken_at = door.stopwatch()

    most = min(most, SERIES_MAX)

    def write(found: LookedUp) -> None:
        scene = Scene(house, house.queues_of.opened, found, endpoint, most, vhosts)
        families = ((row.family, row.samples(scene)) for row in rows)
        Parts(call, house.soon, taken).begin(families, form)

    def looked_up(found: LookedUp | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not call.over:
            call.attempt(lambda: write(found))

    now_ms = house.clock()
    house.work(lambda: look_up(house.topics, house.coordinator, now_ms, most), looked_up)


class Parts:
    """The text of one reply. After work without text, other clients have their turn."""

    def __init__(
        self,
        call: Call,
        soon: Callable[[Callable[[], object]], None],
        taken: Callable[[], object],
    ) -> None:
        """``taken``: is called when the peer takes a part."""
        self._call = call
        self._taken = taken
        self._soon = soon
        self._resume: Callable[[], object] = lambda: None

    def begin(self, families: Rows, form: Form) -> None:
        self._resume = self._call.stream(form.content_type, self._parts(families, form))

    def _parts(self, families: Rows, form: Form) -> Iterator[bytes]:
        count = 0
        for part in written(families, form):
            self._taken()
            count += 1
            if part:
                yield part
            if not part or count >= PARTS_AT_ONCE:
                count = 0
                self._soon(self._go_on)
                yield b""

    def _go_on(self) -> None:
        self._resume()
