"""The type "headers": bindings name headers, and perhaps values, that a message must have.

All bindings of an exchange are in one index by their conditions, so that the cost of a message
depends on the bindings that its headers find, not on all bindings. A binding with several
conditions that must all hold is indexed under the rarest one; the others are checked if that one
holds.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

from logstore.broker.routing.arguments import VOID, Arguments, comparable
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.matcher import Choose, Destination
from logstore.broker.routing.properties import Properties
from logstore.broker.routing.refusals import InvalidArgument

X_MATCH: Final = b"x-match"

# What a binding asks for: a header, and its value, compared as ``comparable`` has it; VOID: any.
Wanted = tuple[bytes, Hashable]

# x-match: whether all headers must match or any; and which argument names are ignored.
_RULES: Final[Mapping[bytes, tuple[bool, Callable[[bytes], bool]]]] = {
    b"all": (True, lambda name: name.startswith(b"x-")),
    b"any": (False, lambda name: name.startswith(b"x-")),
    b"all-with-x": (True, lambda name: name == X_MATCH),
    b"any-with-x": (False, lambda name: name == X_MATCH),
}


def wanted(arguments: Arguments) -> tuple[bool, tuple[Wanted, ...]]:
    """Return whether all headers must match, and the headers. Raises InvalidArgument for a bad
    x-match.
    """
    rule = _RULES[b"all"]
    if (field := arguments.get(X_MATCH)) is not None:
        if field.kind != "S" or field.value not in _RULES:
            raise InvalidArgument(X_MATCH, field, "all, any, all-with-x, or any-with-x")
        rule = _RULES[field.value]
    needs_all, skipped = rule
    asked = {name: comparable(field) for name, field in reversed(arguments.fields)}
    return needs_all, tuple((name, asked[name]) for name in asked if not skipped(name))


class HeadersMatch:
    """The bindings of one exchange of type "headers"."""

    by_key = False

    def __init__(self, arguments: Arguments, choose: Choose) -> None:
        self._always: dict[Binding, Destination] = {}  # they ask for all of nothing
        # By a wanted header: the bindings for which it is enough, and those that want others as
        # well.
        self._by_wanted: dict[Wanted, dict[Binding, tuple[Destination, tuple[Wanted, ...]]]] = {}
        self._names: dict[bytes, int] = {}  # of headers that are asked for: by how many things

    def add(self, binding: Binding, destination: Destination) -> None:
        needs_all, things = wanted(binding.arguments)
        if not things:
            if needs_all:
                self._always[binding] = destination
            return
        if needs_all:
            rarest = min(things, key=lambda it: len(self._by_wanted.get(it, ())))
            self._put(rarest, binding, destination, tuple(it for it in things if it != rarest))
        else:
            for thing in things:
                self._put(thing, binding, destination, ())

    def remove(self, binding: Binding, destination: Destination) -> None:
        self._always.pop(binding, None)
        for thing in wanted(binding.arguments)[1]:
            entries = self._by_wanted.get(thing, {})
            if entries.pop(binding, None) is not None and not entries:
                del self._by_wanted[thing]
                self._names[thing[0]] -= 1
                if not self._names[thing[0]]:
                    del self._names[thing[0]]

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        yield from self._always.values()
        if not self._by_wanted:
            return
        headers = _Headers(properties.headers)
        for name in properties.headers:
            if name not in self._names:
                continue
            for thing in {(name, VOID): None, (name, headers.value(name)): None}:
                for destination, rest in self._by_wanted.get(thing, {}).values():
                    if all(map(headers.has, rest)):
                        yield destination

    def _put(
        self, thing: Wanted, binding: Binding, destination: Destination, rest: tuple[Wanted, ...]
    ) -> None:
        if thing not in self._by_wanted:
            self._by_wanted[thing] = {}
            self._names[thing[0]] = self._names.get(thing[0], 0) + 1
        self._by_wanted[thing][binding] = destination, rest


class _Headers:
    """A message's headers, each converted to comparable form on demand."""

    def __init__(self, decoded: Mapping[bytes, Any]) -> None:
        self._decoded = decoded
        self._compared: dict[bytes, Hashable] = {}

    def value(self, name: bytes) -> Hashable:
        if name not in self._compared:
            self._compared[name] = comparable(self._decoded[name])
        return self._compared[name]

    def has(self, thing: Wanted) -> bool:
        name, value = thing
        return name in self._decoded and (value == VOID or self.value(name) == value)
