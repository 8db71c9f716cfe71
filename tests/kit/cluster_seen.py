"""What stands in the topics of a cluster's nodes, as a client of Kafka reads it.

Whatever the nodes believe: who has claimed what, and which messages there are.
"""

from typing import NamedTuple

from logstore.broker.queues.journal import SettlementNotes
from logstore.cluster.claims import Claims, word_of
from logstore.cluster.state_log import Replayed
from logstore.cluster_queues import queue_of
from logstore.node.roaming import JOURNAL
from logstore.records.decode import decode


class Journal(NamedTuple):
    """``claims``: the last of each partition; ``strangers``: (partition, offset) of records that
    stand above a claim, and are not of who has claimed it.
    """

    claims: dict
    strangers: list


def _batches(client, log):
    """All batches in order, while the log's owner may trim it."""
    found, at = [], log.start
    while at < log.safe:
        batches = []

        def came(at=at, batches=batches):
            batches[:] = log.read(max(at, log.start), 1 << 20)
            return batches or log.start >= log.safe

        client.until(log, came)
        found += batches
        at = batches[-1].next_offset if batches else log.safe
    client.call(log.close)
    return found


def journal(client):
    """The journal's claims of all queues."""
    claims, strangers = {}, []
    for number in range(JOURNAL.partitions):
        seen = Claims()
        for batch in _batches(client, client.log(JOURNAL.name, number)):
            known = seen.owner
            admitted = seen.admits(batch)
            if not admitted and known is not None and word_of(batch) is None:
                strangers.append((number, batch.base_offset))
        claims[number] = seen.owner
    return Journal(claims, strangers)


def owners(client, admin):
    """(node, epoch) of each claimed partition."""
    if JOURNAL.name not in admin.list_topics().topics:
        return {}
    claims = journal(client).claims
    return {number: (it.word.node, it.epoch) for number, it in claims.items() if it is not None}


def settled(client, queue):
    """The number of settled messages, as the queue's next owner will find it."""
    claims, replayed = Claims(), Replayed(SettlementNotes)
    for batch in _batches(client, client.log(JOURNAL.name, queue % JOURNAL.partitions)):
        if claims.admits(batch):
            replayed.apply(batch)
    replayed.notes.freeze()
    state = replayed.notes.state(queue)
    if state is None:
        return 0
    return sum(
        it.cursor - sum(mask.bit_count() for mask in it.held.values())
        for it in state.lanes.values()
    )


def messages(client, admin, filling):
    """Messages in queues with this ending: the number, and the rest of each body."""
    found = []
    for topic, its in admin.list_topics().topics.items():
        if queue_of(topic) is None:
            continue
        for number in its.partitions:
            for batch in _batches(client, client.log(topic, number)):
                bodies = [it.value.partition(b" ") for it in decode(batch)]
                found += [int(number) for number, _, end in bodies if end == filling]
    return found
