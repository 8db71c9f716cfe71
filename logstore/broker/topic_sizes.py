"""The sizes of topics, found without opening their logs."""

from typing import NamedTuple

from logstore.broker.topics import Topics
from logstore.errors import Failed, LogstoreError


class Holds(NamedTuple):
    """The contents of a topic; None: unknown."""

    records: int | None  # from the start to the end of each partition
    bytes: int | None
    error: str | None = None


def held_by(topics: Topics, name: str) -> Holds:
    """Return the size of a topic; nothing is known of a deleted one. From any thread."""
    try:
        stands = topics.offsets(name)
        sizes = topics.weights(name)
    except Failed as error:
        return Holds(None, None, str(error))
    except LogstoreError:  # deleted meanwhile
        return Holds(None, None)
    known = [it for it in stands if it is not None]
    records = sum(safe - start for start, safe in known)
    return Holds(records if len(known) == len(stands) else None, sum(sizes))


def held_by_all(topics: Topics) -> dict[str, Holds]:
    """Return the sizes of all topics, by name; takes about 30 us for each partition."""
    return {name: held_by(topics, name) for name in topics.names()}
