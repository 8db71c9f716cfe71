"""What is known of a SEND before its body: clients send the same headers again and again."""

from typing import NamedTuple

from logstore.broker.queues.limits import QueueFacts


class Prepared(NamedTuple):
    exchange: bytes
    key: bytes
    properties: bytes
    declares: QueueFacts | None  # the queue that must be there
    receipt: str | None
    transaction: str | None
