"""The owner of each partition of a topic, as known from the claims among its records.

All records are read from the start; they are few, because owners delete obsolete ones. A partition
that cannot be read, or that has an invalid claim, is read again after a while; until then its owner
is unknown.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from logstore.cluster.backoff import Backoff
from logstore.cluster.claims import Claim, Claims
from logstore.cluster.client import Client
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.offsets import LATEST
from logstore.cluster.owned_log import OwnedLog
from logstore.cluster.waiters import WaitFor
from logstore.cluster.writer import Identify
from logstore.errors import ClusterUnreachable, LogstoreError

READ_BYTES: Final = 1 << 18  # of a partition in one turn
AGAIN_S: Final = 1.0
AGAIN_MAX_S: Final = 30.0

Then = Callable[[Claim | LogstoreError | None], None]


class _Followed:
    """One partition that is followed."""

    def __init__(
        self,
        client: Client,
        wait_for: WaitFor,
        topic: str,
        number: int,
        told: Callable[[], object],
    ) -> None:
        self.failure: LogstoreError | None = None
        self._client = client
        self._wait_for = wait_for
        self._place = topic, number
        self._told = told
        self._backoff = Backoff(client.random, AGAIN_S, AGAIN_MAX_S)
        self._waiting: list[tuple[int, Then]] = []  # until so far is read
        self._over = False
        self._open()

    def _open(self) -> None:
        if self._over:
            return
        self.claims = Claims()
        self._at = 0
        self.log: ClusterLog | None = self._client.shared_log(self._place, 0, 0, self._wait_for)
        self._stop = self.log.watch(self._wake)

    def _wake(self) -> None:
        self._client.around.soon(self._look)

    def _look(self) -> None:
        log = self.log
        if log is None:
            return
        before = self.claims.owner
        try:
            log.check_failure()
            self._at = max(self._at, log.start)
            batches = log.read(self._at, READ_BYTES)
            for batch in batches:
                self.claims.admits(batch)
                self._at = batch.next_offset
        except LogstoreError as error:
            self._fail(error)
            return
        if batches:
            self.failure = None
            self._backoff.succeeded()
            self._wake()
        if self.claims.owner != before:
            self._told()
        self._answer(self.claims.owner)

    def _answer(self, found: Claim | LogstoreError | None) -> None:
        failed = isinstance(found, LogstoreError)
        ripe = [it for it in self._waiting if failed or it[0] <= self._at]
        if ripe:
            self._waiting = [it for it in self._waiting if it not in ripe]
            for _, then in ripe:
                then(found)

    def when_read(self, upto: int, then: Then) -> None:
        """``then`` gets the last claim below this offset, once that is read."""
        if self.log is None:
            then(self.failure)
        else:
            self._waiting.append((upto, then))
            self._wake()

    def _fail(self, why: LogstoreError) -> None:
        self.failure = why
        self._close_log()
        self.claims = Claims()
        around = self._client.around
        around.call_at(around.now() + self._backoff.failed(), self._open)
        self._told()
        self._answer(why)

    def _close_log(self) -> None:
        log, self.log = self.log, None
        if log is not None:
            self._stop()
            log.close()

    def close(self) -> None:
        self._over = True
        self._close_log()


class Owners:
    """The owners of all partitions of one topic. Used in one thread."""

    def __init__(
        self, client: Client, wait_for: WaitFor, topic: str, changed: Callable[[int], object]
    ) -> None:
        """``changed(number)``: called when a partition's owner changes or becomes unknown."""
        self.topic = topic
        self._client = client
        self._wait_for = wait_for
        self._changed = changed
        self._followed: list[_Followed] = []
        self._stop = client.brokers.watch(self._look)
        client.brokers.want(topic, always=True)
        self._look()

    def _look(self) -> None:
        """The view has changed: there may be new partitions."""
        seen = self._client.brokers.view.topics.get(self.topic)
        for number in range(len(self._followed), 0 if seen is None else len(seen.partitions)):
            self._followed.append(
                _Followed(
                    self._client, self._wait_for, self.topic, number, partial(self._changed, number)
                )
            )

    def __len__(self) -> int:
        """The number of known partitions."""
        return len(self._followed)

    def owner_of(self, number: int) -> Claim | None:
        """The latest node to claim the partition; None: unknown."""
        return self._claims(number).owner

    def words_of(self, number: int) -> list[int]:
        """The offsets of that owner's claims and beats, in order."""
        return list(self._claims(number).words)

    def failure_of(self, number: int) -> LogstoreError | None:
        """Why the partition's owner is unknown."""
        return self._followed[number].failure if number < len(self._followed) else None

    def _claims(self, number: int) -> Claims:
        return self._followed[number].claims if number < len(self._followed) else Claims()

    def owned_log(self, number: int, identify: Identify) -> OwnedLog:
        """The partition's log for the identity in ``identify``. Raises ClusterUnreachable."""
        log = self._followed[number].log if number < len(self._followed) else None
        if log is None:
            raise ClusterUnreachable(f"{self.topic}-{number}: it is not read now")
        return OwnedLog(log, self._client.writer, identify, self._wait_for)

    def last_claim(self, number: int, then: Then) -> None:
        """The last of the claims that exist now."""

        def found(answer: tuple[int, int] | LogstoreError) -> None:
            if isinstance(answer, LogstoreError):
                then(answer)
            elif number < len(self._followed):
                self._followed[number].when_read(answer[0], then)
            else:
                then(ClusterUnreachable(f"{self.topic}-{number}: it is not known"))

        self._client.offsets.at_time((self.topic, number), LATEST, found)

    def close(self) -> None:
        """Follow nothing any more."""
        self._stop()
        for it in self._followed:
            it.close()
