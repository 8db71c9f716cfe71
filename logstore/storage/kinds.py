"""The kinds of logs that a store has, each with its directories and the notes kept beside its logs.

Work on all logs (recovery, verify, upkeep, backup, status) covers all kinds; lists of topics have
topics only. A store that holds an unknown kind is not opened.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from logstore.log import Notes
from logstore.settings import StoreSettings
from logstore.storage.names import log_directory, parse_log_directory


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of logs."""

    name: str  # as the catalogue has it
    folder: str = ""  # below the data directory, where the directories of its logs lie
    jobs: frozenset[str] = frozenset()  # of upkeep, which the settings of a log may ask for
    notes: Callable[[], Notes] | None = None  # makes what a model keeps beside one log
    # The recovery point of its logs moves after so many bytes, or after fewer if the store says so.
    recovery_bytes: int | None = None
    # Of its logs, where they differ from what topics have by default: setting by name.
    settings: Callable[[StoreSettings], Mapping[str, str]] = lambda store: {}

    def path(self, name: str) -> str:
        """The path of these logs in messages."""
        return os.path.join(self.folder, name)

    def directory(self, name: str, partition: int) -> str:
        """The directory of one log, relative to the data directory."""
        return os.path.join(self.folder, log_directory(name, partition))


JOURNAL_SEGMENT_BYTES: Final = 16 << 20
# Until then its notes keep the batches, and then read them, at 0.25 s a MiB.
JOURNAL_RECOVERY_BYTES: Final = 1 << 20

TOPIC: Final = Kind("topic", jobs=frozenset({"retention", "compact", "recompress"}))
Kinds = Mapping[str, Kind]  # by name

# Of a queue: one log for each priority that it has messages of, and what is settled of all queues.
LANE: Final = Kind(
    "lane",
    "queues",
    jobs=frozenset({"retention", "compact"}),
    settings=lambda store: {
        "segment.bytes": str(store.queue_segment_bytes),
        "retention.ms": str(store.queue_retention_ms),  # of what is settled
        "retention.bytes": str(store.queue_retention_bytes),
    },
)
JOURNAL: Final = Kind(
    "journal",
    "journal",
    recovery_bytes=JOURNAL_RECOVERY_BYTES,
    settings=lambda store: {
        "segment.bytes": str(JOURNAL_SEGMENT_BYTES),
        "flush.messages": "1",
        "flush.ms": str(store.queue_ack_sync_ms),  # of what nobody waits for
    },
)
KINDS: Final[Kinds] = MappingProxyType({it.name: it for it in (TOPIC, LANE, JOURNAL)})


def parse_directory(kinds: Kinds, path: str) -> tuple[Kind, str, int] | None:
    """Kind, name and partition of the log in this directory; None for any other path."""
    folder, file = os.path.split(path)
    parsed = parse_log_directory(file)
    kind = next((it for it in kinds.values() if it.folder == folder), None)
    return None if parsed is None or kind is None else (kind, *parsed)
