"""Fetches new records of partitions from a cluster: one waiting fetch to each node.

A node is told once which partitions are followed, and from which offsets; later requests contain
only changes (fetch sessions, KIP-227). It replies as soon as any of the partitions has new records.

A partition is read from its leader, which may name a nearer replica according to the client's rack
(KIP-392). That replica is then read from for a while, as long as it replies.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from logstore.cluster import kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Brokers, Use
from logstore.cluster.by_id import Fetch
from logstore.cluster.fetch_session import FetchSession, Place, Told
from logstore.cluster.view import NO_NODE
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
SESSION_LOST: Final = frozenset({70, 71, 106})

# What a node says that is about now, or about who leads.
AGAIN: Final = frozenset({3, 5, 6, 9, 13, 56, 74, 75, 76, 78, 100, 103})
OUT_OF_RANGE: Final = 1
NOTHING_S: Final = 0.1  # until it is told that nothing came: whoever reads asks again at once
PREFERRED_S: Final = 300.0  # then the leader is asked again whom to read from


class Follower(Protocol):
    """Receives the records of a partition."""

    @property
    def place(self) -> Place: ...
    @property
    def position(self) -> int:
        """The offset from which on it wants records."""

    def fetched(self, got: Got) -> None:
        """News, perhaps without records."""

    def refused(self, code: int) -> None:
        """Nothing can be read from that position on, permanently."""


class _Several:
    """The followers of one partition, as one ``Follower``. Followers that are behind come first."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self.followers = followers
        self.place = followers[0].place

    @property
    def position(self) -> int:
        """As Follower.position."""
        return min(it.position for it in self.followers)

    def _next(self) -> list[Follower]:
        """The followers that a reply is for; the others want later records."""
        position = self.position
        return [it for it in self.followers if it.position == position]

    def fetched(self, got: Got) -> None:
        """As Follower.fetched."""
        for it in self._next():
            it.fetched(got)

    def refused(self, code: int) -> None:
        """As Follower.refused."""
        for it in self._next():
            it.refused(code)


def _each(follower: Follower | None) -> Sequence[Follower]:
    if follower is None:
        return ()
    return follower.followers if isinstance(follower, _Several) else (follower,)


class _Preferred(NamedTuple):
    """The replica that a partition is read from."""

    node: int
    until: float


