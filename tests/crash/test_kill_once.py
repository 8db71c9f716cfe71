import random

import pytest

from tests.crash import kill_once

pytestmark = pytest.mark.long


def test_a_killed_server_has_each_id_once(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_once.run(6, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 6
    assert totals.confirmed > 0
    assert totals.repeats > 0
