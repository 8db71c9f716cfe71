"""Sets of offsets in blocks of 256: a dict from the block's number to its bits.

A run of offsets is one operation of C on each of its blocks, however many offsets it has, and a
block takes 60 bytes as a number and 100 in the dict. Measured with blocks of 64, 256 and 1024 bits:
256 is the fastest both in order (0.25 us an offset) and at random (0.5 us).

As bytes, each entry tells the whole of one block or of several in a row::

    entries | (blocks after the last block of the entry before | kind | what the kind has)*

    kind 0         a run: its first bit (a byte), its length less 1; it may go on in later blocks
    kind 1 to 31   so many bits, a byte each, ascending
    kind 32        32 bytes, all bits of the block

The first entry counts its blocks from 0 (then one more is added, as for the others). Numbers are as
in ``broker/packed.py``.
"""

from collections.abc import Iterator
from typing import Final

from logstore.broker.packed import NUMBER_MAX, Packed, packed

BLOCK_SHIFT: Final = 8
BLOCK_BITS: Final = 1 << BLOCK_SHIFT
BIT: Final = BLOCK_BITS - 1  # an offset's bit in its block: offset & BIT
FULL: Final = (1 << BLOCK_BITS) - 1

# Of one set. A lane with this many unsettled blocks (268 million consecutive messages, or a million
# scattered ones: 160 MB) delivers nothing new, so its stored state is bounded.
BLOCKS_MAX: Final = 1 << 20
# Twice, since a turn may settle as much as is held and take as much again before it is told.
KEPT_BLOCKS_MAX: Final = 2 * BLOCKS_MAX + 2

Bits = dict[int, int]  # block -> its bits; no block is empty
# A piece of a set: the first offset; the length of a run, or 0; then the bits of a block.
Piece = tuple[int, int, int]

_RUN, _RAW = 0, 32
_RAW_BYTES = BLOCK_BITS // 8

assert BLOCK_BITS == 256, "a bit's number is one byte"


def span(first: int, count: int) -> Iterator[tuple[int, int]]:
    """The blocks of ``count`` offsets in a row, each with their bits in it."""
    block, begin = first >> BLOCK_SHIFT, first & BIT
    end = begin + count
    while end > BLOCK_BITS:
        yield block, FULL >> begin << begin
        block, begin, end = block + 1, 0, end - BLOCK_BITS
    if end > begin:
        yield block, (1 << end) - (1 << begin)


def parts(first: int, bits: int) -> Iterator[tuple[int, int]]:
    """The blocks of the offsets ``first + n``, for each bit n of ``bits``, with their bits."""
    block = first >> BLOCK_SHIFT
    bits <<= first & BIT
    while bits:
        if bits & FULL:
            yield block, bits & FULL
        bits >>= BLOCK_BITS
        block += 1


def spread(bits: int, stride: int) -> int:
    """Bit n of ``bits`` as bit n * stride."""
    return bits if stride == 1 else int(("0" * (stride - 1)).join(f"{bits:b}"), 2)


def include(bits: Bits, first: int, count: int) -> None:
    """Add ``count`` consecutive offsets to the set."""
    for block, mask in span(first, count):
        bits[block] = bits.get(block, 0) | mask


def within(bits: Bits, first: int, upto: int) -> list[tuple[int, int]]:
    """The set's blocks between ``first`` and before ``upto``, each with a mask of that range.

    The work goes by the blocks that are in the set, not by the length of the range.
    """
    if first >= upto:
        return []
    low, high = first >> BLOCK_SHIFT, (upto - 1) >> BLOCK_SHIFT
    if high - low < len(bits):
        blocks = [block for block in range(low, high + 1) if block in bits]
    else:
        blocks = [block for block in bits if low <= block <= high]
    from_first = FULL >> (first & BIT) << (first & BIT)
    before_upto = (2 << (upto - 1 & BIT)) - 1
    return [
        (block, (from_first if block == low else FULL) & (before_upto if block == high else FULL))
        for block in blocks
    ]


def exclude(bits: Bits, first: int, upto: int) -> int:
    """Remove the offsets from ``first`` up to ``upto`` from the set; return how many were in it."""
    gone = 0
    for block, mask in within(bits, first, upto):
        had = bits[block]
        left = had & ~mask
        gone += (had ^ left).bit_count()
        if left:
            bits[block] = left
        else:
            del bits[block]
    return gone


def size(bits: Bits) -> int:
    """Return how many offsets are in the set."""
    return sum(map(int.bit_count, bits.values()))


def runs_of(mask: int) -> Iterator[tuple[int, int]]:
    """The first bit and the length of each run of bits, ascending."""
    while mask:
        first = (mask & -mask).bit_length() - 1
        ones = mask >> first
        count = (~ones & (ones + 1)).bit_length() - 1
        yield first, count
        mask = ones >> count << (first + count)


