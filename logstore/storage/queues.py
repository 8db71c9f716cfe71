"""Vhosts, exchanges, queues, bindings, policies and routes, in LMDB beside the catalogue.

``kept/queue_rows.py`` has the layout of rows; each kind has a table of its own. All ids are from
one counter: ``routing_ids`` in ``meta`` is higher than every id ever given.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from logstore.errors import CorruptStore
from logstore.kept.queue_rows import (
    BINDINGS,
    DAMAGE,
    EXCHANGES,
    ID,
    POLICIES,
    QUEUES,
    ROUTES,
    VHOSTS,
    encode,
    parse,
    place,
)
from logstore.kept.queues import Kept, KeptRouting, stream_topic
from logstore.storage.environment import Environment, Transaction

_META: Final = b"meta"
TABLES: Final = (VHOSTS, EXCHANGES, QUEUES, BINDINGS, POLICIES, ROUTES, _META)
_NEXT: Final = b"routing_ids"
_NAMES: Final = {
    VHOSTS: "vhost", EXCHANGES: "exchange", QUEUES: "queue", BINDINGS: "binding",
    POLICIES: "policy", ROUTES: "route",
}  # fmt: skip


def load(environment: Environment) -> KeptRouting:
    """All stored facts; damaged rows are named, and stay where they are."""
    damaged: list[CorruptStore] = []

    def rows(table: bytes) -> list[Any]:
        found = []
        for key, value in environment.items(table):
            try:
                found.append(parse(table, key, value))
            except DAMAGE as error:
                damaged.append(
                    CorruptStore(
                        f"{environment.path}: {_NAMES[table]} {key.hex()} is damaged: {error!r}: "
                        f"it is left out"
                    )
                )
        return found

    given = environment.get(_META, _NEXT)
    return KeptRouting(
        rows(VHOSTS),
        rows(EXCHANGES),
        rows(QUEUES),
        rows(BINDINGS),
        1 if given is None else ID.unpack(given)[0],
        damaged,
        rows(POLICIES),
        rows(ROUTES),
    )


def used(environment: Environment) -> bool:
    """Whether anything was ever stored."""
    return environment.get(_META, _NEXT) is not None


def streams(environment: Environment) -> set[str]:
    """The topics that are streams."""
    kept = load(environment)
    hosts = {it.id: it.name for it in kept.vhosts}
    return {
        stream_topic(hosts[it.vhost], it.name)
        for it in kept.queues
        if it.arguments.get("x-queue-type") == "stream" and it.vhost in hosts
    }


def change(transaction: Transaction, keep: Sequence[Kept], forget: Sequence[Kept]) -> None:
    """Make the change within one transaction of ``TABLES``."""
    for fact in forget:
        table, key = place(fact)
        transaction.change(table, key, None)
    for fact in keep:
        table, key = place(fact)
        transaction.change(table, key, encode(fact))
    raise_ids(transaction, (fact.id for fact in keep))


def raise_ids(transaction: Transaction, given: Iterable[int]) -> None:
    """Mark these numbers as used. Within one transaction of tables that include ``meta``."""
    known = transaction.get(_META, _NEXT)
    most = max(given, default=-1) + 1
    if most > (1 if known is None else ID.unpack(known)[0]):
        transaction.change(_META, _NEXT, ID.pack(most))
