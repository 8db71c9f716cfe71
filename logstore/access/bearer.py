r"""OAUTHBEARER (RFC 7628): login with a token that is sent as plain text.

``n,[a=user],\x01auth=Bearer TOKEN\x01[name=value\x01...]\x01``; other names are ignored, as in
Kafka. A refused token is answered with an error in JSON, which the client acknowledges with
``\x01``.
"""

import re
from collections.abc import Callable
from typing import Final

from logstore.access.sasl import Done, Refusal, Step
from logstore.access.tokens import BadToken, Bearer, Tokens

MESSAGE_BYTES_MAX: Final = 128 << 10  # a token of an issuer that lists all groups has some 16 KiB
INVALID: Final = '{"status":"invalid_token"}'

_NAME = r"(?:[^\x00\x01=,]|=2C|=3D)+"
_PAIRS = r"(?:[A-Za-z]+=[\x21-\x7E \t\r\n]+\x01)*"
_MESSAGE = re.compile(rf"n,(?:a=(?P<authzid>{_NAME}))?,\x01(?P<pairs>{_PAIRS})\x01")
_AUTH = re.compile(r"(?P<scheme>\w+) +(?P<token>[-._~+/A-Za-z0-9]+=*)", re.ASCII)


class BearerServer:
    """The server's side of OAUTHBEARER, as a ``Conversation``."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._bad: BadToken | None = None

    def take(self, token: bytes, then: Callable[[Step], None]) -> None:
        """As Conversation.take."""
        if self._bad is not None:  # whatever the client says to that
            then(Refusal(INVALID, why=self._bad.why))
            return
        try:
            found = _MESSAGE.fullmatch(token[: MESSAGE_BYTES_MAX + 1].decode())
        except UnicodeDecodeError:
            found = None
        given = None if found is None or len(token) > MESSAGE_BYTES_MAX else _token(found["pairs"])
        if found is None or given is None:
            then(Refusal(why="no OAUTHBEARER message"))
            return
        authzid = (found["authzid"] or "").replace("=2C", ",").replace("=3D", "=")
        self._tokens.check(given, lambda it: then(self._checked(it, authzid)))

    def _checked(self, it: Bearer | BadToken, authzid: str) -> Step:
        if isinstance(it, BadToken):
            self._bad = it
            return INVALID.encode()
        if authzid not in ("", it.user):
            text = (
                f"Authentication failed: Client requested an authorization id ({authzid}) that is "
                f"different from the token's principal name ({it.user})"
            )
            return Refusal(text, it.user)
        return Done(it.user, expires_s=it.expires_s)


def _token(pairs: str) -> str | None:
    """The token after ``auth=Bearer``, if that occurs once."""
    given = [it[len("auth=") :] for it in pairs.split("\x01") if it.startswith("auth=")]
    found = _AUTH.fullmatch(given[0]) if len(given) == 1 else None
    return None if found is None or found["scheme"].lower() != "bearer" else found["token"]
