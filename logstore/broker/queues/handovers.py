"""The journal's state of messages that are handed over exactly once: MQTT's QoS 2 (4.3.3).

A journal record with the key ``M`` and a session's number has the states of packet identifiers. Its
value is a sequence of operations, each a letter and its fields::

    I first count                   arrived: their messages are stored, in this batch
    J first count                   released (PUBREL): the identifiers are free again
    O first count queue lane offset  about to be sent: consecutive offsets of one lane
    P first count                   received by the client (PUBREC)
    E first count                   complete (PUBCOMP), and settled
    X                               the session was deleted; nothing follows

Each operation states what holds from then on, so a replay may begin too early. The state as bytes
is the sequence of operations that leads to it. Numbers are as in ``broker/packed.py``. Pure.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple

from logstore.broker.packed import NUMBER_MAX, Packed, packed
from logstore.broker.queues.state import LANE_MAX
from logstore.errors import SchemaTooNew

CAME, RELEASED, SENT, RECEIVED, OVER, GONE = b"I", b"J", b"O", b"P", b"E", b"X"
PID_MAX: Final = 0xFFFF


class Sent(NamedTuple):
    """A message that the client must receive."""

    queue: int
    lane: int
    offset: int
    received: bool  # the client has it: only PUBREL remains


class HandOvers:
    """The exchanges of one session. An operation costs a fraction of a microsecond for each
    identifier: they come by the hundred, so no object is created for each.
    """

    __slots__ = ("_places", "_received", "came")

    def __init__(self) -> None:
        self.came: set[int] = set()  # packet identifiers of the client's messages
        # Queue, lane and offset by ours, as they were sent.
        self._places: dict[int, tuple[int, int, int]] = {}
        self._received: set[int] = set()  # of these: those that the client has

    def __bool__(self) -> bool:
        return bool(self.came or self._places)

    @property
    def sent(self) -> Mapping[int, Sent]:
        """The sent messages by packet identifier, in order of sending. A new mapping."""
        received = self._received
        return {
            pid: Sent(*place, received=pid in received) for pid, place in self._places.items()
        }  # fmt: skip

    def copy(self) -> "HandOvers":
        """Return an independent copy."""
        new = HandOvers()
        new.came = self.came.copy()
        new._places = self._places.copy()
        new._received = self._received.copy()
        return new

    def apply(self, value: bytes, what: str) -> bool:
        """Apply the operations; return whether the session still exists.

        Raises SchemaTooNew for an unknown operation, CorruptStore with ``what`` for illegal bytes;
        the object must not be used after that.
        """
        data = Packed(value, what)
        while data:
            letter = bytes((data.byte(),))
            if letter == GONE:
                if data:
                    raise data.damaged("goes on behind the end of its session")
                return False
            if letter not in _KNOWN:
                raise SchemaTooNew(
                    f"{what} has an operation {letter!r}, which this logstore does not know: open "
                    f"the store with the one that wrote it"
                )
            first, count = data.number(), data.number()
            if not 0 < first <= first + count - 1 <= PID_MAX:
                raise data.damaged(f"is about {count} packet identifiers from {first} on")
            self._apply(letter, range(first, first + count), data)
        return True

    def _apply(self, letter: bytes, pids: range, data: Packed) -> None:
        if letter == CAME:
            self.came.update(pids)
        elif letter == RELEASED:
            self.came.difference_update(pids)
        elif letter == SENT:
            queue, lane, offset = data.number(), data.byte(), data.number()
            if offset > NUMBER_MAX - len(pids):
                raise data.damaged(f"is about offsets from {offset} on")
            if not self._places.keys().isdisjoint(pids):
                self._forget(pids)
            offsets = range(offset, offset + len(pids))
            self._places.update(zip(pids, zip(repeat(queue), repeat(lane), offsets), strict=False))
        elif letter == RECEIVED:
            self._received.update(filter(self._places.__contains__, pids))
        else:
            self._forget(pids)

    def _forget(self, pids: range) -> None:
        deque(map(self._places.pop, pids, repeat(None)), 0)
        self._received.difference_update(pids)

    def encode(self) -> bytes:
        """Return the operations that produce this state."""
        told = told_of(CAME, sorted(self.came))
        told += sent((pid, *place) for pid, place in self._places.items())
        return told + told_of(RECEIVED, sorted(self._received))


_KNOWN: Final = frozenset({CAME, RELEASED, SENT, RECEIVED, OVER})


def told_of(letter: bytes, pids: Iterable[int]) -> bytes:
    """Return the operations about these packet identifiers, other than SENT."""
    return b"".join(
        letter + packed(first) + packed(count) for first, count in _in_a_row(pids)
    )  # fmt: skip


def sent(messages: Iterable[tuple[int, int, int, int]]) -> bytes:
    """Return the SENT operations: packet identifier, queue, lane and offset of each message."""
    out: list[bytes] = []
    first, queue, lane, offset, count = 0, 0, 0, 0, 0
    for pid, its_queue, its_lane, its_offset in messages:
        if (pid, its_queue, its_lane, its_offset) == (first + count, queue, lane, offset + count):
            count += 1
            continue
        if count:
            out.append(sent_in_a_row(first, count, queue, lane, offset))
        first, queue, lane, offset, count = pid, its_queue, its_lane, its_offset, 1
    if count:
        out.append(sent_in_a_row(first, count, queue, lane, offset))
    return b"".join(out)


def sent_in_a_row(first: int, count: int, queue: int, lane: int, offset: int) -> bytes:
    """Return the SENT operation for consecutive packet identifiers and offsets of one lane."""
    return b"".join(
        (SENT, packed(first), packed(count), packed(queue), _byte(lane), packed(offset))
    )


def _byte(lane: int) -> bytes:
    assert 0 <= lane <= LANE_MAX
    return bytes((lane,))


def follow(numbers: Sequence[int]) -> bool:
    """Whether the numbers are consecutive; False if there are none.

    This takes a tenth of the time of a loop.
    """
    return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _in_a_row(pids: Iterable[int]) -> Iterator[tuple[int, int]]:
    pids = list(pids)
    if follow(pids):  # as nearly always
        yield pids[0], len(pids)
        return
    first, count = 0, 0
    for pid in pids:
        if pid == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = pid, 1
    if count:
        yield first, count
