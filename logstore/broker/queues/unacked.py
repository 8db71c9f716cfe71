"""Unsettled deliveries of a channel: delivery tags, and the messages that they stand for.

Tags count from 1 within a channel, so a *page* has 1,024 of them as the bits of one number, and the
runs of offsets that were delivered under them. There is no object for each message; settling one
costs a bit and a bisection among the runs of its page.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from logstore.broker.queues.bits import spread

PAGE_SHIFT: Final = 10
PAGE_TAGS: Final = 1 << PAGE_SHIFT  # more make each change of a page's bits dearer, fewer the list
# Of single deliveries that are joined to a run: the offsets of a group are bits of one number,
# which distant offsets would make long.
STRIDE_MAX: Final = 64

Queue = TypeVar("Queue")
Consumer = TypeVar("Consumer")


class Delivered(NamedTuple, Generic[Queue, Consumer]):
    """Messages of one lane: the offsets ``first + n``, for each bit n of ``bits``."""

    queue: Queue
    lane: int
    first: int
    bits: int
    consumer: Consumer  # that had them

    @property
    def size(self) -> int:
        """The number of messages."""
        return self.bits.bit_count()


class _Run(NamedTuple, Generic[Queue, Consumer]):
    """Consecutive tags whose offsets are ``stride`` apart. Lies within one page."""

    tag: int
    length: int
    queue: Queue
    lane: int
    first: int
    stride: int
    consumer: Consumer

    def mask(self, base: int) -> int:
        """Return the tags of the run as bits of a page that begins at ``base``."""
        begin = self.tag - base
        return (1 << begin + self.length) - (1 << begin)


class _Page(Generic[Queue, Consumer]):
    __slots__ = ("bits", "done", "runs", "tags")

    def __init__(self) -> None:
        self.bits = 0  # the tags that are not settled
        self.tags: list[int] = []  # the first of each run
        self.runs: list[_Run[Queue, Consumer]] = []
        self.done = 0  # runs of which nothing is left


class Unacked(Generic[Queue, Consumer]):
    """The unsettled deliveries of one channel. Queues and consumers may be any objects."""

    __slots__ = ("_low", "_next", "_of", "_pages", "_total")

    def __init__(self) -> None:
        self._pages: dict[int, _Page[Queue, Consumer]] = {}
        self._low = 0  # no page below has anything
        self._next = 1
        self._total = 0
        self._of: dict[Consumer, int] = {}

    def __len__(self) -> int:
        return self._total

    def __contains__(self, tag: int) -> bool:
        page = self._pages.get(tag >> PAGE_SHIFT)
        return page is not None and tag > 0 and bool(page.bits >> (tag & PAGE_TAGS - 1) & 1)

    @property
    def next_tag(self) -> int:
        """The tag of the next delivery."""
        return self._next

    def of(self, consumer: Consumer) -> int:
        """The number of this consumer's deliveries, which its prefetch count limits."""
        return self._of.get(consumer, 0)

    def oldest(self, consumer: Consumer) -> int | None:
        """The lowest tag of this consumer. Traverses the pages below it."""
        if not self.of(consumer):
            return None
        for number in sorted(self._pages):
            page, base = self._pages[number], number << PAGE_SHIFT
            for run in page.runs:
                if run.consumer == consumer and (left := page.bits & run.mask(base)):
                    return base + (left & -left).bit_length() - 1
        return None

    # Delivering

    def pass_over(self, count: int) -> int:
        """The first of ``count`` tags for deliveries that need no settlement."""
        tag, self._next = self._next, self._next + count
        return tag

    def add(
        self, queue: Queue, lane: int, first: int, count: int, consumer: Consumer, stride: int = 1
    ) -> int:
        """Deliver this many offsets ``first``, ``first + stride``, ...; returns the first tag."""
        begin = self.pass_over(count)
        tag, end = begin, begin + count
        while tag < end:
            upto = min(end, (tag | PAGE_TAGS - 1) + 1)
            offset = first + (tag - begin) * stride
            self._put(_Run(tag, upto - tag, queue, lane, offset, stride, consumer))
            tag = upto
        if count:
            self._total += count
            self._of[consumer] = self._of.get(consumer, 0) + count
        return begin

    def _put(self, run: _Run[Queue, Consumer]) -> None:
        number = run.tag >> PAGE_SHIFT
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = _Page()
        page.bits |= run.mask(number << PAGE_SHIFT)
        last = page.runs[-1] if page.runs else None
        if last is not None and (longer := _joined(last, run)) is not None:
            if not _left(page, last, number):  # it was counted as done
                page.done -= 1
            page.runs[-1] = longer
            return
        page.tags.append(run.tag)
        page.runs.append(run)

    # Settling

    def find(self, tag: int) -> Delivered[Queue, Consumer] | None:
        """Return one delivery, which stays; None if the tag is not unacked."""
        if tag not in self:
            return None
        page = self._pages[tag >> PAGE_SHIFT]
        run = page.runs[bisect_right(page.tags, tag) - 1]
        offset = run.first + (tag - run.tag) * run.stride
        return Delivered(run.queue, run.lane, offset, 1, run.consumer)

    def places(self, first: int, last: int) -> list[tuple[Queue, int, int, int]] | None:
        """Return the places of these deliveries, which stay, in order.

        Each is a queue, a lane, the first offset, and the number of offsets. None: a delivery is
        not unacked, or its offsets are not consecutive.
        """
        found: list[tuple[Queue, int, int, int]] = []
        tag = first
        while tag <= last:
            number = tag >> PAGE_SHIFT
            page = self._pages.get(number)
            if page is None:
                return None
            run = page.runs[bisect_right(page.tags, tag) - 1]
            end = min(last + 1, run.tag + run.length)
            count, skipped = end - tag, tag - run.tag
            if count <= 0 or (count > 1 and run.stride > 1):
                return None
            mask = (1 << count) - 1 << (tag & PAGE_TAGS - 1)
            if page.bits & mask != mask:
                return None
            found.append((run.queue, run.lane, run.first + skipped * run.stride, count))
            tag = end
        return found

    def ack(self, tag: int) -> Delivered[Queue, Consumer] | None:
        """Remove one delivery; None if the tag is not unacked."""
        if tag not in self:
            return None
        number = tag >> PAGE_SHIFT
        page = self._pages[number]
        page.bits ^= 1 << (tag & PAGE_TAGS - 1)
        run = page.runs[bisect_right(page.tags, tag) - 1]
        self._taken(run.consumer, 1)
        page.done += not _left(page, run, number)
        self._tidy(number, page)
        offset = run.first + (tag - run.tag) * run.stride
        return Delivered(run.queue, run.lane, offset, 1, run.consumer)

    def ack_range(self, first: int, last: int) -> list[Delivered[Queue, Consumer]] | None:
        """Remove these deliveries, in order; None, without any change, if one is not unacked."""
        found: list[Delivered[Queue, Consumer]] = []
        numbers = range(first >> PAGE_SHIFT, (last >> PAGE_SHIFT) + 1)
        masks = []
        for number in numbers:
            base = number << PAGE_SHIFT
            begin, end = max(first, base) - base, min(last, base | PAGE_TAGS - 1) - base + 1
            masks.append((1 << end) - (1 << begin))
        for number, mask in zip(numbers, masks, strict=True):
            page = self._pages.get(number)
            if page is None or page.bits & mask != mask:
                return None
        for number, mask in zip(numbers, masks, strict=True):
            found += self._take(number, self._pages[number], mask)
        return found

    def take_between(self, first: int, last: int) -> list[Delivered[Queue, Consumer]]:
        """Remove those of these deliveries that are unacked, in order; of a few pages."""
        found: list[Delivered[Queue, Consumer]] = []
        low, high = first >> PAGE_SHIFT, last >> PAGE_SHIFT
        for number in range(low, high + 1):
            page = self._pages.get(number)
            if page is None:
                continue
            mask = page.bits
            if number == low:
                mask &= -1 << (first & PAGE_TAGS - 1)
            if number == high:
                mask &= (2 << (last & PAGE_TAGS - 1)) - 1
            found += self._take(number, page, mask)
        return found

    def ack_upto(self, tag: int) -> list[Delivered[Queue, Consumer]] | None:
        """Remove all deliveries up to this one, in order; 0 stands for all deliveries.

        None, without any change, if the tag is not unacked, as in RabbitMQ.
        """
        if tag == 0:
            return self.drain()
        return self.take_upto(tag) if tag in self else None

    def take_upto(self, tag: int) -> list[Delivered[Queue, Consumer]]:
        """Remove all deliveries up to this tag, in order, whether it is unacked itself or not."""
        found: list[Delivered[Queue, Consumer]] = []
        last = tag >> PAGE_SHIFT
        for number in self._numbers(last):
            page = self._pages[number]
            mask = page.bits
            if number == last:
                mask &= (2 << (tag & PAGE_TAGS - 1)) - 1
            found += self._take(number, page, mask)
        self._low = last
        return found

    def holder(self, tag: int) -> Consumer | None:
        """The consumer with this delivery; None: the tag is not unacked, or it was fetched."""
        if tag not in self:
            return None
        page = self._pages[tag >> PAGE_SHIFT]
        return page.runs[bisect_right(page.tags, tag) - 1].consumer

    def take_upto_of(self, tag: int, consumer: Consumer) -> list[Delivered[Queue, Consumer]]:
        """Remove all deliveries of one consumer up to this one, in order."""
        found: list[Delivered[Queue, Consumer]] = []
        last = tag >> PAGE_SHIFT
        for number in self._numbers(last):
            page, base = self._pages[number], number << PAGE_SHIFT
            mask = sum(run.mask(base) for run in page.runs if run.consumer == consumer) & page.bits
            if number == last:
                mask &= (2 << (tag & PAGE_TAGS - 1)) - 1
            found += self._take(number, page, mask)
        return found

    def drain(self, kept: Callable[[int], bool] | None = None) -> list[Delivered[Queue, Consumer]]:
        """Remove all deliveries, in order: a channel ends, or its client requests redelivery.

        Except those for which ``kept`` is true.
        """
        last = (self._next - 1) >> PAGE_SHIFT
        found: list[Delivered[Queue, Consumer]] = []
        for number in self._numbers(last):
            page, base = self._pages[number], number << PAGE_SHIFT
            bits = page.bits
            if kept is not None:
                there = (n for n in range(bits.bit_length()) if bits >> n & 1)
                bits = sum(1 << n for n in there if not kept(base + n))
            found += self._take(number, page, bits)
        if kept is None:
            self._low = last
        return found

    def drain_consumer(self, consumer: Consumer) -> list[Delivered[Queue, Consumer]]:
        """Remove all deliveries of one consumer, in order. Traverses all deliveries."""
        found: list[Delivered[Queue, Consumer]] = []
        for number in sorted(self._pages):
            page, mask = self._pages[number], 0
            for run in page.runs:
                if run.consumer == consumer:
                    mask |= run.mask(number << PAGE_SHIFT)
            found += self._take(number, page, page.bits & mask)
        return found

    def _numbers(self, last: int) -> Iterator[int]:
        """The pages up to this one that are not empty, ascending; they may be removed meanwhile."""
        if last - self._low < 2 * len(self._pages):
            return (number for number in range(self._low, last + 1) if number in self._pages)
        return (number for number in sorted(self._pages) if number <= last)

    def _take(
        self, number: int, page: _Page[Queue, Consumer], mask: int
    ) -> list[Delivered[Queue, Consumer]]:
        found: list[Delivered[Queue, Consumer]] = []
        if not mask:
            return found
        page.bits ^= mask
        base, below = number << PAGE_SHIFT, (number << PAGE_SHIFT) + mask.bit_length()
        lowest = base + (mask & -mask).bit_length() - 1
        for place in range(bisect_right(page.tags, lowest) - 1, len(page.runs)):
            run = page.runs[place]
            if run.tag >= below:
                break
            if bits := (mask & run.mask(base)) >> run.tag - base:
                found.append(_delivered(run, bits))
                self._taken(run.consumer, bits.bit_count())
                page.done += not _left(page, run, number)
        self._tidy(number, page)
        return found

    def _tidy(self, number: int, page: _Page[Queue, Consumer]) -> None:
        """Remove an empty page, and settled runs if they are the majority."""
        if not page.bits:
            del self._pages[number]
        elif 2 * page.done > len(page.runs):
            page.runs = [run for run in page.runs if _left(page, run, number)]
            page.tags = [run.tag for run in page.runs]
            page.done = 0

    def _taken(self, consumer: Consumer, count: int) -> None:
        self._total -= count
        left = self._of[consumer] - count
        if left:
            self._of[consumer] = left
        else:
            del self._of[consumer]


