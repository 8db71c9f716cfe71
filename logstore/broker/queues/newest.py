"""Stored facts by virtual host, without leftovers of earlier objects of the same names. Pure.

If a deletion could not be stored, its rows remain, and an object created since then may have the
same name. The higher number is the newer object.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from logstore.kept.queues import (
    Kept,
    KeptBinding,
    KeptExchange,
    KeptPolicy,
    KeptQueue,
    KeptRouting,
    KeptTopicRoute,
    KeptVhost,
)

_Named = TypeVar("_Named", KeptExchange, KeptQueue, KeptPolicy)


@dataclass(slots=True)
class Hosted:
    """A virtual host and its stored facts."""

    fact: KeptVhost
    exchanges: dict[str, KeptExchange] = field(default_factory=dict)
    queues: dict[str, KeptQueue] = field(default_factory=dict)
    bindings: list[KeptBinding] = field(default_factory=list)
    policies: dict[str, KeptPolicy] = field(default_factory=dict)
    routes: list[KeptTopicRoute] = field(default_factory=list)


def newest(kept: KeptRouting) -> tuple[Sequence[Hosted], Sequence[Kept]]:
    """Return the rows that count, and the others: incomplete ones, and earlier ones of the same
    name.
    """
    left: list[Kept] = []
    named: dict[str, Hosted] = {}
    for vhost in sorted(kept.vhosts, key=lambda it: it.id):
        if (earlier := named.pop(vhost.name, None)) is not None:
            left.append(earlier.fact)
        named[vhost.name] = Hosted(vhost)
    hosts = {it.fact.id: it for it in named.values()}
    sources: dict[int, Hosted] = {}  # by the numbers of exchanges
    sinks: dict[int, Hosted] = {}  # and of queues
    for exchange in kept.exchanges:
        host = hosts.get(exchange.vhost)
        left += _put({} if host is None else host.exchanges, exchange, host, sources)
    for queue in kept.queues:
        host = hosts.get(queue.vhost)
        left += _put({} if host is None else host.queues, queue, host, sinks)
    for policy in kept.policies:
        host = hosts.get(policy.vhost)
        left += _put({} if host is None else host.policies, policy, host, {})
    for route in kept.routes:
        if (host := hosts.get(route.vhost)) is None:
            left.append(route)
        else:
            host.routes.append(route)
    for binding in kept.bindings:
        host = sources.get(binding.source)
        to = sinks.get(binding.destination) or sources.get(binding.destination)
        if host is None or to is not host:
            left.append(binding)
        else:
            host.bindings.append(binding)
    return list(hosts.values()), left


def _put(
    there: dict[str, _Named], row: _Named, host: Hosted | None, of: dict[int, Hosted]
) -> Sequence[Kept]:
    """Add the row; return those that do not count: this one, or an earlier one of its name."""
    if host is None:
        return [row]
    other = there.get(row.name)
    if other is not None and other.id > row.id:
        return [row]
    there[row.name] = row
    of[row.id] = host
    if other is None:
        return ()
    of.pop(other.id, None)
    return [other]
