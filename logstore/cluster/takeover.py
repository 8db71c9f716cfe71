"""The takeover of a partition by this process: from a new epoch of its name to the served state.

::

    naming      requests the next epoch of the partition's name
    looking     looks for the last claim among the present records
    fencing     the last claim is of another producer id, so the new epoch does not fence it:
                appends a fence with the next epoch of that id
    claiming    appends a claim; once it is stored, the previous owner is refused
    reading     reads the records below the claim
    owned       serves the partition; this process alone appends
    ending      appends nothing more, and waits for its unfinished appends
    lost        another node has claimed the partition, or it could not be read: appends that are
                not done must not be reported as done

Replies of the cluster drive each step. A lost takeover stays lost; a node that should still own the
partition begins a new takeover. A leader that has forgotten the producer may have accepted another
producer's batches, so this counts as a loss, too.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from logstore.cluster.claims import BEAT, CLAIM, FENCE, Claim, Claims, Word, batch_of
from logstore.cluster.identity import Identity, Then
from logstore.errors import ClusterBehind, FencedProducer, LogstoreError
from logstore.log import Log
from logstore.records.batch import Batch

BEAT_EVERY_S: Final = 3600.0  # leaders forget producers that send nothing for a day
READ_BYTES: Final = 1 << 18  # in one turn


class Stage(Enum):
    """The step that a takeover has reached."""

    NAMING = auto()
    LOOKING = auto()
    FENCING = auto()
    CLAIMING = auto()
    READING = auto()
    OWNED = auto()
    ENDING = auto()
    LOST = auto()


class State(Protocol):
    """What is built from the partition's records."""

    def apply(self, batch: Batch) -> None:
        """Apply the next valid batch. Raises LogstoreError."""


