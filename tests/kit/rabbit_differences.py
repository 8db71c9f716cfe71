"""Where ours answers otherwise than RabbitMQ 3.10.8, on purpose: each with its reason.

What is not named here must be the same.
"""

from typing import NamedTuple


class Apart(NamedTuple):
    """A header that one of both has, or has with another value."""

    header: str
    why: str


class Otherwise(NamedTuple):
    """A text that one of both closes with, where the other's reply is as it is said here."""

    theirs: str  # a pattern of its text
    ours: str  # a pattern of our reply
    why: str


HEADERS = [
    Apart("x-last-death-reason", "3.13 and later have it; the version that we report does"),
    Apart("x-last-death-queue", "as x-last-death-reason"),
    Apart("x-last-death-exchange", "as x-last-death-reason"),
    Apart("x-delivery-count", "RabbitMQ counts in quorum queues alone; ours are of one type"),
]

REPLIES = [
    Otherwise(
        r"PRECONDITION_FAILED - invalid arg '.*' for queue '.*' in vhost '/' of queue type .*",
        r"QueueDeclareOk\(.*",
        "one queue implementation has the arguments of all types: taskiq asks a quorum queue for"
        " priorities",
    ),
]
