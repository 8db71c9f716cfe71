"""What a queue's arguments say of repeats. Pure.

    x-message-deduplication   true: a message whose id is that of one in the queue is not stored
    x-deduplication-header    where the id is: the name of a header, or "message-id", the property;
                              x-deduplication-header unless it is said
    x-cache-ttl               ms for which an id is known after its message came, settled or not
    x-cache-size              ids that are known at the most

The first is as in the well-known plugin of that name, whose queues have no more than that.
"""

from typing import NamedTuple


class Once(NamedTuple):
    """What one queue asks for."""

    header: str
    known_ms: int | None = None  # after it came, settled or not; None: as long as it is there
    most: int | None = None  # ids
