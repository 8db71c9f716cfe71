"""Traverses the topics that a filter matches, in order, as far as there is room.

Topics between two matches are skipped: from a topic that does not match, the next possible match is
computed (``beyond``) and looked up. So the cost of ``+/status`` depends on the number of first
levels, not on the number of all topics below them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from logstore.broker.mqtt.filters import has_wildcard
from logstore.broker.mqtt.ordered import Ordered

RUN_MAX: Final = 512  # topics compared at once if most of them match
RUN_BYTES_MAX: Final = 1 << 16  # of these; a topic may have as many
LOOK_BYTES: Final = 256  # of topics, to be looked at for one more
LEVELS_MAX: Final = 64  # of a filter that becomes a regular expression: making one takes long
_END: Final = b""  # no topic is left that could match
_BEHIND_SLASH: Final = b"0"  # the byte that follows "/"
_BEHIND_DOLLAR: Final = b"%"


class Walk:
    """The traversal for one valid filter. It continues after its last position, whatever has
    changed.
    """

    __slots__ = ("_at", "_exact", "_levels", "_low", "_match", "_ordered", "_run", "_stem")

    def __init__(self, ordered: Ordered, filter_: bytes) -> None:
        self._ordered = ordered
        self._exact = not has_wildcard(filter_)  # it is looked up, and has levels without a bound
        self._levels = [filter_] if self._exact else filter_.split(b"/")
        literal = _literal(self._levels)
        self._low = b"/".join(self._levels[:literal])
        self._at: bytes | None = self._low  # None: over
        self._run = 1
        # All that begins with it matches; None: that alone does not say so.
        self._stem: bytes | None = None
        if literal == len(self._levels) - 1 and self._levels[-1] == b"#":
            self._stem = self._low + b"/" if literal else b""
        self._match: Callable[[bytes], object] | None = None  # once something is to be compared

    @property
    def over(self) -> bool:
        return self._at is None

    def some(self, most: int) -> tuple[list[bytes], list[bytes]]:
        """Return matching topics and their values; looks at about ``most`` topics.

        The result may be empty although more follow (``over``).
        """
        if self._exact:
            return self._exactly()
        topics: list[bytes] = []
        values: list[bytes] = []
        while most > 0 and self._at is not None:
            run, known = self._ordered.run(self._at, min(self._run, most))
            if not run:
                self._at = None
                break
            size = sum(map(len, run))
            most -= len(run) + size // LOOK_BYTES
            beyond = self._beyond(run[0])
            if beyond is not None:
                self._run = 1
                self._at = None if beyond is _END else beyond
                continue
            found = self._matching(run)
            if len(found) == len(run):
                topics += run
                values += known
            else:
                topics += [run[n] for n in found]
                values += [known[n] for n in found]
            more = 2 * len(found) >= len(run) and size <= RUN_BYTES_MAX
            self._run = min(2 * len(run), RUN_MAX) if more else 1
            self._at = run[-1] + b"\0"  # the least that is greater
        return topics, values

    def _exactly(self) -> tuple[list[bytes], list[bytes]]:
        topic, self._at = self._low, None
        value = self._ordered.get(topic)
        return ([], []) if value is None else ([topic], [value])

    def _matching(self, run: Sequence[bytes]) -> Sequence[int]:
        """Return the indexes of the topics that match. The first topic must match."""
        stem = self._stem
        if stem is not None and run[0].startswith(stem) and run[-1].startswith(stem):
            dollars = not stem and run[0] < _BEHIND_DOLLAR and run[-1] >= b"$"
            if not dollars:
                return range(len(run))
        match = self._match
        if match is None:  # making an expression takes longer than most walks
            few = len(self._levels) <= LEVELS_MAX
            match = self._match = _matcher(self._levels) if few else self._matches
        return [n for n, topic in enumerate(run) if match(topic)]

    def _matches(self, topic: bytes) -> bool:
        return self._beyond(topic) is None

    def _beyond(self, topic: bytes) -> bytes | None:
        """Return None if the topic matches, else the next topic that may match."""
        levels = self._levels
        if topic[:1] == b"$" and levels[0] in (b"+", b"#"):  # MQTT 4.7.2
            return _BEHIND_DOLLAR
        words = topic.split(b"/")
        for n, level in enumerate(levels):
            if level == b"#":
                return None
            if n == len(words):  # it is what stands above those that could
                return topic + b"\0"
            if level not in (b"+", words[n]):
                return _aim(topic, words[:n], level)
        if len(words) == len(levels):
            return None
        return b"/".join(words[: len(levels)]) + _BEHIND_SLASH


def _aim(topic: bytes, above: Sequence[bytes], word: bytes) -> bytes:
    """Return the next topic with this word below the levels ``above``; ``topic`` has another word.

    Bytes below "/" sort between a word and its children: ``a``, ``a-b``, ``a/b``.
    """
    stem = b"".join([it + b"/" for it in above])
    for target in (stem + word, stem + word + b"/"):
        if target > topic:
            return target
    return stem[:-1] + _BEHIND_SLASH if stem else _END


def _literal(levels: Sequence[bytes]) -> int:
    """Return the number of levels before the first wildcard."""
    return next((n for n, it in enumerate(levels) if it in (b"+", b"#")), len(levels))


def _matcher(levels: Sequence[bytes]) -> Callable[[bytes], object]:
    """Return a compiled ``Walk._matches``.

    No part of the expression can match in two ways, so no topic makes it backtrack.
    """
    parts = [rb"[^/]*" if it == b"+" else re.escape(it) for it in levels]
    if levels[-1] == b"#":
        pattern = b"/".join(parts[:-1]) + rb"(?:/.*)?" if len(parts) > 1 else rb".*"
    else:
        pattern = b"/".join(parts)
    if levels[0] in (b"+", b"#"):
        pattern = rb"(?!\$)" + pattern
    return re.compile(pattern, re.DOTALL).fullmatch
