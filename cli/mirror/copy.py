"""The copy itself: read, note, write, over and over; and where each partition begins."""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.config import text_of
from logstore.errors import Damaged, Refused, TopicExists
from logstore.log import TopicPartition

from .journal import Journal
from .piece import Piece
from .sides import Ready, Source, Spoiled, Target
from .track import Run

POLL_S: Final = 0.1  # how long a signal may go unheard
QUIET_S: Final = 1.0  # a killed mirror's writes arrive within this time, or never
INTERNAL: Final = "__"  # Kafka's own topics


class Copy:
    """Of some topics, or of all that there are."""

    def __init__(
        self,
        source: Source,
        target: Target,
        journal: Journal,
        topics: Sequence[str] | None,
        *,
        say: Callable[[str], None],
        sleep: Callable[[float], object],
    ) -> None:
        """``topics``: None for all. ``say(line)`` informs people; ``sleep(seconds)`` waits."""
        self._source = source
        self._target = target
        self._journal = journal
        self._wanted = topics
        self._say = say
        self._sleep = sleep
        self._ends: dict[TopicPartition, int] = {}  # of the target
        self.next: dict[TopicPartition, int] = {}  # of the source: all below is copied
        self.records: dict[str, int] = {}  # copied by this process, by topic
        self.damage: Damaged | None = None  # the first; where it is, nothing more is copied
        self._damaged: set[TopicPartition | str] = set()

    # What there is to copy

    def survey(self) -> None:
        """Add all topics and partitions that are new. Raises LogstoreError."""
        site = self._source.site
        names = self._wanted
        if names is None:
            names = [it for it in site.topics() if not it.startswith(INTERNAL)]
        topics = {}
        for name in names:  # all, before one is begun
            try:
                topics[name] = site.topic(name)
            except Damaged as error:
                self._leave(name, error)
        for name, topic in topics.items():
            known = sum(it[0] == name for it in self.next)
            if known < len(topic.partitions):
                self._take_in(name, topic.id, range(known, len(topic.partitions)))

    def _take_in(self, name: str, source_id: str, numbers: range) -> None:
        self._make(name, numbers.stop)
        target_id = self._target.site.topic(name).id
        begun = self._journal.begun(name)
        if begun is None or begun[1] != target_id:
            self._begin(name, source_id, target_id)
        elif begun[0] != source_id:
            raise Refused(
                f"topic {name!r} was deleted and created again in the source since it was"
                " copied: delete the copy, then start again"
            )
        elif self._journal.is_spoiled(name):
            raise Refused(
                f"topic {name!r}: another program wrote to the copy: delete the copy, then"
                " start again"
            )
        self.records.setdefault(name, 0)
        ends = self._settled_ends(name, numbers)
        for number in numbers:
            self._begin_partition((name, number), ends[number])

    def _begin(self, name: str, source_id: str, target_id: str) -> None:
        """Begin a copy: the target's partitions must be empty."""
        partitions = len(self._target.site.topic(name).partitions)
        ends = self._target.ends(name, partitions)
        for number, end in enumerate(ends):
            if end > self._target.start((name, number)):
                raise Refused(
                    f"topic {name!r} already has records in the target, and no earlier"
                    " mirror run copied them: delete the topic in the target, or name the directory"
                    " of the earlier run's progress with --state"
                )
        self._journal.begin(name, source_id, target_id)

    def _make(self, name: str, partitions: int) -> None:
        """Create the topic in the target, with the same partitions and the supported settings."""
        target = self._target.site
        if name in target.topics():
            if len(target.topic(name).partitions) < partitions:
                target.alter_topic(name, partitions=partitions)
            return
        own = [it for it in self._source.site.describe_topic(name) if it.source == "topic"]
        settings: dict[str, str] = {}
        for it in own:
            text = text_of(it.value)
            try:
                self._target.accepts(name, {it.name: text})
            except Refused as error:
                if isinstance(error, TopicExists):
                    raise
                self._say(f"topic {name}: {it.name}={text} is not copied: {error}")
                continue
            settings[it.name] = text
        target.create_topic(name, partitions, settings)

    def _settled_ends(self, name: str, numbers: range) -> list[int]:
        """The target's ends; waits while a killed mirror's writes may be under way."""
        ends = self._target.ends(name, numbers.stop)
        while any(
            (track := self._journal.tracks.get((name, number))) is not None
            and (track.target_end or 0) > ends[number]
            for number in numbers
        ):
            before = ends
            self._sleep(QUIET_S)
            ends = self._target.ends(name, numbers.stop)
            if ends == before:
                break
        return ends

    def _begin_partition(self, place: TopicPartition, end: int) -> None:
        """Find where the copy continues: the target's end shows how many noted records arrived."""
        start = self._source.start(place)
        at = start
        track = self._journal.tracks.get(place)
        if track is not None and track.target_end is not None:
            if end > track.target_end:
                raise Refused(
                    f"{place[0]}-{place[1]}: the target has {end - track.target_end} records"
                    " that were not copied: another program writes to it; delete the copy, then"
                    " start again"
                )
            first = next(iter(track)).source
            track.cut(end)
            at = first if track.source_end is None else track.source_end
            if at < start:
                self._say(
                    f"{place[0]}-{place[1]}: offsets {at} to {start - 1} were deleted in the"
                    " source before they were copied"
                )
                at = start
        self._ends[place] = end
        self.next[place] = at
        self._source.add(place, at)

    # Copying

    def step(self) -> bool:
        """Copy available records; returns whether there were any. Raises LogstoreError."""
        pieces = self._source.read(POLL_S)
        for place, error in self._source.damages.items():
            self._leave(place, error)
        ready = [self._target.ready(piece) for piece in pieces]
        wanted = [it for it in ready if it.spans]
        if wanted:
            self._journal.note({it.place: self._runs(it) for it in wanted})
            self._write([(it, self._ends[it.place]) for it in wanted])
            for it in wanted:
                self._ends[it.place] += it.span
        for piece in pieces:
            self.next[piece.place] = piece.next_offset
            self.records[piece.place[0]] += _records(piece)
        return bool(pieces)

    def _leave(self, what: TopicPartition | str, error: Damaged) -> None:
        """Report that this partition or topic is copied no further, while others are."""
        if what not in self._damaged:
            self._damaged.add(what)
            self._say(f"logstore: {error}; copying of this partition has stopped")
            self.damage = self.damage or error

    def _write(self, pieces: Sequence[tuple[Ready, int]]) -> None:
        try:
            self._target.write(pieces)
        except Spoiled as error:
            self._journal.spoil(error.topic)  # or the next one would take it for a good copy
            raise

    def _runs(self, ready: Ready) -> list[Run]:
        runs, at = [], self._ends[ready.place]
        for offset, count in ready.spans:
            runs.append(Run(offset, at, count))
            at += count
        return runs

    @property
    def ended(self) -> bool:
        """Whether all available records are copied."""
        return self._source.ended

    def translate(self, place: TopicPartition, offset: int) -> int | None:
        """The position in the copy of a group at ``offset`` of the source.

        Uncopied records count as unread. None for a partition that is not copied here.
        """
        if place not in self.next:
            return None
        end, track = self._ends[place], self._journal.tracks.get(place)
        at = None if track is None else track.translate(min(offset, self.next[place]))
        return max(end if at is None else at, self._target.start(place))


def _records(piece: Piece) -> int:
    return len(piece.records) + sum(it.record_count for it in piece.batches)
