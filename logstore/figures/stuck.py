"""What is stuck: rules over an object's history. Pure."""

from typing import Final, NamedTuple
from urllib.parse import quote

from logstore.figures.ring import STEP_S
from logstore.figures.series import Series

STILL_STEPS: Final = 300 // STEP_S  # without any movement: five minutes
ALONE_STEPS: Final = 60 // STEP_S  # a queue without a consumer: one that comes back is no news


class Stuck(NamedTuple):
    """An object that makes no progress, and since when."""

    kind: str  # of object: queue, group, connection
    object: str
    detail: str
    step: int  # since when it is so, as far as it was seen
    view: str  # of the page, where more is said of it
    vhost: str = ""  # of a queue


def group(name: str, seen: Series, step: int) -> Stuck | None:
    """It has records to read and commits nothing, while more come."""
    lag = seen.values[2]
    committed, end = seen.changed[0], seen.changed[1]
    if lag <= 0 or step - committed < STILL_STEPS or end <= committed:
        return None
    detail = f"lag {lag}, nothing is committed"
    return Stuck("group", name, detail, committed, view("groups", name))


def queue(name: str, vhost: str, seen: Series, consumers: int, step: int) -> Stuck | None:
    """Nobody consumes it, or those who do acknowledge nothing."""
    ready, unacked = seen.values[3], seen.values[4]
    still = max(seen.changed[2], seen.positive[1])
    if unacked > 0 and step - still >= STILL_STEPS:
        detail = f"{unacked} unacked, none is acknowledged"
        return Stuck("queue", name, detail, still, view("queues", vhost, name), vhost)
    if ready > 0 and not consumers and step - seen.positive[0] >= ALONE_STEPS:
        detail = f"{ready} ready, no consumer"
        where = view("queues", vhost, name)
        return Stuck("queue", name, detail, seen.positive[0], where, vhost)
    return None


def connection(name: str, unsent: int, unread_max: int, step: int) -> Stuck | None:
    """It leaves unread what it is sent, and will be cut off."""
    if not unread_max or unsent <= unread_max // 2:
        return None
    detail = f"{unsent} bytes unread; it is cut off at {unread_max}"
    return Stuck("connection", name, detail, step, view("connections"))


def view(*words: str) -> str:
    """The address of a view of the page: how it is found, and what it is of."""
    return "#/" + "/".join(quote(it, safe="", errors="surrogateescape") for it in words)
