"""Channels without a history, between nodes: a message published at one reaches subscribers at all.

The messages of a turn are appended, a batch for each log, and each node delivers the other nodes'
messages as if they were published at it. Publishers do not wait for this, and do not learn the
number of receivers at other nodes: delivery is at most once, as always with channels. The messages
of one channel are in one log, so the messages of one node arrive in their order.

By the same logs a node announces new objects, which other nodes would find only after a while
(``announce``).
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final
from zlib import crc32

from logstore.broker.channel import Channels
from logstore.broker.history import EVENTS
from logstore.broker.unsafe import Unsafe
from logstore.errors import CorruptBatch, LogstoreError
from logstore.log import NOT_KNOWN, Log
from logstore.records.decode import decode
from logstore.records.encode import Stamped, encode
from logstore.records.record import Headers, Record

READ_BYTES: Final = 1 << 20  # of all logs, handed out in one turn, beside the last batch
BATCH_BYTES: Final = 512 << 10  # beside a batch's last message
RECORD_BYTES: Final = 100  # of a record, beside channel and payload: mostly the node's name
MESSAGE_BYTES_MAX: Final = 8 << 20  # a larger one stays at its node
NAME_BYTES: Final = 256 << 10  # of its channel's name, which there is room for beside that
OWN_MAX: Final = 1000  # batches of a log that are remembered
FROM: Final = "from"  # the header that names the node
APART: Final = "apart"  # that of a channel apart (``Channels``)
MADE: Final = "made"  # marks an announcement: it is no message

log: Final = logging.getLogger("logstore.channels")


class FanOut:
    """The messages between one node and the others. In the sessions' thread, except ``publish``."""

    def __init__(
        self,
        logs: Sequence[Log],
        channels: Channels,
        node: bytes,
        soon: Callable[[Callable[[], object]], object],
        clock: Callable[[], int],
        made: Callable[[bytes], object] = lambda name: None,
        reopen: Callable[[int, Callable[[Log], object]], object] = lambda number, then: None,
    ) -> None:
        """``node``: a unique name. ``soon``: schedules a call at the end of a turn, from any
        thread.

        ``made``: called with names that another node has announced. ``reopen``: opens another log,
        as soon as possible, in place of one that has failed.
        """
        self.lost = 0  # messages that the logs, or this node's channels, did not take
        self._logs = list(logs)
        self._channels = channels
        self._node = node
        self._soon = soon
        self._clock = clock
        self._headers: dict[bool, Headers] = {
            False: ((FROM, node),), True: ((FROM, node), (APART, None)),
        }  # fmt: skip
        self._made = made
        self._reopen = reopen
        self._reopening: set[int] = set()
        self._closed = False
        self._out: dict[int, list[Stamped]] = {}
        self._next = [it.safe for it in logs]
        self._first = 0  # the log that has its turn next
        self._own: list[deque[int]] = [deque(maxlen=OWN_MAX) for _ in logs]  # marks of batches
        self._telling = False  # since something was lost
        self._refused = b""  # the channel of which that was told last
        self._stops = [it.watch(self._news) for it in logs]
        channels.abroad = self.publish
        channels.abroad_apart = partial(self.publish, apart=True)

    def close(self) -> None:
        """Stop sending to other nodes, and receiving from them."""
        self._closed = True
        self._channels.abroad = self._channels.abroad_apart = None
        for stop in self._stops:
            stop()

    # Out

    def publish(self, channel: bytes, payloads: Sequence[bytes], *, apart: bool = False) -> None:
        """As Channels.abroad. From any thread, with the channels' lock."""
        if channel.startswith(EVENTS):
            return
        if not apart and channel.isascii() and self._channels.keeps_history(channel.decode()):
            return  # its topic carries those
        now_ms, headers = self._clock(), self._headers[apart]
        most = MESSAGE_BYTES_MAX - max(0, len(channel) - NAME_BYTES)
        out = self._out.setdefault(self._number(channel), [])
        out += [(it, channel, headers, now_ms) for it in payloads if len(it) <= most]
        self._soon(self.end_turn)

    def _number(self, name: bytes) -> int:
        """Return the number of the log for messages and announcements of this name."""
        return crc32(name) % len(self._logs)

    def announce(self, name: bytes) -> None:
        """Announce at the end of the turn that this node has created the named object."""
        with self._channels.lock:
            self._out.setdefault(self._number(name), []).append(self._announcement(name))
        self._soon(self.end_turn)

    def _announcement(self, name: bytes) -> Stamped:
        return None, name, ((FROM, self._node), (MADE, None)), self._clock()

    def announce_now(self, name: bytes, then: Callable[[LogstoreError | None], object]) -> None:
        """Announce the name at once; ``then`` is called when others can read it, or
        with the error.
        """
        its = self._logs[self._number(name)]
        told: list[bool] = []
        try:
            mark = its.append(encode([self._announcement(name)]))
        except LogstoreError as error:
            then(error)
            return

        def look() -> None:
            if its.done > mark and not told:
                told.append(True)
                stop()
                then(None)

        def news() -> None:
            self._soon(look)

        stop = its.watch(news)
        look()

    def end_turn(self) -> None:
        """Append the messages that were published in this turn."""
        with self._channels.lock:
            out, self._out = self._out, {}
        for number, messages in out.items():
            for some in _batches(messages):
                try:
                    mark = self._logs[number].append(encode(some))
                except LogstoreError as error:
                    self._lose(len(some), error)
                else:
                    self._telling = False
                    self._own[number].append(mark)

    def _lose(self, count: int, error: LogstoreError) -> None:
        self.lost += count
        if not self._telling:
            self._telling = True
            log.warning("messages of channels do not reach other nodes: %s", error)

    # Its logs

    def _check(self, number: int) -> bool:
        """Return whether a log is intact; if not, another one is opened."""
        try:
            self._logs[number].check_failure()
        except LogstoreError as error:
            if number not in self._reopening:
                log.warning("messages of channels between nodes may be lost: %s", error)
                self._reopening.add(number)
                self._reopen(number, partial(self._reopened, number))
            return False
        return True

    def _reopened(self, number: int, its: Log) -> None:
        self._reopening.discard(number)
        if self._closed:
            return
        self._stops[number]()
        self._logs[number], self._next[number] = its, its.safe
        self._own[number].clear()
        self._stops[number] = its.watch(self._news)
        self._news()

    # In

    def _news(self) -> None:
        """Schedule ``_look``. Called from any thread."""
        self._soon(self._look)

    def _look(self) -> None:
        """Read the logs: one of them has news."""
        unsafe, left, first = Unsafe(), READ_BYTES, self._first
        with self._channels.lock:
            for number in (*range(first, len(self._logs)), *range(first)):
                if left <= 0:
                    self._first = number
                    break
                left -= self._pull(number, left, unsafe)
            self._channels.settle()
        if left < READ_BYTES:
            self._soon(self._look)

    def _pull(self, number: int, bytes_max: int, unsafe: Unsafe) -> int:
        """Read this log; return how many bytes; 0: there is no more now."""
        its = self._logs[number]
        if not self._check(number):
            return 0
        at = max(self._next[number], its.start)
        if at >= its.safe:
            return 0
        try:
            batches = its.read(at, bytes_max)
        except LogstoreError as error:
            log.warning("messages of channels at other nodes are lost: %s", error)
            self._next[number] = its.safe
            return 0
        for batch in batches:
            self._next[number] = batch.next_offset
            if self._is_own(number, its, batch.base_offset):
                continue
            try:
                self._hand_out([it for it in decode(batch) if it.offset >= at], unsafe)
            except CorruptBatch as error:
                log.warning("messages of channels at other nodes are lost: %s", error)
        return sum(it.size for it in batches)

    def _is_own(self, number: int, its: Log, offset: int) -> bool:
        """Return whether this node is known to have appended the batch there, so it need not be
        decoded.
        """
        own = self._own[number]
        while own:
            stands = its.offset_of(own[0]) if its.done > own[0] else NOT_KNOWN
            if stands == NOT_KNOWN or stands > offset:
                return False
            own.popleft()
            if stands == offset:
                return True
        return False

    def _hand_out(self, records: Sequence[Record], unsafe: Unsafe) -> None:
        for (channel, headers), those in groupby(records, lambda it: (it.key, it.headers)):
            if channel is None or dict(headers).get(FROM) == self._node:
                continue
            kinds = {name for name, _ in headers}
            payloads = [it.value or b"" for it in those]
            if MADE in kinds:
                self._soon(partial(self._made, channel))
            elif APART in kinds:
                self._channels.hand_out_apart(channel, payloads)
            else:
                self._put(channel, payloads, unsafe)

    def _put(self, channel: bytes, payloads: Sequence[bytes], unsafe: Unsafe) -> None:
        try:
            self._channels.put(self._channels.route(channel), payloads, unsafe)
        except LogstoreError as error:  # it keeps a history here, and not at the other node
            self.lost += len(payloads)
            if channel != self._refused:
                self._refused = channel
                log.warning("messages of channel %r at another node are lost: %s", channel, error)


def _batches(messages: Sequence[Stamped]) -> Sequence[Sequence[Stamped]]:
    """Yield as many messages at a time as a batch holds."""
    found: list[list[Stamped]] = []
    size = BATCH_BYTES
    for it in messages:
        if size >= BATCH_BYTES:
            found.append([])
            size = 0
        found[-1].append(it)
        size += len(it[0] or b"") + len(it[1] or b"") + RECORD_BYTES
    return found
