"""Logged-in browsers: each has a secret in a cookie. Kept in memory, so a restart logs them out.

A browser stays logged in while it returns within hours and its user is unchanged: a user who is
deleted or gets another password is logged out immediately. Only digests of the secrets are stored,
so that the time of a comparison does not reveal how much of a guess was right.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

from logstore.kept.users import KeptUser

IDLE_S: Final = 8 * 3600.0
SECRET_BYTES: Final = 32
BROWSERS_MAX: Final = 10_000  # at some 500 bytes each
OF_ONE_MAX: Final = 100  # user: a script that logs in each time leaves others theirs


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The user of a browser."""

    user: str
    mechanism: str
    record: KeptUser | None  # of that time; None: the owner of the data directory


@dataclass(slots=True)
class _Browser:
    who: LoggedIn
    seen_at: float


class Browsers:
    """The logged-in browsers of one process. Used in the sessions' thread."""

    def __init__(self, new_secret: Callable[[], str] = lambda: token_urlsafe(SECRET_BYTES)) -> None:
        self._new_secret = new_secret
        self._by_digest: OrderedDict[bytes, _Browser] = OrderedDict()  # the last seen last
        self._of_users: Counter[str] = Counter()
        self._users: Mapping[str, KeptUser] | None = None  # as they were the last time

    def __len__(self) -> int:
        return len(self._by_digest)

    def let_in(self, who: LoggedIn, now: float) -> str:
        """The secret of a new one. The one that has been silent for longest may have to go."""
        self._forget_idle(now)
        if self._of_users[who.user] >= OF_ONE_MAX:
            self._forget(self._oldest_of(who.user))
        elif len(self._by_digest) >= BROWSERS_MAX:
            self._forget(next(iter(self._by_digest)))
        secret = self._new_secret()
        self._by_digest[_digest(secret)] = _Browser(who, now)
        self._of_users[who.user] += 1
        return secret

    def find(self, secret: str, now: float) -> LoggedIn | None:
        """Whose it is; its time begins anew."""
        digest = _digest(secret)
        browser = self._by_digest.get(digest)
        if browser is None:
            return None
        if now - browser.seen_at > IDLE_S:
            self._forget(digest)
            return None
        browser.seen_at = now
        self._by_digest.move_to_end(digest)
        return browser.who

    def is_in(self, secret: str, now: float) -> bool:
        """Whether it is in still; its time does not begin anew by that."""
        browser = self._by_digest.get(_digest(secret))
        return browser is not None and now - browser.seen_at <= IDLE_S

    def let_out(self, secret: str) -> None:
        """It has logged out."""
        digest = _digest(secret)
        if self._by_digest.get(digest) is not None:
            self._forget(digest)

    def users_changed(self, users: Mapping[str, KeptUser]) -> None:
        """Those are out whose users are not who they were; called after each change of users."""
        if users is self._users:
            return
        self._users = users
        if not users:  # the next to be made are others
            self._by_digest.clear()
            self._of_users.clear()
            return
        gone = [it for it, has in self._by_digest.items() if not _is_still(has.who, users)]
        for digest in gone:
            self._forget(digest)

    def _oldest_of(self, user: str) -> bytes:
        return next(it for it, has in self._by_digest.items() if has.who.user == user)

    def _forget_idle(self, now: float) -> None:
        while self._by_digest:
            digest, browser = next(iter(self._by_digest.items()))
            if now - browser.seen_at <= IDLE_S:
                return
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        user = self._by_digest.pop(digest).who.user
        self._of_users[user] -= 1
        if not self._of_users[user]:
            del self._of_users[user]


def _is_still(who: LoggedIn, users: Mapping[str, KeptUser]) -> bool:
    """Whether the user is there with the password that they have logged in with."""
    if who.record is None:
        return True
    now = users.get(who.user)
    return now is not None and (now is who.record or _known_by(now) == _known_by(who.record))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _known_by(user: KeptUser) -> object:
    """What he could have logged in with."""
    return user.scram, user.rabbit
