"""A member of a share group of a cluster, whose records are accepted one by one."""

import time
from collections.abc import Sequence
from typing import Final, Self

from confluent_kafka import AcknowledgeType, KafkaException, Message, ShareConsumer

from logstore.errors import LogstoreError
from logstore.records.record import Record

from .address import Address
from .reader import TRANSIENT, record_of
from .refusal import ANSWER_S, error_in, refused

IDLE_S: Final = 5.0  # heartbeats tell a member its partitions, without notifying us
POLL_RECORDS: Final = 500


class ShareMember:
    """A ``Member`` (``cli/share.py``). Ends once nothing has come for IDLE_S, as there is no other
    sign of an end.
    """

    def __init__(
        self, address: Address, topics: Sequence[str], group: str, records_max: int | None
    ) -> None:
        self._address = address
        self._doing = f"consume as share group {group!r}"
        self._came: list[Message] = []  # and is neither accepted nor released
        self._heard_at = time.monotonic()
        self.ended = False
        self._consumer = ShareConsumer(
            address.settings(
                group_id=group,
                share_acknowledgement_mode="explicit",
                max_poll_records=min(records_max or POLL_RECORDS, POLL_RECORDS),
            )
        )
        self._consumer.subscribe(list(topics))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for message in self._came:
                self._consumer.acknowledge(message, AcknowledgeType.RELEASE)
            if self._came:
                self._commit()
        finally:
            self._consumer.close()

    def get(self, most: int, timeout_s: float) -> Sequence[Record]:
        """As Member.get. Raises Failed where the server is gone, too."""
        if not self._came:
            self._came = self._poll(timeout_s)
        some = self._came[:most]
        if some:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > IDLE_S:
            self._address.reach()
            self.ended = True
        return [record_of(it) for it in some]

    def _poll(self, timeout_s: float) -> list[Message]:
        found = []
        try:
            for message in self._consumer.poll(timeout_s):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() not in TRANSIENT or error.fatal():
                    raise refused(error, self._address, self._doing)
        except KafkaException as error:
            raise self._refused(error) from None
        return found

    def accept(self, records: Sequence[Record]) -> None:
        """As Member.accept."""
        for message in self._came[: len(records)]:
            self._consumer.acknowledge(message, AcknowledgeType.ACCEPT)
        del self._came[: len(records)]
        if records:
            self._commit()

    def _commit(self) -> None:
        try:
            for error in self._consumer.commit_sync(ANSWER_S).values():
                if error is not None:
                    raise error
        except KafkaException as error:
            raise self._refused(error) from None

    def _refused(self, error: KafkaException) -> LogstoreError:
        return refused(error_in(error), self._address, self._doing)
