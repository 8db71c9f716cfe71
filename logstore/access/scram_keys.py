"""What is kept of a password: salted keys, from which nobody learns it again (RFC 5802, 3)."""

import hashlib
import hmac
import secrets
from typing import Final

from logstore.kept_users import SHA_256, SHA_512, ScramKey

HASHES: Final = {SHA_256: "sha256", SHA_512: "sha512"}  # by mechanism
# As Kafka: a client computes them too, at each login.
ITERATIONS_MIN: Final = 4096  # RFC 7677, 4
ITERATIONS_MAX: Final = 16_384
ITERATIONS: Final = 8192
SALT_BYTES: Final = 16


def keys_of(password: bytes, iterations: int = ITERATIONS) -> dict[str, ScramKey]:
    """For each mechanism, with a salt of its own. Takes some 15 ms, without the interpreter."""
    return {it: _key(it, password, iterations) for it in HASHES}


def _key(mechanism: str, password: bytes, iterations: int) -> ScramKey:
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac(HASHES[mechanism], password, salt, iterations)
    return key_of(mechanism, salted, salt, iterations)


def key_of(mechanism: str, salted: bytes, salt: bytes, iterations: int) -> ScramKey:
    """Of a password that is salted already, as Kafka's tools send it."""
    name = HASHES[mechanism]
    client_key = hmac.digest(salted, b"Client Key", name)
    stored_key = hashlib.new(name, client_key).digest()
    return ScramKey(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", name))
