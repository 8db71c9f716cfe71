"""AddPartitionsToTxn (key 24), versions 0 to 5."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int16, int32, int64, string


@dataclass(slots=True)
class Topic:
    name: str = string()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Transaction:
    transactional_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    verify_only: bool = boolean()
    topics: Sequence[Topic] = array(Topic)


@dataclass(slots=True)
class RequestTopic:
    name: str = string(until=3)
    partitions: Sequence[int] = array(int32, until=3)


@dataclass(slots=True)
class Request:
    transactions: Sequence[Transaction] = array(Transaction, since=4)
    v3_and_below_transactional_id: str = string(until=3)
    v3_and_below_producer_id: int = int64(until=3)
    v3_and_below_producer_epoch: int = int16(until=3)
    v3_and_below_topics: Sequence[RequestTopic] = array(RequestTopic, until=3)


@dataclass(slots=True)
class PartitionResult:
    partition_index: int = int32()
    partition_error_code: int = int16()


@dataclass(slots=True)
class TopicResult:
    name: str = string()
    results_by_partition: Sequence[PartitionResult] = array(PartitionResult)


@dataclass(slots=True)
class Result:
    transactional_id: str = string()
    topic_results: Sequence[TopicResult] = array(TopicResult)


@dataclass(slots=True)
class ResponsePartitionResult:
    partition_index: int = int32(until=3)
    partition_error_code: int = int16(until=3)


@dataclass(slots=True)
class ResponseTopicResult:
    name: str = string(until=3)
    results_by_partition: Sequence[ResponsePartitionResult] = array(
        ResponsePartitionResult, until=3
    )


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16(since=4)
    results_by_transaction: Sequence[Result] = array(Result, since=4)
    results_by_topic_v3_and_below: Sequence[ResponseTopicResult] = array(
        ResponseTopicResult, until=3
    )