class Around(Protocol):
    """The surroundings of a takeover."""

    def named(self, then: Then) -> None:
        """Request the next identity of the partition's name."""

    def last_claim(self, then: Callable[[Claim | LogstoreError | None], None]) -> None:
        """Request the last of the claims that exist now."""

    def opened(self, identify: Callable[[Then], None]) -> Log:
        """The partition's log for the identity in ``identify``. Raises LogstoreError."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def now_ms(self) -> int:
        """The time in ms since 1970."""

    def soon(self, call: Callable[[], object]) -> object:
        """Make the call in this thread; from any thread."""

    def changed(self) -> None:
        """The stage has changed."""


class Takeover:
    """The takeover of one partition. Used in one thread."""

    def __init__(
        self, around: Around, node: str, address: str, state: State, joined_at: float = 0.0
    ) -> None:
        """``node``, ``address``: of this process, as others know them. ``joined_at``: when it had
        joined the group, as ``standing.Group`` says.
        """
        self.stage = Stage.NAMING
        self.failure: LogstoreError | None = None
        self.claims = Claims()
        self.claim: Claim | None = None  # of this takeover, once it was read
        self.log: Log | None = None
        self.joined_at = joined_at
        self._around = around
        self._node = node
        self._address = address
        self._state = state
        self._identity: Identity | None = None
        self._before: Claim | None = None
        self._mark = 0  # of the claim, or the fence
        self._upto = 0  # the mark after all that was appended
        self._at = 0  # what is read next
        self._since_ms = 0
        self._said_at = 0.0
        self._stop: Callable[[], object] = lambda: None
        around.named(self._named)

    @property
    def next_offset(self) -> int:
        """The offset of the next record, once it was owned; nothing else appends."""
        assert self.claim is not None
        return self.claim.offset + self._upto - self._mark

    # Its way

    def _try(self, step: Callable[[], None]) -> None:
        """Do the next step; if it fails, the takeover is lost."""
        if self.stage is Stage.LOST:
            return
        try:
            step()
        except LogstoreError as error:
            self._lose(error)

    def _named(self, found: Identity | LogstoreError) -> None:
        def step() -> None:
            if isinstance(found, LogstoreError):
                raise found
            self._identity = found
            self._become(Stage.LOOKING)
            self._around.last_claim(self._looked)

        self._try(step)

    def _looked(self, found: Claim | LogstoreError | None) -> None:
        def step() -> None:
            assert self._identity is not None
            if isinstance(found, LogstoreError):
                raise found
            self._before = found
            if found is not None and found.pid != self._identity.pid:
                self._open(Identity(found.pid, found.epoch + 1))
                self._become(Stage.FENCING)
                self._mark = self._say(FENCE)
            else:
                self._claim_it()

        self._try(step)

    def _claim_it(self) -> None:
        assert self._identity is not None
        self._open(self._identity)
        self._since_ms = self._around.now_ms()
        self._become(Stage.CLAIMING)
        self._mark = self._say(CLAIM)

    def _open(self, identity: Identity) -> None:
        given: list[Identity] = [identity]

        def identify(then: Then) -> None:
            if given:
                then(given.pop())
            else:
                then(FencedProducer("its leader does not know any more who appended last"))

        self._stop()
        self.log = self._around.opened(identify)
        self._stop = self.log.watch(self._wake)

    def _wake(self) -> None:
        self._around.soon(self._look)

    def _say(self, kind: str) -> int:
        word = Word(
            kind, self._node, self._address, self._around.now_ms(), self._since_ms,
            self.claims.snapshot,
        )  # fmt: skip
        mark = self._append(batch_of(word))
        self._said_at = self._around.now()
        return mark

    def _append(self, batch: Batch) -> int:
        assert self.log is not None
        mark = self.log.append(batch)
        self._upto = mark + batch.last_offset_delta + 1
        return mark

    def _look(self) -> None:
        """There is news of the log."""
        self._try(self._go_on)

    def _go_on(self) -> None:
        log = self.log
        assert log is not None
        log.check_failure()
        if self.stage is Stage.FENCING and log.done > self._mark:
            self._claim_it()
        elif self.stage is Stage.CLAIMING and log.done > self._mark:
            self._at = log.start
            self._become(Stage.READING)
        if self.stage is Stage.READING:
            self._read(log)
        elif self.stage is Stage.ENDING and log.done >= self._upto:
            self.leave()

    def _read(self, log: Log) -> None:
        claim = log.offset_of(self._mark)
        if claim < 0:
            raise FencedProducer("its leader does not know any more where the claim stands")
        batches = log.read(max(self._at, log.start), READ_BYTES)
        for batch in batches:
            if batch.base_offset >= claim:
                self._found(batch, claim)
                return
            if self.claims.admits(batch):
                self._state.apply(batch)
            self._at = batch.next_offset
        if batches:
            self._around.soon(self._look)  # else it wakes when there is more

    def _found(self, batch: Batch, claim: int) -> None:
        """Everything below the claim is read: decide whether the claim is valid, as other readers
        do.
        """
        assert self._identity is not None
        before, pid = self.claims.owner, self._identity.pid
        self.claims.admits(batch)
        now = self.claims.owner
        if now is None or (now.offset, now.word.node) != (claim, self._node):
            raise FencedProducer("another node has claimed it")
        fenced = pid if self._before is None else self._before.pid
        if before is not None and before.pid not in (pid, fenced):
            raise FencedProducer("another producer has claimed it meanwhile, and is not refused")
        self.claim = now
        self._become(Stage.OWNED)

    # Owned

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises FencedProducer where it is not owned."""
        if self.stage is not Stage.OWNED:
            raise FencedProducer("this node does not own the partition")
        return self._append(batch)

    def beat(self) -> None:
        """Called periodically, so that leaders remember the producer."""
        if self.stage is not Stage.OWNED or self._around.now() < self._said_at + BEAT_EVERY_S:
            return
        try:
            self.say_beat()
        except ClusterBehind:
            return  # the next call says it: what is under way is heard of as well
        except LogstoreError as error:
            self._lose(error)

    def say_beat(self, snapshot: int = -1) -> int:
        """Append a beat, as before all existing records are deleted; returns its mark. Raises as
        ``append``.

        ``snapshot``: the offset of the whole state.
        """
        if self.stage is not Stage.OWNED:
            raise FencedProducer("this node does not own the partition")
        self.claims.snapshot = max(self.claims.snapshot, snapshot)
        return self._say(BEAT)

    # Its end

    def finish(self) -> None:
        """Give up to another process: append nothing more, and wait for unfinished appends."""
        if self.stage is Stage.OWNED:
            self._become(Stage.ENDING)
            self._look()
        elif self.stage is not Stage.ENDING:
            self.leave()

    def leave(self) -> None:
        """Give up to another process immediately."""
        self._lose(FencedProducer("this node has given the partition up"))

    def seen(self, claim: Claim) -> None:
        """The last claim that a reader has read: another's claim above this one ends it."""
        if self.claim is not None and claim.offset > self.claim.offset:
            self._lose(FencedProducer(f"node {claim.word.node} has claimed it"))

    def _lose(self, why: LogstoreError) -> None:
        if self.stage is not Stage.LOST:
            self.failure = why
            self._stop()
            self._become(Stage.LOST)

    def _become(self, stage: Stage) -> None:
        self.stage = stage
        self._around.changed()
