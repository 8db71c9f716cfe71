"""The codec of ShareFetch responses, versions 1 to 2, by hand: records are passed through."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from logstore.kafka import wire

_TOP: Final = Struct(">ih")  # throttle time, error code
_INT32: Final = Struct(">i")
_PARTITION: Final = Struct(">ih")  # its number, error code
_CODE: Final = Struct(">h")
_LEADER: Final = Struct(">ii")  # id, epoch
_ACQUIRED: Final = Struct(">qqh")  # first and last offset, deliveries

_, _write_text = wire.string(compact=True, nullable=True)


@dataclass(slots=True)
class SharedRecords:
    """The reply for one partition."""

    topic_id: bytes
    partition: int
    error_code: int = 0
    error_message: str | None = None
    acknowledge_error_code: int = 0
    acknowledge_error_message: str | None = None
    records: Sequence[Sized] = ()  # buffers, or whatever else the sender of the answer can send
    acquired: Sequence[tuple[int, int, int]] = ()  # first, last, deliveries


@dataclass(slots=True)
class Answer:
    """The fields of the whole reply."""

    error_code: int = 0
    error_message: str | None = None
    lock_ms: int = 0
    throttle_ms: int = 0


def write_response(
    answer: Answer, shared: Sequence[SharedRecords], leader: tuple[int, int]
) -> list[Any]:
    """Buffers to be sent one after the other; ``leader``: of every partition, id and epoch."""
    out = bytearray(_TOP.pack(answer.throttle_ms, answer.error_code))
    _write_text(out, answer.error_message)
    out += _INT32.pack(answer.lock_ms)
    buffers: list[Any] = []
    by_topic: dict[bytes, list[SharedRecords]] = {}
    for it in shared:
        by_topic.setdefault(it.topic_id, []).append(it)
    wire.write_count(out, len(by_topic), True)
    for topic_id, parts in by_topic.items():
        out += topic_id
        wire.write_count(out, len(parts), True)
        for part in parts:
            out += _PARTITION.pack(part.partition, part.error_code)
            _write_text(out, part.error_message)
            out += _CODE.pack(part.acknowledge_error_code)
            _write_text(out, part.acknowledge_error_message)
            out += _LEADER.pack(*leader)
            out.append(0)
            wire.write_count(out, sum(map(len, part.records)), True)
            if part.records:
                buffers.append(out)
                buffers += part.records
                out = bytearray()
            wire.write_count(out, len(part.acquired), True)
            for acquired in part.acquired:
                out += _ACQUIRED.pack(*acquired)
                out.append(0)
            out.append(0)
        out.append(0)
    wire.write_count(out, 0, True)  # where other nodes are: there are none
    out.append(0)
    buffers.append(out)
    return buffers
