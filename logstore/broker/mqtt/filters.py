"""Topic names and topic filters, and matching of topics by filters (MQTT 5.0, 4.7).

Slashes separate the levels of a topic. In a filter, ``+`` matches any one level, and ``#`` at the
end matches any number of levels, including the parent: ``a/#`` matches ``a``. Neither matches a
first level that begins with ``$`` [MQTT-4.7.2-1].
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from logstore.errors import Refused

_M = TypeVar("_M")
_G = TypeVar("_G")

NAME_BYTES_MAX: Final = 65_535  # what the length of a string can say
# Of a filter with wildcards: each is a node of the tree, and 64 KiB have room for 30,000.
LEVELS_MAX: Final = 200
# Nodes that are looked at for a topic at once, some 0.1 us each; more are looked at in steps.
AT_ONCE: Final = 4000
STEP: Final = 500  # nodes; and entries that are as much work
FILTER_HELD_BYTES: Final = 512  # of a subscription beside its filter
NODE_HELD_BYTES: Final = 360  # of a level of a filter with wildcards that no other shares

SHARE: Final = b"$share/"  # how the filter of a shared subscription begins
SHOWN: Final = 80  # bytes of a name in a message


class InvalidTopic(Refused):
    """A topic name that is not valid for publishing."""


class InvalidFilter(Refused):
    """A topic filter that is not valid."""


class NotText(InvalidTopic, InvalidFilter):
    """Not UTF-8, or with a NUL: the packet is malformed [MQTT-1.5.4-1, -2]."""


class Shared(NamedTuple):
    """A shared subscription (4.8.2)."""

    group: bytes
    filter: bytes


def _shown(name: bytes) -> str:
    return repr(name[:SHOWN].decode(errors="replace")) + ("..." if len(name) > SHOWN else "")


def _check_text(what: str, name: bytes) -> None:
    if not name.isascii():
        try:
            name.decode()
        except UnicodeDecodeError:
            raise NotText(f"{what} {_shown(name)} is not UTF-8") from None
    if 0 in name:
        raise NotText(f"{what} {_shown(name)} has a NUL in it")


def check_topic(topic: bytes) -> None:
    """Check a topic name. Raises InvalidTopic, or its subclass NotText."""
    if not topic:
        raise InvalidTopic("a topic must have at least one character")  # [MQTT-4.7.3-1]
    if len(topic) > NAME_BYTES_MAX:
        raise InvalidTopic(f"topic {_shown(topic)} is longer than {NAME_BYTES_MAX} bytes")
    _check_text("topic", topic)
    if b"+" in topic or b"#" in topic:  # [MQTT-3.3.2-2]
        raise InvalidTopic(f"topic {_shown(topic)}: + and # are allowed only in filters")


def is_topic(name: bytes) -> bool:
    """Whether ``name`` is a legal topic name."""
    try:
        check_topic(name)
    except InvalidTopic:
        return False
    return True


def check_filter(filter: bytes) -> None:
    """Check a topic filter without its share name. Raises InvalidFilter, or its
    subclass NotText.
    """
    if not filter:
        raise InvalidFilter("a topic filter must have at least one character")
    if len(filter) > NAME_BYTES_MAX:
        raise InvalidFilter(f"topic filter {_shown(filter)} is longer than {NAME_BYTES_MAX} bytes")
    _check_text("topic filter", filter)
    if not has_wildcard(filter):
        return
    levels = filter.split(b"/", LEVELS_MAX)
    if len(levels) > LEVELS_MAX:
        raise InvalidFilter(
            f"topic filter {_shown(filter)} has more than {LEVELS_MAX} levels, which none with "
            f"wildcards may have"
        )
    last = len(levels) - 1
    for number, level in enumerate(levels):
        if b"#" in level and (level != b"#" or number != last):  # [MQTT-4.7.1-1]
            raise InvalidFilter(
                f"topic filter {_shown(filter)}: # must be the whole of the last level"
            )
        if b"+" in level and level != b"+":  # [MQTT-4.7.1-2]
            raise InvalidFilter(f"topic filter {_shown(filter)}: + must be the whole of a level")


def shared(filter: bytes) -> Shared | None:
    """Return group and filter of a shared subscription; None: it is not one. Raises
    InvalidFilter.
    """
    if not filter.startswith(SHARE):
        return None
    _, *parts = filter.split(b"/", 2)
    if len(parts) < 2 or not all(parts) or b"+" in parts[0] or b"#" in parts[0]:
        # [MQTT-4.8.2-1, -2]
        raise InvalidFilter(f"topic filter {_shown(filter)} must be $share/NAME/FILTER")
    return Shared(*parts)


def has_wildcard(filter: bytes) -> bool:
    return b"+" in filter or b"#" in filter


def held_bytes_of(filter: bytes) -> int:
    """The largest amount of memory, in bytes, that a subscription takes in a tree."""
    levels = filter.count(b"/") + 1 if has_wildcard(filter) else 0
    return FILTER_HELD_BYTES + 2 * len(filter) + NODE_HELD_BYTES * levels


def matches(filter: bytes, topic: bytes) -> bool:
    """Whether the filter matches the topic. Both must be legal."""
    if not has_wildcard(filter):
        return filter == topic
    levels = filter.split(b"/")
    words = topic.split(b"/", len(levels))
    if topic.startswith(b"$") and levels[0] in (b"+", b"#"):
        return False
    for number, level in enumerate(levels):
        if level == b"#":
            return True
        if number == len(words) or (level != b"+" and level != words[number]):
            return False
    return len(words) == len(levels)


def covers(wide: bytes, narrow: bytes) -> bool:
    """Whether the filter ``wide`` matches all topics that ``narrow`` matches."""
    outer, inner = wide.split(b"/"), narrow.split(b"/")
    if outer[0] in (b"+", b"#") and narrow.startswith(b"$"):
        return False
    if inner == [b"#"] and outer == [b"+", b"#"]:  # every topic has a first level
        return True
    for number, level in enumerate(outer):
        if level == b"#":
            return True
        if number == len(inner) or inner[number] == b"#":
            return False
        if level not in (b"+", inner[number]):
            return False
    return len(inner) == len(outer)


class _Node(Generic[_M, _G]):
    """Filters with a common beginning."""

    __slots__ = ("any", "here", "rest", "words")

    def __init__(self) -> None:
        self.words: dict[bytes, _Node[_M, _G]] = {}  # what may follow
        self.any: _Node[_M, _G] | None = None  # what may follow after +
        self.here: dict[_M, _G] | None = None  # of the filter that ends here
        self.rest: dict[_M, _G] | None = None  # of the one that ends in # here

    @property
    def used(self) -> bool:
        return bool(self.words or self.here or self.rest) or self.any is not None


Found = list[Mapping[_M, _G]]


class FilterTree(Generic[_M, _G]):
    """The subscribers of filters with their options, found by topic.

    All filters are valid. Filters without wildcards are found by one look-up.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, dict[_M, _G]] = {}
        self._root: _Node[_M, _G] = _Node()
        self._count = 0

    def __len__(self) -> int:
        """The number of subscriptions."""
        return self._count

    @property
    def nodes(self) -> int:
        """The number of nodes without the root. For tests."""
        found = [self._root]
        for node in found:  # grows while it is gone through
            found += node.words.values()
            found += [node.any] if node.any is not None else []
        return len(found) - 1

    def get(self, filter: bytes) -> Mapping[_M, _G]:
        """Return the members that have subscribed to exactly this filter, with their grants."""
        return self._entries(filter) or {}

    def add(self, filter: bytes, member: _M, grant: _G) -> _G | None:
        """Add a member's subscription; return its earlier grant by the same filter, or None."""
        entries = self._entries(filter, make=True)
        assert entries is not None
        before = entries.get(member)
        self._count += member not in entries
        entries[member] = grant
        return before

    def remove(self, filter: bytes, member: _M) -> _G | None:
        """Remove a member's subscription; return its grant, or None if there was none."""
        entries = self._entries(filter)
        if entries is None or member not in entries:
            return None
        self._count -= 1
        grant = entries.pop(member)
        if not entries:
            self._prune(filter)
        return grant

    def _entries(self, filter: bytes, *, make: bool = False) -> dict[_M, _G] | None:
        if not has_wildcard(filter):
            if make:
                return self._names.setdefault(filter, {})
            return self._names.get(filter)
        node: _Node[_M, _G] | None = self._root
        for level in filter.split(b"/"):
            assert node is not None
            if level == b"#":
                if node.rest is None and make:
                    node.rest = {}
                return node.rest
            after = node.any if level == b"+" else node.words.get(level)
            if after is None:
                if not make:
                    return None
                after = _Node()
                if level == b"+":
                    node.any = after
                else:
                    node.words[level] = after
            node = after
        assert node is not None
        if node.here is None and make:
            node.here = {}
        return node.here

    def _prune(self, filter: bytes) -> None:
        """Remove a filter without subscribers, and the nodes that no other filter needs."""
        if not has_wildcard(filter):
            del self._names[filter]
            return
        path: list[tuple[_Node[_M, _G], bytes]] = []
        node = self._root
        for level in filter.split(b"/"):
            if level == b"#":
                node.rest = None
                break
            path.append((node, level))
            after = node.any if level == b"+" else node.words[level]
            assert after is not None
            node = after
        else:
            node.here = None
        for parent, level in reversed(path):
            child = parent.any if level == b"+" else parent.words[level]
            if child is not None and child.used:
                return
            if level == b"+":
                parent.any = None
            else:
                del parent.words[level]

    def matching(self, topic: bytes, most: int = AT_ONCE) -> Found[_M, _G] | None:
        """Return the subscribers of each filter that matches.

        None: the search takes more than ``most`` steps, and is for ``searching``.
        """
        found: Found[_M, _G] = []
        entries = self._names.get(topic)
        if entries is not None:
            found.append(entries)
        nodes = [self._root] if self._root.used else []
        hidden = topic.startswith(b"$")
        for level in topic.split(b"/", LEVELS_MAX) if nodes else ():
            nodes = _deeper(nodes, level, found, hidden=hidden)
            hidden = False
            if not nodes:
                return found
            most -= len(nodes)
            if most < 0:
                return None
        _at_end(nodes, found)
        return found

    def searching(self, topic: bytes) -> Generator[int, None, Found[_M, _G]]:
        """Find the subscribers of each filter that matches, in steps; yields units of work.

        A subscriber that is added or removed meanwhile may be found or missed: the caller must then
        search again.
        """
        found: Found[_M, _G] = []
        entries = self._names.get(topic)
        if entries is not None:
            found.append(entries)
        nodes = [self._root]
        hidden = topic.startswith(b"$")
        for level in topic.split(b"/", LEVELS_MAX):
            after: list[_Node[_M, _G]] = []
            for some in _parts(nodes):
                after += _deeper(some, level, found, hidden=hidden)
                yield len(some)
            hidden = False
            nodes = after
        for some in _parts(nodes):
            _at_end(some, found)
            yield len(some)
        return found


def _parts(nodes: list[_Node[_M, _G]]) -> Iterator[list[_Node[_M, _G]]]:
    for at in range(0, len(nodes), STEP):
        yield nodes[at : at + STEP]


def _deeper(
    nodes: list[_Node[_M, _G]],
    level: bytes,
    found: Found[_M, _G],
    *,
    hidden: bool,
) -> list[_Node[_M, _G]]:
    """Return the nodes of the next level.

    ``hidden``: the level is a first one that begins with ``$``, which no wildcard matches.
    """
    after: list[_Node[_M, _G]] = []
    for node in nodes:
        child = node.words.get(level)
        if child is not None:
            after.append(child)
        if hidden:
            continue
        if node.any is not None:
            after.append(node.any)
        if node.rest is not None:
            found.append(node.rest)
    return after


def _at_end(nodes: list[_Node[_M, _G]], found: Found[_M, _G]) -> None:
    for node in nodes:
        if node.here is not None:
            found.append(node.here)
        if node.rest is not None:
            found.append(node.rest)
