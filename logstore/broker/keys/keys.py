"""Redis's keys in a node: the databases, their journals, and periodic work."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from random import Random
from typing import Any, Final, Protocol, cast

from logstore import heap
from logstore.broker.keys.as_one import AsOne, Owed, owed
from logstore.broker.keys.eviction import Eviction
from logstore.broker.keys.journal import Bounds, Journal
from logstore.broker.keys.keyspace import Clock, Contents, Keyspace
from logstore.broker.keys.levels import Levels
from logstore.broker.keys.rewriting import Beating, Rewriting
from logstore.broker.keys.shapes import PLACES, Loading
from logstore.errors import LogstoreError, NotOwned, Refused
from logstore.log import Log
from logstore.names import KEYS_DATABASES
from logstore.records.batch import Batch
from logstore.slices import Steps

DATABASES: Final = KEYS_DATABASES
ROOMY_MIN: Final = 100_000
AT_ONCE_MS: Final = 1  # between two steps of due work
# The limit of changes in a turn, at whose end they are written: more changes must wait.
TURN_BYTES: Final = 8 << 20
_log: Final = logging.getLogger("logstore.keys")


class Logs(Protocol):
    """The logs of the databases. From any thread."""

    def is_there(self, database: int) -> bool: ...
    def open(self, database: int) -> Log:
        """Open the log of the database, created if missing. May take long. Raises LogstoreError."""

    def load(self, log: Log, levels: Levels, now_ms: int) -> Loading | LogstoreError:
        """Load all records of the log. May take long."""


class Standing(Protocol):
    """Whether this process still serves a database, which another process may have taken over."""

    @property
    def sure(self) -> bool:
        """Whether this process owns the database, as far as is known here."""

    def ask(self, then: Callable[[], object]) -> None:
        """Call ``then`` once it is certain that this process owns the database."""

    def close(self) -> None:
        """End: another process owns the database."""


class Surroundings(Protocol):
    """What the process provides."""

    @property
    def soon(self) -> Callable[[Callable[[], object]], object]:
        """Schedules a call in the sessions' thread at the end of the turn."""

    @property
    def work(self) -> Callable[[Callable[[], Any], Callable[[Any], Any]], object]:
        """Runs the first call in another thread, then the second in the sessions' with
        the result.
        """

    def alarm(self, at_ms: int) -> None:
        """Schedule a call of ``tick`` at that time or earlier."""


Told = Callable[[int, bytes, str], object]
AskOwner = Callable[[int, bytes, Callable[[bytes | LogstoreError], None]], Callable[[], object]]


