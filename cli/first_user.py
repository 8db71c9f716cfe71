"""The first user of a store, made when it is served, as two variables of the environment ask.

For containers, in which nobody runs a command before the server is started. What they say counts
while the store has no users; the password is a file's, since an environment is shown to many.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from .ends import CommandFailed

if TYPE_CHECKING:
    from logstore.store import Store

USER: Final = "LOGSTORE_ADMIN_USER"
PASSWORD_FILE: Final = "LOGSTORE_ADMIN_PASSWORD_FILE"

log: Final = logging.getLogger("logstore.serve")


@dataclass(frozen=True, slots=True)
class FirstUser:
    """An administrator to be."""

    name: str
    password: str = field(repr=False)

    @classmethod
    def asked_for(cls, environment: Mapping[str, str]) -> Self | None:
        """The user that variables request, or None. Raises CommandFailed, InvalidName, OSError."""
        name, file = environment.get(USER, ""), environment.get(PASSWORD_FILE, "")
        if not name or not file:
            there, missing = (PASSWORD_FILE, USER) if file else (USER, PASSWORD_FILE)
            if name or file:
                raise CommandFailed(f"{there} is set, but {missing} is not: set both")
            return None
        from logstore.access.administration import check_user
        from logstore.access.scram_keys import check_password

        from .passwords import of_file, warn_unless_plain

        check_user(name)
        warn_unless_plain(name, USER)
        check_password(password := of_file(Path(file)))
        warn_unless_plain(password, "the password")
        return cls(name, password)

    def add_to(self, store: "Store") -> None:
        """Add the user durably; has no effect if users exist by now. Raises StorageFull."""
        from .access_site import LocalAccess
        from .user import ITERATIONS

        access = LocalAccess(store)
        if not access.has_users() and not access.damaged():
            access.add_user(self.name, self.password, ["administrator"], ITERATIONS)
            log.warning("added user %s, an administrator, as %s says", self.name, USER)


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether variables request a user for a store without users."""
    return any(environment.get(it) for it in (USER, PASSWORD_FILE))
