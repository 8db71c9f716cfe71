"""The groups of a store: their names, and each group seen from outside."""

from collections.abc import Callable

from logstore.broker.group import Group
from logstore.broker.topics import OpenedTopics
from logstore.errors import ReadOnly, UnknownGroup
from logstore.kept.groups import Groups


class KnownGroups:
    """The groups of one store. From any thread."""

    def __init__(
        self,
        path: str,
        table: Callable[[], Groups | None],
        topics: Callable[[], OpenedTopics],
        deleted: Callable[[str], object] = lambda name: None,
    ) -> None:
        """``table()`` returns None without a catalogue. It and ``topics()`` raise Closed after a
        close.

        ``deleted``: called with groups that were deleted here.
        """
        self._deleted = deleted
        self._path = path
        self._table = table
        self._topics = topics

    def table(self) -> Groups:
        """Return the stored groups. Raises Closed; ReadOnly without a catalogue."""
        table = self._table()
        if table is None:
            raise ReadOnly(f"{self._path}: the directory has no catalogue, and so no groups")
        return table

    def names(self) -> list[str]:
        """As Store.groups."""
        table = self._table()
        return [] if table is None else table.names()

    def group(self, name: str) -> Group:
        """As Store.group."""
        if name not in self.names():
            raise UnknownGroup(f"no group {name!r}: it has committed nothing", name)
        return Group(
            name,
            self.table,
            lambda topic: self._topics().topic(topic).partitions,
            lambda: self._topics().names_by_id(),
            self._deleted,
        )
