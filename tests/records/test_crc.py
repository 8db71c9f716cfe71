import subprocess
import sys

import crc32c as package

from logstore.records.crc import crc32c


def test_digests_of_rfc_3720():
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(memoryview(b"xx123456789")[2:]) == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283
    assert package.crc32c(b"123456789") == 0xE3069283


def run(program):
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_still_imports_after_ours():
    run(
        "from logstore.records.crc import crc32c; import crc32c as package;"
        "assert package.crc32c(b'abc') == crc32c(b'abc'); assert package.__version__"
    )


def test_ours_imports_after_the_package():
    run("import crc32c; from logstore.records.crc import crc32c as f; assert f is crc32c.crc32c")


def test_the_public_function_serves_when_the_extension_is_elsewhere():
    run(
        "from importlib.machinery import PathFinder\n"
        "real = PathFinder.find_spec\n"
        "def find(name, *rest): return None if name == '_crc32c' else real(name, *rest)\n"
        "PathFinder.find_spec = find\n"
        "from logstore.records.crc import crc32c as f; import crc32c; assert f is crc32c.crc32c"
    )
