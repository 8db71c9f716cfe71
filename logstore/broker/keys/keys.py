"""Redis's keys in a node: its databases, what is written of them, and what happens by itself."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random
from typing import Any, Final, Protocol, cast

from logstore import heap
from logstore.broker.keys.eviction import Eviction
from logstore.broker.keys.journal import Journal
from logstore.broker.keys.keyspace import Clock, Contents, Keyspace
from logstore.broker.keys.levels import Levels
from logstore.broker.keys.shapes import Loading
from logstore.errors import LogstoreError, Refused
from logstore.log import Log
from logstore.names import KEYS_DATABASES

DATABASES: Final = KEYS_DATABASES
ROOMY_MIN: Final = 100_000
AT_ONCE_MS: Final = 1  # between two steps of what is due, where there is more
# So much changed is enough for a turn, in which it is written: whoever would change more waits.
TURN_BYTES: Final = 8 << 20
_log: Final = logging.getLogger("logstore.keys")


class Logs(Protocol):
    """Where the databases are kept. From any thread."""

    def is_there(self, database: int) -> bool: ...
    def open(self, database: int) -> Log:
        """Made where there is none. May take long; raises LogstoreError."""

    def load(self, log: Log, levels: Levels, now_ms: int) -> Loading | LogstoreError:
        """All that it says. May take long."""


class Surroundings(Protocol):
    """What the process has for it."""

    @property
    def soon(self) -> Callable[[Callable[[], object]], object]:
        """Has a call made in the sessions' thread when the turn ends."""

    @property
    def work(self) -> Callable[[Callable[[], Any], Callable[[Any], Any]], object]:
        """Runs the first in another thread, then the second in the sessions', with the result."""

    def alarm(self, at_ms: int) -> None:
        """Has ``tick`` called at that time, or before."""


Told = Callable[[int, bytes, str], object]


