"""Zigzag varints (Protocol Buffers' sint32 and sint64): the form of nearly all numbers in a record.

The loops over records inline the cases of one and two bytes; all others are handled here.
"""

from logstore.errors import CorruptBatch

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

# 0 to 8191, the numbers of one and two bytes: lengths, counts, offset deltas.
VARINTS: list[bytes] = [bytes((low,)) for low in range(0, 128, 2)]
VARINTS += [bytes((low, high)) for high in range(1, 128) for low in range(128, 256, 2)]

# The values of zigzag numbers of up to two bytes.
SIGNED14 = [zigzag >> 1 ^ -(zigzag & 1) for zigzag in range(1 << 14)]

NULL = 1  # zigzag for -1, which stands for null where a length does


def encoded(value: int) -> bytes:
    """``value``, a signed 64-bit integer, in 1 to 10 bytes."""
    zigzag = (value << 1) ^ (value >> 63)
    parts = bytearray()
    while zigzag >= 0x80:
        parts.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    parts.append(zigzag)
    return bytes(parts)


def decoded(data: bytes, at: int, bytes_max: int = 5) -> tuple[int, int]:
    """The number at ``at``, still zigzag, and where it ends.

    ``bytes_max`` is 5 for a 32-bit number, 10 for a 64-bit one. Raises CorruptBatch if it is longer
    or has more bits, IndexError if ``data`` ends before it.
    """
    zigzag = shift = 0
    for position in range(at, at + bytes_max):
        byte = data[position]
        zigzag |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if zigzag >> (64 if bytes_max > 5 else 32):
                raise CorruptBatch(f"a varint at byte {at} of the records has too many bits")
            return zigzag, position + 1
    raise CorruptBatch(f"a varint at byte {at} of the records is longer than {bytes_max} bytes")


def signed(zigzag: int) -> int:
    """The signed value of a zigzag number."""
    return (zigzag >> 1) ^ -(zigzag & 1)


def wrapped64(value: int) -> int:
    """``value`` as Java's long arithmetic leaves it: modulo 2**64, signed."""
    return (value - INT64_MIN) % 2**64 + INT64_MIN
