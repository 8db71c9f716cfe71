"""Virtual environments of what can't be installed beside the rest, made once in ``.clients/``."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest
from workshop import once

PINS = Path(__file__).parents[1] / "clients" / "venvs"
INSTALL_S = 300


class NotGiven(Exception):
    """The package index does not give it."""


def python_with(name):
    """The interpreter with the packages of ``NAME.txt``; skips the test without a package index."""
    interpreter, reason = _made(name)
    if reason:
        pytest.skip(reason)
    return interpreter


@functools.cache  # one attempt per run: without an index each takes long
def _made(name):
    pins = PINS / f"{name}.txt"

    def build(folder):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder / "venv"], check=True)
        done = subprocess.run(
            [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-deps",
             "--disable-pip-version-check", "--retries", "1", "--timeout", "20", "-r", pins],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_S,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise NotGiven(f"{name}: the package index does not give it: {done.stdout[-300:]}")

    try:
        return str(once(f"python-{name}", [pins], build) / "venv/bin/python"), ""
    except NotGiven as reason:
        return "", str(reason)
