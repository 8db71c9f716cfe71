"""The catalogue of a store: its named logs with their settings and ids, and the state of each log.

Databases (LMDB), keys and values::

    meta     "schema"              "5"
             "id"                  the store's UUID
             "producers"           the id that the next idempotent producer may get
             "upkeep"              JSON: what upkeep did last (``upkeep/ran.py``)
             "clean"               "1" after a clean close, "0" while written or after a crash
    topics   name                  JSON: id, partitions, settings (those given), created_ms, slots
    entries  kind NUL name         the same, and the kind: logs of the other kinds (``kinds.py``)
    logs     entry's id, partition start, recovery offset, recovery base, recovery position
    notes    entry's id, partition what a model keeps beside the log, as of its recovery offset
    unrecovered                    by entry's id and partition, the logs that a crash has left to
                                   be recovered when the store was closed: "failed" where that was
                                   tried, or ""
    doomed   directory             its logs are deleted, the files still have to go: why they
                                   could not be removed, or ""

and those of ``groups.py``, ``group_settings.py``, ``offsets.py``, ``queues.py``, ``users.py``,
``mqtt.py`` and ``wills.py``. Schema 2 has other rows of groups and offsets than 1, and reads those;
schema 3 has kinds, schema 4 queues, schema 5 users, without whom an older logstore would let
everyone in, schema 7 sessions of MQTT and wills, schema 8 share groups. A process that can write
raises the number of a store of a lower schema, and an older logstore refuses what it would misread.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from secrets import token_bytes
from struct import Struct
from typing import Final

import msgspec

from logstore.config import check_topic_settings
from logstore.errors import CorruptStore, Refused, SchemaTooNew, TopicExists, UnknownTopic
from logstore.names import check_topic
from logstore.storage.disk import Disk
from logstore.storage.environment import TABLES_MAX, Change, Environment
from logstore.storage.group_settings import TABLES as GROUP_SETTINGS_TABLES
from logstore.storage.groups import TABLES as GROUP_TABLES
from logstore.storage.groups import GroupTable
from logstore.storage.kinds import JOURNAL, KINDS, TOPIC, Kinds
from logstore.storage.mqtt import TABLES as MQTT_TABLES
from logstore.storage.offsets import CommittedOffsets
from logstore.storage.queues import TABLES as QUEUE_TABLES
from logstore.storage.schedules import TABLES as SCHEDULE_TABLES
from logstore.storage.slots import Slots
from logstore.storage.users import TABLES as USER_TABLES
from logstore.storage.wills import TABLES as WILL_TABLES

SCHEMA: Final = 8
# Since this schema journals tell what a purge has removed. A note of format 1, which is of before,
# has all that is settled in batches above it count as removed (``queues/journal.py``).
WITH_REMOVED: Final = 6
OLD_JOURNAL: Final = b"\1"
SECRET_BYTES: Final = 16
SLOT_MAX: Final = 1 << 24  # more partitions than anybody has; a damaged number takes no more room

_META, _TOPICS, _LOGS, _DOOMED = b"meta", b"topics", b"logs", b"doomed"
_NOTES, _ENTRIES, _UNRECOVERED = b"notes", b"entries", b"unrecovered"
_FAILED = b"failed"
_PARTITION = Struct(">I")
_STATE = Struct(">14q")
_WITH_TIMES_BYTES: Final = 12 * 8  # of a state as it was before transactions
_TABLES = (
    _META, _TOPICS, _ENTRIES, _LOGS, _NOTES, _UNRECOVERED, _DOOMED, *GROUP_TABLES,
    *GROUP_SETTINGS_TABLES, *QUEUE_TABLES, *USER_TABLES, *SCHEDULE_TABLES, *MQTT_TABLES,
    *WILL_TABLES,
)  # fmt: skip

assert len(set(_TABLES)) <= TABLES_MAX


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The catalogue's facts about the logs of one name: a topic, or another kind."""

    id: str  # a UUID
    partitions: int
    settings: dict[str, str]  # only those given for this topic
    created_ms: int
    slots: list[int]  # of each partition in the watermarks file
    kind: str = TOPIC.name

    def log_key(self, partition: int) -> bytes:
        return uuid.UUID(self.id).bytes + _PARTITION.pack(partition)

    def tag(self, partition: int) -> int:
        """The tag of this log's slots in the watermarks file; never 0."""
        return ((uuid.UUID(self.id).int >> 66) ^ partition) << 1 | 1


