"""The codecs of a record batch, each in the framing that Kafka reads and writes, and bounded.

Owns the framings and the bound; knows nothing of batches. Each codec's library is imported at its
first use, because most logs use one of them or none.
"""

import enum
import zlib
from collections.abc import Callable, Iterator
from struct import Struct

from logstore.errors import CorruptBatch, OpensTooLarge


class Compression(enum.IntEnum):
    """The low three bits of a batch's attributes (KIP-98; zstd: KIP-110)."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


# A batch is at most max.message.bytes long (1 MiB by default) as it travels, and well-compressed
# text reaches 100:1. Twice that much is served; a bomb (zstd: 30,000:1) costs this and no more.
DECOMPRESSED_BYTES_MAX = 256 * 1024 * 1024

# Output is asked for in steps of this size, so that a bomb is noticed at most one step too late.
STEP_BYTES = 1024 * 1024
# Input is passed in pieces, because a step copies unused input: pieces keep that linear.
PIECE_BYTES = 256 * 1024

Buffer = bytes | bytearray | memoryview


def compress(codec: Compression, data: Buffer, level: int | None = None) -> bytes:
    """Compress ``data`` in the codec's framing. none and snappy have no ``level``.

    Raises ValueError for a level that the codec does not support.
    """
    if codec is Compression.NONE:
        return bytes(data)
    return _COMPRESS[codec](data, level)


def decompress(codec: Compression, data: Buffer, bytes_max: int = DECOMPRESSED_BYTES_MAX) -> bytes:
    """The decompressed data, of up to ``bytes_max`` bytes.

    Raises CorruptBatch if there is more, or if ``data`` is invalid, truncated, or followed by other
    bytes.
    """
    if codec is Compression.NONE:
        if len(data) > bytes_max:
            raise _too_much("records", bytes_max)
        return bytes(data)
    chunks = list(decompressed(codec, data, bytes_max))
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decompressed(
    codec: Compression,
    data: Buffer,
    bytes_max: int = DECOMPRESSED_BYTES_MAX,
    chunks_max: int | None = None,
) -> Iterator[bytes]:
    """The decompressed data in chunks: none is empty, and only a snappy block exceeds STEP_BYTES.

    Only the requested chunks are decompressed. Raises CorruptBatch as ``decompress`` does, when the
    iteration reaches the fault; OpensTooLarge also after ``chunks_max`` chunks, including empty
    ones, of which a kilobyte may hold a hundred.
    """
    if codec is Compression.NONE:
        chunks = _steps(memoryview(data))
    else:
        chunks = _DECOMPRESSED[codec](memoryview(data), bytes_max)
    left = bytes_max
    for nth, chunk in enumerate(chunks):
        if nth == chunks_max:
            raise OpensTooLarge(f"{codec.name.lower()} records open in over {chunks_max} pieces")
        left -= len(chunk)
        if left < 0:
            raise _too_much(f"{codec.name.lower()} records", bytes_max)
        if chunk:
            yield chunk


def _steps(data: memoryview) -> Iterator[bytes]:
    return (bytes(data[at : at + STEP_BYTES]) for at in range(0, len(data), STEP_BYTES))


def _too_much(what: str, bytes_max: int) -> OpensTooLarge:
    return OpensTooLarge(f"{what} decompress to more than {bytes_max} bytes")


def _pieces(data: memoryview) -> Iterator[memoryview]:
    return (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))


# gzip ------------------------------------------------------------------------------------------

_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib's way of asking for gzip's header and trailer


def _gzip_compress(data: Buffer, level: int | None) -> bytes:
    stream = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, _GZIP_WINDOW)
    return stream.compress(data) + stream.flush()


def _gzip_decompressed(data: memoryview, bytes_max: int) -> Iterator[bytes]:
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for piece in _pieces(data):
            rest: Buffer = piece
            while rest:
                if stream.eof:  # RFC 1952 2.2: members may follow each other
                    stream = zlib.decompressobj(_GZIP_WINDOW)
                yield stream.decompress(rest, STEP_BYTES)
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    except zlib.error as error:
        raise CorruptBatch(f"gzip records do not decompress: {error}") from None
    while not stream.eof:  # output that zlib still holds back
        chunk = stream.decompress(b"", STEP_BYTES)
        if not chunk:
            raise CorruptBatch("gzip records are cut off")
        yield chunk


# snappy ----------------------------------------------------------------------------------------

# The framing of xerial's snappy-java, which Kafka's clients write: a header, then blocks that are
# each a length and raw snappy. Some clients (Go's, C's) write one raw block without any framing.
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = Struct(">8sii")  # magic, version, oldest version that can read it
_XERIAL_LENGTH = Struct(">i")
_XERIAL_BLOCK_BYTES = 32 * 1024  # snappy-java's own
_SNAPPY_RATIO_MAX = 22  # three bytes stand for at most 64 (snappy's format_description.txt)


def _snappy_compress(data: Buffer, level: int | None) -> bytes:
    from cramjam import snappy

    view = memoryview(data)
    parts = [_XERIAL_HEADER.pack(_XERIAL_MAGIC, 1, 1)]
    for at in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(snappy.compress_raw(view[at : at + _XERIAL_BLOCK_BYTES]))
        parts += (_XERIAL_LENGTH.pack(len(block)), block)
    return b"".join(parts)


def _snappy_decompressed(data: memoryview, bytes_max: int) -> Iterator[bytes]:
    from cramjam import DecompressionError, snappy

    left = bytes_max
    try:
        for block in _snappy_blocks(data):
            # The length is claimed at the block's start, and snappy keeps to it.
            claimed = snappy.decompress_raw_len(block)
            left -= claimed
            if left < 0:
                raise _too_much("snappy records", bytes_max)
            if claimed > _SNAPPY_RATIO_MAX * len(block):  # memory is taken for all of it at once
                raise CorruptBatch(f"a snappy block of {len(block)} bytes claims to hold {claimed}")
            yield bytes(snappy.decompress_raw(block))
    except DecompressionError as error:
        raise CorruptBatch(f"snappy records do not decompress: {error}") from None


def _snappy_blocks(data: memoryview) -> Iterator[memoryview]:
    # The versions are not compared: there is one, and Redpanda writes it little-endian.
    if data[: len(_XERIAL_MAGIC)] != _XERIAL_MAGIC:
        yield data
        return
    at = _XERIAL_HEADER.size
    if len(data) < at:
        raise CorruptBatch("snappy records are cut off")
    while at < len(data):
        if len(data) - at < _XERIAL_LENGTH.size:
            raise CorruptBatch("snappy records are cut off")
        size = _XERIAL_LENGTH.unpack_from(data, at)[0]
        at += _XERIAL_LENGTH.size
        if not 0 < size <= len(data) - at:
            raise CorruptBatch(f"snappy block has length {size}, {len(data) - at} bytes are left")
        yield data[at : at + size]
        at += size


# lz4 -------------------------------------------------------------------------------------------

_LZ4_RATIO_MAX = 255  # one byte of an LZ4 sequence's length stands for at most 255 of output


def _lz4_compress(data: Buffer, level: int | None) -> bytes:
    from lz4 import frame

    # KIP-57: Kafka's Java reader refuses frames whose blocks refer to each other.
    compressed: bytes = frame.compress(data, compression_level=level or 0, block_linked=False)
    return compressed


def _lz4_decompressed(data: memoryview, bytes_max: int) -> Iterator[bytes]:
    from lz4 import frame

    stream = frame.LZ4FrameDecompressor()
    step = min(STEP_BYTES, _LZ4_RATIO_MAX * len(data) + 1)
    fed = 0
    try:
        for piece in _pieces(data):
            fed += len(piece)
            chunk = stream.decompress(piece, step)
            yield chunk
            while not stream.eof and (not stream.needs_input or len(chunk) == step):
                chunk = stream.decompress(b"", step)
                yield chunk
            if stream.eof:
                break
    except RuntimeError as error:  # what the library raises for all that it finds wrong
        raise CorruptBatch(f"lz4 records do not decompress: {error}") from None
    if not stream.eof:
        raise CorruptBatch("lz4 records are cut off")
    if stream.unused_data or fed < len(data):  # Kafka's reader takes one frame only
        raise CorruptBatch("lz4 records are followed by more bytes")


# zstd ------------------------------------------------------------------------------------------

_ZSTD_LEVEL = 3  # the library's and Kafka's default (KIP-390)
_ZSTD_BLOCK_HEADER_BYTES = 3
_ZSTD_BLOCKS_PER_STEP = STEP_BYTES // (128 * 1024)  # RFC 8878 3.1.1.2: a block is at most 128 KiB
_ZSTD_RLE = 1
_ZSTD_CHECKSUM_BYTES = 4


def _zstd_compress(data: Buffer, level: int | None) -> bytes:
    import zstandard

    # A compressor must not be shared between threads; making one takes 5 us.
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL if level is None else level)
    return compressor.compress(data)


def _zstd_decompressed(data: memoryview, bytes_max: int) -> Iterator[bytes]:
    # The library either trusts the content size, which Java's writer leaves out, or streams
    # without a bound or without noticing a missing end. So each frame goes in by a few blocks
    # at a time, which bounds what can come out.
    from zstandard import ZstdDecompressor, ZstdError

    decompressor = ZstdDecompressor()
    at = 0
    try:
        while True:
            stream = decompressor.decompressobj()
            for end in _zstd_steps(data, at):
                yield stream.decompress(data[at:end])
                at = end
            if not stream.eof:
                raise CorruptBatch("zstd records are cut off")
            if at == len(data):
                return
    except ZstdError as error:
        raise CorruptBatch(f"zstd records do not decompress: {error}") from None


def _zstd_steps(data: memoryview, at: int) -> Iterator[int]:
    """Where to cut the frame at ``at``, so that no step yields more than STEP_BYTES."""
    from zstandard import frame_header_size, get_frame_parameters

    checksum = _ZSTD_CHECKSUM_BYTES if get_frame_parameters(data[at:]).has_checksum else 0
    at += frame_header_size(data[at:])
    blocks = 0
    while True:
        if at + _ZSTD_BLOCK_HEADER_BYTES > len(data):
            raise CorruptBatch("zstd records are cut off")
        # RFC 8878 3.1.1.2: little-endian; last block 1 bit, type 2 bits, size 21 bits
        header = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        at += _ZSTD_BLOCK_HEADER_BYTES + (1 if header >> 1 & 3 == _ZSTD_RLE else header >> 3)
        blocks += 1
        if header & 1:
            break
        if blocks % _ZSTD_BLOCKS_PER_STEP == 0:
            if at > len(data):
                raise CorruptBatch("zstd records are cut off")
            yield at
    if at + checksum > len(data):
        raise CorruptBatch("zstd records are cut off")
    yield at + checksum


_COMPRESS: dict[Compression, Callable[[Buffer, int | None], bytes]] = {
    Compression.GZIP: _gzip_compress,
    Compression.SNAPPY: _snappy_compress,
    Compression.LZ4: _lz4_compress,
    Compression.ZSTD: _zstd_compress,
}
_DECOMPRESSED: dict[Compression, Callable[[memoryview, int], Iterator[bytes]]] = {
    Compression.GZIP: _gzip_decompressed,
    Compression.SNAPPY: _snappy_decompressed,
    Compression.LZ4: _lz4_decompressed,
    Compression.ZSTD: _zstd_decompressed,
}
