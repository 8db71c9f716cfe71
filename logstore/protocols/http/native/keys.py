"""Redis's databases: how much is in them, and how they are."""

from typing import TYPE_CHECKING

from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:  # the model, which a server without keys does without
    from logstore.broker.keys.keyspace import Keyspace


def databases(door: HttpDoor, call: Call) -> None:
    """Those that have keys, and whether they are all read, and can be written."""
    keys = door.keys_of.opened
    call.answer({
        "loading": keys is not None and keys.loading,
        "damage": None if keys is None else keys.damage,
        "failing": None if keys is None else keys.failing,
        "databases": [] if keys is None else [_shown(it) for it in keys.databases if len(it)],
    })  # fmt: skip


def _shown(it: "Keyspace") -> dict[str, object]:
    return {
        "database": it.number,
        "topic": f"__keys.{it.number}",
        "keys": len(it),
        "expiring": len(it.deadlines),
        "bytes": it.contents.bytes,
        "hits": it.hits,
        "misses": it.misses,
        "expired": it.expired,
        "evicted": it.evicted,
    }
