"""A partition that this process takes over: from its name's next epoch to the state that it serves.

::

    naming      the next epoch of the partition's name is asked for
    claiming    a claim is on its way; whoever owned it before is refused once it stands
    reading     what stands below the claim is read
    owned       it is served; this process alone appends
    lost        somebody else has claimed it, or it could not be read: what was appended and is not
                done is not to be told of as done

Each step is told by the cluster; what is lost stays lost, and who still should own the partition
begins anew. A leader that has forgotten the producer may have taken another one's batches, too, so
that is a loss as well.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from logstore.cluster.claims import BEAT, CLAIM, Claims, Word, batch_of
from logstore.cluster.identity import Identity, Then
from logstore.errors import FencedProducer, LogstoreError
from logstore.log import Log
from logstore.records.batch import Batch

BEAT_EVERY_MS: Final = 3_600_000  # leaders forget producers that send nothing for a day
READ_BYTES: Final = 1 << 20


class Stage(Enum):
    """Where it is."""

    NAMING = auto()
    CLAIMING = auto()
    READING = auto()
    OWNED = auto()
    LOST = auto()


class State(Protocol):
    """What is made of the partition's records."""

    def apply(self, batch: Batch) -> None:
        """The next one that counts. Raises LogstoreError."""


class Around(Protocol):
    """What a takeover has around it."""

    def named(self, then: Then) -> None:
        """The next identity of the partition's name."""

    def opened(self, identify: Callable[[Then], None]) -> Log:
        """The partition, for one who appends as ``identify`` says."""

    def now_ms(self) -> int:
        """Since 1970."""

    def soon(self, call: Callable[[], object]) -> object:
        """Have it called, from any thread, in this one."""

    def changed(self) -> None:
        """Its stage is another one."""


class Takeover:
    """Of one partition. Used in one thread."""

    def __init__(self, around: Around, node: str, address: str, state: State) -> None:
        """``node``, ``address``: of this process, as others know it."""
        self.stage = Stage.NAMING
        self.failure: LogstoreError | None = None
        self.claims = Claims()
        self.log: Log | None = None
        self._around = around
        self._node = node
        self._address = address
        self._state = state
        self._mark = 0  # of the claim
        self._at = 0  # what is read next
        self._said_ms = 0
        self._stop: Callable[[], None] = lambda: None
        around.named(self._named)

    # Its way

    def _named(self, found: Identity | LogstoreError) -> None:
        if self.stage is Stage.LOST:
            return
        if isinstance(found, LogstoreError):
            self._lose(found)
            return
        given: list[Identity] = [found]

        def identify(then: Then) -> None:
            if given:
                then(given.pop())
            else:
                then(FencedProducer("its leader does not know any more who appended last"))

        self.log = self._around.opened(identify)
        self._stop = self.log.watch(self._wake)
        self._become(Stage.CLAIMING)
        self._mark = self._say(CLAIM)

    def _wake(self) -> None:
        self._around.soon(self._look)

    def _say(self, kind: str) -> int:
        assert self.log is not None
        self._said_ms = self._around.now_ms()
        word = Word(kind, self._node, self._address, self._said_ms, self.claims.snapshot)
        return self.log.append(batch_of(word))

    def _look(self) -> None:
        """There is news of the log."""
        log = self.log
        if log is None or self.stage is Stage.LOST:
            return
        try:
            log.check_failure()
            if self.stage is Stage.CLAIMING and log.done > self._mark:
                self._at = log.start
                self._become(Stage.READING)
            if self.stage is Stage.READING:
                self._read(log)
        except LogstoreError as error:
            self._lose(error)

    def _read(self, log: Log) -> None:
        claim = log.offset_of(self._mark)
        while self._at <= claim:
            batches = log.read(max(self._at, log.start), READ_BYTES)
            if not batches:
                return  # it wakes when there is more
            for batch in batches:
                if batch.base_offset > claim:
                    break
                if self.claims.admits(batch):
                    self._state.apply(batch)
                self._at = batch.next_offset
        self._become(Stage.OWNED)

    # Owned

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises FencedProducer where it is not owned."""
        if self.stage is not Stage.OWNED or self.log is None:
            raise FencedProducer("this node does not own the partition")
        self._said_ms = self._around.now_ms()
        return self.log.append(batch)

    def beat(self) -> None:
        """Called once in a while: leaders are to remember who appends."""
        if self.stage is Stage.OWNED and self._around.now_ms() >= self._said_ms + BEAT_EVERY_MS:
            self.say_beat()

    def say_beat(self, snapshot: int = -1) -> int:
        """A beat now, as before all that stands is deleted; its mark.

        ``snapshot``: where the whole state stands.
        """
        self.claims.snapshot = max(self.claims.snapshot, snapshot)
        return self._say(BEAT)

    def leave(self) -> None:
        """Another process is to own it."""
        self._lose(FencedProducer("this node has given the partition up"))

    # Its end

    def _lose(self, why: LogstoreError) -> None:
        if self.stage is not Stage.LOST:
            self.failure = why
            self._stop()
            self._become(Stage.LOST)

    def _become(self, stage: Stage) -> None:
        self.stage = stage
        self._around.changed()
