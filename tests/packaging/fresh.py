"""Use a built wheel in a fresh environment: ``python -m tests.packaging.fresh dist``.

pip fetches what the wheel depends on, as it does for everyone else. The environment has nothing
of the repository.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from .built import REPO, version_of

LIBRARY = """
import logstore, logstore.node.node
from importlib.resources import files
assert (files("logstore") / "page" / "index.html").read_text().startswith("<!doctype html>")
with logstore.open("d", "read") as store, store.consumer("orders", group="g") as consumer:
    print(*(record.value.decode() for record in consumer))
"""


class Fresh:
    """An environment with the wheel, and a folder to work in."""

    def __init__(self, folder, wheel):
        venv.EnvBuilder(with_pip=True).create(folder / "venv")
        self._programs = folder / "venv" / "bin"
        self._work = folder / "work"
        self._work.mkdir()
        self.run("python", "-m", "pip", "install", "--quiet", wheel)
        self.run("python", "-m", "pip", "check")

    def run(self, program, *words, stdin=None):
        done = subprocess.run(
            [self._programs / program, *words], cwd=self._work, input=stdin, text=True,
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{program} {' '.join(map(str, words))}: exit code {done.returncode}\n"
                     f"{done.stdout}")  # fmt: skip
        return done.stdout


def try_it(fresh, version):
    """The command and the library do their main job."""
    assert fresh.run("logstore", "--version") == f"logstore {version}\n"
    fresh.run("logstore", "--data", "d", "topic", "create", "orders")
    fresh.run("logstore", "--data", "d", "produce", "orders", stdin="one coffee\ntwo teas\n")
    assert fresh.run("logstore", "--data", "d", "consume", "orders") == "one coffee\ntwo teas\n"
    assert fresh.run("python", "-c", LIBRARY) == "one coffee two teas\n"
    fresh.run("logstore", "--data", "d", "verify")


if __name__ == "__main__":
    (wheel,) = Path(sys.argv[1]).resolve().glob("*.whl")
    with tempfile.TemporaryDirectory() as name:
        try_it(Fresh(Path(name), wheel), version_of(REPO))
    print(f"{wheel.name}: works in a fresh environment of Python {sys.version.split()[0]}")