def runs(bits: Bits) -> Iterator[tuple[int, int]]:
    """The first offset and the length of each run of offsets, ascending."""
    begin = end = -1
    for block in sorted(bits):
        for first, count in runs_of(bits[block]):
            offset = (block << BLOCK_SHIFT) + first
            if offset != end:
                if count_before := end - begin:
                    yield begin, count_before
                begin = offset
            end = offset + count
    if end > begin:
        yield begin, end - begin


# As bytes


def encode(bits: Bits) -> bytes:
    """Encode the set; ``decode`` reverses this."""
    out: list[bytes] = []
    last = -1
    blocks = sorted(bits)
    place = entries = 0
    while place < len(blocks):
        block = blocks[place]
        mask = bits[block]
        out.append(packed(block - last - 1))
        ends_at, entry = _entry(bits, block, mask)
        out.append(entry)
        entries += 1
        place += ends_at - block + 1
        last = ends_at
    return packed(entries) + b"".join(out)


def _entry(bits: Bits, block: int, mask: int) -> tuple[int, bytes]:
    """Return the entry that begins with this block: the last block that it covers, and
    its bytes.
    """
    low = mask & -mask
    many = mask.bit_count()
    after = mask + low  # a power of two where the bits are one run
    if after & (after - 1) == 0 and (many > 1 or after > FULL):
        count, end = many, block
        if after > FULL:  # it reaches the block's end
            while (following := bits.get(end + 1, 0)) == FULL:
                count, end = count + BLOCK_BITS, end + 1
            if following and following & (following + 1) == 0:  # begins with its end
                count, end = count + following.bit_count(), end + 1
        return end, bytes((_RUN, low.bit_length() - 1)) + packed(count - 1)
    if many < _RAW:
        places = []
        while mask:
            low = mask & -mask
            places.append(low.bit_length() - 1)
            mask ^= low
        return block, bytes((many, *places))
    return block, bytes((_RAW,)) + mask.to_bytes(_RAW_BYTES, "little")


def decode(data: Packed) -> Iterator[Piece]:
    """Yield the pieces of a set, ascending and disjoint. Raises CorruptStore.

    A run is one piece, however long: a caller that adds it to a set must first check that it fits.
    """
    block = -1
    for _ in range(data.number()):
        block += data.number() + 1
        kind = data.byte()
        if block << BLOCK_SHIFT > NUMBER_MAX - BLOCK_BITS:
            raise data.damaged("has an offset of more than 63 bits")
        if kind == _RUN:
            first = (block << BLOCK_SHIFT) + data.byte()
            count = data.number() + 1
            if first + count > NUMBER_MAX:
                raise data.damaged("has an offset of more than 63 bits")
            yield first, count, 0
            block = (first + count - 1) >> BLOCK_SHIFT
        else:
            yield block << BLOCK_SHIFT, 0, _block(data, kind)


def _block(data: Packed, kind: int) -> int:
    """Decode the bits of one block, listed one by one or as a mask."""
    if kind == _RAW:
        mask = int.from_bytes(data.bytes(_RAW_BYTES), "little")
        if not mask:
            raise data.damaged("has an empty block")
        return mask
    if kind > _RAW:
        raise data.damaged(f"has a block of kind {kind}")
    if kind == 1:
        return 1 << data.byte()
    mask = 0
    for place in data.bytes(kind):
        if mask >> place:
            raise data.damaged("has the bits of a block out of order")
        mask |= 1 << place
    return mask


def decode_set(data: Packed, below: int) -> Bits:
    """Decode a whole set, of which all offsets are below ``below``. Raises CorruptStore."""
    bits: Bits = {}
    for first, count, mask in decode(data):
        if first + (count or mask.bit_length()) > below:
            raise data.damaged(f"has an offset that is not below {below}")
        if len(bits) + (count >> BLOCK_SHIFT) > KEPT_BLOCKS_MAX:
            raise data.damaged(f"has more than {KEPT_BLOCKS_MAX} blocks")
        if mask:
            bits[first >> BLOCK_SHIFT] = mask
        else:
            include(bits, first, count)
    return bits


def size_of(bits: Bits) -> int:
    """Return the number of offsets in the set."""
    return sum(map(int.bit_count, bits.values())) if bits else 0


def offsets_of(bits: Bits) -> Iterator[int]:
    """Yield the offsets one by one, block by block."""
    for block, mask in bits.items():
        for first, length in runs_of(mask):
            base = (block << BLOCK_SHIFT) + first
            yield from range(base, base + length)
