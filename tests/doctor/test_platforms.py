"""What some systems lack: the rules, how they are chosen, and that nothing else knows of them."""

import fcntl
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logstore import platforms
from logstore.platforms import version_of

REPO = Path(__file__).parents[2]
LACKING = REPO / "tests" / "kit" / "lacking"
SHOW = """
from logstore import platforms
for it in platforms.rules():
    if not it.there:
        print(it.name, it.instead, it.costs, it.promise, sep="|")
"""

# What the standard library has on Linux alone, or does not do alike; and what tells systems apart.
OF_SOME = (
    "sys.platform", "uvloop.", "os.O_PATH", "os.O_TMPFILE", "os.O_DIRECT ", "os.RWF_", "os.fsync",
    "os.fdatasync", "os.preadv", "os.pwritev", "os.sendfile", "os.posix_f", "os.eventfd",
    "os.memfd", "os.copy_file_range", "os.splice", "os.pidfd", "os.waitid", "fcntl.F_OFD",
    "fcntl.flock", "fcntl.lockf", "socket.MSG_MORE", "socket.SOCK_NONBLOCK", "socket.SOCK_CLOEXEC",
    "socket.SO_REUSEPORT", "socket.TCP_K", "socket.TCP_Q", "socket.TCP_C", ".syncfs",
)  # fmt: skip
KNOW = {"platforms.py", "portable.py"}
SHIPPED = ("logstore", "cli", "pytest_logstore")


@pytest.fixture(scope="module")
def macos():
    """(name, what is done instead, costs, promise) of what it lacks."""
    environment = os.environ | {"PYTHONPATH": f"{LACKING}{os.pathsep}{REPO}", "LACKING": "macOS"}
    told = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True
    )
    return [tuple(line.split("|")) for line in told.stdout.splitlines()]


@pytest.mark.parametrize(
    ("release", "numbers"),
    [("6.1.0-18-amd64", (6, 1)), ("5.8", (5, 8)), ("23.1.0", (23, 1)), ("rolling", ()), ("", ())],
)
def test_a_kernel_is_known_by_two_numbers(release, numbers):
    assert version_of(release) == numbers


def test_each_rule_says_what_is_done_instead_and_what_that_costs():
    names = [it.name for it in platforms.rules()]
    assert len(names) == len(set(names))
    for rule in platforms.rules():
        for text in (rule.name, rule.instead, rule.costs):
            assert text
            assert "\n" not in text
            assert not text.endswith(".")


@pytest.mark.parametrize(
    ("release", "lacks"),
    [
        ("5.8.0", []),
        ("4.19.0-26-amd64", ["syncfs"]),
        ("3.10.0-1160.el7", ["syncfs", "locks of open files (F_OFD_SETLK)"]),
    ],
)
def test_a_kernel_decides_what_is_believed_of_it(monkeypatch, release, lacks):
    """All processes of a machine choose the same, whatever names their Pythons have."""
    facts = [*os.uname()]
    facts[2] = release
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(facts))
    monkeypatch.delattr(fcntl, "F_OFD_SETLK")
    spec = importlib.util.spec_from_file_location("of_another_kernel", platforms.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "of_another_kernel", module)
    spec.loader.exec_module(module)
    assert [it.name for it in module.CHOSEN if not it.there] == lacks


def test_macos_does_without_much_and_one_promise_is_weaker(macos):
    assert {it[0] for it in macos} == {
        "syncfs", "fdatasync", "posix_fadvise", "locks of open files (F_OFD_SETLK)",
        "preadv2 (RWF_NOWAIT)", "posix_fallocate", "MSG_MORE", "F_SETPIPE_SZ", "O_PATH",
        "O_TMPFILE", "/proc", "fchmod of sockets", "SO_PEERCRED", "abstract sockets",
        "higher limit of open files", "uvloop",
    }  # fmt: skip
    assert [it[0] for it in macos if it[3]] == ["posix_fadvise"]
    assert dict(it[:2] for it in macos)["fdatasync"].startswith("fcntl(F_FULLFSYNC)")


def test_the_table_of_the_docs_has_every_rule(macos):
    page = (REPO / "docs" / "deployment.md").read_text()
    of_linux = [
        (it.name, it.instead, it.costs) for it in platforms.rules() if it.name != "fdatasync"
    ]
    for name, instead, costs, *_ in [*of_linux, *macos]:
        row = f"| {name} | {instead} | {costs} |"
        assert row in page, row


def test_no_other_file_knows_systems_apart():
    """Else the doctor would not show what is done there."""
    texts = {it: it.read_text() for folder in SHIPPED for it in (REPO / folder).rglob("*.py")}
    found = {
        f"{path.relative_to(REPO)}: {name}"
        for path, text in texts.items()
        for name in OF_SOME
        if name in text and path.name not in KNOW
    }
    assert found == set()
    assert {path.name for path in texts} >= KNOW
