"""The creation of a stream: requirements of its declaration, and its topic."""

from collections.abc import Callable
from typing import Final

from logstore.broker.policies import STREAM
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.refusals import Nameless, NoSuchStream, NoTopicForIt
from logstore.broker.queues.streams.stream import Home, Stream
from logstore.broker.queues.streams.streams import Streams
from logstore.broker.queues.streams.topic_of import (
    check_no_companion,
    check_single,
    retention,
    settings,
    topic_name,
)

# What it may not be, in RabbitMQ's order and words.
_PROPERTIES: Final[tuple[tuple[str, Callable[[QueueFacts], bool]], ...]] = (
    ("auto-delete", lambda facts: facts.auto_delete),
    ("exclusive-owner", lambda facts: facts.exclusive),
    ("non-durable", lambda facts: not facts.durable),
)


def check(facts: QueueFacts) -> None:
    """Check a declaration. Raises Nameless, NoSuchStream."""
    if not facts.name:
        raise Nameless(STREAM)
    for name, given in _PROPERTIES:
        if given(facts):
            raise NoSuchStream(facts.name, name)


def made(
    streams: Streams, next_id: Callable[[], int], facts: QueueFacts, home: Home
) -> tuple[Stream, Pending]:
    """Return a new stream, and what finishes once it has its topic.

    Raises Nameless, NoSuchStream; NoTopicForIt if no topic can have its name, another stream has
    the topic, or the topic has several partitions or holds delayed records of another topic.
    """
    check(facts)
    topic = topic_name(home.name, facts.name)
    if streams.has(topic):
        raise NoTopicForIt(facts.name, f"topic {topic!r} is another stream; use another name")
    check_single(streams.topics, facts.name, topic)
    check_no_companion(streams.topics, facts.name, topic)
    stream = Stream(next_id(), facts, home, streams, topic)
    opening = Pending()
    stream.make(opening, settings(stream.limits), retention(stream.limits))
    return stream, opening


def restored(streams: Streams, number: int, facts: QueueFacts, home: Home) -> Stream:
    """Return a stored stream. Raises NoTopicForIt, InvalidQueueArgument, NotOfType."""
    return Stream(number, facts, home, streams, topic_name(home.name, facts.name))