class Fetcher:
    """The fetches of one process from one cluster. Used in one thread."""

    def __init__(
        self,
        brokers: Brokers,
        now: Callable[[], float],
        soon: Callable[[Callable[[], object]], object],
        call_at: Callable[[float, Callable[[], object]], object],
        random: Random,
        rack: str = "",
    ) -> None:
        """``soon`` makes a call once, at the end of this turn; from any thread.

        ``rack``: the rack of this process; "": not sent.
        """
        self.brokers = brokers
        self._rack = rack
        self._preferred: dict[Place, _Preferred] = {}  # the first one ends first
        self._now = now
        self.soon = soon
        self._call_at = call_at
        self._random = random
        self._followers: dict[Place, Follower] = {}
        self._sessions: dict[int, FetchSession[Follower]] = {}
        self._nodes: dict[Place, int] = {}  # from which each is fetched
        # What is to be looked at: whom to fetch it from, and from where on. With thousands that
        # are followed nothing goes round all of them but news of the view.
        self._noted: dict[Place, None] = {}
        brokers.watch(self._look_at_all)

    def follow(self, follower: Follower) -> None:
        """Follow a partition from its position on, until ``leave``."""
        place = follower.place
        if follower not in _each(self._followers.get(place)):
            self._put(place, [*_each(self._followers.get(place)), follower])
        self.brokers.want(place[0])
        self.soon(self._look)

    def leave(self, follower: Follower) -> None:
        """Stop following."""
        place = follower.place
        those = _each(self._followers.get(place))
        if follower in those:
            self._put(place, [it for it in those if it is not follower])

    def _put(self, place: Place, those: Sequence[Follower]) -> None:
        self._noted[place] = None
        if not those:
            del self._followers[place]
        else:
            self._followers[place] = those[0] if len(those) == 1 else _Several(those)

    # Asking

    def _look_at_all(self) -> None:
        """The view has changed."""
        self._noted.update(dict.fromkeys(self._followers))
        self._look()

    def _look(self) -> None:
        """Send a fetch to every node that leads a followed partition and has no fetch waiting."""
        self._place_noted()
        for node, session in self._sessions.items():
            if session.asking or not session.wanted:
                continue
            if self._now() >= session.not_before:
                self._ask(node, session)
            else:  # a loop's timer may ring a moment too early
                self._look_at(session)

    def _place_noted(self) -> None:
        now = self._now()
        while self._preferred:
            place, it = next(iter(self._preferred.items()))
            if it.until > now:
                break
            self._prefer_none(place)
        noted, self._noted = self._noted, {}
        for place in noted:
            before = self._nodes.pop(place, None)
            node = self._node_of(place) if place in self._followers else None
            if before is not None and before != node:
                self._sessions[before].drop(place)
            if node is not None:
                self._nodes[place] = node
                self._session_with(node).want(place)

    def _session_with(self, node: int) -> FetchSession[Follower]:
        session = self._sessions.get(node)
        if session is None:
            session = self._sessions[node] = FetchSession(Backoff(self._random))
        return session

    def _node_of(self, place: Place) -> int | None:
        """The node to read it from; None: unknown, or there is none."""
        preferred = self._preferred.get(place)
        if preferred is not None:
            if preferred.node in self.brokers.view.nodes and self._now() < preferred.until:
                return preferred.node
            self._prefer_none(place)
        return self.brokers.view.leader(*place)

    def _prefer(self, place: Place, node: int) -> None:
        self._prefer_none(place)
        self._preferred[place] = _Preferred(node, self._now() + PREFERRED_S)

    def _prefer_none(self, place: Place) -> None:
        """Read from the leader again, which may name another replica."""
        self._preferred.pop(place, None)
        self._noted[place] = None

    def _is_preferred(self, place: Place, node: int) -> bool:
        preferred = self._preferred.get(place)
        return preferred is not None and preferred.node == node

    def _ask(self, node: int, session: FetchSession[Follower]) -> None:
        session.asking = True
        news = session.next(self._tell)
        epoch = self.brokers.view.epoch
        request = FetchRequest(
            WAIT_MS, 1, BYTES_MAX, READ_COMMITTED, session.id, session.epoch,
            [
                Asked(*place, it.position, PARTITION_BYTES_MAX, epoch(*place))
                for place, it in sorted(news.changed.items(), key=_place_of)
            ],
            sorted(news.gone), by_id=False, rack=self._rack,
        )  # fmt: skip
        then = partial(self._answered, node, session, news.names)
        self.brokers.ask(node, kinds.FETCH, Fetch(request, news.ids), then, Use.FETCH, ANSWER_S)

    def _tell(self, place: Place) -> Told[Follower]:
        follower = self._followers[place]
        return Told(follower.position, self.brokers.view.id_of(place[0]), follower)

    def _answered(
        self,
        node: int,
        session: FetchSession[Follower],
        names: Mapping[str | bytes, str],
        answer: Any,  # noqa: ANN401
    ) -> None:
        session.asking = False
        if isinstance(answer, LogstoreError):
            session.forget()
            self._back_to_leaders(node)
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
        told = session.told
        session.answered(answer.session_id)
        fine = True
        for it in answer.got:
            place = names.get(it.topic, ""), it.partition
            known, follower = told.get(place), self._followers.get(place)
            if known is None:
                continue  # nobody has asked for it
            self._noted[place] = None
            if it.error_code:
                session.tell_anew(place)
            if follower is known.follower:  # or another follows it by now, from elsewhere
                fine &= self._take(node, place, follower, it)
        if fine:
            session.backoff.succeeded()
            self.soon(self._look)
        else:
            self.brokers.refresh()
            self._hold(session)

    def _take(self, node: int, place: Place, follower: Follower, got: Got) -> bool:
        """Process a reply; returns whether the next fetch can be sent immediately."""
        code = got.error_code
        if code == 0:
            follower.fetched(got)
            if got.preferred not in (NO_NODE, node):
                if got.preferred not in self.brokers.view.nodes:
                    return False
                self._prefer(place, got.preferred)
        elif self._is_preferred(place, node) and (code in AGAIN or code == OUT_OF_RANGE):
            self._prefer_none(place)
        elif code in AGAIN:
            return False
        else:
            follower.refused(code)
        return True

    def _back_to_leaders(self, node: int) -> None:
        """The preferred replica does not reply."""
        places = [it for it in self._preferred if self._is_preferred(it, node)]
        for place in places:
            self._prefer_none(place)
        if places:
            self.soon(self._look)

    def _hold(self, session: FetchSession[Follower]) -> None:
        session.not_before = self._now() + session.backoff.failed()
        self._look_at(session)

    def _look_at(self, session: FetchSession[Follower]) -> None:
        if not session.waking:
            session.waking = True

            def wake() -> None:
                session.waking = False
                self._look()

            self._call_at(session.not_before, wake)

    # Once

    def fetch(self, place: Place, at: int, bytes_max: int, then: Callable[[Any], None]) -> None:
        """Fetch from an offset on, without waiting for new records; ``then`` gets a Got, or an
        error.

        None: no node is known to have it. Failures are reported after a while.
        """
        topic, number = place
        node = self._node_of(place)
        if node is None:
            self.brokers.want(topic)
            self._tell_later(then, None)
            return
        asked = Asked(topic, number, at, bytes_max, self.brokers.view.epoch(topic, number))
        request = FetchRequest(
            0, 1, bytes_max, READ_COMMITTED, NO_SESSION, FINAL_EPOCH, [asked], [], by_id=False
        )
        ids = {topic: self.brokers.view.id_of(topic)}
        answered = partial(self._once_answered, node, place, then)
        self.brokers.ask(node, kinds.FETCH, Fetch(request, ids), answered)

    def _once_answered(
        self,
        node: int,
        place: Place,
        then: Callable[[Any], None],
        answer: Any,  # noqa: ANN401
    ) -> None:
        failed = isinstance(answer, LogstoreError) or answer.error_code or not answer.got
        if self._is_preferred(place, node) and (failed or answer.got[0].error_code):
            self._prefer_none(place)
            then(None)
        elif failed:
            self._tell_later(then, answer if isinstance(answer, LogstoreError) else None)
        elif answer.got[0].error_code in AGAIN:
            self._tell_later(then, answer.got[0])
        else:
            then(answer.got[0])

    def _tell_later(self, then: Callable[[Any], None], found: Got | LogstoreError | None) -> None:
        self.brokers.refresh()
        self._call_at(self._now() + NOTHING_S, partial(then, found))


def _place_of(told: tuple[Place, Told[Follower]]) -> Place:
    """A sort key: partitions of one topic are adjacent."""
    return told[0]
