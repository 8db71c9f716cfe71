"""Users, rules, permissions and quotas, in LMDB beside the catalogue: the table ``access``.

``kept/user_rows.py`` has the layout of rows.
"""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.errors import LogstoreError
from logstore.kept.keeping import Keeping
from logstore.kept.user_rows import USER, access_of, encode, is_bad, key_of
from logstore.kept.users import Forgotten, Kept, KeptAccess, Unreadable
from logstore.storage.environment import Environment, Transaction

ACCESS: Final = b"access"
TABLES: Final = (ACCESS,)


def load(environment: Environment) -> KeptAccess:
    """All stored facts; damaged rows are named, and stay where they are."""
    if not environment.has(ACCESS):
        return KeptAccess()
    return access_of(environment.path, environment.items(ACCESS))


def any_users(environment: Environment) -> bool:
    """Whether there are users; reads no row."""
    return USER in environment.heads(ACCESS)


def change(
    transaction: Transaction, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()
) -> None:
    """Make the change within one transaction of ``TABLES``. Raises InvalidName, before it."""
    gone = [key_of(it) for it in forget if not isinstance(it, Unreadable)]
    gone += [it.key for it in forget if isinstance(it, Unreadable) and _is_bad(transaction, it)]
    rows = [encode(fact) for fact in keep]
    for key in gone:
        transaction.change(ACCESS, key, None)
    for key, value in rows:
        transaction.change(ACCESS, key, value)


def _is_bad(transaction: Transaction, row: Unreadable) -> bool:
    """Whether the row is still damaged as found: it may have been written again since."""
    value = transaction.get(ACCESS, row.key)
    return value is not None and is_bad(row.key, value)


class DirectKeeper:
    """The ``UserKeeper`` of a process without clients."""

    def __init__(self, environment: Environment, refuse: Callable[[], None]) -> None:
        """``refuse``: called before each change; raises if this process may make none."""
        self._environment = environment
        self._refuse = refuse

    def load(self) -> KeptAccess:
        return load(self._environment)

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()) -> Keeping:
        """Make a change; durable on return, or refused."""
        keeping = Keeping()
        try:
            self._refuse()
            if keep:  # what only forgets is what makes room on a full disk
                self._environment.check_room()
            self._environment.transact(TABLES, lambda it: change(it, keep, forget))
        except LogstoreError as error:
            keeping.finish(error)
        else:
            keeping.finish(None)
        return keeping
