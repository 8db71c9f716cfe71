"""Ids of idempotent producers, which show by themselves if this store has given them.

An id is a number, given once, and a check value made of it with a secret of the store: so an id is
recognised without being stored, and no client can guess another producer's. Stores of earlier
versions have given plain numbers, which stay valid for as long as a silent producer is remembered.
"""

import hmac
from hashlib import blake2b
from struct import Struct
from typing import Final

from logstore.errors import Failed
from logstore.records.batch import NUMBERED_PRODUCER

# Ids of the server's own: plain numbers that were never given.
DELIVERIES: Final = 2**32 - 2  # of delayed records that are moved (``delivery.py``)
OWN: Final = frozenset((NUMBERED_PRODUCER, DELIVERIES))
CHECK_BITS: Final = 32  # a guess is right once in 4 billion
NUMBER_MAX: Final = 2**31 - 2  # an id is a positive number of 64 bits
_NUMBER: Final = Struct(">q")


class ProducerIds:
    """Creates and recognizes ids. Without state: from any thread."""

    def __init__(self, secret: bytes, unchecked_below: int, unchecked_until_ms: int) -> None:
        """Plain numbers below ``unchecked_below`` were given before there was a secret."""
        assert unchecked_below < 1 << CHECK_BITS, "a plain number is no id with a check"
        self._secret = secret
        self._unchecked_below = unchecked_below
        self._unchecked_until_ms = unchecked_until_ms

    def make(self, number: int) -> int:
        """The id that the number stands for. Raises Failed: all numbers were given."""
        if not 0 <= number <= NUMBER_MAX:
            raise Failed(f"all {NUMBER_MAX} producer ids are used up")
        # From 1 on, so that every id lies above the plain numbers.
        return (number + 1) << CHECK_BITS | self._check(number + 1)

    def knows(self, producer_id: int, now_ms: int) -> bool:
        """Whether the store has given this id."""
        if 0 <= producer_id < self._unchecked_below:
            return now_ms < self._unchecked_until_ms
        number, check = producer_id >> CHECK_BITS, producer_id & ((1 << CHECK_BITS) - 1)
        return number > 0 and hmac.compare_digest(_bytes(check), _bytes(self._check(number)))

    def _check(self, number: int) -> int:
        mac = blake2b(_NUMBER.pack(number), key=self._secret, digest_size=CHECK_BITS // 8)
        return int.from_bytes(mac.digest())


def _bytes(check: int) -> bytes:
    return check.to_bytes(CHECK_BITS // 8)
