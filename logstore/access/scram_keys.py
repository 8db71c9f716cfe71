"""What is stored of a password: salted keys that do not reveal it (RFC 5802, 3)."""

import hashlib
import hmac
import secrets
from typing import Final

from logstore.errors import Refused
from logstore.kept.users import SHA_256, SHA_512, ScramKey
from logstore.names import PASSWORD_BYTES_MAX

HASHES: Final = {SHA_256: "sha256", SHA_512: "sha512"}  # by mechanism
# As Kafka: a client computes them too, at each login.
ITERATIONS_MIN: Final = 4096  # RFC 7677, 4
ITERATIONS_MAX: Final = 16_384
ITERATIONS: Final = 8192
SALT_BYTES: Final = 16


def check_password(text: str) -> bytes:
    """The password as clients send it. Raises Refused, without repeating it."""
    try:
        password = text.encode()
    except UnicodeEncodeError:
        raise Refused("the password is not UTF-8") from None
    if not password:
        raise Refused("the password is empty")
    if len(password) > PASSWORD_BYTES_MAX:
        raise Refused(
            f"the password has {len(password)} bytes; at most {PASSWORD_BYTES_MAX} are allowed"
        )
    if b"\0" in password:  # what separates name and password (RFC 4616)
        raise Refused("the password has a NUL character, which no client can send")
    return password


def check_iterations(count: int) -> int:
    """The same number, if it is an allowed number of rounds. Raises Refused."""
    if not ITERATIONS_MIN <= count <= ITERATIONS_MAX:
        raise Refused(f"{count} iterations: must be {ITERATIONS_MIN} to {ITERATIONS_MAX}")
    return count


def keys_of(password: bytes, iterations: int = ITERATIONS) -> dict[str, ScramKey]:
    """A key for each mechanism, each with its own salt. Takes some 15 ms, without the interpreter
    lock.
    """
    return {it: _key(it, password, iterations) for it in HASHES}


def _key(mechanism: str, password: bytes, iterations: int) -> ScramKey:
    salt = secrets.token_bytes(SALT_BYTES)
    return key_of(mechanism, salted(mechanism, password, salt, iterations), salt, iterations)


def salted(mechanism: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    """``Hi`` of RFC 5802: takes milliseconds, without the interpreter lock."""
    return hashlib.pbkdf2_hmac(HASHES[mechanism], password, salt, iterations)


def key_of(mechanism: str, salted_password: bytes, salt: bytes, iterations: int) -> ScramKey:
    """The key of an already salted password, as Kafka's tools send it."""
    name = HASHES[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", name)
    stored_key = hashlib.new(name, client_key).digest()
    server_key = hmac.digest(salted_password, b"Server Key", name)
    return ScramKey(salt, iterations, stored_key, server_key)


def is_key_of(mechanism: str, key: ScramKey, password: bytes) -> bool:
    """Whether the key was made of this password, which was sent as plain text."""
    salted_password = salted(mechanism, password, key.salt, key.iterations)
    server_key = hmac.digest(salted_password, b"Server Key", HASHES[mechanism])
    return hmac.compare_digest(server_key, key.server_key)


def made_up(
    mechanism: str, secret: bytes, name: str, iterations: int, salt_bytes: int = SALT_BYTES
) -> ScramKey:
    """A key for a name without a user: the same each time, so that it looks like a user's key.

    ``secret``: only with it can the two be told apart.
    """
    seed = hmac.digest(secret, b"\0".join((mechanism.encode(), name.encode())), "sha512")
    stored, server = (hmac.digest(seed, it, HASHES[mechanism]) for it in (b"stored", b"server"))
    return ScramKey(hashlib.shake_256(seed).digest(salt_bytes), iterations, stored, server)
