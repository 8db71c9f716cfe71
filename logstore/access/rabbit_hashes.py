"""Password hashes in RabbitMQ's format: base64 of a salt and the digest of salt and password.

A single digest is cheap to guess, so such a hash is weak. It comes only from imported definitions,
and is deleted when the user gets another password. The client must send the password itself,
because SCRAM needs other keys.
"""

import hashlib
from base64 import b64decode, b64encode
from hmac import compare_digest
from typing import Final

from logstore.kept.users import PasswordHash

SALT_BYTES: Final = 4
SIZES: Final = {"sha256": 32, "sha512": 64, "md5": 16}
PREFIX: Final = "rabbit_password_hashing_"  # of an algorithm's name there
SHA_256: Final = f"{PREFIX}sha256"  # which RabbitMQ uses if it is told nothing


def parse(text: str, algorithm: str) -> PasswordHash:
    """Decode a hash in the form of definitions. Raises ValueError."""
    name = algorithm.removeprefix(PREFIX)
    if name not in SIZES:
        raise ValueError(f"the hashing algorithm {algorithm[:60]!r} is not known")
    data = b64decode(text, validate=True)  # binascii.Error is a ValueError
    if len(data) != SALT_BYTES + SIZES[name]:
        raise ValueError(f"a hash of {len(data)} bytes is none of {name} with its salt")
    return PasswordHash(name, data[:SALT_BYTES], data[SALT_BYTES:])


def written(hash_: PasswordHash) -> tuple[str, str]:
    """The inverse: the text, and the algorithm's name in definitions."""
    return b64encode(hash_.salt + hash_.digest).decode(), PREFIX + hash_.algorithm


def is_of(hash_: PasswordHash, password: bytes) -> bool:
    """Whether the hash was made of this password."""
    found = hashlib.new(hash_.algorithm, hash_.salt + password, usedforsecurity=False).digest()
    return compare_digest(found, hash_.digest)
