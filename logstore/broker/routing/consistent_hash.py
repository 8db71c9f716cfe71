"""The type "x-consistent-hash": each key always goes to the same one of the destinations.

Each destination gets a number for the key, and the best number wins (weighted rendezvous hashing).
The number depends only on the key, the destination's name and its weight. So a restart or another
order of bindings changes no key's destination; a new destination only takes keys for itself; and
the keys of a removed destination are distributed among the others, while all other keys stay. A
match costs 0.9 us for each destination.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from logstore.broker.routing.arguments import Arguments, Field, comparable
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.matcher import Choose, Destination
from logstore.broker.routing.properties import Properties
from logstore.broker.routing.refusals import ConflictingArguments, InvalidArgument, InvalidWeight

HASH_HEADER: Final = b"hash-header"
HASH_PROPERTY: Final = b"hash-property"

_WEIGHT: Final = re.compile(rb"\+?[0-9]+")
_MASK: Final = (1 << 64) - 1

_PROPERTIES: Final[Mapping[bytes, Callable[[Properties], bytes | None]]] = {
    b"correlation_id": lambda of: of.correlation_id,
    b"message_id": lambda of: of.message_id,
    b"timestamp": lambda of: None if of.timestamp is None else b"%d" % of.timestamp,
}


def weight_of(key: bytes) -> int:
    """Parse the weight from a binding's key. Raises InvalidWeight."""
    if not _WEIGHT.fullmatch(key) or not (weight := int(key)):
        raise InvalidWeight(key)
    return weight


def hash_of(text: bytes) -> int:
    """Return a hash of 64 bits, equal in every process and version."""
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def draw(key: int, seed: int, weight: int) -> float:
    """Return a negative number; the highest wins, and equal weights have equal chances."""
    mixed = (key ^ seed) * 0x9E3779B97F4A7C15 & _MASK
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 & _MASK
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 & _MASK
    # An exponentially distributed time; the first to be done wins, and weights are speeds.
    return math.log(((mixed >> 12) + 0.5) / (1 << 52)) / weight


class ConsistentHash:
    """The bindings of one such exchange."""

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        header, hashed = arguments.get(HASH_HEADER), arguments.get(HASH_PROPERTY)
        if header is not None and hashed is not None:
            raise ConflictingArguments(HASH_HEADER, HASH_PROPERTY)
        self._header = None if header is None else _text(HASH_HEADER, header, "a header's name")
        self._property = None
        if hashed is not None:
            expected = "correlation_id, message_id or timestamp"
            name = _text(HASH_PROPERTY, hashed, expected)
            if name not in _PROPERTIES:
                raise InvalidArgument(HASH_PROPERTY, hashed, expected)
            self._property = _PROPERTIES[name]
        self.by_key = header is None and hashed is None
        # Of several bindings to one destination the first counts, as in RabbitMQ; when it goes,
        # the next does.
        self._weights: dict[Destination, dict[Binding, int]] = {}
        self._seeds: dict[Destination, int] = {}

    def add(self, binding: Binding, destination: Destination) -> None:
        weight = weight_of(binding.key)
        self._weights.setdefault(destination, {})[binding] = weight
        self._seeds[destination] = hash_of(binding.kind.encode() + b" " + binding.destination)

    def remove(self, binding: Binding, destination: Destination) -> None:
        weights = self._weights[destination]
        del weights[binding]
        if not weights:
            del self._weights[destination], self._seeds[destination]

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        if not self._weights:
            return ()
        key = hash_of(self._hashed(keys, properties))
        return (max(self._weights, key=lambda it: self._draw(key, it)),)

    def _draw(self, key: int, destination: Destination) -> tuple[float, int]:
        seed = self._seeds[destination]
        return draw(key, seed, next(iter(self._weights[destination].values()))), seed

    def _hashed(self, keys: Sequence[bytes], properties: Properties) -> bytes:
        """Return what is hashed. Messages without it all go to one destination, as in RabbitMQ."""
        if self._header is not None:
            return repr(comparable(properties.headers.get(self._header))).encode()
        if self._property is not None:
            return self._property(properties) or b""
        return keys[0]


def _text(argument: bytes, field: Field, expected: str) -> bytes:
    if field.kind != "S":
        raise InvalidArgument(argument, field, expected)
    return bytes(field.value)
