"""DescribeLogDirs (key 35), versions 1 to 4."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int16, int32, int64, string


@dataclass(slots=True)
class DescribableLogDirTopic:
    topic: str = string()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Request:
    topics: Sequence[DescribableLogDirTopic] | None = array(DescribableLogDirTopic, nullable=True)


@dataclass(slots=True)
class Partition:
    partition_index: int = int32()
    partition_size: int = int64()
    offset_lag: int = int64()
    is_future_key: bool = boolean()


@dataclass(slots=True)
class Topic:
    name: str = string()
    partitions: Sequence[Partition] = array(Partition)


@dataclass(slots=True)
class Result:
    error_code: int = int16()
    log_dir: str = string()
    topics: Sequence[Topic] = array(Topic)
    total_bytes: int = int64(since=4, default=-1)
    usable_bytes: int = int64(since=4, default=-1)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16(since=3)
    results: Sequence[Result] = array(Result)
