"""A cache of routes by exchange and key, until something that they depend on changes."""

from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

_Q = TypeVar("_Q")

ROUTES_MAX: Final = 16_384  # remembered; keys that are published with may be without number
QUEUES_MAX: Final = 1 << 20  # in all of them together: 8 MB, where each leads to thousands


class Routes(Generic[_Q]):
    """The cache. When it is full, it is emptied: routes in use soon return."""

    def __init__(self) -> None:
        # To be looked up without a call: exchange, then key. Not to be changed by others.
        self.by_exchange: dict[bytes, dict[bytes, tuple[_Q, ...]]] = {}
        self._count = 0
        self._queues = 0

    def __len__(self) -> int:
        return self._count

    def keep(self, exchange: bytes, key: bytes, queues: tuple[_Q, ...]) -> None:
        """Remember a route that is not known yet."""
        if self._count >= ROUTES_MAX or self._queues + len(queues) > QUEUES_MAX:
            self.forget_all()
        self.by_exchange.setdefault(exchange, {})[key] = queues
        self._count += 1
        self._queues += len(queues)

    def forget_all(self) -> None:
        self.by_exchange.clear()
        self._count = self._queues = 0

    def forget(self, exchanges: Iterable[bytes]) -> None:
        for exchange in exchanges:
            for queues in self.by_exchange.pop(exchange, _NONE).values():
                self._count -= 1
                self._queues -= len(queues)

    def forget_key(self, exchanges: Iterable[bytes], key: bytes) -> None:
        for exchange in exchanges:
            routes = self.by_exchange.get(exchange, _NONE)
            if key in routes:
                self._count -= 1
                self._queues -= len(routes.pop(key))
                if not routes:
                    del self.by_exchange[exchange]


_NONE: Final[dict[Any, Any]] = {}
