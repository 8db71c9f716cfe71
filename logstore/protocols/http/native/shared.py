"""The progress of share groups: what their members have settled. Used in the sessions' thread."""

from collections.abc import Mapping
from typing import Any

from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.shares import Shares
from logstore.broker.topics import Topics
from logstore.errors import LogstoreError


def topics_begun(topics: Topics, shares: Shares, group: str) -> frozenset[str]:
    """Those with which the group has begun, and that are there still."""
    found = map(topics.by_uuid, shares.topics(group))
    return frozenset(it.name for it in found if it is not None)


def with_standings(topics: Topics, shares: Shares, about: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a group, with the first offset that is not done with, and the lag."""
    rows = [row | _standing(topics, shares, about["name"], row) for row in about["partitions"]]
    lags = [row["lag"] for row in rows]
    whole = len(rows) == about["partitions_total"] and None not in lags
    lag = str(sum(map(int, lags))) if whole else None
    return {**about, "partitions": rows, "lag": lag}


def _standing(
    topics: Topics, shares: Shares, group: str, row: Mapping[str, Any]
) -> dict[str, str | None]:
    """What is not known stays open: the group has not begun, or what is kept is damaged."""
    topic, end = topics.get(row["topic"]), row["end"]
    if topic is None or end is None:
        return {}
    place = Place(group, topic.uuid, row["partition"])
    try:
        standing = shares.standing(place, int(end))
    except LogstoreError:  # whoever is given records is told
        return {}
    if standing is None:
        return {}
    start, lag = standing
    return {"committed": str(start), "lag": str(lag)}
