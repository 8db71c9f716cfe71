import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]


def test_transactions_of_a_killed_server_are_whole_or_absent():
    # A process of its own: kafka-python leaves connections behind when it is closed.
    command = [sys.executable, "-m", "tests.crash.kill_transactions", "--rounds", "6"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    print(done.stdout)  # the seed
    assert done.returncode == 0, done.stderr
    found = re.search(r"(\d+) transactions committed, (\d+) aborted, .* (\d+) records", done.stdout)
    assert all(int(it) > 0 for it in found.groups())
