import random

import pytest

from tests.crash import kill_upkeep

pytestmark = pytest.mark.long


def test_the_law_holds_when_processes_are_killed_in_their_upkeep(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    acknowledged = kill_upkeep.run(8, seed, str(tmp_path / "store"))
    print(f"{acknowledged} acknowledged")
    assert acknowledged > 100
