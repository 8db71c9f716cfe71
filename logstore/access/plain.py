"""PLAIN (RFC 4616): login with a name and a password that are sent as plain text."""

from collections.abc import Callable
from typing import Final

from logstore.access.logins import Login, Logins
from logstore.access.sasl import OTHER_AUTHZID, Done, Refusal, Step

TOKEN_BYTES_MAX: Final = 64 << 10  # of a name and a password: a hash looks at every byte of it
PARTS: Final = 3  # whom to act as, the name, the password

WRONG: Final = "Authentication failed: Invalid username or password"
NO_NAME: Final = "Authentication failed: username not specified"
NO_PASSWORD: Final = "Authentication failed: password not specified"


class PlainServer:
    """The server's side of PLAIN, as a ``Conversation``."""

    def __init__(self, logins: Logins, host: str) -> None:
        self._logins = logins
        self._host = host

    def take(self, token: bytes, then: Callable[[Step], None]) -> None:
        """As Conversation.take."""
        parts = token.split(b"\0")
        if len(parts) != PARTS or len(token) > TOKEN_BYTES_MAX or not _is_text(token):
            then(Refusal())
            return
        acts_as, name, password = parts
        if not name or not password:
            then(Refusal(NO_PASSWORD if name else NO_NAME, name.decode()))
            return

        def checked(login: Login) -> None:
            if login.user is None:
                then(Refusal(WRONG, name.decode(), login.delay_s))
            elif acts_as not in (b"", name):
                then(Refusal(OTHER_AUTHZID, login.user))
            else:
                then(Done(login.user))

        self._logins.check(name, password, self._host, checked)


def _is_text(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True
