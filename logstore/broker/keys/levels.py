"""When a change of a key is acknowledged: by ``[[keys]]`` in the configuration, by patterns."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from logstore.patterns import Pattern
from logstore.settings import KeysRule

KNOWN_MAX: Final = 10_000  # keys whose level is remembered
KNOWN_BYTES_MAX: Final = 512  # of such a key


class Level(IntEnum):
    """How much acknowledged data may be lost, in the words of the setting and of Redis."""

    NONE = 0  # lost when the server ends: in memory only
    EVERYSEC = 1  # the last second, in a power cut
    TURN = 2  # nothing


OF_SETTING: Final = {"none": Level.NONE, "everysec": Level.EVERYSEC, "turn": Level.TURN}
# Redis's own words. Under ``no`` it writes, and leaves the sync to the system. That is not NONE:
# the value before would stay on disk, and be there again after a restart.
OF_REDIS: Final = {"no": Level.EVERYSEC, "everysec": Level.EVERYSEC, "always": Level.TURN}
IN_REDIS: Final = {Level.EVERYSEC: "everysec", Level.TURN: "always"}


class Levels:
    """The levels of a store: by the first pattern that a key matches, otherwise ``default``."""

    def __init__(self, rules: Sequence[KeysRule] = (), default: Level = Level.TURN) -> None:
        self.default = default
        self.rules = [(Pattern(it.pattern.encode()), OF_SETTING[it.sync]) for it in rules]
        self._known: dict[bytes, Level | None] = {}

    def of(self, key: bytes) -> Level:
        """Return the durability level of a key."""
        if not self.rules:
            return self.default
        known = self._known.get(key, self)
        if known is self:
            known = next((level for pattern, level in self.rules if pattern.matches(key)), None)
            if len(key) <= KNOWN_BYTES_MAX:
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known[key] = known
        return self.default if not isinstance(known, Level) else known

    @property
    def waits(self) -> bool:
        """Whether some keys may have a level at which changes are acknowledged after a sync."""
        return Level.TURN in (self.default, *(level for _, level in self.rules))

    @property
    def any_volatile(self) -> bool:
        """Whether some keys may exist in memory only."""
        return Level.NONE in (self.default, *(level for _, level in self.rules))
