"""Produce and fetch requests by topic id where both sides support it, otherwise by name. Pure.

An id belongs to one topic only: records for a deleted topic do not reach a newer topic of the same
name (KIP-516). Whether a link uses names or ids is known only when the request is encoded, so a
request contains names and the ids beside them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from logstore.kafka import fetch_codec, produce_codec
from logstore.kafka.fetch_codec import FetchRequest
from logstore.kafka.produce_codec import ProduceRequest
from logstore.kafka.wire import NIL_UUID, Buffer

PRODUCE_MAX: Final = 13
FETCH_MAX: Final = 18

Ids = Mapping[str, bytes]  # of topics; all 0 where a topic has none, or it is not known


def names_of(ids: Ids) -> Mapping[str | bytes, str]:
    """The names of topics by name and by id, for replies with either."""
    return {name: name for name in ids} | {id_: name for name, id_ in ids.items()}


def are_known(ids: Ids) -> bool:
    """Whether all topics have an id."""
    return NIL_UUID not in ids.values()


class Produce(NamedTuple):
    """A request with topics by name, and for each its id, or 0 for all of them."""

    request: ProduceRequest
    ids: Ids

    def most(self) -> int:
        """The highest version that can express the request."""
        return PRODUCE_MAX if are_known(self.ids) else produce_codec.WITH_TOPIC_IDS - 1

    def write(self, version: int) -> list[Buffer]:
        """Its body."""
        request = self.request
        if version >= produce_codec.WITH_TOPIC_IDS:
            topics = [(self.ids[str(name)], parts) for name, parts in request.topics]
            request = replace(request, topics=topics)
        return produce_codec.write_request(version, request)


class Fetch(NamedTuple):
    """A request with topics by name, and for each its id, or 0 for all of them."""

    request: FetchRequest
    ids: Ids

    def most(self) -> int:
        """The highest version that can express the request."""
        return FETCH_MAX if are_known(self.ids) else fetch_codec.WITH_TOPIC_IDS - 1

    def write(self, version: int) -> list[Buffer]:
        """Its body."""
        request = self.request
        if version >= fetch_codec.WITH_TOPIC_IDS:
            asked = [replace(it, topic=self.ids[str(it.topic)]) for it in request.asked]
            forgotten = [(self.ids[str(topic)], number) for topic, number in request.forgotten]
            request = replace(request, asked=asked, forgotten=forgotten)
        return [fetch_codec.write_request(version, request)]
