"""The arguments of a queue about deduplication. Pure.

    x-message-deduplication   true: a message with the id of a message in the queue is not stored
    x-deduplication-header    where the id is: the name of a header, or "message-id", the property;
                              defaults to x-deduplication-header
    x-cache-ttl               ms for which an id is known after the message arrived, even settled
    x-cache-size              maximum number of known ids

The first is that of RabbitMQ's plugin of this name; the plugin's queues have no other.
"""

from typing import NamedTuple


class Once(NamedTuple):
    """The options of one queue."""

    header: str
    known_ms: int | None = None  # after it came, settled or not; None: as long as it is there
    most: int | None = None  # ids
