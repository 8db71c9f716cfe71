"""Published messages of a connection, on their way to the queues.

All messages of one read are given to the queues together. They are held back while publishers must
wait, or while a queue that may refuse messages is being opened.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from logstore.broker.queues.looking import Looking
from logstore.broker.queues.settling import Outgoing, bytes_of
from logstore.broker.queues.vhost import Vhost
from logstore.counts.doors import DoorCounts
from logstore.counts.publishes import AmqpCounts
from logstore.errors import LogstoreError
from logstore.protocols.stomp.receipts import Receipts, Run

KEPT_BACK_BYTES_MAX: Final = 1 << 20  # then nothing more is taken

Check = Callable[[Sequence[Outgoing]], None]  # whether these may be published still; raises if not


class Outbox:
    """The published messages of one connection."""

    __slots__ = (
        "_check", "_counts", "_fail", "_ids", "_kept_back", "_later", "_receipts", "_traffic",
        "blocked", "gone", "kept_back_bytes", "publishes", "run", "vhost",
    )  # fmt: skip

    def __init__(
        self,
        counts: AmqpCounts,
        traffic: DoorCounts,
        receipts: Receipts,
        check: Check,
        fail: Callable[[LogstoreError], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self.vhost: Vhost  # once it is open
        self.blocked = ""  # why nothing may be published now
        self.gone = False  # the connection has ended: no receipts are sent
        self.run: list[Outgoing] = []  # not given to the queues yet
        self.kept_back_bytes = 0
        self.publishes = False  # it has published
        self._ids: list[tuple[int, str]] = []  # of receipts, with the numbers of their messages
        self._counts, self._traffic, self._receipts = counts, traffic, receipts
        self._check, self._fail, self._later = check, fail, later
        self._kept_back: list[tuple[Callable[[], None], int]] = []

    @property
    def full(self) -> bool:
        return self.kept_back_bytes > KEPT_BACK_BYTES_MAX

    @property
    def keeps_back(self) -> bool:
        """Whether published messages wait until they may go to the queues."""
        return bool(self._kept_back)

    def add(self, outgoing: Outgoing, receipt: str | None) -> None:
        """Add a message."""
        if receipt is not None:
            self._ids.append((len(self.run), receipt))
        self.run.append(outgoing)

    def flush(self) -> None:
        """Give the messages added since the last call to the queues."""
        if self.run:
            run, self.run = self.run, []
            ids, self._ids = self._ids, []
            self._offer(run, self._receipts.run(ids))

    def _offer(self, run: Sequence[Outgoing], receipts: Run, *, looked: bool = False) -> None:
        """Give a run to the queues, after delayed ones. ``looked``: changes of other nodes were
        read.
        """
        queue = self.vhost.to_be_counted(run)
        if self.gone:
            self.vhost.publish(run)
        elif queue is not None or self.blocked or self._kept_back:
            later = partial(self._offer_later, run, receipts, looked=looked)
            self.keep_back(later, bytes_of(run))
            if queue is not None:
                queue.when_open(self.unblock_soon)
        elif not looked and (read_on := self.vhost.read_on) and not all(to for to, _ in run):
            Looking(self, run, self.vhost.route, partial(self._looked, receipts)).begin(read_on)
        else:
            self._hand_over(run, receipts)

    def _offer_later(self, run: Sequence[Outgoing], receipts: Run, *, looked: bool) -> None:
        """Offer delayed messages, whose rights are checked again."""
        try:
            self._check(run)
        except LogstoreError as error:
            self._fail(error)
        else:
            self._offer(run, receipts, looked=looked)

    def _looked(self, receipts: Run, run: Sequence[Outgoing], error: LogstoreError | None) -> None:
        """As Looking.then: this node has read what other nodes have made."""
        if error is not None:
            self._fail(error)
        else:
            self._offer_later(run, receipts, looked=True)

    def _hand_over(self, run: Sequence[Outgoing], receipts: Run) -> None:
        published = self.vhost.publish(run)
        self.counted(run, len(published.unrouted), len(receipts.ids))
        self._receipts.published(receipts, published.waiting, published.rejected)

    def counted(self, run: Sequence[Outgoing], unrouted: int, receipts: int = 0) -> None:
        """Count published messages."""
        counts = self._counts
        if not self.publishes and run:
            self.publishes = True
            counts.publishers += 1
        counts.received += len(run)
        self._traffic.messages_in += len(run)
        counts.routed += len(run) - unrouted
        counts.dropped += unrouted
        counts.received_confirm += receipts

    # What has to wait

    def keep_back(self, call: Callable[[], None], size: int) -> None:
        """Delay ``call`` until publishing is allowed. ``size``: the waiting bytes."""
        self._kept_back.append((call, size))
        self.kept_back_bytes += size

    def unblock(self) -> None:
        """Run delayed calls if publishing is allowed again."""
        if self.blocked:
            return
        kept_back, self._kept_back, self.kept_back_bytes = self._kept_back, [], 0
        for call, _ in kept_back:
            call()

    def unblock_soon(self) -> None:
        """Call ``unblock`` at the end of the turn."""
        self._later(self.unblock)

    def close(self) -> None:
        """Publish what may be published; no receipts are sent."""
        self.gone = True
        self.unblock()
        self._kept_back.clear()
        self.kept_back_bytes = 0
        if self.publishes:
            self.publishes = False
            self._counts.publishers -= 1
