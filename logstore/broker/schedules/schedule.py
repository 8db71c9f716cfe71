"""The delayed records of one log in order of their due times: the next in memory, all in an index.

Entries are (due time in ms, offset), in that order. All entries before a *horizon* are in memory;
later ones are only in the index, and are loaded when the others are nearly used up. So memory is
bounded, however many records are delayed. The caller writes the index in batches, so that an entry
that is finished before then is never written. Only one operation on the index runs at a time, a
write or a load, so that entries missing in the index are known here.
"""

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from logstore.kept.schedules import Entry

NEAR_MAX: Final = 4096  # entries that are kept in memory; twice as many for a while
NO_OFFSET: Final = 1 << 63
LOW_PART: Final = 4  # of the maximum: with so few left more are loaded


class Changes(NamedTuple):
    """Changes of the index, made in one transaction."""

    put: Sequence[Entry]
    gone: Sequence[Entry]

    def __len__(self) -> int:
        return len(self.put) + len(self.gone)


class Schedule:
    """The schedule of one log."""

    def __init__(self, horizon: Entry | None = None, *, near_max: int = NEAR_MAX) -> None:
        """``horizon``: the index may have entries from there on; None: it has none."""
        self._near_max = near_max
        self._near: list[Entry] = []  # a heap: all before the horizon that are not out
        self._cancelled: set[int] = set()  # offsets of those in it that are done with
        self._horizon = horizon
        self._out: dict[int, int] = {}  # offset -> due: given out, and not done with
        self._new: dict[int, int] = {}  # not in the index, nor on the way there
        self._writing: dict[int, int] = {}
        self._gone: dict[int, int] = {}  # in the index, and done with
        self._removing: dict[int, int] = {}
        self._loading: Entry | None = None  # from where on

    # What there is

    @property
    def unwritten(self) -> int:
        """The number of entries to add to the index, or to remove from it."""
        return len(self._new) + len(self._writing) + len(self._gone) + len(self._removing)

    @property
    def first_new(self) -> int:
        """The lowest offset that is not being written to the index; NO_OFFSET if there is none."""
        return min(self._new, default=NO_OFFSET)

    @property
    def busy(self) -> bool:
        """Whether the index is being written or read."""
        return self._loading is not None or bool(self._writing) or bool(self._removing)

    @property
    def out(self) -> int:
        """The number of entries that were taken and are not done."""
        return len(self._out)

    @property
    def complete(self) -> bool:
        """Whether all waiting entries are in memory."""
        return self._horizon is None

    @property
    def near(self) -> int:
        """The number of waiting entries in memory."""
        return len(self._near) - len(self._cancelled)

    @property
    def next_ms(self) -> int | None:
        """When the next entry is due; None: none is known."""
        self._tidy()
        return self._near[0].due_ms if self._near else None

    def _tidy(self) -> None:
        while self._near and self._near[0].offset in self._cancelled:
            self._cancelled.discard(heappop(self._near).offset)

    def is_out(self, offset: int) -> bool:
        """Whether the entry was taken and is not done."""
        return offset in self._out

    def first(self, most: int) -> list[Entry]:
        """Return the first ``most`` entries in memory, in order."""
        found = sorted(it for it in self._near if it.offset not in self._cancelled)
        return found[:most]

    def new_from(self, first: Entry) -> list[Entry]:
        """Return the entries from ``first`` on that the index may lack, in order; for listings."""
        both = {**self._new, **self._writing}
        entries = (Entry(due_ms, offset) for offset, due_ms in both.items())
        return sorted(it for it in entries if it >= first and it.offset not in self._out)

    def is_gone(self, offset: int) -> bool:
        """Whether the entry is done although the index may still have it."""
        return offset in self._gone or offset in self._removing

    # What happens

    def add(self, due_ms: int, offset: int) -> None:
        """Add a new waiting record."""
        self._new[offset] = due_ms
        self._put(Entry(due_ms, offset))

    def _put(self, entry: Entry) -> None:
        if self._horizon is None or entry < self._horizon:
            heappush(self._near, entry)
            if len(self._near) > 2 * self._near_max:
                self._shorten()

    def _shorten(self) -> None:
        """Keep only the entries that are due first; the others are in the index, or will be."""
        kept = sorted(it for it in self._near if it.offset not in self._cancelled)
        self._cancelled.clear()
        if len(kept) > self._near_max:
            self._horizon = kept[self._near_max]
            del kept[self._near_max :]
        self._near = kept  # sorted is a heap

    def due(self, now_ms: int, most: int) -> list[Entry]:
        """Take up to ``most`` due entries, in order; ``done`` or ``back`` must follow for each."""
        found: list[Entry] = []
        while len(found) < most:
            self._tidy()
            if not self._near or self._near[0].due_ms > now_ms:
                break
            entry = heappop(self._near)
            self._out[entry.offset] = entry.due_ms
            found.append(entry)
        return found

    def done(self, offsets: Iterable[int]) -> None:
        """Note that these taken entries are done for good."""
        for offset in offsets:
            self._done(Entry(self._out.pop(offset), offset))

    def _done(self, entry: Entry) -> None:
        if self._new.pop(entry.offset, None) is None:
            self._gone[entry.offset] = entry.due_ms

    def back(self, offsets: Iterable[int]) -> None:
        """Let these taken entries wait again."""
        for offset in offsets:
            self._put_back(Entry(self._out.pop(offset), offset))

    def _put_back(self, entry: Entry) -> None:
        if entry.offset in self._cancelled:
            self._cancelled.discard(entry.offset)  # it never left memory
            return
        if self._horizon is not None and entry >= self._horizon:
            return  # the index has it, or will have: it is loaded
        heappush(self._near, entry)

    def take(self, entry: Entry) -> None:
        """Take a waiting entry before its time."""
        assert entry.offset not in self._out
        if self._horizon is None or entry < self._horizon:
            self._cancelled.add(entry.offset)
        self._out[entry.offset] = entry.due_ms

    # The index

    def begin_write(self, most: int) -> Changes | None:
        """Return some changes for the index; ``wrote`` must follow. None: there are none, or it is
        busy.
        """
        if self.busy or not (self._new or self._gone):
            return None
        self._writing, self._new = _split(self._new, most)
        self._removing, self._gone = _split(self._gone, most)
        return Changes(_entries(self._writing), _entries(self._removing))

    def wrote(self, *, kept: bool) -> None:
        """Note that the index has the changes; or none of them, and they are tried again."""
        if not kept:
            back = {o: due for o, due in self._writing.items() if o not in self._gone}
            for offset in self._writing.keys() - back.keys():
                del self._gone[offset]  # it was done with meanwhile, and never got there
            self._new = {**back, **self._new}
            self._gone = {**self._removing, **self._gone}
        self._writing, self._removing = {}, {}

    @property
    def wants_more(self) -> bool:
        """Whether entries must be loaded from the index."""
        return self._horizon is not None and len(self._near) <= self._near_max // LOW_PART

    def begin_load(self) -> Entry | None:
        """Return where to read the index from; ``loaded`` must follow. None: not now."""
        if self.busy or not self.wants_more:
            return None
        self._loading = self._horizon
        return self._horizon

    def loaded(
        self,
        entries: Sequence[Entry],
        *,
        more: bool,
        settled: Callable[[int], bool] = lambda offset: False,
    ) -> None:
        """Add entries from the index, in order; ``more``: others follow.

        ``settled``: returns, by offset, whether an entry is done although the index still has it,
        after an earlier process.
        """
        before, self._loading = self._loading, None
        assert before is not None
        if self._horizon != before:
            return  # meanwhile there were too many in memory: some are behind what was read
        self._horizon = _behind(entries[-1]) if more else None
        found: list[Entry] = []
        for entry in entries:
            if settled(entry.offset):
                self._gone[entry.offset] = entry.due_ms
            elif entry.offset not in self._gone and entry.offset not in self._out:
                found.append(entry)
        known = {it.offset for it in found}
        # Entries that are not being written to the index are not among them.
        for offset, due_ms in self._new.items():
            entry = Entry(due_ms, offset)
            here = entry >= before and (self._horizon is None or entry < self._horizon)
            if here and offset not in known and offset not in self._out:
                found.append(entry)
        # Some were put back into memory meanwhile, from behind the horizon of then.
        there = {it.offset for it in self._near}
        self._near += [it for it in found if it.offset not in there]
        heapify(self._near)
        if len(self._near) > 2 * self._near_max:
            self._shorten()

    def failed(self) -> None:
        """Note that the index could not be read: it is tried again."""
        self._loading = None


def _behind(entry: Entry) -> Entry:
    return Entry(entry.due_ms, entry.offset + 1)


def _split(those: dict[int, int], most: int) -> tuple[dict[int, int], dict[int, int]]:
    if len(those) <= most:
        return those, {}
    items = list(those.items())
    return dict(items[:most]), dict(items[most:])


def _entries(those: dict[int, int]) -> list[Entry]:
    return sorted(Entry(due_ms, offset) for offset, due_ms in those.items())
