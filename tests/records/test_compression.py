import random
import struct
import subprocess
import sys
import tracemalloc
import zlib

import cramjam
import pytest
import zstandard
from lz4 import frame as lz4_frame
from record_samples import CODECS

from logstore.errors import CorruptBatch
from logstore.records.compression import Compression, compress, decompress

CODED = CODECS[1:]
MIB = 1024 * 1024
SAMPLES = {
    "empty": b"",
    "byte": b"x",
    "text": b"a line that repeats itself\n" * 999,
    "xerial edge": random.Random(1).randbytes(32 * 1024),
    "random": random.Random(2).randbytes(700_000),
    "zeros": bytes(3 * MIB + 1),
    "mixed": b"".join(random.Random(n).randbytes(5000) + bytes(70_000) for n in range(40)),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", SAMPLES)
def test_round_trip_at_the_exact_bound(codec, name):
    data = SAMPLES[name]
    packed = compress(codec, data)
    assert type(packed) is bytes
    assert decompress(codec, packed, len(data)) == data
    assert decompress(codec, memoryview(bytearray(packed)), len(data) + 1) == data
    assert compress(codec, memoryview(bytearray(data))) == packed
    if data:
        with pytest.raises(CorruptBatch, match=f"more than {len(data) - 1} bytes"):
            decompress(codec, packed, len(data) - 1)


@pytest.mark.parametrize("codec", CODED)
@pytest.mark.parametrize("name", ["byte", "text", "xerial edge"])
def test_cut_and_followed_data_is_refused(codec, name):
    packed = compress(codec, SAMPLES[name])
    ends = range(len(packed)) if len(packed) < 500 else range(0, len(packed), 331)
    for end in [*ends, len(packed) - 1]:
        if codec is Compression.SNAPPY and end == 16:
            continue  # a header and no blocks is how xerial frames nothing
        with pytest.raises(CorruptBatch):
            decompress(codec, packed[:end], MIB)
    for more in (b"\0", b"x", b"\xff" * 9, packed[:3]):
        with pytest.raises(CorruptBatch):
            decompress(codec, packed + more, MIB)


@pytest.mark.parametrize("codec", CODED)
def test_garbage_is_refused(codec):
    rng = random.Random(3)
    packed = compress(codec, SAMPLES["text"])
    refused = []
    for n in range(400):
        data = bytearray(packed)
        for _ in range(3):
            data[rng.randrange(min(len(data), 60) if n % 2 else len(data))] = rng.randrange(256)
        for sample in (bytes(data), rng.randbytes(n)):
            try:
                assert len(decompress(codec, sample, MIB)) <= MIB
            except CorruptBatch as error:
                refused.append(str(error))
    assert len(refused) > 400
    assert not any("\n" in it for it in refused)


def bombs():
    """64 MiB of zeros, or 1 GiB of what claims to be, in little memory."""
    gzip = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield (
        Compression.GZIP,
        gzip.compress(bytes(64 * MIB)) + gzip.flush(),
    )
    lz4 = lz4_frame.LZ4FrameCompressor(block_linked=False, block_size=lz4_frame.BLOCKSIZE_MAX4MB)
    parts = [lz4.begin(), lz4.compress(bytes(64 * MIB)), lz4.flush()]
    yield Compression.LZ4, b"".join(parts)
    zstd = zstandard.ZstdCompressor().compressobj()
    yield (
        Compression.ZSTD,
        zstd.compress(bytes(64 * MIB)) + zstd.flush(),
    )
    sized = zstandard.ZstdCompressor().compressobj(size=64 * MIB)
    yield (
        Compression.ZSTD,
        sized.compress(bytes(64 * MIB)) + sized.flush(),
    )
    # RFC 8878: run-length blocks, 128 KiB from four bytes each
    run = struct.pack("<I", 1 << 1 | 128 * 1024 << 3)[:3]
    header = b"\x28\xb5\x2f\xfd" + b"\x00\x58"
    rle = (run + b"\0") * 8192
    yield Compression.ZSTD, header + rle + b"\x01\x00\x00"
    block = bytes(cramjam.snappy.compress_raw(bytes(64 * MIB)))
    xerial = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
    yield Compression.SNAPPY, xerial + (struct.pack(">i", len(block)) + block) * 16
    yield Compression.SNAPPY, b"\xff\xff\xff\xff\x03" + block[4:]


@pytest.fixture(scope="module", name="bombs")
def made():
    """Not where the module is imported: each worker of a test run does that."""
    return list(bombs())


@pytest.mark.parametrize("bytes_max", [100, 4 * MIB])
def test_a_bomb_costs_the_bound_and_little_more(bombs, bytes_max):
    for codec, bomb in bombs:
        tracemalloc.start()
        try:
            with pytest.raises(CorruptBatch, match=f"more than {bytes_max} bytes"):
                decompress(codec, bomb, bytes_max)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # One step beyond the bound, and the pieces that input is fed by.
        assert peak < bytes_max + 4 * MIB, codec


@pytest.mark.long
def test_bombs_do_not_touch_memory_outside_python_either(bombs):
    """The libraries' own allocations escape tracemalloc: a child under a limit must live."""
    program = """
import resource, sys
from logstore.errors import CorruptBatch
from logstore.records.compression import Compression, decompress
codec, bomb = Compression(int(sys.argv[1])), sys.stdin.buffer.read()
decompress(codec, bytes.fromhex(sys.argv[2]), 100)  # imports the library
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decompress(codec, bomb, 8 << 20)
except CorruptBatch:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    for codec, bomb in bombs:
        small = compress(codec, b"x").hex()
        command = [sys.executable, "-c", program, str(int(codec)), small]
        done = subprocess.run(command, input=bomb, capture_output=True, check=True)
        assert int(done.stdout) < 40 * 1024, codec  # KiB


def test_snappy_is_written_in_xerials_framing_and_read_raw_too():
    data = SAMPLES["mixed"]
    packed = compress(Compression.SNAPPY, data)
    assert packed[:16] == b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
    assert (
        decompress(Compression.SNAPPY, bytes(cramjam.snappy.compress_raw(data)), len(data)) == data
    )
    little_endian = packed[:8] + struct.pack("<ii", 1, 1) + packed[16:]
    assert decompress(Compression.SNAPPY, little_endian, len(data)) == data


@pytest.mark.parametrize("length", [-1, 0, 2**31 - 1])
def test_a_snappy_block_of_impossible_length_is_refused(length):
    packed = compress(Compression.SNAPPY, b"x" * 100)
    with pytest.raises(CorruptBatch, match=f"length {length}"):
        decompress(Compression.SNAPPY, packed[:16] + struct.pack(">i", length) + packed[20:], 200)


def test_lz4_blocks_are_independent():
    packed = compress(Compression.LZ4, SAMPLES["text"])
    assert packed[:4] == b"\x04\x22\x4d\x18"
    assert packed[4] & 0x20  # KIP-57: Kafka's Java reader refuses linked ones
    linked = lz4_frame.compress(SAMPLES["text"] * 9, block_linked=True)
    assert decompress(Compression.LZ4, linked, MIB) == SAMPLES["text"] * 9


def test_lz4_frames_without_size_and_with_checksums_are_read():
    data = SAMPLES["mixed"]
    for options in (
        {"store_size": False},
        {"content_checksum": True, "block_checksum": True},
        {"store_size": False, "block_size": lz4_frame.BLOCKSIZE_MAX4MB},
    ):
        packed = lz4_frame.compress(data, block_linked=False, **options)
        assert decompress(Compression.LZ4, packed, len(data)) == data


def test_zstd_frames_without_size_with_checksum_and_several():
    data = SAMPLES["mixed"]
    frames = b""
    for options in ({}, {"write_checksum": True}, {"level": 19}):
        for sized in (True, False):
            compressor = zstandard.ZstdCompressor(write_content_size=sized, **options)
            frame = compressor.compress(data)
            assert decompress(Compression.ZSTD, frame, len(data)) == data
            frames += frame
    streamed = zstandard.ZstdCompressor().compressobj()
    frames += streamed.compress(data[:9]) + streamed.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    frames += streamed.compress(data[9:]) + streamed.flush()
    assert decompress(Compression.ZSTD, frames, 7 * len(data)) == data * 7
    with pytest.raises(CorruptBatch, match="more than"):
        decompress(Compression.ZSTD, frames, 7 * len(data) - 1)


def test_gzip_members_may_follow_each_other():
    first, second = (compress(Compression.GZIP, it) for it in (b"one", SAMPLES["mixed"]))
    assert decompress(Compression.GZIP, first + second + first, 4 * MIB) == (
        b"one" + SAMPLES["mixed"] + b"one"
    )


def test_levels_that_do_not_exist_are_refused():
    for codec in (Compression.GZIP, Compression.ZSTD):
        with pytest.raises(ValueError, match=r".+"):
            compress(codec, b"x", 99)


def test_no_codec_is_imported_before_it_is_used():
    program = """
import sys
import logstore.records.batch, logstore.records.encode, logstore.records.decode
slow = {"lz4", "zstandard", "cramjam", "gzip", "importlib.metadata"} & set(sys.modules)
assert not slow, slow
logstore.records.compression.compress(logstore.records.compression.Compression.ZSTD, b"")
assert "zstandard" in sys.modules
assert "lz4" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
