"""Compares what queues hold according to their rows, the journal and the lanes. In any process.

If the queues are in use, the counts change meanwhile: the journal is read before the lanes that it
refers to, so that no message counts as settled whose lane does not exist yet.
"""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from logstore.errors import CorruptStore, LogstoreError, UnknownPartition
from logstore.kept.queues import JOURNAL_NAME, KeptRouting, Lane, parse_lane
from logstore.kept.schedules import exchange_of, partition_of
from logstore.storage.catalog import Entry
from logstore.storage.directory import LocalDirectory
from logstore.storage.kinds import JOURNAL, LANE, TOPIC
from logstore.storage.names import CATALOG
from logstore.storage.queues import load
from logstore.storage.schedules import ScheduleTable
from logstore.storage.verify import Finding, Report
from logstore.upkeep.unsettled import settlements

if TYPE_CHECKING:  # imported where a store has queues
    from logstore.broker.queues.journal import SettlementNotes
    from logstore.broker.queues.state import LaneState, QueueState

IN_USE: Final = 0  # the number of no queue: the journal says by it that queues are in use


class Tally(NamedTuple):
    """The counts of one data directory."""

    queues: int
    messages: int  # that are not settled


def tally(directory: LocalDirectory) -> Tally:
    """The counts, without unreadable lanes. Raises Damaged, Failed, SchemaTooNew."""
    kept = kept_routing(directory)
    if not kept.queues:
        return Tally(0, 0)
    notes = settlements(directory)
    messages = 0
    for lane, entry in _lanes(directory).items():
        try:
            state = _state(notes, lane)
            log = directory.log(str(lane), entry, 0)
            messages += state.unsettled(log.start, state.cursor)
            messages += max(0, log.safe - max(state.cursor, log.start))
        except LogstoreError:
            continue  # ``status`` names it
    return Tally(len(kept.queues), messages)


def verify_queues(directory: LocalDirectory) -> Iterator[Report]:
    """A report of each contradiction between rows, journal and lanes."""
    kept, catalog = kept_routing(directory), os.path.join(directory.path, CATALOG)
    for error in kept.damaged:
        yield _report(catalog, str(error).removeprefix(f"{catalog}: "))
    yield from _of_bindings(kept, catalog)
    lanes = _lanes(directory)
    if not kept.damaged:  # else it may be of what can't be read
        yield from _without_queue(directory, kept, lanes)
    journal = os.path.join(directory.path, JOURNAL.directory(JOURNAL_NAME, 0))
    try:
        notes = settlements(directory)
        queues = [] if notes is None else notes.queues()
    except LogstoreError as error:
        yield _report(journal, f"what is settled is not known: {error}")
        return
    known = {it.id: f"queue {it.name}" for it in kept.queues}
    known |= {it.id: f"exchange {it.name}" for it in kept.exchanges}
    for queue in queues:
        if notes is not None and queue in known and queue != IN_USE:
            yield from _of_queue(directory, notes, queue, known[queue], lanes, journal)


def verify_schedules(directory: LocalDirectory) -> Iterator[Report]:
    """A report of each contradiction in the index of delayed records."""
    table = directory.groups
    if table is None:
        return
    index, catalog = ScheduleTable(table.environment), os.path.join(directory.path, CATALOG)
    kept, topics = kept_routing(directory), directory.topics()
    exchanges = {it.id for it in kept.exchanges}
    by_id = {bytes.fromhex(it.id.replace("-", "")): (name, it) for name, it in topics.items()}
    for key in index.logs():
        exchange, place = exchange_of(key), partition_of(key)
        if exchange is not None and exchange not in exchanges and not kept.damaged:
            what = f"of exchange {exchange}, which was deleted"
            yield _report(catalog, f"has entries {what}", left=True)
        if place is not None and place[0] not in by_id:
            yield _report(catalog, f"has entries of topic {place[0].hex()}, deleted", left=True)
        try:
            mark = index.mark(key)
            if place is not None and place[0] in by_id:
                name, entry = by_id[place[0]]
                safe = directory.log(name, entry, place[1]).safe
                if mark > safe:
                    path = os.path.join(directory.path, TOPIC.directory(name, place[1]))
                    yield _report(
                        path, f"ends at offset {safe}, but what waits is known up to {mark - 1}"
                    )
        except CorruptStore as error:
            yield _report(catalog, str(error).removeprefix(f"{catalog}: "))
        except LogstoreError:
            continue  # who verifies the log itself is told


def kept_routing(directory: LocalDirectory) -> KeptRouting:
    """The stored facts; before the first use of queues, their tables do not exist."""
    table = directory.groups
    if table is None or not any(it.kind == JOURNAL.name for _, it in directory.entries()):
        return KeptRouting((), (), (), (), 1)
    return load(table.environment)


def _lanes(directory: LocalDirectory) -> Mapping[Lane, Entry]:
    return {
        lane: entry for name, entry in directory.entries()
        if entry.kind == LANE.name and (lane := parse_lane(name)) is not None
    }  # fmt: skip


def _state(notes: "SettlementNotes | None", lane: Lane) -> "LaneState":
    from logstore.broker.queues.state import LaneState

    state = None if notes is None else notes.state(lane.queue)
    return LaneState() if state is None else state.lanes.get(lane.priority, LaneState())


def _report(path: str, message: str, *, left: bool = False) -> Report:
    return Report(path, findings=(Finding(path, message, left=left),))


def _of_bindings(kept: KeptRouting, catalog: str) -> Iterator[Report]:
    sources = {it.id for it in kept.exchanges}
    there = sources | {it.id for it in kept.queues}
    for it in kept.bindings:
        if not kept.damaged and (it.source not in sources or it.destination not in there):
            yield _report(catalog, f"binding {it.id} is of an exchange or queue that is not there")


def _without_queue(
    directory: LocalDirectory, kept: KeptRouting, lanes: Mapping[Lane, Entry]
) -> Iterator[Report]:
    """The remains of queues that were deleted while a process crashed."""
    known = {it.id for it in kept.queues} | {it.id for it in kept.exchanges}
    for lane in lanes:
        if lane.queue not in known:
            path = os.path.join(directory.path, LANE.directory(str(lane), 0))
            yield _report(path, "is of a queue that was deleted", left=True)


def _of_queue(
    directory: LocalDirectory,
    notes: "SettlementNotes",
    queue: int,
    name: str,
    lanes: Mapping[Lane, Entry],
    journal: str,
) -> Iterator[Report]:
    try:
        state = notes.state(queue)
    except LogstoreError as error:
        yield _report(journal, str(error))
        return
    for priority, of_lane in _told(state).items():
        lane = Lane(queue, priority)
        path = os.path.join(directory.path, LANE.directory(str(lane), 0))
        if of_lane.cursor and lane not in lanes:
            yield _report(path, f"is missing: {name} has had messages there")
            continue
        try:
            safe = directory.log(str(lane), lanes[lane], 0).safe if of_lane.cursor else 0
        except UnknownPartition:  # deleted since
            continue
        except LogstoreError:
            continue  # who verifies the lane itself is told
        if of_lane.cursor > safe:
            yield _report(
                path,
                f"ends at offset {safe}, but messages up to {of_lane.cursor - 1} of {name} "
                f"were given out",
            )


def _told(state: "QueueState | None") -> "Mapping[int, LaneState]":
    return {} if state is None else state.lanes
