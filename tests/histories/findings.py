"""What a history shows that may not be: one function for each kind of finding. Pure.

The findings are those of Jepsen's workload for Kafka, with three of our own: ``torn`` (a part of a
transaction is there), ``repeated`` and ``unprocessed`` (a group's transactions have worked on a
record twice, or never). Streaming transactions interleave in their logs by design, so cycles of
writes are findings only of held transactions, all of whose effects have the journal's order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from tests.histories.components import components
from tests.histories.history import Commit, History, Operation, Outcome, Place, Send, Value

SHOWN = 5  # operations of a cycle, values of a list: a finding is one line


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Known:
    """A history by what is asked of it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.operations = history.operations
        self.writer: dict[Value, int] = {}  # the operation's index
        self.sent: dict[Value, Send] = {}
        self.at: dict[Place, dict[int, set[Value]]] = defaultdict(lambda: defaultdict(set))
        self.readers: dict[Value, list[int]] = defaultdict(list)  # who read committed records only
        self.seen: set[Value] = set()  # by such a one, or at the end
        self.highest: dict[Place, int] = defaultdict(lambda: -1)  # that was seen
        self.last = {place: {it for _, it in them} for place, them in history.last.items()}
        for index, operation in enumerate(self.operations):
            for send in operation.sends():
                assert send.value not in self.writer, f"{send.value!r} is sent twice"
                self.writer[send.value], self.sent[send.value] = index, send
                if send.offset is not None:
                    self.at[send.place][send.offset].add(send.value)
            for poll in operation.polls():
                self._read(poll.place, poll.read, operation.committed)
                if operation.committed:
                    for _, value in poll.read:
                        self.readers[value].append(index)
        for place, read in history.last.items():
            self._read(place, read, committed=True)

    def _read(self, place: Place, read: Iterable[tuple[int, Value]], committed: bool) -> None:
        for offset, value in read:
            self.at[place][offset].add(value)
            if committed:
                self.seen.add(value)
                self.highest[place] = max(self.highest[place], offset)

    def absent(self, send: Send) -> bool:
        """At the end, as far as that was looked at."""
        return send.place in self.last and send.value not in self.last[send.place]

    def takes_place(self, operation: Operation) -> bool | None:
        """None: nothing of it can be seen, or not everything was looked at."""
        if operation.outcome is not Outcome.INFO:
            return operation.outcome is Outcome.OK
        sends = operation.sends()
        if any(it.value in self.seen for it in sends):
            return True
        return False if sends and all(map(self.absent, sends)) else None


# -- values and offsets --------------------------------------------------------------------------


def lost_write(known: Known) -> Iterator[str]:
    """Acknowledged, and never read, though somebody has read beyond it."""
    for send in known.sent.values():
        beyond = send.offset is not None and send.offset < known.highest[send.place]
        if beyond and _acknowledged(known, send) and send.value not in known.seen:
            yield f"{send.value!r} at {_at(send.place, send.offset)} was acknowledged, never read"


def unseen(known: Known) -> Iterator[str]:
    """Acknowledged, or read, and not there at the end."""
    for send in known.sent.values():
        if known.absent(send):
            if send.value in known.seen:
                yield f"{send.value!r} in {_at(send.place)} was read, and is not there at the end"
            elif _acknowledged(known, send):
                yield f"{send.value!r} in {_at(send.place)} was acknowledged, and is not there"


def _acknowledged(known: Known, send: Send) -> bool:
    return known.operations[known.writer[send.value]].outcome is Outcome.OK


def duplicate(known: Known) -> Iterator[str]:
    places: dict[Value, set[str]] = defaultdict(set)
    for place, values in known.at.items():
        for offset, them in values.items():
            for value in them:
                places[value].add(_at(place, offset))
    for value, where in places.items():
        if len(where) > 1:
            yield f"{value!r} is at {', '.join(sorted(where))}"


def inconsistent_offsets(known: Known) -> Iterator[str]:
    for place, values in known.at.items():
        for offset, them in values.items():
            if len(them) > 1:
                yield f"{_at(place, offset)} has {_some(them)}"


def unwritten(known: Known) -> Iterator[str]:
    for place, values in known.at.items():
        for offset, them in values.items():
            for value in them - known.writer.keys():
                yield f"{value!r} at {_at(place, offset)} was never sent"


