"""The kind of object that a topic's name stands for, equal at every door.

A channel is a channel, even if its history is read as a topic; likewise a queue is a queue, even if
its messages are read as a topic.
"""

from collections.abc import Callable
from typing import Final

from logstore.access.resources import QUEUE, TOPIC, of_topic
from logstore.names import QUEUE_PREFIX, TOPIC_CHARACTERS_MAX

KNOWN_MAX: Final = 10_000  # names that are remembered: a client chooses them

Object = tuple[str, str]  # its kind and its name


class Objects:
    """The lookup for one node. From any thread."""

    def __init__(
        self,
        keeps_history: Callable[[str], bool] = lambda name: False,
        numbered: Callable[[str], str | None] = lambda name: None,
    ) -> None:
        """``keeps_history``: as resources.of_topic.

        ``numbered``: the queue's name in rules, for a topic name that means a queue by number.
        """
        self._keeps_history = keeps_history
        self._numbered = numbered
        self._known: dict[str, Object] = {}

    def of_topic(self, name: str) -> Object:
        """The object for a topic's name; constant for the lifetime of the node."""
        return self._known.get(name) or self._look(name)

    def _look(self, name: str) -> Object:
        if len(name) > TOPIC_CHARACTERS_MAX:  # there is no such topic, and can't be
            return TOPIC, name
        if name.startswith(QUEUE_PREFIX):
            queue = self._numbered(name)
            if queue is not None:
                return QUEUE, queue
            return of_topic(name, self._keeps_history)  # there may be one of that number later
        if len(self._known) >= KNOWN_MAX:
            self._known = {}
        found = self._known[name] = of_topic(name, self._keeps_history)
        return found
