"""The progress of share groups: what their members have settled. Used in the sessions' thread."""

from collections.abc import Mapping
from typing import Any

from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.shares import Shares
from logstore.broker.topics import Topics
from logstore.errors import LogstoreError


def topics_begun(topics: Topics, shares: Shares, group: str) -> frozenset[str]:
    """The existing topics in which the group has begun."""
    found = map(topics.by_uuid, shares.topics(group))
    return frozenset(it.name for it in found if it is not None)


def with_standings(topics: Topics, shares: Shares, about: Mapping[str, Any]) -> dict[str, Any]:
    """The group's partitions with the first unsettled offset, and the lag."""
    rows = [row | _standing(topics, shares, about["name"], row) for row in about["partitions"]]
    lags = [row["lag"] for row in rows]
    whole = len(rows) == about["partitions_total"] and None not in lags
    lag = str(sum(map(int, lags))) if whole else None
    return {**about, "partitions": rows, "lag": lag}


def _standing(
    topics: Topics, shares: Shares, group: str, row: Mapping[str, Any]
) -> dict[str, str | None]:
    """Unknown values stay empty: the group has not begun, or the stored state is damaged."""
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
