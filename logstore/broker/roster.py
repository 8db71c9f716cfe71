"""The listeners of each name of one kind."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from logstore.broker.listeners import Subscriber

SUBSCRIPTION_HELD_BYTES: Final = 512  # of one beside its name: where it stands in the tables


class Roster:
    """The listeners of names of one kind: channels, patterns, or channels apart."""

    def __init__(self) -> None:
        self._by_name: dict[bytes, dict[Subscriber, None]] = {}
        self._by_subscriber: dict[Subscriber, dict[bytes, None]] = {}
        self._name_bytes: dict[Subscriber, int] = {}

    def __iter__(self) -> Iterator[bytes]:
        """The names that someone listens to."""
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: bytes) -> bool:
        return name in self._by_name

    def subscribers(self, name: bytes) -> Iterable[Subscriber]:
        return self._by_name.get(name, ())

    def count(self, name: bytes) -> int:
        """Return how many members listen to this name."""
        return len(self._by_name.get(name, ()))

    def names(self, subscriber: Subscriber) -> list[bytes]:
        """Return the names that the member listens to, in the order in which it began to."""
        return list(self._by_subscriber.get(subscriber, ()))

    def names_count(self, subscriber: Subscriber) -> int:
        return len(self._by_subscriber.get(subscriber, ()))

    def held_bytes(self, subscriber: Subscriber) -> int:
        """Memory that it takes to know this."""
        names = self.names_count(subscriber)
        return self._name_bytes.get(subscriber, 0) + SUBSCRIPTION_HELD_BYTES * names

    def has(self, subscriber: Subscriber, name: bytes) -> bool:
        return name in self._by_subscriber.get(subscriber, ())

    def add(self, subscriber: Subscriber, name: bytes) -> None:
        self._by_name.setdefault(name, {})[subscriber] = None
        self._by_subscriber.setdefault(subscriber, {})[name] = None
        self._name_bytes[subscriber] = self._name_bytes.get(subscriber, 0) + len(name)

    def remove(self, subscriber: Subscriber, name: bytes) -> None:
        for table, key, item in (
            (self._by_name, name, subscriber),
            (self._by_subscriber, subscriber, name),
        ):
            entries: dict[Any, None] = table[key]  # type: ignore[index]
            del entries[item]
            if not entries:
                del table[key]  # type: ignore[arg-type]
        if subscriber in self._by_subscriber:
            self._name_bytes[subscriber] -= len(name)
        else:
            del self._name_bytes[subscriber]