# -- what readers of committed records may see ---------------------------------------------------


def aborted_read(known: Known) -> Iterator[str]:
    for value, readers in known.readers.items():
        writer = _writer(known, value)
        if writer is not None and writer.outcome is Outcome.FAIL:
            who = known.operations[readers[0]].client
            yield f"{who} read {value!r} of {writer.client}, which was aborted"


def precommitted_read(known: Known) -> Iterator[str]:
    """What a transaction has written itself, or what nobody had asked to commit yet."""
    for value, readers in known.readers.items():
        writer = _writer(known, value)
        if writer is None or writer.asked is None:
            continue
        for reader in map(known.operations.__getitem__, readers):
            if reader is writer or reader.ended < writer.asked:
                yield f"{reader.client} read {value!r} before {writer.client} committed it"


def _writer(known: Known, value: Value) -> Operation | None:
    index = known.writer.get(value)
    return None if index is None else known.operations[index]


# -- the order in which a client sees and does things --------------------------------------------


def nonmonotonic_send(known: Known) -> Iterator[str]:
    for operation in known.operations:
        offsets = defaultdict(list)
        for send in operation.sends():
            if send.offset is not None:
                offsets[send.place].append(send.offset)
        for place, them in offsets.items():
            for one, other in _falling(them):
                yield f"{operation.client} sent to {_at(place)} at {one}, then at {other}"


def nonmonotonic_poll(known: Known) -> Iterator[str]:
    for client, place, them, _ in _reads(known):
        for one, other in _falling(them):
            yield f"{client} read {_at(place)} at {one}, then at {other}"


