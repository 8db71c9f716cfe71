"""Commands of the system that not every machine has, or lets us use."""

import shutil
import subprocess

import pytest


def command(*words):
    """Run a command; skips the test with the reason if the machine forbids it."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not on this machine")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(words)}: {done.stderr.strip()}")
