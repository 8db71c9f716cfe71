"""How much memory the process may use: the machine's, control groups', ``ulimit``'s."""

import os
import resource
import subprocess
import sys

import pytest

from logstore.usage import memory_bytes_max

MIB = 1 << 20
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def root(folder, lines, files):
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(lines)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("lines", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": f"{MIB}\n"}, MIB),
        ("0::/a/b\n", {"a/b/memory.max": f"{MIB}\n", "a/memory.max": f"{2 * MIB}\n"}, MIB),
        ("0::/\n", {"memory.max": f"{3 * MIB}\n"}, 3 * MIB),
        ("0::/of/the/outside\n", {"memory.max": f"{3 * MIB}\n"}, 3 * MIB),
        ("0::/a\n", {"a/memory.max": "max\n"}, MACHINE),
        ("4:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": f"{5 * MIB}\n"}, 5 * MIB),
        ("4:cpu,memory:/x\n", {"memory/memory.limit_in_bytes": f"{6 * MIB}\n"}, 6 * MIB),
        ("4:memory:/x\n", {"memory/x/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, MACHINE),
        ("3:cpu:/x\n", {"memory/x/memory.limit_in_bytes": "1\n"}, MACHINE),
    ],
)
def test_limits_of_control_groups(tmp_path, lines, files, limit):
    assert memory_bytes_max(root(tmp_path, lines, files)) == limit


def test_a_system_without_control_groups_has_its_memory(tmp_path):
    assert memory_bytes_max(tmp_path) == MACHINE


@pytest.mark.parametrize("which", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_limits_of_ulimit(tmp_path, which):
    code = (
        "import pathlib, resource\n"
        "from logstore.usage import memory_bytes_max\n"
        f"resource.setrlimit({which}, ({900 * MIB}, {900 * MIB}))\n"
        f"print(memory_bytes_max(pathlib.Path({str(tmp_path)!r})))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(told.stdout) == 900 * MIB
