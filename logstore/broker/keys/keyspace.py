"""One database: keys, their values, and when they expire. Knows no log and no protocol.

A string value is bytes; other values are objects with a ``kind`` (``list``, ``hash``, ``set``,
``zset``). All changes go through here, so that it is known what to write, what the value was
before, and who must be notified.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Final, NamedTuple, Protocol, cast

from logstore.broker.keys.expiry import Expiry
from logstore.broker.keys.levels import Level, Levels
from logstore.broker.keys.order import Order

# What a key takes besides its own bytes and the value's: two objects, and a slot in the dictionary
# and in the order. A key that expires also takes a slot in another dictionary, a number, and an
# entry in the expiry.
KEY_BYTES: Final = 180
DEADLINE_BYTES: Final = 110
SAMPLES: Final = 100  # that stand for all where an average is shown
TRIES: Final = 1000  # to find a key whose time is not over
GRAVE_STEP: Final = 5000  # values of a flushed database that are let go of in one go

Clock = Callable[[], int]  # ms since 1970
Undo = Callable[[], object]


# What a key was before it was changed: its value, None where it was not there; and its deadline.
Before = tuple[object, int | None]


class Contents:
    """The contents of a database: replaced as a whole by a flush."""

    __slots__ = ("bytes", "deadlines", "expiry", "order", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, object] = {}
        self.deadlines: dict[bytes, int] = {}  # ms since 1970, of keys that expire
        self.order = Order()
        self.expiry = Expiry(self.deadlines)
        self.bytes = 0  # of all keys and values, and what they take besides

    def fill(self, values: dict[bytes, object], deadlines: dict[bytes, int]) -> None:
        """Fill empty contents with these values and deadlines."""
        self.values, self.deadlines, self.expiry = values, deadlines, Expiry(deadlines)
        self.order.fill(values)
        for key, deadline in deadlines.items():
            self.expiry.add(key, deadline)
        self.bytes = KEY_BYTES * len(values) + DEADLINE_BYTES * len(deadlines)
        self.bytes += sum(map(len, values)) + sum(map(size_of, values.values()))

    def let_go(self, most: int) -> int:
        """Forget up to ``most`` entries of discarded contents; return how many, 0 if
        none is left.
        """
        for pile in (self.values, self.deadlines):
            if pile:
                count = min(most, len(pile))
                for _ in range(count):
                    pile.popitem()
                return count
        return self.order.let_go() or self.expiry.let_go()


class Gone(Protocol):
    """A deleted collection: a ``Collection``, or what remains of one on disk."""

    version: int  # 0: nothing of it is on disk

    def let_go(self, most: int) -> list[bytes]:
        """As Collection.let_go."""


class Flushed(NamedTuple):
    """The contents before a flush, until the flush is written."""

    contents: Contents
    dirty: dict[bytes, Before]
    undo: list[Undo]


class Changes(NamedTuple):
    """The changes since they were last taken."""

    dirty: dict[bytes, Before]
    undo: list[Undo]
    flushed: Flushed | None  # before all else
    must: bool  # some change must be synced before its answer


def size_of(value: object) -> int:
    """Return the size of a value in memory, in bytes."""
    return len(value) if type(value) is bytes else value.held_bytes  # type: ignore[attr-defined]


class Keyspace:
    """One database, by its number."""

    __slots__ = (
        "awake", "begun", "clock", "contents", "deadlines", "dirty", "evicted", "expired",
        "flushed", "gone", "graves", "hits", "levels", "looked_at", "misses", "must", "number",
        "order", "renamed", "stirred", "told", "touch", "undo", "unwritten_bytes", "values",
        "version",
    )  # fmt: skip

    def __init__(
        self, number: int, clock: Clock, levels: Levels, begun: Callable[["Keyspace"], None]
    ) -> None:
        """``begun(self)``: called once when there is work for the end of the turn."""
        self.number = number
        self.clock = clock
        self.levels = levels
        self.begun = begun
        self.awake = False  # ``begun`` was called; reset by the callee
        # Told of each change: the database, the key, and what was done, in Redis's words.
        self.told: Callable[[int, bytes, str], object] | None = None
        self.dirty: dict[bytes, Before] = {}  # changed, and not written
        self.undo: list[Undo] = []  # of values that change within
        self.unwritten_bytes = 0  # of strings and whole values that were changed since, about
        self.flushed: Flushed | None = None
        self.must = False  # some change must be synced before its answer
        self.stirred = False  # likewise; reset when answers are sent
        self.graves: list[Contents] = []  # flushed contents, freed in steps
        self.gone: deque[Gone] = deque()  # no key has them any more; to be let go of, too
        self.version = 0  # the last one that a collection was given
        # When keys were last used, or how often, if the eviction policy needs that.
        self.looked_at: dict[bytes, int] = {}
        self.touch: Callable[[Keyspace, bytes], object] | None = None
        # New names of collections while the database is rewritten; None: it is not being rewritten,
        # or the names no longer suffice to follow a change.
        self.renamed: list[bytes] | None = None
        self.hits = self.misses = self.expired = self.evicted = 0
        self.put_in(Contents())

    def __len__(self) -> int:
        """The number of keys, including expired ones that are not removed yet."""
        return len(self.values)

    def put_in(self, contents: Contents) -> None:
        """Replace the contents."""
        self.contents = contents
        self.values, self.deadlines = contents.values, contents.deadlines
        self.order = contents.order
        self.looked_at = {}

    # Looking

    def find(self, key: bytes) -> object | None:
        """Return the value; None: the key does not exist, or has expired."""
        value = self.values.get(key)
        if value is not None and key in self.deadlines and self.deadlines[key] < self.clock():
            self.expire(key)
            return None
        return value

    def deadline(self, key: bytes) -> int | None:
        """Return when an existing key expires, in ms since 1970; None: never."""
        return self.deadlines.get(key)

    def average_ttl(self) -> int:
        """Return the average time to live in ms, from a sample of keys that expire."""
        some, now_ms = list(islice(self.deadlines.values(), SAMPLES)), self.clock()
        left = [it - now_ms for it in some if it > now_ms]
        return sum(left) // len(left) if left else 0

    def any_key(self, chance: Random) -> bytes | None:
        """Return a random key that has not expired; None: none was found in TRIES attempts.

        Expired keys that are found are removed; if millions expire at once, most are left to
        ``tick``.
        """
        for _ in range(TRIES):
            key = self.order.random(chance)
            if key is None or self.find(key) is not None:
                return key
        return None

    def alive(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the keys that have not expired."""
        if not self.deadlines:
            return list(keys)
        deadlines, now_ms = self.deadlines, self.clock()
        return [key for key in keys if deadlines.get(key, now_ms) >= now_ms]

    # Changing

    def put(
        self, key: bytes, value: object, deadline: int | None = None, event: str = "set"
    ) -> None:
        """Set the value of the key, and its deadline; without one it never expires."""
        old = self.values.get(key)
        self._note(key, old)
        self._put(key, value, old)
        if deadline is not None:
            self._date(key, deadline)
        elif self.deadlines:
            self._undate(key)
        self._tell(key, event, old)

    def _tell(self, key: bytes, event: str, old: object) -> None:
        """Report the event. ``old``: the value before the event; None: the key is new."""
        if self.told is not None:
            if old is None:
                self.told(self.number, key, "new")
            self.told(self.number, key, event)

    def alter(self, key: bytes, value: object, event: str) -> None:
        """Set the value of the key; an existing key keeps its deadline."""
        old = self.values.get(key)
        self._note(key, old)
        self._put(key, value, old)
        self._tell(key, event, old)

    def touched(self, key: bytes, event: str, grown: int = 0, undo: Undo | None = None) -> None:
        """Note that a value has changed in place and grown by ``grown`` bytes; ``undo`` reverts
        that.
        """
        self._note(key, self.values.get(key))
        if undo is not None:
            self.undo.append(undo)
        self.contents.bytes += grown
        if self.told is not None:
            self.told(self.number, key, event)

    def remove(self, key: bytes, event: str = "del") -> bool:
        """Remove the key; return whether it existed."""
        if self.find(key) is None:
            return False
        self._note(key, self.values[key])
        self._drop(key)
        if self.told is not None:
            self.told(self.number, key, event)
        return True

    def move(self, key: bytes, name: bytes) -> None:
        """Rename an existing key; its deadline moves with it."""
        value, deadline = self.values[key], self.deadlines.get(key)
        self._note(key, value)
        self._note(name, old := self.values.get(name))
        self._put(name, value, old)
        if self.renamed is not None and type(value) is not bytes:
            self.renamed.append(name)
        if deadline is not None:
            self._date(name, deadline)
        else:
            self._undate(name)
        self._drop(key)
        if self.told is not None:
            self.told(self.number, name, "new")
            self.told(self.number, key, "rename_from")
            self.told(self.number, name, "rename_to")

    def give(self, key: bytes, other: "Keyspace", twin: object) -> None:
        """Move an existing key with its deadline to another database that lacks the key.

        ``twin``: a copy of its value, of which no element is written yet.
        """
        value, deadline = self.values[key], self.deadlines.get(key)
        self._note(key, value)
        other._note(key, None)
        other._put(key, twin, None)
        if deadline is not None:
            other._date(key, deadline)
        self._drop(key)
        if self.told is not None:
            self.told(other.number, key, "new")
            self.told(self.number, key, "move_from")
            self.told(other.number, key, "move_to")

    def date(self, key: bytes, deadline: int, event: str = "expire") -> None:
        """Set the deadline of an existing key."""
        self._note(key, self.values[key])
        self._date(key, deadline)
        if self.told is not None:
            self.told(self.number, key, event)

    def persist(self, key: bytes) -> bool:
        """Remove the deadline of an existing key; return whether it had one."""
        if key not in self.deadlines:
            return False
        self._note(key, self.values[key])
        self._undate(key)
        if self.told is not None:
            self.told(self.number, key, "persist")
        return True

    def expire(self, key: bytes) -> None:
        """Remove an expired key. Nothing is written: its record holds the deadline."""
        value = self.values[key]
        self._drop(key)
        if type(value) is not bytes:
            self.let_go(cast("Gone", value))
        self.expired += 1
        if self.told is not None:
            self.told(self.number, key, "expired")

    def evict(self, key: bytes) -> None:
        """Remove a key for lack of memory. It may come back after a crash."""
        stirred, must = self.stirred, self.must
        self._note(key, self.values[key])
        self.stirred, self.must = stirred, must  # nobody waits for that
        self._drop(key)
        self.evicted += 1
        if self.told is not None:
            self.told(self.number, key, "evicted")

    def flush(self) -> None:
        """Remove all keys."""
        self.stir()
        if self.flushed is None:
            self.flushed = Flushed(self.contents, self.dirty, self.undo)
        else:  # it was just flushed: what came since is of no use
            self.graves.append(self.contents)
        self.dirty, self.undo = {}, []
        self.put_in(Contents())
        if self.levels.waits:
            self.must = self.stirred = True

    # Changes to write

    def _note(self, key: bytes, old: object) -> None:
        if self.touch is not None:
            self.touch(self, key)
        level = self.levels.of(key) if self.levels.rules else self.levels.default
        if level is Level.NONE:
            return
        if level is Level.TURN:
            self.stirred = self.must = True
        if not self.awake:
            self.stir()
        if key not in self.dirty:
            self.dirty[key] = old, self.deadlines.get(key)
            if type(old) is bytes:  # a string is always written as a whole
                self.unwritten_bytes += len(old)

    def wrote(self, level: Level) -> None:
        """Note that another object has put keys of this level into ``dirty``."""
        if level is Level.TURN:
            self.stirred = self.must = True
        self.stir()

    def stir(self) -> None:
        """Note that there is work for the end of the turn."""
        if not self.awake:
            self.awake = True
            self.begun(self)

    def new_version(self) -> int:
        """Return an unused version for a collection that is written for the first time."""
        self.version += 1
        return self.version

    def let_go(self, value: "Gone") -> None:
        """Discard a collection that no key has: its elements are removed in steps, on disk too."""
        self.gone.append(value)
        self.stir()

    def take(self) -> Changes:
        """Return the changes since the last call."""
        changes = Changes(self.dirty, self.undo, self.flushed, self.must)
        self.dirty, self.undo, self.flushed, self.must = {}, [], None, False
        self.unwritten_bytes = 0
        return changes

    def give_back(self, changes: Changes) -> None:
        """Undo changes that were taken and could not be written."""
        self.renamed = None
        self._restore(changes.dirty, changes.undo)
        if changes.flushed is not None:
            self.graves.append(self.contents)
            self.put_in(changes.flushed.contents)
            self._restore(changes.flushed.dirty, changes.flushed.undo)

    def forget(self) -> None:
        """Drop all contents and changes: another process owns the database."""
        if self.flushed is not None:
            self.graves.append(self.flushed.contents)
        self.graves.append(self.contents)
        self.take()
        self.put_in(Contents())
        self.gone.clear()
        self.stirred, self.renamed = False, None

    def _restore(self, dirty: dict[bytes, Before], undo: list[Undo]) -> None:
        for key, (value, deadline) in dirty.items():
            if value is None:
                if key in self.values:
                    self._drop(key)
                continue
            self._put(key, value, self.values.get(key))
            if deadline is None:
                self._undate(key)
            else:
                self._date(key, deadline)
        for take_back in reversed(undo):  # each value is where it was
            take_back()

    # Within

    def _put(self, key: bytes, value: object, old: object) -> None:
        self.values[key] = value
        size = size_of(value)
        if key in self.dirty:
            self.unwritten_bytes += size
        if old is None:
            self.order.add(key)
            self.contents.bytes += KEY_BYTES + len(key) + size
        else:
            self.contents.bytes += size - size_of(old)

    def _drop(self, key: bytes) -> None:
        value = self.values.pop(key)
        self.contents.bytes -= KEY_BYTES + len(key) + size_of(value)
        self.order.discard(key)
        if self.looked_at:
            self.looked_at.pop(key, None)
        if self.deadlines:
            self._undate(key)

    def _date(self, key: bytes, deadline: int) -> None:
        if key not in self.deadlines:
            self.contents.bytes += DEADLINE_BYTES
        self.deadlines[key] = deadline
        self.contents.expiry.add(key, deadline)
        self.stir()  # it is to be looked at then

    def _undate(self, key: bytes) -> None:
        if self.deadlines.pop(key, None) is not None:
            self.contents.bytes -= DEADLINE_BYTES

    # By and by

    def tick(self) -> bool:
        """Remove some expired keys; return whether there is more to do at once."""
        due, more = self.contents.expiry.step(self.clock())
        for key in due:
            if key in self.deadlines:  # it may be among them twice
                self.expire(key)
        left = GRAVE_STEP
        while self.graves and left > 0:
            gone = self.graves[-1].let_go(left)
            left -= gone
            if not gone:
                self.graves.pop()
        return more or bool(self.graves)

    def due_ms(self) -> int | None:
        """Return when to call ``tick`` next; None: there is nothing to do."""
        return self.clock() if self.graves else self.contents.expiry.due_ms()

    def parts(self) -> Iterator[Sequence[bytes]]:
        """Yield all keys that have not expired, some at a time, without keys that are added
        meanwhile.
        """
        for keys in self.order.parts():
            yield self.alive(keys)
