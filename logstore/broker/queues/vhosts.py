"""Virtual hosts, created and deleted while others are in use. In the sessions' thread.

A virtual host exists once it is stored. Deleting it ends the connections to it; all its objects are
deleted in one change, and its logs afterwards.
"""

from typing import Final

from logstore.amqp import fields
from logstore.broker.queues.keeping import Rows
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.refusals import DefaultVhost, NoVhost
from logstore.broker.queues.vhost import Host, Vhost
from logstore.errors import InvalidName
from logstore.kept.queues import DEFAULT_VHOST, KeptVhost, QueueKeeper

NAME_BYTES_MAX: Final = 255  # as AMQP's connection.open takes it


class Vhosts:
    """All virtual hosts of a process, by name."""

    def __init__(self, host: Host, keeper: QueueKeeper) -> None:
        self.by_name: dict[bytes, Vhost] = {}
        self._host = host
        self._keeper = keeper
        self._making: dict[bytes, Pending] = {}

    def put(self, vhost: Vhost) -> None:
        """Add an existing virtual host."""
        self.by_name[vhost.name] = vhost

    def rows(self, fact: KeptVhost, *, new: bool = False) -> Rows:
        """Return the rows of a virtual host. ``new``: its own row is stored with its
        first change.
        """
        return Rows(fact, self._keeper, self._host.next_id, kept=not new)

    def named(self, name: bytes) -> Vhost:
        """Return the virtual host. Raises NoVhost."""
        vhost = self.by_name.get(name)
        if vhost is None:
            raise NoVhost(name)
        return vhost

    def add(self, name: bytes) -> Pending | None:
        """Add a virtual host, visible once the change is kept. None: it already exists.

        Raises InvalidName.
        """
        if not 0 < len(name) <= NAME_BYTES_MAX:
            what = f"of {len(name)} bytes" if name else "without a name"
            raise InvalidName(f"a virtual host {what}: names have 1 to {NAME_BYTES_MAX} bytes")
        if name in self.by_name:
            return None
        making = self._making.get(name)
        if making is None:
            fact = KeptVhost(self._host.next_id(), fields.text(name))
            making = self._making[name] = Pending(self._keeper.change([fact]))
            making.then(lambda it: self._made(name, fact, it))
        return making

    def _made(self, name: bytes, fact: KeptVhost, made: Pending) -> None:
        del self._making[name]
        if made.error is None and name not in self.by_name:
            self.make(fact)

    def make(self, fact: KeptVhost) -> Vhost:
        """Create the object of a stored virtual host."""
        vhost = Vhost(fields.data(fact.name), self._host, self.rows(fact))
        vhost.named()
        self.put(vhost)
        return vhost

    def leave(self, name: bytes) -> None:
        """Forget a virtual host that is already deleted."""
        del self.by_name[name]

    def delete(self, name: bytes) -> Pending:
        """Delete the virtual host with its exchanges, queues and messages; its connections end.

        Raises NoVhost, DefaultVhost.
        """
        vhost = self.named(name)
        if name == fields.data(DEFAULT_VHOST):
            raise DefaultVhost()
        del self.by_name[name]
        return vhost.drop()
