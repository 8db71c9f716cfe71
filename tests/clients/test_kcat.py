"""kcat, where it is installed: librdkafka's own command."""

import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
DEADLINE_S = 30


def kcat(server, *words, stdin=b""):
    done = subprocess.run(
        ["kcat", "-b", server.address, *words],
        input=stdin, capture_output=True, timeout=DEADLINE_S, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_lines_go_in_and_come_out(server, topic, codec):
    lines = b"".join(b"line %d\n" % n for n in range(1000))
    kcat(server, "-P", "-t", topic, "-p", "0", "-z", codec, stdin=lines)
    assert kcat(server, "-C", "-t", topic, "-o", "beginning", "-e", "-q") == lines
    assert kcat(server, "-C", "-t", topic, "-o", "-2", "-e", "-q") == b"line 998\nline 999\n"


def test_it_lists_the_one_broker(server, topic):
    kcat(server, "-P", "-t", topic, stdin=b"x\n")
    listed = kcat(server, "-L").decode()
    assert f"broker 1 at {server.address}" in listed
    assert f'topic "{topic}" with 1 partitions' in listed


def test_a_group_goes_on_where_it_has_committed(server, topic):
    lines = [b"line %d\n" % n for n in range(100)]
    kcat(server, "-P", "-t", topic, "-p", "0", stdin=b"".join(lines))
    group = ["-G", f"group-{topic}", "-q", "-X", "auto.offset.reset=earliest", "-c"]
    assert kcat(server, *group, "60", topic) == b"".join(lines[:60])
    assert kcat(server, *group, "40", topic) == b"".join(lines[60:])
