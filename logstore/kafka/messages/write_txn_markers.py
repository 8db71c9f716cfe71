"""WriteTxnMarkers (key 27), versions 1 to 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int8, int16, int32, int64, string


@dataclass(slots=True)
class Topic:
    name: str = string()
    partition_indexes: Sequence[int] = array(int32)


@dataclass(slots=True)
class Marker:
    producer_id: int = int64()
    producer_epoch: int = int16()
    transaction_result: bool = boolean()
    topics: Sequence[Topic] = array(Topic)
    coordinator_epoch: int = int32()
    transaction_version: int = int8(since=2, default=0)


@dataclass(slots=True)
class Request:
    markers: Sequence[Marker] = array(Marker)


@dataclass(slots=True)
class PartitionResult:
    partition_index: int = int32()
    error_code: int = int16()


@dataclass(slots=True)
class TopicResult:
    name: str = string()
    partitions: Sequence[PartitionResult] = array(PartitionResult)


@dataclass(slots=True)
class Result:
    producer_id: int = int64()
    topics: Sequence[TopicResult] = array(TopicResult)


@dataclass(slots=True)
class Response:
    markers: Sequence[Result] = array(Result)