def _falling(offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    return ((one, other) for one, other in pairwise(offsets) if other <= one)


def poll_skip(known: Known) -> Iterator[str]:
    """One that reads on and on has left out what others have read."""
    shown = {
        place: sorted(it for it, values in at.items() if values & known.seen)
        for place, at in known.at.items()
    }
    every = {place: sorted(at) for place, at in known.at.items()}
    for client, place, them, operation in _reads(known):
        if operation.assigned and them:
            there = (shown if operation.committed else every)[place]
            left_out = {it for it in there if them[0] < it < max(them)} - set(them)
            if left_out:
                yield f"{client} read {_at(place)} on, and left out {_some(left_out)}"


def _reads(known: Known) -> Iterator[tuple[str, Place, list[int], Operation]]:
    """Client, log and offsets of each operation; of an assigned client of all of them."""
    reads: dict[tuple[str, Place, int], tuple[list[int], Operation]] = {}
    for index, operation in enumerate(known.operations):
        for poll in operation.polls():
            key = (operation.client, poll.place, -1 if operation.assigned else index)
            offsets, _ = reads.setdefault(key, ([], operation))
            offsets += [offset for offset, _ in poll.read]
    for (client, place, _), (offsets, operation) in reads.items():
        yield client, place, offsets, operation


# -- cycles --------------------------------------------------------------------------------------


def read_cycle(known: Known) -> Iterator[str]:
    yield from _cycles(known, _reads_from(known))


def write_cycle(known: Known) -> Iterator[str]:
    """Of held transactions."""
    yield from _cycles(known, _overwrites(known))


def mixed_cycle(known: Known) -> Iterator[str]:
    """Of held transactions."""
    edges = _overwrites(known)
    for writer, readers in _reads_from(known).items():
        edges[writer] |= readers
    yield from _cycles(known, edges)


def _reads_from(known: Known) -> dict[int, set[int]]:
    edges: dict[int, set[int]] = defaultdict(set)
    for value, readers in known.readers.items():
        writer = known.writer.get(value)
        if writer is not None:
            edges[writer] |= {it for it in readers if it != writer and _happened(known, it)}
    return edges


def _overwrites(known: Known) -> dict[int, set[int]]:
    """Who is followed by whom in some log."""
    edges: dict[int, set[int]] = defaultdict(set)
    for at in known.at.values():
        writers = [
            known.writer[it] for offset in sorted(at) for it in at[offset] & known.sent.keys()
        ]
        for one, other in pairwise(it for it in writers if _happened(known, it)):
            if one != other:
                edges[one].add(other)
    return edges


def _happened(known: Known, index: int) -> bool:
    return known.operations[index].outcome is not Outcome.FAIL


def _cycles(known: Known, edges: Mapping[int, set[int]]) -> Iterator[str]:
    for component in components(edges):
        if len(component) > 1:
            names = [f"{known.operations[it].client} ({it})" for it in sorted(component)]
            yield f"{len(names)} transactions: {', '.join(names[:SHOWN])}"


# -- whole or absent -----------------------------------------------------------------------------


def torn(known: Known) -> Iterator[str]:
    """Some of a transaction is there, and some is not."""
    for operation in known.operations:
        sends = operation.sends()
        there = {it.value for it in sends if it.value in known.seen}
        absent = {it.value for it in sends if known.absent(it)}
        if operation.asked is not None and there and absent:
            yield f"of {operation.client} {_some(there)} is there, and {_some(absent)} is not"
    for (group, place), offset in known.history.groups.items():
        yield from _group_torn(known, group, place, offset)


def _group_torn(known: Known, group: str, place: Place, offset: int) -> Iterator[str]:
    """Where a group stands is where some transaction that took place has moved it."""
    moved: dict[bool | None, set[int]] = defaultdict(set)
    for operation in known.operations:
        for it in operation.commits():
            if (it.group, it.place) == (group, place):
                moved[known.takes_place(operation)].add(it.offset)
    least = max(moved[True], default=0)
    if offset < least:
        yield f"{group} stands at {_at(place, offset)}, and outputs up to {least} are there"
    elif offset > least and offset not in moved[None]:
        yield f"{group} stands at {_at(place, offset)}, and outputs only up to {least} are there"


def repeated(known: Known) -> Iterator[str]:
    """A group has worked on a record in two transactions that took place."""
    for group, by_place in _worked(known).items():
        for place, offsets in by_place.items():
            for offset, times in offsets.items():
                if times > 1:
                    yield f"{group} has worked on {_at(place, offset)} {times} times"


def unprocessed(known: Known) -> Iterator[str]:
    """A group has passed a record that no transaction of it worked on."""
    worked = _worked(known)
    for (group, place), end in known.history.groups.items():
        if any(known.takes_place(it) is None for it in _of_group(known, group)):
            continue  # one of them may have
        for offset, values in known.at[place].items():
            if offset < end and values & known.seen and not worked[group][place][offset]:
                yield f"{group} stands at {_at(place, end)}, and has not worked on {offset}"


def _worked(known: Known) -> dict[str, dict[Place, dict[int, int]]]:
    """Of each group how often it has worked on an offset."""
    times: dict[str, dict[Place, dict[int, int]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(int))
    )
    for operation in known.operations:
        commits = operation.commits()
        if commits and known.takes_place(operation):
            for poll in operation.polls():
                for offset, _ in poll.read:
                    times[commits[0].group][poll.place][offset] += 1
    return times


def _of_group(known: Known, group: str) -> Iterator[Operation]:
    return (
        it for it in known.operations
        if any(isinstance(step, Commit) and step.group == group for step in it.steps)
    )  # fmt: skip


# -- all of them ---------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[Known], Iterator[str]]] = {
    "lost-write": lost_write,
    "unseen": unseen,
    "duplicate": duplicate,
    "inconsistent-offsets": inconsistent_offsets,
    "unwritten": unwritten,
    "G1a": aborted_read,
    "precommitted-read": precommitted_read,
    "nonmonotonic-send": nonmonotonic_send,
    "nonmonotonic-poll": nonmonotonic_poll,
    "poll-skip": poll_skip,
    "wr-cycle": read_cycle,
    "torn": torn,
    "repeated": repeated,
    "unprocessed": unprocessed,
}
HELD = {"G0": write_cycle, "G1c": mixed_cycle}  # of held transactions besides


def findings(history: History, *, held: bool = False) -> list[Finding]:
    known = Known(history)
    checks = CHECKS | HELD if held else CHECKS
    return [Finding(kind, text) for kind, check in checks.items() for text in check(known)]


def _at(place: Place, offset: int | None = None) -> str:
    topic, partition = place
    return f"{topic}-{partition}" + ("" if offset is None else f"@{offset}")


def _some(values: Iterable[object]) -> str:
    several = sorted(values, key=repr)
    more = f" and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
    return ", ".join(map(repr, several[:SHOWN])) + more
