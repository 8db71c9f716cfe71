"""Topic patterns as one tree of words, which all patterns of an exchange share.

A key is matched word by word against all patterns at once: after each word, the set of reached
nodes is known. So a match costs the number of words times the number of reached nodes, whatever the
number of patterns. The node of a ``#`` stays reached; many of them in a pattern reach more nodes,
but each only once a word, so nothing is tried twice (a recursive match takes exponential time for
patterns such as ``#.a.#.a.#.a``).
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from logstore.broker.routing.held import Held, each, joined, without

_T = TypeVar("_T", bound=Hashable)

ONE: Final = b"*"
ANY: Final = b"#"
FEW: Final = 2  # words after a "#" that are waited for, instead of being looked up at each word


def words_of(key: bytes) -> list[bytes]:
    """Split a key into words. The empty key has none; ``a..b`` has an empty one in the middle."""
    return key.split(b".") if key else []


def canonical(pattern: bytes) -> list[bytes]:
    """Return the words of the pattern in the form that all equivalent patterns share.

    Only the number of ``*`` matters where they and ``#`` are adjacent: ``#.*.#`` asks for one word
    or more, as ``*.#`` does.
    """
    words: list[bytes] = []
    open_ended = False  # a "#" stands in the run of wildcards that is being read
    for word in words_of(pattern):
        if word == ANY:
            open_ended = True
            continue
        if open_ended and word != ONE:
            words.append(ANY)
            open_ended = False
        words.append(word)
    if open_ended:
        words.append(ANY)
    return words


class _Node(Generic[_T]):
    __slots__ = ("any", "held", "one", "words")

    def __init__(self) -> None:
        self.held: Held[_T] = None  # what patterns that end here stand for
        self.words: dict[bytes, _Node[_T]] | None = None  # None: there are none
        self.one: _Node[_T] | None = None
        self.any: _Node[_T] | None = None

    @property
    def empty(self) -> bool:
        return self.held is None and not self.words and self.one is None and self.any is None

    def child(self, word: bytes) -> "_Node[_T] | None":
        if word == ONE:
            return self.one
        if word == ANY:
            return self.any
        return None if self.words is None else self.words.get(word)

    def grow(self, word: bytes) -> "_Node[_T]":
        node: _Node[_T] = _Node()
        if word == ONE:
            self.one = node
        elif word == ANY:
            self.any = node
        else:
            if self.words is None:
                self.words = {}
            self.words[word] = node
        return node

    def prune(self, word: bytes) -> None:
        if word == ONE:
            self.one = None
        elif word == ANY:
            self.any = None
        else:
            assert self.words is not None
            del self.words[word]
            if not self.words:
                self.words = None


class TopicTree(Generic[_T]):
    """Patterns, each with the things stored for it; a thing may be added more than once."""

    def __init__(self) -> None:
        self._root: _Node[_T] = _Node()

    def add(self, pattern: bytes, thing: _T) -> None:
        node = self._root
        for word in canonical(pattern):
            node = node.child(word) or node.grow(word)
        node.held = joined(node.held, thing)

    def remove(self, pattern: bytes, thing: _T) -> None:
        """Remove a pattern that was added."""
        path = [(self._root, b"")]
        for word in canonical(pattern):
            node = path[-1][0].child(word)
            assert node is not None
            path.append((node, word))
        last = path[-1][0]
        last.held = without(last.held, thing)
        while len(path) > 1 and path[-1][0].empty:
            _, word = path.pop()
            path[-1][0].prune(word)

    def match(self, key: bytes) -> Iterator[_T]:
        """Yield the things of all matching patterns; a thing comes once for each pattern."""
        wild: _Wild[_T] = _Wild()
        reached = [self._root]
        wild.open(reached)
        before: list[_Node[_T]] = []
        for word in words_of(key):
            after: list[_Node[_T]] = []
            for node in (*reached, *wild.active):
                if node.words is not None and (child := node.words.get(word)) is not None:
                    after.append(child)
                if node.one is not None:
                    after.append(node.one)
            # Each node has one parent, and wildcards are canonical: none comes twice.
            before = wild.next(word, after) if wild.waiting or wild.ended else []
            reached = after
            for node in after:
                if node.any is not None:
                    wild.open(after)
                    break
            if not (reached or wild.active or wild.waiting or wild.ended):
                break
        for node in (*reached, *before, *wild.opened):
            yield from each(node.held)


class _Wild(Generic[_T]):
    """The reached nodes of ``#``, which stay reached.

    Most of them are followed by one or two words. These nodes are indexed by the words that they
    wait for, so that a word of the key costs only the nodes that wait for it, not each "#" of ten
    thousand patterns. A node that has got its word and continues only with another "#" is reached
    for good and waits no longer.
    """

    __slots__ = ("active", "ended", "opened", "waiting")

    def __init__(self) -> None:
        self.opened: dict[_Node[_T], None] = {}
        self.active: list[_Node[_T]] = []  # those that many words follow
        self.waiting: dict[bytes, list[_Node[_T]]] = {}  # by the word: what follows the others
        self.ended: dict[bytes, list[_Node[_T]]] = {}  # what patterns end with, if the key does

    def open(self, reached: Iterable[_Node[_T]]) -> None:
        """Add what follows a ``#`` at these nodes."""
        for node in reached:
            if (tail := node.any) is None or tail in self.opened:
                continue
            self.opened[tail] = None
            if tail.words is None:  # its pattern ends: the rest of the key is all one
                continue
            if len(tail.words) > FEW:
                self.active.append(tail)
                continue
            for word, child in tail.words.items():
                self.waiting.setdefault(word, []).append(child)

    def next(self, word: bytes, after: list[_Node[_T]]) -> list[_Node[_T]]:
        """Put the nodes that wait for this word into ``after``; return those that end with it."""
        ended = self.ended.get(word, [])
        came = self.waiting.pop(word, None)
        if came is None:
            return ended
        after += came
        waiting = [it for it in came if it.words is not None or it.one is not None]
        if waiting:
            self.waiting[word] = waiting
        if len(waiting) < len(came):
            known = [
                it for it in came if it.words is None and it.one is None and it.held is not None
            ]
            self.ended[word] = ended + known
        return ended