class Keys:
    """All databases. For the sessions' thread."""

    def __init__(
        self,
        logs: Logs,
        clock: Clock,
        around: Surroundings,
        levels: Levels | None = None,
        apart: Bounds | None = None,
    ) -> None:
        """``apart``: one of several processes serves each database at a time.

        This process serves a database after ``own``. Each append is then limited in size.
        """
        self.levels = Levels() if levels is None else levels
        self.clock = clock
        self.chance = Random()
        self.failing: str | None = None  # why nothing can be written just now
        self.damage: str | None = None  # why the files cannot be read
        # Databases that are not served here, and why.
        self.elsewhere: dict[int, str] = {}
        self._coming: dict[int, object] = {}  # databases being read, to be served here
        # Of databases that are served here while other processes serve others.
        self.standings: dict[int, Standing] = {}
        self._sure: dict[int, Callable[[], object]] = {}  # what each of these is to call
        self._doubting: dict[int, dict[Callable[[], object], None]] = {}  # who waits for that
        self._rewriting: dict[int, Rewriting] = {}  # of those that are served here by themselves
        # Sends a request to the process that serves a database; the callback gets its answer or the
        # error. The returned function must be called if the answer is no longer wanted.
        self.ask_owner: AskOwner | None = None
        if apart is not None:
            self.elsewhere = {it: f"database {it} is not served yet" for it in range(DATABASES)}
        # Told of changes that could not be written: journal, turn, why.
        self.lost: Callable[[Journal, int, LogstoreError], object] = lambda *_: None
        self.flushed: Callable[[int], object] = lambda _: None  # told of a database
        self.swapped: Callable[[int, int], object] = lambda *_: None  # told of two
        # Told of a database that is not served here any more, and why.
        self.left: Callable[[int, str], object] = lambda *_: None
        self._logs = logs
        self._around = around
        self._loading = 0  # databases
        self._due_ms: int | None = None
        self.awake: dict[Keyspace, None] = {}  # that have something to do when the turn ends
        # So many keys make the dictionary move once more: what it leaves is worth giving back.
        self._roomy = ROOMY_MIN
        self.saved_ms = clock()  # when all was asked to be on disk
        self._told = False  # that there is something to be done when the turn ends
        # Databases whose changes are written atomically.
        self._one: dict[Keyspace, None] = {}
        self._as_one = AsOne(self.end_turn, self._swap_back, apart=apart is not None)
        self._swaps: list[tuple[int, int]] = []  # that are not written yet
        self._decided: dict[int, list[Owed]] = {}  # by the topic that says so
        self._aside: dict[Keyspace, None] = {}  # databases awake at the begin of exclusive use
        self._alone: object = None  # the client with exclusive use
        self._held: dict[Callable[[], object], None] = {}  # clients that wait for its end
        self._overdue = False  # something has come due meanwhile
        self._late: list[tuple[Journal, LogstoreError | None]] = []  # logs that were opened
        self.databases = [
            Keyspace(number, clock, self.levels, self._begun) for number in range(DATABASES)
        ]
        self.eviction = Eviction(self.databases, clock, self.chance)
        open_log = logs.open if apart is None else self._not_served
        self.journals = [
            Journal(
                it.number, it, partial(open_log, it.number), around.soon, around.work,
                self._is_lost, self._opened, apart,
            )
            for it in self.databases
        ]  # fmt: skip
        self._zero = self.journals[0]  # of the first topic, which has the places of all
        there = [it for it in range(DATABASES) if logs.is_there(it)]
        self._loading = len(there)
        for number in there:
            around.work(partial(self._load, number), partial(self._loaded, number))

    # Loading

    @property
    def loading(self) -> bool:
        """Whether some databases are not loaded yet."""
        return self._loading > 0

    def _load(self, number: int) -> tuple[Log, Contents, Loading] | LogstoreError:
        """Open and load a database. Runs in a worker."""
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
            self._is_damaged(number, str(result))
            return
        found = self._put_in(number, result)
        journal = self.journals[number]
        journal.places = found.places
        try:
            self._decided[number] = [owed(*it) for it in found.decided.items()]
        except ValueError as error:
            self._is_damaged(number, str(error))
        if found.flushed_at is not None and not found.decided:
            journal.trim(found.flushed_at)
        if not self._loading:
            self._all_loaded()

    def _put_in(self, number: int, result: object) -> Loading:
        opened, contents, found = cast("tuple[Log, Contents, Loading]", result)
        keyspace = self.databases[number]
        keyspace.put_in(contents)
        keyspace.version = found.version
        keyspace.gone.clear()
        for left in found.left:
            keyspace.let_go(left)
        self.journals[number].use(opened)
        self.look_ahead(keyspace)
        return found

    def _is_damaged(self, number: int, why: str) -> None:
        self.damage = f"the keys of database {number} can't be read: {why}"
        _log.error("%s", self.damage)

    def _all_loaded(self) -> None:
        """Finish decided changes of several databases, then put each database in its place."""
        if self.damage is not None:
            return
        undone = []
        for number, owing in self._decided.items():
            for it in owing:
                log = self.journals[it.topic].log
                if log is None or log.end <= it.at:
                    undone.append(it)
                else:
                    self.journals[number].pay(it.key)
        if undone:
            self._loading = len(undone)
            for it in undone:
                self._around.work(partial(self._redo, it), partial(self._loaded, it.topic))
            return
        self._decided = {}
        places = self._zero.places
        if places is not None:
            if sorted(places) != list(range(DATABASES)):
                self._is_damaged(0, f"the record {PLACES!r} says {places!r}")
                return
            self.databases[:] = [self.databases[it] for it in places]
            self.journals[:] = [self.journals[it] for it in places]
            self._number()

    def _redo(self, it: Owed) -> tuple[Log, Contents, Loading] | LogstoreError:
        """Write a decided change, and load that topic again. Runs in a worker."""
        try:
            log = self._logs.open(it.topic)
            batch = Batch(it.batch)
            mark = log.append(batch) + batch.record_count
            log.sync_soon()
            log.wait(mark)
        except LogstoreError as error:
            return error
        return self._load(it.topic)

    # Served by one process of several

    def own(self, number: int, standing: Standing) -> None:
        """Serve a database of which all records are read, once it is built from them."""
        self.standings[number], self._sure[number] = standing, partial(self._is_sure, number)
        coming = self._coming[number] = object()
        self.elsewhere[number] = f"database {number} is being read; try again"
        self._around.work(partial(self._load, number), partial(self._owned, number, coming))

    def _owned(self, number: int, coming: object, result: object) -> None:
        if self._coming.get(number) is not coming:
            return
        if self._alone is not None:  # half of what he does may have been of this database
            self._held[partial(self._owned, number, coming, result)] = None
            return
        del self._coming[number]
        if isinstance(result, LogstoreError):
            self.elsewhere[number] = f"database {number} can't be read: {result}"
            _log.error("%s", self.elsewhere[number])
            return
        journal = self.journals[number]
        if journal.changed:
            journal.fail(journal.take(), NotOwned(f"database {number} was another node's"))
        self._put_in(number, result)
        log = cast("Beating", journal.log)
        journal.halved, journal.appended_bytes = log.give_up, log.standing_bytes
        self._rewriting[number] = Rewriting(self, journal, log, self._around.soon)
        del self.elsewhere[number]

    def _not_served(self, number: int) -> Log:
        """Refuse a journal's changes: what was half done when its database was lost."""
        raise NotOwned(self.elsewhere.get(number, f"database {number} was another node's"))

    def finish(self, number: int, why: str) -> None:
        """Stop serving a database that another process takes over; write the changes first."""
        self._coming.pop(number, None)
        self.elsewhere[number] = why
        standing = self.standings.pop(number, None)
        if standing is not None:
            standing.close()
            self._is_sure(number)  # that it is not served here
        rewriting = self._rewriting.pop(number, None)
        if rewriting is not None:
            rewriting.close()
        self.end_turn()

    def lose(self, number: int, why: str) -> None:
        """Drop a database that another process may own; waiting clients get an error."""
        self.finish(number, why)
        keyspace, journal = self.databases[number], self.journals[number]
        if journal.log is None:
            return
        keyspace.forget()
        journal.leave(NotOwned(why))
        self.left(number, why)
        self.look_ahead(keyspace)

    def is_sure(self, number: int) -> bool:
        """Whether, as far as is known here, no other process can have taken over the database."""
        standing = self.standings.get(number)
        return standing is None or standing.sure

    def when_sure(self, number: int, then: Callable[[], object]) -> None:
        """Call ``then`` once ownership is certain, or another process owns the database."""
        self._doubting.setdefault(number, {})[then] = None
        self.standings[number].ask(self._sure[number])

    def unasked(self, then: Callable[[], object]) -> None:
        """Forget a call of ``when_sure``: its client is gone."""
        for waiting in self._doubting.values():
            waiting.pop(then, None)

    def _is_sure(self, number: int) -> None:
        for wake in self._doubting.pop(number, {}):
            wake()

    @property
    def open(self) -> bool:
        """Whether commands run at once: no database loads, fails or is held, and memory is
        unlimited.
        """
        if self.eviction.bytes_max:
            return False
        return not self._loading and self.damage is self.failing is self._alone is None

    # Changes

    def _begun(self, keyspace: Keyspace) -> None:
        if not self._told:
            self._told = True
            self._around.soon(self.end_turn)
        self.awake[keyspace] = None

    def end_turn(self) -> None:
        """Write the changes since the last turn."""
        self._told = False
        if self._alone is not None:
            return  # it is written as one, with what others have done before
        awake, self.awake = self.awake, {}
        if self._one:
            if self._as_one.write([self.journals[it.number] for it in self._one]):
                self._one = {}
                self._swaps.clear()
            self.awake |= {it: None for it in awake if it in self._one}
        for keyspace in awake:
            if keyspace in self._one:
                continue
            keyspace.awake = False
            journal = self.journals[keyspace.number]
            if not journal.end_turn() and journal.changed:
                keyspace.awake = True
                self.awake[keyspace] = None
            if keyspace.deadlines or keyspace.graves:
                self.look_ahead(keyspace)
            if self._rewriting and keyspace.number in self._rewriting:
                self._rewriting[keyspace.number].look()
            if len(keyspace.values) > self._roomy:
                self._roomy = 2 * len(keyspace.values)
                self._around.work(heap.give_back, lambda _: None)
        held, self._held = self._held, {}
        for wake in held:
            wake()

    def _opened(self, journal: Journal, error: LogstoreError | None) -> None:
        """Handle the result of opening a journal's log."""
        if self._alone is not None:  # of what he does half would be written, or taken back
            self._late.append((journal, error))
            return
        if error is None:
            if journal.keyspace in self._one:
                self.end_turn()
            else:
                journal.end_turn()
            return
        failed = [journal]
        if journal.keyspace in self._one:
            failed = [self.journals[it.number] for it in self._one]
            self._one = {}
        for it in failed:
            it.fail(it.take(), error)
        if len(failed) > 1:
            self._swap_back()

    def stirred(self) -> Iterator[Journal]:
        """Yield the journals of databases with changes since the last call that must
        become safe.
        """
        for keyspace in self.awake:
            if keyspace.stirred:
                keyspace.stirred = False
                yield self.journals[keyspace.number]

    def flush(self, databases: Iterable[int]) -> None:
        """Empty these databases."""
        for number in databases:
            keyspace, journal = self.databases[number], self.journals[number]
            if keyspace.values or keyspace.dirty or journal.holds:
                keyspace.flush()
            self.flushed(number)

    # Of several databases

    def together(self, databases: Iterable[int]) -> None:
        """Write this turn's changes of these databases atomically."""
        self._one |= dict.fromkeys(self.databases[it] for it in databases)

    def swap(self, first: int, second: int) -> None:
        """Exchange the contents of two databases."""
        self.swapped(first, second)
        self._swap(first, second)
        zero = self._zero
        zero.places = zero.extra[PLACES] = bytes(it.topic for it in self.journals)
        self._swaps.append((first, second))
        for number in (first, second):
            keyspace, journal = self.databases[number], self.journals[number]
            journal.moved = True
            if self.levels.waits:
                keyspace.must = keyspace.stirred = True
            keyspace.stir()
            self._one[keyspace] = None
        zero.keyspace.stir()
        self._one[zero.keyspace] = None

    def _swap(self, first: int, second: int) -> None:
        spaces, journals = self.databases, self.journals
        spaces[first], spaces[second] = spaces[second], spaces[first]
        journals[first], journals[second] = journals[second], journals[first]
        self._number()

    def _number(self) -> None:
        for number, keyspace in enumerate(self.databases):
            keyspace.number = number

    def _swap_back(self) -> None:
        """Undo the exchanges: the atomic change could not be written."""
        if self._swaps:
            while self._swaps:
                self._swap(*self._swaps.pop())
            zero = self._zero
            zero.extra.pop(PLACES, None)
            places = bytes(it.topic for it in self.journals)
            zero.places = None if places == bytes(range(DATABASES)) else places

    # One at a time

    def take(self, who: object) -> bool:
        """Give ``who`` exclusive use until ``let_go``; return whether that is new.

        Changes made meanwhile are written atomically.
        """
        if self._alone is who:
            return False
        assert self._alone is None, "others are held up"
        self._alone = who
        self._aside, self.awake = self.awake, {}
        for keyspace in self._aside:
            keyspace.awake = False  # so that it is known what he changes
        return True

    @property
    def taken(self) -> bool:
        """Whether a client has exclusive use."""
        return self._alone is not None

    def has(self, who: object) -> bool:
        """Whether ``who`` has exclusive use."""
        return self._alone is who

    def gather(self) -> Steps:
        """List the changes before ``let_go``, in steps if there are many."""
        if all(it.held is None for it in self.journals):  # else it is listed when that is written
            for keyspace in list(self.awake):
                yield from self.journals[keyspace.number].gather()

    def let_go(self, who: object) -> None:
        """End the exclusive use of ``who``; other clients go on."""
        assert self._alone is who
        self._alone = None
        for keyspace in self.awake:
            self.journals[keyspace.number].whole = True
        if len(self.awake) > 1:
            self._one |= self.awake
        aside, self._aside = self._aside, {}
        for keyspace in aside:
            keyspace.awake = True
        self.awake = aside | self.awake
        late, self._late = self._late, []
        for journal, error in late:
            self._opened(journal, error)
        self.end_turn()
        if self._overdue:
            self._overdue = False
            self.tick()

    def is_held_from(self, who: object) -> bool:
        """Whether another client than ``who`` has exclusive use."""
        return self._alone is not None and self._alone is not who

    def held_up(self, who: object, wake: Callable[[], object]) -> bool:
        """Whether ``who`` must wait: another client has exclusive use, or this turn has enough
        changes.

        Then ``wake`` is called at the end of that use, or of the turn.
        """
        if self._alone is who:
            return False
        if self._alone is None and not (
            self.awake and any(it.unwritten_bytes > TURN_BYTES for it in self.awake)
        ):
            return False
        self._held[wake] = None
        return True

    def _is_lost(self, journal: Journal, turn: int, error: LogstoreError) -> None:
        if not isinstance(error, Refused):  # otherwise it is too large to be atomic
            if self.failing is None:
                _log.error("keys can't be written: %s", error)
            self.failing = str(error)
        self.lost(journal, turn, error)

    def try_now(self) -> str | None:
        """Retry writing after a failure; return why it fails again, or None."""
        self.failing = None
        for journal in list(self.journals):
            journal.write_held()
        self.end_turn()
        return self.failing

    # By itself

    def look_ahead(self, keyspace: Keyspace) -> None:
        """Schedule ``tick`` for the next deadline of this database."""
        due_ms = keyspace.due_ms()
        if due_ms is not None and (self._due_ms is None or due_ms < self._due_ms):
            self._due_ms = due_ms
            self._around.alarm(due_ms)

    def tick(self) -> None:
        """Remove some of the expired keys."""
        self._due_ms = None
        if self._alone is not None:  # what he is about stays as it is
            self._overdue = True
            return
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
        """Write the remaining changes. None may follow."""
        for journal in self.journals:
            journal.write_all_held()
            journal.open_now()
            if journal.changed:
                journal.keyspace.stir()
        self.end_turn()
        for journal in self.journals:
            journal.write_all_held()
        for journal in self.journals:
            journal.close()


def contents_of(found: Loading) -> Contents:
    """Return the loaded values as the contents of a database."""
    contents = Contents()
    contents.fill(found.values, found.deadlines)
    return contents
