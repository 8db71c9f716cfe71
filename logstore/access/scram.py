"""SCRAM-SHA-256 and -512 (RFC 5802, 7677): the server's side of a login."""

import hashlib
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest, digest
from secrets import token_urlsafe
from typing import Final

from logstore.access.logins import Found
from logstore.access.sasl import OTHER_AUTHZID, Done, Refusal, Step
from logstore.access.scram_keys import HASHES
from logstore.kept.users import SHA_256, SHA_512, ScramKey

KEY_BYTES: Final = {SHA_256: 32, SHA_512: 64}
NONCE_BYTES: Final = 24
TOKEN_BYTES_MAX: Final = 4096  # a name of 255 characters and a nonce need less than half

# RFC 5802, 7. A name is UTF-8 in which "=" and "," are escaped; a value holds no comma.
_NAME = r"(?:[^\x00=,]|=2C|=3D)+"
_EXTENSION = r"[A-Za-z]+=[^\x00,]+"
_NONCE = r"[\x21-\x2B\x2D-\x7E]+"
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_FIRST = re.compile(
    rf"(?P<header>[ny],(?:a=(?P<authzid>{_NAME}))?,)"
    rf"(?P<bare>n=(?P<name>{_NAME}),r=(?P<nonce>{_NONCE})(?P<extensions>(?:,{_EXTENSION})*))"
)
_FINAL = re.compile(
    rf"(?P<unproven>c=(?P<binding>{_BASE64}),r=(?P<nonce>{_NONCE})"
    rf"(?P<extensions>(?:,{_EXTENSION})*?)),p=(?P<proof>{_BASE64})"
)


@dataclass(frozen=True, slots=True)
class _Begun:
    """The messages exchanged so far."""

    name: str
    header: bytes
    nonce: bytes  # the client's and ours
    said: bytes  # the client's first message without its header, and ours
    found: Found


class ScramServer:
    """The server's side of SCRAM, as a ``Conversation``. It does not reveal before the end whether
    the user exists.
    """

    def __init__(
        self,
        mechanism: str,
        find: Callable[[str], Found],
        nonce: Callable[[], str] | None = None,
    ) -> None:
        """``find``: finds the key for a name. ``nonce``: without a comma."""
        self._mechanism = mechanism
        self._find = find
        self._nonce = nonce or _new_nonce
        self._begun: _Begun | None = None

    def take(self, token: bytes, then: Callable[[Step], None]) -> None:
        """As Conversation.take, immediately."""
        then(self._first(token) if self._begun is None else self._final(self._begun, token))

    def _first(self, token: bytes) -> Step:
        found = _matched(_FIRST, token)
        if found is None or _mandatory(found["extensions"]):
            return Refusal()
        if _has_token(found["extensions"]):  # KIP-48: the name is one of a delegation token
            return Refusal()
        name = _unescaped(found["name"])
        if found["authzid"] is not None and _unescaped(found["authzid"]) != name:
            return Refusal(OTHER_AUTHZID, name)
        found_key = self._find(name)
        key = found_key.key
        nonce = found["nonce"].encode() + self._nonce().encode()
        answer = b"r=%b,s=%b,i=%d" % (nonce, _base64(key.salt), key.iterations)
        said = b"%b,%b" % (found["bare"].encode(), answer)
        self._begun = _Begun(name, found["header"].encode(), nonce, said, found_key)
        return answer

    def _final(self, begun: _Begun, token: bytes) -> Step:
        found = _matched(_FINAL, token)
        if found is None or _mandatory(found["extensions"]):
            return Refusal(user=begun.name)
        # RFC 5802, 5.1: verify that it is what was said before, since "y" may have been made of
        # "p" on the way. And 5: the nonce, all of it.
        same_header = compare_digest(found["binding"].encode(), _base64(begun.header))
        same_nonce = compare_digest(found["nonce"].encode(), begun.nonce)
        said = b"%b,%b" % (begun.said, found["unproven"].encode())
        proven = self._proven(begun.found.key, said, found["proof"])
        # A user who was deleted or got another password meanwhile cannot log in by the old one.
        same_key = self._find(begun.name) == begun.found
        if not (same_header & same_nonce & proven & same_key & begun.found.known):
            return Refusal(user=begun.name)
        signature = _hmac(self._mechanism, begun.found.key.server_key, said)
        return Done(begun.name, b"v=" + _base64(signature))

    def _proven(self, key: ScramKey, said: bytes, proof: str) -> bool:
        """Whether the client has the client key whose hash is the stored key."""
        given = a2b_base64(proof)
        if len(given) != KEY_BYTES[self._mechanism]:
            return False
        signature = _hmac(self._mechanism, key.stored_key, said)
        client_key = bytes(a ^ b for a, b in zip(given, signature, strict=True))
        return compare_digest(_hash(self._mechanism, client_key), key.stored_key)


def _matched(pattern: re.Pattern[str], token: bytes) -> re.Match[str] | None:
    if len(token) > TOKEN_BYTES_MAX:
        return None
    try:
        return pattern.fullmatch(token.decode())
    except UnicodeDecodeError:
        return None


def _mandatory(extensions: str) -> bool:
    """RFC 5802, 5.1: ``m`` names an extension that a server must know, and none exists."""
    return ",m=" in extensions


def _has_token(extensions: str) -> bool:
    return ",tokenauth=true" in extensions.lower()


def _unescaped(name: str) -> str:
    return name.replace("=2C", ",").replace("=3D", "=")


def _new_nonce() -> str:
    return token_urlsafe(NONCE_BYTES)


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def _hmac(mechanism: str, key: bytes, said: bytes) -> bytes:
    return digest(key, said, HASHES[mechanism])


def _hash(mechanism: str, data: bytes) -> bytes:
    return hashlib.new(HASHES[mechanism], data).digest()
