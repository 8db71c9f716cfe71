"""ioredis and node-redis, where Node is there and npm can fetch them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parents[1] / "clients" / "node"
FETCHED_S, DEADLINE_S = 300, 30

needs_node = pytest.mark.skipif(shutil.which("npm") is None, reason="no Node and npm here")


def both_of_node(tmp_path, host, port, name, *login):
    """The clients' received messages out of three, and the counts of receivers they were told.

    ``login``: a CA file, a user and a password, for a connection with TLS.
    """
    return printed(tmp_path, "both.js", host, str(port), name, *login)


def printed(tmp_path, script, *words, of=NODE):
    """The JSON output of a script of a folder, after npm has installed its packages."""
    folder = tmp_path / "node"
    shutil.copytree(of, folder)
    fetched = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, capture_output=True,
        text=True, timeout=FETCHED_S, check=False,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"npm can't fetch the clients here: {fetched.stderr[-200:]}")
    done = subprocess.run(
        ["node", script, *words], cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
