"""The client's side of SCRAM (RFC 5802): the server learns no password, and shows that it has one.

Names and passwords are sent as they are, as Kafka's clients do.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

from logstore.access.scram_keys import HASHES
from logstore.errors import Failed

ROUNDS_MAX: Final = 1_000_000  # maximum that a server can request: a second


class ScramClient:
    """One conversation: ``first``, ``final``, ``check``."""

    def __init__(self, mechanism: str, user: str, password: str) -> None:
        self._hash = HASHES[mechanism]
        self._password = password.encode()
        self._nonce = secrets.token_urlsafe(24)
        name = user.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self._nonce}"
        self._signature = b""

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """Answer the challenge. Raises Failed if it is not a SCRAM challenge."""
        try:
            text = challenge.decode()
            fields = dict(part.split("=", 1) for part in text.split(","))
            nonce, rounds = fields["r"], int(fields["i"])
            salt = b64decode(fields["s"], validate=True)
            if "m" in fields:  # RFC 5802, 5.1: an extension that must be known, and is not
                raise ValueError
        except (ValueError, KeyError, Error):
            raise Failed("the server's reply is not a SCRAM message") from None
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise Failed(
                "the server's SCRAM reply is for another client: its nonce differs from ours"
            )
        if not 1 <= rounds <= ROUNDS_MAX:
            raise Failed(
                f"the server's SCRAM reply asks for {rounds} hash iterations, outside the"
                " accepted range"
            )
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, rounds)
        unproved = f"c=biws,r={nonce}"
        said = f"{self._bare},{text},{unproved}".encode()
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        signature = hmac.digest(hashlib.new(self._hash, client_key).digest(), said, self._hash)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._signature = hmac.digest(
            hmac.digest(salted, b"Server Key", self._hash), said, self._hash
        )
        return f"{unproved},p={b64encode(proof).decode()}".encode()

    def check(self, answer: bytes) -> None:
        """Check that the server knows the password. Raises Failed."""
        wanted = b"v=" + b64encode(self._signature)
        if not hmac.compare_digest(answer.partition(b",")[0], wanted):
            raise Failed(
                "the server could not prove that it knows the password: it may be an impostor"
            )
