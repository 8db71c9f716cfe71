"""Logs in at brokers: the client's side of PLAIN and SCRAM (RFC 4616, 5802)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

from logstore.errors import Failed

PLAIN: Final = "PLAIN"
HASHES: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
NONCE_BYTES: Final = 18
# As many as Kafka's brokers take: 10 ms, in which nobody else is served.
ITERATIONS_MAX: Final = 16_384

Conversation = Generator[bytes, bytes, None]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name, a password, and the mechanism to use."""

    mechanism: str
    user: str
    password: str = field(repr=False)

    def conversation(self) -> Conversation:
        """The login of one connection: yields the messages to send, and receives the replies.

        Raises Failed if the broker does not know the password.
        """
        if self.mechanism == PLAIN:
            return self._plain()
        return self._scram(secrets.token_urlsafe(NONCE_BYTES))

    def _plain(self) -> Conversation:
        yield b"\0".join((b"", self.user.encode(), self.password.encode()))

    def _scram(self, nonce: str) -> Conversation:
        name = HASHES[self.mechanism]
        user = self.user.replace("=", "=3D").replace(",", "=2C")
        bare = f"n={user},r={nonce}"
        first = yield f"n,,{bare}".encode()
        salt, rounds, both = _first(first, nonce)
        salted = hashlib.pbkdf2_hmac(name, self.password.encode(), salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", name)
        stored_key = hashlib.new(name, client_key).digest()
        unproven = f"c=biws,r={both}"
        said = b",".join((bare.encode(), first, unproven.encode()))
        signature = hmac.digest(stored_key, said, name)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        final = yield f"{unproven},p={base64.b64encode(proof).decode()}".encode()
        expected = hmac.digest(hmac.digest(salted, b"Server Key", name), said, name)
        if not hmac.compare_digest(final, b"v=" + base64.b64encode(expected)):
            raise Failed(
                "the broker could not prove that it knows the password: it may be an impostor"
            )


def _first(said: bytes, nonce: str) -> tuple[bytes, int, str]:
    """Salt, rounds and both nonces, as the broker states them. Raises Failed."""
    parts = dict(it.split("=", 1) for it in said.decode(errors="replace").split(",") if "=" in it)
    try:
        salt, rounds, both = base64.b64decode(parts["s"]), int(parts["i"]), parts["r"]
    except (KeyError, ValueError):
        raise Failed(f"the broker's reply to the login is not SCRAM: {said[:60]!r}") from None
    if not both.startswith(nonce) or both == nonce:
        raise Failed("the broker's reply is for another login: its nonce differs from ours")
    if not 0 < rounds <= ITERATIONS_MAX:
        raise Failed(
            f"the broker asks for {rounds} hash iterations: at most {ITERATIONS_MAX} are accepted"
        )
    return salt, rounds, both
