"""A summary of a data directory: its contents, its writer, and damage that is quick to find."""

from dataclasses import dataclass
from typing import Literal

from logstore.errors import CorruptBatch, LogstoreError, OffsetBelowStart, UnknownPartition
from logstore.kept.users import KeptAccess
from logstore.log import Log
from logstore.owner import Owner
from logstore.storage import users
from logstore.storage.directory import LocalDirectory, LogSize
from logstore.storage.kinds import TOPIC
from logstore.storage.ran import Ran, last

Mode = Literal["write", "read"]


@dataclass(frozen=True, slots=True)
class Undecided:
    """A partition in which readers of committed records wait for an open transaction."""

    topic: str
    partition: int
    offset: int  # where they stop
    producer_id: int
    since_ms: int  # by its first batch


@dataclass(frozen=True, slots=True)
class Status:
    """A summary of a store."""

    path: str
    mode: Mode
    schema: int | None  # None: bare partitions without a catalogue
    store_id: str
    writer: Owner | None
    topics: int
    partitions: int
    offsets: int  # from start to end: no fewer than there are records
    bytes: int
    groups: int
    users: int  # 0: everyone may do everything
    queues: int  # that last
    messages: int  # in them, that are not settled
    damaged: tuple[str, ...]  # of logs of every kind, as ``bytes``
    oldest_reader: tuple[int, int] | None = None  # of the catalogue: pid, commits behind
    leftovers: tuple[str, ...] = ()  # of deleted topics: what could not be removed yet, and why
    undecided: tuple[Undecided, ...] = ()
    upkeep: Ran | None = None  # what it did when it ran last; None: it has not, by itself


def status(directory: LocalDirectory, queues: int = 0, messages: int = 0) -> Status:
    """The status, with a check of both ends of each log; ``verify`` reads everything.

    ``queues`` and ``messages`` are passed in for Status, because storage does not know what is
    settled.
    """
    entries = directory.entries()
    topics = [entry for _, entry in entries if entry.kind == TOPIC.name]
    offsets = size_bytes = 0
    undecided: list[Undecided] = []
    damaged = [str(error) for error in directory.damaged_entries().values()]
    for name, entry in entries:
        for number in range(entry.partitions):
            try:
                size = directory.size(name, entry, number)
                size_bytes += size.bytes
                if entry.kind == TOPIC.name:
                    offsets += size.safe - size.start
                log = directory.log(name, entry, number)
                _look_at_both_ends(size, log)
                undecided += _undecided(name, number, log) if entry.kind == TOPIC.name else ()
            except UnknownPartition:
                continue  # deleted since
            except LogstoreError as error:
                damaged.append(str(error))
    table = directory.groups
    access = KeptAccess() if table is None else users.load(table.environment)
    damaged += map(str, access.damaged)
    return Status(
        path=directory.path,
        mode="write" if directory.writes else "read",
        schema=directory.schema,
        store_id=directory.store_id,
        writer=directory.writer(),
        topics=len(topics),
        partitions=sum(entry.partitions for entry in topics),
        offsets=offsets,
        bytes=size_bytes,
        groups=0 if table is None else len(table.names()),
        users=len(access.users),
        queues=queues,
        messages=messages,
        damaged=tuple(damaged),
        oldest_reader=directory.oldest_reader(),
        leftovers=tuple(map(str, directory.leftovers())),
        undecided=tuple(undecided),
        upkeep=last(directory.noted_upkeep()),
    )


def _undecided(topic: str, partition: int, log: Log) -> list[Undecided]:
    """Raises LogstoreError."""
    stable = log.stable
    if stable >= log.safe:
        return []
    return [
        Undecided(topic, partition, stable, batch.producer_id, batch.base_timestamp_ms)
        for batch in log.read(stable, 1)[:1]
        if batch.is_transactional  # else it was decided meanwhile
    ]


def _look_at_both_ends(size: LogSize, log: Log) -> None:
    """Raises Damaged, Failed."""
    if size.damage is not None:
        raise size.damage
    try:
        for at in (size.start, size.safe - 1) if size.safe > size.start else ():
            for batch in log.read(at, 1):
                batch.check()
    except OffsetBelowStart:
        return  # trimmed since
    except CorruptBatch as error:
        if log.name in str(error):
            raise
        raise CorruptBatch(f"{log.name}: {error}; run `logstore verify`") from None
