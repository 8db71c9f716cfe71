"""Forgets what share groups have settled beyond the ends of logs, where new records will be
appended.

A backup contains such offsets, because its journal is copied last. Logs that still have to be
recovered after a crash have lost no settled records.
"""

import logging
from typing import Final

from logstore.broker.queues.journal import settlements_of
from logstore.broker.queues.share_groups import clipped, decode_state, share_key
from logstore.broker.topic import uuid_of
from logstore.clock import now_ms
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.open_topics import OpenTopics
from logstore.records.encode import encode
from logstore.slices import parts
from logstore.storage.directory import WritableDirectory
from logstore.storage.kinds import TOPIC

CLIPPED_AT_ONCE: Final = 1000  # partitions, of one batch

log: Final = logging.getLogger("logstore.shares")


def clip_shares(journal: Log, directory: WritableDirectory, topics: OpenTopics) -> None:
    """Have the journal forget it; called before anything is appended to topics."""
    try:
        kept = list(settlements_of(journal).shares().partitions())
        ends = _ends(directory, topics) if kept else {}
        rows = [
            (clipped(end), share_key(place), (), now_ms())
            for place, state in kept
            if (end := ends.get((place.topic_id, place.partition))) is not None
            and decode_state(state, place).cursor > end
        ]
        for some in parts(rows, CLIPPED_AT_ONCE):
            journal.wait(journal.append(encode(some)) + len(some))
    except LogstoreError as error:  # whoever asks for them is told
        log.warning("share groups may miss records behind the ends of their logs: %s", error)


def _ends(
    directory: WritableDirectory, topics: OpenTopics
) -> dict[tuple[bytes | None, int | None], int]:
    """Where logs end that no crash has left to be recovered."""
    found: dict[tuple[bytes | None, int | None], int] = {}
    for name, entry in directory.entries():
        if entry.kind != TOPIC.name:
            continue
        topic_id = uuid_of(entry.id)
        for partition, stands in enumerate(topics.offsets(name)):
            if stands is not None and directory.is_recovered(entry, partition):
                found[topic_id, partition] = stands[1]
    return found
