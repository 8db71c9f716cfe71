"""Consumer groups, in LMDB beside the catalogue: the kind, epoch and members of each.

    groups    group                    time of creation (ms), kind, empty since (ms; -1: it is not),
                                       epoch, version; then the state, as the broker wrote it
    members   group NUL member id      the member, as the broker wrote it

A group of schema 1 has only a time of creation: it is simple. The version rises with every change
that other members must learn of.

Members of an *embedded* group are consumers in any process that has the directory open. Each holds
a lock file of its own (``claims/``). The kernel releases the lock when the process ends in any way,
so a member whose file is not locked is dead, also after a reboot. A *server* has its groups in
memory, and stores what it needs to continue after a restart. It holds a lock, too: while it does,
its members are alive. A group has members of one kind only.
"""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from struct import Struct
from typing import Final, TypeVar

from logstore.errors import CorruptStore, GroupBusy, ReadOnly, UnknownGroup
from logstore.kept.groups import (
    GROUP_KINDS,
    SHARED,
    GroupChange,
    GroupStep,
    KeptGroup,
    Offsets,
    ToCommit,
    consumed_by,
)
from logstore.log import TopicPartition
from logstore.names import ROUTE_GROUPS, check_group
from logstore.owner import Owner
from logstore.storage.disk import Disk, refusal
from logstore.storage.environment import Environment, Transaction
from logstore.storage.lock import LockFile, owner_of
from logstore.storage.names import CLAIMS, COORDINATOR, member_file
from logstore.storage.offsets import META, OFFSETS, TOPICS, CommittedOffsets, intact

_T = TypeVar("_T")

GROUPS: Final = b"groups"
MEMBERS: Final = b"members"
TABLES: Final = (GROUPS, MEMBERS, OFFSETS, TOPICS, META)
_NUMBERS: Final = {kind: number for number, kind in enumerate(GROUP_KINDS)}  # as on disk

_CREATED = Struct(">q")
_HEAD = Struct(">qBqqq")
_NOT_EMPTY: Final = -1
MINUTE_MS: Final = 60_000
_OR_ANOTHER: Final = "stop its consumers first, or use another group"


