"""Tells a door's connections about a change of users or rules, some of them at a time."""

import logging
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from logstore.slices import Slices, Steps, parts

TOLD_AT_ONCE: Final = 50  # connections: a few microseconds each

log: Final = logging.getLogger("logstore.access")


class Told(Protocol):
    """A connection as this code sees it."""

    def users_changed(self) -> None:
        """Users are others now: note whether this one is still in. Nothing that takes long."""

    def rules_changed(self) -> None:
        """Users or rules are others now."""


class Knows(Protocol):
    """The source of users."""

    @property
    def users(self) -> Mapping[str, object]:
        """Another one after each change of them."""


class Round:
    """Visits all connections after a change of users or rules, some of them at a time.

    Requests of a connection always follow the present rules; the visit is for connections that
    wait, and for those that are no longer allowed. Their users are noted immediately, because a
    deleted user may be created again before the old user's connections are visited.
    """

    def __init__(self, clients: Collection[Told], slices: Slices, access: Knows) -> None:
        self._clients = clients
        self._slices = slices
        self._access = access
        self._users = access.users
        self._under_way = self._again = False

    def begin(self) -> None:
        """Once more after the one that is under way, however often that is asked for."""
        if self._users is not self._access.users:
            self._users = self._access.users
            for client in self._clients:
                client.users_changed()
        self._again = True
        if not self._under_way:
            self._under_way = True
            self._slices.begin(self._steps(), self._over)

    def _steps(self) -> Steps:
        while self._again:
            self._again = False
            for some in parts(list(self._clients), TOLD_AT_ONCE):
                for client in some:
                    if client in self._clients:
                        self._tell(client)
                yield len(some)
        return None

    @staticmethod
    def _tell(client: Told) -> None:
        """Whatever goes wrong with one, the others are told."""
        try:
            client.rules_changed()
        except Exception:
            log.exception("a bug in what a connection does about new rules")

    def _over(self, _: object) -> None:
        self._under_way = False
