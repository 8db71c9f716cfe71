"""Notifications of changes, published on ``__keyspace@N__`` and ``__keyevent@N__``."""

from typing import Final

from logstore.broker.channel import Channels

MISSED: Final = "keymiss"
NEW: Final = "new"
KEYSPACE, KEYEVENT = "K", "E"
ALL: Final = "g$lshzxetd"  # the meaning of "A"
_KINDS: Final = {
    "g": "del rename_from rename_to move_from move_to copy_to restore expire persist sortstore",
    "$": "set append setrange incrby incrbyfloat",
    "l": "lpush rpush lpop rpop linsert lset ltrim lrem",
    "s": "sadd srem spop sinterstore sunionstore sdiffstore",
    "h": "hset hdel hincrby hincrbyfloat",
    "z": """zadd zincr zrem zremrangebyscore zremrangebyrank zremrangebylex zpopmin zpopmax
        zrangestore zunionstore zinterstore zdiffstore""",
    "x": "expired",
    "e": "evicted",
    "n": NEW,
    "m": MISSED,
}
KIND_OF: Final = {event: kind for kind, events in _KINDS.items() for event in events.split()}


def kinds_of(text: str) -> str | None:
    """The kinds in a value of ``notify-keyspace-events``, in Redis's order; None if invalid."""
    if not set(text) <= {*ALL, "A", KEYSPACE, KEYEVENT, "n", "m"}:
        return None
    asked = set(text.replace("A", ALL))
    if asked >= set(ALL):
        found = "A"
    else:
        found = "".join(kind for kind in ALL if kind in asked) + "n" * ("n" in asked)
    return found + "".join(kind for kind in (KEYSPACE, KEYEVENT, "m") if kind in asked)


class Notices:
    """The kinds of notifications that are enabled."""

    def __init__(self, channels: Channels) -> None:
        self.text = ""  # as CONFIG GET shows it
        self.kinds: frozenset[str] = frozenset()  # empty, where nothing would be published
        self._channels = channels

    def ask(self, text: str) -> bool:
        """Set the requested notifications; returns False for an invalid text."""
        found = kinds_of(text)
        if found is None:
            return False
        self.text = found
        kinds = frozenset(text.replace("A", ALL))
        self.kinds = kinds if kinds & {KEYSPACE, KEYEVENT} else frozenset()
        return True

    def tell(self, database: int, key: bytes, event: str) -> None:
        """Publish the event if it is requested."""
        kinds = self.kinds
        if KIND_OF.get(event) not in kinds:
            return
        word = event.encode()
        if KEYSPACE in kinds:
            self._channels.announce(b"__keyspace@%d__:%b" % (database, key), word)
        if KEYEVENT in kinds:
            self._channels.announce(b"__keyevent@%d__:%b" % (database, word), key)
