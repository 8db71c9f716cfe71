"""Replies to clients that have exceeded their quota (KIP-13, KIP-219).

A current client gets its reply immediately with the time to wait; its connection is not read for
that time. An older client does not know this, so its reply is delayed instead.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.slots import Slot
from logstore.protocols.session import Buffer

PRODUCE_FLEXIBLE: Final = 9
PRODUCE_WAITS: Final = 6  # from this version on clients wait by themselves
FETCH_WAITS: Final = 8
_TIME: Final = Struct(">i")  # ms


class Throttled:
    """The slot of a produce request over the quota; the reply says how long to wait."""

    def __init__(self, client: KafkaClient, slot: Slot, version: int, wait_ms: int) -> None:
        """``slot`` has an answer whose last field is the throttle time."""
        self.deadline: float | None = None
        self._client = client
        self._slot = slot
        self._wait_ms = wait_ms
        self._from_end = _TIME.size + (version >= PRODUCE_FLEXIBLE)  # the empty tagged fields
        self._hold_until = None if version >= PRODUCE_WAITS else client.muted_until

    @property
    def held_bytes(self) -> int:
        return self._slot.held_bytes

    def ready(self, now: float) -> bool:
        is_ready = self._slot.ready(now)
        self.deadline = self._slot.deadline
        return is_ready

    def body(self) -> Sequence[Buffer] | None:
        body = self._slot.body()
        if body is None:
            return None
        *before, last = body
        assert isinstance(last, bytearray), "it is made for this answer alone"
        _TIME.pack_into(last, len(last) - self._from_end, self._wait_ms)
        self._client.answer_at = self._hold_until
        return (*before, last)

    def finish(self) -> None:
        self._slot.finish()


class Late:
    """A reply that is delayed."""

    def __init__(self, body: Sequence[Buffer], at: float) -> None:
        self.deadline: float | None = at
        self.held_bytes = sum(map(len, body))
        self._body = body

    def ready(self, now: float) -> bool:
        return self.deadline is None or now >= self.deadline

    def body(self) -> Sequence[Buffer]:
        return self._body

    def finish(self) -> None:
        self.deadline = None

    def drop(self) -> None:
        """Release the files of an answer that is not sent."""
        for it in self._body:
            if not isinstance(it, (bytes, bytearray, memoryview)):
                it.release()
