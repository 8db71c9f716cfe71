"""Publisher confirms of one channel: published messages in order, and what may be confirmed.

A run of messages is confirmed when everything that it waits for is safe, and never before an
earlier run. One Ack covers as many messages as possible, but none that is not safe or was refused.
"""

from collections import deque
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from logstore.amqp.frames import METHOD
from logstore.broker.queues.pending import Waiting
from logstore.counts.publishes import AmqpCounts
from logstore.log import Wake

_FRAME: Final = Struct(">BHIHHQBB")  # head, class and method, tag, bits, end
_SIZE: Final = 13
_ACK, _NACK = 80, 120
_END: Final = 0xCE


class _Run(NamedTuple):
    first: int
    last: int
    refused: Sequence[int]  # tags, ascending
    waiting: Waiting


class Confirms:
    """The confirms of one channel. Sequence numbers begin at 1 with Confirm.Select."""

    __slots__ = ("_counts", "_frames", "_next", "_number", "_runs", "_said")

    def __init__(self, number: int, counts: AmqpCounts) -> None:
        """``number``: the channel's."""
        self._number = number
        self._counts = counts
        self._next = 1
        self._said = 0  # all up to this are confirmed or refused
        self._runs: deque[_Run] = deque()
        self._frames: list[bytes] = []

    def __len__(self) -> int:
        """The number of unconfirmed runs."""
        return len(self._runs)

    @property
    def unconfirmed(self) -> int:
        """The number of unconfirmed messages."""
        return self._next - 1 - self._said

    def add(self, count: int, refused: Sequence[int], waiting: Waiting, wake: Wake) -> None:
        """Add the next ``count`` messages; ``refused``: numbers within them."""
        first = self._next
        self._next += count
        self._runs.append(_Run(first, self._next - 1, [first + it for it in refused], waiting))
        if not waiting.settled():
            waiting.watch(wake)

    def take(self) -> bytes:
        """The frames that can be sent now."""
        acked = self._said
        while self._runs and self._runs[0].waiting.settled():
            run = self._runs.popleft()
            if run.waiting.failed is not None:
                self._say(_ACK, acked)
                self._say(_NACK, run.last)
                acked = run.last
                continue
            for tag in run.refused:
                self._say(_ACK, tag - 1)
                self._say(_NACK, tag)
            acked = run.last
        self._say(_ACK, acked)
        frames, self._frames = self._frames, []
        return b"".join(frames)

    def _say(self, method: int, upto: int) -> None:
        """Confirm or refuse all messages after the last reported one, up to this one."""
        if upto > self._said:
            count = upto - self._said
            if method == _ACK:
                self._counts.confirmed += count
            self._frames.append(
                _FRAME.pack(METHOD, self._number, _SIZE, 60, method, upto, count > 1, _END)
            )
            self._said = upto

    def close(self) -> None:
        """Stop waiting; no confirm is sent."""
        for run in self._runs:
            run.waiting.close()
        self._runs.clear()
