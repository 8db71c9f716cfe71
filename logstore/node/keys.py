"""Redis's keys of a node: their storage, and their one timer.

Most stores have none, so the model is loaded for the first client of the Redis door, or if a topic
of keys exists when the process begins to serve.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from logstore.clock import now_ms
from logstore.internals import Internals
from logstore.names import KEYS_TOPICS
from logstore.node.groups import Alarm
from logstore.protocols.house import Work
from logstore.turn import Turn

if TYPE_CHECKING:
    from logstore.broker.keys.keys import Keys
    from logstore.node.shared_keys import NodeSharedKeys


class NodeKeys:
    """A ``KeysOf``, and the model's surroundings. For the sessions' thread."""

    def __init__(
        self, turn: Turn, store: Internals, work: Work, shared: "NodeSharedKeys | None" = None
    ) -> None:
        """Starts to read the existing keys. ``shared``: other nodes may serve them."""
        self._shared = shared
        self._turn = turn
        self._store = store
        self._alarm = Alarm(turn, self._tick)
        self._keys: Keys | None = None
        self.soon: Callable[[Callable[[], object]], object] = turn.soon
        self.work: Callable[[Callable[[], Any], Callable[[Any], Any]], object] = work
        if shared is None and any(store.topics.get(name) is not None for name in KEYS_TOPICS):
            self.open()

    @property
    def opened(self) -> "Keys | None":
        """As KeysOf.opened."""
        return self._keys

    def open(self) -> "Keys":
        """As KeysOf.open."""
        if self._keys is None:
            from logstore.broker.keys.key_topics import KeyTopics
            from logstore.broker.keys.keys import Keys
            from logstore.broker.keys.levels import OF_REDIS, Levels

            config = self._store.directory.config
            levels = Levels(config.keys, OF_REDIS[config.store.resp_appendfsync])
            if self._shared is None:
                keys = Keys(KeyTopics(self._store.topics), now_ms, self, levels)
            else:
                keys = self._shared.made(self, levels)
            keys.eviction.limit(
                config.store.resp_maxmemory_bytes, config.store.resp_maxmemory_policy
            )
            self._keys = keys
        return self._keys

    def alarm(self, at_ms: int) -> None:
        """As Surroundings.alarm."""
        self._alarm.set(int(self._turn.now() * 1000) + max(0, at_ms - now_ms()))

    def _tick(self) -> None:
        if self._keys is not None:
            self._keys.tick()

    def close(self) -> None:
        """Write all changes, which are synced when the store is closed."""
        self._alarm.stop()
        if self._keys is not None:
            self._keys.close()