class GroupTable:
    """Every group."""

    def __init__(
        self,
        environment: Environment,
        offsets: CommittedOffsets,
        disk: Disk,
        path: str,
        clock: Callable[[], int],
    ) -> None:
        """``path``: of the data directory; ``clock``: the time, in ms since 1970."""
        self.environment = environment
        self.offsets = offsets
        self._disk = disk
        self._path = path
        self._clock = clock
        # Whether transactions may still commit offsets of a group: then nothing of it expires.
        self.pending: Callable[[str], bool] = lambda _: False
        self._here: set[str] = set()  # members that this process lives as: nobody looks for these

    # Looking

    def names(self) -> list[str]:
        """The names of all groups, sorted."""
        return [_name(key) for key, _ in self.environment.items(GROUPS)]

    def kinds(self) -> dict[str, str]:
        return {_name(key): _kind(row) for key, row in self.environment.items(GROUPS)}

    def version(self, group: str) -> int:
        """A number that changes with each change by other members. Cheap; 0: no such group."""
        value = self.environment.get(GROUPS, group.encode())
        return 0 if value is None else parse_head(value).version

    def load(self, group: str) -> KeptGroup | None:
        """As it is, with its members; of a group that just changes, members may be newer."""
        value = self.environment.get(GROUPS, group.encode())
        if value is None:
            return None
        return _with_members(parse_head(value), self.environment.items(MEMBERS, _prefix(group)))

    def fetch(self, group: str, places: Collection[TopicPartition] | None = None) -> Offsets:
        """The group's committed offsets in existing topics: all, or those of these places."""
        return self.offsets.fetch(group, places)

    def owners(self, group: str) -> dict[str, Owner]:
        """The processes of its living embedded members, by member."""
        entry = self.load(group)
        if entry is None or entry.kind != "embedded":
            return {}
        owners = {member: self._owner(member) for member in entry.members}
        return {member: owner for member, owner in owners.items() if owner is not None}

    def embedded(self, group: str) -> bool:
        """Whether it has living embedded members."""
        return bool(self.owners(group))

    def server(self) -> Owner | None:
        """The process that has groups in its memory."""
        return self._owned(COORDINATOR)

    def alive(self, member: str) -> bool:
        """Whether this embedded member's process lives."""
        return member in self._here or self._owner(member) is not None

    def _owner(self, member: str) -> Owner | None:
        return self._owned(member_file(member))

    def _owned(self, file: str) -> Owner | None:
        path = self._claim(file)
        try:
            return owner_of(self._disk, path)
        except OSError as error:
            raise refusal(error, "see who consumes", path) from None

    def _claim(self, file: str) -> str:
        return os.path.join(self._path, CLAIMS, file)

    # Being here

    def claim_member(self, member: str) -> "ClaimFile":
        """Become this member. Raises ReadOnly if no lock file can be written."""
        claim = self._take(member_file(member), once=True)
        assert claim is not None, f"member id {member} was given out twice"
        self._here.add(member)
        claim.released = lambda: self._here.discard(member)
        return claim

    def claim_server(self) -> "ClaimFile | None":
        """Keep groups in this process's memory; None: another process does."""
        return self._take(COORDINATOR, once=False)

    def _take(self, file: str, *, once: bool) -> "ClaimFile | None":
        directory = os.path.join(self._path, CLAIMS)
        lock = LockFile(self._disk, os.path.join(directory, file))
        try:
            self._disk.make_directory(directory)
            return ClaimFile(self._disk, lock, once=once) if lock.take() else None
        except OSError as error:
            refused = refusal(error, "become a member", lock.path)
            if isinstance(refused, ReadOnly):
                raise ReadOnly(f"{refused}: a group needs a writable directory") from None
            raise refused from None

    def bury(self, member: str) -> None:
        """Remove a dead member's lock file; its id is never used again."""
        with suppress(FileNotFoundError):
            self._disk.remove(self._claim(member_file(member)))

    # Changing: by embedded members

    def act(
        self,
        group: str,
        work: Callable[[KeptGroup | None, Offsets], tuple[GroupStep, _T]],
    ) -> tuple[_T, set[TopicPartition]]:
        """Do ``work`` on an embedded group without another process in between; durable on return.

        ``work`` gets the group and its offsets. Returns its result, and the partitions whose commit
        was refused because their topic is deleted. Raises GroupBusy while a server has members of
        the group, ReadOnly, StorageFull.
        """
        check_group(group)

        def attempt(transaction: Transaction) -> tuple[_T, set[TopicPartition]]:
            entry = self._entry(transaction, group)
            self._check_no_server(group, entry)
            outcome, result = work(entry, self.offsets.fetch_within(transaction, group))
            if outcome.change is not None:
                self._write(transaction, group, entry, outcome.change, lease=outcome.lease)
            refused = self._commit(transaction, group, outcome.commit)
            return result, refused

        self.environment.check_room()
        return self.environment.transact(TABLES, attempt)

    def change_idle(self, group: str, commit: ToCommit | None) -> set[TopicPartition]:
        """Commit these offsets (None: delete the group) while it has no members; durable on return.

        Raises GroupBusy, which names the members; UnknownGroup if the group does not exist.
        """

        def attempt(transaction: Transaction) -> set[TopicPartition]:
            entry = self._entry(transaction, group)
            _check_not_shared(group, entry)
            self._check_idle(group, entry)
            if commit is None:
                self._delete(transaction, group, entry)
                return set()
            return self._commit(transaction, group, commit)

        if commit is not None:
            self.environment.check_room()
        return self.environment.transact(TABLES, attempt)

    # Changing: by a server, in its committer's thread

    def save(self, transaction: Transaction, group: str, change: GroupChange) -> None:
        """Raises GroupBusy while embedded members live."""
        entry = self._entry(transaction, group)
        self._check_no_embedded(group, entry)
        self._write(transaction, group, entry, change)

    def commit(
        self, transaction: Transaction, group: str, offsets: ToCommit
    ) -> set[TopicPartition]:
        """Raises GroupBusy while embedded members live; returns the refused partitions."""
        self._check_no_embedded(group, self._entry(transaction, group))
        return self._commit(transaction, group, offsets)

    def decided(
        self, transaction: Transaction, group: str, offsets: ToCommit
    ) -> set[TopicPartition]:
        """As ``commit``, whoever the members are, because the journal has the offsets.

        A topic route has its group from the start; without a group, the route was removed
        meanwhile.
        """
        if group.startswith(ROUTE_GROUPS) and transaction.get(GROUPS, group.encode()) is None:
            return set(offsets)
        return self._commit(transaction, group, offsets)

    def delete(self, transaction: Transaction, group: str) -> None:
        """Raises GroupBusy while embedded members live, UnknownGroup."""
        entry = self._entry(transaction, group)
        self._check_no_embedded(group, entry)
        self._delete(transaction, group, entry)

    def delete_offsets(
        self, transaction: Transaction, group: str, places: Collection[TopicPartition]
    ) -> None:
        """Raises GroupBusy while embedded members live."""
        self._check_no_embedded(group, self._entry(transaction, group))
        self.offsets.delete_within(transaction, group, places)

    # Expiry

    def expire(self, retention_minutes: int) -> list[str]:
        """Delete expired offsets, and groups without any left; returns these groups' names.

        Counted from when the group became empty; of a group that never had members, from each
        commit. A group with members keeps all, and so does a topic route, and a group that has
        offsets pending in transactions. Durable on return. A group that is damaged keeps all, too,
        and no other one from this: CorruptStore names it when all others are done.
        """
        if retention_minutes < 0:
            return []
        before_ms = self._clock() - retention_minutes * MINUTE_MS
        gone = []
        damaged: CorruptStore | None = None
        for group in self.names():
            if group.startswith(ROUTE_GROUPS):
                continue  # it goes with its route
            try:
                if self._expire_one(group, before_ms):
                    gone.append(group)
            except CorruptStore as error:
                damaged = damaged or CorruptStore(f"group {group!r} does not expire: {error}")
        if damaged is not None:
            raise damaged
        return gone

    def _expire_one(self, group: str, before_ms: int) -> bool:
        """Whether the whole group has gone."""
        if self.pending(group):
            return False
        entry = self.load(group)
        # Most groups have nothing to expire: they should cost no transaction.
        if entry is None or not self._expires(entry, self.offsets.fetch(group), before_ms):
            return False
        expire = partial(self._expire, group=group, before_ms=before_ms)
        return self.environment.transact(TABLES, expire)

    def _expires(self, entry: KeptGroup, offsets: Offsets, before_ms: int) -> bool:
        """Whether anything of the group has to be changed now."""
        if self._busy(entry) or (entry.kind == SHARED and entry.empty):
            return False  # a share group goes when it is deleted, as with Kafka
        if not entry.empty:
            return True  # its members died with their process: it is empty from now on
        if entry.empty_since_ms is not None and entry.empty_since_ms > before_ms:
            return False
        return not offsets or any(it.commit_ms <= before_ms for it in offsets.values())

    def _expire(self, transaction: Transaction, group: str, before_ms: int) -> bool:
        """Whether the whole group has gone."""
        entry = self._entry(transaction, group)
        offsets = self.offsets.fetch_within(transaction, group)
        if entry is None or not self._expires(entry, offsets, before_ms):
            return False
        if not entry.empty:
            self._put_head(transaction, group, replace(entry, empty_since_ms=self._clock()))
            for member in entry.members:
                transaction.change(MEMBERS, _prefix(group) + member.encode(), None)
            return False
        expired = [place for place, it in offsets.items() if it.commit_ms <= before_ms]
        if len(expired) == len(offsets):
            self._delete(transaction, group, entry)
            return True
        self.offsets.delete_within(transaction, group, expired)
        return False

    # Rows

    def _entry(self, transaction: Transaction, group: str) -> KeptGroup | None:
        value = transaction.get(GROUPS, group.encode())
        if value is None:
            return None
        return _with_members(parse_head(value), transaction.items(MEMBERS, _prefix(group)))

    def _write(
        self,
        transaction: Transaction,
        group: str,
        entry: KeptGroup | None,
        change: GroupChange,
        *,
        lease: bool = False,
    ) -> None:
        """The change; members of another kind have to go."""
        now_ms = self._clock()
        before = entry or KeptGroup(now_ms)
        since_ms = before.empty_since_ms if change.empty else None
        head = KeptGroup(
            before.created_ms,
            change.kind,
            now_ms if change.empty and since_ms is None else since_ms,
            change.epoch,
            before.version + (not lease),
            change.state,
        )
        self._put_head(transaction, group, head)
        replaced = change.replace or change.kind != before.kind
        for member in before.members.keys() - change.members.keys() if replaced else ():
            transaction.change(MEMBERS, _prefix(group) + member.encode(), None)
        for member, value in change.members.items():
            transaction.change(MEMBERS, _prefix(group) + member.encode(), value)

    @staticmethod
    def _put_head(transaction: Transaction, group: str, head: KeptGroup) -> None:
        since_ms = _NOT_EMPTY if head.empty_since_ms is None else head.empty_since_ms
        row = _HEAD.pack(head.created_ms, _NUMBERS[head.kind], since_ms, head.epoch, head.version)
        transaction.change(GROUPS, group.encode(), row + head.state)

    def _commit(
        self, transaction: Transaction, group: str, offsets: ToCommit
    ) -> set[TopicPartition]:
        now_ms = self._clock()
        refused = self.offsets.commit_within(transaction, group, offsets, now_ms)
        if len(refused) < len(offsets) and transaction.get(GROUPS, group.encode()) is None:
            transaction.change(GROUPS, group.encode(), _CREATED.pack(now_ms))
        return refused

    def _delete(self, transaction: Transaction, group: str, entry: KeptGroup | None) -> None:
        if entry is None:
            raise UnknownGroup(f"no group {group!r}", group)
        for member in entry.members:
            transaction.change(MEMBERS, _prefix(group) + member.encode(), None)
        transaction.change(GROUPS, group.encode(), None)
        self.offsets.delete_within(transaction, group)

    # Who keeps whom out

    def _busy(self, entry: KeptGroup) -> list[str]:
        """The current members, in words."""
        if entry.kind == "embedded":
            return [str(it) for member in entry.members if (it := self._owner(member))]
        if not entry.empty and (server := self.server()) is not None:
            return [f"clients of {server}"]
        return []

    def _check_idle(
        self, group: str, entry: KeptGroup | None, advice: str = "stop its consumers first"
    ) -> None:
        if entry is not None and (busy := self._busy(entry)):
            raise GroupBusy(f"{consumed_by(group, busy)}: {advice}")

    def _check_no_server(self, group: str, entry: KeptGroup | None) -> None:
        _check_not_shared(group, entry)
        if entry is not None and entry.kind != "embedded":
            self._check_idle(group, entry, _OR_ANOTHER)

    def _check_no_embedded(self, group: str, entry: KeptGroup | None) -> None:
        if entry is not None and entry.kind == "embedded":
            self._check_idle(group, entry, _OR_ANOTHER)