@dataclass(frozen=True, slots=True)
class GivenIds:
    """The stored facts about producer ids: each id is a number and a check value."""

    secret: bytes  # that the check is made with
    unchecked_below: int  # plain numbers that were given before there was a secret
    since_ms: int  # when that was


@dataclass(frozen=True, slots=True)
class LogState:
    """The saved state of a log: everything below the recovery point is synced and complete."""

    start: int = 0
    recovery_offset: int = 0
    recovery_base: int = 0  # base offset of the segment that the recovery point lies in
    recovery_position: int = 0  # in that segment's .log file
    gaps_below: int = 0  # compaction may have taken records below here
    clean_below: int = 0  # compaction has gone over everything below here
    tombstones_below: int = 0  # a whole compaction has gone over these, and
    tombstones_until_ms: int = 0  # from this time on they may go
    recompressed_below: int = 0  # recompression has gone over everything below here
    merged_base: int = 0  # the segment of this base offset may have taken up all that
    merged_below: int = 0  # begin behind it and below here, which may be there still
    # What begins below was indexed when maximum timestamps of headers were believed; see that its
    # time entries are right before one is used.
    times_doubtful_below: int = 0
    aborted: int = 0  # entries of the .txnindex files: where there are fewer, they are made anew
    undecided_above: int = 0  # the first offset of the earliest open transaction, and 1; 0: none

    @property
    def undecided(self) -> int | None:
        """The first offset of the earliest transaction that was open at the recovery point."""
        return self.undecided_above - 1 if self.undecided_above else None

    @property
    def merged(self) -> tuple[int, int]:
        """The same fact as in Chain."""
        return self.merged_base, self.merged_below


assert _STATE.size == 8 * len(fields(LogState))


def _state(value: bytes) -> LogState:
    # Fields were added at the end. What is above the recovery point is indexed anew if need be.
    state = LogState(*_STATE.unpack(value.ljust(_STATE.size, b"\0")))
    if len(value) < _WITH_TIMES_BYTES:
        return replace(state, times_doubtful_below=state.recovery_offset)
    return state


def _text(value: bytes) -> str:
    """Decodes a name; damaged bytes are shown instead of raising UnicodeDecodeError."""
    return value.decode(errors="backslashreplace")


def _check_entry(kind: str, name: str, entry: Entry) -> None:
    """Raises ValueError, Refused."""
    check_topic(name)  # of any kind: it names directories
    if entry.kind != kind:
        raise ValueError(f"it is of kind {entry.kind!r}")
    uuid.UUID(entry.id)
    check_topic_settings(entry.settings)
    if not 0 < entry.partitions == len(entry.slots):
        raise ValueError(f"{entry.partitions} partitions with {len(entry.slots)} slots")
    if min(entry.slots) < 0 or max(entry.slots) > SLOT_MAX:
        raise ValueError(f"slots {min(entry.slots)} to {max(entry.slots)}")


def named(error: CorruptStore, directory: str) -> CorruptStore:
    """The same, of this log: a row of the catalogue does not say which one it is of."""
    return error if directory in str(error) else CorruptStore(f"{directory}: {error}")


def _topic_id(value: bytes) -> str | None:
    """The id in a topic's entry; None if it is damaged, which opening the topic reports."""
    try:
        return str(uuid.UUID(_decode(value).id))
    except (ValueError, RecursionError):
        return None


