"""Fetch sessions (KIP-227): a client names its partitions once, and afterwards only changes.

A connection has at most one session, which ends with the connection. A client that reconnects is
told that its session is unknown and starts a new one, as with a broker that has forgotten the
session. Replies within a session omit partitions without news.
"""

import secrets
from typing import Final

from logstore.kafka.fetch_codec import (
    FINAL_EPOCH,
    NO_SESSION,
    Asked,
    FetchRequest,
    Given,
    Topic,
)
from logstore.protocols.kafka import errors

INITIAL_EPOCH: Final = 0
EPOCH_MAX: Final = 2**31 - 1
PARTITIONS_MAX: Final = 100_000  # a session is memory that a client fills; beyond this it has none


# Bytes of a partition in a session: its request and its last answer, as objects.
PARTITION_HELD_BYTES: Final = 512


class FetchSession:
    """The partitions that one client reads, and what it was last told about them."""

    def __init__(self, asked: list[Asked], *, by_id: bool) -> None:
        self.by_id = by_id
        self.id = 1 + secrets.randbelow(EPOCH_MAX)
        self.epoch = 1  # of the next request
        self._asked = {(it.topic, it.partition): it for it in asked}
        self._told: dict[tuple[Topic, int], tuple[int, int]] = {}  # high watermark, log start

    def take(self, request: FetchRequest) -> int:
        """Apply the changes of a request; returns an error code if it is out of order."""
        if request.by_id != self.by_id:
            # KIP-516. Java does it after a reconnection: its first request is older than its
            # metadata. One answer can't name some topics and give the ids of others.
            return errors.FETCH_SESSION_TOPIC_ID_ERROR
        if request.session_epoch != self.epoch:
            return errors.INVALID_FETCH_SESSION_EPOCH
        self.epoch = self.epoch + 1 if self.epoch < EPOCH_MAX else 1
        for it in request.asked:
            place = it.topic, it.partition
            if place in self._asked or len(self._asked) < PARTITIONS_MAX:
                self._asked[place] = it
        for place in request.forgotten:
            self._asked.pop(place, None)
            self._told.pop(place, None)
        return errors.NONE

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def held_bytes(self) -> int:
        return PARTITION_HELD_BYTES * len(self._asked)

    @property
    def asked(self) -> list[Asked]:
        return list(self._asked.values())

    def tell(self, given: list[Given]) -> list[Given]:
        """The partitions that must be in the answer.

        Partitions with records move to the end, so that each partition comes first in turn.
        """
        news = []
        for it in given:
            place = it.topic, it.partition
            now = it.high_watermark, it.log_start
            if it.records or it.error_code or self._told.get(place) != now:
                news.append(it)
                if it.error_code:
                    self._told.pop(place, None)
                else:
                    self._told[place] = now
            if it.records and place in self._asked:
                self._asked[place] = self._asked.pop(place)
        return news


def begin(known: FetchSession | None, request: FetchRequest) -> tuple[FetchSession | None, int]:
    """The session of the request, if any, and the error code if the session is invalid.

    A full request starts a new session (epoch 0) or uses none (epoch -1); both end the session that
    the request names.
    """
    if request.session_epoch == FINAL_EPOCH:
        return None, errors.NONE
    if request.session_epoch == INITIAL_EPOCH:
        if len(request.asked) > PARTITIONS_MAX or not request.asked:
            return None, errors.NONE
        return FetchSession(list(request.asked), by_id=request.by_id), errors.NONE
    if known is None or known.id != request.session_id or request.session_id == NO_SESSION:
        return known, errors.FETCH_SESSION_ID_NOT_FOUND
    return known, known.take(request)