def _check_not_shared(group: str, entry: KeptGroup | None) -> None:
    """A share group is its server's alone, which knows what it has settled. Raises GroupBusy."""
    if entry is not None and entry.kind == SHARED:
        raise GroupBusy(
            f"group {group!r} is a share group, which has no offsets: use another group, or delete "
            f"this one while a server runs"
        )


class ClaimFile:
    """A lock file that shows that a member or a server is alive."""

    def __init__(self, disk: Disk, lock: LockFile, *, once: bool) -> None:
        """``once``: nobody will ever take this one again."""
        self._disk = disk
        self._lock = lock
        self._once = once
        self.released: Callable[[], object] = lambda: None  # called when it is about to be

    def release(self) -> None:
        self.released()
        if self._once:  # any other file may be open already in the process that takes it next
            with suppress(FileNotFoundError):
                self._disk.remove(self._lock.path)
        self._lock.release()


def parse_head(value: bytes) -> KeptGroup:
    """A row of ``groups``, of either schema; without its members. Raises CorruptStore."""
    return intact("a group's row", _parse_head, value)


def _parse_head(value: bytes) -> KeptGroup:
    if len(value) == _CREATED.size:
        return KeptGroup(*_CREATED.unpack(value))
    created_ms, kind, since_ms, epoch, version = _HEAD.unpack_from(value)
    empty_since_ms = None if since_ms == _NOT_EMPTY else since_ms
    return KeptGroup(
        created_ms, GROUP_KINDS[kind], empty_since_ms, epoch, version, value[_HEAD.size :]
    )


def _kind(row: bytes) -> str:
    """Of a row that is damaged: classic, so that whoever loads the group hears of it."""
    try:
        return parse_head(row).kind
    except CorruptStore:
        return "classic"


def _with_members(head: KeptGroup, rows: Collection[tuple[bytes, bytes]]) -> KeptGroup:
    members = {_name(key.split(b"\0", 1)[1]): value for key, value in rows}
    return replace(head, members=members)


def _name(key: bytes) -> str:
    return intact("a name in the groups table", bytes.decode, key)


def _prefix(group: str) -> bytes:
    return group.encode() + b"\0"
