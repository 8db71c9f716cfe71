import random

import kio_oracle as kio
import pytest
from mostly_long import mostly_long

from logstore.errors import BrokenProtocol
from logstore.kafka.schema import codec

EVERY = [(name, version) for name in kio.NAMES for version in kio.versions(name)]
KINDS = (("request", "Request"), ("response", "Response"))


def samples(name, version, kind, count=8):
    rng = random.Random(f"{name} {version} {kind}")
    for _ in range(count):
        yield kio.random_message(getattr(kio.ours(name), kind), version, rng)


def made(name, version, kind):
    _, flexible, _ = kio.header(name, version, kind.lower())
    return codec(getattr(kio.ours(name), kind), version, flexible)


@pytest.mark.long
@pytest.mark.parametrize(("name", "version"), EVERY)
def test_both_codecs_write_the_same_bytes_and_read_the_same_values(name, version):
    for theirs, kind in KINDS:
        it = made(name, version, kind)
        for message in samples(name, version, kind):
            out = bytearray()
            it.write(out, message)
            entity = kio.read_by_kio(name, version, theirs, bytes(out))
            assert kio.plain(entity, "") == kio.as_plain(message, version)
            assert kio.written_by_kio(entity) == out
            again, end = it.read(memoryview(out), 0)
            assert kio.as_plain(again, version) == kio.as_plain(message, version)
            assert end == len(out)


@pytest.mark.parametrize(
    ("name", "version"),
    mostly_long(EVERY, [(name, max(kio.versions(name))) for name in kio.NAMES], rows=True),
)
def test_a_request_cut_off_or_changed_gives_a_protocol_error_or_a_message(name, version):
    it, rng = made(name, version, "Request"), random.Random(f"{name} {version}")
    for message in samples(name, version, "Request", 3):
        out = bytearray()
        it.write(out, message)
        for end in range(len(out)):
            with pytest.raises(BrokenProtocol):
                it.read(bytes(out[:end]), 0)
        for _ in range(50 if out else 0):
            bad = bytearray(out)
            bad[rng.randrange(len(bad))] = rng.randrange(256)
            try:
                it.read(bytes(bad), 0)
            except BrokenProtocol:
                continue


def test_an_unknown_tagged_field_is_stepped_over():
    it = made("api_versions", 3, "Request")
    out = bytearray()
    it.write(out, kio.ours("api_versions").Request("x", "1"))
    assert out[-1] == 0
    out[-1:] = b"\x02\x05\x01a\x63\x00"  # two: number 5 of one byte, number 99 of none
    assert it.read(bytes(out), 0) == (kio.ours("api_versions").Request("x", "1"), len(out))
