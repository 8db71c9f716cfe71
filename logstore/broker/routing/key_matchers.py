"""Exchange types that use only the routing key, or nothing: direct, fanout, topic, x-random."""

from collections.abc import Iterable, Sequence

from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.held import Held, each, joined, without
from logstore.broker.routing.matcher import Choose, Destination
from logstore.broker.routing.properties import Properties
from logstore.broker.routing.topic_tree import TopicTree


class Direct:
    """Matches if the key equals the binding's key."""

    by_key = True

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        self._by_key: dict[bytes, Held[Destination]] = {}

    def add(self, binding: Binding, destination: Destination) -> None:
        self._by_key[binding.key] = joined(self._by_key.get(binding.key), destination)

    def remove(self, binding: Binding, destination: Destination) -> None:
        left = without(self._by_key.pop(binding.key), destination)
        if left is not None:
            self._by_key[binding.key] = left

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        for key in keys:
            yield from each(self._by_key.get(key))


class Fanout:
    """Matches every binding."""

    by_key = True

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        self._all: Held[Destination] = None

    def add(self, binding: Binding, destination: Destination) -> None:
        self._all = joined(self._all, destination)

    def remove(self, binding: Binding, destination: Destination) -> None:
        self._all = without(self._all, destination)

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        return each(self._all)


class Topic:
    """Matches by the binding's pattern of words: ``*`` is one word, ``#`` any number of words."""

    by_key = True

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        self._tree: TopicTree[Destination] = TopicTree()

    def add(self, binding: Binding, destination: Destination) -> None:
        self._tree.add(binding.key, destination)

    def remove(self, binding: Binding, destination: Destination) -> None:
        self._tree.remove(binding.key, destination)

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        for key in keys:
            yield from self._tree.match(key)


class Random:
    """Chooses one binding at random; a destination with two bindings has two chances, as in
    RabbitMQ.
    """

    by_key = False

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        self._choose = choose
        self._bindings: list[tuple[Binding, Destination]] = []
        self._places: dict[Binding, int] = {}

    def add(self, binding: Binding, destination: Destination) -> None:
        self._places[binding] = len(self._bindings)
        self._bindings.append((binding, destination))

    def remove(self, binding: Binding, destination: Destination) -> None:
        place, last = self._places.pop(binding), self._bindings.pop()
        if last[0] != binding:
            self._bindings[place] = last
            self._places[last[0]] = place

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        if self._bindings:
            yield self._bindings[self._choose(len(self._bindings))][1]
