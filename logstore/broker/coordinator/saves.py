"""The changes of groups that are becoming durable, and those that failed."""

from collections import Counter
from collections.abc import Callable

import msgspec

from logstore.broker.coordinator import classic_member
from logstore.broker.coordinator.consumer import ConsumerGroup
from logstore.broker.coordinator.refusal import GroupError
from logstore.broker.coordinator.room import Room
from logstore.broker.coordinator.share import ShareGroup
from logstore.errors import GroupBusy, LogstoreError, UnknownGroup
from logstore.kept.groups import GroupChange, GroupKeeper
from logstore.kept.keeping import Keeping

Told = Callable[[GroupError | None], None]


class Saves:
    """The changes of all groups in memory. A save's ``done`` is called when it and all earlier ones
    are stored.
    """

    def __init__(
        self,
        keeper: GroupKeeper,
        room: Room,
        rebalanced: Callable[[str], None],
        settle: Callable[[str], None],
    ) -> None:
        """``rebalanced(group)`` is called for each epoch that is stored.

        ``settle(group)`` is called at each end of a save.
        """
        self._keeper = keeper
        self._room = room
        self._rebalanced = rebalanced
        self._settle = settle
        self._under_way: Counter[str] = Counter()
        self._epochs: dict[str, int] = {}  # the last of each group in memory that was kept
        self._owed: set[str] = set()

    def under_way(self, name: str) -> bool:
        """Whether a save of the group is in progress."""
        return self._under_way[name] > 0

    def owe(self, name: str) -> None:
        """Store the whole group with its next save, replacing the stored one."""
        self._owed.add(name)

    def owe_nothing(self, name: str) -> None:
        """Cancel ``owe``: the whole group is stored in another way."""
        self._owed.discard(name)

    def forget(self, name: str) -> None:
        """Forget a group that is no longer in memory."""
        del self._under_way[name]
        self._epochs.pop(name, None)
        self._owed.discard(name)

    def classic(self, name: str, kept: classic_member.Kept, done: Told) -> None:
        """Store a group of the classic protocol."""
        members = {it.id: msgspec.json.encode(it) for it in kept.members or ()}
        change = GroupChange(
            "classic", kept.head.generation, kept.empty, msgspec.json.encode(kept.head),
            members, replace=kept.members is not None,
        )  # fmt: skip
        self._save(name, change, done)

    def changed(self, group: ConsumerGroup | ShareGroup, done: Told) -> None:
        """Store the changes of a consumer group or a share group."""
        name = group.name
        whole = name in self._owed
        if whole:
            self._owed.discard(name)
            group.changed.update(group.members)
            group.head_changed = True
        if not group.changed and not group.head_changed and not self._under_way[name]:
            done(None)
            return
        members = group.kept()
        change = GroupChange(
            group.kind, group.head.epoch, not group.members, msgspec.json.encode(group.head),
            members, replace=whole,
        )  # fmt: skip

        def finished(error: GroupError | None) -> None:
            if error is GroupError.INCONSISTENT_GROUP_PROTOCOL:
                group.forget_members()
            elif error is not None:
                self._owed.add(name)
            elif name in self._owed:
                # One before this has failed, and this one may build on it.
                error = GroupError.COORDINATOR_NOT_AVAILABLE
            done(error)

        self._save(name, change, finished)

    def _save(self, name: str, change: GroupChange, done: Told) -> None:
        self._under_way[name] += 1
        # Here, and as pages of the catalogue that are changed.
        size = 2 * sum(len(value) for value in change.members.values() if value is not None)
        self._room.saving(size)

        def finished(kept: Keeping) -> None:
            self._under_way[name] -= 1
            self._room.saving(-size)
            busy = GroupError.INCONSISTENT_GROUP_PROTOCOL
            done(None if kept.error is None else meaning(kept.error, busy))
            if kept.error is None and change.epoch > self._epochs.get(name, 0):
                self._epochs[name] = change.epoch
                self._rebalanced(name)
            self._settle(name)

        self._keeper.save(name, change).then(finished)


def meaning(error: LogstoreError, busy: GroupError) -> GroupError:
    """Return a failed save's error for the client; ``busy`` if another process has the group."""
    if isinstance(error, GroupBusy):
        return busy
    if isinstance(error, UnknownGroup):
        return GroupError.GROUP_ID_NOT_FOUND
    return GroupError.COORDINATOR_NOT_AVAILABLE