class Keys:
    """All databases. For the sessions' thread."""

    def __init__(
        self, logs: Logs, clock: Clock, around: Surroundings, levels: Levels | None = None
    ) -> None:
        self.levels = Levels() if levels is None else levels
        self.clock = clock
        self.chance = Random()
        self.failing: str | None = None  # why nothing can be written just now
        self.damage: str | None = None  # why what is on disk can't be read
        # Told of changes that could not be written: journal, turn, why.
        self.lost: Callable[[Journal, int, LogstoreError], object] = lambda *_: None
        self.flushed: Callable[[int], object] = lambda _: None  # told of a database
        self._logs = logs
        self._around = around
        self._loading = 0  # databases
        self._due_ms: int | None = None
        self.awake: dict[Keyspace, None] = {}  # that have something to do when the turn ends
        # So many keys make the dictionary move once more: what it leaves is worth giving back.
        self._roomy = ROOMY_MIN
        self.saved_ms = clock()  # when all was asked to be on disk
        self._alone: object = None  # who does something that nobody else may see half done
        self._held: dict[Callable[[], object], None] = {}  # those who wait for him
        self.databases = [
            Keyspace(number, clock, self.levels, self._begun) for number in range(DATABASES)
        ]
        self.eviction = Eviction(self.databases, clock, self.chance)
        self.journals = [
            Journal(it, partial(logs.open, it.number), around.soon, around.work, self._is_lost)
            for it in self.databases
        ]
        for number in range(DATABASES):
            if logs.is_there(number):
                self._loading += 1
                around.work(partial(self._load, number), partial(self._loaded, number))

    # Loading

    @property
    def loading(self) -> bool:
        """Whether something of it is still to be read."""
        return self._loading > 0

    def _load(self, number: int) -> tuple[Log, Contents, Loading] | LogstoreError:
        """In a worker."""
        try:
            opened = self._logs.open(number)
        except LogstoreError as error:
            return error
        found = self._logs.load(opened, self.levels, self.clock())
        if isinstance(found, LogstoreError):
            return found
        contents = contents_of(found)
        heap.give_back()
        return opened, contents, found

    def _loaded(self, number: int, result: object) -> None:
        self._loading -= 1
        if isinstance(result, LogstoreError):
            self.damage = f"the keys of database {number} can't be read: {result}"
            _log.error("%s", self.damage)
            return
        opened, contents, found = cast("tuple[Log, Contents, Loading]", result)
        keyspace, journal = self.databases[number], self.journals[number]
        keyspace.put_in(contents)
        keyspace.version = found.version
        for left in found.left:
            keyspace.let_go(left)
        journal.use(opened)
        if found.flushed_at is not None:
            journal.trim(found.flushed_at)
        self.look_ahead(keyspace)

    @property
    def open(self) -> bool:
        """Whether commands are carried out as they come: nothing loads, fails, is held or full."""
        if self.eviction.bytes_max:
            return False
        return not self._loading and self.damage is self.failing is self._alone is None

    # Changes

    def _begun(self, keyspace: Keyspace) -> None:
        if not self.awake:
            self._around.soon(self.end_turn)
        self.awake[keyspace] = None

    def end_turn(self) -> None:
        """Write what was changed since the last one."""
        if self._alone is not None:
            return  # it is written as one, with what others have done before
        awake, self.awake = self.awake, {}
        for keyspace in awake:
            keyspace.awake = False
            self.journals[keyspace.number].end_turn()
            if keyspace.deadlines or keyspace.graves:
                self.look_ahead(keyspace)
            if len(keyspace.values) > self._roomy:
                self._roomy = 2 * len(keyspace.values)
                self._around.work(heap.give_back, lambda _: None)
        held, self._held = self._held, {}
        for wake in held:
            wake()

    def stirred(self) -> Iterator[Journal]:
        """Those whose databases were changed since this was asked last, and are to be safe."""
        for keyspace in self.awake:
            if keyspace.stirred:
                keyspace.stirred = False
                yield self.journals[keyspace.number]

    def flush(self, databases: Iterable[int]) -> None:
        """Nothing is in these any more."""
        for number in databases:
            keyspace, journal = self.databases[number], self.journals[number]
            if keyspace.values or keyspace.dirty or journal.holds:
                keyspace.flush()
            self.flushed(number)

    # One at a time

    def take(self, who: object) -> bool:
        """Nobody else does anything before ``let_go``; whether it was not so already.

        What is changed till then is on disk as one, or not at all.
        """
        if self._alone is who:
            return False
        assert self._alone is None, "others are held up"
        self._alone = who
        return True

    @property
    def taken(self) -> bool:
        """Whether somebody does something that is not to be seen half done."""
        return self._alone is not None

    def let_go(self, who: object) -> None:
        """Others go on."""
        assert self._alone is who
        self._alone = None
        for keyspace in self.awake:
            self.journals[keyspace.number].whole = True
        self.end_turn()

    def held_up(self, who: object, wake: Callable[[], object]) -> bool:
        """Whether somebody else has it for himself, or enough was changed in this turn.

        Then ``wake`` is called once he has done, or the turn has ended.
        """
        if self._alone is who:
            return False
        if self._alone is None and not any(it.unwritten_bytes > TURN_BYTES for it in self.awake):
            return False
        self._held[wake] = None
        return True

    def _is_lost(self, journal: Journal, turn: int, error: LogstoreError) -> None:
        if not isinstance(error, Refused):  # else more was asked for than is written as one
            if self.failing is None:
                _log.error("keys can't be written: %s", error)
            self.failing = str(error)
        self.lost(journal, turn, error)

    def try_now(self) -> str | None:
        """Where writing has failed before: write what was changed; why that can't be, if so."""
        self.failing = None
        self.end_turn()
        return self.failing

    # By itself

    def look_ahead(self, keyspace: Keyspace) -> None:
        """Have ``tick`` called when something of this database is due."""
        due_ms = keyspace.due_ms()
        if due_ms is not None and (self._due_ms is None or due_ms < self._due_ms):
            self._due_ms = due_ms
            self._around.alarm(due_ms)

    def tick(self) -> None:
        """Remove some of what has expired."""
        self._due_ms = None
        more = False
        for keyspace in self.databases:
            more |= keyspace.tick()
        if more:
            self._due_ms = self.clock() + AT_ONCE_MS
            self._around.alarm(self._due_ms)
        else:
            for keyspace in self.databases:
                self.look_ahead(keyspace)

    def close(self) -> None:
        """Write what is left. Nothing is changed any more."""
        self.end_turn()
        for journal in self.journals:
            journal.close()


def contents_of(found: Loading) -> Contents:
    """What was read, as a database holds it."""
    contents = Contents()
    contents.fill(found.values, found.deadlines)
    return contents
