"""Which nodes of a cluster announce themselves, and the addresses of their links.

A node announces itself when it starts, when it hears of a new node, and periodically; a node
without an announcement for a while counts as gone. Nodes that own something are also known by their
claims; announcements make the others known.
"""

from collections.abc import Callable
from typing import Final

from logstore.relay.proof import NODE_BYTES_MAX

SAY_S: Final = 20.0
SILENT_S: Final = 70.0  # three of these lost
NODES_MAX: Final = 200  # whoever may append to the nodes' topic can say that there are some
ADDRESS_BYTES_MAX: Final = 300
_HERE: Final = b"\0here\0"


def is_said(content: bytes) -> bool:
    """Whether a message is a node's announcement."""
    return content.startswith(_HERE)


class Presence:
    """The nodes that one node knows. Used in one thread."""

    def __init__(
        self,
        node: bytes,
        address: str,
        say: Callable[[bytes], object],
        after: Callable[[float, Callable[[], object]], object],
        now: Callable[[], float],
        changed: Callable[[], object],
    ) -> None:
        """``say``: sends to all nodes. ``after``: makes a call after this many seconds.
        ``changed``: called when nodes or addresses have changed.
        """
        self.there: dict[bytes, str] = {}  # the others' addresses, by name
        self._node = node
        self._said = _HERE + node + b"\0" + address.encode()
        self._say = say
        self._after = after
        self._now = now
        self._changed = changed
        self._heard: dict[bytes, float] = {}
        self._over = False
        self._go_on()

    def _go_on(self) -> None:
        if self._over:
            return
        self._say(self._said)
        silent = [it for it, at in self._heard.items() if at + SILENT_S <= self._now()]
        for node in silent:
            del self._heard[node], self.there[node]
        if silent:
            self._changed()
        self._after(SAY_S, self._go_on)

    def heard(self, content: bytes) -> None:
        """Process a node's announcement; invalid ones are ignored."""
        node, _, address = content.removeprefix(_HERE).partition(b"\0")
        if node == self._node or not 0 < len(node) <= NODE_BYTES_MAX:
            return
        is_new = node not in self.there
        if len(address) > ADDRESS_BYTES_MAX or (is_new and len(self.there) >= NODES_MAX):
            return
        self._heard[node] = self._now()
        where = address.decode(errors="replace")
        if self.there.get(node) != where:
            self.there[node] = where
            self._changed()
        if is_new:
            self._say(self._said)

    def close(self) -> None:
        """Announce nothing more."""
        self._over = True
