"""Commands of the system that not every machine has, or lets us use."""

import shutil
import subprocess

import pytest


def command(*words):
    """Skips the test, with the reason, where the machine does not let us."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not on this machine")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(words)}: {done.stderr.strip()}")
