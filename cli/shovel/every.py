"""The queues that ``--all`` means: those of a directory's server that last, and have messages."""

from collections.abc import Sequence
from dataclasses import replace

from ..options import DataDir
from ..queueing import queues_of
from ..vhost import vhosts_of
from .place import Place


def every(of: DataDir) -> Sequence[tuple[str, str]]:
    """The virtual host and name of each queue; without streams, which are topics."""
    with vhosts_of(of) as vhosts:
        names = [it.vhost for it in vhosts.rows()]
    found = []
    for vhost in names:
        with queues_of(of, vhost) as site:
            ready = [it.name for it in site.queues() if it.ready]
            about = {name: site.queue(name) for name in ready}
        found += [(vhost, it) for it in ready if about[it].durable and about[it].topic is None]
    return found


def within(place: Place, vhost: str) -> Place:
    """The same place in another virtual host."""
    return replace(place, vhost=vhost)
