"""The topics of a cluster by name, with ids and partitions, whichever program creates them.

All topics are requested periodically, and decoded in another thread, because there may be many; a
single topic is requested when a caller looks up an unknown name. Brokers are asked in turn, and one
may know less than another. So a topic counts as deleted after two replies in a row without it; a
new topic counts as existing for a while; and a deleted topic does not reappear.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from random import Random
from typing import Any, Final, Literal, NamedTuple

from logstore.cluster import kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Alarm, Brokers, Use
from logstore.cluster.view import NOT_THERE, partitions_of
from logstore.errors import ClusterBehind, ClusterUnreachable, Failed, LogstoreError
from logstore.kafka.wire import NIL_UUID

LIST_S: Final = 30.0
ANSWER_S: Final = 60.0  # of all topics
BELIEVED_S: Final = 30.0  # brokers learn of a change so soon, also one that was frozen for a while
GONE_S: Final = 10.0  # of a deleted topic without an id: the next of its name looks the same
CHANGES_MAX: Final = 200  # that are taken in, and told, in one turn
NAMES_MAX: Final = 500  # of one request
SHOWN_S: Final = 30.0  # until a broker shows a topic that was made
SHOWN_LOOK_S: Final = 0.2  # whether one does
WAITING_MAX: Final = 10_000  # names that are looked for at one time
MISSING_S: Final = 1.0  # a name that was not there is not looked for again so soon
MISSING_MAX: Final = 10_000  # such names


class Entry(NamedTuple):
    """A topic."""

    id: bytes  # 16 bytes; all 0: the cluster gives topics none
    partitions: int


Event = Literal["created", "grown", "deleted"]
Heard = Callable[[Event, str, Entry], object]
# Runs the first in another thread, then the second, with what it gave, in this one.
Work = Callable[[Callable[[], Any], Callable[[Any], None]], object]
Found = Callable[[Any], None]  # gets an Entry, None where there is no such topic, or an error

_Difference = tuple[str, Entry | None, Entry | None]  # name, before, now


class Catalogue:
    """The topics of one cluster. Used in one thread."""

    def __init__(
        self,
        brokers: Brokers,
        now: Callable[[], float],
        call_at: Callable[[float, Callable[[], object]], Alarm],
        random: Random,
        work: Work,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.ready = False  # all were listed once
        self._brokers = brokers
        self._now = now
        self._call_at = call_at
        self._work = work
        self._heard: list[Heard] = []
        self._backoff = Backoff(random)
        self._changes = 0
        self._sorted: tuple[int, list[str]] = (0, [])  # after so many changes
        self._names: dict[bytes, str] = {}
        self._alarm: Alarm | None = None
        self._listing = self._again = self._over = False
        self._waiting: list[Callable[[], object]] = []  # until all were listed
        self._differences: deque[_Difference] = deque()
        self._looked_for: dict[str, list[Found]] = {}
        self._asking = False
        self._missing: dict[str, float] = {}  # when it was not there
        # Until when the existence of new topics is believed.
        self._made: dict[bytes | str, float] = {}
        self._gone: dict[bytes | str, float] = {}  # ids, or names without, that do not come back
        self._stop = brokers.watch(self._viewed)

    # Told

    def names(self) -> Sequence[str]:
        """The names of all topics, sorted. From any thread."""
        changes, (before, names) = self._changes, self._sorted
        if changes != before:
            names = sorted(self.entries.copy())
            self._sorted = changes, names
        return names

    def name_of(self, id_: bytes) -> str | None:
        """The name of the topic with that id."""
        return self._names.get(id_)

    def when_ready(self, call: Callable[[], object]) -> None:
        """Call this once all topics were listed."""
        if self.ready:
            call()
        else:
            self._waiting.append(call)

    def tell(self, heard: Heard) -> None:
        """Call this after each change, once all topics were listed."""
        self._heard.append(heard)

    # All of them

    def look(self) -> None:
        """Request all topics now."""
        if self._over:
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._listing:
            self._again = True
            return
        self._listing, self._again = True, False
        messages = kinds.ALL_TOPICS.messages()
        request = messages.Request(None, allow_auto_topic_creation=False)
        self._brokers.ask_any(kinds.ALL_TOPICS, request, self._listed, Use.SLOW, ANSWER_S)

    def _look_at(self, at: float) -> None:
        if not self._over:
            self._alarm = self._call_at(at, self.look)

    def _listed(self, answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer, LogstoreError):
            self._listing = False
            self._look_at(self._now() + self._backoff.failed())
            return
        before = dict(self.entries)
        self._work(partial(_read, answer, before), self._compared)

    def _compared(self, differences: "Sequence[_Difference] | LogstoreError") -> None:
        self._listing = False
        if isinstance(differences, LogstoreError):
            self._look_at(self._now() + self._backoff.failed())
            return
        self._backoff.succeeded()
        self._look_at(self._now() if self._again else self._now() + LIST_S)
        busy = bool(self._differences)
        self._differences.extend(differences)
        if not busy:
            self._take_some()

    def _take_some(self) -> None:
        for _ in range(min(CHANGES_MAX, len(self._differences))):
            name, before, now = self._differences.popleft()
            if self.entries.get(name) != before:
                continue  # it has changed meanwhile, as was told then
            if now is None:
                self._doubt(name)
            else:
                self._take(name, now)
        if self._differences:
            self._call_at(self._now(), self._take_some)
        elif not self.ready:
            self.ready = True
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                call()

    def _viewed(self) -> None:
        """The view of topics in use has changed."""
        if not self.ready:
            return
        view = self._brokers.view
        for seen in list(view.topics.values()):  # that are forgotten as they go
            self._take(seen.name, Entry(seen.id, len(seen.partitions)))
        for name in view.missing & self.entries.keys():
            self._doubt(name)

    # Single ones

    def find(self, name: str, then: Found) -> None:
        """Request a topic unless it is known: another process may have created it."""
        entry = self.entries.get(name)
        if entry is not None or self._is_missing(name):
            then(entry)
        elif name not in self._looked_for and len(self._looked_for) >= WAITING_MAX:
            then(ClusterBehind(f"{WAITING_MAX} topics are being looked for: try again"))
        else:
            self._look_for(name, then)

    def find_made(self, name: str, then: Found) -> None:
        """As ``find``, for a topic that was just created: repeats until a broker knows it."""
        until = self._now() + SHOWN_S

        def look() -> None:
            self._missing.pop(name, None)
            self.find(name, found)

        def found(it: Any) -> None:  # noqa: ANN401
            if isinstance(it, Entry):
                self.made(name, it)
                then(it)
            elif self._now() < until and not self._over:
                self._call_at(self._now() + SHOWN_LOOK_S, look)
            else:
                then(
                    Failed(
                        f"topic {name!r} was created, but no broker shows it yet: look for it later"
                    )
                )

        look()

    def _is_missing(self, name: str) -> bool:
        at = self._missing.get(name)
        return at is not None and self._now() < at + MISSING_S

    def _doubt(self, name: str) -> None:
        """A reply does not include the topic: ask another broker."""
        if name in self.entries and name not in self._looked_for and not self._is_believed(name):
            self._look_for(name, None)

    def _is_believed(self, name: str) -> bool:
        return self._now() < self._made.get(name, float("-inf"))

    def _look_for(self, name: str, then: Found | None) -> None:
        waiting = self._looked_for.setdefault(name, [])
        if then is not None:
            waiting.append(then)
        if not self._asking:
            self._asking = True
            self._call_at(self._now(), self._ask)

    def _ask(self) -> None:
        if self._over:
            return
        names = list(self._looked_for)[:NAMES_MAX]
        messages = kinds.METADATA.messages()
        request = messages.Request(
            [messages.Topic(name=it) for it in names], allow_auto_topic_creation=False
        )
        self._brokers.ask_any(kinds.METADATA, request, partial(self._answered, names))

    def _answered(self, names: Sequence[str], answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer, LogstoreError):
            found: Mapping[str, Entry | None] = {}
            why = answer
        else:
            found = _entries(answer.topics)
            why = ClusterUnreachable("a broker can't tell whether the topic exists: try again")
        thens = [(name, self._looked_for.pop(name)) for name in names]
        for name in names:
            if name in found:
                self._known(name, found[name])
        self._asking = bool(self._looked_for)
        if self._asking:
            self._ask()
        for name, waiting in thens:
            for then in waiting:
                then(self.entries.get(name) if name in found else why)

    def _known(self, name: str, entry: Entry | None) -> None:
        if entry is not None:
            self._missing.pop(name, None)
            self._take(name, entry)
            return
        if name in self.entries:
            if not self._is_believed(name):
                self._vanish(name)
            return
        if len(self._missing) >= MISSING_MAX:
            self._missing.clear()
        self._missing[name] = self._now()

    # Changes

    def made(self, name: str, entry: Entry) -> None:
        """The topic was created or extended, as its creator reports."""
        self._missing.pop(name, None)
        self._gone.pop(name, None)
        self._believe(name)
        self._take(name, entry)

    def _believe(self, name: str) -> None:
        self._forget_old()
        self._made.pop(name, None)  # the latest are last
        self._made[name] = self._now() + BELIEVED_S

    def deleted(self, name: str) -> None:
        """The topic was deleted, as the deleting code reports."""
        if name in self.entries:
            self._vanish(name)

    def _take(self, name: str, entry: Entry) -> None:
        """Add the topic, because somebody reports it."""
        key: bytes | str = name if entry.id == NIL_UUID else entry.id
        if self._now() < self._gone.get(key, float("-inf")):
            return
        known = self.entries.get(name)
        if known is not None and known.id != entry.id:
            self._vanish(name)
            known = None
        if known is not None and entry.partitions <= known.partitions:
            return  # they only become more
        self._put(name, entry)
        if known is None and self.ready:
            self._believe(name)
        self._tell("created" if known is None else "grown", name, entry)

    def _put(self, name: str, entry: Entry) -> None:
        self.entries[name] = entry
        self._changes += 1
        if entry.id != NIL_UUID:
            self._names[entry.id] = name

    def _vanish(self, name: str) -> None:
        self._forget_old()
        entry = self.entries.pop(name)
        self._changes += 1
        self._names.pop(entry.id, None)
        self._made.pop(name, None)
        key: bytes | str = name if entry.id == NIL_UUID else entry.id
        self._gone.pop(key, None)
        self._gone[key] = self._now() + (GONE_S if key is name else BELIEVED_S)
        self._tell("deleted", name, entry)

    def _tell(self, event: Event, name: str, entry: Entry) -> None:
        if self.ready:  # the first time nothing is news
            for heard in list(self._heard):
                heard(event, name, entry)

    def _forget_old(self) -> None:
        """Remove expired entries. Both maps are nearly in the order of time."""
        now = self._now()
        for times in (self._made, self._gone):
            for key, _ in list(takewhile(lambda it: it[1] <= now, times.items())):
                del times[key]

    def close(self) -> None:
        """Send no more requests."""
        self._over = True
        self._stop()
        if self._alarm is not None:
            self._alarm.cancel()


def _read(
    decode: Callable[[], Any], before: Mapping[str, Entry]
) -> "Sequence[_Difference] | LogstoreError":
    """The differences in a reply. In any thread."""
    try:
        found = _entries(decode().topics)
    except LogstoreError as error:
        return error
    there = {name: entry for name, entry in found.items() if entry is not None}
    differences: list[_Difference] = [
        (name, before.get(name), entry)
        for name, entry in there.items()
        if before.get(name) != entry
    ]
    differences += [(name, before[name], None) for name in sorted(before.keys() - there.keys())]
    return differences


def _entries(topics: Iterable[Any]) -> dict[str, Entry | None]:
    """The entries by name; None: no such topic. Topics that the broker cannot describe now are
    omitted.
    """
    found: dict[str, Entry | None] = {}
    for it in topics:
        if it.name is None:
            continue
        if it.error_code == 0:
            found[it.name] = Entry(it.topic_id or NIL_UUID, partitions_of(it))
        elif it.error_code in NOT_THERE:
            found[it.name] = None
    return found