def _row(kind: str, name: str) -> tuple[bytes, bytes]:
    """Table and key of an entry. Topics have a table of their own, as before there were kinds."""
    if kind == TOPIC.name:
        return _TOPICS, name.encode()
    return _ENTRIES, f"{kind}\0{name}".encode()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Catalog:
    """The catalogue of one data directory."""

    def __init__(
        self, disk: Disk, path: str, *, create: bool, write: bool, kinds: Kinds = KINDS
    ) -> None:
        """Raises SchemaTooNew, CorruptStore, ReadOnly, StorageFull, OSError."""
        self.environment = Environment(disk, path, create=create, write=write)
        self._slots: Slots | None = None  # None: not looked for, or a commit may have failed
        self.kinds = kinds
        try:
            self._check_schema(create)
            self._check_kinds()
        except BaseException:
            self.environment.close()
            raise

    def close(self) -> None:
        self.environment.close()

    def oldest_reader(self) -> tuple[int, int] | None:
        """As Environment.oldest_reader."""
        return self.environment.oldest_reader()

    # meta

    def _check_schema(self, create: bool) -> None:
        found = self._meta(b"schema")
        if found is None and create:
            self._set_meta({
                b"schema": str(SCHEMA).encode(), b"id": str(uuid.uuid4()).encode(), b"clean": b"1",
            })  # fmt: skip
        elif found is None:
            raise CorruptStore(f"{self.environment.path}: a catalogue without a schema version")
        elif not found.isdigit() or int(found) < 1:
            raise CorruptStore(f"{self.environment.path}: schema version {found!r} is none")
        elif int(found) > SCHEMA:
            raise SchemaTooNew(
                f"{self.environment.path}: schema version {int(found)}, this logstore knows up to "
                f"{SCHEMA}: use the newer logstore that wrote it"
            )
        elif int(found) < SCHEMA and self.environment.writable:
            schema: Change = (_META, b"schema", str(SCHEMA).encode())
            self.environment.commit([schema, *self._old_notes(int(found))])

    def _old_notes(self, schema: int) -> Iterable[Change]:
        """Mark the journal of an older store as a journal if no recovery point has done so."""
        for _, entry in self.entries() if schema < WITH_REMOVED else ():
            key = entry.log_key(0)
            if entry.kind == JOURNAL.name and not self.note(key):
                yield _NOTES, key, OLD_JOURNAL

    def _check_kinds(self) -> None:
        known = {name.encode() for name in self.kinds}
        for kind in self.environment.heads(_ENTRIES):
            if kind not in known:
                raise SchemaTooNew(
                    f"{self.environment.path}: has logs of kind {_text(kind)!r}, which this "
                    f"logstore does not know: use the newer logstore that wrote it"
                )

    def _meta(self, key: bytes) -> bytes | None:
        return self.environment.get(_META, key)

    def _set_meta(self, values: Mapping[bytes, bytes]) -> None:
        self.environment.commit((_META, key, value) for key, value in values.items())

    def new_producer_ids(self, count: int) -> int:
        """The first of this many ids that were never given before, not even before a crash."""
        self.environment.check_room()
        first = int(self._meta(b"producers") or 0)
        self._set_meta({b"producers": str(first + count).encode()})
        return first

    def producer_ids(self, now_ms: int) -> GivenIds:
        """How producer ids are recognised; created now if the store is older than these."""
        secret, since = self._meta(b"producer_secret"), self._meta(b"producers_unchecked")
        if secret is not None and since is not None:
            try:
                below, since_ms = map(int, since.split())
                return GivenIds(secret, below, since_ms)
            except ValueError:
                raise CorruptStore(
                    f"{self.environment.path}: producers_unchecked is {since!r}, not two numbers"
                ) from None
        below = int(self._meta(b"producers") or 0)
        secret = token_bytes(SECRET_BYTES)
        self._set_meta({
            b"producer_secret": secret, b"producers_unchecked": b"%d %d" % (below, now_ms),
        })  # fmt: skip
        return GivenIds(secret, below, now_ms)

    def forget_producer_ids(self) -> None:
        """For a copy: both stores give ids from now on, and must never give the same one."""
        self.environment.commit([(_META, b"producer_secret", None)])

    def note_upkeep(self, text: bytes) -> None:
        """Store the results of the last upkeep, for other processes."""
        self._set_meta({b"upkeep": text})

    def noted_upkeep(self) -> bytes:
        """The results of the last upkeep; empty if it never ran."""
        return self._meta(b"upkeep") or b""

    @property
    def schema(self) -> int:
        return int(self._meta(b"schema") or 0)

    @property
    def store_id(self) -> str:
        return _text(self._meta(b"id") or b"")

    @property
    def clean(self) -> bool:
        """Whether the last writer closed the store."""
        return self._meta(b"clean") == b"1"

    def opened(self) -> None:
        """A writer begins: from now on, a crash leaves logs to recover."""
        self._set_meta({b"clean": b"0"})

    def try_write(self) -> None:
        """Make an empty change durable. Raises the error that prevents other changes."""
        self.environment.check_room()
        self._set_meta({b"schema": str(self.schema).encode()})

    def groups(self, disk: Disk, path: str, clock: Callable[[], int]) -> GroupTable:
        """The groups in the same environment; ``path``: of the data directory."""
        offsets = CommittedOffsets(self.environment, _topic_id)
        return GroupTable(self.environment, offsets, disk, path, clock)

    # entries

    def topics(self) -> dict[str, Entry]:
        """Every topic, sorted by name, without ``damaged_entries``."""
        return dict(self._read(_TOPICS)[0])

    def entries(self) -> list[tuple[str, Entry]]:
        """The logs of every kind by name, topics first, without damaged ones."""
        return self._read(_TOPICS)[0] + self._read(_ENTRIES)[0]

    def damaged_entries(self) -> dict[tuple[str, str], CorruptStore]:
        """The damaged entries, by kind and readable part of the name, with the reason."""
        return self._read(_TOPICS)[1] | self._read(_ENTRIES)[1]

    def _read(
        self, table: bytes
    ) -> tuple[list[tuple[str, Entry]], dict[tuple[str, str], CorruptStore]]:
        whole: list[tuple[str, Entry]] = []
        damaged: dict[tuple[str, str], CorruptStore] = {}
        for key, value in self.environment.items(table):
            text = _text(key)
            kind, _, name = (TOPIC.name, "", text) if table == _TOPICS else text.partition("\0")
            try:
                whole.append((name, self._entry(kind, name, value)))
            except CorruptStore as error:
                damaged[kind, name] = error
        return whole, damaged

    def topic_names(self) -> list[str]:
        """The names of all topics, sorted, without reading their entries."""
        return [_text(key) for key, _ in self.environment.items(_TOPICS)]

    def entry(self, kind: str, name: str) -> Entry | None:
        value = self.environment.get(*_row(kind, name))
        return None if value is None else self._entry(kind, name, value)

    def topic(self, name: str) -> Entry | None:
        return self.entry(TOPIC.name, name)

    def known_topic(self, name: str) -> Entry:
        """Raises UnknownTopic."""
        return self.known(TOPIC.name, name)

    def known(self, kind: str, name: str) -> Entry:
        """Raises UnknownTopic."""
        entry = self.entry(kind, name)
        if entry is None:
            raise UnknownTopic(f"no {kind} {name!r}", name)
        return entry

    def _entry(self, kind: str, name: str, value: bytes) -> Entry:
        try:
            entry = _decode(value)
            _check_entry(kind, name, entry)
        except (ValueError, RecursionError, Refused) as error:
            raise CorruptStore(
                f"{self.environment.path}: the entry of {kind} {name!r} is damaged: {error}"
            ) from None
        return entry

    def add(
        self, kind: str, name: str, slots: Sequence[int], settings: Mapping[str, str], now_ms: int
    ) -> Entry:
        """Add an entry with one partition for each slot of the watermarks. Raises TopicExists."""
        assert kind in self.kinds
        assert len(set(slots)) == len(slots)
        if self.entry(kind, name) is not None:
            raise TopicExists(f"{kind} {name!r} already exists")
        self.environment.check_room()
        id_ = str(uuid.uuid4())
        entry = Entry(id_, len(slots), dict(settings), now_ms, list(slots), kind)
        self._commit_slots([(*_row(kind, name), _encode(entry))], taken=slots)
        return entry

    def change(
        self,
        kind: str,
        name: str,
        *,
        added_slots: Sequence[int] = (),
        settings: Mapping[str, str] | None = None,
    ) -> Entry:
        """Add a partition for each slot, or change its settings. Raises UnknownTopic."""
        entry = self.known(kind, name)
        if added_slots:
            self.environment.check_room()
        slots = [*entry.slots, *added_slots]
        changed = Entry(
            entry.id,
            len(slots),
            entry.settings if settings is None else dict(settings),
            entry.created_ms,
            slots,
            kind,
        )
        self._commit_slots([(*_row(kind, name), _encode(changed))], taken=added_slots)
        return changed

    def _commit_slots(
        self, changes: Iterable[Change], taken: Iterable[int] = (), given_back: Iterable[int] = ()
    ) -> None:
        """An error may occur before or after the commit, so the free slots are then found again."""
        slots, self._slots = self._slots, None
        self.environment.commit(changes)
        if slots is not None:
            slots.taken(taken)
            slots.given_back(given_back)
            self._slots = slots

    def free_slots(self, count: int) -> list[int]:
        """Numbers of slots that no log has in the watermarks file."""
        if self._slots is None:
            self._slots = Slots(slot for _, entry in self.entries() for slot in entry.slots)
        return self._slots.free(count)

    def remove(self, kind: str, name: str, also: Iterable[Change] = ()) -> Entry:
        """Delete the entry and doom its directories, in one commit. Raises UnknownTopic.

        ``also``: further deletions, such as the offsets that groups have committed in the topic.
        """
        entry = self.known(kind, name)
        changes: list[Change] = [(*_row(kind, name), None), *also]
        for partition in range(entry.partitions):
            changes.append((_LOGS, entry.log_key(partition), None))
            changes.append((_NOTES, entry.log_key(partition), None))
            changes.append((_UNRECOVERED, entry.log_key(partition), None))
            directory = self.kinds[kind].directory(name, partition)
            changes.append((_DOOMED, directory.encode(), b""))
        self._commit_slots(changes, given_back=entry.slots)
        return entry

    def doomed(self) -> list[str]:
        """Directories of deleted logs whose files are still to be removed."""
        return [_text(key) for key, _ in self.environment.items(_DOOMED)]

    def doomed_reasons(self) -> dict[str, str]:
        """For each doomed directory, why it was not removed; empty if not tried yet."""
        return {_text(key): _text(value) for key, value in self.environment.items(_DOOMED)}

    def buried(self, directories: Iterable[str], kept: Mapping[str, str] | None = None) -> None:
        """These directories are removed; ``kept``: the reasons for others, by name."""
        changes: list[Change] = [(_DOOMED, directory.encode(), None) for directory in directories]
        changes += [
            (_DOOMED, name.encode(), why.encode(errors="backslashreplace"))
            for name, why in (kept or {}).items()
        ]
        self.environment.commit(changes)

    # log states

    def log_state(self, key: bytes) -> LogState:
        value = self.environment.get(_LOGS, key)
        return LogState() if value is None else self._state(value)

    def log_states(self) -> dict[bytes, LogState | None]:
        """The states of all logs; None for damaged ones, which ``log_state`` explains."""
        found: dict[bytes, LogState | None] = {}
        for key, value in self.environment.items(_LOGS):
            try:
                found[key] = self._state(value)
            except CorruptStore:
                found[key] = None
        return found

    def _state(self, value: bytes) -> LogState:
        state = _state(value) if len(value) <= _STATE.size else LogState(-1)
        if min(astuple(state)) < 0:
            raise CorruptStore(
                f"{self.environment.path}: the stored position of a log is damaged: {state}"
            )
        return state

    def note(self, key: bytes) -> bytes:
        """The notes beside the log; empty if there are none."""
        return self.environment.get(_NOTES, key) or b""

    def save_log_states(
        self,
        states: Mapping[bytes, LogState],
        notes: Mapping[bytes, bytes] | None = None,
        *,
        unrecovered: Mapping[bytes, bool] | None = None,
    ) -> None:
        """Save all in one commit; with ``unrecovered``, also the mark of a clean close.

        ``unrecovered`` names the logs that were not recovered since a crash, and whether that was
        tried.
        """
        assert all(min(astuple(state)) >= 0 for state in states.values())  # ``_state`` reads them
        changes: list[Change] = [
            (
                _LOGS,
                key,
                _STATE.pack(*astuple(state)),
            )
            for key, state in states.items()
        ]
        changes += [(_NOTES, key, note or None) for key, note in (notes or {}).items()]
        if unrecovered is not None:
            gone = self.unrecovered().keys() - unrecovered.keys()
            changes += [(_UNRECOVERED, key, None) for key in gone]
            changes += [
                (_UNRECOVERED, key, _FAILED if tried else b"") for key, tried in unrecovered.items()
            ]
            changes.append((_META, b"clean", b"1"))
        self.environment.commit(changes)

    def unrecovered(self) -> dict[bytes, bool]:
        """The logs that the last clean close left unrecovered, and whether recovery was tried."""
        return {key: value == _FAILED for key, value in self.environment.items(_UNRECOVERED)}
