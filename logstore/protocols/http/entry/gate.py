"""Identifies the sender of a request from its head, before its body is received.

Tools send a name and a password, or a token, with each request; a browser has a cookie; a client of
a TLS door may have a certificate. A request without any of these is anonymous.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from logstore.access.access import Access
from logstore.access.audit import LOGIN, REFUSED, Audit
from logstore.access.identity import BASIC, OAUTHBEARER, Identity, anonymous
from logstore.access.logins import Login, Logins
from logstore.access.tokens import BadToken, Tokens
from logstore.access.tokens import Bearer as Named
from logstore.http.faults import UNAUTHORIZED, Fault
from logstore.names import USER_BYTES_MAX
from logstore.protocols.http.entry.browsers import Browsers, LoggedIn
from logstore.protocols.http.entry.credentials import Basic, Bearer, Credentials, cookies, given
from logstore.protocols.session import Link

DOOR: Final = "http"
EXTERNAL: Final = "EXTERNAL"  # the mechanism of whom a certificate names, as AMQP calls it
CHALLENGE: Final = ("www-authenticate", 'Basic realm="logstore", charset="UTF-8"')


class TurnedAway(NamedTuple):
    """A client whose credentials are wrong."""

    delay_s: float = 0.0  # before he hears of that


Then = Callable[[Identity | TurnedAway], None]


class Gate:
    """Identifies the senders at one door. Used in the sessions' thread."""

    def __init__(
        self,
        access: Access,
        logins: Logins,
        tokens: Tokens | None,
        audit: Audit,
        browsers: Browsers,
        stopwatch: Callable[[], float],
    ) -> None:
        self.browsers = browsers
        self._access = access
        self._logins = logins
        self._tokens = tokens
        self._audit = audit
        self._stopwatch = stopwatch

    def identify(self, headers: Mapping[str, str], link: Link, then: Then) -> None:
        """``then`` gets who sends these: now, or in a later turn."""
        host = link.peer_address[0]
        said = given(headers)
        if not self._access.required:
            then(anonymous(host, DOOR))
        elif said is not None:
            self.log_in(said, host, then)
        else:
            browser = self._of_cookie(headers, host) or self._of_certificate(link, host)
            then(browser or anonymous(host, DOOR))

    def log_in(self, said: Credentials, host: str, then: Then) -> None:
        """The same by what somebody says of himself."""
        if isinstance(said, Basic):
            self._logins.check(
                said.name, said.password, host, lambda it: then(self._checked(said, host, it))
            )
        elif isinstance(said, Bearer) and self._tokens is not None:
            self._tokens.check(said.token, lambda it: then(self._read(host, it)))
        else:
            then(self._refused("", host, "", self._logins.failed(host)))

    def _checked(self, said: Basic, host: str, login: Login) -> Identity | TurnedAway:
        who = Identity(login.user or "", host, BASIC, DOOR)
        if login.user is None or not self._access.knows(who):  # deleted meanwhile
            shown = said.name[: USER_BYTES_MAX + 1].decode(errors="surrogateescape")
            return self._refused(shown, host, BASIC, login.delay_s)
        return who

    def _read(self, host: str, found: Named | BadToken) -> Identity | TurnedAway:
        if isinstance(found, BadToken):
            return self._refused("", host, OAUTHBEARER, self._logins.failed(host))
        return Identity(found.user, host, OAUTHBEARER, DOOR)

    def _refused(self, name: str, host: str, mechanism: str, delay_s: float) -> TurnedAway:
        self._audit.tell(LOGIN, Identity(name, host, mechanism, DOOR), outcome=REFUSED)
        return TurnedAway(delay_s)

    def _of_cookie(self, headers: Mapping[str, str], host: str) -> Identity | None:
        for secret in cookies(headers):
            found = self.browsers.find(secret, self._stopwatch())
            if found is not None and (found.record is None or self._logins.admits(found.user)):
                return Identity(found.user, host, found.mechanism, DOOR)
        return None

    @staticmethod
    def secrets(headers: Mapping[str, str], who: Identity) -> Sequence[str]:
        """The cookies of a browser that is let in by one of them."""
        by_cookie = who.mechanism == BASIC and "authorization" not in headers
        return cookies(headers) if by_cookie else ()

    def is_over(self, secrets: Sequence[str]) -> bool:
        """Whether the time of the browser with these cookies is over: to listen is not to ask."""
        now = self._stopwatch()
        return bool(secrets) and not any(self.browsers.is_in(it, now) for it in secrets)

    def is_in_still(self, headers: Mapping[str, str], who: Identity) -> bool:
        """Whether he who sends these would come in again; his password is not asked for."""
        if self.secrets(headers, who):
            found = self._of_cookie(headers, who.host)
            return found is not None and found.user == who.user
        if who.mechanism == OAUTHBEARER or who.user not in self._access.users:
            return True
        return self._logins.admits(who.user)

    def _of_certificate(self, link: Link, host: str) -> Identity | None:
        user = None if link.certificate is None else link.certificate.user
        if user is None or not self._logins.admits(user):
            return None
        return Identity(user, host, EXTERNAL, DOOR)

    @staticmethod
    def nobody(link: Link) -> Identity:
        """Whoever is not asked who he is."""
        return anonymous(link.peer_address[0], DOOR)

    def remember(self, who: Identity) -> str:
        """The secret of a browser in which somebody has logged in."""
        record = self._access.users.get(who.user)
        return self.browsers.let_in(LoggedIn(who.user, who.mechanism, record), self._stopwatch())

    def told(self, who: Identity) -> None:
        """Somebody has come in, and is to be known of."""
        self._audit.tell(LOGIN, who)


def wrong(headers: Mapping[str, str]) -> Fault:
    """What one is told who is not who he says he is."""
    return Fault(UNAUTHORIZED, "wrong name or password", headers=challenge(headers))


def challenge(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Has a tool say who it is; a browser would ask its user in a window, but not for our page."""
    return () if "x-logstore" in headers else (CHALLENGE,)
