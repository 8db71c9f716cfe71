"""Deduplication of a topic's partition: a window over the ids of its own records.

Time is the time of the records: an id is known for the length of the window after the latest
timestamp in the log when its record arrived, including its own. A timestamp ahead of the clock
counts as the present; otherwise one client's wrong clock would expire all ids. So everything here
follows from the log's batches and the stored snapshot of the window.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from logstore.broker.deduplication.ids import ids_of_batch, some
from logstore.broker.deduplication.prepared import Prepared, without
from logstore.broker.deduplication.room import Room
from logstore.broker.deduplication.window import FOREVER, Window
from logstore.errors import CorruptStore
from logstore.records.batch import Batch
from logstore.settings import TopicSettings

WHAT: Final = "the note of the ids that a log remembers"
_TIME_BYTES: Final = 8


class _Looked(NamedTuple):
    """The result of checking a batch that is about to be appended."""

    batch: Batch
    ids: Sequence[bytes | None]
    times: Sequence[int]


class Repeats:
    """The deduplication of one log, which calls it with its lock held."""

    def __init__(
        self,
        settings: TopicSettings,
        clock: Callable[[], int],
        room: Room,
        keeps_out: Callable[[int], object] = lambda count: None,
    ) -> None:
        """``keeps_out`` is called with the number of repeats, with the log's lock held."""
        self.header = settings.deduplication_header
        self.kept_out = 0  # records
        self._settings = settings
        self._clock = clock
        self._room = room
        self._keeps_out = keeps_out
        self._window = room.enter(Window())
        self._now_ms = -1  # the latest timestamp that came
        self._looked: _Looked | None = None

    @property
    def ids(self) -> int:
        """The number of ids in memory."""
        return len(self._window)

    @property
    def forgotten(self) -> int:
        """The number of ids that were forgotten before their time was over."""
        return self._window.forgotten

    def apply(self, settings: TopicSettings) -> None:
        """Apply the topic's settings to ids that come later. The header must be the same."""
        assert settings.deduplication_header == self.header
        self._settings = settings

    # Before an append

    def prepared(self, batch: Batch) -> Batch:
        """Decode the batch in advance, without the log's lock.

        Raises CorruptBatch.
        """
        ids, times = ids_of_batch(batch, self.header)
        places = self._fresh(ids, times) if some(ids) else None
        thin = batch if places is None else without(batch, places, self._settings)
        return Prepared(thin.data, batch, self.header, ids, times, places)

    def admitted(self, batch: Batch) -> Batch:
        """Return the batch for the log, without records whose ids are known.

        Raises CorruptBatch.
        """
        if isinstance(batch, Prepared) and batch.header == self.header:
            ids, times, whole = batch.ids, batch.times, batch.whole
        else:
            whole = batch.whole if isinstance(batch, Prepared) else batch
            ids, times = ids_of_batch(whole, self.header)
        places = self._fresh(ids, times) if some(ids) else None
        if isinstance(batch, Prepared) and batch.places == places:
            found: Batch = batch
        elif places is None:
            found = whole
        else:
            found = without(whole, places, self._settings)
        if places is not None:
            ids, times = [ids[n] for n in places], [times[n] for n in places]
        self._looked = _Looked(found, ids, times)
        return found

    def _fresh(self, ids: Sequence[bytes | None], times: Sequence[int]) -> list[int] | None:
        """Return the places of records whose ids are not known; None: all."""
        window, clock_ms, now_ms = self._window, self._clock(), self._now_ms
        there = [it for it in ids if it is not None]
        if len(set(there)) == len(there):
            with window.lock:
                if window.knows_none(there):
                    return None
        here: set[bytes] = set()
        places: list[int] = []
        with window.lock:
            for place, (it, time) in enumerate(zip(ids, times, strict=True)):
                now_ms = max(now_ms, min(time, clock_ms))
                if it is not None:
                    if it in here or window.knows(it, now_ms):
                        continue
                    here.add(it)
                places.append(place)
        return None if len(places) == len(ids) else places

    # After it

    def appended(self, batch: Batch) -> None:
        """As Notes.appended."""
        looked, self._looked = self._looked, None
        new = looked is not None and looked.batch is batch
        if new:
            assert looked is not None
            ids, times = looked.ids, looked.times
            if kept_out := batch.last_offset_delta + 1 - len(ids):
                self.kept_out += kept_out
                self._keeps_out(kept_out)
        else:
            ids, times = ids_of_batch(batch, self.header)
        if not ids:
            return
        # When each came, by the records' own times: the latest so far.
        clock_ms = self._clock()
        clipped = [it if it < clock_ms else clock_ms for it in times]
        came_ms = list(accumulate(clipped, max, initial=self._now_ms))
        self._now_ms = came_ms[-1]
        self._remember(ids, came_ms[1:], new=new)

    def _remember(self, ids: Sequence[bytes | None], came_ms: Sequence[int], *, new: bool) -> None:
        """Remember these ids. ``new``: they are known to be new and distinct."""
        window, length_ms = self._window, self._settings.deduplication_window_ms
        length_ms = min(length_ms, FOREVER - came_ms[-1])
        fresh = {it: at + length_ms for it, at in zip(ids, came_ms, strict=True) if it is not None}
        with window.lock:
            if not new:  # it is replayed, and may be known
                now_ms = came_ms[-1]
                fresh = {it: at for it, at in fresh.items() if not window.knows(it, now_ms)}
            if fresh:
                window.add_many(list(fresh), list(fresh.values()), came_ms[-1])
        if fresh:
            self._room.came(len(fresh))

    # As bytes

    def freeze(self) -> Callable[[], bytes]:
        """Take a snapshot: the header | the latest timestamp | the window."""
        header, now_ms, ids = self.header.encode(), self._now_ms, self._window.freeze()
        head = len(header).to_bytes(2, "big") + header + now_ms.to_bytes(8, "big", signed=True)
        return lambda: head + ids()

    def load(self, note: bytes) -> None:
        """Restore a snapshot of ``freeze``; one of another header is ignored.

        Raises CorruptStore.
        """
        end = 2 + int.from_bytes(note[:2], "big")
        if len(note) < end + _TIME_BYTES:
            raise CorruptStore(f"{WHAT} is cut off: restore the store from a backup")
        if note[2:end] != self.header.encode():
            return
        self._now_ms = int.from_bytes(note[end : end + _TIME_BYTES], "big", signed=True)
        with self._window.lock:
            self._window.load(note[end + _TIME_BYTES :], WHAT)
        self._room.came(len(self._window))
