"""Messages that are being handed over exactly once, between one client and the server, as the
journal has them: MQTT's QoS 2 (4.3.3).

A record of the journal with the key ``M`` and a session's number says what has become of packet
identifiers. Its value is operations, each a letter and what it is about::

    I first count                   came: their messages are kept, in this batch
    J first count                   released (PUBREL): they may be used again
    O first count queue lane offset  are about to be sent: offsets in a row of one lane
    P first count                   the client has them (PUBREC)
    E first count                   over (PUBCOMP), and settled
    X                               the session is gone; nothing follows

Each says what is from then on: replay may begin too early. The state as bytes is the operations
that make it. Numbers are as in ``broker/packed.py``. Pure.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from logstore.broker.packed import NUMBER_MAX, Packed, packed
from logstore.broker.queues.state import LANE_MAX
from logstore.errors import SchemaTooNew

CAME, RELEASED, SENT, RECEIVED, OVER, GONE = b"I", b"J", b"O", b"P", b"E", b"X"
PID_MAX: Final = 0xFFFF


class Sent(NamedTuple):
    """A message that the client is to have."""

    queue: int
    lane: int
    offset: int
    received: bool  # the client has it: what is left is to say so (PUBREL)


class HandOvers:
    """Of one session."""

    __slots__ = ("came", "sent")

    def __init__(self) -> None:
        self.came: set[int] = set()  # packet identifiers of the client's messages
        self.sent: dict[int, Sent] = {}  # by ours, as they were sent

    def __bool__(self) -> bool:
        return bool(self.came or self.sent)

    def copy(self) -> "HandOvers":
        """Its own."""
        new = HandOvers()
        new.came = self.came.copy()
        new.sent = self.sent.copy()
        return new

    def apply(self, value: bytes, what: str) -> bool:
        """Do what the operations say; whether the session is still there.

        Raises SchemaTooNew for an operation that is not known, CorruptStore for what is none of
        ours, with ``what`` it is; the state is of no use then.
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
            for n, pid in enumerate(pids):
                self.sent.pop(pid, None)
                self.sent[pid] = Sent(queue, lane, offset + n, received=False)
        elif letter == RECEIVED:
            for pid in pids:
                if (known := self.sent.get(pid)) is not None:
                    self.sent[pid] = known._replace(received=True)
        else:
            for pid in pids:
                self.sent.pop(pid, None)

    def encode(self) -> bytes:
        """The operations that make it."""
        told = told_of(CAME, sorted(self.came))
        told += sent((pid, it.queue, it.lane, it.offset) for pid, it in self.sent.items())
        return told + told_of(RECEIVED, sorted(p for p, it in self.sent.items() if it.received))


_KNOWN: Final = frozenset({CAME, RELEASED, SENT, RECEIVED, OVER})


def told_of(letter: bytes, pids: Iterable[int]) -> bytes:
    """The operations about these packet identifiers, which are none that are sent."""
    return b"".join(
        letter + packed(first) + packed(count) for first, count in _in_a_row(pids)
    )  # fmt: skip


def sent(messages: Iterable[tuple[int, int, int, int]]) -> bytes:
    """The operations about messages that are: packet identifier, queue, lane, offset of each."""
    out: list[bytes] = []
    first, queue, lane, offset, count = 0, 0, 0, 0, 0
    for pid, its_queue, its_lane, its_offset in messages:
        if (pid, its_queue, its_lane, its_offset) == (first + count, queue, lane, offset + count):
            count += 1
            continue
        if count:
            out += (SENT, packed(first), packed(count), packed(queue), _byte(lane), packed(offset))
        first, queue, lane, offset, count = pid, its_queue, its_lane, its_offset, 1
    if count:
        out += (SENT, packed(first), packed(count), packed(queue), _byte(lane), packed(offset))
    return b"".join(out)


def _byte(lane: int) -> bytes:
    assert 0 <= lane <= LANE_MAX
    return bytes((lane,))


def _in_a_row(pids: Iterable[int]) -> Iterator[tuple[int, int]]:
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