def _left(page: _Page[Queue, Consumer], run: _Run[Queue, Consumer], number: int) -> int:
    """The unsettled tags of a run, as bits of its page."""
    return page.bits & run.mask(number << PAGE_SHIFT)


def _delivered(run: _Run[Queue, Consumer], bits: int) -> Delivered[Queue, Consumer]:
    """Return some messages of a run: bit n is the one whose tag is the first tag plus n."""
    skipped = (bits & -bits).bit_length() - 1
    first = run.first + skipped * run.stride
    return Delivered(run.queue, run.lane, first, spread(bits >> skipped, run.stride), run.consumer)


def _joined(
    last: _Run[Queue, Consumer], run: _Run[Queue, Consumer]
) -> _Run[Queue, Consumer] | None:
    """Both as one run, if they continue each other; a single message fits any stride."""
    if (
        run.tag != last.tag + last.length
        or run.lane != last.lane
        or run.queue != last.queue
        or run.consumer != last.consumer
    ):
        return None
    stride = run.first - (last.first + (last.length - 1) * last.stride)
    if (
        stride <= 0
        or (last.length > 1 and last.stride != stride)
        or (run.length > 1 and run.stride != stride)
        or (last.length == run.length == 1 and stride > STRIDE_MAX)
    ):
        return None
    return last._replace(length=last.length + run.length, stride=stride)
