"""What others append to partitions of a cluster, as it comes: one fetch to each node, which waits.

A node is told once which partitions are followed, and from where; then only what has changed goes
over (fetch sessions, KIP-227). It answers as soon as any of them has news.
"""

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any, Final, Protocol

from logstore.cluster import kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Brokers, Use
from logstore.errors import LogstoreError
from logstore.kafka.fetch_codec import (
    FINAL_EPOCH,
    NO_SESSION,
    READ_COMMITTED,
    Asked,
    FetchRequest,
    Got,
)

WAIT_MS: Final = 500
ANSWER_S: Final = 15.0
BYTES_MAX: Final = 8 << 20  # of an answer
PARTITION_BYTES_MAX: Final = 1 << 20
EPOCH_MAX: Final = 2**31 - 1
SESSION_LOST: Final = frozenset({70, 71, 106})

# What a node says that is about now, or about who leads.
AGAIN: Final = frozenset({3, 5, 6, 9, 13, 56, 74, 75, 76, 78, 100})

Place = tuple[str, int]


class Follower(Protocol):
    """A partition, as whoever follows it is told."""

    @property
    def place(self) -> Place: ...
    @property
    def position(self) -> int:
        """The offset from which on it wants to be told."""

    def fetched(self, got: Got) -> None:
        """News; without records, too."""

    def refused(self, code: int) -> None:
        """There is nothing to be had from that position on, for good."""


class _Session:
    """With one node."""

    def __init__(self, backoff: Backoff) -> None:
        self.id = NO_SESSION
        self.epoch = 0
        self.told: dict[Place, int] = {}  # positions that the node knows
        self.asking = False
        self.waking = False  # looked at again when it may be asked
        self.not_before = 0.0
        self.backoff = backoff

    def forget(self) -> None:
        """The next fetch begins a new one."""
        self.id, self.epoch = NO_SESSION, 0
        self.told = {}


class Fetcher:
    """Of one process and cluster. Used in one thread."""

    def __init__(
        self,
        brokers: Brokers,
        now: Callable[[], float],
        soon: Callable[[Callable[[], object]], object],
        call_at: Callable[[float, Callable[[], object]], object],
        random: Random,
    ) -> None:
        """``soon`` has something called once, at the end of this turn; from any thread."""
        self.brokers = brokers
        self._now = now
        self.soon = soon  # from any thread
        self._call_at = call_at
        self._random = random
        self._followers: dict[Place, Follower] = {}
        self._sessions: dict[int, _Session] = {}
        brokers.watch(self._look)

    def follow(self, follower: Follower) -> None:
        """From its position on, until ``leave``."""
        self._followers[follower.place] = follower
        self.brokers.want(follower.place[0])
        self.soon(self._look)

    def leave(self, follower: Follower) -> None:
        """It wants nothing more."""
        if self._followers.get(follower.place) is follower:  # or another follows it by now
            del self._followers[follower.place]

    # Asking

    def _look(self) -> None:
        """Ask every node that leads something that is followed, and is not asked."""
        for node, wanted in self._by_node().items():
            session = self._sessions.get(node)
            if session is None:
                session = self._sessions[node] = _Session(Backoff(self._random))
            if session.asking:
                continue
            if self._now() >= session.not_before:
                self._ask(node, session, wanted)
            else:  # a loop's timer may ring a moment too early
                self._look_at(session)

    def _by_node(self) -> dict[int, dict[Place, Follower]]:
        found: dict[int, dict[Place, Follower]] = {}
        for place, follower in self._followers.items():
            node = self.brokers.view.leader(*place)
            if node is not None:
                found.setdefault(node, {})[place] = follower
        return found

    def _ask(self, node: int, session: _Session, wanted: dict[Place, Follower]) -> None:
        session.asking = True
        positions = {place: it.position for place, it in wanted.items()}
        changed = {p: at for p, at in positions.items() if session.told.get(p) != at}
        gone = [it for it in session.told if it not in positions]
        session.told = positions
        view = self.brokers.view
        request = FetchRequest(
            WAIT_MS, 1, BYTES_MAX, READ_COMMITTED, session.id, session.epoch,
            [
                Asked(topic, number, at, PARTITION_BYTES_MAX, view.epoch(topic, number))
                for (topic, number), at in _grouped(changed.items())
            ],
            list(gone), by_id=False,
        )  # fmt: skip
        self.brokers.ask(
            node, kinds.FETCH, request, partial(self._answered, node, session), Use.FETCH, ANSWER_S
        )

    def _answered(self, node: int, session: _Session, answer: Any) -> None:  # noqa: ANN401
        session.asking = False
        if isinstance(answer, LogstoreError):
            session.forget()
            self._hold(session)
            self.brokers.refresh()
            return
        if answer.error_code in SESSION_LOST:
            session.forget()
            self.soon(self._look)
            return
        if answer.error_code:
            session.forget()
            self._hold(session)
            return
        session.id = answer.session_id
        session.epoch = 1 if session.epoch >= EPOCH_MAX else session.epoch + 1
        if session.id == NO_SESSION:  # the node has as many as it bears
            session.forget()
        if self._take(session, answer.got):
            session.backoff.succeeded()
            self.soon(self._look)
        else:
            self._hold(session)

    def _take(self, session: _Session, got: Iterable[Got]) -> bool:
        """Whether nothing has to be waited for."""
        fine = True
        for it in got:
            assert isinstance(it.topic, str)
            place = it.topic, it.partition
            follower = self._followers.get(place)
            if it.error_code:
                session.told.pop(place, None)  # the node forgets it, too
            if follower is None:
                continue
            if it.error_code == 0:
                follower.fetched(it)
            elif it.error_code in AGAIN:
                fine = False
            else:
                follower.refused(it.error_code)
        if not fine:
            self.brokers.refresh()
        return fine

    def _hold(self, session: _Session) -> None:
        session.not_before = self._now() + session.backoff.failed()
        self._look_at(session)

    def _look_at(self, session: _Session) -> None:
        if not session.waking:
            session.waking = True

            def wake() -> None:
                session.waking = False
                self._look()

            self._call_at(session.not_before, wake)

    # Once

    def fetch(self, place: Place, at: int, bytes_max: int, then: Callable[[Any], None]) -> None:
        """What stands from an offset on, without waiting; ``then`` gets a Got, or an error."""
        topic, number = place
        node = self.brokers.view.leader(topic, number)
        if node is None:
            self.brokers.want(topic)
            self.brokers.refresh()
            then(None)
            return
        asked = Asked(topic, number, at, bytes_max, self.brokers.view.epoch(topic, number))
        request = FetchRequest(
            0, 1, bytes_max, READ_COMMITTED, NO_SESSION, FINAL_EPOCH, [asked], [], by_id=False
        )

        def answered(answer: Any) -> None:  # noqa: ANN401
            failed = isinstance(answer, LogstoreError) or answer.error_code or not answer.got
            then(answer if isinstance(answer, LogstoreError) else None if failed else answer.got[0])

        self.brokers.ask(node, kinds.FETCH, request, answered)


def _grouped(positions: Iterable[tuple[Place, int]]) -> list[tuple[Place, int]]:
    """Partitions of one topic behind each other."""
    return sorted(positions)
