"""The types of exchanges: built-in ones, and those of other packages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from logstore.broker.deduplication.headers import ONCE
from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.consistent_hash import ConsistentHash
from logstore.broker.routing.delayed_exchange import DELAYED, Delayed, delayed_type
from logstore.broker.routing.headers_match import HeadersMatch
from logstore.broker.routing.key_matchers import Direct, Fanout, Random, Topic
from logstore.broker.routing.matcher import Choose, Destination, Matcher, MatcherOf
from logstore.broker.routing.properties import Properties
from logstore.broker.routing.refusals import NoDelayedType, UnknownType
from logstore.broker.routing.targets import TO_CHANNEL, TO_TOPIC, Terminal

ENTRY_POINTS: Final = "logstore.exchanges"

# The types that only route.
PLAIN: Final[Mapping[str, MatcherOf]] = {
    "direct": Direct,
    "fanout": Fanout,
    "headers": HeadersMatch,
    "topic": Topic,
    "x-consistent-hash": ConsistentHash,
    "x-random": Random,
}


def _delayed(arguments: Arguments, choose: Choose) -> Matcher:
    """Return the matcher. Raises NoDelayedType, UnknownType, and the errors of the inner type."""
    onward = delayed_type(arguments)
    if onward in BUILT_IN and onward not in PLAIN:
        raise NoDelayedType
    return Delayed(matcher_of(onward)(arguments, choose))


def _once(arguments: Arguments, choose: Choose) -> Matcher:
    """Return the matcher. Raises NoCacheSize, InvalidArgument."""
    from logstore.broker.routing.once_exchange import Once  # few have one

    return Once(arguments, choose)


BUILT_IN: Final[Mapping[str, MatcherOf]] = {
    **PLAIN,
    DELAYED: _delayed,
    ONCE: _once,
    TO_CHANNEL: Terminal,
    TO_TOPIC: Terminal,
}


def matcher_of(type_name: str) -> MatcherOf:
    """Return the function that makes matchers of this type. Raises UnknownType."""
    built_in = BUILT_IN.get(type_name)
    return _installed(type_name) if built_in is None else built_in


def _installed(type_name: str) -> MatcherOf:
    from importlib.metadata import entry_points  # 20 ms, and few use it

    for entry_point in entry_points(group=ENTRY_POINTS, name=type_name):
        return cast(MatcherOf, entry_point.load())
    raise UnknownType(type_name, type_names())


def type_names() -> Sequence[str]:
    """Return the built-in types and those of installed packages."""
    from importlib.metadata import entry_points

    return *BUILT_IN, *sorted(entry_points(group=ENTRY_POINTS).names)


class Uninstalled:
    """A stored exchange whose type is not installed now.

    It keeps its bindings until the type is installed again; publishing to it is refused.
    """

    by_key = False

    def __init__(self, type_name: str) -> None:
        self._type_name = type_name

    def add(self, binding: Binding, destination: Destination) -> None:
        pass

    def remove(self, binding: Binding, destination: Destination) -> None:
        pass

    def match(self, keys: Sequence[bytes], properties: Properties) -> Iterable[Destination]:
        """Refuse. Raises UnknownType."""
        raise UnknownType(self._type_name)


def matcher_of_kept(type_name: str, arguments: Arguments, choose: Choose) -> Matcher:
    """Return the matcher of a stored exchange, whose type may not be installed."""
    try:
        return matcher_of(type_name)(arguments, choose)
    except UnknownType:
        return Uninstalled(type_name)
